//! AArch64: the only place that issues instructions and touches system registers.
//!
//! | file | what |
//! |---|---|
//! | `boot.s`, [`image`] | from the boot loader's jump to Rust at a high address; the linked sections |
//! | `vectors.s`, [`exception`] | exception entry and return |
//! | [`barrier`], [`tlb`], [`cache`], [`mmu`] | what translation tables and devices need |
//! | [`cpu`], [`irq`], [`stack`] | this core: its number, its interrupt mask, its stacks |
//! | `callers` | who called, in images that note who allocates |
//! | [`pmu`], [`timer`] | counting and time |
//! | [`monitor`], [`semihosting`] | what is below: our own EL3, the debugger |
#![allow(
    unsafe_code,
    reason = "system registers, barriers and entry assembly live here"
)]

pub mod barrier;
pub mod cache;
#[cfg(feature = "call-sites")]
pub mod callers;
pub mod cpu;
pub mod exception;
pub mod image;
pub mod irq;
pub mod mmu;
pub mod monitor;
pub mod pmu;
pub mod registers;
pub mod semihosting;
pub mod stack;
pub mod timer;
pub mod tlb;
