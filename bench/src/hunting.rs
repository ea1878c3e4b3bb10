//! Hunts on the machine: what is driven, how long, and what the host is told meanwhile.

use crate::hunt::breed::Amounts;
use crate::hunt::genome::{Figure, Genome, Step};
use crate::hunt::{self, Hunt, Outcome, Prey, Quarry, Stage, Watch};
use crate::meter::Meter;
use crate::ops::{self, Ops};
use crate::peers;
use crate::report::Reporter;
use crate::reserve::{self, Reserve};
use crate::table::Table;
use crate::traces;
use kernel::arch::semihosting;
use kernel::mm::addr::{Order, Pfn};
use kernel::vm::vmalloc::VmallocError;
use wire::bench::{HuntStage, Record};
use wire::trace::{Event, Op, Trace};

/// Largest blocks that are free when an evaluation of the kernel's own allocators begins: 64 MiB.
const FREE_BLOCKS: u32 = 16;
/// Free blocks that can be noted, whole or in pieces.
const PLACES: u32 = 65_536;
/// Evaluations after which the host is told.
const GENERATION: u32 = 16;
/// Parts of the time that the search gets; shrinking gets what is left.
const SEARCH_PARTS: (u64, u64) = (3, 4);
/// Steps that one record carries.
const CHUNK_STEPS: usize = 100;

#[expect(clippy::cast_possible_truncation, reason = "thousands")]
const MEMORY: u32 = hunt::MEMORY as u32;
#[expect(clippy::cast_possible_truncation, reason = "2,048")]
const SLOTS: u32 = hunt::SLOTS as u32;

/// Hunts as the run parameters say: `row=ALLOCATOR/alloc` or `…/free`, where the allocator is `kmalloc`,
/// `pages`, `peer/NAME`, or `peer/NAME/pages`. It begins with the traces behind the image. `evaluations=N` ends the search, and then shrinking after as many;
/// `budget=N` ends both in N seconds.
pub fn command(reporter: &Reporter, meter: &Meter, seed: u64) {
    let params = kernel::params();
    let row = params.value("row").unwrap_or_default();
    reporter.send(&Record::Begin { name: row });
    let prey = row
        .rsplit_once('/')
        .and_then(|(allocator, operation)| match operation {
            "alloc" => Some((allocator, Prey::Alloc)),
            "free" => Some((allocator, Prey::Free)),
            _ => None,
        });
    let Some((allocator, prey)) = prey else {
        return reporter.failed(row, format_args!("is neither …/alloc nor …/free"));
    };
    let ground = Ground {
        reporter,
        meter,
        seed,
        row,
        prey,
        evaluations: params.number("evaluations"),
        seconds: params.number("budget"),
    };
    match allocator {
        "kmalloc" => ground.kernel(ops::KMALLOC, Amounts::Bytes),
        "pages" => ground.kernel(ops::PAGES, Amounts::Orders),
        _ => match allocator.strip_prefix("peer/") {
            Some(name) => peers::hunting::run(&ground, name),
            None => reporter.failed(row, format_args!("no allocator is called so")),
        },
    }
}

/// Where a hunt takes place.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// Who tells the host.
    pub reporter: &'a Reporter,
    /// What times operations.
    pub meter: &'a Meter,
    /// The row that is hunted.
    pub row: &'a str,
    seed: u64,
    prey: Prey,
    evaluations: Option<u64>,
    seconds: Option<u64>,
}

impl Ground<'_> {
    /// Hunts one of the kernel's own allocators.
    pub fn kernel(&self, ops: Ops<'_>, amounts: Amounts) {
        match Kernel::new(self.meter, ops) {
            Ok(kernel) => self.hunt(kernel, amounts),
            Err(error) => {
                let why = format_args!("no room to note free memory: {error}");
                self.reporter.failed(self.row, why);
            }
        }
    }

    /// Hunts `quarry`, and sends what was found.
    pub fn hunt(&self, quarry: impl Quarry, amounts: Amounts) {
        let tables = Table::new(MEMORY, Step::NONE)
            .and_then(|memory| Ok((memory, Table::new(SLOTS, None)?)));
        let (mut memory, mut slots) = match tables {
            Ok(tables) => tables,
            Err(error) => {
                let why = format_args!("no room for its genomes: {error}");
                return self.reporter.failed(self.row, why);
            }
        };
        let memory = (&mut memory[..], &mut slots[..]);
        let mut hunt = Hunt::new(quarry, self.prey, amounts, self.seed, memory);
        let mut teller = Teller {
            reporter: self.reporter,
            evaluations: self.evaluations,
            time: self.seconds.map(|budget| (semihosting::seconds(), budget)),
            searched: 0,
            told: 0,
            known: Figure::default(),
        };
        for (name, bytes) in traces::all() {
            let trace = Trace::parse(bytes);
            if !trace.is_some_and(|trace| hunt.begin_with(trace.events().map(step))) {
                let why = format_args!("no trace of at most {} events", hunt::STEPS);
                self.reporter.failed(name, why);
            }
        }
        let (best, evaluations) = hunt.run(&mut teller);
        teller.tell(HuntStage::Over, evaluations, best);
        let refusals = ops::take_refusals();
        if refusals > 0 {
            let why = format_args!("{refusals} frees were refused");
            self.reporter.failed(self.row, why);
        }
    }
}

