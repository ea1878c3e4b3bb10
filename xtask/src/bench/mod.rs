//! `cargo xtask bench`: boots the instrument, gathers what it measured, writes the report.
//!
//! Each family of rows is measured in a boot of its own, and so is each trace (see `session`). So none of
//! them changes another row's figures, and each machine is as large as its trace needs.
//!
//! The report alone goes to standard output; everything else goes to standard error. Nothing in a
//! report depends on the time of day or on how fast the host is.

pub mod at_max;
pub mod baseline;
pub mod bmf;
pub mod board;
mod boots;
pub mod collect;
pub mod compare;
pub mod diff;
pub mod events;
pub mod exact;
pub mod format;
pub mod gate;
pub mod goals;
pub mod host;
pub mod html;
pub mod hunt;
pub mod interval;
pub mod json;
pub mod limits;
pub mod line_up;
pub mod markdown;
pub mod measure;
pub mod merge;
pub mod own;
pub mod peers;
pub mod provenance;
mod reference;
pub mod replays;
pub mod report;
pub mod saved;
mod session;
pub mod shard;
pub mod tail;
pub mod tiers;

use crate::console;
use crate::image::{self, Image, Target};
use crate::machine::MachineArgs;
use crate::trace::{self, Loaded};
use crate::{setup, workspace};
use anyhow::{Result, ensure};
use baseline::BaselineArgs;
use board::BoardArgs;
use collect::CollectError;
use events::Events;
use format::Format;
use goals::{Outcome, Reached};
use own::Own;
use report::Report;
use shard::Shard;
use std::num::NonZero;
use std::path::{Path, PathBuf};

/// Traces that ship with the project.
const SHIPPED: [&str; 4] = ["linux-boot-fs", "sqlite", "redis", "git-pack"];
/// Seconds that a boot gets unless asked otherwise: far more than the default rows take.
const TIMEOUT_SECONDS: u64 = 900;
/// Rows of a pulse, and of one for each allocator of the line-up.
const QUICK: &str = "boot,kmalloc/64,layout/64,cache-64,pages/0,pages/9,batch-64/random,slab/grow,\
    percpu,mixed/toggle,mixed/replace-1024,pages/mix,vmalloc/4K,dma/4K,peer/*/hot-64,peer/*/mixed/toggle,\
    contended/toggle";
/// The status for rows that could not be measured.
const FAILED: u8 = 1;

