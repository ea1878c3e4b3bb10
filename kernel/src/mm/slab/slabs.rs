//! The slabs of one cache: made when needed, cut up as needed, given back when empty.
//!
//! # Shape
//!
//! ```text
//! partial ─► [slab: free 3, carved 40, in use 12] ⇄ [ … ] ⇄ [empty slab]      full slabs: on no list
//!             └─ its free list, by index: 3 ─► 17 ─► … (27 objects)   next to carve: 40
//! ```
//!
//! A slab's state is in the [entry](crate::mm::frame::Frame) of its first frame. Objects that were never handed out are
//! not touched: a new slab costs the same however many objects it holds.
//!
//! # Invariants
//!
//! 1. A slab is on `partial` exactly while it has an object to give: `in_use < capacity`.
//! 2. Its free list has `carved - in_use` objects, all below `carved`, each linked by its first word.
//! 3. `slabs` slabs exist, `empty` of which have no object in use; `out` objects are in use: with
//!    callers, in magazines or in the depot.
//! 4. All frames of a slab name its cache.
//! 5. Empty slabs stand last on `partial`: `give` and `add` put them there, and objects are taken from
//!    one only when it stands first.
//!
//! # Cost
//!
//! `take` and `give` read and write one entry for all that lies in the same slab, an object's first word
//! for each, and at most two neighbours on the list. `give` releases at most two slabs.
//!
//! # Locking
//!
//! The cache's lock wraps it; inside, a release takes a zone's lock. Frames for a new slab are got
//! without the lock, since that may take long.

use super::context::Context;
use super::depot::Depot;
use super::link::Link;
use crate::mm::addr::{Pfn, VirtAddr};
use crate::mm::frame::{Kind, List, NO_OBJECT};
use crate::mm::magazine::Block;
use crate::mm::path;
use wire::path::Step;

/// Empty slabs that a cache keeps for the next request.
const KEEP_EMPTY: u32 = 1;
/// Most slabs that are released while objects come back: as many as a batch can empty, again and again.
const RELEASES: usize = 2;
/// Most slabs that are released with the cache's lock held once, when all are to be.
const SHRUNK: usize = 8;

/// How often a cache's slow paths ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheEvents {
    /// Allocations that found their magazine empty.
    pub misses: u64,
    /// Frees that found their magazine full.
    pub overflows: u64,
    /// Allocations that found no memory.
    pub failures: u64,
    /// Slabs ever made.
    pub slabs_made: u64,
    /// The most slabs that there were at once.
    pub peak_slabs: u32,
}

/// The slabs of one cache.
#[derive(Debug)]
pub(super) struct Slabs {
    pub(super) depot: Depot,
    pub(super) events: CacheEvents,
    partial: List,
    slabs: u32,
    empty: u32,
    out: u32,
    /// Empty slabs to keep for the next request.
    keep_empty: u32,
}

impl Slabs {
    pub(super) const fn new() -> Self {
        Self {
            depot: Depot::new(),
            events: CacheEvents {
                misses: 0,
                overflows: 0,
                failures: 0,
                slabs_made: 0,
                peak_slabs: 0,
            },
            partial: List::new(),
            slabs: 0,
            empty: 0,
            out: 0,
            keep_empty: KEEP_EMPTY,
        }
    }

    /// Slabs that exist.
    pub(super) const fn slabs(&self) -> u32 {
        self.slabs
    }

    /// Objects outside of slabs: with callers, in magazines, in the depot.
    pub(super) const fn out(&self) -> u32 {
        self.out
    }

    /// Passes up to `most` objects to `sink`, each with whether it was just cut off; returns how many
    /// there were. Of objects that have a constructor it passes one that was just cut off, or others of
    /// one slab. Ends if one that is free does not look so.
    #[inline]
    pub(super) fn take(
        &mut self,
        context: &Context<'_, '_>,
        most: u16,
        mut sink: impl FnMut(Block, bool),
    ) -> u16 {
        let mut taken = 0;
        while taken < most
            && let Some(head) = self.partial.first()
        {
            taken += self.take_from(context, head, most - taken, &mut sink);
            if context.cache.constructor.is_some() {
                break;
            }
        }
        self.out += u32::from(taken);
        taken
    }

