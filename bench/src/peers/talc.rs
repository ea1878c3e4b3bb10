//! `talc`, without its lock.

use super::ObjectAllocator;
use ::talc::DefaultBinning;
use ::talc::base;
use ::talc::source::Manual;
use core::alloc::Layout;
use core::ptr::NonNull;

/// Talc on memory that it is given.
pub(super) struct Talc(base::Talc<Manual, DefaultBinning>);

impl ObjectAllocator for Talc {
    const NAME: &'static str = "talc";
    const EMPTY: Self = Self(base::Talc::new(Manual));

    unsafe fn add(&mut self, arena: NonNull<[u8]>) {
        // SAFETY: the caller's promise.
        let claimed = unsafe { self.0.claim(arena.as_ptr().cast(), arena.len()) };
        assert!(claimed.is_some(), "talc claims an arena of this size");
    }

    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: the size is not 0.
        unsafe { self.0.allocate(layout) }
    }

    #[inline(always)]
    unsafe fn dealloc(&mut self, object: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.deallocate(object.as_ptr(), layout) }
    }
}
