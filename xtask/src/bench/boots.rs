//! Boots sessions, as many at once as the host has processors, and gathers what each measured.
//!
//! Instructions are counted, so what else the host does changes no figure: boots side by side give the
//! same bytes as one after the other.

use super::Args;
use super::collect::{CollectError, Collector};
use super::events::Events;
use super::measure::sized;
use super::session::Session;
use crate::console::{self, Printer};
use crate::guest::{self, Boot, Event, Failure};
use crate::image::Image;
use crate::log::Level;
use crate::machine::MachineArgs;
use crate::trace::Loaded;
use crate::workspace;
use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use std::num::NonZero;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use wire::bench::Record;

/// The filter and the group of events are padded to multiples of this many bytes, so that boot costs the
/// same for all of them.
const FILTER_BYTES: usize = 256;

/// What each of `sessions` measured, in their order.
///
/// # Errors
///
/// If a boot does not count, the first of them.
pub(super) fn run(args: &Args, sessions: &[Session<'_>]) -> Result<Vec<Collector>> {
    let rows = sessions.iter().map(|session| session.rows).sum();
    let progress = Progress::new(rows);
    let found: Vec<OnceLock<Result<Collector>>> =
        sessions.iter().map(|_| OnceLock::new()).collect();
    let left = Mutex::new(sessions.iter().zip(&found));
    let work = || {
        loop {
            let next = left.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((session, found)) = next else { break };
            let result = boot(args, session, ("", Some("")), &progress);
            let failed = result.is_err();
            let _ = found.set(result);
            if failed {
                // What nobody began is not begun any more.
                left.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .by_ref()
                    .for_each(drop);
            }
        }
    };
    thread::scope(|scope| (0..at_once(args)).for_each(|_| drop(scope.spawn(work))));
    progress.finish();
    let found = found.into_iter().filter_map(OnceLock::into_inner);
    found.collect()
}

/// Boots side by side.
fn at_once(args: &Args) -> usize {
    if args.machine.gdb.is_some() {
        return 1;
    }
    let processors = || thread::available_parallelism().map_or(1, NonZero::get);
    args.jobs.map_or_else(processors, NonZero::get)
}

/// What can be measured, with a sentence each.
///
/// # Errors
///
/// If a trace fits no machine, or the boot does not count.
pub(super) fn plan(args: &Args, image: &Image, traces: &[Loaded]) -> Result<Vec<(String, String)>> {
    let bytes = image.flat("", &[])?.len() as u64;
    let session = Session {
        image,
        command: "list",
        family: args.filter.clone(),
        rows: 0,
        traces,
        machine: MachineArgs {
            gdb: None,
            ..sized(&args.machine, bytes, traces)?
        },
        size: None,
    };
    Ok(watch(args, &session, "", None)?.plan)
}

/// Boots `session` for a debugger, `more` being added to the command line; `gdb` is what the user's is told,
/// if the user has one.
///
/// # Errors
///
/// If the boot does not count.
pub(super) fn watch(
    args: &Args,
    session: &Session<'_>,
    more: &str,
    gdb: Option<&str>,
) -> Result<Collector> {
    boot(args, session, (more, gdb), &Progress(ProgressBar::hidden()))
}

/// Boots once and gathers the records; `more` is added to the command line, and `gdb` to how the user is
/// told to debug.
fn boot(
    args: &Args,
    session: &Session<'_>,
    (more, gdb): (&str, Option<&str>),
    progress: &Progress,
) -> Result<Collector> {
    let machine = &session.machine;
    let folder = workspace::artifacts();
    let folder = std::fs::create_dir_all(&folder)
        .and_then(|()| tempfile::Builder::new().prefix("boot-").tempdir_in(&folder))
        .with_context(|| format!("cannot write to {}", folder.display()))?;
    let boot = Boot {
        image: session.image,
        machine,
        command_line: format!(
            "cmd={} seed={:#018x} unit=instructions{more}",
            session.command, args.seed
        ),
        files: files(args.events, session),
        icount: true,
        disk: None,
        // There are many, all alike but for the image; one that fails is shown.
        quiet: machine.gdb.is_none(),
        gdb,
        folder: Some(folder.path()),
    };
    let (mut collector, mut printer) = (Collector::default(), Printer::stderr());
    let outcome = guest::boot(&boot, &mut |event| match event {
        Event::Bench(record) => {
            collector.take(&record);
            progress.show(session, &collector, &record);
        }
        event if worth_showing(&event, machine) => progress.suspend(|| printer.event(&event)),
        _ => {}
    })?;
    let code = match outcome.verdict() {
        Ok(code) => code,
        Err(failure) => {
            // The flat file stays, so that the command can be repeated.
            let _ = folder.keep();
            progress.suspend(|| {
                for complaint in &outcome.complaints {
                    console::say(format_args!("qemu: {complaint}"));
                }
                console::say(format_args!(
                    "{} failed: {}",
                    session.family, outcome.qemu_command
                ));
            });
            if session.is_of_a_peer() && !matches!(failure, Failure::Refused(_)) {
                return Ok(Collector::left_out(&session.family, &failure));
            }
            bail!(failure)
        }
    };
    let whole = if code != 0 && collector.failures.is_empty() {
        Err(CollectError::Exited(code))
    } else {
        Ok(())
    };
    match whole.and_then(|()| collector.check().map(drop)) {
        Err(error) if session.is_of_a_peer() => Ok(Collector::left_out(&session.family, &error)),
        Err(error @ CollectError::Exited(_)) => bail!(error),
        // Others are named together when all have been measured.
        _ => Ok(collector),
    }
}

/// What stands behind the image.
pub(super) fn files(events: Events, session: &Session<'_>) -> Vec<(String, Vec<u8>)> {
    let mut filter = session.family.clone();
    if events != Events::None {
        filter = format!("{filter}\n{}", events.group().name());
    }
    let mut filter = filter.into_bytes();
    filter.resize(filter.len().next_multiple_of(FILTER_BYTES), b' ');
    let traces = session.traces.iter();
    let traces = traces.map(|trace| (format!("trace:{}", trace.name), trace.bytes.clone()));
    std::iter::once(("filter".to_owned(), filter))
        .chain(traces)
        .collect()
}

/// Logs of an ordinary boot would drown a report; what warns, and what is asked for, is shown.
pub(super) fn worth_showing(event: &Event<'_>, machine: &MachineArgs) -> bool {
    match event {
        Event::Log(line) => {
            machine.log < Level::Info || line.level.is_none_or(|level| level >= Level::Warn)
        }
        Event::Fault(_) => true,
        // Every boot greets in plain text; what a dying one says is for the user.
        Event::Plain(text) => !(text.trim().is_empty() || text.contains("console up")),
        _ => false,
    }
}

/// How far a run is.
#[derive(Debug)]
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// A run of so many rows, as far as they are known.
    pub(super) fn new(rows: u64) -> Self {
        let style = ProgressStyle::with_template("{bar:30} {pos} of {len} rows, {eta} left, {msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        Self(ProgressBar::new(rows).with_style(style))
    }

    /// Takes the bar away while `work` writes to the terminal.
    pub(super) fn suspend<R>(&self, work: impl FnOnce() -> R) -> R {
        self.0.suspend(work)
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }

    /// Shows how far `record` brings it.
    pub(super) fn show(&self, session: &Session<'_>, collector: &Collector, record: &Record<'_>) {
        let planned = |name: &str| collector.plan.iter().any(|(row, _)| row == name);
        match *record {
            // The rows of other sessions were counted before the first boot.
            Record::Row { .. } if session.rows == 0 => self.0.inc_length(1),
            Record::Begin { name } => self.0.set_message(name.to_owned()),
            Record::Done { .. } => self.0.inc(1),
            Record::Value { name, .. } if planned(name) => self.0.inc(1),
            _ => {}
        }
    }
}
