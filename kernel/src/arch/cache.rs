//! Data and instruction cache maintenance by address.
//!
//! Devices that do not snoop see memory at the point of coherency; instruction fetch sees it at the
//! point of unification (Arm ARM B2.10, D7.5.9).

use super::{
    barrier,
    registers::{CTR_EL0, CacheType},
};
use crate::mm::addr::VirtAddr;
use core::{arch::asm, ptr::NonNull};
use tock_registers::interfaces::Readable;

/// Bytes of the smallest data cache line on any level, from CTR_EL0.DminLine.
fn data_line_bytes() -> u64 {
    4 << CacheType.read(CTR_EL0::DminLine)
}

fn instruction_line_bytes() -> u64 {
    4 << CacheType.read(CTR_EL0::IminLine)
}

fn lines(start: VirtAddr, bytes: u64, line: u64) -> impl Iterator<Item = u64> {
    let end = start.get() + bytes;
    (start.get() & !(line - 1)..end).step_by(usize::try_from(line).unwrap_or(usize::MAX))
}

/// Writes dirty lines back: what the CPU wrote is in memory when it returns.
pub fn clean(start: VirtAddr, bytes: u64) {
    for line in lines(start, bytes, data_line_bytes()) {
        // SAFETY: cleaning changes no memory as the CPU sees it.
        unsafe { asm!("dc cvac, {}", in(reg) line, options(nostack, preserves_flags)) }
    }
    barrier::dsb_sy();
}

/// Writes dirty lines back and drops them: the next read comes from memory.
pub fn clean_invalidate(start: VirtAddr, bytes: u64) {
    for line in lines(start, bytes, data_line_bytes()) {
        // SAFETY: as for `clean`; a dropped clean line is read again.
        unsafe { asm!("dc civac, {}", in(reg) line, options(nostack, preserves_flags)) }
    }
    barrier::dsb_sy();
}

/// Drops lines, so that the next read sees what a device wrote.
///
/// A line that is only partly inside is cleaned first: its other bytes are somebody else's.
pub fn invalidate(start: VirtAddr, bytes: u64) {
    let (line, end) = (data_line_bytes(), start.offset(bytes));
    if !start.is_aligned_to(line) || !end.is_aligned_to(line) {
        return clean_invalidate(start, bytes);
    }
    for line in lines(start, bytes, line) {
        // SAFETY: whole lines of the caller's buffer, whose contents the device has just replaced.
        unsafe { asm!("dc ivac, {}", in(reg) line, options(nostack, preserves_flags)) }
    }
    barrier::dsb_sy();
}

/// Zeroes `bytes` from `start` on line by line, without reading them. False, and nothing done, where the
/// instruction is not to be used (`DCZID_EL0.DZP`) or its lines are larger than 128 bytes.
///
/// # Safety
///
/// The memory is mapped writable as Normal memory (`DC ZVA` faults on Device memory), nobody else uses
/// it, and start and length are multiples of 4,096.
#[inline]
pub unsafe fn zero(start: NonNull<u8>, bytes: usize) -> bool {
    let id: u64;
    // SAFETY: reads an identification register.
    unsafe { asm!("mrs {}, dczid_el0", out(reg) id, options(nomem, nostack, preserves_flags)) }
    // Bit 4 prohibits, bits 3:0 are the logarithm of a line's words (Arm ARM D24.2.36).
    if id & 0x1f > 5 {
        return false;
    }
    let line = 4_usize << id;
    // SAFETY: the caller's promise; 32 lines at a time fit in 4,096 bytes.
    unsafe {
        asm!(
            "2:",
            ".rept 32", "dc zva, {at}", "add {at}, {at}, {line}", ".endr",
            "cmp {at}, {end}",
            "b.lo 2b",
            at = inout(reg) start.as_ptr() => _,
            line = in(reg) line,
            end = in(reg) start.as_ptr().wrapping_add(bytes),
            options(nostack),
        );
    }
    true
}

/// Makes instructions just written visible to instruction fetch, on every core.
pub fn sync_instructions(start: VirtAddr, bytes: u64) {
    for line in lines(start, bytes, data_line_bytes()) {
        // SAFETY: cleaning changes no memory as the CPU sees it.
        unsafe { asm!("dc cvau, {}", in(reg) line, options(nostack, preserves_flags)) }
    }
    barrier::dsb_ish();
    for line in lines(start, bytes, instruction_line_bytes()) {
        // SAFETY: dropping fetched instructions makes them be fetched again.
        unsafe { asm!("ic ivau, {}", in(reg) line, options(nostack, preserves_flags)) }
    }
    barrier::dsb_ish();
    barrier::isb();
}
