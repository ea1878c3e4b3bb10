//! Row after row: which are wanted, what each does, and what is sent of it.

use crate::entries::Entries;
use crate::generator::{self, Xorshift, XorshiftStar};
use crate::heap::TimedHeap;
use crate::meter::Meter;
use crate::ops::{self, DmaUser, Ops};
use crate::plan::{self, Family, Name, Operation, Work};
use crate::replay;
use crate::report::Reporter;
use crate::scratch::Scratch;
use crate::self_check;
use crate::subject::Timed;
use crate::workload::{self, OutOfMemory};
use aarch64_cpu::registers::{MIDR_EL1, Readable};
use core::fmt;
use kernel::ExitCode;
use wire::bench::Record;
use wire::trace::{Op, Trace};

/// What payload files that hold traces are called, before the trace's name.
const TRACE_PREFIX: &str = "trace:";
/// What the rows of a boot phase measure.
const ABOUT_BOOT: &str = "From the image's first instruction to the app, by phase; one sample.";
/// What the rows of a trace measure.
const ABOUT_TRACE: &str = "A recorded trace, every object stamped and verified.";

/// The payload file that holds the filter, padded with spaces: there, and not on the command line, so
/// that boot costs the same whatever is filtered.
const FILTER_FILE: &str = "filter";

/// Lists rows or measures them, as the run parameters say: `cmd=list` for all rows, `cmd=replay` for
/// the traces behind the image alone, anything else for all rows but those.
///
/// `unit=instructions` promises that the counter counts those, and the self-checks then hold it to
/// that. `seed=N` changes the sequences of the seeded rows; 0 are the published ones.
pub fn run(scratch: &mut Scratch) -> ExitCode {
    let params = kernel::params();
    let session = Session {
        reporter: Reporter::new(filter()),
        meter: Meter::calibrated(),
        seed: params.number("seed").unwrap_or(0),
    };
    let command = params.value("cmd").unwrap_or_default();
    if command != "replay" {
        session.plan_rows();
    }
    if command == "replay" || command == "list" {
        session.plan_traces();
    }
    if command != "list" {
        let exact = params.value("unit") == Some("instructions");
        session.measure(exact, command == "replay", scratch);
    }
    session.reporter.end();
    if session.reporter.has_failed() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// What selects rows: a run parameter, else the payload's file, else everything.
fn filter() -> &'static str {
    let file = kernel::payload_files().find(|&(name, _)| name == FILTER_FILE);
    let file = file
        .and_then(|(_, bytes)| core::str::from_utf8(bytes).ok())
        .map(str::trim);
    kernel::params().value("filter").or(file).unwrap_or("*")
}

/// Objects of the batches and of the cache.
const OBJECT_BYTES: u32 = 64;
/// Why a family was not measured.
#[derive(Debug)]
enum WorkError {
    OutOfMemory(OutOfMemory),
    RefusedFrees(u32),
}

impl fmt::Display for WorkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory(error) => error.fmt(f),
            Self::RefusedFrees(frees) => write!(f, "{frees} frees were refused"),
        }
    }
}

impl From<OutOfMemory> for WorkError {
    fn from(error: OutOfMemory) -> Self {
        Self::OutOfMemory(error)
    }
}

struct Session {
    reporter: Reporter,
    meter: Meter,
    seed: u64,
}

impl Session {
    fn header(&self) {
        let machine = kernel::machine();
        self.reporter.send(&Record::Header {
            midr: MIDR_EL1.get(),
            entry_el: machine.entry_el,
            memory_bytes: machine.memory_bytes,
            cpus: machine.cpus,
            overhead: self.meter.overhead(),
            empty: self.meter.of_a_return(),
            nops: self.meter.of_hundred_nops(),
            seed: self.seed,
            tier: if cfg!(feature = "hardened") {
                "hardened"
            } else {
                "default"
            },
        });
    }

    fn measure(&self, exact: bool, replay: bool, scratch: &mut Scratch) {
        self.header();
        self_check::run(&self.meter, &self.reporter, exact, scratch);
        if replay {
            for (name, bytes) in traces() {
                self.trace(name, bytes, scratch);
            }
            return;
        }
        self.boot(scratch);
        // Each family finds the allocators as those before it left them. So all up to the last one that
        // is wanted run, and a row's figures do not depend on the filter.
        let wanted = |family: &Family| self.reporter.wants_any(&family.name, &Operation::PAIR);
        let mut left = plan::families().filter(wanted).count();
        for family in plan::families() {
            if left == 0 {
                break;
            }
            left -= usize::from(wanted(&family));
            self.family(&family, scratch);
        }
    }

    fn plan_rows(&self) {
        let boot = kernel::boot::phases()
            .map(|(phase, _)| phase)
            .chain(["total"]);
        boot.for_each(|phase| {
            self.reporter
                .plan_row(&Name::new(format_args!("boot/{phase}")), ABOUT_BOOT);
        });
        for family in plan::families() {
            self.reporter
                .plan(&family.name, &Operation::PAIR, family.work.about());
        }
    }

    fn plan_traces(&self) {
        for (name, bytes) in traces() {
            let family = Name::new(format_args!("trace/{name}"));
            for operation in Trace::parse(bytes).iter().flat_map(operations) {
                self.reporter.plan(&family, &[operation], ABOUT_TRACE);
            }
        }
    }

    fn boot(&self, scratch: &mut Scratch) {
        let samples = &mut scratch.samples[Operation::Alloc.index()];
        let mut total = 0;
        let mut row = |phase: &str, cost| {
            let name = Name::new(format_args!("boot/{phase}"));
            if self.reporter.wants(&name) {
                samples.clear();
                samples.take(cost, true);
                self.reporter.row(&name, samples);
            }
        };
        for (phase, cost) in kernel::boot::phases() {
            row(phase, cost);
            total += cost;
        }
        row("total", total);
    }

