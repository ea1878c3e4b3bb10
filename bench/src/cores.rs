//! Rows of several cores: what one allocates another frees, and all at once.
//!
//! Under `-icount` the machine has one counter for all its cores, which take turns. So the cost of an
//! operation during which others ran is what all executed from its call to its return.
//!
//! # Invariants
//!
//! 1. A core's place in `JOBS` names a job that outlives the core's work, and that nobody else uses
//!    until [`smp::wait`] has returned.
#![allow(
    unsafe_code,
    reason = "lends a job to another core until that core has finished"
)]

use crate::generator::{Orders, XorshiftStar};
use crate::meter::{Meter, Sample};
use crate::ops::Ops;
use crate::plan::{Contention, Operation};
use crate::samples::{Observed, Samples};
use crate::subject::Timed;
use crate::table::Table;
use crate::workload::{self, BATCH, Count, OutOfMemory, Slot, Subject};
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use kernel::smp;
use kernel::sync::percpu::{MAX_CPUS, cpu};
use kernel::sync::wait;

/// The core that frees what the first one allocated.
const OTHER: usize = 1;
/// Batches that are handed over.
const BATCHES: usize = 10;
/// Slots of each core where all work at once.
const SLOTS: usize = 256;
/// What each of them does.
const COUNT: Count = Count {
    warm_up: 1_000,
    recorded: 10_000,
};
/// Largest order of the blocks of page frames.
const LARGEST_ORDER: u32 = 3;
/// What one operation of a core gave.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    observed: Observed,
    is_free: bool,
}

/// What a core can be given.
pub(crate) trait Job: Send {
    /// Does it.
    fn run(&mut self);
}

static JOBS: [AtomicPtr<()>; MAX_CPUS] = [const { AtomicPtr::new(ptr::null_mut()) }; MAX_CPUS];

/// Runs each job on the core of its number, all at once; the first is this core.
pub(crate) fn together<J: Job>(jobs: &mut [J]) {
    let mut places = (0..).zip(jobs);
    let here = places.next();
    let mut cores = 0;
    for (core, job) in places {
        give(core, job);
        cores = core;
    }
    if let Some((_, job)) = here {
        job.run();
    }
    (1..=cores).for_each(smp::wait);
}

/// Lets `core` begin with `job`.
fn give<J: Job>(core: usize, job: &mut J) {
    JOBS[core].store(ptr::from_mut(job).cast(), Ordering::Release);
    smp::on(core, run_given::<J>).expect("cores up to the number of those that run, run");
}

fn run_given<J: Job>() {
    let job = JOBS[cpu()].load(Ordering::Acquire).cast::<J>();
    // SAFETY: `give` stored a job of this type before it gave the core this function; invariant 1.
    unsafe { &mut *job }.run();
}

/// Allocates batches of `amount` on this core, each of which another one frees. Both are timed.
///
/// # Errors
///
/// [`OutOfMemory`], after everything was freed.
pub fn remote_frees(
    timed: &mut Timed<'_>,
    amount: u32,
    slots: &mut [Slot; BATCH],
) -> Result<(), OutOfMemory> {
    for _ in 0..BATCHES {
        let filled = workload::take_all(timed, amount, slots);
        let mut frees = Frees { timed, slots };
        give(OTHER, &mut frees);
        smp::wait(OTHER);
        filled?;
    }
    Ok(())
}

/// Allocates batches of `amount` on this core, each of which all others free at once while the next one
/// is allocated. All are timed; `slots` and `others` hold a batch each.
///
/// # Errors
///
/// [`OutOfMemory`]; what was allocated until then is in the slots.
pub fn storm(
    timed: &mut Timed<'_>,
    amount: u32,
    (slots, others): (&mut [Slot; BATCH], &mut [Slot]),
    costs: &mut Table<Cost>,
) -> Result<(), OutOfMemory> {
    let (meter, ops, samples) = timed.parts();
    let cores = kernel::machine().cpus as usize;
    let (mut next, mut last) = (&mut slots[..], &mut others[..BATCH]);
    for batch in 0..=BATCHES {
        let arrived = AtomicUsize::new(0);
        let mut filled = if batch < BATCHES { &mut *next } else { &mut [] };
        let mut freed = last.chunks_mut(BATCH.div_ceil(cores - 1));
        let mut costs = costs.chunks_exact_mut(COUNT.recorded as usize);
        let mut jobs: [Contender<'_>; MAX_CPUS] = core::array::from_fn(|core| Contender {
            meter,
            ops,
            part: if core == 0 {
                Part::Fill(amount)
            } else {
                Part::Free
            },
            slots: match core {
                0 => core::mem::take(&mut filled),
                _ => freed.next().unwrap_or_default(),
            },
            costs: costs.next().unwrap_or_default(),
            used: 0,
            line: (&arrived, cores),
            result: Ok(()),
        });
        let jobs = &mut jobs[..cores];
        together(jobs);
        jobs.iter().try_for_each(|job| job.tell(samples))?;
        core::mem::swap(&mut next, &mut last);
    }
    Ok(())
}