    /// Passes up to `most` objects of the slab at `head`, which is first and has one, to `sink`.
    #[inline]
    fn take_from(
        &mut self,
        context: &Context<'_, '_>,
        head: Pfn,
        most: u16,
        sink: &mut impl FnMut(Block, bool),
    ) -> u16 {
        let table = *context.frames.table();
        let frame = table.at(head);
        let mut state = frame.slab();
        let (before, capacity) = (state.in_use, context.cache.geometry.capacity);
        let last = capacity.min(before + most);
        while state.in_use < last && state.free != NO_OBJECT {
            let block = context.block(head, state.free);
            match Link::get(&block) {
                Some(Link::Slab(next)) if next == NO_OBJECT || next < state.carved => {
                    state.free = next;
                }
                _ => context.die(block.address()),
            }
            sink(block, false);
            state.in_use += 1;
        }
        let last = match context.cache.constructor {
            Some(_) => last.min(before + 1),
            None => last,
        };
        if state.in_use < last {
            let mut address = context.address(head, state.carved);
            while state.in_use < last {
                sink(context.at(address), true);
                address = address.offset(u64::from(context.cache.geometry.object_bytes));
                state.carved += 1;
                state.in_use += 1;
            }
        }
        self.empty -= u32::from(before == 0);
        frame.update_slab(state);
        if state.in_use == capacity {
            self.partial.remove(&table, head);
        }
        state.in_use - before
    }

    /// Takes objects back. What lies in the same slab as the one before costs no look at its entry. Ends
    /// at the first that is none of the cache's that is out.
    #[inline]
    pub(super) fn give(
        &mut self,
        context: &Context<'_, '_>,
        mut blocks: impl Iterator<Item = Block>,
    ) {
        let shape = context.cache.shape;
        let table = *context.frames.table();
        let mut next = blocks.next();
        while let Some(mut block) = next {
            let mut start = context.start_of(block.address());
            let slab = shape.slab_of(start);
            let Some((head, frame)) = context.slab_at(slab) else {
                context.die(block.address());
            };
            let mut state = frame.slab();
            let before = state.in_use;
            loop {
                let index = shape.index_of(start).unwrap_or(NO_OBJECT);
                if index >= state.carved || state.in_use == 0 {
                    context.die(block.address());
                }
                Link::Slab(state.free).put(&block);
                state.free = index;
                state.in_use -= 1;
                next = blocks.next();
                let Some(other) = next.take() else {
                    break;
                };
                start = context.start_of(other.address());
                if shape.slab_of(start) != slab {
                    next = Some(other);
                    break;
                }
                block = other;
            }
            frame.update_slab(state);
            self.out -= u32::from(before - state.in_use);
            let was_full = before == context.cache.geometry.capacity;
            if state.in_use > 0 {
                if was_full {
                    self.partial.push_front(&table, head);
                }
                continue;
            }
            // The last to be used again, so that the others may fill up, or it be released.
            if !was_full {
                self.partial.remove(&table, head);
            }
            self.partial.push_back(&table, head);
            self.empty += 1;
        }
        for _ in 0..RELEASES {
            if self.empty > self.keep_empty {
                self.release_empty(context);
            }
        }
    }

    /// Makes the block at `head`, of the right order and nobody else's, a slab.
    pub(super) fn add(&mut self, context: &Context<'_, '_>, head: Pfn) {
        path::note(Step::SlabMade);
        let order = context.cache.geometry.order;
        for tail in (1..order.frames()).map(|i| head.offset(i)) {
            context.frame(tail).set_slab_tail(context.cache.shape.tag);
        }
        context.frame(head).set_slab(context.cache.shape.tag);
        self.partial.push_back(context.frames.table(), head);
        self.slabs += 1;
        self.empty += 1;
        self.events.slabs_made += 1;
        self.events.peak_slabs = self.events.peak_slabs.max(self.slabs);
    }

    /// Gives back an empty slab; there is one.
    #[inline(never)]
    fn release_empty(&mut self, context: &Context<'_, '_>) {
        path::note(Step::SlabFreed);
        let table = *context.frames.table();
        let head = self.partial.last().expect("invariant 5");
        self.partial.remove(&table, head);
        self.empty -= 1;
        self.slabs -= 1;
        let order = context.cache.geometry.order;
        for tail in (1..order.frames()).map(|i| head.offset(i)) {
            table.at(tail).clear();
        }
        table.at(head).set_head(Kind::Allocated, order);
        if let Err(error) = context.frames.free(head, order) {
            unreachable!("a slab cannot be freed: {error}");
        }
    }

