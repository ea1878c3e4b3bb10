//! One core's word of requests: others set bits, the core takes them all.

use super::atomic::{AtomicU32, Ordering};

/// What is asked of one core.
///
/// # Invariants
///
/// 1. A bit that is set stays so until the core takes it, and what its setter did before is then visible
///    to the core. So a request is honoured by work that begins after it was made; one that arrives
///    during the work is not lost, but honoured again.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Asked(AtomicU32);

impl Asked {
    /// Takes an atomic zero.
    pub(super) const fn new(bits: AtomicU32) -> Self {
        Self(bits)
    }

    /// Sets `bits`; returns whether any is new, so that the core may have to be woken.
    pub(super) fn set(&self, bits: u32) -> bool {
        self.0.fetch_or(bits, Ordering::AcqRel) & bits != bits
    }

    /// The bits that nobody has taken.
    #[inline]
    pub(super) fn peek(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes all bits.
    pub(super) fn take(&self) -> u32 {
        self.0.swap(0, Ordering::AcqRel)
    }
}
