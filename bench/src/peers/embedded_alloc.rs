//! `embedded-alloc`: both of its heaps, with the critical section that each brings; here it masks
//! interrupts.

use super::global::Shipped;
use ::embedded_alloc::{LlffHeap, TlsfHeap};
use core::ptr::NonNull;

/// Two-level segregated fit.
pub(super) struct Tlsf;

impl Shipped for Tlsf {
    type Heap = TlsfHeap;
    const NAME: &'static str = "embedded-alloc-tlsf";
    const EMPTY: Self::Heap = TlsfHeap::empty();

    unsafe fn add(heap: &mut Self::Heap, arena: NonNull<[u8]>) {
        let start = arena.as_ptr().cast::<u8>().expose_provenance();
        // SAFETY: the caller's promise.
        unsafe { heap.init(start, arena.len()) }
    }
}

/// First fit on a linked list.
pub(super) struct LinkedList;

impl Shipped for LinkedList {
    type Heap = LlffHeap;
    const NAME: &'static str = "embedded-alloc-llff";
    const SEARCHES: bool = true;
    const EMPTY: Self::Heap = LlffHeap::empty();

    unsafe fn add(heap: &mut Self::Heap, arena: NonNull<[u8]>) {
        let start = arena.as_ptr().cast::<u8>().expose_provenance();
        // SAFETY: the caller's promise.
        unsafe { heap.init(start, arena.len()) }
    }
}