/// An event of a trace as a step of a genome. A reallocation has nothing to do there.
fn step(event: Event) -> Step {
    // A slot that no genome has is as good as one that is always empty.
    let slot = u16::try_from(event.slot).unwrap_or(u16::MAX);
    match event.op {
        Op::Alloc | Op::Zeroed | Op::Realloc | Op::Pages => Step::Alloc {
            slot,
            amount: event.size,
        },
        Op::Free | Op::FreePages => Step::Free { slot },
    }
}

/// Tells the host how a hunt goes, and when it has gone on long enough.
struct Teller<'a> {
    reporter: &'a Reporter,
    evaluations: Option<u64>,
    /// When it began and how long it may take, in seconds.
    time: Option<(u64, u64)>,
    /// Evaluations of the search.
    searched: u32,
    /// Evaluations when the host was told last, and what it knows.
    told: u32,
    known: Figure,
}

impl Teller<'_> {
    fn tell(&mut self, stage: HuntStage, evaluations: u32, best: &Genome<'_>) {
        if best.figure != self.known {
            self.known = best.figure;
            self.steps(best.steps());
        }
        self.told = evaluations;
        self.reporter.send(&Record::Hunt {
            stage,
            evaluations,
            cost: best.figure.cost,
            path: best.figure.path.word(),
        });
    }

    fn steps(&self, steps: &[Step]) {
        let mut bytes = [0; CHUNK_STEPS * wire::hunt::STEP_BYTES];
        for chunk in steps.chunks(CHUNK_STEPS) {
            let places = bytes.chunks_exact_mut(wire::hunt::STEP_BYTES);
            for (place, &step) in places.zip(chunk) {
                let (slot, amount) = match step {
                    Step::Alloc { slot, amount } => (slot, Some(amount)),
                    Step::Free { slot } => (slot, None),
                };
                place.copy_from_slice(&wire::hunt::Step { slot, amount }.to_bytes());
            }
            let steps = &bytes[..chunk.len() * wire::hunt::STEP_BYTES];
            self.reporter.send(&Record::Steps { steps });
        }
    }

    /// Whether so many of the parts of the time have not passed yet.
    fn has_time(&self, (part, whole): (u64, u64)) -> bool {
        self.time.is_none_or(|(start, budget)| {
            (semihosting::seconds().saturating_sub(start)) * whole < budget * part
        })
    }
}

impl Watch for Teller<'_> {
    fn goes_on(&mut self, stage: Stage, evaluations: u32, best: &Genome<'_>) -> bool {
        let (stage, since, parts) = match stage {
            Stage::Search => {
                self.searched = evaluations;
                (HuntStage::Search, 0, SEARCH_PARTS)
            }
            Stage::Shrink => (HuntStage::Shrink, self.searched, (1, 1)),
        };
        if evaluations >= self.told + GENERATION {
            self.tell(stage, evaluations, best);
        }
        let made = u64::from(evaluations - since);
        self.evaluations.is_none_or(|most| made < most) && self.has_time(parts)
    }
}

/// One of the kernel's own allocators, on 64 MiB of free memory in whole blocks.
#[derive(Debug)]
struct Kernel<'a> {
    meter: &'a Meter,
    ops: Ops<'a>,
    places: Table<(Pfn, Order)>,
    reserve: Option<Reserve>,
}

impl<'a> Kernel<'a> {
    /// The allocator behind `ops`, reset.
    ///
    /// # Errors
    ///
    /// There is no memory for what resetting notes.
    fn new(meter: &'a Meter, ops: Ops<'a>) -> Result<Self, VmallocError> {
        let mut kernel = Self {
            meter,
            ops,
            places: Table::new(PLACES, (Pfn::default(), Order::ZERO))?,
            reserve: None,
        };
        reserve::touch();
        kernel.reset(core::iter::empty());
        Ok(kernel)
    }
}

impl Quarry for Kernel<'_> {
    fn alloc(&mut self, amount: u32) -> Outcome<Option<u64>> {
        alloc(self.ops, self.meter, amount)
    }

    fn free(&mut self, block: u64, amount: u32) -> Outcome<()> {
        free(self.ops, self.meter, block, amount)
    }

    fn reset(&mut self, live: impl Iterator<Item = (u64, u32)>) {
        live.for_each(|(block, amount)| {
            self.ops.free(self.meter, block, amount);
        });
        self.reserve = None;
        // The first time what the watermarks keep back stays where it was, the second time where it
        // always stays.
        for _ in 0..2 {
            reserve::arrange(&mut self.places);
        }
        self.reserve = Some(Reserve::leaving(FREE_BLOCKS));
        reserve::drain_lists();
    }
}

/// An allocation by `ops`.
pub fn alloc(ops: Ops<'_>, meter: &Meter, amount: u32) -> Outcome<Option<u64>> {
    let sample = ops.alloc(meter, amount);
    Outcome {
        result: (sample.result != 0).then_some(sample.result),
        cost: sample.cost,
        path: sample.path,
    }
}

/// A free by `ops`.
pub fn free(ops: Ops<'_>, meter: &Meter, block: u64, amount: u32) -> Outcome<()> {
    let sample = ops.free(meter, block, amount);
    Outcome {
        result: (),
        cost: sample.cost,
        path: sample.path,
    }
}
