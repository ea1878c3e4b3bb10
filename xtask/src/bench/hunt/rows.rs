//! Which rows can be hunted.

use super::super::{Args, boots, build};
use super::for_image;
use anyhow::{Result, ensure};
use wire::glob;

/// The allocators of ours.
const OURS: [&str; 2] = ["kmalloc", "pages"];
/// What is hunted of each allocator.
const OPERATIONS: [&str; 2] = ["alloc", "free"];
/// One row of every allocator of the line-up, of objects and of page frames.
const ONE_OF_EACH: &str = "peer/*/hot-64/alloc,peer/*/pages/0/alloc";

/// The rows that `pattern` selects, and the peers that they need.
///
/// # Errors
///
/// If there are none, or the image does not build or list its rows.
pub(super) fn selected(args: &Args, pattern: &str) -> Result<(Vec<String>, Vec<String>)> {
    let args = Args {
        filter: ONE_OF_EACH.to_owned(),
        ..for_image(args, pattern)
    };
    let mut names: Vec<String> = OURS.map(str::to_owned).into();
    if args.has_line_up() {
        let plan = boots::plan(&args, &build(&args)?.main, &[])?;
        names.extend(plan.iter().map(|(row, _)| allocator(row)));
    }
    let rows = of(&names).filter(|row| glob::selects(pattern, row));
    let rows: Vec<String> = rows.collect();
    ensure!(
        !rows.is_empty(),
        "--hunt {pattern}: there are kmalloc, pages, peer/NAME and peer/NAME/pages, and of each alloc and \
         free; --peers all brings every NAME"
    );
    Ok((rows, args.peers))
}

/// The allocator that a row of [`ONE_OF_EACH`] is of.
fn allocator(row: &str) -> String {
    let kept = if row.contains("/pages/") { 3 } else { 2 };
    let words: Vec<&str> = row.split('/').take(kept).collect();
    words.join("/")
}

fn of(names: &[String]) -> impl Iterator<Item = String> {
    let rows = |name: &String| OPERATIONS.map(|operation| format!("{name}/{operation}"));
    names.iter().flat_map(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocator_is_the_front_of_its_rows() {
        assert_eq!(allocator("peer/talc+irq/hot-64/alloc"), "peer/talc+irq");
        assert_eq!(allocator("peer/x/pages/0/alloc"), "peer/x/pages");
        let rows: Vec<String> = of(&["pages".to_owned()]).collect();
        assert_eq!(rows, ["pages/alloc", "pages/free"]);
    }

    #[test]
    fn rows_of_ours_are_selected_without_an_image_and_none_is_an_error() {
        let args = Args::default();
        let rows = |pattern| selected(&args, pattern).map(|(rows, _)| rows);
        assert_eq!(rows("*/free").unwrap(), ["kmalloc/free", "pages/free"]);
        assert_eq!(rows("kmalloc").unwrap(), ["kmalloc/alloc", "kmalloc/free"]);
        let error = rows("vmalloc/alloc").unwrap_err().to_string();
        assert!(error.contains("there are kmalloc, pages"), "{error}");
    }
}
