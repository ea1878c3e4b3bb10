//! Workloads that ask what memory is good for: fragmenting it, filling it, holding it.

use super::{Count, Live, OutOfMemory, Slot, Subject, free_slot, toggle};
use crate::generator::Draws;

/// Slots of the workload that fragments.
pub const FRAGMENT_SLOTS: usize = 16_384;
/// That workload's operations; none becomes a sample.
pub const FRAGMENT: Count = Count {
    warm_up: 1_000_000,
    recorded: 0,
};
/// Fewer operations, for heaps that search a list: they would take hours, and are no better for it.
pub const FRAGMENT_LIST: Count = Count {
    warm_up: 200_000,
    recorded: 0,
};
/// Largest blocks that are free before memory is filled: 64 MiB.
pub const FREE_BLOCKS: u32 = 16;
/// Slots that fill 64 MiB: at least as many as there are objects of the mean size in it.
pub const SLOTS: usize = 131_072;
/// Objects of the larger `held` row.
pub const HELD_SLOTS: usize = 65_536;
/// That row's operations.
pub const HELD: Count = Count {
    warm_up: 1_000_000,
    recorded: 0,
};

/// Memory, and what it is taken in to see how much of it can be had.
#[derive(Clone, Copy, Debug)]
pub struct Whole {
    /// Its bytes.
    pub bytes: u64,
    /// What is asked for each time.
    pub amount: u32,
    /// The bytes of that.
    pub amount_bytes: u64,
}

/// 64 MiB, in as small objects as there are slots for.
pub const WHOLE: Whole = Whole {
    bytes: 64 << 20,
    amount: 512,
    amount_bytes: 512,
};

/// Toggles, then frees every second object that is live, in the order of the slots. The others stay.
///
/// # Errors
///
/// [`OutOfMemory`].
pub fn fragment(
    subject: &mut impl Subject,
    draws: &mut impl Draws,
    count: Count,
    slots: &mut [Slot],
) -> Result<(), OutOfMemory> {
    toggle(subject, draws, count, slots)?;
    let live = slots.iter_mut().filter(|slot| slot.is_some());
    for slot in live.step_by(2) {
        free_slot(subject, slot, false);
    }
    Ok(())
}

/// Allocates into `slots` in turn until there is no memory, or no slot, left. Returns whether memory was
/// what ran out.
pub fn fill(subject: &mut impl Subject, draws: &mut impl Draws, slots: &mut [Slot]) -> bool {
    for slot in slots {
        let amount = draws.amount();
        let Some(block) = subject.alloc(amount, false) else {
            return true;
        };
        *slot = Some(Live { block, amount });
    }
    false
}

/// Allocates `amount` into `slots` until there is none or no slot left; how often it could.
pub fn blocks(subject: &mut impl Subject, amount: u32, slots: &mut [Slot]) -> u64 {
    let mut blocks = 0;
    for slot in slots {
        let Some(block) = subject.alloc(amount, false) else {
            break;
        };
        *slot = Some(Live { block, amount });
        blocks += 1;
    }
    blocks
}
