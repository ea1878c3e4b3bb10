//! That hunts find what is there: what `cargo xtask test` asks of whole ones, with few evaluations.

use super::super::Args;
use super::{Found, HuntArgs, hunt};
use anyhow::{Context, Result, ensure};
use std::path::Path;

/// What a hunt for a peer must find at least: far more than its operations cost on average.
const LONG_TAIL: u64 = 2000;

/// Checks that a list heap is driven to a search of thousands of instructions.
///
/// # Errors
///
/// If it is not, or the hunt fails.
pub fn finds_a_long_tail() -> Result<()> {
    let folder = tempfile::tempdir().context("no folder for a trace")?;
    let file = folder.path().join("found.trace");
    let found = hunted("peer/linked_list_allocator/alloc", 150, None, &file)?;
    ensure!(found.cost > LONG_TAIL, "found only {found:?}");
    Ok(())
}

/// Checks that hunts for operations of ours stay below their bounds, that the same one finds the same, and
/// that what it wrote costs what it says.
///
/// # Errors
///
/// If not, or a hunt fails.
pub fn ours_stay_below_their_bounds() -> Result<()> {
    let folder = tempfile::tempdir().context("no folder for traces")?;
    let file = |name: &str| folder.path().join(name);
    for row in ["kmalloc/alloc", "kmalloc/free", "pages/alloc", "pages/free"] {
        let (first, second) = (file("first.trace"), file("second.trace"));
        let found = hunted(row, 60, None, &first)?;
        ensure!(found.bound.is_some(), "{row} has no bound");
        ensure!(!found.is_above_bound(), "above its bound: {found:?}");
        hunted(row, 60, None, &second)?;
        let written = |file: &Path| std::fs::read_to_string(file).context("no trace");
        ensure!(
            written(&first)? == written(&second)?,
            "two equal hunts for {row} differ"
        );
        let again = hunted(row, 1, Some(&first), &second)?;
        ensure!(
            again.cost >= found.cost,
            "given back, {} costs {}: {found:?}",
            row,
            again.cost
        );
    }
    Ok(())
}

fn hunted(row: &str, evaluations: u32, from: Option<&Path>, to: &Path) -> Result<Found> {
    let args = Args {
        hunting: HuntArgs {
            hunt: Some(row.to_owned()),
            evaluations: Some(evaluations),
            ..HuntArgs::default()
        },
        traces: from.into_iter().map(Path::to_owned).collect(),
        output: Some(to.to_owned()),
        ..Args::default()
    };
    hunt(&args, row)
}
