//! Contiguous memory beyond the largest block: exact ranges of frames.
//!
//! # Shape
//!
//! ```text
//! isolate every pageblock of the range ─► move what can be moved ─► is it free? ─► take it ─► rejoin
//!        nobody is given frames there                   │                             ▲
//!                                                       └─ no: a frame in use ────────┘
//! ```
//!
//! Isolation keeps new owners out while the range is looked at; whatever happens, every pageblock is for
//! whom it was when the call returns. Movable blocks that were moved away stay where they then are.
//!
//! # Cost
//!
//! In proportion to the range: some ten instructions for each entry of its pageblocks that are in use, and
//! for each pageblock that is not. [`alloc_contig`](Frames::alloc_contig) looks at the zone's pageblocks
//! besides, from its start until enough are found. Zone locks are held for one pageblock at a time.
//!
//! # Locking
//!
//! A zone's lock, time and again. Refused with interrupts masked: it takes long.

use super::addr::{Order, Pfn};
use super::frame::{self, Kind};
use super::frame_error::FrameError;
use super::frames::Frames;
use super::gfp::Gfp;
use super::pageblock;
use super::zone::{Watermarks, Zone};
use crate::sync::irq;
use core::{fmt, ops::Range};

/// Why a range was not taken. Nothing was changed, but where movable blocks are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContigError {
    /// Interrupts are masked here, and the work would take too long: do it elsewhere.
    WouldSleep,
    /// The range is empty, or not inside one zone.
    NotInZone(Range<Pfn>),
    /// The alignment is not a power of two.
    Alignment(u32),
    /// This frame is in use, or no memory, or somebody else is taking its pageblock.
    Busy(Pfn),
    /// No zone that the flags allow has so many frames in a row, or could spare them.
    OutOfMemory {
        /// What was asked for, in frames.
        frames: u32,
        /// Frames that are free, in all zones.
        free_frames: u32,
    },
}

impl fmt::Display for ContigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldSleep => write!(f, "a contiguous range with interrupts masked"),
            Self::NotInZone(range) => {
                write!(f, "no zone has {:#x}..{:#x}", range.start, range.end)
            }
            Self::Alignment(frames) => write!(f, "an alignment of {frames} frames"),
            Self::Busy(pfn) => write!(f, "frame {pfn:#x} of the range is in use"),
            Self::OutOfMemory {
                frames,
                free_frames,
            } => write!(
                f,
                "no {frames} frames in a row; {free_frames} frames are free"
            ),
        }
    }
}

impl core::error::Error for ContigError {}

