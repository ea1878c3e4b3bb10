//! The boots that a run consists of, and the report that they make together.

use super::collect::{CollectError, Collector, Header};
use super::goals;
use super::peers;
use super::provenance;
use super::report::{Provenance, Report, Row, SCHEMA, Value};
use super::{Args, Images, TIMEOUT_SECONDS};
use crate::console::{self, Printer};
use crate::guest::{self, Boot, Event};
use crate::image::Image;
use crate::log::Level;
use crate::machine::{self, Attachments, Board, MachineArgs, Size};
use crate::trace::Loaded;
use crate::trace::memory;
use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::Path;
use wire::bench::Record;
use wire::glob;

/// The filter is padded to multiples of this many bytes, so that boot costs the same for every filter.
const FILTER_BYTES: usize = 256;
/// The memory that raspi4b's device tree, and the built-in description of that board, tell of.
const RASPI4B_MEMORY: Size = Size(960 << 20);
/// The machines whose boot is compared.
const BOOT_SIZES: [Size; 4] = [
    Size(128 << 20),
    Size(1 << 30),
    Size(8 << 30),
    Size(64 << 30),
];
/// The figure of that comparison.
const GROWTH: &str = "boot/growth";

/// One boot of a run.
struct Session<'a> {
    image: &'a Image,
    command: &'static str,
    filter: &'a str,
    traces: &'a [Loaded],
    machine: MachineArgs,
    /// Whether it is there to be compared with boots on machines of other sizes.
    is_sized: bool,
}

/// Boots as often as it takes, and gathers what was measured.
///
/// # Errors
///
/// If a trace fits no machine, a boot does not count, or nothing was measured.
pub(super) fn measure(args: &Args, images: &Images, traces: &[Loaded]) -> Result<Report> {
    let progress = ProgressBar::new(0).with_style(style());
    let mut report = Report::default();
    let mut totals = Vec::new();
    let mut header = None::<Header>;
    for session in sessions(args, images, traces)? {
        let mut collector = boot(args.seed, &session, ("", Some("")), &progress)?;
        let found = collector.check()?;
        if let Some(first) = &header {
            ensure!(first == found, "two boots differ: {first:?}, {found:?}");
        }
        header = Some(found.clone());
        if session.is_sized {
            totals.extend(name_by_size(&mut collector.rows, session.machine.memory()));
            collector
                .rows
                .retain(|row| glob::selects(&args.filter, &row.name));
        }
        report.rows.extend(collector.rows);
        report.values.extend(collector.values);
        report.excluded.extend(collector.excluded);
        report.timelines.extend(collector.timelines);
        report.maps.extend(collector.maps);
    }
    progress.finish_and_clear();
    let growth = growth(&totals).filter(|value| glob::selects(&args.filter, &value.name));
    report.values.extend(growth);
    ensure!(
        !(report.rows.is_empty() && report.values.is_empty() && report.excluded.is_empty()),
        "no row is called `{}`; --list shows them",
        args.filter
    );
    let header = header.context("no image was booted")?;
    let mut report = Report {
        schema: SCHEMA,
        unit: "instructions".to_owned(),
        overhead: header.overhead,
        empty: header.empty,
        nops: header.nops,
        provenance: provenance(args, header)?,
        peers: peers::of(&peers::features(&args.peers)?)?,
        ..report
    };
    report.goals = goals::of(&report, &args.filter)?;
    if !args.check {
        // What nobody asked to measure is not missed.
        report.goals.retain(|goal| goal.found.is_some());
    }
    Ok(report)
}

/// Boots again what measured the row that is the filter, so that it halts for a debugger before the
/// operation numbered `at`. `gdb` is what the user's is told, if the user has one.
///
/// # Errors
///
/// As [`measure`].
pub(super) fn watch(
    args: &Args,
    images: &Images,
    traces: &[Loaded],
    at: u64,
    gdb: Option<&str>,
) -> Result<()> {
    let more = format!(" watch={} at={at}", args.filter);
    for session in sessions(args, images, traces)? {
        let hidden = ProgressBar::hidden();
        boot(args.seed, &session, (&more, gdb), &hidden)?.check()?;
    }
    Ok(())
}

/// Whether `filter` may select rows whose names begin with the word `front`.
pub(super) fn wants(filter: &str, front: &str) -> bool {
    let first = filter.split('/').next().unwrap_or_default();
    first.contains(['*', '?']) || first == front
}

