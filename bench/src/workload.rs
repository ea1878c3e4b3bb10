//! The workloads, apart from what they run against.
//!
//! A workload calls [`Subject::alloc`] and [`Subject::free`]; each call is one operation, timed by the
//! subject. Definitions are fixed to the bit, so that the figures stand beside those that others got
//! from the same sequence.

pub mod fill;
pub mod pages;
pub mod pathology;

use crate::generator::{Draws, XorshiftStar};
use core::fmt;

/// What a workload runs against.
pub trait Subject {
    /// Allocates `amount` (bytes or, for page frames, the order); `None` if there is no memory.
    /// `recorded` says whether the operation's cost becomes a sample.
    fn alloc(&mut self, amount: u32, recorded: bool) -> Option<u64>;

    /// Frees what [`alloc`](Self::alloc) returned for `amount`.
    fn free(&mut self, block: u64, amount: u32, recorded: bool);
}

/// Where a workload keeps one allocation.
pub type Slot = Option<Live>;

/// An allocation that is live.
#[derive(Clone, Copy, Debug)]
pub struct Live {
    block: u64,
    amount: u32,
}

/// The subject had no memory left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    /// What was asked for: bytes, or an order.
    pub amount: u32,
    /// How many operations the workload had done.
    pub operation: u32,
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { amount, operation } = self;
        write!(
            f,
            "out of memory: operation {operation} asked for {amount} (bytes or order)"
        )
    }
}

impl core::error::Error for OutOfMemory {}

/// Pairs of a hot pair row that are not recorded.
pub const HOT_WARM_UP: u32 = 64;
/// Pairs of a hot pair row that are.
pub const HOT_RECORDED: u32 = 200;
/// Objects of a batch.
pub const BATCH: usize = 1000;
/// Slots of the mixed workloads.
pub const MIXED_SLOTS: usize = 1024;
/// Operations of `mixed/toggle`.
pub const MIXED: Count = Count {
    warm_up: 20_000,
    recorded: 100_000,
};
/// Operations of `mixed/toggle-linux` and `mixed/replace-1024`.
pub const MIXED_LINUX: Count = Count {
    warm_up: 0,
    recorded: 100_000,
};

/// How many operations a workload does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Those before any becomes a sample.
    pub warm_up: u32,
    /// Those that do.
    pub recorded: u32,
}

impl Count {
    /// The numbers of all operations, each with whether it becomes a sample.
    fn operations(self) -> impl Iterator<Item = (u32, bool)> {
        (0..self.warm_up + self.recorded)
            .map(move |operation| (operation, operation >= self.warm_up))
    }
}

/// Allocates and frees one `amount` again and again.
///
/// # Errors
///
/// [`OutOfMemory`].
pub fn hot(subject: &mut impl Subject, amount: u32) -> Result<(), OutOfMemory> {
    for operation in 0..HOT_WARM_UP + HOT_RECORDED {
        let recorded = operation >= HOT_WARM_UP;
        let block = subject.alloc(amount, recorded);
        let block = block.ok_or(OutOfMemory { amount, operation })?;
        subject.free(block, amount, recorded);
    }
    Ok(())
}

/// In which order a batch is freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreeOrder {
    /// First in, first out.
    Fifo,
    /// Last in, first out.
    Lifo,
    /// After a shuffle.
    Random,
}

impl FreeOrder {
    /// Puts what was allocated in turn into this order.
    fn arrange<T>(self, items: &mut [T], random: &mut XorshiftStar) {
        match self {
            Self::Fifo => {}
            Self::Lifo => items.reverse(),
            Self::Random => random.shuffle(items),
        }
    }
}

/// Allocates [`BATCH`] objects of `amount`, then frees them all. `slots` and `shuffled` hold a batch.
///
/// # Errors
///
/// [`OutOfMemory`], after everything was freed.
pub fn batch(
    subject: &mut impl Subject,
    amount: u32,
    order: FreeOrder,
    random: &mut XorshiftStar,
    (slots, shuffled): (&mut [Slot; BATCH], &mut [u16; BATCH]),
) -> Result<(), OutOfMemory> {
    for (operation, slot) in (0..).zip(slots.iter_mut()) {
        let Some(block) = subject.alloc(amount, true) else {
            clear(subject, slots);
            return Err(OutOfMemory { amount, operation });
        };
        *slot = Some(Live { block, amount });
    }
    for (index, place) in (0..).zip(shuffled.iter_mut()) {
        *place = index;
    }
    order.arrange(shuffled, random);
    for &place in &*shuffled {
        free_slot(subject, &mut slots[usize::from(place)], true);
    }
    Ok(())
}

