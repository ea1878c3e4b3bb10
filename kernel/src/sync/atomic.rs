//! The atomics that the protocols of this folder are made of.
//!
//! `ticket.rs` and `asked.rs` name them from here alone, so that the
//! models in `kernel/tests/models.rs` compile the same files over loom's.

pub(super) use core::sync::atomic::{AtomicU32, Ordering};