impl Frames<'_> {
    /// Takes exactly `range`, inside one zone, whatever its length and alignment. Its content is garbage.
    ///
    /// # Errors
    ///
    /// All of [`ContigError`] but the alignment.
    pub fn alloc_contig_range(&self, range: Range<Pfn>) -> Result<(), ContigError> {
        if irq::is_masked() {
            return Err(ContigError::WouldSleep);
        }
        let zone = self.zone_of(range.start).filter(|zone| {
            let last = range.end.get().checked_sub(1).map(Pfn::new);
            range.start < range.end && last.is_some_and(|last| zone.span().contains(&last))
        });
        let zone = zone.ok_or(ContigError::NotInZone(range.clone()))?;
        let frames = frame::count(&range);
        if self.check_spare(zone, frames).is_err() {
            self.drain_lists();
            self.wait_for_drains();
            self.check_spare(zone, frames)?;
        }
        let isolated = isolate(zone, &range);
        self.drain_lists();
        self.wait_for_drains();
        let taken = match &isolated {
            all if all.end >= range.end => self.take_contig(zone, &range),
            part => Err(ContigError::Busy(part.end.max(range.start))),
        };
        for pageblock in pageblocks(&isolated) {
            zone.lock().rejoin(pageblock);
        }
        taken
    }

    /// Takes `frames` frames in a row that start at a multiple of `align_frames`, a power of two, from the
    /// highest zone that `gfp` allows and that has them. Their content is garbage.
    ///
    /// # Errors
    ///
    /// [`ContigError::OutOfMemory`], [`ContigError::WouldSleep`] and [`ContigError::Alignment`].
    pub fn alloc_contig(
        &self,
        frames: u32,
        align_frames: u32,
        gfp: Gfp,
    ) -> Result<Pfn, ContigError> {
        if irq::is_masked() {
            return Err(ContigError::WouldSleep);
        }
        if !align_frames.is_power_of_two() {
            return Err(ContigError::Alignment(align_frames));
        }
        self.drain_lists();
        self.wait_for_drains();
        let mut zones = self.zones_for(gfp);
        let found = zones.find_map(|zone| self.find_in(zone, frames, align_frames));
        found.ok_or_else(|| self.too_few(frames))
    }

    /// Gives back a range that was [taken](Self::alloc_contig), or any frames of allocated blocks that
    /// make it up.
    ///
    /// # Errors
    ///
    /// As [`free`](Self::free), for the first block that cannot be freed; those before it are.
    pub fn free_contig(&self, range: Range<Pfn>) -> Result<(), FrameError> {
        let mut pfn = range.start;
        while pfn < range.end {
            let entry = self.table().find(pfn);
            let order = entry.map_or(Order::ZERO, |entry| entry.order());
            self.free_to_zone(pfn, order)?;
            pfn = pfn.offset(order.frames());
        }
        Ok(())
    }

    /// Takes `range`, whose pageblocks are isolated, if all of it is free or can be made so.
    fn take_contig(&self, zone: &Zone<'_>, range: &Range<Pfn>) -> Result<(), ContigError> {
        for mut part in parts(range, pageblock::ORDER) {
            loop {
                // Nothing may be locked while an owner moves a block.
                let used = zone.lock().first_used(&part);
                let Some(used) = used else { break };
                self.move_away(used).ok_or(ContigError::Busy(used))?;
                // What is free there stays free.
                part.start = used;
            }
        }
        for part in parts(range, Order::MAX) {
            zone.lock().take_range(part);
        }
        Ok(())
    }

    /// Moves the block that starts at `pfn` out of its pageblock, which is isolated, if it can be moved.
    fn move_away(&self, pfn: Pfn) -> Option<()> {
        let entry = self.table().find(pfn)?;
        let order = entry.order();
        let take = |order| self.alloc_in_need(order, Gfp::MOVABLE);
        let is_movable = entry.is_head(Kind::Movable, order);
        is_movable.then(|| self.relocate(pfn, order, take).ok())?
    }

    /// Tries one place after another.
    fn find_in(&self, zone: &Zone<'_>, frames: u32, align_frames: u32) -> Option<Pfn> {
        self.check_spare(zone, frames).ok()?;
        let span = zone.span();
        let mut at = aligned(span.start, align_frames)?;
        loop {
            let end = at.get().checked_add(frames).map(Pfn::new)?;
            if frames == 0 || end > span.end {
                return None;
            }
            let obstacle = match first_obstacle(zone, &(at..end)) {
                Some(obstacle) => obstacle,
                None => match self.alloc_contig_range(at..end) {
                    Ok(()) => return Some(at),
                    Err(ContigError::Busy(obstacle)) => obstacle,
                    Err(_) => return None,
                },
            };
            at = aligned(obstacle.offset(1), align_frames)?;
        }
    }

    /// Refuses what would go into the zone's reserve.
    fn check_spare(&self, zone: &Zone<'_>, frames: u32) -> Result<(), ContigError> {
        let (free, min) = {
            let buddy = zone.lock();
            let min = Watermarks::of(buddy.managed_frames()).min;
            (buddy.free_frames(), min)
        };
        if u64::from(free) >= u64::from(frames) + u64::from(min) {
            Ok(())
        } else {
            Err(self.too_few(frames))
        }
    }

    #[cold]
    fn too_few(&self, frames: u32) -> ContigError {
        ContigError::OutOfMemory {
            frames,
            free_frames: self.free_frames(),
        }
    }
}

/// The first multiple of `align_frames` from `pfn` on.
fn aligned(pfn: Pfn, align_frames: u32) -> Option<Pfn> {
    let mask = align_frames - 1;
    Some(Pfn::new(pfn.get().checked_add(mask)? & !mask))
}

/// The starts of the pageblocks that `range` touches.
fn pageblocks(range: &Range<Pfn>) -> impl Iterator<Item = Pfn> + use<> {
    let start = range.start.get() & !(pageblock::FRAMES - 1);
    (start..range.end.get())
        .step_by(pageblock::FRAMES as usize)
        .map(Pfn::new)
}

/// Isolates the pageblocks that `range` touches until one cannot be; returns those that were.
fn isolate(zone: &Zone<'_>, range: &Range<Pfn>) -> Range<Pfn> {
    let mut all = pageblocks(range).peekable();
    let start = all.peek().copied().unwrap_or(range.start);
    let isolated = all.take_while(|&pageblock| zone.lock().isolate(pageblock));
    let last = isolated.last();
    start..last.map_or(start, |last| last.offset(pageblock::FRAMES))
}

/// The first frame of `range` that is in use and cannot be moved, at this moment: for a first look, with
/// nothing isolated.
fn first_obstacle(zone: &Zone<'_>, range: &Range<Pfn>) -> Option<Pfn> {
    parts(range, pageblock::ORDER).find_map(|part| zone.lock().first_unmovable(&part))
}

/// The parts of `range` that lie in blocks of `order`, one by one.
fn parts(range: &Range<Pfn>, order: Order) -> impl Iterator<Item = Range<Pfn>> + use<> {
    let (mut at, end) = (range.start, range.end);
    core::iter::from_fn(move || {
        let block_end = Pfn::new((at.get() | (order.frames() - 1)) + 1);
        (at < end).then(|| core::mem::replace(&mut at, block_end.min(end))..block_end.min(end))
    })
}

#[cfg(test)]
mod tests;
