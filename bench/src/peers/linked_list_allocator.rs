//! `linked_list_allocator`, without its lock.

use super::ObjectAllocator;
use ::linked_list_allocator::Heap;
use core::alloc::Layout;
use core::ptr::NonNull;

/// First fit on a linked list.
pub(super) struct LinkedList(Heap);

impl ObjectAllocator for LinkedList {
    const NAME: &'static str = "linked_list_allocator";
    const SEARCHES: bool = true;
    const EMPTY: Self = Self(Heap::empty());

    unsafe fn add(&mut self, arena: NonNull<[u8]>) {
        // SAFETY: the caller's promise.
        unsafe { self.0.init(arena.as_ptr().cast(), arena.len()) }
    }

    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.0.allocate_first_fit(layout).ok()
    }

    #[inline(always)]
    unsafe fn dealloc(&mut self, object: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.deallocate(object, layout) }
    }
}
