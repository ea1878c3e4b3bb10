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
//! `take` reads and writes one entry for all that it takes from a slab, and an object's first word for
//! each; `give` one entry, one object, and at most two neighbours on the list. `give` releases at most
//! one slab.
//!
//! # Locking
//!
//! The cache's lock wraps it; inside, `release` takes a zone's lock. Frames for a new slab are got
//! without the lock, since that may take long.
use super::context::Context;
use super::depot::Depot;
use super::link::Link;
use crate::mm::addr::{Pfn, VirtAddr};
use crate::mm::frame::{Kind, List, NO_OBJECT, SlabState};
use crate::mm::magazine::Block;

/// Empty slabs that a cache keeps for the next request.
const KEEP_EMPTY: u32 = 1;

/// The address of a free object that does not say where it is: freed twice, or written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken(pub(super) u64);

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

/// A slab that objects are being given to.
struct Open {
    slab: VirtAddr,
    head: Pfn,
    state: SlabState,
    /// How many of its objects were in use.
    before: u16,
}

impl Open {
    /// The slab that starts at `slab`, if one of the cache does and has an object out.
    fn new(context: &Context<'_, '_>, slab: VirtAddr) -> Option<Self> {
        let frame = context.frames.frame_at(slab)?;
        frame.carved(context.shape.tag)?;
        let state = frame.slab();
        (state.in_use > 0).then(|| Self {
            slab,
            head: context.frames.linear().to_phys(slab).frame(),
            state,
            before: state.in_use,
        })
    }
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
    /// there were. On an error none of those that came before is lost. Of objects that have a
    /// constructor it passes one that was just cut off, or others of one slab.
    pub(super) fn take(
        &mut self,
        context: &Context<'_, '_>,
        most: u16,
        mut sink: impl FnMut(Block, bool),
    ) -> Result<u16, Broken> {
        let mut taken = 0;
        while taken < most
            && let Some(head) = self.partial.first()
        {
            taken += self.take_from(context, head, most - taken, &mut sink)?;
            if context.constructor.is_some() {
                break;
            }
        }
        Ok(taken)
    }

    /// Passes up to `most` objects of the slab at `head`, which is first and has one, to `sink`.
    fn take_from(
        &mut self,
        context: &Context<'_, '_>,
        head: Pfn,
        most: u16,
        sink: &mut impl FnMut(Block, bool),
    ) -> Result<u16, Broken> {
        let frame = context.frame(head);
        let mut state = frame.slab();
        let (before, capacity) = (state.in_use, context.geometry.capacity);
        let (last, mut broken) = (capacity.min(before + most), None);
        while state.in_use < last && state.free != NO_OBJECT {
            let block = context.block(head, state.free);
            let next = match Link::get(&block) {
                Some(Link::Slab(next)) if next == NO_OBJECT || next < state.carved => next,
                _ => {
                    broken = Some(Broken(block.address()));
                    break;
                }
            };
            sink(block, false);
            state.free = next;
            state.in_use += 1;
        }
        let last = match context.constructor {
            Some(_) => last.min(before + 1),
            None => last,
        };
        if broken.is_none() && state.in_use < last {
            let mut address = context.address(head, state.carved);
            while state.in_use < last {
                sink(context.at(address), true);
                address = address.offset(u64::from(context.geometry.object_bytes));
                state.carved += 1;
                state.in_use += 1;
            }
        }
        let taken = state.in_use - before;
        if before == 0 && taken > 0 {
            self.empty -= 1;
        }
        self.out += u32::from(taken);
        frame.update_slab(state);
        if state.in_use == capacity {
            self.partial.remove(context.frames.table(), head);
        }
        broken.map_or(Ok(taken), Err)
    }

