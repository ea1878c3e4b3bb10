//! Where cores exchange objects: a few batches between the magazines and the slabs of a cache.
//!
//! What one core frees and another allocates goes through here, batch by batch, and never through the
//! slabs: the cache's lock is held for as long as it takes to move half a magazine of addresses.
//! (J. Bonwick, J. Adams, "Magazines and Vmem", 2001, have a depot of whole magazines. Half of one keeps
//! a core that alternates at an edge from coming here each time, without a second magazine.)
//!
//! # Invariants
//!
//! 1. Batches below `filled` have an object in each of their first `batch` places, the others in none.
//! 2. The first word of each object says so ([`Link::Depot`]).

use super::link::Link;
use super::slabs::Broken;
use crate::mm::magazine::{Block, CAPACITY, Magazine, Top};

/// Most batches.
const BATCHES: usize = 4;
/// Most objects of a batch: half a magazine.
const LARGEST_BATCH: usize = CAPACITY as usize / 2;

/// Batches of objects that are no core's.
#[derive(Debug)]
pub(super) struct Depot {
    batches: [[Option<Block>; LARGEST_BATCH]; BATCHES],
    filled: usize,
}

impl Depot {
    pub(super) const fn new() -> Self {
        Self {
            batches: [const { [const { None }; LARGEST_BATCH] }; BATCHES],
            filled: 0,
        }
    }

    /// Whether it takes another batch.
    pub(super) const fn has_room(&self) -> bool {
        self.filled < BATCHES
    }

    /// Objects in it, where a batch has `batch`.
    pub(super) fn len(&self, batch: u16) -> u32 {
        u32::from(batch) * u32::try_from(self.filled).expect("at most four")
    }

    /// Takes a batch off `magazine`, which holds as many at least. There is room.
    pub(super) fn fill_from(&mut self, magazine: &Magazine, batch: u16) -> Result<(), Broken> {
        for place in &mut self.batches[self.filled][..usize::from(batch)] {
            match magazine.top() {
                Top::Block(block) => {
                    Link::Depot.put(&block);
                    *place = Some(block);
                }
                Top::Empty => unreachable!("a magazine that is full has half its objects"),
                Top::Broken(address) => return Err(Broken(address)),
            }
        }
        self.filled += 1;
        Ok(())
    }

    /// Puts a batch into `magazine`, which is empty, but for one object, which it returns; `None` if
    /// there is no batch.
    pub(super) fn empty_into(&mut self, magazine: &Magazine) -> Result<Option<Block>, Broken> {
        let Some(last) = self.filled.checked_sub(1) else {
            return Ok(None);
        };
        self.filled = last;
        let mut first = None;
        for block in self.batches[last].iter_mut().map_while(Option::take) {
            if Link::get(&block) != Some(Link::Depot) {
                return Err(Broken(block.address()));
            }
            if let Some(other) = first.replace(block)
                && magazine.push(other).is_err()
            {
                unreachable!("an empty magazine has room for half of what it holds");
            }
        }
        Ok(first)
    }

    /// Takes any object.
    pub(super) fn take(&mut self, batch: u16) -> Option<Block> {
        let last = self.filled.checked_sub(1)?;
        let places = &mut self.batches[last][..usize::from(batch)];
        let block = places.iter_mut().rev().find_map(Option::take);
        if places.iter().all(Option::is_none) {
            self.filled = last;
        }
        block
    }

    /// Its objects.
    pub(super) fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.batches.iter().flatten().flatten()
    }
}
