//! The kernel's own heap and its page frames, by the calls that the others are measured by.

extern crate alloc;

use super::{FrameAllocator, ObjectAllocator};
use crate::ops;
use core::alloc::Layout;
use core::ptr::NonNull;
use kernel::mm::addr::{LinearMap, Order};
use kernel::mm::{frames, gfp::Gfp};

/// The global allocator, and the kernel's page frames.
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

impl FrameAllocator for Tessera {
    const NAME: &'static str = <Self as ObjectAllocator>::NAME;
    const IN_ARENA: bool = false;
    const EMPTY: Self = Self;

    unsafe fn add(&mut self, _: NonNull<[u8]>) {}

    fn alloc(&mut self, order: u32) -> Option<u64> {
        let order = u8::try_from(order).ok().and_then(Order::new)?;
        let block = frames::alloc(order, Gfp::KERNEL | Gfp::NOWARN);
        block.ok().map(|first| first.get().into())
    }

    unsafe fn free(&mut self, block: u64, order: u32) {
        let order = u8::try_from(order).ok().and_then(Order::new);
        let freed = order.map(|order| frames::free(ops::first_frame(block), order));
        debug_assert!(matches!(freed, Some(Ok(()))), "a block is kept: {freed:?}");
    }

    fn start(block: u64) -> *mut u8 {
        let address = ops::first_frame(block).address();
        LinearMap::kernel().to_virt(address).as_mut_ptr()
    }
}
