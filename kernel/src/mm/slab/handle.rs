//! Caches as their users hold them.
#![allow(
    unsafe_code,
    reason = "takes objects back from callers, who promise that they are theirs"
)]

use super::cache::SlabAllocator;
use super::drain::DestroyError;
use super::geometry::Geometry;
use super::slabs::{CacheEvents, Slabs};
use crate::mm::addr::Order;
use crate::mm::frame::CacheId;
use crate::mm::gfp::Gfp;
use crate::mm::kmalloc::AllocError;
use crate::mm::magazine::Block;
use core::ptr::NonNull;

/// A cache's figures at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheStatistics {
    /// Its number, below [`MAX_CACHES`](super::MAX_CACHES).
    pub number: usize,
    /// Its name.
    pub name: &'static str,
    /// Bytes from one object to the next.
    pub object_bytes: u16,
    /// Objects that callers have.
    pub live_objects: u32,
    /// Objects in magazines and in the depot, ready to be handed out.
    pub cached_objects: u32,
    /// Objects that a slab holds.
    pub objects_per_slab: u16,
    /// Size of a slab.
    pub slab_order: Order,
    /// Slabs.
    pub slabs: u32,
    /// Objects that move between a magazine and the slabs at once.
    pub batch: u16,
    /// Most objects that a magazine keeps.
    pub limit: u16,
    /// Allocations that succeeded.
    pub allocations: u64,
    /// How often the slow paths ran, and what for.
    pub events: CacheEvents,
}

impl CacheStatistics {
    /// Bytes in its slabs, used or not.
    pub const fn held_bytes(&self) -> u64 {
        self.slabs as u64 * self.slab_order.bytes()
    }
    /// Bytes in objects that callers have.
    pub const fn live_bytes(&self) -> u64 {
        self.live_objects as u64 * self.object_bytes as u64
    }
}

/// A cache; copies are the same cache. It lasts until it is [destroyed](Self::destroy).
#[derive(Clone, Copy, Debug)]
pub struct CacheHandle<'s, 'f> {
    pub(super) slab: &'s SlabAllocator<'f>,
    pub(super) id: CacheId,
    pub(super) mark_offset: u16,
}

impl<'s, 'f> CacheHandle<'s, 'f> {
    pub(super) const fn new(slab: &'s SlabAllocator<'f>, id: CacheId, mark_offset: u16) -> Self {
        Self {
            slab,
            id,
            mark_offset,
        }
    }

    /// Takes an object, constructed if the cache has a constructor. Else its content is garbage without
    /// [`Gfp::ZERO`]. Zone flags have no effect here, they are the cache's.
    ///
    /// # Errors
    ///
    /// [`AllocError`].
    #[inline]
    pub fn alloc(&self, gfp: Gfp) -> Result<NonNull<u8>, AllocError> {
        let popped = match gfp.contains(Gfp::ZERO) {
            false => self.slab.local().magazine(self.id.0).pop(),
            true => Err(0),
        };
        let object = match popped {
            Ok(block) => Some(block.start(self.mark_offset)),
            Err(pops) => self.alloc_slowly(gfp, pops),
        };
        object.ok_or_else(|| self.why_not())
    }

    /// How many objects this context's magazine has handed out.
    pub(super) fn pops(&self) -> u64 {
        self.slab.local().magazine(self.id.0).peek_pops()
    }

    #[inline(never)]
    pub(super) fn alloc_slowly(&self, gfp: Gfp, pops: u64) -> Option<NonNull<u8>> {
        let object = if !gfp.contains(Gfp::ZERO) {
            self.slab.alloc_slowly(self.id, gfp, pops)
        } else if self.is_constructed() {
            return self.alloc(gfp.difference(Gfp::ZERO)).ok();
        } else {
            let object = self.slab.alloc_object(self.id, gfp);
            object.inspect(|object| self.clear(*object))
        };
        if object.is_none() {
            self.slab.warn(self.object_bytes(), gfp);
        }
        object
    }

    /// Whether its objects have a constructor.
    pub(super) const fn is_constructed(&self) -> bool {
        self.mark_offset > 0
    }

    /// Why there was no object just now.
    #[cold]
    #[inline(never)]
    pub(super) fn why_not(&self) -> AllocError {
        let bytes = self.object_bytes();
        self.slab.why_not(bytes).error(bytes)
    }

    pub(super) fn clear(&self, object: NonNull<u8>) {
        // SAFETY: the object is ours until it is returned, and has that many bytes.
        unsafe { object.write_bytes(0, self.object_bytes()) };
    }

    /// Gives an object back, as its constructor left it if the cache has one. Panics when that is noticed
    /// to be wrong; see [`slab`](super).
    ///
    /// # Safety
    ///
    /// `object` came from this cache's [`alloc`](Self::alloc), and nobody uses it any more.
    #[inline]
    pub unsafe fn free(&self, object: NonNull<u8>) {
        // SAFETY: the caller gives up an object of this cache, which has a word there.
        let block = unsafe { Block::at(object, self.mark_offset) };
        self.slab.free_object(self.id, block);
    }

    /// Bytes that a caller may use of each object.
    pub fn object_bytes(&self) -> usize {
        self.slab.object_bytes(self.id)
    }

    /// Its figures. Panics if it was destroyed.
    pub fn statistics(&self) -> CacheStatistics {
        let statistics = self.slab.statistics_of(self.id);
        statistics.expect("a handle is of no use when its cache is destroyed")
    }

    /// Destroys the cache: everything that it holds goes back, and its place is free for another one,
    /// as soon as the other cores have given back what their magazines hold of it.
    ///
    /// # Errors
    ///
    /// [`DestroyError`].
    ///
    /// # Safety
    ///
    /// If this succeeds, nobody uses the cache any more, through whichever handle.
    pub unsafe fn destroy(self) -> Result<(), DestroyError> {
        self.slab.destroy(self.id)
    }
}

impl SlabAllocator<'_> {
    /// The figures of `cache`, if there is one.
    pub(super) fn statistics_of(&self, cache: CacheId) -> Option<CacheStatistics> {
        let slot = self.slot(cache).lock();
        let (description, slabs) = (slot.description.as_ref()?, &slot.slabs);
        let geometry = &description.geometry;
        let live_objects = self.live_objects(cache, geometry, slabs);
        let allocations = self.locals.all().map(|local| local.pops(cache.0)).sum();
        Some(CacheStatistics {
            number: cache.0.into(),
            name: description.name,
            object_bytes: geometry.object_bytes,
            live_objects,
            cached_objects: slabs.out().saturating_sub(live_objects),
            objects_per_slab: geometry.capacity,
            slab_order: geometry.order,
            slabs: slabs.slabs(),
            batch: geometry.batch,
            limit: geometry.limit,
            allocations,
            events: slabs.events,
        })
    }

    /// Objects of `cache` that callers have, at about this moment.
    pub(super) fn live_objects(&self, cache: CacheId, geometry: &Geometry, slabs: &Slabs) -> u32 {
        let magazines = self.locals.all();
        let listed: u32 = magazines
            .map(|local| u32::from(local.len(cache.0, geometry.limit)))
            .sum();
        let cached = listed + slabs.depot.len();
        slabs.out().saturating_sub(cached)
    }
}
