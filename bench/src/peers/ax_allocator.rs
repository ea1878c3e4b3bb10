//! `ax-allocator`'s slab, which has no lock.

use super::ObjectAllocator;
use ::ax_allocator::{BaseAllocator, ByteAllocator, SlabByteAllocator};
use core::alloc::Layout;
use core::ptr::NonNull;

/// Slabs of powers of two, on buddies.
pub(super) struct Slab(SlabByteAllocator);

impl ObjectAllocator for Slab {
    const NAME: &'static str = "ax-allocator-slab";
    const EMPTY: Self = Self(SlabByteAllocator::new());

    unsafe fn add(&mut self, arena: NonNull<[u8]>) {
        let start = arena.as_ptr().cast::<u8>().expose_provenance();
        self.0.init(start, arena.len());
    }

    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.0.alloc(layout).ok()
    }

    #[inline(always)]
    unsafe fn dealloc(&mut self, object: NonNull<u8>, layout: Layout) {
        self.0.dealloc(object, layout);
    }
}
