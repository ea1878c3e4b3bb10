//! Making what is free contiguous: movable blocks go elsewhere, so that larger ones become free.
//!
//! # Shape
//!
//! ```text
//! chunk   2ⁿ frames at a multiple of 2ⁿ, for blocks of the order n that is wanted
//!
//!   ┌ free ┬ M ┬ free ┬ M ┐  isolate    ┌──────── free ─────────┐
//!   │      │ 4 │      │ 7 │ ─────────►  │                       │ ─► rejoin: one free block
//!   └──────┴─┬─┴──────┴─┬─┘             └───────────────────────┘
//!            └──────────┴── to small free blocks of pageblocks that are in use
//! ```
//!
//! A block can be moved if its owner said how: it [owns](Frames::own) the block, and its entry in the frame
//! table names the owner and what the block is to it. Everything else stays: stacks, page tables, slabs, and
//! what has no owner because somebody pins it.
//!
//! Only chunks are cleared that hold nothing but free and movable blocks, so that no block is moved in
//! vain. What they hold goes where small blocks are free anyway, never to a pageblock that is free as a
//! whole. A request takes the emptiest chunk of some 8,192 entries; [`compact`](Frames::compact) goes
//! over all of them, in passes: first those that are an eighth full at most, then a quarter, and so on.
//!
//! # Invariants
//!
//! 1. A movable block changes hands by its entry's kind, in one exchange: `Movable` to
//!    `Moving`. Whoever made that change alone reads or writes whose it is, and makes it movable
//!    again, or allocated.
//! 2. From that change on until the next no interrupt is taken on this core.
//! 3. While a chunk is cleared its pageblocks are isolated, so nobody else is given frames there.
//!
//! # Cost
//!
//! A look at a chunk reads an entry for each of its blocks. A request looks at 65,536 entries of a zone at
//! most, and moves less than one chunk's frames if its owners do; a block is moved with interrupts masked, for
//! the time that copying it and its owner's changes take.
//!
//! # Locking
//!
//! None is held while an owner is asked. Owners only try locks of their own: their holder may be waiting for
//! the block.

mod clear;
mod owners;
mod pages;
#[cfg(test)]
mod tests;

use super::addr::{Order, Pfn};
use super::frames::Frames;
use super::gfp::Gfp;
use super::zone::Zone;
use super::{pageblock, path};
use crate::sync::irq;
use core::sync::atomic::Ordering::Relaxed;

use clear::Chunk;
pub(super) use owners::Owners;
pub use owners::{Immovable, MovableOwner, OwnerId, OwnersFull};
pub use pages::MovablePages;
use wire::path::Step;

/// Entries that a request looks at before it takes the emptiest chunk among them.
const WINDOW: u32 = 16 * pageblock::FRAMES;
/// Most windows that it looks at in a zone.
const WINDOWS: u32 = 8;
/// Passes over a zone, each for chunks that are up to so many eighths full.
const PASSES: [u32; 4] = [1, 2, 4, 8];

/// What compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Chunks that became free: blocks of the order asked for, or parts of larger ones.
    pub cleared: u32,
    /// Chunks that it began to clear and had to leave, with what was moved already gone.
    pub left: u32,
    /// Blocks that were moved.
    pub moved: u32,
    /// Blocks that their owners would not move at that moment.
    pub refused: u32,
}

/// How often memory was compacted, since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactionStatistics {
    /// Requests that it ran for, and calls.
    pub runs: u64,
    /// What it did in all of them: chunks that became free.
    pub cleared: u64,
    /// Chunks that it had to leave.
    pub left: u64,
    /// Blocks moved.
    pub moved: u64,
    /// Blocks refused.
    pub refused: u64,
}

impl<'t> Frames<'t> {
    /// Makes blocks of `order` free wherever moving movable blocks can, in all zones, and returns what it
    /// did. Takes time in proportion to memory; with interrupts masked it does nothing.
    pub fn compact(&self, order: Order) -> Compacted {
        let mut done = Compacted::default();
        if irq::is_masked() {
            return done;
        }
        path::note(Step::Compaction);
        self.drain_lists();
        self.wait_for_drains();
        for zone in self.zones_for(Gfp::empty()) {
            for eighths in PASSES {
                self.pass(zone, order, eighths, &mut done);
            }
        }
        self.owners.note(&done);
        done
    }

    fn pass(&self, zone: &Zone<'t>, order: Order, eighths: u32, done: &mut Compacted) {
        let most = order.frames() * eighths / 8;
        for start in chunks(zone, order) {
            let chunk = Chunk::look(self, start, order, &mut 0);
            if let Some(chunk) = chunk.filter(|chunk| chunk.used <= most) {
                self.clear_chunk(zone, &chunk, done);
            }
        }
    }

    /// Makes a block of `order` free in one of the zones that serve `gfp`, if that can be done with little
    /// work; whether it did.
    pub(super) fn compact_for(&self, order: Order, gfp: Gfp) -> bool {
        path::note(Step::Compaction);
        let mut done = Compacted::default();
        'done: for zone in self.zones_for(gfp) {
            for _ in 0..WINDOWS {
                if let Some(chunk) = self.emptiest(zone, order) {
                    self.clear_chunk(zone, &chunk, &mut done);
                }
                if done.cleared > 0 {
                    break 'done;
                }
            }
        }
        self.owners.note(&done);
        done.cleared > 0
    }

    /// The emptiest of the chunks that could be cleared in the next window; the look goes on behind it next
    /// time, and from the zone's start behind its end.
    fn emptiest(&self, zone: &Zone<'t>, order: Order) -> Option<Chunk> {
        let begin = Pfn::new(zone.compaction_cursor.load(Relaxed));
        let (mut best, mut looked) = (None::<Chunk>, 0);
        let mut next = None;
        for start in chunks_from(begin, zone, order) {
            if looked >= WINDOW {
                next = Some(start);
                break;
            }
            let chunk = Chunk::look(self, start, order, &mut looked);
            if let Some(chunk) =
                chunk.filter(|chunk| best.is_none_or(|best| chunk.used < best.used))
            {
                best = Some(chunk);
            }
        }
        let next = next.map_or(0, Pfn::get);
        zone.compaction_cursor.store(next, Relaxed);
        best
    }

    /// How often memory was compacted.
    pub fn compaction_statistics(&self) -> CompactionStatistics {
        self.owners.statistics()
    }
}

/// The starts of a zone's chunks of `order`.
fn chunks(zone: &Zone<'_>, order: Order) -> impl Iterator<Item = Pfn> + use<> {
    chunks_from(zone.span().start, zone, order)
}

/// Those from `begin` on.
fn chunks_from(begin: Pfn, zone: &Zone<'_>, order: Order) -> impl Iterator<Item = Pfn> + use<> {
    let begin = begin.max(zone.span().start).get();
    let (start, end) = (
        begin.next_multiple_of(order.frames()),
        zone.span().end.get(),
    );
    (start..end).step_by(order.frames() as usize).map(Pfn::new)
}