    /// Takes objects back, as many as `blocks` yields. What lies in the same slab as the one before costs
    /// no look at its entry. An error at the first that is none that is out; those before it are back.
    pub(super) fn give(
        &mut self,
        context: &Context<'_, '_>,
        blocks: impl Iterator<Item = Result<Block, Broken>>,
    ) -> Result<(), Broken> {
        let (mut open, mut result) = (None::<Open>, Ok(()));
        for block in blocks {
            let given = block.and_then(|block| {
                let broken = Broken(block.address());
                let start = context.start_of(block.address());
                let slab = context.shape.slab_of(start);
                if open.as_ref().is_none_or(|open| open.slab != slab) {
                    if let Some(open) = open.take() {
                        self.close(context, &open);
                    }
                    open = Some(Open::new(context, slab).ok_or(broken)?);
                }
                let index = context.shape.index_of(start).ok_or(broken)?;
                let Open { state, .. } = open.as_mut().ok_or(broken)?;
                if index >= state.carved || state.in_use == 0 {
                    return Err(broken);
                }
                Link::Slab(state.free).put(&block);
                state.free = index;
                state.in_use -= 1;
                Ok(())
            });
            if let Err(broken) = given {
                result = Err(broken);
                break;
            }
        }
        if let Some(open) = open {
            self.close(context, &open);
        }
        result
    }

    /// Writes back the state of a slab that objects were given to, and puts it where it belongs.
    fn close(&mut self, context: &Context<'_, '_>, open: &Open) {
        let (table, head) = (context.frames.table(), open.head);
        context.frame(head).update_slab(open.state);
        self.out -= u32::from(open.before - open.state.in_use);
        let was_full = open.before == context.geometry.capacity;
        if open.state.in_use > 0 {
            if was_full && open.state.in_use < open.before {
                self.partial.push_front(table, head);
            }
            return;
        }
        // The last to be used again, so that the others may fill up, or it be released.
        if !was_full {
            self.partial.remove(table, head);
        }
        self.partial.push_back(table, head);
        self.empty += 1;
        if self.empty > self.keep_empty {
            self.release(context, head);
        }
    }

    /// Makes the block at `head`, of the right order and nobody else's, a slab.
    pub(super) fn add(&mut self, context: &Context<'_, '_>, head: Pfn) {
        let order = context.geometry.order;
        for tail in (1..order.frames()).map(|i| head.offset(i)) {
            context.frame(tail).set_slab_tail(context.shape.tag);
        }
        context.frame(head).set_slab(context.shape.tag);
        self.partial.push_back(context.frames.table(), head);
        self.slabs += 1;
        self.empty += 1;
        self.events.slabs_made += 1;
        self.events.peak_slabs = self.events.peak_slabs.max(self.slabs);
    }

    /// Gives an empty slab back to the buddy allocator.
    fn release(&mut self, context: &Context<'_, '_>, head: Pfn) {
        let order = context.geometry.order;
        self.partial.remove(context.frames.table(), head);
        for tail in (1..order.frames()).map(|i| head.offset(i)) {
            context.frame(tail).clear();
        }
        context.frame(head).set_head(Kind::Allocated, order);
        self.slabs -= 1;
        self.empty -= 1;
        if let Err(error) = context.frames.free(head, order) {
            unreachable!("a slab cannot be freed: {error}");
        }
    }

    /// From now on keeps no empty slab: the cache is no more.
    pub(super) const fn keep_none(&mut self) {
        self.keep_empty = 0;
    }

    /// Gives all empty slabs back.
    pub(super) fn shrink(&mut self, context: &Context<'_, '_>) {
        while self.empty > 0 {
            let last = self.partial.last().expect("invariant 5");
            self.release(context, last);
        }
    }

    /// Whether the object at `mark` is on its slab's list.
    pub(super) fn lists(context: &Context<'_, '_>, mark: u64) -> bool {
        let Some((head, index)) = context.find(context.start_of(mark)) else {
            return false;
        };
        let mut next = context.frame(head).slab().free;
        for _ in 0..context.geometry.capacity {
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
            let slab = slab.filter(|frame| frame.carved(context.shape.tag).is_some());
            let Some(frame) = slab else {
                continue;
            };
            last = head;
            let state = frame.slab();
            slabs += 1;
            empty += u32::from(state.in_use == 0);
            out += u32::from(state.in_use);
            partial += u32::from(state.in_use < context.geometry.capacity);
            Self::validate_free_list(context, head)?;
            let tails = (1..context.geometry.order.frames()).map(|i| table.at(head.offset(i)));
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
            let is_ours = frame.carved(context.shape.tag).is_some();
            if !is_ours || in_use >= context.geometry.capacity || listed > partial {
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
        if state.in_use + count != state.carved || state.carved > context.geometry.capacity {
            return Err((2, context.address(head, 0)));
        }
        Ok(())
    }
}
