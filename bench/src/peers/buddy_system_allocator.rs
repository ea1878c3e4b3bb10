//! `buddy_system_allocator`'s heap, with its lock and without.

use super::ObjectAllocator;
use super::global::Shipped;
use ::buddy_system_allocator::{Heap, LockedHeap};
use core::alloc::Layout;
use core::ptr::NonNull;

/// Orders of the heap, as in the crate's examples.
const ORDERS: usize = 32;

/// Powers of two.
pub(super) struct Buddy(Heap<ORDERS>);

impl ObjectAllocator for Buddy {
    const NAME: &'static str = "buddy_system_allocator";
    const EMPTY: Self = Self(Heap::new());

    unsafe fn add(&mut self, arena: NonNull<[u8]>) {
        let start = arena.as_ptr().cast::<u8>().expose_provenance();
        // SAFETY: the caller's promise.
        unsafe { self.0.init(start, arena.len()) }
    }

    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.0.alloc(layout).ok()
    }

    #[inline(always)]
    unsafe fn dealloc(&mut self, object: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.dealloc(object, layout) }
    }
}

/// The same behind the crate's spin lock.
pub(super) struct Locked;

impl Shipped for Locked {
    type Heap = LockedHeap<ORDERS>;
    const NAME: &'static str = "buddy_system_allocator";
    const EMPTY: Self::Heap = LockedHeap::new();

    unsafe fn add(heap: &mut Self::Heap, arena: NonNull<[u8]>) {
        let start = arena.as_ptr().cast::<u8>().expose_provenance();
        // SAFETY: the caller's promise.
        unsafe { heap.lock().init(start, arena.len()) }
    }
}
