//! The memory that slabs are made of, and each address's entry in its frame table.

use crate::mm::addr::{PAGE_SHIFT, VirtAddr};
use crate::mm::frame::Frame;
use crate::mm::frames::Frames;

/// A stretch of the linear map and the entries of its frames: what the fast paths need of a frame
/// allocator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent<'f> {
    start: VirtAddr,
    table: &'f [Frame],
}

impl<'f> Extent<'f> {
    /// No memory.
    pub(super) const NONE: Self = Self {
        start: VirtAddr::new(0),
        table: &[],
    };

    /// All memory that `frames` describes.
    pub(super) fn of(frames: &Frames<'f>) -> Self {
        let table = frames.table();
        Self {
            start: frames.linear().to_virt(table.span().start.address()),
            table: table.frames(),
        }
    }

    /// The entry of the frame that `address` is in, or `None` if there is none.
    #[inline(always)]
    pub(crate) fn entry(&self, address: VirtAddr) -> Option<&'f Frame> {
        let index = address.get().wrapping_sub(self.start.get()) >> PAGE_SHIFT;
        self.table.get(index as usize)
    }
}
