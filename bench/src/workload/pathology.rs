//! Workloads behind public reports of allocators that were fast on average and stood still at times.
//!
//! Each is an ordinary sequence that some program made: none is built against one allocator. Where
//! memory matters they get little of it ([`FREE_BLOCKS`], [`ARENA_BYTES`]), so that it is full soon and
//! a list heap takes seconds and not hours.

use super::{FreeOrder, Live, OutOfMemory, Slot, Subject, clear, fill_slot, free_slot};
use crate::generator::{Draws, XorshiftStar};

/// Largest blocks that are free before the workloads that fill memory: 4 MiB.
pub const FREE_BLOCKS: u32 = 1;
/// The same for an allocator that has an arena.
pub const ARENA_BYTES: usize = 4 << 20;
/// Largest blocks that are free before page frames are churned: 64 MiB.
pub const HUNGER_BLOCKS: u32 = 16;
/// Single frames that are live meanwhile: 70 % of those.
pub const HUNGER_SLOTS: usize = 11_468;
/// What is asked for meanwhile: blocks of 4 MiB.
pub const HUNGER_ORDER: u32 = 10;

/// Objects that growth adds before it gives half of them back.
const GROWTH: usize = 1024;
/// Objects at the end of growth.
const GROWN: usize = 8 * GROWTH / 2;
/// Objects replaced at high fill.
const REPLACED: u32 = 2_000;
/// Objects of a batch at a border between classes.
const BORDER_BATCH: usize = 128;
/// Batches at each border.
const BORDER_ROUNDS: u32 = 4;
/// Objects in bytes, where borders of slabs are looked for.
const OBJECT_BYTES: u32 = 64;
/// Objects that are live at the end of that.
const HELD: usize = 1024;
/// Objects that come and go at once: more than a core's list holds.
const SWING: usize = 40;
/// They do so each time after this many more are held.
const SWING_EVERY: usize = 16;
/// Times that memory runs full.
const TEETH: u32 = 16;
/// Single frames replaced, and after how many of them a large block is asked for.
const CHURNED: u32 = 20_000;
const HUNGER_EVERY: u32 = 32;

/// A workload of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pathology {
    /// Growth that gives back what came last.
    LifoGrowth,
    /// Replacements in memory that is full but for a tenth.
    HighFill,
    /// Sizes on both sides of a power of two.
    ClassBorder,
    /// An object more and one less at every fill.
    SlabBorder,
    /// Memory that runs full again and again.
    Sawtooth,
}

impl Pathology {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::LifoGrowth,
        Self::HighFill,
        Self::ClassBorder,
        Self::SlabBorder,
        Self::Sawtooth,
    ];

    /// The last word of the family's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LifoGrowth => "lifo-growth",
            Self::HighFill => "high-fill",
            Self::ClassBorder => "class-border",
            Self::SlabBorder => "slab-border",
            Self::Sawtooth => "sawtooth",
        }
    }

    /// What the rows measure, in a sentence.
    pub const fn about(self) -> &'static str {
        match self {
            Self::LifoGrowth => {
                "1,024 objects of the sizes of mixed/toggle more and the last 512 of them less, eight \
                 times; then all freed last in, first out: a parser's stack."
            }
            Self::HighFill => {
                "4 MiB filled with the sizes of mixed/toggle, a random tenth freed; then 2,000 random \
                 objects replaced, and all freed in random order."
            }
            Self::ClassBorder => {
                "Batches of 128 objects, in turn of 2^n and 2^n + 1 bytes, n from 4 to 11, freed first \
                 in, first out."
            }
            Self::SlabBorder => {
                "64-byte objects one by one up to 1,024: one more and one less at every fill, and 40 \
                 more and less at every sixteenth."
            }
            Self::Sawtooth => {
                "4 MiB filled to the first failure, which counts as an allocation, with the sizes of \
                 mixed/toggle; a random quarter freed; 16 times."
            }
        }
    }

    /// Whether it needs memory that is soon full.
    pub const fn fills_memory(self) -> bool {
        matches!(self, Self::HighFill | Self::Sawtooth)
    }

    /// Runs it with `slots`, all empty. What is live at the end stays so.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`] where that is not what the workload is about.
    pub fn run(
        self,
        subject: &mut impl Subject,
        random: &mut XorshiftStar,
        slots: &mut [Slot],
    ) -> Result<(), OutOfMemory> {
        match self {
            Self::LifoGrowth => lifo_growth(subject, random, slots),
            Self::HighFill => {
                high_fill(subject, random, slots);
                Ok(())
            }
            Self::ClassBorder => class_border(subject, slots),
            Self::SlabBorder => slab_border(subject, slots),
            Self::Sawtooth => {
                sawtooth(subject, random, slots);
                Ok(())
            }
        }
    }
}

