//! That a hunt finds what is there, says no more than is there, and makes it short.

use super::*;
use std::collections::BTreeMap;

const fn outcome<R>(result: R, cost: u64) -> Outcome<R> {
    let path = Path::HIT;
    Outcome { result, cost, path }
}

/// First fit over holes by address: an operation costs those that it passes, and freeing merges them.
struct List {
    /// By where they begin: where they end.
    holes: BTreeMap<u64, u64>,
    resets: u32,
}

impl List {
    fn new() -> Self {
        Self {
            holes: BTreeMap::from([(0, u64::MAX)]),
            resets: 0,
        }
    }
}

impl Quarry for List {
    fn alloc(&mut self, amount: u32) -> Outcome<Option<u64>> {
        let bytes = u64::from(amount);
        let fits = |&(_, (start, end)): &(u64, (&u64, &u64))| end - start >= bytes;
        let (cost, (&start, &end)) = (1..).zip(&self.holes).find(fits).unwrap();
        self.holes.remove(&start);
        if end > start + bytes {
            self.holes.insert(start + bytes, end);
        }
        outcome(Some(start), cost)
    }

    fn free(&mut self, block: u64, amount: u32) -> Outcome<()> {
        let (mut start, mut end) = (block, block + u64::from(amount));
        let cost = 1 + self.holes.range(..block).count() as u64;
        if let Some((&before, &its_end)) = self.holes.range(..block).next_back() {
            assert!(its_end <= block, "freed twice");
            start = if its_end == block { before } else { start };
        }
        end = self.holes.remove(&end).unwrap_or(end);
        self.holes.insert(start, end);
        outcome((), cost)
    }

    fn reset(&mut self, live: impl Iterator<Item = (u64, u32)>) {
        live.for_each(|(block, amount)| {
            self.free(block, amount);
        });
        assert_eq!(self.holes.len(), 1, "something is still live");
        self.resets += 1;
    }
}

/// Costs a thousand in one evaluation, counted from the first one after those that settle, and 1 in all
/// others.
struct Moody {
    evaluation: usize,
    dear: usize,
}

impl Moody {
    const fn new(dear: usize) -> Self {
        let evaluation = 0;
        Self { evaluation, dear }
    }
}

impl Quarry for Moody {
    fn alloc(&mut self, amount: u32) -> Outcome<Option<u64>> {
        let is_dear = self.evaluation == Amounts::Bytes.each().count() + self.dear;
        let cost = if is_dear { 1000 } else { 1 };
        // The largest do not fit.
        let result = (amount < 1 << 16).then_some(u64::from(amount));
        outcome(result, cost)
    }
    fn free(&mut self, block: u64, amount: u32) -> Outcome<()> {
        assert_eq!(block, u64::from(amount));
        outcome((), 1)
    }
    fn reset(&mut self, _: impl Iterator<Item = (u64, u32)>) {
        self.evaluation += 1;
    }
}

/// Lets each stage have so many evaluations, and notes the best figures.
struct Budget {
    search: u32,
    shrink: u32,
    searched: u64,
}

impl Watch for Budget {
    fn goes_on(&mut self, stage: Stage, evaluations: u32, best: &Genome<'_>) -> bool {
        match stage {
            Stage::Search => {
                self.searched = best.figure.cost;
                evaluations < self.search
            }
            Stage::Shrink => evaluations < self.search + self.shrink,
        }
    }
}

/// What a hunt found: its steps, its cost, the cost before shrinking, and its evaluations.
fn hunted<Q: Quarry>(
    quarry: Q,
    prey: Prey,
    seed: u64,
    (search, shrink): (u32, u32),
) -> (Vec<Step>, u64, u64, u32) {
    let (mut memory, mut slots) = (vec![Step::NONE; MEMORY], vec![None; SLOTS]);
    let memory = (&mut memory[..], &mut slots[..]);
    let mut hunt = Hunt::new(quarry, prey, Amounts::Bytes, seed, memory);
    let mut budget = Budget {
        search,
        shrink,
        searched: 0,
    };
    let (best, evaluations) = hunt.run(&mut budget);
    let found = (best.steps().to_vec(), best.figure.cost);
    (found.0, found.1, budget.searched, evaluations)
}

#[test]
fn a_list_heap_is_driven_to_long_searches() {
    for prey in [Prey::Alloc, Prey::Free] {
        let (_, cost, ..) = hunted(List::new(), prey, 0, (50, 0));
        assert!(cost > 100, "{prey:?}: {cost}");
    }
}

