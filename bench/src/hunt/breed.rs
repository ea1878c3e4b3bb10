//! Genomes out of nothing, and out of others.
//!
//! What is generated are the patterns that programs make: growth and its end in some order, swings, and
//! random traffic; with sizes alike, in turn on both sides of a border, or spread. Mutations keep the
//! end of a genome, which is its costliest operation, more often than not.

use super::SLOTS;
use super::genome::{Genome, Step};
use crate::generator::{Draws, XorshiftStar};

/// What an amount means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amounts {
    /// Bytes of an object.
    Bytes,
    /// The order of a block of page frames.
    Orders,
}

/// Bytes of a page frame as a power of two.
const FRAME_SHIFT: u32 = 12;
/// The largest order, and the largest object: as large as its block.
const MOST_ORDER: u32 = 10;
const MOST_BYTES: u64 = 1 << (MOST_ORDER + FRAME_SHIFT);
/// The smallest object as a power of two, the doublings above it that are usual, and all there are.
const LEAST_SHIFT: u32 = 3;
const USUAL_OCTAVES: u32 = 14;
const OCTAVES: u32 = 19;
/// The last slot, and a mask: slots are a power of two.
#[expect(clippy::cast_possible_truncation, reason = "2,047")]
const LAST_SLOT: u16 = SLOTS as u16 - 1;
/// Most slots of a pattern, as a power of two.
const MOST_SLOTS_SHIFT: u32 = 11;
/// Most patterns in a genome that is generated.
const PATTERNS: u32 = 6;

impl Amounts {
    /// Bytes that `amount` takes of an allocator that knows powers of two alone.
    pub const fn bytes(self, amount: u32) -> u64 {
        match self {
            Self::Bytes => (amount as u64).next_power_of_two(),
            Self::Orders => 1 << (amount + FRAME_SHIFT),
        }
    }

    /// Whether `amount` is one that an allocator may be asked for.
    pub const fn allows(self, amount: u32) -> bool {
        match self {
            Self::Bytes => amount > 0 && self.bytes(amount) <= MOST_BYTES,
            Self::Orders => amount <= MOST_ORDER,
        }
    }

    /// Amounts of which each kind of list that an allocator may have serves one.
    pub fn each(self) -> impl Iterator<Item = u32> {
        /// Steps of a quarter of each doubling.
        const STEPS: u32 = 4 * (MOST_ORDER + FRAME_SHIFT + 1);
        let amount = move |step: u32| match self {
            Self::Bytes => (4 + step % 4) << (step / 4) >> 2,
            Self::Orders => step,
        };
        (0..STEPS)
            .map(amount)
            .filter(move |&amount| self.allows(amount))
    }

    /// A rounder amount that is no less.
    pub(super) const fn rounder(self, amount: u32) -> u32 {
        match self {
            Self::Bytes => amount.next_power_of_two(),
            Self::Orders => amount,
        }
    }

    /// Some amount.
    fn draw(self, random: &mut XorshiftStar) -> u32 {
        if self == Self::Orders {
            return random.below(MOST_ORDER + 1);
        }
        let octaves = match random.below(16) {
            0 => OCTAVES,
            _ => USUAL_OCTAVES,
        };
        let border = 1 << (LEAST_SHIFT + random.below(octaves));
        match random.below(4) {
            0 => border,
            1 => border + 1,
            2 => border - 1,
            _ => border + random.below(border),
        }
    }

    /// How the amounts of a pattern are spread.
    fn law(self, random: &mut XorshiftStar) -> Law {
        match (random.below(4), self) {
            (0, _) => Law::Two(self.draw(random), self.draw(random)),
            (1, Self::Bytes) => Law::Octaves,
            (1, Self::Orders) => Law::Orders(random.below(MOST_ORDER + 1)),
            _ => Law::One(self.draw(random)),
        }
    }
}

/// Which amounts a pattern asks for.
#[derive(Clone, Copy, Debug)]
enum Law {
    /// Always the same.
    One(u32),
    /// Two in turn.
    Two(u32, u32),
    /// Those of `mixed/toggle`.
    Octaves,
    /// Orders up to this one, each half as likely as the one below.
    Orders(u32),
}

impl Law {
    fn amount(self, number: usize, random: &mut XorshiftStar) -> u32 {
        match self {
            Self::One(amount) => amount,
            Self::Two(even, odd) => {
                if number.is_multiple_of(2) {
                    even
                } else {
                    odd
                }
            }
            Self::Octaves => random.amount(),
            Self::Orders(most) => random.order(most),
        }
    }
}

/// Makes `genome` anew, of a few patterns.
pub fn generate(genome: &mut Genome<'_>, amounts: Amounts, random: &mut XorshiftStar) {
    genome.truncate(0);
    for _ in 0..=random.below(PATTERNS) {
        pattern(amounts, random, &mut |step| genome.push(step));
    }
}

