//! `bench --hunt ROW`: the costliest single operation that an allocator can be driven to.
//!
//! The image searches and shrinks; here the best sequence so far is kept, so that an interrupted hunt
//! loses nothing, and written as a trace that replays. What was found stands beside the bound that
//! `bench/bounds.toml` documents, and an operation above it is a failure.

pub mod bounds;
pub mod found;
mod rows;
mod sequence;
pub mod trial;

use super::collect::{CollectError, Collector};
use super::format::{Format, grouped};
use super::{FAILED, boots, measure, peers};
use crate::console::{self, Printer};
use crate::guest::{self, Boot, Event};
use crate::machine::MachineArgs;
use crate::{process, setup, trace, workspace};
use anyhow::{Context, Result, bail, ensure};
pub use found::Found;
use indicatif::{ProgressBar, ProgressStyle};
use sequence::{Kind, Sequence};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;
use wire::bench::{HuntStage, Record};
use wire::path::Path as Way;

/// How long a hunt takes unless asked otherwise.
const BUDGET: Duration = Duration::from_mins(2);
/// Seconds that a machine has beyond the budget: to boot, and to end the evaluation that it is in.
const GRACE_SECONDS: u64 = 300;
/// Bytes that the trace takes which a hunt begins with: enough for its longest sequence.
const TRACE_BYTES: usize = 64 << 10;
/// Where traces go unless asked otherwise, under the workspace.
const FOLDER: &str = "target/hunt";

/// What to hunt, and how long.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct HuntArgs {
    /// Look for the costliest single operation of a row instead, by a seeded search: `kmalloc/alloc`,
    /// `kmalloc/free`, `pages/alloc`, `pages/free`, and the same of `peer/NAME` and `peer/NAME/pages`;
    /// of several rows, one after the other, with a pattern as --filter takes it: `peer/*/free`. Writes the
    /// shortest way to it as a trace, to --output or under target/hunt, and goes on from the one that is
    /// given with --trace; exit status 1 if a bound in bench/bounds.toml does not hold
    #[arg(long, value_name = "ROW", conflicts_with_all = [
        "host", "list", "filter", "quick", "html", "explain", "boot_sizes", "check", "no_default_traces", "at_max",
    ])]
    pub hunt: Option<String>,
    /// How long to hunt: `90s`, `10m`, `1h` [default: 2m, or until --evaluations are made]
    #[arg(long, value_name = "TIME", requires = "hunt", value_parser = humantime::parse_duration)]
    pub budget: Option<Duration>,
    /// Try so many sequences, and then as many shorter ones: the same seed and number find the same
    #[arg(long, value_name = "N", requires = "hunt", value_parser = clap::value_parser!(u32).range(1..))]
    pub evaluations: Option<u32>,
}

/// Hunts the rows that `pattern` selects, one after the other, and writes what was found; returns the exit
/// status.
///
/// # Errors
///
/// If no row is selected, the image does not build, or a boot does not count.
pub fn command(args: &super::Args, pattern: &str) -> Result<u8> {
    ensure!(
        matches!(args.format, Format::Text | Format::Json),
        "--hunt writes --format text or json"
    );
    setup::ensure(args.machine.yes)?;
    if Kind::of(pattern).is_ok() {
        return match hunt(args, pattern) {
            Ok(found) => conclude(&found.write(args.format)?, &[found]),
            Err(error) => failed(error),
        };
    }
    let (rows, peers) = rows::selected(args, pattern)?;
    ensure!(
        args.output.is_none() && args.traces.is_empty(),
        "--output and --trace are for the hunt of one row, {pattern} is {}",
        rows.len()
    );
    let args = super::Args {
        peers,
        ..args.clone()
    };
    let (mut all, mut status) = (Vec::new(), 0);
    for row in rows {
        match hunt(&args, &row) {
            Ok(found) => all.push(found),
            // What was found before is told.
            Err(_) if process::interrupted() && !all.is_empty() => {}
            Err(error) if process::interrupted() => return Err(error),
            // One allocator that ends the machine is no reason to leave the others alone.
            Err(error) => {
                console::say(format_args!("error: {row}: {error:#}"));
                status = FAILED;
            }
        }
        if process::interrupted() {
            break;
        }
    }
    let above = conclude(&found::write_all(&all, args.format)?, &all)?;
    Ok(status.max(above))
}

