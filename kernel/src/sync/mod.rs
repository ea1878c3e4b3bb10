//! Interrupt masking, locks and per-CPU data.
//!
//! Two ways to share data, and contexts as types for both:
//!
//! - [`SpinLock`] masks interrupts on this core before it spins, so a handler can never wait for what
//!   it interrupted. It is a ticket lock: cores get it in the order in which they asked.
//! - [`PerCpu`] needs no lock, but an [`IrqMasked`] token: the proof that nothing else on this core
//!   runs while the token lives.

pub mod irq;
pub mod lock;
pub mod owned;
pub mod percpu;

pub use irq::IrqMasked;
pub use lock::{SpinLock, SpinLockGuard};
pub use percpu::PerCpu;