fn lifo_growth(
    subject: &mut impl Subject,
    random: &mut XorshiftStar,
    slots: &mut [Slot],
) -> Result<(), OutOfMemory> {
    let mut operation = 0;
    let mut live = 0;
    while live < GROWN {
        for slot in &mut slots[live..live + GROWTH] {
            fill_slot(subject, slot, random.amount(), (operation, true))?;
            operation += 1;
        }
        live += GROWTH / 2;
        let last = &mut slots[live..live + GROWTH / 2];
        last.iter_mut().rev().for_each(|slot| {
            free_slot(subject, slot, true);
        });
    }
    slots[..live].iter_mut().rev().for_each(|slot| {
        free_slot(subject, slot, true);
    });
    Ok(())
}

fn high_fill(subject: &mut impl Subject, random: &mut XorshiftStar, slots: &mut [Slot]) {
    let live = refill(subject, random, slots, false);
    let slots = &mut slots[..live];
    random.shuffle(slots);
    clear(subject, &mut slots[..live / 10]);
    let below = super::number_of(slots);
    for _ in 0..REPLACED {
        if below == 0 {
            return;
        }
        let slot = &mut slots[random.below(below) as usize];
        free_slot(subject, slot, true);
        try_slot(subject, slot, random.amount(), true);
    }
    FreeOrder::Random.arrange(slots, random);
    super::give_all(subject, slots);
}

fn class_border(subject: &mut impl Subject, slots: &mut [Slot]) -> Result<(), OutOfMemory> {
    let slots = &mut slots[..BORDER_BATCH];
    for power in 4..=11 {
        for _ in 0..BORDER_ROUNDS {
            for (number, slot) in (0..).zip(slots.iter_mut()) {
                let amount = (1 << power) + number % 2;
                fill_slot(subject, slot, amount, (number, true))?;
            }
            super::give_all(subject, slots);
        }
    }
    Ok(())
}

fn slab_border(subject: &mut impl Subject, slots: &mut [Slot]) -> Result<(), OutOfMemory> {
    let (held, swing) = slots.split_at_mut(HELD);
    let swing = &mut swing[..SWING];
    for (number, slot) in held.iter_mut().enumerate() {
        fill_slot(subject, slot, OBJECT_BYTES, (0, true))?;
        let more = match number % SWING_EVERY {
            0 => &mut *swing,
            _ => &mut swing[..1],
        };
        super::take_all(subject, OBJECT_BYTES, more)?;
        super::give_all(subject, more);
    }
    Ok(())
}

fn sawtooth(subject: &mut impl Subject, random: &mut XorshiftStar, slots: &mut [Slot]) {
    for _ in 0..TEETH {
        let live = refill(subject, random, slots, true);
        random.shuffle(&mut slots[..live]);
        super::give_all(subject, &mut slots[..live / 4]);
        slots[..live].rotate_left(live / 4);
    }
}

/// Churns single frames in `slots`, unrecorded, and asks for a block of [`HUNGER_ORDER`] every so often,
/// which is recorded. Returns how often there was one. All frames are live at the end.
///
/// # Errors
///
/// [`OutOfMemory`] for single frames.
pub fn hunger(
    subject: &mut impl Subject,
    random: &mut XorshiftStar,
    slots: &mut [Slot],
) -> Result<u64, OutOfMemory> {
    for slot in &mut *slots {
        fill_slot(subject, slot, 0, (0, false))?;
    }
    let below = super::number_of(slots);
    let mut granted = 0;
    for operation in 0..CHURNED {
        let slot = &mut slots[random.below(below) as usize];
        // Another one first, or the frame just freed would come back at once.
        let mut former = slot.take();
        fill_slot(subject, slot, 0, (operation, false))?;
        free_slot(subject, &mut former, false);
        let mut large = None;
        if operation % HUNGER_EVERY == 0 && try_slot(subject, &mut large, HUNGER_ORDER, true) {
            granted += 1;
            free_slot(subject, &mut large, true);
        }
    }
    Ok(granted)
}

/// Fills what is empty of `slots` until there is no memory, or no slot, left. The first ones are the
/// live ones then: how many they are.
fn refill(
    subject: &mut impl Subject,
    random: &mut XorshiftStar,
    slots: &mut [Slot],
    recorded: bool,
) -> usize {
    let full = slots
        .iter_mut()
        .position(|slot| slot.is_none() && !try_slot(subject, slot, random.amount(), recorded));
    full.unwrap_or(slots.len())
}

/// Fills `slot`, which is empty; whether there was memory for it.
fn try_slot(subject: &mut impl Subject, slot: &mut Slot, amount: u32, recorded: bool) -> bool {
    *slot = subject
        .alloc(amount, recorded)
        .map(|block| Live { block, amount });
    slot.is_some()
}

#[cfg(test)]
mod tests;
