//! A run: what is booted for it, and the report that the boots make together.

use super::boots;
use super::collect::{Collector, Header};
use super::goals;
use super::own::Own;
use super::peers::{self, Peer};
use super::provenance;
use super::report::{BootCost, Provenance, Report, Row, SCHEMA, Value};
use super::session;
use super::{Args, Images, TIMEOUT_SECONDS};
use crate::console;
use crate::machine::{self, Attachments, Board, MachineArgs, Size};
use crate::trace::Loaded;
use crate::trace::memory;
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use wire::glob;

/// The memory that raspi4b's device tree, and the built-in description of that board, tell of.
const RASPI4B_MEMORY: Size = Size(960 << 20);
/// The figure of that comparison.
pub(super) const GROWTH: &str = "boot/growth";

/// Boots as often as it takes, and gathers what was measured.
///
/// # Errors
///
/// If a trace fits no machine, a boot does not count, or nothing was measured.
pub(super) fn measure(args: &Args, images: &Images, traces: &[Loaded]) -> Result<Report> {
    let mut sessions = session::sessions(args, images, traces)?;
    let part = args.shard.map(|shard| shard.part(&args.filter, &sessions));
    if let Some(shard) = args.shard {
        sessions = shard.of(sessions)?;
    }
    let mut report = Report::default();
    let mut totals = Vec::new();
    let mut header = None::<Header>;
    for (session, mut collector) in sessions.iter().zip(boots::run(args, &sessions)?) {
        if collector.is_left_out {
            report.excluded.extend(collector.excluded);
            continue;
        }
        let found = collector.check()?;
        if let Some(first) = &header {
            ensure!(first == found, "two boots differ: {first:?}, {found:?}");
        }
        header = Some(found.clone());
        if let Some(size) = session.size {
            totals.extend(name_by_size(&mut collector.rows, size));
        }
        report.boots.push(BootCost {
            name: session.label(),
            instructions: collector.spent,
        });
        gather(args, &mut report, collector);
    }
    let growth = growth(&totals).filter(|value| glob::selects(&args.filter, &value.name));
    report.values.extend(growth);
    let header = header.context("no image was booted")?;
    let provenance = provenance(args, header.clone())?;
    let mut report = finish(args, report, &header, provenance)?;
    report.shard = part;
    report.goals = goals::of(&report, &args.filter)?;
    if !args.check {
        // What nobody asked to measure is not missed.
        report.goals.retain(|goal| goal.found.is_some());
    }
    Ok(report)
}

/// What was measured beside ours, the reader's own first.
fn beside(args: &Args) -> Result<Vec<Peer>> {
    let own = args.allocator.as_deref().map(Own::find).transpose()?;
    let peers = peers::of(&peers::features(&args.peers)?)?;
    Ok(own.into_iter().map(Own::into_peer).chain(peers).collect())
}

/// Adds what `args` select of what one boot measured.
pub(super) fn gather(args: &Args, report: &mut Report, collector: Collector) {
    let wanted = |name: &str| glob::selects(&args.filter, name);
    let rows = collector.rows.into_iter();
    report.rows.extend(rows.filter(|row| wanted(&row.name)));
    let values = collector.values.into_iter();
    report
        .values
        .extend(values.filter(|value| wanted(&value.name)));
    for excluded in collector.excluded {
        // A whole allocator is left out by each of its families.
        if !report.excluded.contains(&excluded) {
            report.excluded.push(excluded);
        }
    }
    report.events = collector.events;
    report.timelines.extend(collector.timelines);
    report.maps.extend(collector.maps);
}

/// The report of what was gathered, by images that say `header`.
///
/// # Errors
///
/// If nothing was measured.
pub(super) fn finish(
    args: &Args,
    report: Report,
    header: &Header,
    provenance: Provenance,
) -> Result<Report> {
    ensure!(
        !(report.rows.is_empty() && report.values.is_empty() && report.excluded.is_empty()),
        "no row is called `{}`; --list shows them",
        args.filter
    );
    Ok(Report {
        schema: SCHEMA,
        unit: header.unit.name().to_owned(),
        overhead: header.overhead,
        empty: header.empty,
        nops: header.nops,
        provenance,
        peers: beside(args)?,
        ..report
    })
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
    for session in session::sessions(args, images, traces)? {
        boots::watch(args, &session, &more, gdb)?.check()?;
    }
    Ok(())
}

/// Whether `filter` may select rows whose names begin with the word `front`.
pub(super) fn wants(filter: &str, front: &str) -> bool {
    filter.split(',').any(|pattern| {
        let first = pattern.split('/').next().unwrap_or_default();
        first.contains(['*', '?']) || first == front
    })
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

/// Where a run of an image that says `header` took place.
///
/// # Errors
///
/// If the compiler or QEMU cannot be asked.
pub(super) fn provenance(args: &Args, header: Header) -> Result<Provenance> {
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