#[test]
fn the_way_to_a_cost_gets_shorter_and_the_cost_no_less() {
    let (long, cost, ..) = hunted(List::new(), Prey::Alloc, 0, (50, 0));
    let (short, shrunk, searched, _) = hunted(List::new(), Prey::Alloc, 0, (50, 100));
    assert!(shrunk >= cost && searched == cost, "{shrunk} {cost}");
    let (short, long) = (short.len(), long.len());
    assert!(short < long, "{short} steps of {long}");
}

#[test]
fn the_same_hunt_finds_the_same_and_another_seed_something_else() {
    let hunt = |seed| hunted(List::new(), Prey::Free, seed, (40, 40));
    assert_eq!(hunt(3), hunt(3));
    assert_ne!(hunt(3).0, hunt(4).0);
}

#[test]
fn a_hunt_goes_on_from_what_another_one_found() {
    let (steps, cost, ..) = hunted(List::new(), Prey::Alloc, 0, (50, 0));
    let (mut memory, mut slots) = (vec![Step::NONE; MEMORY], vec![None; SLOTS]);
    let memory = (&mut memory[..], &mut slots[..]);
    let mut hunt = Hunt::new(List::new(), Prey::Alloc, Amounts::Bytes, 1, memory);
    assert!(!hunt.begin_with((0..=STEPS).map(|_| Step::NONE)));
    assert!(hunt.begin_with(steps.iter().copied()));
    let mut budget = Budget {
        search: 0,
        shrink: 0,
        searched: 0,
    };
    let (best, _) = hunt.run(&mut budget);
    assert_eq!((best.steps(), best.figure.cost), (&steps[..], cost));
}

#[test]
fn what_happens_once_is_no_record() {
    // The first one is evaluated twice, since it is a record.
    for dear in [0, 1, 2, 5] {
        let (_, cost, searched, _) = hunted(Moody::new(dear), Prey::Alloc, 0, (20, 0));
        assert_eq!((cost, searched), (1, 1), "{dear}");
    }
}

#[test]
fn shrinking_keeps_nothing_but_what_it_takes() {
    // The first allocation costs what any does.
    let (steps, cost, ..) = hunted(Moody::new(usize::MAX / 2), Prey::Alloc, 0, (10, 300));
    assert_eq!((steps.len(), cost), (1, 1));
    let (steps, ..) = hunted(Moody::new(usize::MAX / 2), Prey::Free, 0, (10, 300));
    assert!(
        matches!(steps[..], [Step::Alloc { .. }, Step::Free { slot }] if slot == steps[0].slot())
    );
}

#[test]
fn an_evaluation_drops_what_has_nothing_to_do_and_what_comes_behind() {
    let mut slots = vec![None; SLOTS];
    let mut evaluator = Evaluator {
        quarry: List::new(),
        prey: Prey::Free,
        amounts: Amounts::Bytes,
        slots: &mut slots,
        evaluations: 0,
    };
    let alloc = |slot, amount| Step::Alloc { slot, amount };
    let free = |slot| Step::Free { slot };
    let mut memory = [Step::NONE; 16];
    let mut genome = Genome::new(&mut memory);
    let all = [
        free(0),
        alloc(0, 16),
        alloc(0, 32),
        alloc(1, 16 << 20),
        alloc(1, 0),
        alloc(2, 16),
        free(0),
        free(2),
        alloc(3, 8),
    ];
    assert!(all.into_iter().all(|step| genome.push(step)));
    evaluator.evaluate(&mut genome);
    let expected = [alloc(0, 16), alloc(2, 16), free(0), free(2)];
    assert_eq!(genome.steps(), expected);
    assert_eq!((genome.figure.cost, genome.figure.steps), (2, 4));
    assert_eq!((evaluator.quarry.resets, evaluator.evaluations()), (1, 1));
}

#[test]
fn genomes_stay_inside_their_memory_whatever_is_done_to_them() {
    let (mut memory, mut spare) = ([Step::NONE; 300], [Step::NONE; 200]);
    let (mut genome, mut other) = (Genome::new(&mut memory), Genome::new(&mut spare));
    for amounts in [Amounts::Bytes, Amounts::Orders] {
        let mut random = XorshiftStar::new(SEED);
        breed::generate(&mut genome, amounts, &mut random);
        other.copy_from(&genome);
        for _ in 0..3000 {
            breed::mutate(&mut genome, &other, amounts, &mut random);
            for step in genome.steps() {
                assert!(usize::from(step.slot()) < SLOTS);
                if let Step::Alloc { amount, .. } = *step {
                    assert!(amounts.allows(amount), "{amounts:?} {amount}");
                }
            }
        }
        genome.truncate(0);
        breed::mutate(&mut genome, &other, amounts, &mut random);
        assert!(!genome.steps().is_empty());
    }
}
