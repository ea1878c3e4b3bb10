//! Memory that is contiguous to the kernel, whose frames may be moved while it is used.
//!
//! A [`MovableVmap`] is a vmalloc area of single frames that compaction can move: so a large, long-lived
//! buffer of an app does not keep memory in pieces. Whoever touches a page while it is moved faults and
//! waits, for as long as copying a page takes; nobody else notices.
//!
//! That is why it serves neither stacks nor what the fault path touches (a fault inside a fault is the end),
//! nor devices, which see physical addresses. Code that may touch it holds locks only where whoever waits for
//! them can wait that long: the core that moves a page takes no lock meanwhile.
#![allow(
    unsafe_code,
    reason = "hands out the area as bytes, for as long as the value lives"
)]

use super::vmalloc::{self, VmallocError};
use crate::mm::addr::PAGE_BYTES;
use core::{
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

/// Movable memory of the kernel, as bytes; given back when dropped.
#[derive(Debug)]
pub struct MovableVmap {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the area is the value's alone, and no core sees it otherwise than another.
unsafe impl Send for MovableVmap {}
// SAFETY: as above; a shared reference only reads.
unsafe impl Sync for MovableVmap {}

impl MovableVmap {
    /// Zeroed memory of `bytes`, rounded up to whole pages. An unmapped page follows it.
    ///
    /// # Errors
    ///
    /// As [`vmalloc::vmalloc`].
    pub fn new(bytes: usize) -> Result<Self, VmallocError> {
        let start = vmalloc::vmalloc_movable(bytes as u64)?;
        let bytes = bytes.next_multiple_of(1 << PAGE_BYTES.trailing_zeros());
        Ok(Self { start, bytes })
    }
}

impl Deref for MovableVmap {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: so many bytes were mapped, with frames that were zeroed; they are this value's.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }
}

impl DerefMut for MovableVmap {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed alone.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

impl Drop for MovableVmap {
    /// Panics with interrupts masked: the area could only be leaked there.
    fn drop(&mut self) {
        // SAFETY: nobody refers to the value's memory any more.
        let freed = unsafe { vmalloc::vfree_movable(self.start) };
        if let Err(error) = freed {
            panic!("dropping movable memory: {error}");
        }
    }
}
