//! `good_memory_allocator`, with its lock and without.

use super::ObjectAllocator;
use super::global::Shipped;
use ::good_memory_allocator::{
    Allocator, DEFAULT_ALIGNMENT_SUB_BINS_AMOUNT, DEFAULT_SMALLBINS_AMOUNT, SpinLockedAllocator,
};
use core::alloc::Layout;
use core::ptr::NonNull;

/// Bins by size and by alignment, with neighbours joined.
pub(super) struct Galloc(Allocator<DEFAULT_SMALLBINS_AMOUNT, DEFAULT_ALIGNMENT_SUB_BINS_AMOUNT>);

impl ObjectAllocator for Galloc {
    const NAME: &'static str = "good_memory_allocator";
    const EMPTY: Self = Self(Allocator::empty());

    unsafe fn add(&mut self, arena: NonNull<[u8]>) {
        let start = arena.as_ptr().cast::<u8>().expose_provenance();
        // SAFETY: the caller's promise.
        unsafe { self.0.init(start, arena.len()) }
    }

    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: the size is not 0.
        NonNull::new(unsafe { self.0.alloc(layout) })
    }

    #[inline(always)]
    unsafe fn dealloc(&mut self, object: NonNull<u8>, _: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.dealloc(object.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn realloc(
        &mut self,
        object: NonNull<u8>,
        layout: Layout,
        bytes: usize,
    ) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise.
        NonNull::new(unsafe { self.0.realloc(object.as_ptr(), layout, bytes) })
    }
}

/// The same behind the crate's spin lock.
pub(super) struct Locked;

impl Shipped for Locked {
    type Heap = SpinLockedAllocator;
    const NAME: &'static str = "good_memory_allocator";
    const EMPTY: Self::Heap = SpinLockedAllocator::empty();

    unsafe fn add(heap: &mut Self::Heap, arena: NonNull<[u8]>) {
        let start = arena.as_ptr().cast::<u8>().expose_provenance();
        // SAFETY: the caller's promise.
        unsafe { heap.init(start, arena.len()) }
    }
}
