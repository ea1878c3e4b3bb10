//! The slots of a trace, in a vmalloc area: a trace may need millions, and the allocators that it
//! exercises must not serve them while they are measured.
#![allow(unsafe_code, reason = "makes a slice of an area of raw memory")]

use crate::replay::Entry;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use kernel::vm::vmalloc::{self, VmallocError};

/// A table of empty entries; its area is freed with it.
///
/// # Invariants
///
/// 1. `first` is the start of a vmalloc area of our own that holds `count` entries, all initialised.
#[derive(Debug)]
pub struct Entries {
    first: NonNull<Entry>,
    count: usize,
}

impl Entries {
    /// A table of `count` entries, at least 1.
    ///
    /// # Errors
    ///
    /// As `vmalloc`.
    pub fn new(count: u32) -> Result<Self, VmallocError> {
        let count = count.max(1) as usize;
        let first = vmalloc::vmalloc((count * size_of::<Entry>()) as u64)?.cast::<Entry>();
        for index in 0..count {
            // SAFETY: the area holds `count` entries.
            let entry = unsafe { first.add(index) };
            // SAFETY: the area is ours, and starts a page, so that its entries are aligned.
            unsafe { entry.write(Entry::Empty) };
        }
        Ok(Self { first, count })
    }
}

impl Deref for Entries {
    type Target = [Entry];
    fn deref(&self) -> &[Entry] {
        // SAFETY: invariant 1.
        unsafe { core::slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }
}

impl DerefMut for Entries {
    fn deref_mut(&mut self) -> &mut [Entry] {
        // SAFETY: invariant 1.
        unsafe { core::slice::from_raw_parts_mut(self.first.as_ptr(), self.count) }
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        // SAFETY: invariant 1, and nothing uses the area after this.
        let freed = unsafe { vmalloc::vfree(self.first.cast()) };
        // It is refused only with interrupts masked, and then it stays: no trace follows that could care.
        debug_assert!(freed.is_ok(), "the table of slots is kept: {freed:?}");
    }
}
