//! That the instrument is exact: what `cargo xtask test` asks of whole runs.

use super::events::Events;
use super::format::Format;
use super::measure::measure;
use super::report::{Counted, Report};
use super::{Args, build, load_traces};
use crate::machine::{Board, MachineArgs};
use anyhow::{Error, Result, ensure};

/// Checks that two runs of the same rows give the same report, byte for byte.
///
/// # Errors
///
/// If they differ, or one of them fails.
pub fn repeats() -> Result<()> {
    for (filter, cores) in [
        ("*/64/*", 1),
        ("trace/linux-boot-fs", 1),
        ("contended", 4),
        ("trace/git-pack/smp", 4),
    ] {
        let run = || {
            let report = measured(&args(filter, cores))?;
            Ok::<_, Error>(Format::Json.write(&report, false)?)
        };
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
    let whole = measured(&args("*", 1))?.rows;
    for filter in ["boot", "pages", "mixed/toggle/free"] {
        for row in measured(&args(filter, 1))?.rows {
            ensure!(whole.contains(&row), "alone {row:?} differs: {whole:?}");
        }
    }
    Ok(())
}

/// Checks, on both boards, that counting events changes no figure, that retired instructions are what the
/// cycle counter counts there, and that what QEMU has no events of is said to be missing.
///
/// # Errors
///
/// If a figure differs, or a run fails.
pub fn events_change_nothing() -> Result<()> {
    let (virt, pi) = (Board::Virt, Board::Raspi4b);
    for (board, filter) in [(virt, "boot"), (virt, "mixed/*"), (pi, "kmalloc/*")] {
        let args = Args {
            machine: MachineArgs {
                board,
                ..MachineArgs::default()
            },
            ..args(filter, 1)
        };
        let without = measured(&args)?;
        let mut report = measured(&Args {
            events: Events::Branch,
            ..args
        })?;
        // To set the counters up takes instructions.
        report.boots.clone_from(&without.boots);
        let counted = std::mem::take(&mut report.events);
        let counted = counted.iter().filter(|event| event.counted);
        let counted: Vec<&str> = counted.map(|event| event.event.as_str()).collect();
        ensure!(counted == ["INST_RETIRED"], "{board} counts {counted:?}");
        for row in &mut report.rows {
            let events = std::mem::take(&mut row.events);
            let same = |event: &Counted| event.mean == row.mean;
            // Boot is over when event counters begin.
            let expected = usize::from(filter != "boot");
            let agrees = events.len() == expected && events.iter().all(same);
            ensure!(agrees, "{board}: {events:?} of {row:?}");
        }
        ensure!(
            report == without,
            "{board}: with events {report:?}, without {without:?}"
        );
    }
    Ok(())
}

/// What to measure for a test: no traces unless they are asked for.
pub(super) fn args(filter: &str, cores: u32) -> Args {
    Args {
        filter: filter.to_owned(),
        no_default_traces: !filter.starts_with("trace"),
        machine: MachineArgs {
            smp: Some(cores),
            ..MachineArgs::default()
        },
        ..Args::default()
    }
}

/// Measures.
pub(super) fn measured(args: &Args) -> Result<Report> {
    measure(args, &build(args)?, &load_traces(args)?)
}
