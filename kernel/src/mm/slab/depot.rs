//! Where cores exchange objects: a few batches between the magazines and the slabs of a cache.
//!
//! What one core frees and another allocates goes through here, batch by batch, and never through the
//! slabs: the cache's lock is held for as long as it takes to move half a magazine of addresses.
//! (J. Bonwick, J. Adams, "Magazines and Vmem", 2001, have a depot of whole magazines. Half of one keeps
//! a core that alternates at an edge from coming here each time, without a second magazine.)
//!
//! # Invariants
//!
//! 1. The places below `filled` have an object each, the others none.
//! 2. The first word of each object says so ([`Link::Depot`]).

use super::link::Link;
use super::slabs::Broken;
use crate::mm::magazine::{Block, CAPACITY, Magazine};

/// Most batches.
const BATCHES: usize = 4;
/// Most objects of a batch: half a magazine.
const LARGEST_BATCH: usize = CAPACITY as usize / 2;

/// Objects that are no core's.
#[derive(Debug)]
pub(super) struct Depot {
    objects: [Option<Block>; BATCHES * LARGEST_BATCH],
    filled: usize,
}

impl Depot {
    pub(super) const fn new() -> Self {
        Self {
            objects: [const { None }; BATCHES * LARGEST_BATCH],
            filled: 0,
        }
    }

    /// Whether it takes another batch.
    pub(super) fn has_room(&self, batch: u16) -> bool {
        self.filled + usize::from(batch) <= BATCHES * usize::from(batch)
    }

    /// Objects in it.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.filled).expect("at most four batches")
    }

    /// Takes `batch` of `blocks`, which are as many at least. There is room.
    pub(super) fn fill(
        &mut self,
        batch: u16,
        blocks: impl Iterator<Item = Result<Block, Broken>>,
    ) -> Result<(), Broken> {
        for block in blocks.take(usize::from(batch)) {
            let block = block?;
            Link::Depot.put(&block);
            self.objects[self.filled] = Some(block);
            self.filled += 1;
        }
        Ok(())
    }

    /// Puts up to `batch` objects into `magazine`, which is empty, but for one, which it returns; `None`
    /// if there is none.
    pub(super) fn empty_into(
        &mut self,
        magazine: &Magazine,
        batch: u16,
    ) -> Result<Option<Block>, Broken> {
        let first = self.take().transpose()?;
        let rest = if first.is_some() { batch - 1 } else { 0 };
        for _ in 0..rest {
            let Some(block) = self.take() else {
                break;
            };
            if magazine.push(block?).is_err() {
                unreachable!("an empty magazine has room for half of what it holds");
            }
        }
        Ok(first)
    }

    /// Takes an object.
    pub(super) fn take(&mut self) -> Option<Result<Block, Broken>> {
        let last = self.filled.checked_sub(1)?;
        let block = self.objects[last].take()?;
        self.filled = last;
        Some(if Link::get(&block) == Some(Link::Depot) {
            Ok(block)
        } else {
            Err(Broken(block.address()))
        })
    }

    /// Its objects.
    pub(super) fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.objects.iter().flatten()
    }
}
