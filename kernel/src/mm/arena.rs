//! Memory for tests and measurements on the host: an arena full of garbage, its frame table, and a
//! linear map onto it.
#![allow(
    unsafe_code,
    reason = "allocates the memory that stands for a machine's"
)]

use super::addr::{LinearMap, Order, Pfn, VirtAddr};
use super::frame::{Frame, Table};
use super::frames::Frames;
use super::pageblock::{self, Pageblock};
use super::zone::ZoneLimits;
use core::{alloc::Layout, ops::Range, ptr::NonNull};
use std::{alloc, vec::Vec};

/// A machine's memory.
#[derive(Debug)]
pub struct Arena {
    memory: NonNull<u8>,
    layout: Layout,
    table: Vec<Frame>,
    pageblocks: Vec<Pageblock>,
    first: Pfn,
    frames: u32,
}

impl Arena {
    /// `frames` frames from `first` on, which starts a largest block. Filled with garbage, as a
    /// board's memory is.
    pub fn new(first: Pfn, frames: u32) -> Self {
        assert!(first.is_aligned_to(Order::MAX));
        let bytes = frames as usize * 4096;
        let layout = Layout::from_size_align(bytes, 4 << 20).expect("an arena that fits memory");
        // SAFETY: the layout has a size.
        let memory = NonNull::new(unsafe { alloc::alloc(layout) }).expect("host memory");
        // SAFETY: it was allocated with this size just now.
        unsafe { memory.write_bytes(0xa5, bytes) };
        let _exposed = memory.as_ptr().expose_provenance();
        let entries = frames.next_multiple_of(Order::MAX.frames());
        let pageblocks = entries / pageblock::FRAMES;
        Self {
            memory,
            layout,
            table: (0..entries).map(Frame::garbage).collect(),
            pageblocks: (0..pageblocks).map(|_| Pageblock::new()).collect(),
            first,
            frames,
        }
    }

    /// All its frames.
    pub fn span(&self) -> Range<Pfn> {
        self.first..self.first.offset(self.frames)
    }

    /// A frame allocator that owns `ranges` of the arena.
    pub fn frames(&mut self, limits: &ZoneLimits, ranges: &[Range<Pfn>]) -> Frames<'_> {
        let start = VirtAddr::from_ptr(self.memory.as_ptr());
        let base = start.get().wrapping_sub(self.first.address().get());
        let linear = LinearMap::at(VirtAddr::new(base));
        for pageblock in &mut self.pageblocks {
            *pageblock = Pageblock::new();
        }
        let table = Table::new(&self.table, &self.pageblocks, self.first);
        // SAFETY: the arena is writable, is mapped there, and outlives the allocator, which borrows
        // it exclusively.
        let frames = unsafe { Frames::new(linear, table, limits) };
        for range in ranges {
            frames.add(range.clone());
        }
        frames
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: `new` allocated it with this layout, and nothing borrows it any more.
        unsafe { alloc::dealloc(self.memory.as_ptr(), self.layout) };
    }
}
