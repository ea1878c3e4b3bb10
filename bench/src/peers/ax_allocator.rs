//! `ax-allocator`'s slab, its TLSF and its bitmap of page frames, which have no lock.

use super::{FRAME_LOG2, FrameAllocator, ObjectAllocator};
use ::ax_allocator::{
    BaseAllocator, BitmapPageAllocator, ByteAllocator, PageAllocator, SlabByteAllocator,
    TlsfByteAllocator,
};
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

/// A bit for each page frame of 4 GiB, the crate's default.
pub(super) struct Bitmap(BitmapPageAllocator<{ 1 << FRAME_LOG2 }>);

impl FrameAllocator for Bitmap {
    const NAME: &'static str = "ax-allocator-bitmap";
    const EMPTY: Self = Self(BitmapPageAllocator::new());

    unsafe fn add(&mut self, arena: NonNull<[u8]>) {
        let start = arena.as_ptr().cast::<u8>().expose_provenance();
        self.0.init(start, arena.len());
    }

    #[inline(always)]
    fn alloc(&mut self, order: u32) -> Option<u64> {
        let address = self.0.alloc_pages(1 << order, 1 << (FRAME_LOG2 + order));
        address.ok().map(|address| address as u64)
    }

    #[inline(always)]
    unsafe fn free(&mut self, block: u64, order: u32) {
        #[expect(clippy::cast_possible_truncation, reason = "it came from an address")]
        self.0.dealloc_pages(block as usize, 1 << order);
    }
}
