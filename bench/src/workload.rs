//! The workloads, apart from what they run against.
//!
//! A workload calls [`Subject::alloc`] and [`Subject::free`]; each call is one operation, timed by the
//! subject. Definitions are fixed to the bit, so that the figures stand beside those that others got
//! from the same sequence.

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
/// Recorded operations of the mixed workloads.
pub const MIXED_RECORDED: u32 = 100_000;
/// Operations of `mixed/toggle` before those.
pub const TOGGLE_WARM_UP: u32 = 20_000;

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
    match order {
        FreeOrder::Fifo => {}
        FreeOrder::Lifo => shuffled.reverse(),
        FreeOrder::Random => random.shuffle(shuffled),
    }
    for &place in &*shuffled {
        free_slot(subject, &mut slots[usize::from(place)], true);
    }
    Ok(())
}

/// `warm_up` unrecorded operations and [`MIXED_RECORDED`] recorded ones; each draws a slot, frees what
/// is in it, or fills it if it is empty. What is left is freed, unrecorded.
///
/// # Errors
///
/// [`OutOfMemory`], after everything was freed.
pub fn toggle(
    subject: &mut impl Subject,
    draws: &mut impl Draws,
    warm_up: u32,
    slots: &mut [Slot; MIXED_SLOTS],
) -> Result<(), OutOfMemory> {
    let result = (0..warm_up + MIXED_RECORDED).try_for_each(|operation| {
        let slot = &mut slots[draws.slot(SLOTS) as usize];
        let recorded = operation >= warm_up;
        if free_slot(subject, slot, recorded) {
            return Ok(());
        }
        fill_slot(subject, slot, draws.size(), (operation, recorded))
    });
    clear(subject, slots);
    result
}

/// [`MIXED_RECORDED`] operations: each draws a slot, frees what is in it and allocates anew in it; but
/// the first [`MIXED_SLOTS`] only fill the slots in turn. What is left is freed, unrecorded.
///
/// # Errors
///
/// [`OutOfMemory`], after everything was freed.
pub fn replace(
    subject: &mut impl Subject,
    draws: &mut impl Draws,
    slots: &mut [Slot; MIXED_SLOTS],
) -> Result<(), OutOfMemory> {
    let result = (0..MIXED_RECORDED).try_for_each(|operation| {
        // Every operation draws, so that both parts take the generator equally far.
        let drawn = draws.slot(SLOTS);
        let slot = &mut slots[if operation < SLOTS { operation } else { drawn } as usize];
        free_slot(subject, slot, true);
        fill_slot(subject, slot, draws.size(), (operation, true))
    });
    clear(subject, slots);
    result
}

#[expect(clippy::cast_possible_truncation, reason = "1,024")]
const SLOTS: u32 = MIXED_SLOTS as u32;

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

fn clear(subject: &mut impl Subject, slots: &mut [Slot]) {
    for slot in slots {
        free_slot(subject, slot, false);
    }
}

#[cfg(test)]
mod tests {
    //! Expected counts and sums were computed by another program from the published definitions.
    use super::*;
    use crate::generator::{CRATES_SEED, LINUX_SEED, Xorshift};
    use std::collections::BTreeMap;

    /// Remembers what it was asked; blocks are numbers that are never used twice.
    #[derive(Default)]
    struct Model {
        live: BTreeMap<u64, u32>,
        allocs: u64,
        frees: Vec<u64>,
        recorded: [u32; 2],
        asked: u64,
        most_live_bytes: u64,
        limit: Option<u64>,
    }

    impl Model {
        fn live_bytes(&self) -> u64 {
            self.live.values().map(|&size| u64::from(size)).sum()
        }
    }

    impl Subject for Model {
        fn alloc(&mut self, amount: u32, recorded: bool) -> Option<u64> {
            if self.limit == Some(self.allocs) {
                return None;
            }
            self.allocs += 1;
            self.recorded[0] += u32::from(recorded);
            self.asked += u64::from(amount);
            self.live.insert(self.allocs, amount);
            Some(self.allocs)
        }

