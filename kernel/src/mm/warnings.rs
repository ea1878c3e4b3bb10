//! Which failed requests are worth a line in the log: few, however many fail.

use super::gfp::Gfp;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Picks the 1st, 2nd, 4th, 8th … of the failures that callers want to hear of.
#[derive(Debug)]
pub(super) struct Warnings(AtomicU64);

impl Warnings {
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts a failure of a request with these flags; whether it is one to warn of.
    pub(super) fn is_due(&self, gfp: Gfp) -> bool {
        !gfp.contains(Gfp::NOWARN) && (self.0.fetch_add(1, Relaxed) + 1).is_power_of_two()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn failures_are_told_ever_more_rarely_and_never_where_silence_was_asked_for() {
        let warnings = Warnings::new();
        let told = (1..=20).filter(|_| {
            assert!(!warnings.is_due(Gfp::KERNEL | Gfp::NOWARN));
            warnings.is_due(Gfp::ATOMIC)
        });
        assert_eq!(told.collect::<Vec<_>>(), [1, 2, 4, 8, 16]);
    }
}
