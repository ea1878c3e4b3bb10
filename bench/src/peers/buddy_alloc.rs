//! `buddy-alloc`: blocks of 64 bytes in front, buddies behind them, and no lock.

use super::global::Shipped;
use ::buddy_alloc::{BuddyAllocParam, FastAllocParam, NonThreadsafeAlloc};
use core::ptr::{self, NonNull};

/// The part of the arena that is for objects up to 64 bytes.
const FAST_PART: usize = 4;
/// Bytes of the smallest buddy, as in the crate's examples.
const LEAF_BYTES: usize = 16;

/// A list of 64-byte blocks for what fits, buddies for the rest.
pub(super) struct FastAndBuddy;

impl Shipped for FastAndBuddy {
    type Heap = NonThreadsafeAlloc;
    const NAME: &'static str = "buddy-alloc";
    const EMPTY: Self::Heap = NonThreadsafeAlloc::new(
        FastAllocParam::new(ptr::null(), 0),
        BuddyAllocParam::new(ptr::null(), 0, LEAF_BYTES),
    );

    unsafe fn add(heap: &mut Self::Heap, arena: NonNull<[u8]>) {
        let (start, bytes) = (arena.as_ptr().cast::<u8>().cast_const(), arena.len());
        let fast_bytes = bytes / FAST_PART;
        *heap = NonThreadsafeAlloc::new(
            FastAllocParam::new(start, fast_bytes),
            BuddyAllocParam::new(
                start.wrapping_add(fast_bytes),
                bytes - fast_bytes,
                LEAF_BYTES,
            ),
        );
    }
}
