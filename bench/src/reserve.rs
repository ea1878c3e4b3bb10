//! Free memory of a known size: rows that are measured on it find the same whatever ran before.
//!
//! # Shape
//!
//! ```text
//! all free memory:  [ blocks of the largest order to leave ][ everything else, held by us ]
//! ```
//!
//! The blocks to leave are taken first, then everything else in blocks as large as they come, and then
//! the first ones are given back. So what is free are whole blocks of the largest order and nothing
//! else, however the lists were split before.
//!
//! A zone keeps some frames for urgent requests, and left alone those would lie in blocks that depend on
//! all that was ever allocated, the image included. So they are taken as well, and one more large block is
//! left for the zone to keep frames of: in the pageblocks of movable frames, where the rows look last.
//!
//! # Invariants
//!
//! 1. The blocks of a chain were allocated and not freed; each one's first word says which is next.
#![allow(
    unsafe_code,
    reason = "chains blocks of page frames through their first words"
)]

use core::ops::Range;
use kernel::mm::addr::{LinearMap, Order, Pfn};
use kernel::mm::{frames, gfp::Gfp, slab};

/// Takes without reclaim, which would free what the harness wants left alone, and without a word.
const QUIETLY: Gfp = Gfp::KERNEL
    .difference(Gfp::DIRECT_RECLAIM)
    .union(Gfp::NOWARN);

/// Whose frames there are.
const TYPES: [Gfp; 3] = [Gfp::empty(), Gfp::MOVABLE, Gfp::RECLAIMABLE];

/// Takes deeper into the reserve for urgent requests.
const DEEPLY: Gfp = QUIETLY.union(Gfp::HIGH);

/// A place for each block that [`arrange`] takes.
pub type Places = [(Pfn, Order)];

/// Uses every free frame once, so that the frame table has all its entries.
pub fn touch() {
    let mut held = Chain::default();
    while held.take(Order::ZERO) {}
}

/// Takes all free memory, in blocks as large as they come, and gives it back in the order of addresses:
/// so the lists of free blocks have one order, however memory was used before. What `places` has no
/// room for stays as it is.
pub fn arrange(places: &mut Places) {
    slab::shrink();
    drain_lists();
    let mut taken = 0;
    let mut order = Some(Order::MAX);
    while let (Some(size), Some(place)) = (order, places.get_mut(taken)) {
        if let Ok(block) = frames::alloc(size, DEEPLY) {
            *place = (block, size);
            taken += 1;
        } else {
            order = size.smaller();
        }
    }
    let places = &mut places[..taken];
    places.sort_unstable_by_key(|(block, _)| block.get());
    for &mut (block, size) in places {
        let freed = frames::free(block, size);
        debug_assert!(freed.is_ok(), "a block is kept: {freed:?}");
    }
    drain_lists();
}

/// Gives the frames that this core has listed back to their zones.
pub fn drain_lists() {
    if let Some(frames) = frames::global() {
        frames.drain_lists();
    }
}

/// Holds all free memory but some; gives it back when dropped.
#[derive(Debug)]
pub struct Reserve {
    held: Chain,
    left: u32,
}

impl Reserve {
    /// Leaves `most` blocks of the largest order free, or as many as there are, and nothing else.
    pub fn leaving(most: u32) -> Self {
        slab::shrink();
        let (mut left, mut held) = (Chain::default(), Chain::default());
        while left.blocks < most && left.take(Order::MAX) {}
        let mut kept = Chain::default();
        kept.take(Order::MAX);
        let mut order = Some(Order::MAX);
        while let Some(size) = order {
            if !held.take(size) {
                order = size.smaller();
            }
        }
        let blocks = left.blocks;
        if let Some((whole, order)) = kept.give_back() {
            drain_lists();
            let whole = whole..whole.offset(order.frames());
            // Blocks may change from one type's list to another's when either is asked for.
            while TYPES.iter().fold(0, |taken, of_type| {
                taken + held.take_outside(&whole, QUIETLY | *of_type)
            }) > 0
            {}
            while held.take_as(Order::ZERO, QUIETLY | Gfp::MOVABLE) {}
            drain_lists();
        }
        drop(left);
        Self { held, left: blocks }
    }

    /// Blocks of the largest order that are left free.
    pub const fn blocks(&self) -> u32 {
        self.left
    }

    /// Blocks that are held.
    pub const fn held_blocks(&self) -> u32 {
        self.held.blocks
    }
}

/// Blocks of page frames, last in, first out.
#[derive(Debug, Default)]
struct Chain {
    first: Option<(Pfn, Order)>,
    blocks: u32,
}

/// What stands at the start of a block in a chain.
type Link = Option<(Pfn, Order)>;

impl Chain {
    /// Takes one more block; whether there was one.
    fn take(&mut self, order: Order) -> bool {
        self.take_as(order, QUIETLY)
    }

    fn take_as(&mut self, order: Order, gfp: Gfp) -> bool {
        let Ok(block) = frames::alloc(order, gfp) else {
            return false;
        };
        // SAFETY: the block is ours since the line above, and frames are mapped in the linear map.
        unsafe { link(block).write(self.first) };
        self.first = Some((block, order));
        self.blocks += 1;
        true
    }

    /// Takes single frames until one comes out of `whole`; how many others there were.
    fn take_outside(&mut self, whole: &Range<Pfn>, gfp: Gfp) -> u32 {
        let before = self.blocks;
        while self.take_as(Order::ZERO, gfp) {
            if self.first.is_some_and(|(frame, _)| whole.contains(&frame)) {
                self.give_back();
                break;
            }
        }
        drain_lists();
        self.blocks - before
    }

    /// Gives the block back that was taken last; which one, if there was any.
    fn give_back(&mut self) -> Option<(Pfn, Order)> {
        let (block, order) = self.first?;
        // SAFETY: invariant 1.
        self.first = unsafe { link(block).read() };
        self.blocks -= 1;
        let freed = frames::free(block, order);
        debug_assert!(freed.is_ok(), "a block is kept: {freed:?}");
        Some((block, order))
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        while self.give_back().is_some() {}
    }
}

fn link(block: Pfn) -> *mut Link {
    LinearMap::kernel().to_virt(block.address()).as_mut_ptr()
}
