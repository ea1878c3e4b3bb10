//! `dlmalloc`, which brings no lock for a machine without an operating system.

use super::ObjectAllocator;
use ::dlmalloc::{Allocator, Dlmalloc};
use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::{self, NonNull};

/// Doug Lea's allocator, which grows into the arena as into a program break.
pub(super) struct Malloc(Dlmalloc<Break>);

/// What is left of the arena.
struct Break {
    next: Cell<*mut u8>,
    bytes: Cell<usize>,
}

// SAFETY: it asks nothing of the system.
unsafe impl Allocator for Break {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        let Some(left) = self.bytes.get().checked_sub(size) else {
            return (ptr::null_mut(), 0, 0);
        };
        self.bytes.set(left);
        let start = self.next.get();
        self.next.set(start.wrapping_add(size));
        (start, size, 0)
    }

    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        ptr::null_mut()
    }

    fn free_part(&self, _: *mut u8, _: usize, _: usize) -> bool {
        false
    }

    fn free(&self, _: *mut u8, _: usize) -> bool {
        false
    }

    fn can_release_part(&self, _: u32) -> bool {
        false
    }

    fn allocates_zeros(&self) -> bool {
        false
    }

    fn page_size(&self) -> usize {
        4096
    }
}

// SAFETY: the arena that the pointer leads to goes where the allocator goes.
unsafe impl Send for Break {}

impl ObjectAllocator for Malloc {
    const NAME: &'static str = "dlmalloc";
    const EMPTY: Self = Self(Dlmalloc::new_with_allocator(Break {
        next: Cell::new(ptr::null_mut()),
        bytes: Cell::new(0),
    }));

    unsafe fn add(&mut self, arena: NonNull<[u8]>) {
        let left = self.0.allocator_mut();
        left.next.set(arena.as_ptr().cast());
        left.bytes.set(arena.len());
    }

    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: any size and alignment of a layout will do.
        NonNull::new(unsafe { self.0.malloc(layout.size(), layout.align()) })
    }

    #[inline(always)]
    unsafe fn dealloc(&mut self, object: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.free(object.as_ptr(), layout.size(), layout.align()) }
    }

    #[inline(always)]
    fn alloc_zeroed(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: as for `alloc`.
        NonNull::new(unsafe { self.0.calloc(layout.size(), layout.align()) })
    }

    #[inline(always)]
    unsafe fn realloc(
        &mut self,
        object: NonNull<u8>,
        layout: Layout,
        bytes: usize,
    ) -> Option<NonNull<u8>> {
        let (object, size, align) = (object.as_ptr(), layout.size(), layout.align());
        // SAFETY: the caller's promise.
        NonNull::new(unsafe { self.0.realloc(object, size, align, bytes) })
    }
}
