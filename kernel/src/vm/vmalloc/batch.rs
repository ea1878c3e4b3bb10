//! Areas that were detached and wait: for a flush of the TLBs, then for their turn.

use crate::{
    mm::addr::{PAGE_BYTES, VirtAddr},
    vm::{area::SpaceKey, table::Held},
};
use core::ops::Range;

/// Most areas that one flush serves.
const AREAS: usize = 32;
/// When so many pages wait for a flush, it comes.
const PAGES: u32 = 512;

/// An area that was detached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lazy {
    pub(super) key: SpaceKey,
    pub(super) start: VirtAddr,
    pub(super) pages: u32,
    pub(super) held: Held,
}

impl Lazy {
    pub(super) const fn range(&self) -> Range<VirtAddr> {
        self.start..self.start.offset(PAGE_BYTES * self.pages as u64)
    }
}

/// A stack of areas.
#[derive(Debug)]
struct Batch {
    areas: [Option<Lazy>; AREAS],
    count: usize,
}

impl Batch {
    const fn new() -> Self {
        Self {
            areas: [None; AREAS],
            count: 0,
        }
    }
}

/// The two batches.
#[derive(Debug)]
pub(super) struct Batches {
    batches: [Batch; 2],
    /// Which of them waits for a flush; the other had it.
    waiting: usize,
    waiting_pages: u32,
}

impl Batches {
    pub(super) const fn new() -> Self {
        Self {
            batches: [const { Batch::new() }; 2],
            waiting: 0,
            waiting_pages: 0,
        }
    }

    /// Whether another area may wait, or the flush must come first.
    #[inline]
    pub(super) const fn has_room(&self) -> bool {
        self.batches[self.waiting].count < AREAS && self.waiting_pages < PAGES
    }

    /// Adds an area that waits; there is room.
    #[inline]
    pub(super) fn add(&mut self, lazy: Lazy) {
        self.waiting_pages += lazy.pages;
        let batch = &mut self.batches[self.waiting];
        batch.areas[batch.count].replace(lazy);
        batch.count += 1;
    }

    /// Whether any area waits for a flush.
    pub(super) const fn is_waiting(&self) -> bool {
        self.batches[self.waiting].count > 0
    }

    /// Whether any area had its flush.
    pub(super) const fn has_due(&self) -> bool {
        self.batches[1 - self.waiting].count > 0
    }

    /// All that waited was flushed, and is due; nothing was.
    pub(super) fn turn(&mut self) {
        assert!(!self.has_due(), "areas that were flushed are still waiting");
        self.waiting = 1 - self.waiting;
        self.waiting_pages = 0;
    }

    /// Pages of all areas.
    pub(super) fn pages(&self) -> u32 {
        let areas = self
            .batches
            .iter()
            .flat_map(|batch| &batch.areas[..batch.count]);
        areas.flatten().map(|lazy| lazy.pages).sum()
    }

    /// An area that had its flush, which is the caller's now.
    #[inline]
    pub(super) fn next_due(&mut self) -> Option<Lazy> {
        let due = &mut self.batches[1 - self.waiting];
        due.count = due.count.checked_sub(1)?;
        due.areas[due.count]
    }
}
