//! Linux's memory stack, rebuilt as a library OS for AArch64.
#![no_std]

#[cfg(target_os = "none")]
pub mod arch;
pub mod mm;
pub mod sync;
pub mod vm;

extern crate alloc;
#[cfg(not(target_os = "none"))]
extern crate std;
