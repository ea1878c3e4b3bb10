//! An allocator as `cargo xtask bench --allocator bench/examples/free-lists` takes it: a free list for
//! each power of two, and memory that was never used behind them. Small and fast, and it never joins
//! what was split.
#![no_std]
#![allow(
    unsafe_code,
    reason = "an allocator links free memory through its first words"
)]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::ptr;

/// The smallest object in bytes: a link fits.
const LEAST_BYTES: usize = 16;

/// Free lists over memory that is used from its start.
pub struct Allocator {
    free: [Cell<*mut u8>; usize::BITS as usize],
    next: Cell<*mut u8>,
    left_bytes: Cell<usize>,
}

impl Allocator {
    /// An allocator without memory.
    pub const fn new() -> Self {
        Self {
            free: [const { Cell::new(ptr::null_mut()) }; usize::BITS as usize],
            next: Cell::new(ptr::null_mut()),
            left_bytes: Cell::new(0),
        }
    }

    /// Gives it the `bytes` from `start` on; called once, before anything else.
    ///
    /// # Safety
    ///
    /// Nobody else uses that memory while the allocator or its objects live.
    pub unsafe fn init(&self, start: *mut u8, bytes: usize) {
        self.next.set(start);
        self.left_bytes.set(bytes);
    }

    /// Memory that was never used, aligned to its size; null if there is too little.
    fn carve(&self, bytes: usize) -> *mut u8 {
        let next = self.next.get();
        let skipped = next.addr().wrapping_neg() & (bytes - 1);
        let Some(left) = self.left_bytes.get().checked_sub(skipped + bytes) else {
            return ptr::null_mut();
        };
        let object = next.wrapping_add(skipped);
        self.next.set(object.wrapping_add(bytes));
        self.left_bytes.set(left);
        object
    }
}

impl Default for Allocator {
    fn default() -> Self {
        Self::new()
    }
}

/// The power of two that an object of `layout` takes.
fn class_bytes(layout: Layout) -> usize {
    let bytes = layout.size().max(layout.align()).max(LEAST_BYTES);
    bytes.next_power_of_two()
}

// SAFETY: an object is on no list and was carved once, so nobody else has it; and it is as large as its
// layout, and aligned to its size.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let bytes = class_bytes(layout);
        let list = &self.free[bytes.ilog2() as usize];
        let first = list.get();
        if first.is_null() {
            return self.carve(bytes);
        }
        // SAFETY: what is on a list is free, large enough for a link, and holds one.
        list.set(unsafe { first.cast::<*mut u8>().read() });
        first
    }

    unsafe fn dealloc(&self, object: *mut u8, layout: Layout) {
        let list = &self.free[class_bytes(layout).ilog2() as usize];
        // SAFETY: the object is the allocator's again, and large enough for a link.
        unsafe { object.cast::<*mut u8>().write(list.get()) };
        list.set(object);
    }
}