/// Makes one pattern, step by step, until it is over or `push` takes no more.
fn pattern(amounts: Amounts, random: &mut XorshiftStar, push: &mut dyn FnMut(Step) -> bool) {
    let law = amounts.law(random);
    let count = 1_usize << random.below(MOST_SLOTS_SHIFT + 1);
    let slots = Slots {
        first: random.below(number(SLOTS)) as usize,
        count,
    };
    match random.below(4) {
        0 => traffic(slots, law, random, push),
        1 => {
            let times = 1 + random.below(8);
            let order = random.below(ORDERS);
            for _ in 0..times {
                if !(grow(slots, law, random, push) && end(slots, order, random, push)) {
                    return;
                }
            }
        }
        _ => {
            let order = random.below(ORDERS + 1);
            let _ = grow(slots, law, random, push) && end(slots, order, random, push);
        }
    }
}

/// Consecutive slots, behind the last of which the first one follows.
#[derive(Clone, Copy, Debug)]
struct Slots {
    first: usize,
    /// A power of two.
    count: usize,
}

impl Slots {
    fn at(self, index: usize) -> u16 {
        u16::try_from((self.first + index) % SLOTS).unwrap_or(0)
    }
}

/// Fills `slots` in turn; whether all was taken.
fn grow(
    slots: Slots,
    law: Law,
    random: &mut XorshiftStar,
    push: &mut dyn FnMut(Step) -> bool,
) -> bool {
    (0..slots.count).all(|index| {
        push(Step::Alloc {
            slot: slots.at(index),
            amount: law.amount(index, random),
        })
    })
}

/// Ways to free what is in some slots; one more is not to.
const ORDERS: u32 = 5;

/// Frees `slots` in some order, all or some; whether all was taken.
fn end(
    slots: Slots,
    order: u32,
    random: &mut XorshiftStar,
    push: &mut dyn FnMut(Step) -> bool,
) -> bool {
    let count = slots.count;
    let mut free = |index| {
        push(Step::Free {
            slot: slots.at(index),
        })
    };
    match order {
        0 => (0..count).all(free),
        1 => (0..count).rev().all(free),
        2 => {
            // An odd stride meets each of a power of two once.
            let stride = random.below(number(count)) as usize | 1;
            (0..count).all(|index| free(index * stride % count))
        }
        3 | 4 => {
            let nth = 2 + random.below(31) as usize;
            (0..count).all(|index| index.is_multiple_of(nth) != (order == 3) || free(index))
        }
        _ => true,
    }
}

/// Frees and fills random ones of `slots`.
fn traffic(slots: Slots, law: Law, random: &mut XorshiftStar, push: &mut dyn FnMut(Step) -> bool) {
    for index in 0..2 * slots.count {
        let slot = slots.at(random.below(number(slots.count)) as usize);
        let amount = law.amount(index, random);
        let step = match random.below(2) {
            0 => Step::Free { slot },
            _ => Step::Alloc { slot, amount },
        };
        if !push(step) {
            return;
        }
    }
}

/// Changes `genome`, which is not empty, in one way; `other` is another good one.
pub fn mutate(
    genome: &mut Genome<'_>,
    other: &Genome<'_>,
    amounts: Amounts,
    random: &mut XorshiftStar,
) {
    let length = genome.steps().len();
    if length == 0 {
        return generate(genome, amounts, random);
    }
    let at = random.below(number(length)) as usize;
    let most = 1 + random.below(number(length - at)) as usize;
    let count = 1 + random.below(number(most)) as usize;
    match random.below(9) {
        0 => genome.remove(at, count.min(length - 1)),
        1 => again(genome, at, count),
        2 => {
            let mut at = at;
            pattern(amounts, random, &mut |step| {
                let fits = genome.room() > 0;
                genome.insert(at, &[step]);
                at += 1;
                fits
            });
        }
        3 => pattern(amounts, random, &mut |step| genome.push(step)),
        4 => amend(genome, amounts.draw(random), at),
        5 => {
            let amount = amounts.draw(random);
            for step in &mut genome.steps_mut()[at..at + count] {
                if let Step::Alloc { amount: old, .. } = step {
                    *old = amount;
                }
            }
        }
        6 => {
            let slots = u16::try_from(random.below(number(SLOTS))).unwrap_or(0);
            for step in &mut genome.steps_mut()[at..at + count] {
                *step = step.on(slots.wrapping_add(step.slot()) & LAST_SLOT);
            }
        }
        7 => genome.steps_mut()[at..at + count].reverse(),
        _ => {
            // The front of one and the end of the other.
            genome.truncate(at);
            let steps = other.steps();
            let from = random.below(number(steps.len())) as usize;
            genome.insert(at, &steps[from.min(steps.len())..]);
        }
    }
}

/// Puts `count` steps from `at` on once more behind themselves.
fn again(genome: &mut Genome<'_>, at: usize, count: usize) {
    for index in 0..count.min(genome.room()) {
        let step = genome.steps()[at + index];
        genome.insert(at + count + index, &[step]);
    }
}

/// Changes all amounts like the first one from `at` on to `amount`.
pub(super) fn amend(genome: &mut Genome<'_>, amount: u32, at: usize) {
    let like = genome.steps()[at..].iter().find_map(|step| match step {
        Step::Alloc { amount, .. } => Some(*amount),
        Step::Free { .. } => None,
    });
    for step in genome.steps_mut() {
        if let Step::Alloc { amount: old, .. } = step
            && Some(*old) == like
        {
            *old = amount;
        }
    }
}

/// A count as the generator takes it, at least 1.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX).max(1)
}
