//! The same of page frames: every frame of a block is claimed and stamped.

use super::{COUNT, Flaw, stamp};
use crate::generator::{CHURN_SEED, Orders, XorshiftStar};
use crate::peers::claims::Claims;
use crate::peers::{FRAME_LOG2, FrameAllocator};
use crate::workload::pages::MIX_ORDER;
use crate::workload::{self, Slot, Subject};
use core::ptr::NonNull;

/// Toggles blocks of `allocator`, which has `arena`, in `slots`, and verifies each. All are freed.
/// `claims` has a bit for each frame.
///
/// # Errors
///
/// The first [`Flaw`].
pub fn frames<A: FrameAllocator>(
    allocator: &mut A,
    arena: NonNull<[u8]>,
    slots: &mut [Slot],
    claims: &mut [u64],
) -> Result<(), Flaw> {
    let mut checked = Checked {
        allocator,
        arena,
        claims: Claims::new(claims, FRAME_LOG2),
        flaw: None,
    };
    let mut orders = Orders(XorshiftStar::new(CHURN_SEED), MIX_ORDER);
    let result = workload::toggle(&mut checked, &mut orders, COUNT, slots);
    workload::clear(&mut checked, slots);
    if let Err(workload::OutOfMemory { amount, .. }) = result {
        checked.note(Flaw::OutOfMemory {
            bytes: bytes(amount),
        });
    }
    checked.flaw.map_or(Ok(()), Err)
}

/// Bytes of a block of `order`.
const fn bytes(order: u32) -> u32 {
    1 << (FRAME_LOG2 + order)
}

struct Checked<'a, A> {
    allocator: &'a mut A,
    arena: NonNull<[u8]>,
    claims: Claims<'a>,
    flaw: Option<Flaw>,
}

impl<A: FrameAllocator> Checked<'_, A> {
    fn note(&mut self, flaw: Flaw) {
        self.flaw.get_or_insert(flaw);
    }

    /// Claims a block; what is wrong with where it is, if anything.
    fn misplaced(&mut self, address: usize, bytes: u32) -> Option<Flaw> {
        let size = bytes as usize;
        if !address.is_multiple_of(size) {
            let align_bytes = size;
            return Some(Flaw::Misaligned {
                address,
                align_bytes,
            });
        }
        if !A::IN_ARENA {
            return None;
        }
        let offset = self.offset(address);
        if offset >= self.arena.len() || size > self.arena.len() - offset {
            return Some(Flaw::Outside { address });
        }
        let claimed = self.claims.claim(offset, size);
        (!claimed).then_some(Flaw::Overlapping { address, bytes })
    }

    /// Where in the arena `address` is, if it is.
    fn offset(&self, address: usize) -> usize {
        address.wrapping_sub(self.arena.cast::<u8>().addr().get())
    }
}

/// The frames of a block of `order` that starts at `start`, which is not null.
fn each(start: *mut u8, order: u32) -> impl Iterator<Item = NonNull<u8>> {
    let starts = (0..1_usize << order).map(move |frame| start.wrapping_add(frame << FRAME_LOG2));
    starts.filter_map(NonNull::new)
}

impl<A: FrameAllocator> Subject for Checked<'_, A> {
    fn alloc(&mut self, order: u32, _: bool) -> Option<u64> {
        let block = self.allocator.alloc(order)?;
        let start = A::start(block);
        if let Some(flaw) = self.misplaced(start.addr(), bytes(order)) {
            self.note(flaw);
            return None;
        }
        for frame in each(start, order) {
            // SAFETY: the frame was allocated just now, and a stamp is shorter.
            unsafe { frame.cast().write(stamp(frame)) };
        }
        Some(block)
    }

    fn free(&mut self, block: u64, order: u32, _: bool) {
        let start = A::start(block);
        let sound = each(start, order).all(|frame| {
            // SAFETY: the frame is live, and was stamped when it was allocated.
            stamp(frame) == unsafe { frame.cast::<[u8; 8]>().read() }
        });
        let (address, bytes) = (start.addr(), bytes(order));
        if !sound {
            self.note(Flaw::Overwritten { address, bytes });
        }
        if A::IN_ARENA {
            self.claims.release(self.offset(address), bytes as usize);
        }
        // SAFETY: workloads free each block once, with the order it was allocated for.
        unsafe { self.allocator.free(block, order) }
    }
}
