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
//! # Watermarks
//!
//! ```text
//! free frames   0 ── min/4 ─ min/2 ─ min ─ low ─ high ──────►
//!                      │       │      │     │     └ reclaim goes on up to here
//!                      │       │      │     └ ordinary requests look in other zones first below it
//!                      │       │      └ and fail below it
//!                      │       └ as far as HIGH goes
//!                      └ as far as ATOMIC goes: HIGH that cannot wait
//! ```
//!
//! Linux's scheme, but for its sizes: `min` is a 512th of the zone, at most 4 MiB, and nothing where the
//! zone has less than 32 MiB.
//!
//! # Locking
//!
//! One lock a zone, taken with interrupts masked, around the buddy allocator alone. No two zones'
//! locks are ever held at once.

use super::addr::{Order, Pfn};
use super::buddy::{BATCH, Buddy, Violation};
use super::frame::Table;
use super::frame_error::FrameError;
use super::gfp::Gfp;
use super::pageblock::MigrateType;
use super::path;
use crate::sync::{Rank, SpinLock, SpinLockGuard};
use core::ops::Range;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

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

    /// Moved down to where largest blocks start, so that no block lies in two zones.
    #[must_use]
    pub fn aligned(self) -> Self {
        let down = |pfn: Pfn| Pfn::new(pfn.get() & !(Order::MAX.frames() - 1));
        Self {
            dma_end: down(self.dma_end),
            dma32_end: down(self.dma32_end),
        }
    }

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

/// How many free frames a zone keeps for whom; see the module's drawing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watermarks {
    /// Ordinary requests fail rather than leave fewer.
    pub min: u32,
    /// Ordinary requests look elsewhere first rather than leave fewer.
    pub low: u32,
    /// Reclaim goes on until there are as many.
    pub high: u32,
}

impl Watermarks {
    /// The most frames that `min` is.
    const MOST: u32 = 1024;
    /// Zones of fewer frames keep none back.
    const ZONE_FROM: u32 = 8192;

    /// Those of a zone with that many frames.
    pub const fn of(managed_frames: u32) -> Self {
        if managed_frames < Self::ZONE_FROM {
            return Self {
                min: 0,
                low: 0,
                high: 0,
            };
        }
        let share = managed_frames / 512;
        let min = if share < Self::MOST {
            share
        } else {
            Self::MOST
        };
        Self {
            min,
            low: min + min / 4,
            high: min + min / 2,
        }
    }

    /// How many frames a request with these flags must leave, when it is in need.
    pub const fn reserve_from(self, gfp: Gfp) -> u32 {
        match (gfp.contains(Gfp::HIGH), gfp.contains(Gfp::DIRECT_RECLAIM)) {
            (false, _) => self.min,
            (true, true) => self.min / 2,
            (true, false) => self.min / 4,
        }
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
    /// Of these, frames in CMA pageblocks.
    pub cma_frames: u32,
    /// Frames that are free in pageblocks which are about to be taken whole; not in `free_frames`.
    pub isolated_frames: u32,
    /// The most frames that were ever in use at once since memory was last added.
    pub peak_used_frames: u32,
    /// What it keeps back.
    pub watermarks: Watermarks,
    /// Pageblocks that one migrate type took from another since boot.
    pub claimed_pageblocks: u32,
    /// Free blocks by order.
    pub free_blocks: [u32; Order::COUNT],
    /// Free blocks by migrate type, in the order of [`MigrateType::ALL`], and by order.
    pub free_blocks_by_type: [[u32; Order::COUNT]; MigrateType::ALL.len()],
}

/// Most blocks that are given back at once.
const DRAINED: usize = 2;
/// After how many merges a batch that is given back ends early: its blocks may each merge nine times.
const MERGES: u8 = 2;

/// One zone.
#[derive(Debug)]
pub struct Zone<'t> {
    kind: ZoneKind,
    span: Range<Pfn>,
    low: AtomicU32,
    /// Where compaction goes on looking.
    pub(super) compaction_cursor: AtomicU32,
    buddy: SpinLock<Buddy<'t>>,
}

impl<'t> Zone<'t> {
    /// The zone `kind` of the memory that `table` describes; it has no memory yet. `limits` are
    /// [aligned](ZoneLimits::aligned), and `class` marks its pageblocks.
    pub fn new(kind: ZoneKind, table: Table<'t>, limits: &ZoneLimits, class: u8) -> Self {
        let span = limits.span(kind, &table.span());
        Self {
            kind,
            span: span.clone(),
            low: AtomicU32::new(0),
            compaction_cursor: AtomicU32::new(0),
            buddy: SpinLock::new(Rank::Zone, Buddy::new(table, span, class)),
        }
    }

    /// Its bounds.
    pub const fn span(&self) -> &Range<Pfn> {
        &self.span
    }

