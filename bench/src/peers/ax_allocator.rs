//! `ax-allocator`'s slab and its TLSF, which have no lock.

use super::ObjectAllocator;
use ::ax_allocator::{BaseAllocator, ByteAllocator, SlabByteAllocator, TlsfByteAllocator};
use core::alloc::Layout;
use core::ptr::NonNull;

/// Slabs of powers of two, on buddies.
pub(super) struct Slab(SlabByteAllocator);

/// Two-level segregated fit: `rlsf` with 28 by 32 levels, and counts.
pub(super) struct Tlsf(TlsfByteAllocator);

macro_rules! heap {
    ($heap:ty, $inner:ty, $name:literal) => {
        impl ObjectAllocator for $heap {
            const NAME: &'static str = $name;
            const EMPTY: Self = Self(<$inner>::new());

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
    };
}
heap!(Slab, SlabByteAllocator, "ax-allocator-slab");
heap!(Tlsf, TlsfByteAllocator, "ax-allocator-tlsf");
