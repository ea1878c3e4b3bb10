//! Single frames from the kernel's frame allocator: for pages, and for translation tables.

use super::{raw_table::TableSource, table::FrameSource};
use crate::mm::{
    addr::{Order, Pfn, PhysAddr},
    frames,
    gfp::Gfp,
};

/// Frames for pages, allocated with these flags.
#[derive(Clone, Copy, Debug)]
pub struct KernelFrames(pub Gfp);

impl FrameSource for KernelFrames {
    fn allocate(&mut self) -> Option<Pfn> {
        frames::alloc(Order::ZERO, self.0).ok()
    }
    fn free(&mut self, frame: Pfn) {
        free(frame);
    }
}

/// Frames for translation tables. They are taken under the tables' lock, where nobody may wait.
pub const TABLES: TableSource = TableSource {
    allocate: || {
        frames::alloc(Order::ZERO, Gfp::ATOMIC)
            .ok()
            .map(Pfn::address)
    },
    free: |table: PhysAddr| free(table.frame()),
};

/// Gives back a frame that nothing maps any more; panics if it was not allocated as a single one.
pub fn free(frame: Pfn) {
    if let Err(error) = frames::free(frame, Order::ZERO) {
        panic!("freeing the frame of an unmapped page: {error}");
    }
}
