//! Replays a trace's threads on several cores, in no order but the one that its objects impose.
//!
//! Thread `t` runs on core `t` modulo the number of cores. Every core walks through the whole trace and
//! does the events of its threads; it waits before one until the event before it on the same slot is
//! done, whoever does that. So a free waits for the allocation it frees, an allocation for the free whose
//! slot it takes, and nothing else for anything: other orders than the recorded one do happen.
//!
//! # Shape
//!
//! ```text
//!   event       0      1      2      3      4      5
//!   thread      0      1      0      1      1      0
//!   slot        0      1      0      0      1      1
//!   previous    -      -      0      2      1      4     per event, known before
//!   place.done  the last event that was done on it       per slot, while it runs
//! ```
//!
//! # Invariants
//!
//! 1. A core that does event `n` has seen, with acquire, that `place.done` is `previous[n]`; the next one
//!    to touch that place waits until `n` has been stored there, with release. So a place belongs to one
//!    core at a time.
//! 2. No core is further ahead than [`AHEAD_EVENTS`] of the slowest. The first event that is not done
//!    waits for nothing: all before it are done, and no core is behind it.

use crate::replay::{Entry, ErrorKind, Heap, ReplayError, Request, Run};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use wire::trace::{AHEAD_EVENTS, Event, Trace};

/// No event, where one is meant: traces are shorter.
const NONE: u32 = u32::MAX;
/// What a place holds, in the upper half of `shape`; the size is in the lower.
const EMPTY: u32 = 0;
const OBJECT: u32 = 1;
const PAGES: u32 = 2;

/// A slot that cores hand to each other.
#[derive(Debug)]
pub struct Place {
    /// The last event that was done on it.
    done: AtomicU32,
    stamped_by: AtomicU32,
    address: AtomicU64,
    /// What it holds, its alignment or order, and its size.
    shape: AtomicU64,
}

impl Place {
    /// An empty one.
    pub const fn new() -> Self {
        Self {
            done: AtomicU32::new(NONE),
            stamped_by: AtomicU32::new(0),
            address: AtomicU64::new(0),
            shape: AtomicU64::new(0),
        }
    }

    /// What it holds; for the core that it belongs to (invariant 1).
    fn load(&self) -> Entry {
        let shape = self.shape.load(Ordering::Relaxed).to_le_bytes();
        let [s0, s1, s2, s3, log2, kind, ..] = shape;
        let stamped_by = self.stamped_by.load(Ordering::Relaxed);
        let address = self.address.load(Ordering::Relaxed);
        match u32::from(kind) {
            EMPTY => Entry::Empty,
            PAGES => Entry::Pages {
                first: address,
                order: log2,
                stamped_by,
            },
            _ => Entry::Object {
                address,
                request: Request {
                    size: u32::from_le_bytes([s0, s1, s2, s3]),
                    align_log2: log2,
                },
                stamped_by,
            },
        }
    }

    /// Puts `entry` there; for the core that it belongs to.
    fn store(&self, entry: Entry) {
        let (kind, log2, size, address, stamped_by) = match entry {
            Entry::Empty => (EMPTY, 0, 0, 0, 0),
            Entry::Object {
                address,
                request,
                stamped_by,
            } => (
                OBJECT,
                request.align_log2,
                request.size,
                address,
                stamped_by,
            ),
            Entry::Pages {
                first,
                order,
                stamped_by,
            } => (PAGES, order, 0, first, stamped_by),
        };
        let shape = u64::from(kind) << 40 | u64::from(log2) << 32 | u64::from(size);
        self.shape.store(shape, Ordering::Relaxed);
        self.address.store(address, Ordering::Relaxed);
        self.stamped_by.store(stamped_by, Ordering::Relaxed);
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes into `previous`, for each event, the one before it on the same slot. `last` has room for every
/// slot. Both are at least as long as the trace needs.
pub fn find_previous(trace: &Trace<'_>, last: &mut [u32], previous: &mut [u32]) {
    last.fill(NONE);
    for ((number, event), previous) in (0..).zip(trace.events()).zip(previous) {
        let last = &mut last[event.slot as usize];
        *previous = core::mem::replace(last, number);
    }
}

/// What the cores of a replay share.
#[derive(Debug)]
pub struct Together<'a> {
    /// The trace.
    pub trace: Trace<'a>,
    /// What [`find_previous`] has found.
    pub previous: &'a [u32],
    /// Its slots, all empty.
    pub places: &'a [Place],
    /// For each core, the event that it does next; 0 before it begins.
    pub next: &'a [AtomicU32],
    /// Whether one of them has failed.
    pub stop: AtomicBool,
    /// Called while a core waits, and behind each event: lets others run.
    pub pause: fn(),
}

impl Together<'_> {
    /// The core that does an event.
    pub fn core(&self, event: &Event) -> usize {
        usize::from(event.thread) % self.next.len()
    }

    /// Does what is the part of `core`, on its `heap`.
    ///
    /// # Errors
    ///
    /// [`ReplayError`] at the first of its events that goes wrong; the others end too.
    pub fn part(&self, core: usize, heap: &mut impl Heap) -> Result<(), ReplayError> {
        let mut run = Run::new(heap);
        for (number, event) in (0..).zip(self.trace.events()) {
            if self.core(&event) != core {
                continue;
            }
            if !self.wait_for(core, number, &event) {
                break;
            }
            let done = self.event(&mut run, &event, number);
            if let Err(kind) = done {
                self.stop.store(true, Ordering::Relaxed);
                let event = number;
                return Err(ReplayError { event, kind });
            }
            (self.pause)();
        }
        self.next[core].store(NONE, Ordering::Relaxed);
        Ok(())
    }

    /// Waits until `core` may do the event `number`; whether it still should.
    fn wait_for(&self, core: usize, number: u32, event: &Event) -> bool {
        let previous = self.previous[number as usize];
        self.next[core].store(number, Ordering::Relaxed);
        let is_ahead = || {
            let all = self.next.iter().map(|next| next.load(Ordering::Relaxed));
            all.min()
                .is_some_and(|least| number - least.min(number) > AHEAD_EVENTS)
        };
        let place = &self.places[event.slot as usize];
        while place.done.load(Ordering::Acquire) != previous || is_ahead() {
            if self.stop.load(Ordering::Relaxed) {
                return false;
            }
            (self.pause)();
        }
        true
    }

    fn event<H: Heap>(
        &self,
        run: &mut Run<'_, H>,
        event: &Event,
        number: u32,
    ) -> Result<(), ErrorKind> {
        let place = &self.places[event.slot as usize];
        let mut entry = place.load();
        let result = run.event(&mut entry, *event, number);
        place.store(entry);
        place.done.store(number, Ordering::Release);
        result
    }

    /// Frees what is still live, when all cores are done.
    ///
    /// # Errors
    ///
    /// [`ReplayError`] at the first that is not as it should be.
    pub fn clear(&self, heap: &mut impl Heap) -> Result<(), ReplayError> {
        heap.stop_recording();
        let mut run = Run::new(heap);
        let mut result = Ok(());
        for (slot, place) in (0..).zip(self.places) {
            let mut entry = place.load();
            result = result.and(run.release(&mut entry, slot));
            place.store(entry);
        }
        let event = self.trace.totals.events;
        result.map_err(|kind| ReplayError { event, kind })
    }
}

#[cfg(test)]
mod tests;