/// What to measure.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Rows to measure: `*` is any text, `?` one character, and `kmalloc` is all of `kmalloc/*`; several
    /// between commas
    #[arg(
        long,
        value_name = "GLOB",
        default_value = "*",
        hide_default_value = true,
        help_heading = ROWS
    )]
    pub filter: String,
    /// A pulse: a few rows of every kind, in seconds
    #[arg(long, help_heading = ROWS, conflicts_with_all = ["filter", "list", "at_max", "check", "traces"])]
    pub quick: bool,
    /// List the rows that there are, and what they measure, instead
    #[arg(long, help_heading = ROWS)]
    pub list: bool,
    /// Replay this trace too, plain or compressed by gzip: `cargo xtask trace record` makes one, and
    /// bench/traces/README.md has the format
    #[arg(long = "trace", value_name = "FILE", help_heading = ROWS)]
    pub traces: Vec<PathBuf>,
    /// Leave out the traces that ship with Tessera
    #[arg(long, help_heading = ROWS)]
    pub no_default_traces: bool,
    /// Seed of the random sequences; 0 are those that the published figures were measured with
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = ROWS)]
    pub seed: u64,
    /// Boot on machines of 128M, 1G, 8G and 64G too, and compare (rows `boot/SIZE/…`)
    #[arg(long, help_heading = ROWS, conflicts_with_all = ["host", "list"])]
    pub boot_sizes: bool,
    /// Count events beside, where the CPU's performance monitors can: how often a call, on average
    #[arg(long, value_enum, value_name = "GROUP", default_value_t, help_heading = ROWS,
          conflicts_with_all = ["host", "list"])]
    pub events: Events,
    /// Measure the hardened tier, which names a wrong free at once
    #[arg(long, help_heading = ROWS)]
    pub hardened: bool,
    /// Leave out the counts of allocations, to see what they cost
    #[arg(long, help_heading = ROWS, conflicts_with_all = ["host", "check"])]
    pub uncounted: bool,
    /// Measure the rows in every checking tier instead, and tell what each costs more than the default one
    #[arg(long, help_heading = ROWS, conflicts_with_all = [
        "hardened", "uncounted", "host", "list", "check", "at_max", "hunt", "html", "explain", "events", "shard",
        "baseline", "save_baseline", "peers",
    ])]
    pub tiers: bool,
    /// How to write the report
    #[arg(long, value_enum, default_value_t = Format::Text, help_heading = REPORT)]
    pub format: Format,
    /// Write the report to a file instead of standard output
    #[arg(long, value_name = "FILE", help_heading = REPORT)]
    pub output: Option<PathBuf>,
    /// Draw the report as one self-contained page, too
    #[arg(long, value_name = "FILE", help_heading = REPORT, conflicts_with_all = ["host", "list"])]
    pub html: Option<PathBuf>,
    /// Break the tail of every row down by the path that its operations took, as reports of a few rows
    /// do anyway (text and md)
    #[arg(long, help_heading = REPORT, conflicts_with = "list")]
    pub explain: bool,
    /// Rerun the slowest operation of one row: print its instructions one by one, with the functions'
    /// shares; with --gdb, halt for gdb right before it instead
    #[arg(long, value_name = "ROW", help_heading = REPORT,
          conflicts_with_all = ["host", "list", "filter", "boot_sizes", "check"])]
    pub at_max: Option<String>,
    /// Measure these allocators beside ours, in the same image: `all`, or names between commas
    #[arg(long, value_name = "NAME", value_delimiter = ',', help_heading = OTHERS)]
    pub peers: Vec<String>,
    /// Measure your own allocator beside ours: the folder of a crate that exports `Allocator`
    /// (bench/README.md says how, bench/examples/free-lists is one)
    #[arg(long, value_name = "PATH", help_heading = OTHERS, conflicts_with = "host")]
    pub allocator: Option<PathBuf>,
    /// Measure the kernel's code with real threads on this machine instead, beside mimalloc, snmalloc,
    /// jemalloc and a locked buddy allocator: nanoseconds, the noisy kind
    #[arg(long, help_heading = OTHERS, conflicts_with_all = ["list", "seed", "traces", "peers", "hardened"])]
    pub host: bool,
    /// What to hunt.
    #[command(flatten, next_help_heading = "Hunt")]
    pub hunting: hunt::HuntArgs,
    /// What to compare with.
    #[command(flatten, next_help_heading = COMPARE)]
    pub baseline: BaselineArgs,
    /// Fail, and name the rows, if one misses what bench/reference/goals.json says it must reach;
    /// boots on machines of several sizes too
    #[arg(long, help_heading = COMPARE, conflicts_with_all = ["host", "list", "seed", "hardened"])]
    pub check: bool,
    /// Machines that run side by side; no figure depends on it [default: one for each processor]
    #[arg(long, value_name = "N", help_heading = SPLIT)]
    pub jobs: Option<NonZero<usize>>,
    /// Measure one of N parts of the rows, which cost about the same; `cargo xtask report --merge` makes
    /// them a whole. Needs --format json
    #[arg(long, value_name = "K/N", help_heading = SPLIT,
          conflicts_with_all = ["host", "list", "at_max", "check", "html", "baseline", "save_baseline", "diff"])]
    pub shard: Option<Shard>,
    /// A board.
    #[command(flatten, next_help_heading = "A board")]
    pub board: BoardArgs,
    /// The machine.
    #[command(flatten, next_help_heading = "The machine")]
    pub machine: MachineArgs,
    /// An allocator that is one instruction slower, for a test.
    #[arg(skip)]
    pub slowed: bool,
}

/// What stands behind the options in `--help`.
pub const AFTER_HELP: &str = "\
Examples:
  cargo xtask bench --quick                              a pulse, in seconds
  cargo xtask bench --filter 'mixed/*'                   some rows, and why their tails are so
  cargo xtask bench --at-max mixed/toggle/alloc          the slowest call's instructions
  cargo xtask bench --peers all --html report.html       beside other allocators, drawn
  cargo xtask bench --allocator ../mine                  beside yours
  cargo xtask bench --baseline committed                 what changed, and whether for the worse
  cargo xtask bench --hunt kmalloc/alloc --budget 10m    the costliest call that can be driven