/// Lets the event counters of every core count what `meter` does.
pub fn start_counting(meter: &Meter) {
    let mut jobs = [StartCounting(meter); MAX_CPUS];
    together(&mut jobs[..kernel::machine().cpus as usize]);
}

#[derive(Clone, Copy)]
struct StartCounting<'a>(&'a Meter);

impl Job for StartCounting<'_> {
    fn run(&mut self) {
        self.0.start();
    }
}

struct Frees<'a, 'b> {
    timed: &'a mut Timed<'b>,
    slots: &'a mut [Slot],
}

impl Job for Frees<'_, '_> {
    fn run(&mut self) {
        workload::give_all(self.timed, self.slots);
    }
}

/// Every core toggles slots of its own, all at once, and frees what is left.
///
/// # Errors
///
/// [`OutOfMemory`] of any of them; everything was freed.
pub fn contend(
    meter: &Meter,
    ops: Ops<'_>,
    contention: Contention,
    random: impl Fn(u64) -> XorshiftStar,
    samples: &mut [Samples; Operation::ALL.len()],
    (slots, costs): (&mut [Slot], &mut Table<Cost>),
) -> Result<(), OutOfMemory> {
    let cores = kernel::machine().cpus as usize;
    let mut slots = slots.chunks_exact_mut(SLOTS);
    let mut costs = costs.chunks_exact_mut(COUNT.recorded as usize);
    let arrived = AtomicUsize::new(0);
    let mut jobs: [Contender<'_>; MAX_CPUS] = core::array::from_fn(|core| Contender {
        meter,
        ops,
        part: Part::Toggle(contention, random(core as u64)),
        slots: slots.next().unwrap_or_default(),
        costs: costs.next().unwrap_or_default(),
        used: 0,
        line: (&arrived, cores),
        result: Ok(()),
    });
    let jobs = &mut jobs[..cores];
    together(jobs);
    jobs.iter().try_for_each(|job| job.tell(samples))
}

/// A table for the costs that [`contend`] sees.
///
/// # Errors
///
/// There is no memory for it.
pub fn costs() -> Result<Table<Cost>, kernel::vm::vmalloc::VmallocError> {
    Table::new(kernel::machine().cpus * COUNT.recorded, Cost::default())
}

/// What a core does where all work at once.
enum Part {
    /// Toggles its slots, and frees what is left.
    Toggle(Contention, XorshiftStar),
    /// Fills its slots with this amount each.
    Fill(u32),
    /// Frees what is in its slots.
    Free,
}

/// One core's part where all work at once, and what it saw.
struct Contender<'a> {
    meter: &'a Meter,
    ops: Ops<'a>,
    part: Part,
    slots: &'a mut [Slot],
    costs: &'a mut [Cost],
    used: usize,
    /// How many cores are ready, and how many there are.
    line: (&'a AtomicUsize, usize),
    result: Result<(), OutOfMemory>,
}

impl Job for Contender<'_> {
    fn run(&mut self) {
        let (arrived, cores) = self.line;
        arrived.fetch_add(1, Ordering::Relaxed);
        while arrived.load(Ordering::Relaxed) < cores {
            wait::pause();
        }
        let slots = core::mem::take(&mut self.slots);
        match self.part {
            Part::Toggle(contention, ref random) => {
                let mut random = random.clone();
                self.result = match contention {
                    Contention::Objects => workload::toggle(self, &mut random, COUNT, slots),
                    Contention::Pages => {
                        let mut orders = Orders(random, LARGEST_ORDER);
                        workload::toggle(self, &mut orders, COUNT, slots)
                    }
                };
                workload::clear(self, slots);
            }
            Part::Fill(amount) => self.result = workload::take_all(self, amount, slots),
            Part::Free => workload::give_all(self, slots),
        }
    }
}

impl Contender<'_> {
    /// Makes samples of what it saw.
    fn tell(&self, samples: &mut [Samples; Operation::ALL.len()]) -> Result<(), OutOfMemory> {
        for cost in &self.costs[..self.used] {
            let operation = if cost.is_free {
                Operation::Free
            } else {
                Operation::Alloc
            };
            samples[operation.index()].take(cost.observed, true);
        }
        self.result
    }

    /// Ends an operation; returns its result.
    fn take(&mut self, sample: Sample, amount: u32, is_free: bool, recorded: bool) -> u64 {
        if recorded && let Some(cost) = self.costs.get_mut(self.used) {
            let observed = sample.observed(amount.into());
            *cost = Cost { observed, is_free };
            self.used += 1;
        }
        // The others' turn, or one core would do everything before the next one began.
        wait::pause();
        sample.result
    }
}

impl Subject for Contender<'_> {
    fn alloc(&mut self, amount: u32, recorded: bool) -> Option<u64> {
        let sample = self.ops.alloc(self.meter, amount);
        let block = self.take(sample, amount, false, recorded);
        (block != 0).then_some(block)
    }

    fn free(&mut self, block: u64, amount: u32, recorded: bool) {
        let sample = self.ops.free(self.meter, block, amount);
        self.take(sample, amount, true, recorded);
    }
}
