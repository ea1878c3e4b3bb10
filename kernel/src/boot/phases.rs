//! What boot costs, phase by phase.

use crate::arch::pmu;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

const NAMES: [&str; 9] = [
    "entry",
    "console",
    "linear-map",
    "frames",
    "slab",
    "dma",
    "interrupts",
    "cores",
    "user",
];

static ENDS: [AtomicU64; NAMES.len()] = [const { AtomicU64::new(0) }; NAMES.len()];
static NOTED: AtomicUsize = AtomicUsize::new(0);

/// Ends the phase `name`; phases end in the order of [`NAMES`].
pub(super) fn note(name: &str) {
    let phase = NOTED.fetch_add(1, Ordering::Relaxed);
    debug_assert_eq!(NAMES[phase], name);
    ENDS[phase].store(pmu::cycles(), Ordering::Relaxed);
}

/// The phases in order, each with its cost in cycles (instructions under icount), counted from the
/// first instructions of the image.
pub fn phases() -> impl Iterator<Item = (&'static str, u64)> {
    let noted = NOTED.load(Ordering::Relaxed);
    let mut start = 0;
    NAMES
        .iter()
        .zip(&ENDS)
        .take(noted)
        .map(move |(&name, end)| {
            let end = end.load(Ordering::Relaxed);
            let cost = end - start;
            start = end;
            (name, cost)
        })
}
