//! The harness's own memory: one static, so that no measured allocator ever serves the measuring.
#![allow(
    unsafe_code,
    reason = "hands out a static as the one mutable reference to it"
)]

use crate::plan::{Operation, row_name};
use crate::samples::Samples;
use crate::workload::{BATCH, MIXED_SLOTS, Slot};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// Tables that workloads and rows need.
#[derive(Debug)]
pub struct Scratch {
    /// Samples of the family that runs, by [`Operation::index`].
    pub samples: [Samples; Operation::ALL.len()],
    /// Slots of the mixed workloads.
    pub mixed: [Slot; MIXED_SLOTS],
    /// Slots of a batch.
    pub batch: [Slot; BATCH],
    /// The order in which a batch is freed.
    pub order: [u16; BATCH],
    /// A row and the number of its operation that a debugger waits for.
    pub watched: Option<(&'static str, u64)>,
}

impl Scratch {
    /// Forgets all samples, for the rows of the family `name`; the one among them that a debugger waits
    /// for, if any, lets it.
    pub fn begin(&mut self, name: &str) {
        self.samples.iter_mut().for_each(Samples::clear);
        let Some((watched, at)) = self.watched else {
            return;
        };
        for operation in Operation::ALL {
            if *row_name(name, operation) == *watched {
                self.samples[operation.index()].watch(at);
            }
        }
    }
}

struct Once {
    taken: AtomicBool,
    scratch: UnsafeCell<Scratch>,
}

// SAFETY: only `take` reaches the cell, and only for the one caller that flips `taken`.
unsafe impl Sync for Once {}

static SCRATCH: Once = Once {
    taken: AtomicBool::new(false),
    scratch: UnsafeCell::new(Scratch {
        samples: [const { Samples::new() }; Operation::ALL.len()],
        mixed: [None; MIXED_SLOTS],
        batch: [None; BATCH],
        order: [0; BATCH],
        watched: None,
    }),
};

/// The scratch memory, for the first caller.
pub fn take() -> Option<&'static mut Scratch> {
    if SCRATCH.taken.swap(true, Ordering::Acquire) {
        return None;
    }
    // SAFETY: `taken` was false, so no other reference was ever made, and none will be.
    Some(unsafe { &mut *SCRATCH.scratch.get() })
}
