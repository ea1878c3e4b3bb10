//! Zones: memory by how far away it can be for whoever must reach it.
//!
//! # Shape
//!
//! ```text
//! 0 ──────── dma_end ───────────── dma32_end ───────────── end of memory
//!    DMA         │       DMA32         │        NORMAL
//!    ◄───────────┴──── fallback ◄──────┴──────────┘
//! ```
//!
//! A zone is a span of frame numbers, perhaps with holes, perhaps empty. A request that any memory
//! serves starts at the highest zone and falls back downward, so that what a limited device needs is
//! used last.
//!
//! # Locking
//!
//! One lock a zone, taken with interrupts masked, around the buddy allocator alone. No two zones'
//! locks are ever held at once.

use super::addr::{Order, Pfn};
use super::buddy::{Buddy, FrameError, Violation};
use super::frame::Table;
use super::gfp::Gfp;
use crate::sync::SpinLock;
use core::ops::Range;

/// Which zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ZoneKind {
    /// What the board's most limited DMA master reaches.
    Dma,
    /// What 32 address bits reach.
    Dma32,
    /// The rest.
    Normal,
}

impl ZoneKind {
    /// Number of zones.
    pub const COUNT: usize = 3;
    /// All zones, lowest first.
    pub const ALL: [Self; Self::COUNT] = [Self::Dma, Self::Dma32, Self::Normal];

    /// The highest zone that serves a request with these flags.
    pub const fn highest_for(gfp: Gfp) -> Self {
        if gfp.contains(Gfp::DMA) {
            Self::Dma
        } else if gfp.contains(Gfp::DMA32) {
            Self::Dma32
        } else {
            Self::Normal
        }
    }

    /// Linux's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dma => "DMA",
            Self::Dma32 => "DMA32",
            Self::Normal => "Normal",
        }
    }
}

/// Where zones end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneLimits {
    /// First frame that the board's most limited DMA master cannot reach. Boot gives `dma32_end` where
    /// none is limited, so that DMA32 is empty, as on arm64 Linux; frame 0 makes no DMA zone.
    pub dma_end: Pfn,
    /// First frame past 4 GiB; not below `dma_end`.
    pub dma32_end: Pfn,
}

impl ZoneLimits {
    /// No limit but 4 GiB, and no DMA zone.
    #[cfg(test)]
    pub(crate) const FOUR_GIB: Self = Self {
        dma_end: Pfn::new(0),
        dma32_end: Pfn::new(1 << 20),
    };

    /// The part of `all` that belongs to `kind`.
    pub fn span(&self, kind: ZoneKind, all: &Range<Pfn>) -> Range<Pfn> {
        let limits = match kind {
            ZoneKind::Dma => Pfn::new(0)..self.dma_end,
            ZoneKind::Dma32 => self.dma_end..self.dma32_end,
            ZoneKind::Normal => self.dma32_end.max(self.dma_end)..all.end,
        };
        let start = limits.start.max(all.start);
        start..limits.end.min(all.end).max(start)
    }
}

/// A zone's figures at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneStatistics {
    /// Which zone.
    pub kind: ZoneKind,
    /// Its first frame.
    pub start: Pfn,
    /// Frames between its bounds, holes included.
    pub spanned_frames: u32,
    /// Frames that the allocator was given.
    pub managed_frames: u32,
    /// Frames that are free.
    pub free_frames: u32,
    /// The most frames that were ever in use at once since memory was last added.
    pub peak_used_frames: u32,
    /// Free blocks by order.
    pub free_blocks: [u32; Order::COUNT],
}

/// One zone.
#[derive(Debug)]
pub struct Zone<'t> {
    kind: ZoneKind,
    span: Range<Pfn>,
    buddy: SpinLock<Buddy<'t>>,
}

impl<'t> Zone<'t> {
    /// The zone `kind` of the memory that `table` describes; it has no memory yet.
    pub fn new(kind: ZoneKind, table: Table<'t>, limits: &ZoneLimits) -> Self {
        let span = limits.span(kind, &table.span());
        Self {
            kind,
            span: span.clone(),
            buddy: SpinLock::new(Buddy::new(table, span)),
        }
    }

    /// Its bounds.
    pub const fn span(&self) -> &Range<Pfn> {
        &self.span
    }

    /// Takes over the part of `range` that lies in its bounds.
    pub fn add(&self, range: &Range<Pfn>) {
        let start = range.start.max(self.span.start);
        let end = range.end.min(self.span.end);
        if start < end {
            self.buddy.lock().add(start..end);
        }
    }

    /// Takes a block.
    ///
    /// # Errors
    ///
    /// [`FrameError::OutOfMemory`].
    pub fn alloc(&self, order: Order) -> Result<Pfn, FrameError> {
        self.buddy.lock().alloc(order)
    }

    /// Gives a block back.
    ///
    /// # Errors
    ///
    /// As [`Buddy::free`].
    pub fn free(&self, pfn: Pfn, order: Order) -> Result<(), FrameError> {
        self.buddy.lock().free(pfn, order)
    }

    /// Whether `pfn`, in its bounds, is in a free block.
    pub fn is_free(&self, pfn: Pfn) -> bool {
        self.buddy.lock().is_free_frame(pfn)
    }

    /// Its figures.
    pub fn statistics(&self) -> ZoneStatistics {
        let buddy = self.buddy.lock();
        ZoneStatistics {
            kind: self.kind,
            start: self.span.start,
            spanned_frames: super::frame::count(&self.span),
            managed_frames: buddy.managed_frames(),
            free_frames: buddy.free_frames(),
            peak_used_frames: buddy.managed_frames() - buddy.lowest_free_frames(),
            free_blocks: buddy.free_blocks(),
        }
    }

    /// Checks the buddy allocator's invariants, with the lock held all the while.
    ///
    /// # Errors
    ///
    /// The first one found broken.
    pub fn validate(&self) -> Result<(), Violation> {
        self.buddy.lock().validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_choose_the_highest_zone() {
        assert_eq!(ZoneKind::highest_for(Gfp::KERNEL), ZoneKind::Normal);
        assert_eq!(
            ZoneKind::highest_for(Gfp::ATOMIC | Gfp::DMA32),
            ZoneKind::Dma32
        );
        assert_eq!(ZoneKind::highest_for(Gfp::DMA32 | Gfp::DMA), ZoneKind::Dma);
    }

    #[test]
    fn spans_cover_all_memory_once_wherever_it_lies() {
        let frames = |start, end| Pfn::new(start)..Pfn::new(end);
        let limits = ZoneLimits {
            dma_end: Pfn::new(100),
            dma32_end: Pfn::new(200),
        };
        for all in [
            frames(0, 300),
            frames(50, 120),
            frames(150, 160),
            frames(250, 260),
        ] {
            let mut next = all.start;
            for kind in ZoneKind::ALL {
                let span = limits.span(kind, &all);
                if !span.is_empty() {
                    assert_eq!(span.start, next, "{kind:?} of {all:?}");
                    next = span.end;
                }
            }
            assert_eq!(next, all.end);
        }
        let limits = ZoneLimits::FOUR_GIB;
        assert!(limits.span(ZoneKind::Dma, &frames(0, 300)).is_empty());
        assert_eq!(
            limits.span(ZoneKind::Dma32, &frames(9, 300)),
            frames(9, 300)
        );
    }
}
