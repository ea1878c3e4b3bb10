//! Tables of the harness that are too large for the image, each in a vmalloc area: what is measured
//! must not serve the measuring.
#![allow(unsafe_code, reason = "makes a slice of an area of raw memory")]

use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use kernel::vm::vmalloc::{self, VmallocError};

/// A table of entries; its area is freed with it.
///
/// # Invariants
///
/// 1. `first` is the start of a vmalloc area of our own that holds `count` entries, all initialised.
#[derive(Debug)]
pub struct Table<T> {
    first: NonNull<T>,
    count: usize,
}

impl<T: Copy> Table<T> {
    /// A table of `count` times `entry`, at least 1.
    ///
    /// # Errors
    ///
    /// As `vmalloc`.
    pub fn new(count: u32, entry: T) -> Result<Self, VmallocError> {
        Self::of(count, || entry)
    }
}

impl<T> Table<T> {
    /// A table of `count` entries, at least 1, each as `entry` makes it. They are never dropped.
    ///
    /// # Errors
    ///
    /// As `vmalloc`.
    pub fn of(count: u32, entry: impl Fn() -> T) -> Result<Self, VmallocError> {
        const { assert!(align_of::<T>() <= 4096, "an area starts a page") };
        const { assert!(!core::mem::needs_drop::<T>(), "nothing would drop it") };
        let count = count.max(1) as usize;
        let first = vmalloc::vmalloc((count * size_of::<T>()) as u64)?.cast::<T>();
        for index in 0..count {
            // SAFETY: the area holds `count` entries.
            let place = unsafe { first.add(index) };
            // SAFETY: the area is ours, and starts a page, so that its entries are aligned.
            unsafe { place.write(entry()) };
        }
        Ok(Self { first, count })
    }
}

impl<T> Deref for Table<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: invariant 1.
        unsafe { core::slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }
}

impl<T> DerefMut for Table<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: invariant 1.
        unsafe { core::slice::from_raw_parts_mut(self.first.as_ptr(), self.count) }
    }
}

impl<T> Drop for Table<T> {
    fn drop(&mut self) {
        // SAFETY: invariant 1, and nothing uses the area after this.
        let freed = unsafe { vmalloc::vfree(self.first.cast()) };
        // It is refused only with interrupts masked, and then it stays: nothing follows that could care.
        debug_assert!(freed.is_ok(), "a table is kept: {freed:?}");
    }
}
