//! Which requests for frames failed: how many of each kind, in a table of fixed size.
//!
//! Locking: a lock of its own, under which nothing else is taken.

use super::addr::Order;
use super::gfp::Gfp;
use super::zone::ZoneKind;
use crate::sync::{Rank, SpinLock};
use core::fmt;

/// Kinds that are told apart; more are counted in the total alone.
const KINDS: usize = 16;

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No zone that its flags allow could ever give so large a block.
    Impossible,
    /// Enough frames were free, but not in one block.
    Fragmented,
    /// Too few frames were free, above what its flags leave in reserve.
    Exhausted,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::Impossible, Self::Fragmented, Self::Exhausted];

    /// The name of its counter.
    pub const fn counter(self) -> &'static str {
        match self {
            Self::Impossible => "alloc_failures_impossible",
            Self::Fragmented => "alloc_failures_fragmented",
            Self::Exhausted => "alloc_failures_exhausted",
        }
    }
}

/// Requests that asked for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The highest zone that would have served them.
    pub zone: ZoneKind,
    /// The order asked for.
    pub order: Order,
    /// The flags.
    pub flags: Gfp,
    /// How many.
    pub count: u64,
    /// Frames that were free at the last, in all zones.
    pub free_frames: u32,
}

impl Failure {
    /// The flags by name.
    pub fn flags_text(&self) -> FlagsText {
        let mut text = FlagsText {
            bytes: [0; FLAGS_BYTES],
            used: 0,
        };
        // What does not fit is cut off; all names together do.
        let _ = bitflags::parser::to_writer(&self.flags, &mut text);
        text
    }
}

/// Room for the names of all flags.
const FLAGS_BYTES: usize = 256;

/// The names of flags.
#[derive(Debug)]
pub struct FlagsText {
    bytes: [u8; FLAGS_BYTES],
    used: usize,
}

impl fmt::Write for FlagsText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.used + text.len();
        let room = self.bytes.get_mut(self.used..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.used = end;
        Ok(())
    }
}

impl core::ops::Deref for FlagsText {
    type Target = str;
    fn deref(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.used]).unwrap_or_default()
    }
}

/// All failures.
#[derive(Debug)]
pub struct Failures(SpinLock<Table>);

#[derive(Debug)]
struct Table {
    reasons: [u64; Reason::ALL.len()],
    kinds: [Option<Failure>; KINDS],
}

impl Failures {
    pub(super) const fn new() -> Self {
        Self(SpinLock::new(
            Rank::Figures,
            Table {
                reasons: [0; Reason::ALL.len()],
                kinds: [None; KINDS],
            },
        ))
    }

    /// Counts one.
    pub(super) fn note(&self, order: Order, flags: Gfp, free_frames: u32, reason: Reason) {
        let mut table = self.0.lock();
        table.reasons[reason as usize] += 1;
        let alike = |slot: &&mut Option<Failure>| {
            slot.is_none_or(|failure| (failure.order, failure.flags) == (order, flags))
        };
        if let Some(slot) = table.kinds.iter_mut().find(alike) {
            *slot = Some(Failure {
                zone: ZoneKind::highest_for(flags),
                order,
                flags,
                count: slot.map_or(0, |failure| failure.count) + 1,
                free_frames,
            });
        }
    }

    /// How many there were.
    pub fn total(&self) -> u64 {
        self.0.lock().reasons.iter().sum()
    }

    /// How many there were for that reason.
    pub fn because(&self, reason: Reason) -> u64 {
        self.0.lock().reasons[reason as usize]
    }

    /// The first kinds that there were, in the order of their first.
    pub fn snapshot(&self) -> [Option<Failure>; KINDS] {
        self.0.lock().kinds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn failures_are_counted_by_what_was_asked_and_the_total_counts_all() {
        let failures = Failures::new();
        let order = |raw| Order::new(raw).unwrap();
        for free_frames in [7, 5] {
            failures.note(
                order(9),
                Gfp::KERNEL | Gfp::DMA,
                free_frames,
                Reason::Fragmented,
            );
        }
        for raw in 0..=10 {
            failures.note(order(raw), Gfp::KERNEL, 3, Reason::Exhausted);
            failures.note(order(raw), Gfp::ATOMIC, 3, Reason::Exhausted);
        }
        assert_eq!(failures.total(), 24);
        let by_reason = Reason::ALL.map(|reason| failures.because(reason));
        assert_eq!(by_reason, [0, 2, 22]);
        let kinds: Vec<Failure> = failures.snapshot().into_iter().flatten().collect();
        assert_eq!(kinds.len(), KINDS);
        let first = kinds[0];
        assert_eq!(
            (first.zone, first.count, first.free_frames),
            (ZoneKind::Dma, 2, 5)
        );
        assert!(
            first.flags_text().starts_with("DMA"),
            "{}",
            &*first.flags_text()
        );
    }
}
