//! That the instrument is exact: what `cargo xtask test` asks of whole runs.

use super::format::Format;
use super::measure::measure;
use super::report::Report;
use super::{Args, build, load_traces};
use crate::machine::MachineArgs;
use anyhow::{Error, Result, ensure};

/// Checks that two runs of the same rows give the same report, byte for byte.
///
/// # Errors
///
/// If they differ, or one of them fails.
pub fn repeats() -> Result<()> {
    for (filter, cores) in [("*/64/*", 1), ("trace/linux-boot-fs", 1), ("contended", 4)] {
        let run = || Ok::<_, Error>(Format::Json.write(&measured(filter, cores)?, false)?);
        let (first, second) = (run()?, run()?);
        ensure!(
            first == second,
            "two runs of `{filter}` differ:\n{first}\n{second}"
        );
    }
    Ok(())
}

/// Checks that a row's figures do not depend on which others were asked for.
///
/// # Errors
///
/// If they do, or a run fails.
pub fn filter_changes_nothing() -> Result<()> {
    let whole = measured("*", 1)?.rows;
    for filter in ["boot", "pages", "mixed/toggle/free"] {
        for row in measured(filter, 1)?.rows {
            ensure!(whole.contains(&row), "alone {row:?} differs: {whole:?}");
        }
    }
    Ok(())
}

fn measured(filter: &str, cores: u32) -> Result<Report> {
    let args = Args {
        filter: filter.to_owned(),
        no_default_traces: !filter.starts_with("trace"),
        machine: MachineArgs {
            smp: Some(cores),
            ..MachineArgs::default()
        },
        ..Args::default()
    };
    measure(&args, &build(&args)?, &load_traces(&args)?)
}