    fn family(&self, family: &Family, scratch: &mut Scratch) {
        let name = &*family.name;
        self.reporter.send(&Record::Begin { name });
        clear(scratch);
        match self.work(family.work, scratch) {
            Ok(()) => self
                .reporter
                .family(name, &Operation::PAIR, &scratch.samples),
            Err(error) => self.reporter.failed(name, format_args!("{error}")),
        }
    }

    fn work(&self, work: Work, scratch: &mut Scratch) -> Result<(), WorkError> {
        let mut user = DmaUser::new();
        let ops = match work {
            Work::Layout(bytes) => ops::constant_layout(bytes).unwrap_or(ops::KMALLOC),
            Work::Cache64 => ops::CACHE_64,
            Work::Pages(_) => ops::PAGES,
            Work::Vmalloc(_) => ops::VMALLOC,
            Work::Dma(_) => ops::dma(&mut user),
            _ => ops::KMALLOC,
        };
        self.sequence(work, ops, scratch)
    }

    fn sequence(&self, work: Work, ops: Ops<'_>, scratch: &mut Scratch) -> Result<(), WorkError> {
        let Scratch {
            samples,
            mixed,
            batch,
            order,
        } = scratch;
        let timed = &mut Timed::new(&self.meter, ops, samples);
        let mut crates = XorshiftStar::new(generator::seeded(generator::CRATES_SEED, self.seed));
        let mut linux = Xorshift::new(generator::seeded(generator::LINUX_SEED, self.seed));
        match work {
            Work::Kmalloc(amount)
            | Work::Layout(amount)
            | Work::Vmalloc(amount)
            | Work::Dma(amount) => workload::hot(timed, amount),
            Work::Cache64 => workload::hot(timed, OBJECT_BYTES),
            Work::Pages(order) => workload::hot(timed, u32::from(order)),
            Work::Batch64(free_order) => {
                workload::batch(timed, OBJECT_BYTES, free_order, &mut crates, (batch, order))
            }
            Work::Toggle => workload::toggle(timed, &mut crates, workload::TOGGLE_WARM_UP, mixed),
            Work::ToggleLinux => workload::toggle(timed, &mut linux, 0, mixed),
            Work::Replace => workload::replace(timed, &mut linux, mixed),
        }?;
        match timed.refused_frees() {
            0 => Ok(()),
            refused => Err(WorkError::RefusedFrees(refused)),
        }
    }

    fn trace(&self, name: &str, bytes: &[u8], scratch: &mut Scratch) {
        let family = Name::new(format_args!("trace/{name}"));
        let Some(trace) = Trace::parse(bytes) else {
            self.reporter
                .failed(&family, format_args!("the payload holds no sound trace"));
            return;
        };
        let wanted =
            operations(&trace).any(|operation| self.reporter.wants_any(&family, &[operation]));
        if !wanted {
            return;
        }
        self.reporter.send(&Record::Begin { name: &family });
        clear(scratch);
        let mut entries = match Entries::new(trace.slots) {
            Ok(entries) => entries,
            Err(error) => {
                self.reporter
                    .failed(&family, format_args!("no room for its slots: {error}"));
                return;
            }
        };
        let mut heap = TimedHeap::new(&self.meter, &mut scratch.samples);
        match replay::replay(&mut heap, &trace, &mut entries) {
            Ok(totals) => self.trace_totals(&family, &trace, &totals, scratch),
            Err(error) => self.reporter.failed(&family, format_args!("{error}")),
        }
    }

    fn trace_totals(
        &self,
        family: &str,
        trace: &Trace<'_>,
        totals: &replay::Totals,
        scratch: &Scratch,
    ) {
        for operation in operations(trace) {
            self.reporter.family(family, &[operation], &scratch.samples);
        }
        let spent = scratch
            .samples
            .iter()
            .map(|samples| samples.totals().sum)
            .sum();
        let reporter = &self.reporter;
        reporter.value(
            format_args!("{family}/events"),
            trace.len() as u64,
            "events",
        );
        reporter.value(
            format_args!("{family}/peak-asked"),
            totals.peak_asked_bytes,
            "bytes",
        );
        reporter.value(
            format_args!("{family}/peak-held"),
            totals.peak_held_bytes,
            "bytes",
        );
        reporter.value(format_args!("{family}/total"), spent, "instructions");
    }
}

fn clear(scratch: &mut Scratch) {
    scratch
        .samples
        .iter_mut()
        .for_each(crate::samples::Samples::clear);
}

/// The traces behind the image: name and bytes.
fn traces() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    kernel::payload_files()
        .filter_map(|(name, bytes)| Some((name.strip_prefix(TRACE_PREFIX)?, bytes)))
}

/// The operations that `trace` has events of.
fn operations(trace: &Trace<'_>) -> impl Iterator<Item = Operation> {
    let mut seen = [false; Operation::ALL.len()];
    for event in trace.events() {
        let operation = match event.op {
            Op::Alloc => Operation::Alloc,
            Op::Free => Operation::Free,
            Op::Zeroed => Operation::Zeroed,
            Op::Realloc => Operation::Realloc,
            Op::Pages => Operation::PagesAlloc,
            Op::FreePages => Operation::PagesFree,
        };
        seen[operation.index()] = true;
    }
    Operation::ALL
        .into_iter()
        .filter(move |operation| seen[operation.index()])
}
