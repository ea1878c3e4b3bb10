//! Any `GlobalAlloc` as an allocator of the line-up, by all four of its calls.

use super::ObjectAllocator;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

/// How the line-up gets at a `GlobalAlloc`, which may be another crate's type.
pub trait Shipped {
    /// It.
    type Heap: GlobalAlloc;
    /// As [`ObjectAllocator::NAME`].
    const NAME: &'static str;
    /// As [`ObjectAllocator::SEARCHES`].
    const SEARCHES: bool = false;
    /// As [`ObjectAllocator::EMPTY`].
    const EMPTY: Self::Heap;

    /// Gives it its memory.
    ///
    /// # Safety
    ///
    /// As for [`ObjectAllocator::add`].
    unsafe fn add(heap: &mut Self::Heap, arena: NonNull<[u8]>);
}

/// It, in the line-up.
pub struct Global<S: Shipped>(S::Heap);

impl<S: Shipped> ObjectAllocator for Global<S> {
    const NAME: &'static str = S::NAME;
    const SEARCHES: bool = S::SEARCHES;
    const EMPTY: Self = Self(S::EMPTY);

    unsafe fn add(&mut self, arena: NonNull<[u8]>) {
        // SAFETY: the caller's promise.
        unsafe { S::add(&mut self.0, arena) }
    }

    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: the size is not 0.
        NonNull::new(unsafe { self.0.alloc(layout) })
    }

    #[inline(always)]
    unsafe fn dealloc(&mut self, object: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.dealloc(object.as_ptr(), layout) }
    }

    #[inline(always)]
    fn alloc_zeroed(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: the size is not 0.
        NonNull::new(unsafe { self.0.alloc_zeroed(layout) })
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
