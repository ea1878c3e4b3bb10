//! Interrupt masking, locks, per-CPU data, and what cores ask of each other.
//!
//! Two ways to share data, and contexts as types for both:
//!
//! - [`SpinLock`] masks interrupts on this core before it spins, so a handler can never wait for what
//!   it interrupted. It is a ticket lock: cores get it in the order in which they asked. Its [`Rank`]
//!   says after which others it may be taken.
//! - [`PerCpu`] needs no lock, but an [`IrqMasked`] token: the proof that nothing else on this core
//!   runs while the token lives. What another core wants done to it is asked for by [`request`].

mod asked;
mod atomic;
#[cfg(feature = "contended")]
mod contention;
pub mod irq;
pub mod lock;
pub mod order;
pub mod owned;
pub mod percpu;
pub mod request;
mod ticket;
pub mod wait;

pub use irq::IrqMasked;
pub use lock::{SpinLock, SpinLockGuard};
pub use order::Rank;
pub use percpu::PerCpu;
