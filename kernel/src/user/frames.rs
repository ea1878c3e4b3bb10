//! Frames and tables of user programs, in real memory.
#![allow(
    unsafe_code,
    reason = "writes frames that belong to a program which does not run yet"
)]

use super::{address_space::UserFrames, moving};
use crate::{
    arch::cache,
    mm::{
        addr::{LinearMap, Order, PAGE_BYTES, Pfn, PhysAddr, VirtAddr},
        frames,
        gfp::Gfp,
    },
    sync::irq,
    vm::{
        frames::{TABLES, free},
        raw_table::{ImageWindow, RawTables},
        table::FrameSource,
    },
};

/// Zeroed frames from the frame allocator.
#[derive(Clone, Copy, Debug)]
pub(super) struct ZeroedFrames;

impl FrameSource for ZeroedFrames {
    fn allocate(&mut self) -> Option<Pfn> {
        // Under the program's lock nobody may wait: whoever faulted reclaims without it, and comes again.
        let gfp = if irq::is_masked() {
            Gfp::NOWAIT
        } else {
            Gfp::KERNEL
        };
        frames::alloc(Order::ZERO, gfp | Gfp::MOVABLE | Gfp::ZERO).ok()
    }
    fn free(&mut self, frame: Pfn) {
        free(frame, Order::ZERO);
    }
}

impl UserFrames for ZeroedFrames {
    fn own(&mut self, frame: Pfn, page: VirtAddr) {
        moving::own(frame, page);
    }

    fn disown(&mut self, frame: Pfn, page: VirtAddr) {
        moving::disown(frame, page);
    }

    fn fill(&mut self, frame: Pfn, contents: &[u8], code: bool) {
        assert!(
            contents.len() as u64 <= PAGE_BYTES,
            "a frame holds one page"
        );
        let address = LinearMap::kernel().to_virt(frame.address());
        // SAFETY: the frame was allocated for this space just now and no program runs in it yet; the
        // linear map has all frames, and the contents fit one.
        unsafe {
            address
                .as_mut_ptr::<u8>()
                .copy_from_nonoverlapping(contents.as_ptr(), contents.len());
        }
        // Instruction caches are physically tagged and indexed (PIPT) on every core we run on, so
        // maintenance by this alias reaches what the user's address fetches (Arm ARM, "VIPT and PIPT
        // instruction caches").
        if code {
            cache::sync_instructions(address, PAGE_BYTES);
        }
    }
}

/// Tables of user programs: all from the frame allocator.
pub(super) fn tables() -> RawTables {
    let none = PhysAddr::new(0)..PhysAddr::new(0);
    let window = ImageWindow {
        physical: none.clone(),
        address: VirtAddr::new(0),
    };
    // SAFETY: no table lies in an image window that is empty; the frame allocator's frames are in the
    // linear map.
    let mut tables = unsafe { RawTables::new(window, &none, LinearMap::kernel()) };
    tables.set_source(TABLES);
    tables
}