Equal runs write equal bytes. bench/README.md says what each figure means.

Exit status:
  0 fine; 1 a row failed, a goal was missed or a bound does not hold; 2 usage or environment;
  3 a figure got worse than its baseline allows; 124 a timeout.";

// Headings of `--help`.
const ROWS: &str = "Which rows";
const REPORT: &str = "The report";
const OTHERS: &str = "Other allocators";
const COMPARE: &str = "What is held against it";
const SPLIT: &str = "Splitting the run";

/// Measures and writes the report; returns the exit status.
///
/// # Errors
///
/// If a trace is malformed or fits no machine, the image does not build, or a boot does not count.
pub fn command(args: &Args) -> Result<u8> {
    args.machine.validate()?;
    if args.quick {
        return command(&Args {
            filter: QUICK.to_owned(),
            no_default_traces: true,
            quick: false,
            ..args.clone()
        });
    }
    // Better now than when everything has been measured.
    for (option, file) in [("output", &args.output), ("html", &args.html)] {
        let Some(file) = file else { continue };
        let folder = file.parent().filter(|folder| *folder != Path::new(""));
        let writable = folder.is_none_or(Path::is_dir) && !file.is_dir();
        ensure!(writable, "--{option} {}: no such folder", file.display());
    }
    let baseline = args.baseline.find()?;
    if let Some(name) = &args.baseline.save_baseline {
        baseline::check_name(name, is_whole(args))?;
    }
    ensure!(
        args.shard.is_none() || args.format == Format::Json,
        "--shard needs --format json, which `cargo xtask report --merge` takes"
    );
    if args.host {
        write(args, &host::measure(&args.filter, args.format)?)?;
        return Ok(0);
    }
    if let Some(row) = &args.hunting.hunt {
        return hunt::command(args, row);
    }
    if args.tiers {
        return tiers::command(args);
    }
    if let Some(row) = &args.at_max {
        return at_max::command(args, row);
    }
    let traces = load_traces(args)?;
    setup::ensure(args.machine.yes)?;
    let images = build(args)?;
    if args.list {
        console::result(list(args, &images.main, &traces)?)?;
        return Ok(0);
    }
    if let Some(folder) = &args.board.sdcard {
        return board::write(args, &images, &traces, folder).map(|()| 0);
    }
    let measured = match &args.board.serial {
        Some(line) => board::read(args, &images, &traces, line),
        None => measure::measure(args, &images, &traces),
    };
    match measured {
        Ok(report) => {
            let compared = baseline.map(|baseline| baseline.compare(&report, &args.filter));
            let text = saved::drawn(args.format, &report, args.explain, compared.as_ref())?;
            write(args, &text)?;
            if let Some(file) = &args.html {
                let compared = compared.iter().cloned();
                let compared: Vec<_> = compared.map(|found| (String::new(), found)).collect();
                saved::write(Some(file), &html::page(&report, &compared)?)?;
                console::say(format_args!("the page is {}", file.display()));
            }
            if let Some(name) = &args.baseline.save_baseline {
                baseline::save(name, &report)?;
            }
            let missed = if args.check { check(&report)? } else { 0 };
            let worse = compared.as_ref().map_or(0, baseline::conclude);
            Ok(if missed == 0 { worse } else { missed })
        }
        Err(error) if error.is::<CollectError>() => {
            console::say(format_args!("error: {error}"));
            Ok(FAILED)
        }
        Err(error) => Err(error),
    }
}

/// Whether these are all rows that are measured unasked.
fn is_whole(args: &Args) -> bool {
    args.filter == "*"
        && !args.no_default_traces
        && args.traces.is_empty()
        && !args.has_line_up()
        && !(args.hardened || args.uncounted || args.seed > 0)
        && args.events == Events::None
        && !args.boot_sizes
        && !args.check
}