/// What is booted, each machine sized before the first boots.
fn sessions<'a>(
    args: &'a Args,
    images: &'a Images,
    traces: &'a [Loaded],
) -> Result<Vec<Session<'a>>> {
    let image = &images.main;
    let bytes = image.flat("", &[])?.len() as u64;
    let front = args.filter.split('/').next().unwrap_or_default();
    let rows = !matches!(front, "trace" | "peer" | "contended");
    let rows = rows.then_some((image, "bench", &[][..]));
    let contended = images.contended.as_ref();
    let contended = contended.map(|image| (image, "contended", &[][..]));
    let line_up = !args.peers.is_empty() && wants(&args.filter, "peer");
    let line_up = line_up.then_some((image, "peers", &[][..]));
    let replays = traces.chunks(1).map(|trace| (image, "replay", trace));
    let boots = rows
        .into_iter()
        .chain(contended)
        .chain(line_up)
        .chain(replays);
    let mut sessions = boots
        .map(|(image, command, traces)| {
            Ok(Session {
                image,
                command,
                filter: &args.filter,
                traces,
                machine: sized(&args.machine, bytes, traces)?,
                is_sized: false,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    if args.boot_sizes || args.check {
        for size in BOOT_SIZES {
            let machine = MachineArgs {
                mem: Some(size),
                ..args.machine.clone()
            };
            machine.validate()?;
            sessions.push(Session {
                image,
                command: "bench",
                filter: "boot",
                traces: &[],
                machine: sized(&machine, bytes, &[])?,
                is_sized: true,
            });
        }
    }
    Ok(sessions)
}

/// Puts the size into the names of the rows of a boot; returns what that boot cost.
fn name_by_size(rows: &mut [Row], size: Size) -> Option<u64> {
    let total = rows.iter().find(|row| row.name == "boot/total");
    let total = total.map(|row| row.max);
    for row in rows {
        row.name = row.name.replacen("boot/", &format!("boot/{size}/"), 1);
    }
    total
}

/// How much more the costliest of several boots costs than the cheapest.
fn growth(totals: &[u64]) -> impl Iterator<Item = Value> {
    let (least, most) = (totals.iter().min(), totals.iter().max());
    let value = |(least, most): (&u64, &u64)| Value {
        name: GROWTH.to_owned(),
        value: (most * 1000).checked_div(*least).unwrap_or(u64::MAX),
        unit: "per mille".to_owned(),
    };
    least.zip(most).map(value).into_iter()
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
        flags: provenance::flags()?,
        qemu: provenance::qemu()?,
        qemu_command: qemu_command(machine)?,
        commit: provenance::commit(),
    })
}

/// QEMU's command line for `machine`; what stands for the image is the same everywhere.
fn qemu_command(machine: &MachineArgs) -> Result<String> {
    let arguments = machine.qemu_arguments(&Attachments {
        flat: Path::new("IMAGE"),
        disk: None,
        icount: true,
    })?;
    let words = arguments.iter().map(|word| word.to_string_lossy());
    let program = Path::new(&machine::qemu_program()).file_name().map_or_else(
        || "qemu-system-aarch64".into(),
        |name| name.to_string_lossy().into_owned(),
    );
    Ok(std::iter::once(program.into())
        .chain(words)
        .collect::<Vec<_>>()
        .join(" "))
}

/// The machine for a boot with `traces` behind an image of `image_bytes`: as asked for, and larger if
/// nobody asked for a size.
pub(super) fn sized(
    machine: &MachineArgs,
    image_bytes: u64,
    traces: &[Loaded],
) -> Result<MachineArgs> {
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

/// Boots once and gathers the records; `more` is added to the command line, and `gdb` to how the user is
/// told to debug.
fn boot(
    seed: u64,
    session: &Session<'_>,
    (more, gdb): (&str, Option<&str>),
    progress: &ProgressBar,
) -> Result<Collector> {
    let Session {
        image,
        command,
        filter,
        traces,
        machine,
        ..
    } = session;
    let mut filter = (*filter).to_owned().into_bytes();
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
        command_line: format!("cmd={command} seed={seed:#018x} unit=instructions{more}"),
        files,
        icount: true,
        disk: None,
        quiet: false,
        gdb,
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
        filter: &args.filter,
        traces,
        machine: sized(&args.machine, bytes, traces)?,
        is_sized: false,
    };
    Ok(boot(args.seed, &session, ("", Some("")), &ProgressBar::hidden())?.plan)
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
