//! `linked_list_allocator`, with its lock and without.

use super::ObjectAllocator;
use super::global::Shipped;
use ::linked_list_allocator::{Heap, LockedHeap};
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

/// The same behind the crate's spin lock.
pub(super) struct Locked;

impl Shipped for Locked {
    type Heap = LockedHeap;
    const NAME: &'static str = "linked_list_allocator";
    const SEARCHES: bool = true;
    const EMPTY: Self::Heap = LockedHeap::empty();

    unsafe fn add(heap: &mut Self::Heap, arena: NonNull<[u8]>) {
        // SAFETY: the caller's promise.
        unsafe { heap.lock().init(arena.as_ptr().cast(), arena.len()) }
    }
}
