//! User programs: EL0, in address spaces of their own under TTBR0.
//!
//! ```text
//!  run ── enter ─► EL0 ── svc, fault ─► on_exception ─┬─ fixed: back to EL0
//!   ▲                 └── interrupt ─► suspend, handle, resume
//!   └────────────── leave ◄───────────────────────────┘  exited, killed
//! ```
//!
//! While EL1 runs, TTBR0 holds an empty table with a reserved ASID, so that a stray access to user memory
//! faults, also on cores without PAN. Every way from EL0 into the kernel begins with `suspend_tables`
//! and every way back ends with `resume_tables`; in between only the routines of `copy` install the
//! program's tables, with interrupts masked.
//!
//! [`vma`], [`asid`], [`syscall`] and [`address_space`] are plain code and tested on the host.

pub mod access;
pub mod address_space;
pub mod asid;
#[cfg(target_os = "none")]
pub mod copy;
#[cfg(target_os = "none")]
mod exception;
pub mod fault;
#[cfg(target_os = "none")]
mod frames;
#[cfg(target_os = "none")]
mod moving;
#[cfg(target_os = "none")]
pub mod programs;
#[cfg(target_os = "none")]
mod run;
#[cfg(target_os = "none")]
mod running;
pub mod syscall;
pub mod vma;

#[cfg(target_os = "none")]
pub use exception::{current_fault, on_exception};
pub use fault::UserFault;
#[cfg(target_os = "none")]
pub use programs::Program;
#[cfg(target_os = "none")]
pub use run::{Outcome, run};
#[cfg(target_os = "none")]
pub use running::{init, resume_tables, suspend_tables};
