//! `cargo xtask bench`: boots the instrument, gathers what it measured, writes the report.
//!
//! Our own rows are measured in one boot, those of other allocators in a second one, and each trace in
//! one of its own. So none of them changes another row's figures (not even those of boot, which reads
//! what comes behind the image), and each machine is as large as its trace needs.
//!
//! The report alone goes to standard output; everything else goes to standard error. Nothing in a
//! report depends on the time of day or on how fast the host is.

pub mod collect;
pub mod exact;
pub mod format;
pub mod host;
pub mod markdown;
pub mod memory;
pub mod peers;
pub mod provenance;
pub mod report;
pub mod trace;

use crate::console::{self, Printer};
use crate::guest::{self, Boot, Event};
use crate::image::{self, Image, Target};
use crate::log::Level;
use crate::machine::{Board, MachineArgs, Size};
use crate::{setup, workspace};
use anyhow::{Context, Result, bail, ensure};
use collect::{CollectError, Collector, Header};
use format::Format;
use indicatif::{ProgressBar, ProgressStyle};
use report::{Provenance, Report, SCHEMA};
use std::path::{Path, PathBuf};
use trace::Loaded;
use wire::bench::Record;
use wire::glob;

/// Traces that ship with the project.
const SHIPPED: [&str; 3] = ["linux-boot-fs", "sqlite", "redis"];
/// Seconds that a boot gets unless asked otherwise: far more than the default rows take.
const TIMEOUT_SECONDS: u64 = 900;
/// The status for rows that could not be measured.
const FAILED: u8 = 1;
/// The filter is padded to multiples of this many bytes, so that boot costs the same for every filter.
const FILTER_BYTES: usize = 256;
/// The memory that raspi4b's device tree, and the built-in description of that board, tell of.
const RASPI4B_MEMORY: Size = Size(960 << 20);

/// What to measure.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Rows to measure: `*` is any text, `?` one character, and `kmalloc` is all of `kmalloc/*`
    #[arg(
        long,
        value_name = "GLOB",
        default_value = "*",
        hide_default_value = true
    )]
    pub filter: String,
    /// List the rows that there are, and what they measure, instead
    #[arg(long)]
    pub list: bool,
    /// Seed of the random sequences; 0 are those that the published figures were measured with
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// How to write the report
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Write the report to a file instead of standard output
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replay this trace too, plain or compressed by gzip (bench/traces/README.md has the format)
    #[arg(long = "trace", value_name = "FILE")]
    pub traces: Vec<PathBuf>,
    /// Leave out the traces that ship with Tessera
    #[arg(long)]
    pub no_default_traces: bool,
    /// Measure these allocators beside ours, in the same image: `all`, or names between commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub peers: Vec<String>,
    /// Measure the kernel's code with real threads on this machine instead, beside mimalloc, snmalloc,
    /// jemalloc and a locked buddy allocator: nanoseconds, the noisy kind
    #[arg(long, conflicts_with_all = ["filter", "list", "seed", "traces", "peers", "hardened"])]
    pub host: bool,
    /// Measure the hardened tier, which names a wrong free at once
    #[arg(long)]
    pub hardened: bool,
    /// The machine.
    #[command(flatten)]
    pub machine: MachineArgs,
}

/// Measures and writes the report; returns the exit status.
///
/// # Errors
///
/// If a trace is malformed or fits no machine, the image does not build, or a boot does not count.
pub fn command(args: &Args) -> Result<u8> {
    args.machine.validate()?;
    if let Some(file) = &args.output {
        // Better now than when everything has been measured.
        let folder = file.parent().filter(|folder| *folder != Path::new(""));
        let writable = folder.is_none_or(Path::is_dir) && !file.is_dir();
        ensure!(writable, "--output {}: no such folder", file.display());
    }
    if args.host {
        write(args, &host::measure(args.format)?)?;
        return Ok(0);
    }
    let traces = load_traces(args)?;
    setup::ensure(args.machine.yes)?;
    let image = build(args)?;
    if args.list {
        console::result(list(args, &image, &traces)?)?;
        return Ok(0);
    }
    match measure(args, &image, &traces) {
        Ok(report) => {
            write(args, &args.format.write(&report)?)?;
            Ok(0)
        }
        Err(error) if error.is::<CollectError>() => {
            console::say(format_args!("error: {error}"));
            Ok(FAILED)
        }
        Err(error) => Err(error),
    }
}

