//! A search for the costliest single operation that an allocator can be driven to.
//!
//! # Shape
//!
//! ```text
//!   generators ─▶ genome ─▶ evaluation ─▶ the few best ─▶ mutations ─▶ genome …      search
//!                                              │
//!                                              └▶ fewer steps, rounder amounts       shrinking
//! ```
//!
//! A genome is a sequence of allocations and frees on numbered slots. Evaluating one runs it on an
//! allocator that has just been reset, and finds its costliest operation of the kind that is hunted;
//! what follows that operation is cut off, and so are steps that had nothing to do. A best one counts
//! only with what a second evaluation finds: nothing that an earlier genome left behind makes a record.
//!
//! All that is random comes from one generator. So a hunt with the same seed and the same number of
//! evaluations finds the same, and whoever asks how it goes may only end it.
//!
//! This is plain code: what allocates is behind [`Quarry`], and memory for genomes is the caller's.

pub mod breed;
pub mod genome;
pub mod shrink;

use crate::generator::{self, XorshiftStar};
use breed::Amounts;
use genome::{Figure, Genome, Step};
use wire::path::Path;

/// Most steps of a genome.
pub const STEPS: usize = 4096;
/// Slots that steps name.
pub const SLOTS: usize = 2048;
/// Genomes that are kept to be mutated.
const KEPT: u32 = 6;
/// Steps in the memory that a hunt needs: the kept genomes, and two that are tried.
pub const MEMORY: usize = (KEPT as usize + 2) * STEPS;
/// Bytes that a genome may hold at once, each block counted as a power of two: every allocator of the
/// line-up has more, so that memory does not run out.
const MOST_LIVE_BYTES: u64 = 16 << 20;
/// Blocks of each amount that are used before all else: more than any slab of small objects has.
const SETTLING: u16 = 512;
/// Genomes at the start that are drawn and not bred.
const FOUNDERS: u32 = 32;
/// After them one in so many is drawn.
const FRESH_EVERY: u32 = 8;
/// Most mutations between parent and child.
const MUTATIONS: u32 = 3;
/// The seed of hunt 0.
const SEED: u64 = 0xA076_1D64_78BD_642F;

/// Which operations are hunted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prey {
    /// Allocations.
    Alloc,
    /// Frees.
    Free,
}

/// What an operation gave: its result, its cost, and how it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome<R> {
    /// What it returned.
    pub result: R,
    /// What it cost.
    pub cost: u64,
    /// The path that it took.
    pub path: Path,
}

/// The allocator that is driven.
pub trait Quarry {
    /// Allocates `amount`; a failure is no operation of the genome.
    fn alloc(&mut self, amount: u32) -> Outcome<Option<u64>>;

    /// Frees what [`alloc`](Self::alloc) gave for `amount`.
    fn free(&mut self, block: u64, amount: u32) -> Outcome<()>;

    /// Ends an evaluation: `live` is all that was not freed. The next one finds the allocator as the
    /// first one did, as far as that can be had.
    fn reset(&mut self, live: impl Iterator<Item = (u64, u32)>);
}

/// What lives in a slot: a block and its amount.
pub type Slot = Option<(u64, u32)>;

/// What a hunt is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Looking for costlier operations.
    Search,
    /// Looking for a shorter way to the costliest one.
    Shrink,
}

/// Who is told how a hunt goes, and may end a stage of it.
pub trait Watch {
    /// Called before every evaluation; whether there is to be another one. `best` is empty at first.
    fn goes_on(&mut self, stage: Stage, evaluations: u32, best: &Genome<'_>) -> bool;
}

/// A hunt.
#[derive(Debug)]
pub struct Hunt<'m, Q> {
    evaluator: Evaluator<'m, Q>,
    random: XorshiftStar,
    kept: [Genome<'m>; KEPT as usize],
    best: Genome<'m>,
    child: Genome<'m>,
}

impl<'m, Q: Quarry> Hunt<'m, Q> {
    /// A hunt for `prey` of `quarry`, which is as a reset leaves it. Has [`MEMORY`] steps and [`SLOTS`]
    /// empty slots of memory; `seed` decides what is drawn.
    pub fn new(
        quarry: Q,
        prey: Prey,
        amounts: Amounts,
        seed: u64,
        (memory, slots): (&'m mut [Step], &'m mut [Slot]),
    ) -> Self {
        let mut parts = memory.chunks_exact_mut(STEPS);
        let mut genome = || Genome::new(parts.next().unwrap_or_default());
        let mut hunt = Self {
            kept: core::array::from_fn(|_| genome()),
            best: genome(),
            child: genome(),
            random: XorshiftStar::new(generator::seeded(SEED, seed)),
            evaluator: Evaluator {
                quarry,
                prey,
                amounts,
                slots,
                evaluations: 0,
            },
        };
        hunt.settle();
        hunt
    }

    /// Uses what each amount is served from: what is made with the first use, and the order of what boot
    /// has left in slabs, would make the first evaluations unlike the others.
    fn settle(&mut self) {
        for amount in self.evaluator.amounts.each() {
            self.child.truncate(0);
            let fill = (0..SETTLING).map(|slot| Step::Alloc { slot, amount });
            let empty = (0..SETTLING).map(|slot| Step::Free { slot });
            fill.chain(empty).for_each(|step| {
                self.child.push(step);
            });
            self.evaluator.evaluate(&mut self.child);
        }
        self.evaluator.evaluations = 0;
    }

