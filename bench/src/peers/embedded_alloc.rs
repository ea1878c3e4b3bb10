//! `embedded-alloc`: both of its heaps, with the critical section that each brings.

use super::ObjectAllocator;
use ::embedded_alloc::{LlffHeap, TlsfHeap};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

/// Two-level segregated fit.
pub(super) struct Tlsf(TlsfHeap);

/// First fit on a linked list.
pub(super) struct LinkedList(LlffHeap);

macro_rules! heap {
    ($heap:ty, $inner:ty, $name:literal, $searches:literal) => {
        impl ObjectAllocator for $heap {
            const NAME: &'static str = $name;
            const SEARCHES: bool = $searches;
            const EMPTY: Self = Self(<$inner>::empty());

            unsafe fn add(&mut self, arena: NonNull<[u8]>) {
                let start = arena.as_ptr().cast::<u8>().expose_provenance();
                // SAFETY: the caller's promise.
                unsafe { self.0.init(start, arena.len()) }
            }

            #[inline(always)]
            fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
                // SAFETY: the size is not 0.
                NonNull::new(unsafe { GlobalAlloc::alloc(&self.0, layout) })
            }

            #[inline(always)]
            unsafe fn dealloc(&mut self, object: NonNull<u8>, layout: Layout) {
                // SAFETY: the caller's promise.
                unsafe { GlobalAlloc::dealloc(&self.0, object.as_ptr(), layout) }
            }
        }
    };
}
heap!(Tlsf, TlsfHeap, "embedded-alloc-tlsf", false);
heap!(LinkedList, LlffHeap, "embedded-alloc-llff", true);
