//! Letting other cores in while a lock is held, so that they wait for it.
//!
//! QEMU's `-icount` runs one core at a time and goes on to the next where one waits or says `yield`:
//! left alone, a core that holds a lock is never seen holding it. Builds with the feature `contended`
//! yield inside every fourth section or so, by a sequence of each core's own: the same in every run.

use super::{
    percpu::{MAX_CPUS, cpu},
    wait,
};
// Not loom's: nothing is communicated through these, so there is nothing to explore.
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Where each core's sequence stands.
static SEQUENCES: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(0) }; MAX_CPUS];

/// Yields, or does not, as the core's sequence has it. For the holder of a lock, which stays on its core.
pub(super) fn perhaps_yield() {
    let core = cpu();
    let sequence = &SEQUENCES[core];
    // A linear congruential generator (Knuth, Numerical Recipes), an odd step for each core.
    #[expect(clippy::cast_possible_truncation, reason = "below MAX_CPUS")]
    let step = 1_013_904_223 + 2 * core as u32;
    let next = sequence
        .load(Relaxed)
        .wrapping_mul(1_664_525)
        .wrapping_add(step);
    sequence.store(next, Relaxed);
    if next >> 30 == 0 {
        wait::pause();
    }
}
