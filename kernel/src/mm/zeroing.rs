//! Filling memory with zeros as fast as the machine can.
//!
//! AArch64 has an instruction that zeroes a cache line without reading it (`DC ZVA`, Arm ARM C5.3.8):
//! 64 instructions for a frame instead of some 300. On hosts the compiler's own fill does.
#![allow(
    unsafe_code,
    reason = "fills memory that its callers own, whatever is in it"
)]

use super::frame::Frame;
use core::ptr::NonNull;

/// Zeroes `bytes` from `start` on.
///
/// # Safety
///
/// The memory is mapped writable as Normal memory, nobody else uses it, and start and length are
/// multiples of 4,096: no line is larger (Arm ARM, `DCZID_EL0.BS`: at most 2 KiB).
pub(super) unsafe fn fill(start: NonNull<u8>, bytes: usize) {
    #[cfg(target_os = "none")]
    // SAFETY: the caller's promise.
    if unsafe { crate::arch::cache::zero(start, bytes) } {
        return;
    }
    // SAFETY: the caller's promise.
    unsafe { start.write_bytes(0, bytes) };
}

/// Makes `entries`, a pageblock's, zero: frames that are nobody's or inside a block.
pub(super) fn clear_entries(entries: &[Frame]) {
    let bytes = size_of_val(entries);
    debug_assert!(bytes.is_multiple_of(4096));
    // SAFETY: a frame's fields are atomics, which may change behind a shared reference, and zeroes are
    // valid ones. They start at a multiple of 4,096 bytes, as the table does; the zone's lock is held,
    // and nobody reads entries that the pageblock's byte says are not there.
    unsafe { fill(NonNull::from(entries).cast(), bytes) };
}
