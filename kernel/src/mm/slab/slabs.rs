//! The slabs of one cache: made when needed, cut up as needed, given back when empty.
//!
//! # Shape
//!
//! ```text
//! partial ─► [slab: free 3, carved 40, in use 12] ⇄ [ … ] ⇄ [empty slab]      full slabs: on no list
//!             └─ its free list, by index: 3 ─► 17 ─► … (27 objects)   next to carve: 40
//! ```
//!
//! A slab's state is in the [`Frame`] of its first frame. Objects that were never handed out are
//! not touched: a new slab costs the same however many objects it holds.
//!
//! # Invariants
//!
//! 1. A slab is on `partial` exactly while it has an object to give: `in_use < capacity`.
//! 2. Its free list has `carved - in_use` objects, all below `carved`, each sealed with its key.
//! 3. `slabs` slabs exist, `empty` of which have no object in use; `out` objects are in use.
//! 4. All frames of a slab name its cache.
//! 5. Empty slabs stand last on `partial`: `give` puts them there, and `take` uses one only when it
//!    stands first. What `grow` makes is taken from before the lock is given back.
//!
//! # Cost
//!
//! `take` and `give` touch one object and one entry, and at most two neighbours on the list. `give`
//! releases at most one slab, `grow` makes one, of at most eight frames.
//!
//! # Locking
//!
//! The cache's lock wraps it; inside, `grow` and `release` take a zone's lock.
#![allow(
    unsafe_code,
    reason = "makes objects out of slab memory, by the invariants above"
)]

use super::free_list::{Object, slab_key};
use super::geometry::{Geometry, Shape};
use super::memory::Extent;
use crate::mm::addr::{Pfn, VirtAddr};
use crate::mm::frame::{CacheId, Frame, Kind, List, NO_OBJECT};
use crate::mm::frames::{FrameError, Frames};
use crate::mm::gfp::Gfp;
use core::ptr::NonNull;

/// Empty slabs that a cache keeps for the next request.
const KEEP_EMPTY: u32 = 1;

/// An object on a slab's free list that does not say so: freed twice, or written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken(pub(super) VirtAddr);

/// What the slabs belong to.
#[derive(Clone, Copy)]
pub(super) struct Context<'c, 'f> {
    pub(super) frames: &'c Frames<'f>,
    pub(super) cache: CacheId,
    pub(super) geometry: &'c Geometry,
    pub(super) shape: Shape,
    pub(super) extent: Extent<'f>,
}

impl Context<'_, '_> {
    fn frame(&self, head: Pfn) -> &Frame {
        self.frames.table().at(head)
    }

    /// The slab and the index of the object at `address`, if it is one that was ever handed out.
    pub(super) fn find(&self, address: VirtAddr) -> Option<(Pfn, u16)> {
        let (start, index) = super::cache::find(&self.extent, self.shape, address)?;
        Some((self.frames.linear().to_phys(start).frame(), index))
    }

    /// The object numbered `index` of the slab at `head`, below its capacity.
    fn address(&self, head: Pfn, index: u16) -> VirtAddr {
        let offset = u64::from(index) * u64::from(self.geometry.object_bytes);
        self.frames.linear().to_virt(head.address()).offset(offset)
    }

    /// Takes over an object that is on the slab's free list or was never handed out.
    fn object(&self, head: Pfn, index: u16) -> Object {
        let address = self.address(head, index);
        let start = NonNull::new(address.as_mut_ptr::<u8>()).expect("the linear map is not at 0");
        // SAFETY: the slab's memory is the cache's (the buddy allocator gave it, and the linear map
        // has it writable), and an object that nobody was given, or gave back, is ours.
        unsafe { Object::new(start) }
    }
}

/// The slabs of one cache.
#[derive(Debug)]
pub(super) struct Slabs {
    partial: List,
    slabs: u32,
    empty: u32,
    out: u32,
}

impl Slabs {
    pub(super) const fn new() -> Self {
        Self {
            partial: List::new(),
            slabs: 0,
            empty: 0,
            out: 0,
        }
    }

