//! `talc`, with a lock of the kind that its documentation shows and without.

use super::ObjectAllocator;
use super::global::Shipped;
use ::talc::source::Manual;
use ::talc::{DefaultBinning, TalcLock, base};
use core::alloc::Layout;
use core::ptr::NonNull;
use spinning_top::RawSpinlock;

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

/// The same behind `TalcLock`.
pub(super) struct Locked;

impl Shipped for Locked {
    type Heap = TalcLock<RawSpinlock, Manual>;
    const NAME: &'static str = "talc";
    const EMPTY: Self::Heap = TalcLock::new(Manual);

    unsafe fn add(heap: &mut Self::Heap, arena: NonNull<[u8]>) {
        // SAFETY: the caller's promise.
        let claimed = unsafe { heap.lock().claim(arena.as_ptr().cast(), arena.len()) };
        assert!(claimed.is_some(), "talc claims an arena of this size");
    }
}
