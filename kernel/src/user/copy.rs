//! The only way for the kernel to touch a program's memory.
//!
//! A copy checks that the addresses are the user's, installs the program's tables for at most a page's
//! worth of bytes, and copies with LDTR and STTR, which have EL0's rights (Arm ARM C6.2, "LDTR"): a
//! read-only page cannot be written, a kernel page not be read. A fault in one of those instructions is looked up in the
//! exception table; the handler first tries to fill the page, and else goes on at the fix-up, which ends
//! the copy.
#![allow(unsafe_code, reason = "calls the copy routines, which are assembly")]

pub use super::access::Fault;
use super::{
    access::{self, check},
    address_space::PAGE_LENGTH,
    running::Installed,
};
use crate::{arch::image, mm::addr::VirtAddr};

core::arch::global_asm!(include_str!("copy.s"),);

unsafe extern "C" {
    /// Copies up to `bytes` from the user's `source`; returns how many are missing.
    fn raw_copy_from_user(destination: *mut u8, source: u64, bytes: usize) -> usize;
    /// Copies up to `bytes` to the user's `destination`; returns how many are missing.
    fn raw_copy_to_user(destination: u64, source: *const u8, bytes: usize) -> usize;
}

/// Fills `destination` from the program's memory at `source`.
pub fn copy_from_user(destination: &mut [u8], source: VirtAddr) -> Result<(), Fault> {
    check(source, destination.len())?;
    let mut at = source;
    for chunk in destination.chunks_mut(PAGE_LENGTH) {
        let installed = Installed::new();
        // SAFETY: the destination is the caller's; the source is below the user region's end, and a
        // fault there ends the copy.
        let missing = unsafe { raw_copy_from_user(chunk.as_mut_ptr(), at.get(), chunk.len()) };
        drop(installed);
        at = at.offset((chunk.len() - missing) as u64);
        if missing > 0 {
            return Err(Fault { address: at });
        }
    }
    Ok(())
}

/// Writes `source` to the program's memory at `destination`.
pub fn copy_to_user(destination: VirtAddr, source: &[u8]) -> Result<(), Fault> {
    check(destination, source.len())?;
    let mut at = destination;
    for chunk in source.chunks(PAGE_LENGTH) {
        let installed = Installed::new();
        // SAFETY: the source is the caller's; the destination is below the user region's end, where no
        // kernel object lies, and a fault there ends the copy.
        let missing = unsafe { raw_copy_to_user(at.get(), chunk.as_ptr(), chunk.len()) };
        drop(installed);
        at = at.offset((chunk.len() - missing) as u64);
        if missing > 0 {
            return Err(Fault { address: at });
        }
    }
    Ok(())
}

/// Copies a string that ends in a zero byte, and returns its length without that; `None` if none of the
/// first `destination.len()` bytes is zero.
pub fn string_from_user(destination: &mut [u8], source: VirtAddr) -> Result<Option<usize>, Fault> {
    access::string_by(destination, source, copy_from_user)
}

/// Where to go on after a fault at `elr`, if it is in a copy routine.
pub fn fixup(elr: u64) -> Option<u64> {
    let table = image::exception_table();
    let pairs = ((table.end.get() - table.start.get()) / 16) as usize;
    // SAFETY: the linker put the section there, constant and made of pairs of 64-bit words.
    let pairs = unsafe { core::slice::from_raw_parts(table.start.as_mut_ptr::<[u64; 2]>(), pairs) };
    pairs
        .iter()
        .find(|[instruction, _]| *instruction == elr)
        .map(|&[_, fixup]| fixup)
}
