//! The rows of recorded traces: on one core in the recorded order, and by thread on all of them.
//!
//! On one core a timeline goes with them: how much the trace asked for and how much was held for it, at
//! some hundred points, none of which lies inside of what is timed.

use crate::cores::{self, Job};
use crate::heap::{Cost, KernelHeap};
use crate::meter::Meter;
use crate::name::Name;
use crate::plan::Operation;
use crate::replay::{self, Entry, Point, ReplayError};
use crate::report::Reporter;
use crate::samples::Samples;
use crate::scratch::Scratch;
use crate::table::Table;
use crate::threads::{self, Place, Together};
use core::array;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32};
use kernel::mm::addr::Order;
use kernel::mm::frames;
use kernel::sync::percpu::MAX_CPUS;
use kernel::sync::wait;
use kernel::vm::vmalloc::VmallocError;
use wire::bench::Record;
use wire::trace::{Op, Trace};

/// What payload files that hold traces are called, before the trace's name.
const PREFIX: &str = "trace:";
/// What the rows of a trace measure.
const ABOUT: &str = "A recorded trace, every object stamped and verified.";
/// What those measure that several cores make.
const ABOUT_THREADS: &str = "A recorded trace, thread N on core N modulo their number: what all cores executed from an \
     operation's call to its return.";

/// The traces behind the image: name and bytes.
pub fn all() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    kernel::payload_files().filter_map(|(name, bytes)| Some((name.strip_prefix(PREFIX)?, bytes)))
}

/// Whether the threads of `trace` have cores of their own here.
fn is_for_cores(trace: &Trace<'_>) -> bool {
    trace.totals.threads > 1 && kernel::machine().cpus > 1
}

/// Measures traces.
#[derive(Clone, Copy, Debug)]
pub struct Traces<'a> {
    /// Who is told.
    pub reporter: &'a Reporter,
    /// What measures.
    pub meter: &'a Meter,
}

impl Traces<'_> {
    /// Sends the rows of one core as the plan.
    pub fn plan(self) {
        for (name, bytes) in all() {
            let family = family(name);
            for operation in Trace::parse(bytes).iter().flat_map(operations) {
                self.reporter.plan(&family, &[operation], ABOUT);
            }
        }
    }

    /// Sends the rows of several cores as the plan.
    pub fn plan_threads(self) {
        for (name, bytes) in all() {
            let family = family_of_cores(name);
            let trace = Trace::parse(bytes).filter(is_for_cores);
            for operation in trace.iter().flat_map(operations) {
                self.reporter.plan(&family, &[operation], ABOUT_THREADS);
            }
        }
    }

    /// Replays each trace on this core.
    pub fn measure(self, scratch: &mut Scratch) {
        for (name, bytes) in all() {
            let family = family(name);
            if let Some(trace) = self.wanted(&family, bytes) {
                let replayed = self.on_one_core(&family, &trace, scratch);
                self.tell(&family, &trace, replayed, scratch);
            }
        }
    }

    /// Replays each trace that tells of several threads on all cores.
    pub fn measure_threads(self, scratch: &mut Scratch) {
        for (name, bytes) in all() {
            let family = family_of_cores(name);
            if let Some(trace) = self.wanted(&family, bytes)
                && is_for_cores(&trace)
            {
                let replayed = self.on_all_cores(&family, &trace, scratch);
                self.tell(&family, &trace, replayed, scratch);
            }
        }
    }

    /// The trace in `bytes`, if any of its rows was asked for.
    fn wanted<'t>(self, family: &str, bytes: &'t [u8]) -> Option<Trace<'t>> {
        let Some(trace) = Trace::parse(bytes) else {
            let why = format_args!("the payload holds no sound trace");
            self.reporter.failed(family, why);
            return None;
        };
        let wanted = operations(&trace).any(|one| self.reporter.wants_any(family, &[one]));
        wanted.then_some(trace)
    }

    fn on_one_core(
        self,
        family: &str,
        trace: &Trace<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), TraceError> {
        self.reporter.send(&Record::Begin { name: family });
        scratch.begin(family);
        let mut entries = Table::new(trace.totals.slots, Entry::Empty)?;
        let mut heap = KernelHeap::timed(self.meter, &mut scratch.samples);
        let totals = replay::replay(&mut heap, trace, &mut entries, |point| {
            self.reporter.send(&record(family, point));
        })?;
        let (asked, held) = (totals.peak_asked_bytes, totals.peak_held_bytes);
        self.value(family, "peak-asked", asked, "bytes");
        self.value(family, "peak-held", held, "bytes");
        Ok(())
    }

    fn on_all_cores(
        self,
        family: &str,
        trace: &Trace<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), TraceError> {
        self.reporter.send(&Record::Begin { name: family });
        scratch.begin(family);
        let slots = trace.totals.slots;
        let mut previous = Table::new(trace.totals.events, 0)?;
        threads::find_previous(trace, &mut Table::new(slots, 0)?, &mut previous);
        let places = Table::of(slots, Place::new)?;
        let next: [AtomicU32; MAX_CPUS] = array::from_fn(|_| AtomicU32::new(0));
        let together = Together {
            trace: *trace,
            previous: &previous,
            places: &places,
            next: &next[..kernel::machine().cpus as usize],
            stop: AtomicBool::new(false),
            pause: wait::pause,
        };
        let mut costs = Table::new(trace.totals.events, Cost::none())?;
        replay_parts(&together, self.meter, &mut costs, &mut scratch.samples)?;
        Ok(())
    }

    fn tell(
        self,
        family: &str,
        trace: &Trace<'_>,
        replayed: Result<(), TraceError>,
        scratch: &Scratch,
    ) {
        if let Err(error) = replayed {
            self.reporter.failed(family, format_args!("{error}"));
            return;
        }
        for operation in operations(trace) {
            self.reporter.family(family, &[operation], &scratch.samples);
        }
        let sums = scratch.samples.iter().map(|samples| samples.totals().sum);
        self.value(family, "events", trace.len() as u64, "events");
        self.value(family, "total", sums.sum(), self.meter.unit().name());
    }

    fn value(self, family: &str, what: &str, value: u64, unit: &str) {
        self.reporter
            .value(format_args!("{family}/{what}"), value, unit);
    }
}