/// Writes the report where it was asked for.
fn write(args: &Args, text: &str) -> Result<()> {
    match &args.output {
        Some(file) => {
            std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
        }
        None => console::result(text).context("cannot write the report"),
    }
}

fn build(args: &Args) -> Result<Image> {
    let peers = peers::features(&args.peers)?;
    let hardened = args.hardened.then_some("hardened").into_iter();
    let features: Vec<&str> = hardened.chain(peers.iter().map(String::as_str)).collect();
    image::build("bench", Target::Bin("bench"), &features)
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
    traces.retain(|trace| wants_trace(&args.filter, &trace.name));
    Ok(traces)
}

/// Whether `filter` may select a row of the trace `name`.
fn wants_trace(filter: &str, name: &str) -> bool {
    let operations = [
        "alloc",
        "free",
        "zeroed",
        "realloc",
        "pages-alloc",
        "pages-free",
    ];
    let mut rows = operations
        .iter()
        .map(|operation| format!("trace/{name}/{operation}"));
    rows.any(|row| glob::selects(filter, &row))
}

fn list(args: &Args, image: &Image, traces: &[Loaded]) -> Result<String> {
    let bytes = image.flat("", &[])?.len() as u64;
    let machine = sized(&args.machine, bytes, traces)?;
    let collector = boot(
        args,
        image,
        &machine,
        "list",
        traces,
        &ProgressBar::hidden(),
    )?;
    ensure!(
        !collector.plan.is_empty(),
        "no row is called `{}`",
        args.filter
    );
    let width = collector
        .plan
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or(0);
    let lines = collector
        .plan
        .iter()
        .map(|(name, about)| format!("{name:width$}  {about}\n"));
    Ok(lines.collect())
}

fn measure(args: &Args, image: &Image, traces: &[Loaded]) -> Result<Report> {
    let bytes = image.flat("", &[])?.len() as u64;
    // Every machine is sized before the first boots.
    let front = args.filter.split('/').next().unwrap_or_default();
    let rows = (!matches!(front, "trace" | "peer")).then_some(("bench", &[][..]));
    let line_up = !args.peers.is_empty() && front != "trace";
    let line_up = line_up.then_some(("peers", &[][..]));
    let replays = traces.chunks(1).map(|trace| ("replay", trace));
    let boots = rows.into_iter().chain(line_up).chain(replays);
    let boots =
        boots.map(|(command, traces)| Ok((command, traces, sized(&args.machine, bytes, traces)?)));
    let boots = boots.collect::<Result<Vec<(&str, &[Loaded], MachineArgs)>>>()?;
    let progress = ProgressBar::new(0).with_style(style());
    let (mut rows, mut values, mut excluded) = (Vec::new(), Vec::new(), Vec::new());
    let mut header = None::<Header>;
    for (command, traces, machine) in &boots {
        let collector = boot(args, image, machine, command, traces, &progress)?;
        let found = collector.check()?;
        if let Some(first) = &header {
            ensure!(first == found, "two boots differ: {first:?}, {found:?}");
        }
        header = Some(found.clone());
        rows.extend(collector.rows);
        values.extend(collector.values);
        excluded.extend(collector.excluded);
    }
    progress.finish_and_clear();
    ensure!(
        !(rows.is_empty() && values.is_empty() && excluded.is_empty()),
        "no row is called `{}`; --list shows them",
        args.filter
    );
    let header = header.context("no image was booted")?;
    let overhead = header.overhead;
    let provenance = provenance(args, header)?;
    Ok(Report {
        schema: SCHEMA,
        unit: "instructions",
        provenance,
        overhead,
        peers: peers::of(&peers::features(&args.peers)?)?,
        rows,
        values,
        excluded,
    })
}