    /// Takes over the part of `range` that lies in its bounds; `give` says how.
    pub fn add(&self, range: &Range<Pfn>, give: fn(&mut Buddy<'t>, Range<Pfn>)) {
        let start = range.start.max(self.span.start);
        let end = range.end.min(self.span.end);
        if start < end {
            let mut buddy = self.buddy.lock();
            give(&mut buddy, start..end);
            let low = Watermarks::of(buddy.managed_frames()).low;
            self.low.store(low, Relaxed);
        }
    }

    /// Takes a block for `migrate`, unless fewer than the watermark `low` would stay.
    #[inline]
    pub fn alloc_above_low(&self, order: Order, migrate: MigrateType) -> Option<Pfn> {
        let low = self.low.load(Relaxed);
        self.buddy.lock().alloc(order, migrate, low)
    }

    /// As [`alloc_above_low`](Self::alloc_above_low), for several blocks: see [`Buddy::alloc_batch`].
    #[inline]
    pub fn alloc_batch(
        &self,
        kind: (Order, u8),
        migrate: MigrateType,
        blocks: &mut [Pfn; BATCH],
    ) -> usize {
        let low = self.low.load(Relaxed);
        self.buddy.lock().alloc_batch(kind, migrate, low, blocks)
    }

    /// Gives back `first`, allocated with `order`, and what `next` yields: up to a batch, until
    /// [`MERGES`] merges were made. Returns a block that is another zone's. Panics if one is not an
    /// allocated block.
    #[inline]
    pub fn free_batch(
        &self,
        first: Pfn,
        order: Order,
        next: &mut impl FnMut() -> Option<Pfn>,
    ) -> Option<Pfn> {
        let mut buddy = self.buddy.lock();
        let (mut pfn, mut merges, mut other) = (first, 0, None);
        for left in (0..DRAINED).rev() {
            match buddy.free_counting_merges(pfn, order) {
                Ok(made) => merges += made,
                Err(error) => panic!("a listed block cannot be freed: {error}"),
            }
            if left == 0 || merges >= MERGES {
                break;
            }
            match next() {
                Some(inside) if self.span.contains(&inside) => pfn = inside,
                elsewhere => {
                    other = elsewhere;
                    break;
                }
            }
        }
        path::drained(merges);
        other
    }

    /// Takes a block for a request in need, as deep in the reserve as its flags go.
    pub fn alloc_in_need(&self, order: Order, gfp: Gfp) -> Option<Pfn> {
        let mut buddy = self.buddy.lock();
        let reserve = Watermarks::of(buddy.managed_frames()).reserve_from(gfp);
        buddy.alloc(order, MigrateType::of_group(gfp.group()), reserve)
    }

    /// Gives a block back.
    ///
    /// # Errors
    ///
    /// As [`Buddy::free`].
    #[inline]
    pub fn free(&self, pfn: Pfn, order: Order) -> Result<(), FrameError> {
        self.buddy.lock().free(pfn, order)
    }

    /// Whether `pfn`, in its bounds, is in a free block.
    pub fn is_free(&self, pfn: Pfn) -> bool {
        self.buddy.lock().is_free_frame(pfn)
    }

    /// Its allocator, locked.
    pub(super) fn lock(&self) -> SpinLockGuard<'_, Buddy<'t>> {
        self.buddy.lock()
    }

    /// Its figures.
    pub fn statistics(&self) -> ZoneStatistics {
        let buddy = self.buddy.lock();
        let by_type = MigrateType::ALL.map(|migrate| buddy.free_blocks(migrate));
        let mut free_blocks = [0; Order::COUNT];
        for (order, blocks) in free_blocks.iter_mut().enumerate() {
            *blocks = by_type.iter().map(|row| row[order]).sum();
        }
        ZoneStatistics {
            kind: self.kind,
            start: self.span.start,
            spanned_frames: super::frame::count(&self.span),
            managed_frames: buddy.managed_frames(),
            free_frames: buddy.free_frames(),
            cma_frames: buddy.cma_frames(),
            isolated_frames: buddy.isolated_frames(),
            peak_used_frames: buddy.managed_frames() - buddy.lowest_free_frames(),
            watermarks: Watermarks::of(buddy.managed_frames()),
            claimed_pageblocks: buddy.claimed_pageblocks(),
            free_blocks,
            free_blocks_by_type: by_type,
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

    #[test]
    fn the_reserve_is_for_those_in_need() {
        assert_eq!(Watermarks::of(8191), Watermarks::default());
        let marks = Watermarks::of(1 << 18);
        assert_eq!((marks.min, marks.low, marks.high), (512, 640, 768));
        assert_eq!(Watermarks::of(u32::MAX).min, 1024);
        for (gfp, reserve) in [
            (Gfp::KERNEL, 512),
            (Gfp::NOWAIT, 512),
            (Gfp::KERNEL | Gfp::HIGH, 256),
            (Gfp::ATOMIC, 128),
        ] {
            assert_eq!(marks.reserve_from(gfp), reserve);
        }
    }
}