/// Each operation draws a slot, frees what is in it, or fills it if it is empty. What is live at the end
/// stays so.
///
/// # Errors
///
/// [`OutOfMemory`].
pub fn toggle(
    subject: &mut impl Subject,
    draws: &mut impl Draws,
    count: Count,
    slots: &mut [Slot],
) -> Result<(), OutOfMemory> {
    let below = number_of(slots);
    count.operations().try_for_each(|operation| {
        let slot = &mut slots[draws.slot(below) as usize];
        if free_slot(subject, slot, operation.1) {
            return Ok(());
        }
        fill_slot(subject, slot, draws.amount(), operation)
    })
}

/// Each operation draws a slot, frees what is in it and allocates anew in it; but the first ones fill
/// the slots in turn. All are live at the end.
///
/// # Errors
///
/// [`OutOfMemory`].
pub fn replace(
    subject: &mut impl Subject,
    draws: &mut impl Draws,
    count: Count,
    slots: &mut [Slot],
) -> Result<(), OutOfMemory> {
    let below = number_of(slots);
    count.operations().try_for_each(|operation| {
        // Every operation draws, so that both parts take the generator equally far.
        let drawn = draws.slot(below);
        let place = if operation.0 < below {
            operation.0
        } else {
            drawn
        };
        let slot = &mut slots[place as usize];
        free_slot(subject, slot, operation.1);
        fill_slot(subject, slot, draws.amount(), operation)
    })
}

/// Allocates one `amount` after each `prepare`, and frees it unrecorded, again and again: what an
/// allocation costs where `prepare` leaves things.
///
/// # Errors
///
/// [`OutOfMemory`].
pub fn prepared(
    subject: &mut impl Subject,
    amount: u32,
    mut prepare: impl FnMut(),
) -> Result<(), OutOfMemory> {
    for operation in 0..HOT_WARM_UP + HOT_RECORDED {
        prepare();
        let block = subject.alloc(amount, operation >= HOT_WARM_UP);
        let block = block.ok_or(OutOfMemory { amount, operation })?;
        subject.free(block, amount, false);
    }
    Ok(())
}

/// Fills `slots` with `amount` each, `prepare`s, and frees them all, of which the last is recorded, again
/// and again: what that free costs where `prepare` leaves things and the others have followed it.
///
/// # Errors
///
/// [`OutOfMemory`]; what was allocated until then is in the slots.
pub fn last_free(
    subject: &mut impl Subject,
    amount: u32,
    slots: &mut [Slot],
    mut prepare: impl FnMut(),
) -> Result<(), OutOfMemory> {
    for round in 0..HOT_WARM_UP + HOT_RECORDED {
        for slot in &mut *slots {
            fill_slot(subject, slot, amount, (round, false))?;
        }
        prepare();
        if let Some((last, others)) = slots.split_last_mut() {
            clear(subject, others);
            free_slot(subject, last, round >= HOT_WARM_UP);
        }
    }
    Ok(())
}

/// Fills `slots`, which are empty, with `amount` each.
///
/// # Errors
///
/// [`OutOfMemory`]; what was allocated until then is in the slots.
pub fn take_all(
    subject: &mut impl Subject,
    amount: u32,
    slots: &mut [Slot],
) -> Result<(), OutOfMemory> {
    (0..)
        .zip(slots)
        .try_for_each(|(operation, slot)| fill_slot(subject, slot, amount, (operation, true)))
}

/// Frees what is live in `slots`, in turn.
pub fn give_all(subject: &mut impl Subject, slots: &mut [Slot]) {
    for slot in slots {
        free_slot(subject, slot, true);
    }
}

/// Frees what is live in `slots`, unrecorded.
pub fn clear(subject: &mut impl Subject, slots: &mut [Slot]) {
    for slot in slots {
        free_slot(subject, slot, false);
    }
}

/// The sum of what is live in `slots`.
pub fn live_amount(slots: &[Slot]) -> u64 {
    let amounts = slots.iter().flatten().map(|live| u64::from(live.amount));
    amounts.sum()
}

fn number_of(slots: &[Slot]) -> u32 {
    u32::try_from(slots.len()).unwrap_or(u32::MAX)
}

fn fill_slot(
    subject: &mut impl Subject,
    slot: &mut Slot,
    amount: u32,
    (operation, recorded): (u32, bool),
) -> Result<(), OutOfMemory> {
    let block = subject.alloc(amount, recorded);
    let block = block.ok_or(OutOfMemory { amount, operation })?;
    *slot = Some(Live { block, amount });
    Ok(())
}

/// Frees what is in `slot`; whether something was.
fn free_slot(subject: &mut impl Subject, slot: &mut Slot, recorded: bool) -> bool {
    let Some(Live { block, amount }) = slot.take() else {
        return false;
    };
    subject.free(block, amount, recorded);
    true
}

#[cfg(test)]
mod tests;