/// Names the rows that miss what they must reach.
fn check(report: &Report) -> Result<u8> {
    ensure!(
        !report.goals.is_empty(),
        "--check: no row here has a goal (they are for cortex-a72 with one core)"
    );
    let missed = |goal: &&Outcome| goal.reached == Reached::Nothing;
    let missed: Vec<&Outcome> = report.goals.iter().filter(missed).collect();
    for goal in &missed {
        console::say(format_args!("missed: {goal}"));
    }
    let (missed, all) = (missed.len(), report.goals.len());
    console::say(format_args!("{} of {all} goals met", all - missed));
    Ok(if missed == 0 { 0 } else { FAILED })
}

/// Writes the report where it was asked for.
fn write(args: &Args, text: &str) -> Result<()> {
    saved::write(args.output.as_deref(), text)
}

/// What is booted.
struct Images {
    /// For all rows but those of the other.
    main: Image,
    /// One that yields inside sections, where there are several cores to contend.
    contended: Option<Image>,
}

impl Images {
    /// The one that measures `row`.
    fn of(&self, row: &str) -> &Image {
        let contended = self.contended.as_ref();
        let is_contended = row.starts_with("contended/");
        contended.filter(|_| is_contended).unwrap_or(&self.main)
    }
}

impl Args {
    /// Whether allocators are compared.
    fn has_line_up(&self) -> bool {
        !self.peers.is_empty() || self.allocator.is_some()
    }
}

fn build(args: &Args) -> Result<Images> {
    let own = args.allocator.as_deref().map(Own::find).transpose()?;
    let peers = peers::features(&args.peers)?;
    let tiers = [
        (args.hardened, "hardened"),
        (args.uncounted, "uncounted"),
        (args.slowed, "slowed"),
    ];
    let tiers = tiers
        .iter()
        .filter(|(wanted, _)| *wanted)
        .map(|(_, name)| *name);
    let peers = peers.iter().map(String::as_str);
    let mut features: Vec<&str> = tiers.chain(peers).collect();
    let image = |features: &[&str]| match &own {
        Some(own) => own.image(features),
        None => image::build("bench", Target::Bin("bench"), features),
    };
    let main = image(&features)?;
    let mut contended = None;
    if args.machine.cores() > 1 && measure::wants(&args.filter, "contended") && !args.list {
        features.push("contended");
        contended = Some(image(&features)?);
    }
    Ok(Images { main, contended })
}

/// The traces that the filter leaves, each under a name of its own.
fn load_traces(args: &Args) -> Result<Vec<Loaded>> {
    let folder = workspace::root().join("bench/traces");
    let mut files: Vec<PathBuf> = Vec::new();
    if !args.no_default_traces {
        files.extend(SHIPPED.map(|name| folder.join(format!("{name}.trace.gz"))));
    }
    files.extend(args.traces.iter().cloned());
    let mut traces: Vec<Loaded> = Vec::new();
    for file in files {
        let mut trace = trace::load(&file)?;
        let shown = file.display();
        if let Some(same) = traces.iter().find(|other| other.bytes == trace.bytes) {
            console::say(format_args!("{shown} is replayed as trace/{}", same.name));
            continue;
        }
        let mut names = (2..).map(|number| format!("{}-{number}", trace.name));
        let taken = |name: &str| traces.iter().any(|other| other.name == name);
        if taken(&trace.name)
            && let Some(name) = names.find(|name| !taken(name))
        {
            console::say(format_args!("{shown} is replayed as trace/{name}"));
            trace.name = name;
        }
        traces.push(trace);
    }
    // Which allocators there are, and so which of their rows, only the image knows.
    let line_up = args.has_line_up() && measure::wants(&args.filter, peers::FRONT);
    traces.retain(|trace| line_up || !session::replays(args, trace).is_empty());
    Ok(traces)
}

fn list(args: &Args, image: &Image, traces: &[Loaded]) -> Result<String> {
    let plan = boots::plan(args, image, traces)?;
    ensure!(!plan.is_empty(), "no row is called `{}`", args.filter);
    let width = plan.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines = plan
        .iter()
        .map(|(name, about)| format!("{name:width$}  {about}\n"));
    Ok(lines.collect())
}

#[cfg(test)]
mod tests;
