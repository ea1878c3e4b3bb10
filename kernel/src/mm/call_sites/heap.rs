//! The global allocator of images that note who allocates: the heap, and a note of every call.
#![allow(
    unsafe_code,
    reason = "GlobalAlloc is an unsafe trait: its callers promise that layouts are right"
)]

use super::{allocated_by_collection, freed};
use core::alloc::{GlobalAlloc, Layout};

/// A heap whose calls are noted.
#[derive(Debug)]
pub struct Noted<A: 'static>(pub &'static A);

/// Notes that `memory`, unless it is null, was handed out.
#[inline(always)]
fn noted(memory: *mut u8, bytes: usize) -> *mut u8 {
    if !memory.is_null() {
        allocated_by_collection(memory.addr() as u64, bytes as u64);
    }
    memory
}

// SAFETY: every call is the inner allocator's, whose promise it is.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Noted<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller promises the same.
        noted(unsafe { self.0.alloc(layout) }, layout.size())
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        freed(memory.addr() as u64);
        // SAFETY: the caller promises the same.
        unsafe { self.0.dealloc(memory, layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller promises the same.
        noted(unsafe { self.0.alloc_zeroed(layout) }, layout.size())
    }

    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        let former = memory.addr() as u64;
        // SAFETY: the caller promises the same.
        let moved = unsafe { self.0.realloc(memory, layout, bytes) };
        if !moved.is_null() {
            freed(former);
        }
        noted(moved, bytes)
    }
}