    /// Slabs that exist.
    pub(super) const fn slabs(&self) -> u32 {
        self.slabs
    }

    /// Objects outside of slabs: with callers and on cores' lists.
    pub(super) const fn out(&self) -> u32 {
        self.out
    }

    /// Takes an object from the first slab that has one; `None` if all are full.
    pub(super) fn take(&mut self, context: &Context<'_, '_>) -> Result<Option<Object>, Broken> {
        let Some(head) = self.partial.first() else {
            return Ok(None);
        };
        let frame = context.frame(head);
        let mut state = frame.slab();
        let object = if state.free == NO_OBJECT {
            state.carved += 1;
            context.object(head, state.carved - 1)
        } else {
            let object = context.object(head, state.free);
            let next = object
                .sealed_next(slab_key(head))
                .ok_or(Broken(object.address()))?;
            #[expect(
                clippy::cast_possible_truncation,
                reason = "an index, as its seal says"
            )]
            let next = next as u16;
            state.free = next;
            object
        };
        object.unseal();
        if state.in_use == 0 {
            self.empty -= 1;
        }
        state.in_use += 1;
        self.out += 1;
        frame.update_slab(state);
        if state.in_use == context.geometry.capacity {
            self.partial.remove(context.frames.table(), head);
        }
        Ok(Some(object))
    }

    /// Takes back the object numbered `index` of the slab at `head`. An error if none of that slab is
    /// out: it is back already, and was overwritten since.
    pub(super) fn give(
        &mut self,
        context: &Context<'_, '_>,
        (head, index): (Pfn, u16),
        object: Object,
    ) -> Result<(), Broken> {
        let frame = context.frame(head);
        let mut state = frame.slab();
        if state.in_use == 0 {
            return Err(Broken(object.address()));
        }
        object.seal(u64::from(state.free), slab_key(head));
        let was_full = state.in_use == context.geometry.capacity;
        state.free = index;
        state.in_use -= 1;
        self.out -= 1;
        frame.update_slab(state);
        let table = context.frames.table();
        match (state.in_use == 0, was_full) {
            (false, false) => {}
            (false, true) => self.partial.push_front(table, head),
            // The last to be used again, so that the others may fill up, or it be released.
            (true, was_full) => {
                if !was_full {
                    self.partial.remove(table, head);
                }
                self.partial.push_back(table, head);
                self.empty += 1;
                if self.empty > KEEP_EMPTY {
                    self.release(context, head);
                }
            }
        }
        Ok(())
    }

    /// Makes a slab.
    pub(super) fn grow(&mut self, context: &Context<'_, '_>, gfp: Gfp) -> Result<(), FrameError> {
        let order = context.geometry.order;
        // Whoever asked for an object says that there is none, outside of the lock.
        let gfp = gfp.difference(Gfp::ZERO) | Gfp::NOWARN;
        let head = context.frames.alloc(order, gfp)?;
        for tail in (1..order.frames()).map(|i| head.offset(i)) {
            context.frame(tail).set_slab_tail(context.cache);
        }
        context.frame(head).set_slab(context.shape.tag);
        self.partial.push_front(context.frames.table(), head);
        self.slabs += 1;
        self.empty += 1;
        Ok(())
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

    /// Gives all empty slabs back.
    pub(super) fn shrink(&mut self, context: &Context<'_, '_>) {
        while self.empty > 0 {
            let last = self.partial.last().expect("invariant 5");
            self.release(context, last);
        }
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
            if { tails }.any(|tail| tail.slab_cache() != Some(context.cache)) {
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
            let object = context.object(head, index);
            let Some(next) = object.sealed_next(slab_key(head)) else {
                return broken;
            };
            index = u16::try_from(next).unwrap_or(NO_OBJECT - 1);
            count += 1;
        }
        if state.in_use + count != state.carved || state.carved > context.geometry.capacity {
            return Err((2, context.address(head, 0)));
        }
        Ok(())
    }
}