        fn free(&mut self, block: u64, amount: u32, recorded: bool) {
            assert_eq!(self.live.remove(&block), Some(amount));
            self.recorded[1] += u32::from(recorded);
            self.frees.push(block);
        }
    }

    /// Counts the most live bytes, which costs too much to do always.
    struct Peak(Model);

    impl Subject for Peak {
        fn alloc(&mut self, amount: u32, recorded: bool) -> Option<u64> {
            let block = self.0.alloc(amount, recorded);
            self.0.most_live_bytes = self.0.most_live_bytes.max(self.0.live_bytes());
            block
        }
        fn free(&mut self, block: u64, amount: u32, recorded: bool) {
            self.0.free(block, amount, recorded);
        }
    }

    #[test]
    fn toggle_is_the_published_sequence_of_the_crates() {
        let mut peak = Peak(Model::default());
        let mut slots = [None; MIXED_SLOTS];
        let mut draws = XorshiftStar::new(CRATES_SEED);
        toggle(&mut peak, &mut draws, TOGGLE_WARM_UP, &mut slots).unwrap();
        let model = peak.0;
        assert_eq!((model.allocs, model.asked), (60_255, 46_406_367));
        assert_eq!(model.most_live_bytes, 486_085);
        assert_eq!(model.recorded.iter().sum::<u32>(), MIXED_RECORDED);
        assert!(model.live.is_empty());
    }

    #[test]
    fn toggle_is_the_published_sequence_of_linux() {
        let (mut model, mut slots) = (Model::default(), [None; MIXED_SLOTS]);
        toggle(&mut model, &mut Xorshift::new(LINUX_SEED), 0, &mut slots).unwrap();
        assert_eq!(model.recorded, [50_243, 49_757]);
        assert_eq!(model.asked, 36_805_958);
    }

    #[test]
    fn replace_is_the_published_sequence() {
        let mut model = Model::default();
        let mut slots = [None; MIXED_SLOTS];
        let mut draws = Xorshift::new(LINUX_SEED);
        replace(&mut model, &mut draws, &mut slots).unwrap();
        assert_eq!(model.recorded, [100_000, 98_976]);
        assert_eq!(model.asked, 73_765_371);
        let last: u32 = model.frees[98_976..].len().try_into().unwrap();
        assert_eq!(last, SLOTS);
    }

    #[test]
    fn hot_pairs_warm_up_unrecorded() {
        let mut model = Model::default();
        hot(&mut model, 64).unwrap();
        assert_eq!((model.allocs, model.recorded), (264, [200, 200]));
    }

    #[test]
    fn batches_are_freed_in_the_order_asked_for() {
        let freed = |order| {
            let mut model = Model::default();
            let memory = (&mut [None; BATCH], &mut [0; BATCH]);
            let mut random = XorshiftStar::new(CRATES_SEED);
            batch(&mut model, 64, order, &mut random, memory).unwrap();
            assert_eq!(model.recorded, [1000, 1000]);
            model.frees
        };
        assert_eq!(freed(FreeOrder::Fifo)[..3], [1, 2, 3]);
        assert_eq!(freed(FreeOrder::Lifo)[..3], [1000, 999, 998]);
        assert_eq!(freed(FreeOrder::Random)[..3], [7, 195, 819]);
    }

    #[test]
    fn running_out_names_the_operation_and_frees_everything() {
        let out_of = |limit, amount| {
            let mut model = Model {
                limit: Some(limit),
                ..Model::default()
            };
            let memory = (&mut [None; BATCH], &mut [0; BATCH]);
            let mut random = XorshiftStar::new(CRATES_SEED);
            let result = batch(&mut model, amount, FreeOrder::Fifo, &mut random, memory);
            assert!(model.live.is_empty());
            result
        };
        let expected = OutOfMemory {
            amount: 64,
            operation: 10,
        };
        assert_eq!(out_of(10, 64), Err(expected));
        let mut model = Model {
            limit: Some(500),
            ..Model::default()
        };
        let mut draws = Xorshift::new(LINUX_SEED);
        let failed = replace(&mut model, &mut draws, &mut [None; MIXED_SLOTS]).unwrap_err();
        assert_eq!((failed.operation, model.live.len()), (500, 0));
    }
}