/// Writes the text about what was `found`, and says which bounds do not hold.
fn conclude(text: &str, found: &[Found]) -> Result<u8> {
    console::result(text)?;
    if process::interrupted() {
        bail!("interrupted");
    }
    let above: Vec<&Found> = found
        .iter()
        .filter(|found| found.is_above_bound())
        .collect();
    for found in &above {
        console::say(format_args!("error: {} is above its bound", found.row));
    }
    Ok(if above.is_empty() { 0 } else { FAILED })
}

/// The status for what an image refused, which is told.
fn failed(error: anyhow::Error) -> Result<u8> {
    if !error.is::<CollectError>() {
        return Err(error);
    }
    console::say(format_args!("error: {error}"));
    Ok(FAILED)
}

/// Hunts `row`, and writes the trace of what was found.
///
/// # Errors
///
/// As [`command`]; also if nothing was found.
pub fn hunt(args: &super::Args, row: &str) -> Result<Found> {
    let kind = Kind::of(row)?;
    let args = &for_image(args, row);
    let image = super::build(args)?.main;
    let budget = match (args.hunting.budget, args.hunting.evaluations) {
        (None, None) => Some(BUDGET),
        (budget, _) => budget,
    };
    let seconds = budget.map(|budget| budget.as_secs().max(1));
    let most = seconds.map_or(0, |seconds| seconds + GRACE_SECONDS);
    let machine = MachineArgs {
        timeout: args.machine.timeout.or(Some(most)),
        ..args.machine.clone()
    };
    // Page frames of other crates lie in an arena that the usual machine has no room for.
    let machine = peers::sized(&machine, row, image.flat("", &[])?.len() as u64, &[]);
    let boot = Boot {
        image: &image,
        machine: &machine,
        command_line: command_line(args, row, seconds),
        files: files(args)?,
        icount: true,
        disk: None,
        gdb: Some(""),
        folder: None,
        quiet: false,
    };
    let mut kept = Kept::new(seconds, args.hunting.evaluations);
    let (mut collector, mut printer) = (Collector::default(), Printer::stderr());
    let booted = guest::boot(&boot, &mut |event| match event {
        Event::Bench(record) => {
            collector.take(&record);
            kept.take(&record);
        }
        event if boots::worth_showing(&event, &machine) => {
            kept.progress.suspend(|| printer.event(&event));
        }
        _ => {}
    });
    kept.progress.finish_and_clear();
    let whole = match booted {
        Ok(outcome) => {
            let code = outcome.verdict()?;
            collector.check()?;
            ensure!(code == 0, CollectError::Exited(code));
            true
        }
        // What was found until then is worth keeping.
        Err(_) if process::interrupted() && kept.cost > 0 => false,
        Err(error) => return Err(error),
    };
    ensure!(
        kept.cost > 0,
        "{row}: no sequence had such an operation (more --evaluations or --budget try more)"
    );
    let header = collector
        .header
        .clone()
        .context("the image sent no header")?;
    let provenance = measure::provenance(args, header)?;
    let found = Found {
        schema: 1,
        unit: "instructions",
        bound: bounds::of(row, &provenance)?,
        row: row.to_owned(),
        cost: kept.cost,
        path: Way::sent(kept.path).to_string(),
        evaluations: kept.evaluations,
        events: kept.best.len(),
        whole,
        trace: place(args, row)?,
        provenance,
    };
    let trace = kept
        .best
        .trace(kind, &heading(&found, &peers::features(&args.peers)?)?);
    std::fs::write(&found.trace, trace)
        .with_context(|| format!("cannot write {}", found.trace.display()))?;
    Ok(found)
}

/// The trace that the hunt begins with. It takes the same place in memory whatever its length, and without
/// one: free memory is cut up alike, and a sequence that was found costs the same when it is given back.
fn files(args: &super::Args) -> Result<Vec<(String, Vec<u8>)>> {
    let (name, mut bytes) = match &args.traces[..] {
        [] => ("none".to_owned(), Vec::new()),
        [file] => {
            let trace = trace::load(file)?;
            (format!("trace:{}", trace.name), trace.bytes)
        }
        _ => bail!("--hunt begins with one --trace"),
    };
    ensure!(
        bytes.len() <= TRACE_BYTES,
        "--trace: a hunt has sequences of at most 4096 operations"
    );
    bytes.resize(TRACE_BYTES, 0);
    Ok(vec![(name, bytes)])
}

