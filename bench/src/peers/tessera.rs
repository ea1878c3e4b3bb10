//! The kernel's own heap, by the calls that the others are measured by.

extern crate alloc;

use super::ObjectAllocator;
use core::alloc::Layout;
use core::ptr::NonNull;

/// The global allocator.
pub(super) struct Tessera;

impl ObjectAllocator for Tessera {
    const NAME: &'static str = "tessera";
    const IN_ARENA: bool = false;
    const EMPTY: Self = Self;

    unsafe fn add(&mut self, _: NonNull<[u8]>) {}

    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: the size is not 0.
        NonNull::new(unsafe { alloc::alloc::alloc(layout) })
    }

    #[inline(always)]
    unsafe fn dealloc(&mut self, object: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { alloc::alloc::dealloc(object.as_ptr(), layout) }
    }
}
