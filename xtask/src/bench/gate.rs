//! That a slower allocator is found, and that parts make a whole: what `cargo xtask test` asks of runs that
//! are compared.

use super::baseline::{self, Baseline};
use super::exact::{args, measured};
use super::format::Format;
use super::shard::Shard;
use super::{Args, merge};
use anyhow::{Result, ensure};

/// Checks that the parts of a run, merged, are the run, byte for byte.
///
/// # Errors
///
/// If they are not, or a run fails.
pub fn parts_are_the_whole() -> Result<()> {
    let whole = Args {
        boot_sizes: true,
        ..args(
            "kmalloc/*,pages/0,mixed/toggle,compact,trace/sqlite,boot",
            1,
        )
    };
    let whole = Args {
        no_default_traces: false,
        ..whole
    };
    let folder = tempfile::tempdir()?;
    for number in 1..=3 {
        let part = Args {
            shard: Some(Shard { number, of: 3 }),
            ..whole.clone()
        };
        let text = Format::Json.write(&measured(&part)?, false)?;
        std::fs::write(folder.path().join(format!("{number}.json")), text)?;
    }
    let merged = Format::Json.write(&merge::folder(folder.path())?, false)?;
    let whole = Format::Json.write(&measured(&whole)?, false)?;
    ensure!(merged == whole, "merged:\n{merged}\nwhole:\n{whole}");
    Ok(())
}

/// Checks that an allocator that is one instruction slower is found out: the row, and the path.
///
/// # Errors
///
/// If it is not, or a run fails.
pub fn one_instruction_more_is_found() -> Result<()> {
    let fast = args("kmalloc/64", 1);
    let slow = Args {
        slowed: true,
        ..fast.clone()
    };
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("fast.json");
    std::fs::write(&file, Format::Json.write(&measured(&fast)?, false)?)?;
    let baseline = Baseline::of_file(&file)?;
    let same = baseline.compare(&measured(&fast)?, "*");
    ensure!(baseline::conclude(&same) == 0, "{}", same.text());
    let worse = baseline.compare(&measured(&slow)?, "*");
    let status = baseline::conclude(&worse);
    ensure!(status == 3, "the status is {status}: {}", worse.text());
    let blamed = worse
        .changed
        .iter()
        .find(|row| row.name == "kmalloc/64/alloc");
    let median = blamed.and_then(|row| row.figures.iter().find(|change| change.figure == "p50"));
    let path = blamed.and_then(|row| row.grown.as_ref());
    ensure!(
        median.is_some_and(|change| change.after == change.before + 1.0)
            && path.is_some_and(|grown| grown.path == "hit"),
        "{}",
        worse.text()
    );
    Ok(())
}

/// Checks that no figure is worse than in the committed baseline, by more than its limits. Where it was
/// measured with another compiler or QEMU, that is said, and nothing is checked.
///
/// # Errors
///
/// If one is, or a run fails.
pub fn nothing_is_worse() -> Result<()> {
    let baseline = Baseline::read(baseline::COMMITTED)?;
    let all = Args {
        no_default_traces: false,
        ..args("*", 1)
    };
    let comparison = baseline.compare(&measured(&all)?, "*");
    let status = baseline::conclude(&comparison);
    ensure!(
        status == 0,
        "{}\n{}",
        comparison.headline(),
        comparison.text()
    );
    Ok(())
}