/// The arguments that build an image with the allocator of `row`: those of the user, with its crate unless
/// others were asked for.
fn for_image(args: &super::Args, row: &str) -> super::Args {
    let name = row
        .strip_prefix("peer/")
        .and_then(|rest| rest.split('/').next());
    let peers = match name {
        Some(name) if args.peers.is_empty() && args.allocator.is_none() => peers::behind(name),
        _ => args.peers.clone(),
    };
    super::Args {
        filter: row.to_owned(),
        peers,
        ..args.clone()
    }
}

fn command_line(args: &super::Args, row: &str, seconds: Option<u64>) -> String {
    let mut line = format!(
        "cmd=hunt row={row} seed={:#018x} unit=instructions",
        args.seed
    );
    if let Some(evaluations) = args.hunting.evaluations {
        let _ = write!(line, " evaluations={evaluations}");
    }
    if let Some(seconds) = seconds {
        let _ = write!(line, " budget={seconds}");
    }
    line
}

/// Where the trace goes; the folder is there.
fn place(args: &super::Args, row: &str) -> Result<PathBuf> {
    if let Some(file) = &args.output {
        return Ok(file.clone());
    }
    let folder = workspace::root().join(FOLDER);
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let name = row.replace('/', "-");
    Ok(folder.join(format!("{name}-{}.trace", args.seed)))
}

/// What stands at the head of the trace.
fn heading(found: &Found, features: &[String]) -> Result<Vec<String>> {
    let at = &found.provenance;
    let mut lines = vec![
        format!(
            "{}: {} {} in the last operation ({})",
            found.row, found.cost, found.unit, found.path
        ),
        format!(
            "found by cargo xtask bench --hunt {} --seed {}, {} sequences tried",
            found.row, at.seed, found.evaluations
        ),
        format!(
            "commit {}, tier {}, {}, {}",
            at.commit, at.tier, at.cpu, at.rustc
        ),
    ];
    let beside = peers::of(features)?;
    if !beside.is_empty() {
        let names: Vec<String> = beside.iter().map(ToString::to_string).collect();
        lines.push(names.join(", "));
    }
    Ok(lines)
}

/// The best so far, and how far the hunt is.
struct Kept {
    best: Sequence,
    arriving: Sequence,
    cost: u64,
    path: u64,
    evaluations: u32,
    progress: ProgressBar,
}

impl Kept {
    fn new(seconds: Option<u64>, evaluations: Option<u32>) -> Self {
        let template = match (seconds, evaluations) {
            (Some(_), _) => "{elapsed} of {prefix}: {msg}",
            (None, _) => "{elapsed}: {msg}",
        };
        let style = ProgressStyle::with_template(template);
        let progress = ProgressBar::new_spinner()
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        if let Some(seconds) = seconds {
            let whole = humantime::format_duration(Duration::from_secs(seconds));
            progress.set_prefix(whole.to_string());
        }
        Self {
            best: Sequence::default(),
            arriving: Sequence::default(),
            cost: 0,
            path: 0,
            evaluations: 0,
            progress,
        }
    }

    fn take(&mut self, record: &Record<'_>) {
        match *record {
            Record::Begin { name } => self.progress.set_message(name.to_owned()),
            Record::Steps { steps } => self.arriving.extend(steps),
            Record::Hunt {
                stage,
                evaluations,
                cost,
                path,
            } => {
                if self.arriving.len() > 0 {
                    self.best = std::mem::take(&mut self.arriving);
                }
                (self.cost, self.path, self.evaluations) = (cost, path, evaluations);
                self.show(stage);
            }
            _ => {}
        }
    }

    fn show(&self, stage: HuntStage) {
        let doing = match stage {
            HuntStage::Search => "searching",
            HuntStage::Shrink => "shrinking",
            HuntStage::Over => "over",
        };
        self.progress.set_message(format!(
            "{doing}, {} instructions after {} operations ({}), {} sequences tried",
            grouped(self.cost),
            grouped(self.best.len() as u64),
            Way::sent(self.path),
            grouped(self.evaluations.into())
        ));
        self.progress.tick();
    }
}

#[cfg(test)]
mod tests;