    /// From now on keeps no empty slab: the cache is no more.
    pub(super) const fn keep_none(&mut self) {
        self.keep_empty = 0;
    }

    /// Gives empty slabs back, a few; whether there are more.
    pub(super) fn shrink(&mut self, context: &Context<'_, '_>) -> bool {
        for _ in 0..SHRUNK {
            if self.empty == 0 {
                break;
            }
            self.release_empty(context);
        }
        self.empty > 0
    }

    /// Whether the object at `mark` is on its slab's list.
    pub(super) fn lists(context: &Context<'_, '_>, mark: u64) -> bool {
        let Some((head, index)) = context.find(context.start_of(mark)) else {
            return false;
        };
        let mut next = context.frame(head).slab().free;
        for _ in 0..context.cache.geometry.capacity {
            match next {
                NO_OBJECT => return false,
                found if found == index => return true,
                other => match Link::get(&context.block(head, other)) {
                    Some(Link::Slab(further)) => next = further,
                    _ => return false,
                },
            }
        }
        false
    }

    /// Checks all invariants, slab by slab, through the whole frame table.
    ///
    /// # Errors
    ///
    /// The number of the first one found broken, and where.
    pub(super) fn validate(&self, context: &Context<'_, '_>) -> Result<(), (u8, VirtAddr)> {
        if (self.slabs, self.out, self.partial.first()) == (0, 0, None) {
            return Ok(());
        }
        let table = context.frames.table();
        let at = |head: Pfn| context.address(head, 0);
        let (mut slabs, mut empty, mut out, mut partial) = (0, 0, 0, 0);
        let span = table.span();
        let mut last = span.start;
        for head in (span.start.get()..span.end.get()).map(Pfn::new) {
            let slab = table.find(head);
            let slab = slab.filter(|frame| frame.carved(context.cache.shape.tag).is_some());
            let Some(frame) = slab else {
                continue;
            };
            last = head;
            let state = frame.slab();
            slabs += 1;
            empty += u32::from(state.in_use == 0);
            out += u32::from(state.in_use);
            partial += u32::from(state.in_use < context.cache.geometry.capacity);
            Self::validate_free_list(context, head)?;
            let tails =
                (1..context.cache.geometry.order.frames()).map(|i| table.at(head.offset(i)));
            if { tails }.any(|tail| tail.slab_cache() != frame.slab_cache()) {
                return Err((4, at(head)));
            }
        }
        if (slabs, empty, out) != (self.slabs, self.empty, self.out) {
            return Err((3, at(last)));
        }
        self.validate_partial(context, partial)
    }

    /// Checks the list of the slabs that have objects to give, which are `partial`.
    fn validate_partial(
        &self,
        context: &Context<'_, '_>,
        partial: u32,
    ) -> Result<(), (u8, VirtAddr)> {
        let (mut listed, mut empty) = (0, 0);
        for head in self.partial.iter(context.frames.table()) {
            let frame = context.frame(head);
            let in_use = frame.slab().in_use;
            listed += 1;
            empty += u32::from(in_use == 0);
            let is_ours = frame.carved(context.cache.shape.tag).is_some();
            if !is_ours || in_use >= context.cache.geometry.capacity || listed > partial {
                return Err((1, context.address(head, 0)));
            }
            if empty > 0 && in_use > 0 {
                return Err((5, context.address(head, 0)));
            }
        }
        let all = context.address(context.frames.table().span().start, 0);
        (listed == partial).then_some(()).ok_or((1, all))
    }

    fn validate_free_list(context: &Context<'_, '_>, head: Pfn) -> Result<(), (u8, VirtAddr)> {
        let state = context.frame(head).slab();
        let (mut index, mut count) = (state.free, 0);
        while index != NO_OBJECT {
            let broken = Err((2, context.address(head, index.min(state.carved))));
            if index >= state.carved || count == state.carved {
                return broken;
            }
            let Some(Link::Slab(next)) = Link::get(&context.block(head, index)) else {
                return broken;
            };
            index = next;
            count += 1;
        }
        if state.in_use + count != state.carved || state.carved > context.cache.geometry.capacity {
            return Err((2, context.address(head, 0)));
        }
        Ok(())
    }
}
