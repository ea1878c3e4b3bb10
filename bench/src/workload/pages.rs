//! Workloads of page frames alone.

use super::fill::Whole;
use super::{
    Count, FreeOrder, OutOfMemory, Slot, Subject, fill_slot, free_slot, give_all, number_of,
    take_all,
};
use crate::generator::XorshiftStar;

/// Largest blocks that are free before these workloads: 256 MiB.
pub const FREE_BLOCKS: u32 = 64;
/// Slots of the mix of orders.
pub const MIX_SLOTS: usize = 4096;
/// The mix's operations.
pub const MIX: Count = Count {
    warm_up: 20_000,
    recorded: 100_000,
};
/// The largest order of the mix.
pub const MIX_ORDER: u32 = 10;
/// Slots of the churn that fills 62 % of memory.
pub const CHURN_SLOTS: usize = 32_768;
/// That churn's operations.
pub const CHURN: Count = Count {
    warm_up: 1_000_000,
    recorded: 50_000,
};
/// Its largest order.
pub const CHURN_ORDER: u32 = 3;
/// Single frames of the churn of order 0: half of all.
pub const HALF: usize = 32_768;
/// Rounds of the churn of order 0.
const ROUNDS: u32 = 100;
/// Single frames that growth takes: nine tenths of memory, and more than any reserve leaves out.
pub const GROWN: usize = 58_982;

/// Single frames of a batch.
pub const LIFO: usize = 512;
/// 256 MiB in single frames.
pub const WHOLE: Whole = Whole {
    bytes: 256 << 20,
    amount: 0,
    amount_bytes: 4096,
};

/// Takes single frames into `slots`, and frees them last in, first out.
///
/// # Errors
///
/// [`OutOfMemory`].
pub fn lifo(subject: &mut impl Subject, slots: &mut [Slot]) -> Result<(), OutOfMemory> {
    take_all(subject, 0, slots)?;
    slots.reverse();
    give_all(subject, slots);
    Ok(())
}

/// Fills `slots` with single frames in turn; then, round after round, frees a random tenth and allocates
/// as many. All are live at the end.
///
/// # Errors
///
/// [`OutOfMemory`].
pub fn churn_single(
    subject: &mut impl Subject,
    random: &mut XorshiftStar,
    slots: &mut [Slot],
) -> Result<(), OutOfMemory> {
    let all = number_of(slots);
    let mut operation = 0;
    let mut fill = |subject: &mut _, slots: &mut [Slot]| {
        slots.iter_mut().try_for_each(|slot| {
            operation += 1;
            fill_slot(subject, slot, 0, (operation - 1, true))
        })
    };
    fill(subject, slots)?;
    for _ in 0..ROUNDS {
        let mut live = all;
        for _ in 0..all / 10 {
            let drawn = random.below(live) as usize;
            live -= 1;
            free_slot(subject, &mut slots[drawn], true);
            slots.swap(drawn, live as usize);
        }
        fill(subject, &mut slots[live as usize..])?;
    }
    Ok(())
}

/// Grows to as many single frames as there are `slots` and shrinks to none, three times: freeing first
/// in first out, in random order, and last in first out; so that it grows into whole memory, into what
/// was freed in order, and into what was freed in none.
///
/// # Errors
///
/// [`OutOfMemory`].
pub fn grow(
    subject: &mut impl Subject,
    random: &mut XorshiftStar,
    slots: &mut [Slot],
) -> Result<(), OutOfMemory> {
    for free_order in [FreeOrder::Fifo, FreeOrder::Random, FreeOrder::Lifo] {
        for (operation, slot) in (0..).zip(slots.iter_mut()) {
            fill_slot(subject, slot, 0, (operation, true))?;
        }
        free_order.arrange(slots, random);
        for slot in &mut *slots {
            free_slot(subject, slot, true);
        }
    }
    Ok(())
}

/// Page frames that are live in `slots`, whose amounts are orders.
pub fn live_frames(slots: &[Slot]) -> u32 {
    slots.iter().flatten().map(|live| 1 << live.amount).sum()
}
