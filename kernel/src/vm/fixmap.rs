//! Mappings at fixed addresses: what boot needs before there is an allocator to choose addresses.
//!
//! [`layout::FIXMAP`] spans exactly what one table of level 3 maps, and boot's
//! assembly links that table empty. So a slot can be mapped with no memory at all.

use super::layout;
use crate::mm::addr::{PAGE_BYTES, VirtAddr};
use core::ops::Range;

/// Registers of the UART that the console uses: one page at +0.
pub const UART: Range<VirtAddr> = slot(0, PAGE_BYTES);
/// The device tree: 1.5 MiB at +64 KiB.
pub const DEVICE_TREE: Range<VirtAddr> = slot(64 << 10, 1536 << 10);

const fn slot(offset: u64, bytes: u64) -> Range<VirtAddr> {
    let start = layout::FIXMAP.start.offset(offset);
    start..start.offset(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_disjoint_whole_pages_inside_the_fixmap() {
        let mut end = layout::FIXMAP.start;
        for slot in [UART, DEVICE_TREE] {
            assert!(
                slot.start >= end && slot.end <= layout::FIXMAP.end,
                "{slot:?}"
            );
            assert!(slot.start.is_aligned_to(PAGE_BYTES) && slot.end.is_aligned_to(PAGE_BYTES));
            end = slot.end;
        }
    }
}
