//! Faults and panics: what happened, in words, and the end of the machine.
//!
//! [`esr`] turns the syndrome into words and [`place`] names the nearest mapping; both are plain code,
//! tested on the host. The rest prints: plain ASCII lines first, for a bare terminal, then a dump of
//! registers and stack as a frame, from which the host makes a symbolised backtrace.

pub mod esr;
pub mod place;
#[cfg(target_os = "none")]
mod report;

#[cfg(target_os = "none")]
pub use report::{fix_up, report};

/// The exit code of a machine that ended by a fault or panic.
pub const EXIT_CODE: u32 = 70;
