//! Many objects by one call.
//!
//! # Cost
//!
//! A run off or onto the magazine has no call and no count for each object; past it, one lock is taken
//! for up to [`RUN`] objects, which come from the depot by whole batches, or from the slabs with one look
//! at an entry for all that lie in the same slab.
#![allow(
    unsafe_code,
    reason = "takes objects back from callers, who promise that they are theirs"
)]

use super::cache::HARDENED;
use super::context::{Context, Taken};
use super::handle::CacheHandle;
use super::slabs::Slabs;
use crate::mm::frames::Frames;
use crate::mm::gfp::Gfp;
use crate::mm::kmalloc::AllocError;
use crate::mm::magazine::Block;
use core::ptr::NonNull;

/// Most objects that move while the cache's lock is held once: it masks interrupts.
const RUN: usize = 32;

impl<'f> CacheHandle<'_, 'f> {
    /// Puts an object into each of `objects`, as [`alloc`](Self::alloc) hands them out.
    ///
    /// # Errors
    ///
    /// [`AllocError`]; nothing is allocated then, and `objects` holds nothing that may be used.
    pub fn alloc_bulk(&self, gfp: Gfp, objects: &mut [NonNull<u8>]) -> Result<(), AllocError> {
        let Some(frames) = self.slab.frames.get() else {
            return Err(self.why_not());
        };
        let magazine = self.slab.local().magazine(self.id.0);
        let mut filled = 0;
        for (object, block) in objects.iter_mut().zip(magazine.drain(usize::MAX)) {
            *object = block.start(self.mark_offset);
            filled += 1;
        }
        while filled < objects.len() {
            let taken = self.take_run(frames, gfp, &mut objects[filled..]);
            filled += taken;
            if taken == 0 {
                self.take_back(&objects[..filled]);
                self.slab.warn(self.object_bytes(), gfp);
                return Err(self.why_not());
            }
        }
        let magazine = self.slab.local().magazine(self.id.0);
        magazine.count_pops(objects.len() as u64);
        if gfp.contains(Gfp::ZERO) && !self.is_constructed() {
            objects.iter().for_each(|object| self.clear(*object));
        }
        Ok(())
    }

    /// Takes objects past the magazine, as many as there are, but no more than [`RUN`], and makes a slab
    /// if there are none; how many.
    #[inline(never)]
    fn take_run(&self, frames: &'f Frames<'f>, gfp: Gfp, objects: &mut [NonNull<u8>]) -> usize {
        let mut slot = self.slab.slot(self.id).lock();
        let (context, slabs) = slot.open(frames).expect("a cache that is used exists");
        self.slab
            .local()
            .attach(self.id.0, context.cache.geometry.limit);
        slabs.events.misses += 1;
        let (taken, last) = take_listed(&context, slabs, objects);
        if taken > 0 {
            drop(slot);
            last.map(Taken::hand_out);
            return taken;
        }
        let block = (context.cache.geometry.order, context.cache.zone);
        drop(slot);
        let head = self.slab.block_for_slab(frames, block, gfp);
        let mut slot = self.slab.slot(self.id).lock();
        let (context, slabs) = slot.open(frames).expect("a cache that is used exists");
        if let Some(head) = head {
            slabs.add(&context, head);
        }
        let (taken, last) = take_listed(&context, slabs, objects);
        slabs.events.failures += u64::from(taken == 0);
        drop(slot);
        last.map(Taken::hand_out);
        taken
    }

    /// Gives back all of `objects`, as [`free`](Self::free) does.
    ///
    /// # Safety
    ///
    /// Each came from this cache, is named once, and nobody uses it any more.
    pub unsafe fn free_bulk(&self, objects: &[NonNull<u8>]) {
        if HARDENED {
            for object in objects {
                // SAFETY: the caller promises the same.
                unsafe { self.free(*object) };
            }
            return;
        }
        self.take_back(objects);
    }

    /// Takes back objects that callers give up, or that they were about to get.
    fn take_back(&self, objects: &[NonNull<u8>]) {
        let mut blocks = objects.iter().map(|object| {
            // SAFETY: `free_bulk`'s caller promises it, or nobody has had the object yet.
            unsafe { Block::at(*object, self.mark_offset) }
        });
        self.slab.local().magazine(self.id.0).push_run(&mut blocks);
        while blocks.len() > 0 {
            self.give_run(&mut blocks);
        }
    }

    /// Gives up to [`RUN`] objects to the depot and the slabs.
    #[inline(never)]
    fn give_run(&self, blocks: &mut impl ExactSizeIterator<Item = Block>) {
        let frames = self.slab.frames.get();
        let frames = *frames.expect("who has objects has memory");
        let mut slot = self.slab.slot(self.id).lock();
        let (context, slabs) = slot.open(frames).expect("a cache that is used exists");
        self.slab
            .local()
            .attach(self.id.0, context.cache.geometry.limit);
        slabs.events.overflows += 1;
        let half = context.cache.geometry.depot_batch;
        let mut left = RUN;
        while left > 0 && slabs.depot.has_room(half) && blocks.len() >= half.into() {
            slabs.depot.fill(blocks.by_ref().take(half.into()));
            left = left.saturating_sub(half.into());
        }
        slabs.give(&context, blocks.take(left));
    }
}

/// Takes objects from the depot and the slabs, no more than [`RUN`]; how many, and the last one, which
/// alone may have to be constructed.
fn take_listed(
    context: &Context<'_, '_>,
    slabs: &mut Slabs,
    objects: &mut [NonNull<u8>],
) -> (usize, Option<Taken>) {
    let most = objects.len().min(RUN);
    let (mut filled, mut last) = (0, None::<Taken>);
    let mut sink = |block, fresh| {
        let taken = context.taken(block, fresh);
        objects[filled] = taken.start();
        last = Some(taken);
        filled += 1;
    };
    let mut from_depot = 0;
    while from_depot < most
        && let Some(block) = slabs.depot.take(context)
    {
        sink(block, false);
        from_depot += 1;
    }
    #[expect(clippy::cast_possible_truncation, reason = "at most RUN")]
    let rest = (most - from_depot) as u16;
    slabs.take(context, rest, sink);
    (filled, last)
}