/// Replays on all cores, each noting its costs in a part of `costs`; then makes samples of these in the
/// order of the trace.
fn replay_parts(
    together: &Together<'_>,
    meter: &Meter,
    costs: &mut [Cost],
    samples: &mut [Samples; Operation::ALL.len()],
) -> Result<(), ReplayError> {
    let cores = together.next.len();
    let mut counts = [0; MAX_CPUS];
    for event in together.trace.events() {
        counts[together.core(&event)] += 1;
    }
    let mut rest = &mut *costs;
    let mut parts: [Part<'_>; MAX_CPUS] = array::from_fn(|core| {
        let (costs, others) = core::mem::take(&mut rest).split_at_mut(counts[core]);
        rest = others;
        Part {
            together,
            meter,
            core,
            costs,
            result: Ok(()),
        }
    });
    cores::together(&mut parts[..cores]);
    // The first event that went wrong is the one to tell.
    let errors = parts.iter().filter_map(|part| part.result.err());
    let error = errors.min_by_key(|error| error.event);
    let cleared = together.clear(&mut KernelHeap::untimed());
    error.map_or(Ok(()), Err)?;
    cleared?;
    let mut costs = parts.map(|part| part.costs.iter());
    for event in together.trace.events() {
        if let Some(cost) = costs[together.core(&event)].next() {
            cost.tell(samples);
        }
    }
    Ok(())
}

/// What one core does.
struct Part<'a> {
    together: &'a Together<'a>,
    meter: &'a Meter,
    core: usize,
    costs: &'a mut [Cost],
    result: Result<(), ReplayError>,
}

impl Job for Part<'_> {
    fn run(&mut self) {
        let mut heap = KernelHeap::noted(self.meter, self.costs);
        self.result = self.together.part(self.core, &mut heap);
    }
}

/// Why a trace was not replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TraceError {
    NoTable(VmallocError),
    Replay(ReplayError),
}

impl From<VmallocError> for TraceError {
    fn from(error: VmallocError) -> Self {
        Self::NoTable(error)
    }
}

impl From<ReplayError> for TraceError {
    fn from(error: ReplayError) -> Self {
        Self::Replay(error)
    }
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTable(error) => write!(f, "no room for its slots: {error}"),
            Self::Replay(error) => write!(f, "{error}"),
        }
    }
}

fn family(name: &str) -> Name {
    Name::new(format_args!("trace/{name}"))
}

fn family_of_cores(name: &str) -> Name {
    Name::new(format_args!("trace/{name}/smp"))
}

/// How memory stands, with how its free part is cut up.
fn record(name: &str, point: Point) -> Record<'_> {
    Record::Point {
        name,
        at: point.events.into(),
        asked: point.asked_bytes,
        held: point.held_bytes,
        fragmented: frames::global().map_or(0, fragmented),
    }
}

/// Free frames that are in no block of 2 MiB or more, in thousandths of all that are free. What cores
/// have listed are single frames.
fn fragmented(all: &frames::Frames<'_>) -> u64 {
    /// 2 MiB.
    const HUGE: usize = 9;
    let free = u64::from(all.free_frames());
    let huge = |blocks: &[u32; Order::COUNT]| -> u64 {
        let huge = blocks.iter().enumerate().skip(HUGE);
        huge.map(|(order, &count)| u64::from(count) << order).sum()
    };
    let huge: u64 = all.zones().map(|zone| huge(&zone.free_blocks)).sum();
    free.saturating_sub(huge) * 1000 / free.max(1)
}

/// The operations that `trace` has events of.
pub(crate) fn operations(trace: &Trace<'_>) -> impl Iterator<Item = Operation> + use<> {
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
