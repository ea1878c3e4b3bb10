//! Where cores exchange objects: a few batches between the magazines and the slabs of a cache.
//!
//! What one core frees and another allocates goes through here, batch by batch, and never through the
//! slabs: the cache's lock is held for as long as it takes to move a third of a magazine of addresses.
//! (J. Bonwick, J. Adams, "Magazines and Vmem", 2001, have a depot of whole magazines. A part of one
//! keeps a core that alternates at an edge from coming here each time, without a second magazine.)
//! Large objects have none: what lies here keeps slabs from ending.
//!
//! # Invariants
//!
//! 1. The places below `filled` have an object each, the others none.
//! 2. The first word of each object says so ([`Link::Depot`]).

use super::context::Context;
use super::geometry::LARGEST_DEPOT_BATCH;
use super::link::Link;
use crate::mm::magazine::Block;
use crate::mm::path;
use wire::path::Step;

/// Most batches.
const BATCHES: usize = 4;
/// Most objects.
const CAPACITY: usize = BATCHES * LARGEST_DEPOT_BATCH as usize;

/// Objects that are no core's.
#[derive(Debug)]
pub(super) struct Depot {
    objects: [Option<Block>; CAPACITY],
    filled: usize,
}

impl Depot {
    pub(super) const fn new() -> Self {
        Self {
            objects: [const { None }; CAPACITY],
            filled: 0,
        }
    }

    /// Whether it takes another batch; none of 0.
    pub(super) fn has_room(&self, batch: u16) -> bool {
        batch > 0 && self.filled + usize::from(batch) <= CAPACITY
    }

    /// Objects in it.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.filled).expect("at most four batches")
    }

    /// Takes objects; there is room.
    #[inline]
    pub(super) fn fill(&mut self, blocks: impl Iterator<Item = Block>) {
        path::note(Step::Depot);
        let mut filled = self.filled;
        for (place, block) in self.objects[filled..].iter_mut().zip(blocks) {
            Link::Depot.put(&block);
            *place = Some(block);
            filled += 1;
        }
        self.filled = filled;
    }

    /// Hands an object out. Ends if it does not look free any more.
    #[inline]
    pub(super) fn take(&mut self, context: &Context<'_, '_>) -> Option<Block> {
        let last = self.filled.checked_sub(1)?;
        let block = self.objects.get_mut(last)?.take()?;
        self.filled = last;
        if Link::get(&block) != Some(Link::Depot) {
            context.die(block.address());
        }
        Some(block)
    }

    /// Its objects.
    pub(super) fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.objects.iter().flatten()
    }
}
