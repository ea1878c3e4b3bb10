//! `slab_allocator_rs`, with its lock and without.

use super::ObjectAllocator;
use ::slab_allocator_rs::{Heap, LockedHeap};
use core::alloc::Layout;
use core::ptr::NonNull;

/// An eighth of the arena for each power of two from 64 to 4,096 bytes, the last for buddies.
pub(super) struct Slabs(Option<Heap>);

impl ObjectAllocator for Slabs {
    const NAME: &'static str = "slab_allocator_rs";
    const EMPTY: Self = Self(None);

    unsafe fn add(&mut self, arena: NonNull<[u8]>) {
        let start = arena.as_ptr().cast::<u8>().expose_provenance();
        // SAFETY: the caller's promise.
        self.0 = Some(unsafe { Heap::new(start, arena.len()) });
    }

    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.0.as_mut()?.allocate(layout).ok()
    }

    #[inline(always)]
    unsafe fn dealloc(&mut self, object: NonNull<u8>, layout: Layout) {
        if let Some(heap) = &mut self.0 {
            // SAFETY: the caller's promise.
            unsafe { heap.deallocate(object, layout) }
        }
    }
}

/// The same behind the crate's spin lock. Not by its `GlobalAlloc`, which panics when memory runs out.
pub(super) struct Locked(LockedHeap);

impl ObjectAllocator for Locked {
    const NAME: &'static str = Slabs::NAME;
    const EMPTY: Self = Self(LockedHeap::empty());

    unsafe fn add(&mut self, arena: NonNull<[u8]>) {
        let start = arena.as_ptr().cast::<u8>().expose_provenance();
        // SAFETY: the caller's promise.
        unsafe { self.0.init(start, arena.len()) }
    }

    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.0.lock().as_mut()?.allocate(layout).ok()
    }

    #[inline(always)]
    unsafe fn dealloc(&mut self, object: NonNull<u8>, layout: Layout) {
        if let Some(heap) = &mut *self.0.lock() {
            // SAFETY: the caller's promise.
            unsafe { heap.deallocate(object, layout) }
        }
    }
}
