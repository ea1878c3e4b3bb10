//! `rlsf`: two-level segregated fit, with as many levels as the crate's own global allocator has.

use super::ObjectAllocator;
use core::alloc::Layout;
use core::ptr::NonNull;

const LEVELS: usize = usize::BITS as usize;

/// TLSF on memory that it is given.
pub(super) struct Tlsf(::rlsf::Tlsf<'static, usize, usize, LEVELS, LEVELS>);

impl ObjectAllocator for Tlsf {
    const NAME: &'static str = "rlsf";
    const EMPTY: Self = Self(::rlsf::Tlsf::new());

    unsafe fn add(&mut self, arena: NonNull<[u8]>) {
        // SAFETY: the caller's promise.
        let added = unsafe { self.0.insert_free_block_ptr(arena) };
        assert!(added.is_some(), "rlsf takes an arena of this size");
    }

    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.0.allocate(layout)
    }

    #[inline(always)]
    unsafe fn dealloc(&mut self, object: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.deallocate(object, layout.align()) }
    }

    #[inline(always)]
    unsafe fn realloc(
        &mut self,
        object: NonNull<u8>,
        layout: Layout,
        bytes: usize,
    ) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise.
        let later = unsafe { Layout::from_size_align_unchecked(bytes, layout.align()) };
        // SAFETY: as above.
        unsafe { self.0.reallocate(object, later) }
    }
}