    /// Begins with `steps`, which an earlier hunt found; whether they fit a genome.
    pub fn begin_with(&mut self, steps: impl Iterator<Item = Step>) -> bool {
        self.child.truncate(0);
        for step in steps {
            if !self.child.push(step) {
                return false;
            }
        }
        self.judge();
        true
    }

    /// Searches, then shrinks, each as long as `watch` lets it. Returns the best genome with what the
    /// last evaluation of it found, and how many evaluations there were.
    pub fn run(&mut self, watch: &mut impl Watch) -> (&Genome<'m>, u32) {
        self.search(watch);
        let trial = &mut self.child;
        shrink::shrink(&mut self.evaluator, &mut self.best, trial, watch);
        trial.copy_from(&self.best);
        self.evaluator.evaluate(trial);
        (trial, self.evaluator.evaluations)
    }

    fn search(&mut self, watch: &mut impl Watch) {
        loop {
            let evaluations = self.evaluator.evaluations;
            if !watch.goes_on(Stage::Search, evaluations, &self.best) {
                return;
            }
            self.breed();
            self.judge();
        }
    }

    /// Evaluates the child, once more if it is the best so far, and keeps it if it is good.
    fn judge(&mut self) {
        self.evaluator.evaluate(&mut self.child);
        let first = self.child.figure.cost;
        if first > self.best.figure.cost {
            self.evaluator.evaluate(&mut self.child);
            let again = self.child.figure.cost;
            // One that costs more the second time does not cost that every time either.
            if again > self.best.figure.cost && again <= first {
                self.best.copy_from(&self.child);
            }
        }
        self.keep();
    }

    /// Makes a child, of nothing or of a kept genome.
    fn breed(&mut self) {
        let random = &mut self.random;
        let founds = self.evaluator.evaluations < FOUNDERS || random.below(FRESH_EVERY) == 0;
        let mut parents = [(); 3].map(|()| random.below(KEPT) as usize);
        // The better of two becomes a parent.
        parents[..2].sort_unstable_by_key(|&parent| self.kept[parent].figure.cost);
        let [_, parent, other] = parents;
        if founds || self.kept[parent].steps().is_empty() {
            breed::generate(&mut self.child, self.evaluator.amounts, random);
            return;
        }
        self.child.copy_from(&self.kept[parent]);
        for _ in 0..=random.below(MUTATIONS) {
            let other = &self.kept[other];
            breed::mutate(&mut self.child, other, self.evaluator.amounts, random);
        }
    }

    /// Keeps the child if it is no worse than another one, and instead of that: of the one that went the
    /// same slow path if there is one, so that different ones are kept, else of the worst.
    fn keep(&mut self) {
        let child = self.child.figure;
        let is_known = |kept: &Genome<'_>| kept.figure == child;
        if self.kept.iter().any(is_known) {
            return;
        }
        let goes_the_same =
            |kept: &Genome<'_>| child.path != Path::HIT && kept.figure.path == child.path;
        let same = self.kept.iter().position(goes_the_same);
        let costs = self.kept.iter().map(|kept| kept.figure.cost).enumerate();
        let worst = costs.min_by_key(|&(_, cost)| cost).map(|(index, _)| index);
        if let Some(index) = same.or(worst)
            && child.cost >= self.kept[index].figure.cost
        {
            self.kept[index].copy_from(&self.child);
        }
    }
}

/// What evaluates genomes.
#[derive(Debug)]
pub struct Evaluator<'m, Q> {
    quarry: Q,
    prey: Prey,
    amounts: Amounts,
    slots: &'m mut [Slot],
    evaluations: u32,
}

impl<Q: Quarry> Evaluator<'_, Q> {
    /// Evaluations so far.
    pub const fn evaluations(&self) -> u32 {
        self.evaluations
    }

    /// Runs `genome` and notes its figure. Steps that had nothing to do, and those behind the costliest
    /// one, are gone afterwards.
    pub fn evaluate(&mut self, genome: &mut Genome<'_>) {
        self.evaluations += 1;
        let (mut figure, mut live_bytes) = (Figure::default(), 0);
        let mut ran = 0;
        genome.retain(|step| {
            let Some((prey, Outcome { cost, path, .. })) = self.step(step, &mut live_bytes) else {
                return false;
            };
            ran += 1;
            if prey == self.prey && cost > figure.cost {
                figure = Figure {
                    cost,
                    steps: ran,
                    path,
                };
            }
            true
        });
        genome.truncate(figure.steps);
        genome.figure = figure;
        self.quarry.reset(self.slots.iter().flatten().copied());
        self.slots.fill(None);
    }

    /// Does one step; `None` if there is nothing to do, or no memory.
    fn step(&mut self, step: Step, live_bytes: &mut u64) -> Option<(Prey, Outcome<()>)> {
        let place = self.slots.get_mut(usize::from(step.slot()))?;
        match step {
            Step::Alloc { amount, .. } => {
                let bytes = self.amounts.bytes(amount);
                let fits = self.amounts.allows(amount) && *live_bytes + bytes <= MOST_LIVE_BYTES;
                if place.is_some() || !fits {
                    return None;
                }
                let Outcome { result, cost, path } = self.quarry.alloc(amount);
                *place = Some((result?, amount));
                *live_bytes += bytes;
                let result = ();
                Some((Prey::Alloc, Outcome { result, cost, path }))
            }
            Step::Free { .. } => {
                let (block, amount) = place.take()?;
                *live_bytes -= self.amounts.bytes(amount);
                Some((Prey::Free, self.quarry.free(block, amount)))
            }
        }
    }
}

#[cfg(test)]
mod tests;