fn provenance(args: &Args, header: Header) -> Result<Provenance> {
    let machine = &args.machine;
    Ok(Provenance {
        machine: machine.board.to_string(),
        cpu: machine.cpu_model().to_owned(),
        midr: format!("{:#010x}", header.midr),
        el: header.entry_el,
        mem: machine.memory().to_string(),
        smp: machine.cores(),
        tier: header.tier,
        seed: args.seed,
        rustc: provenance::rustc()?,
        core: provenance::core_checksum()?,
        qemu: provenance::qemu()?,
        commit: provenance::commit(),
    })
}

/// The machine for a boot with `traces` behind an image of `image_bytes`: as asked for, and larger if
/// nobody asked for a size.
fn sized(machine: &MachineArgs, image_bytes: u64, traces: &[Loaded]) -> Result<MachineArgs> {
    let mut machine = machine.clone();
    machine.timeout.get_or_insert(TIMEOUT_SECONDS);
    if traces.is_empty() {
        return Ok(machine);
    }
    let needed = memory::needed(image_bytes, traces.iter().map(|trace| &trace.footprint));
    let names: Vec<&str> = traces.iter().map(|trace| trace.name.as_str()).collect();
    let names = names.join(", ");
    if machine.board == Board::Raspi4b {
        if needed > RASPI4B_MEMORY {
            bail!(
                "{names} needs {needed} of memory; raspi4b has {RASPI4B_MEMORY} that an image may use"
            );
        }
        return Ok(machine);
    }
    if needed <= machine.memory() {
        return Ok(machine);
    }
    if machine.mem.is_some() {
        bail!(
            "{names} needs {needed} of memory: --mem {} is too little \
             (--no-default-traces leaves out the traces that ship with Tessera)",
            machine.memory()
        );
    }
    console::say(format_args!(
        "{names} needs {needed} of memory and gets it (--mem was not given)"
    ));
    machine.mem = Some(needed);
    Ok(machine)
}

/// Boots once and gathers the records.
fn boot(
    args: &Args,
    image: &Image,
    machine: &MachineArgs,
    command: &str,
    traces: &[Loaded],
    progress: &ProgressBar,
) -> Result<Collector> {
    let mut filter = args.filter.clone().into_bytes();
    filter.resize(filter.len().next_multiple_of(FILTER_BYTES), b' ');
    let mut files = vec![("filter".to_owned(), filter)];
    files.extend(
        traces
            .iter()
            .map(|t| (format!("trace:{}", t.name), t.bytes.clone())),
    );
    let boot = Boot {
        image,
        machine,
        command_line: format!("cmd={command} seed={:#018x} unit=instructions", args.seed),
        files,
        icount: true,
        disk: None,
        quiet: false,
    };
    let (mut collector, mut printer) = (Collector::default(), Printer::stderr());
    let outcome = guest::boot(&boot, &mut |event| match event {
        Event::Bench(record) => {
            collector.take(&record);
            show_progress(progress, &collector, &record);
        }
        event if worth_showing(&event, machine) => progress.suspend(|| printer.event(&event)),
        _ => {}
    })?;
    let code = outcome.verdict()?;
    if code != 0 && collector.failures.is_empty() {
        bail!(CollectError::Exited(code));
    }
    Ok(collector)
}

/// Logs of an ordinary boot would drown a report; what warns, and what is asked for, is shown.
fn worth_showing(event: &Event<'_>, machine: &MachineArgs) -> bool {
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

fn style() -> ProgressStyle {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
    style.unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn show_progress(progress: &ProgressBar, collector: &Collector, record: &Record<'_>) {
    let planned = |name: &str| collector.plan.iter().any(|(row, _)| row == name);
    match *record {
        Record::Row { .. } => progress.inc_length(1),
        Record::Begin { name } => progress.set_message(name.to_owned()),
        Record::Done { .. } => progress.inc(1),
        Record::Value { name, .. } if planned(name) => progress.inc(1),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
