//! The page-frame allocator: three zones over one frame table, and the kernel's own instance.
//!
//! # Shape
//!
//! ```text
//! frames::alloc(order, gfp) ─► NORMAL ─► DMA32 ─► DMA          first zone that has a block
//!                                 └────────┴───────┴── zone lock ─ buddy ─┐
//! table   [16 bytes for every frame between the lowest and the highest] ◄─┘  shared, never locked
//!         [1 byte for every pageblock]
//! ```
//!
//! Everything works on instances, so that tests have their own memory. The kernel has one, made by
//! [`init`] once memblock knows all reservations, and reached by this module's functions.
//!
//! # Cost
//!
//! A buddy operation, and one lock that failed for each zone that had nothing. [`Gfp::ZERO`] adds
//! the time to clear the block, outside of any lock.
//!
//! # Locking
//!
//! At most one zone lock at a time; nothing else is taken while it is held.
#![allow(
    unsafe_code,
    reason = "makes the frame table out of raw memory and clears frames, by the caller's promise at set-up"
)]

use super::addr::{LinearMap, Order, Pfn, PhysAddr, VirtAddr};
use super::buddy::{Buddy, Violation};
use super::call_sites::{self, Call};
use super::compaction::{Compacted, Owners};
use super::failures::{Failures, Reason};
use super::fault_injection::FaultInjection;
use super::frame::{self, Frame, Table};
use super::gfp::Gfp;
use super::local::Locals;
use super::page_lists;
use super::pageblock::{self, MigrateType, Pageblock};
use super::path;
use super::reclaim::Reclaim;
use super::warnings::Warnings;
use super::zeroing;
use super::zone::{Watermarks, Zone, ZoneKind, ZoneLimits, ZoneStatistics};
use crate::sync::request::{self, Request};
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::AtomicU64;
use spin::Once;
use wire::path::Step;

pub use super::frame_error::FrameError;

/// The allocator of all page frames.
#[derive(Debug)]
pub struct Frames<'t> {
    linear: LinearMap,
    pub(super) table: Table<'t>,
    pub(super) locals: Locals,
    /// Raised when all contexts shall give back what they have listed.
    pub(super) drains: AtomicU64,
    zones: [Zone<'t>; ZoneKind::COUNT],
    /// For each class (the two lowest bits of flags) the zone where a search begins.
    first_zone: [u8; CLASSES],
    /// For each class the lowest with the same zone.
    homes: [u8; CLASSES],
    failures: Failures,
    warnings: Warnings,
    faults: FaultInjection,
    pub(super) reclaim: Reclaim<'t>,
    pub(super) owners: Owners<'t>,
}

impl<'t> Frames<'t> {
    /// An allocator without memory.
    ///
    /// # Safety
    ///
    /// Every frame that is [added](Self::add) is mapped writable by `linear` for as long as the
    /// value lives, and nobody uses it but those it is handed to.
    pub unsafe fn new(linear: LinearMap, table: Table<'t>, limits: &ZoneLimits) -> Self {
        let limits = limits.aligned();
        let all = table.span();
        let first_zone = [
            Gfp::empty(),
            Gfp::DMA,
            Gfp::DMA32,
            Gfp::DMA.union(Gfp::DMA32),
        ];
        let first_zone = first_zone.map(|gfp| {
            let highest = ZoneKind::highest_for(gfp) as u8;
            let has_frames =
                |zone: &u8| !limits.span(ZoneKind::ALL[*zone as usize], &all).is_empty();
            (0..=highest).rev().find(has_frames).unwrap_or(0)
        });
        let class_of = |kind: u8| {
            let class = (0_u8..).zip(first_zone).find(|(_, zone)| *zone == kind);
            class.map_or(0, |(class, _)| class)
        };
        Self {
            linear,
            table,
            locals: Locals::new(),
            drains: AtomicU64::new(0),
            zones: ZoneKind::ALL.map(|kind| Zone::new(kind, table, &limits, class_of(kind as u8))),
            first_zone,
            homes: first_zone.map(class_of),
            failures: Failures::new(),
            warnings: Warnings::new(),
            faults: FaultInjection::new(),
            reclaim: Reclaim::new(),
            owners: Owners::new(),
        }
    }

    /// Takes over the frames of `range`, which are in the table and were never given before.
    pub fn add(&self, range: Range<Pfn>) {
        self.give(range, Buddy::add);
    }

    /// Takes over whole pageblocks of which only movable frames are handed out, so that
    /// a contiguous range can be had of them.
    pub fn add_cma(&self, range: Range<Pfn>) {
        self.give(range, Buddy::add_cma);
    }

    fn give(&self, range: Range<Pfn>, how: fn(&mut Buddy<'t>, Range<Pfn>)) {
        let span = self.table.span();
        assert!(
            span.start <= range.start && range.end <= span.end,
            "frames {range:?} outside the frame table {span:?}"
        );
        for zone in &self.zones {
            zone.add(&range, how);
        }
    }

    /// Takes a block of `order` from the highest zone that `gfp` allows and that has one. Its content
    /// is garbage without [`Gfp::ZERO`].
    ///
    /// Where there is none, memory is [reclaimed](super::reclaim), if `gfp` says that the caller may wait.
    ///
    /// # Errors
    ///
    /// [`FrameError::OutOfMemory`], and [`FrameError::Impossible`] at once.
    pub fn alloc(&self, order: Order, gfp: Gfp) -> Result<Pfn, FrameError> {
        let block = if self.faults.strikes() {
            None
        } else {
            self.take(order, gfp)
        };
        block.ok_or_else(|| self.exhausted(order, gfp))
    }

    fn take(&self, order: Order, gfp: Gfp) -> Option<Pfn> {
        let listed = page_lists::take(self.locals.here(), order, gfp);
        if listed.is_some() && !gfp.contains(Gfp::ZERO) {
            return listed;
        }
        self.take_past_lists(listed, order, gfp)
    }

    /// Takes a block where the lists had none, or `listed`, which is to be zeroed.
    #[inline]
    fn take_past_lists(&self, listed: Option<Pfn>, order: Order, gfp: Gfp) -> Option<Pfn> {
        let pfn = match listed {
            Some(pfn) => pfn,
            None if order > page_lists::LARGEST => self.alloc_large(order, gfp)?,
            None => self.alloc_and_refill(order, gfp)?,
        };
        if gfp.contains(Gfp::ZERO) {
            self.clear(pfn, order);
        }
        Some(pfn)
    }

    /// Takes a block from the zone where a search begins, past the lists.
    #[inline]
    pub(super) fn alloc_from_zone(&self, order: Order, gfp: Gfp) -> Option<Pfn> {
        let zone = &self.zones[self.first_zone(gfp)];
        let block = zone.alloc_above_low(order, MigrateType::of_group(gfp.group()));
        block.or_else(|| self.alloc_slowly(order, gfp))
    }

    /// The zone of a pageblock of `class`.
    #[inline]
    pub(super) fn zone_of_class(&self, class: usize) -> &Zone<'t> {
        let zone = usize::from(self.first_zone[class % CLASSES]);
        &self.zones[zone.min(ZoneKind::COUNT - 1)]
    }

    /// The lowest class whose searches begin in the same zone as those of `class`.
    #[inline]
    pub(super) fn home_class(&self, class: usize) -> usize {
        usize::from(self.homes[class % CLASSES])
    }

    /// The class of a zone's lists.
    pub(super) fn home_of(&self, kind: ZoneKind) -> usize {
        let class = self.first_zone.iter().position(|&zone| zone == kind as u8);
        class.unwrap_or(CLASSES)
    }

    /// The index of the zone where a search for these flags begins, below [`ZoneKind::COUNT`].
    #[inline]
    fn first_zone(&self, gfp: Gfp) -> usize {
        usize::from(self.first_zone[gfp.group() % CLASSES]).min(ZoneKind::COUNT - 1)
    }

    /// Looks through all zones that `gfp` allows, at last as deep in their reserves as it goes.
    #[cold]
    #[inline(never)]
    pub(super) fn alloc_slowly(&self, order: Order, gfp: Gfp) -> Option<Pfn> {
        let migrate = MigrateType::of_group(gfp.group());
        let zones = || self.zones_for(gfp);
        zones()
            .find_map(|zone| zone.alloc_above_low(order, migrate))
            .or_else(|| self.alloc_in_need(order, gfp))
            .or_else(|| {
                self.drain_lists();
                self.alloc_in_need(order, gfp)
            })
            .or_else(|| self.alloc_by_reclaim(order, gfp))
    }

    /// Takes a block from the first zone that has one above what `gfp` leaves in reserve.
    pub(super) fn alloc_in_need(&self, order: Order, gfp: Gfp) -> Option<Pfn> {
        let mut zones = self.zones_for(gfp);
        zones.find_map(|zone| zone.alloc_in_need(order, gfp))
    }

    /// Takes a block even if nothing stays in reserve.
    pub(super) fn alloc_from_reserve(&self, order: Order, gfp: Gfp) -> Option<Pfn> {
        let migrate = MigrateType::of_group(gfp.group());
        let mut zones = self.zones_for(gfp);
        zones.find_map(|zone| zone.lock().alloc(order, migrate, 0))
    }

    /// Whether there is a block that such a request could have.
    pub(super) fn has_block(&self, order: Order, gfp: Gfp) -> bool {
        self.alloc_in_need(order, gfp).is_some_and(|block| {
            let freed = self.free_to_zone(block, order);
            debug_assert_eq!(freed, Ok(()), "it was just taken");
            true
        })
    }

    /// Whether such a request could succeed if everything was free.
    pub(super) fn is_possible(&self, order: Order, gfp: Gfp) -> bool {
        let mut zones = self.zones_for(gfp);
        zones.any(|zone| zone.lock().managed_frames() >= order.frames())
    }

    /// The zones that `gfp` allows, in the order in which they are searched.
    pub(super) fn zones_for(&self, gfp: Gfp) -> impl Iterator<Item = &Zone<'t>> {
        self.zones[..=self.first_zone(gfp)].iter().rev()
    }

    /// Counts a request that failed, and says so in the log.
    #[cold]
    #[inline(never)]
    fn exhausted(&self, order: Order, gfp: Gfp) -> FrameError {
        let (free_frames, reason) = (self.free_frames(), self.why_none(order, gfp));
        self.failures.note(order, gfp, free_frames, reason);
        if self.warnings.is_due(gfp) {
            crate::log::warn!(
                "no block of {=u32} frames with flags {=u32:#x}: {=u32} frames are free",
                order.frames(),
                gfp.bits(),
                free_frames
            );
        }
        match reason {
            Reason::Impossible => FrameError::Impossible {
                order,
                managed_frames: self.managed_frames(),
            },
            Reason::Fragmented | Reason::Exhausted => {
                FrameError::OutOfMemory { order, free_frames }
            }
        }
    }

    fn why_none(&self, order: Order, gfp: Gfp) -> Reason {
        if !self.is_possible(order, gfp) {
            return Reason::Impossible;
        }
        let has_enough = |zone: &Zone<'_>| {
            let buddy = zone.lock();
            let reserve = Watermarks::of(buddy.managed_frames()).reserve_from(gfp);
            buddy.free_frames() >= reserve + order.frames()
        };
        if self.zones_for(gfp).any(has_enough) {
            Reason::Fragmented
        } else {
            Reason::Exhausted
        }
    }

    /// Gives back a block with the order it was allocated with.
    ///
    /// # Errors
    ///
    /// The block was not allocated here like this, or is free; nothing was changed.
    pub fn free(&self, pfn: Pfn, order: Order) -> Result<(), FrameError> {
        if !cfg!(feature = "hardened") && page_lists::list(self.locals.here(), pfn, order) {
            return Ok(());
        }
        self.free_past_lists(pfn, order)
    }

    /// What `free` does with what it did not list.
    #[inline]
    fn free_past_lists(&self, pfn: Pfn, order: Order) -> Result<(), FrameError> {
        if order > page_lists::LARGEST {
            path::note(Step::Zone);
            self.free_to_zone(pfn, order)
        } else {
            self.free_and_drain(pfn, order)
        }
    }

    /// Gives a block back to its zone, past the lists.
    #[inline]
    pub(super) fn free_to_zone(&self, pfn: Pfn, order: Order) -> Result<(), FrameError> {
        let state = self.table.state(pfn).ok_or(FrameError::NotManaged(pfn))?;
        let zone = if state.is_touched() {
            self.zone_of_class(state.class())
        } else {
            self.zone_of(pfn).ok_or(FrameError::NotManaged(pfn))?
        };
        zone.free(pfn, order)
    }

    /// Makes one allocated block of `order` one of single frames, each to be freed on its own.
    ///
    /// The zone is locked for one store a frame, and 270 instructions for each pageblock whose entries were
    /// never needed: not for blocks of the largest orders where time matters.
    ///
    /// # Errors
    ///
    /// As for [`free`](Self::free).
    pub fn split_page(&self, pfn: Pfn, order: Order) -> Result<(), FrameError> {
        let zone = self.zone_of(pfn).ok_or(FrameError::NotManaged(pfn))?;
        zone.lock().split_page(pfn, order)
    }

    /// Whether `pfn` is in a free block, at this moment.
    pub fn is_free(&self, pfn: Pfn) -> bool {
        self.zone_of(pfn).is_some_and(|zone| zone.is_free(pfn)) || self.is_listed(pfn)
    }

    pub(super) fn zone_of(&self, pfn: Pfn) -> Option<&Zone<'t>> {
        self.zones.iter().find(|zone| zone.span().contains(&pfn))
    }

    fn clear(&self, pfn: Pfn, order: Order) {
        let start = self.linear.to_virt(pfn.address()).as_mut_ptr::<u8>();
        let start = NonNull::new(start).expect("the linear map is not at 0");
        #[expect(clippy::cast_possible_truncation, reason = "at most 4 MiB")]
        let bytes = order.bytes() as usize;
        // SAFETY: the block was taken from its zone just now, so it is ours alone, and by the promise
        // given to `new` the linear map has it writable.
        unsafe { zeroing::fill(start, bytes) };
    }

    /// Copies the content of a block to another one, of the same order; both are held by whoever moves the
    /// first, and nobody writes it.
    pub(super) fn copy(&self, from: Pfn, to: Pfn, order: Order) {
        let at = |pfn: Pfn| self.linear.to_virt(pfn.address()).as_mut_ptr::<u64>();
        #[expect(clippy::cast_possible_truncation, reason = "at most 4 MiB")]
        let words = order.bytes() as usize / size_of::<u64>();
        // SAFETY: both blocks are allocated, and so differ; by the promise given to `new` the linear map has
        // them. The owner of the first has taken it from everybody, and nobody knows the second yet.
        unsafe { at(from).copy_to_nonoverlapping(at(to), words) };
    }

    /// The linear map that its frames are reached by.
    pub const fn linear(&self) -> LinearMap {
        self.linear
    }

    /// What is known about each frame.
    pub const fn table(&self) -> &Table<'t> {
        &self.table
    }

    /// The entry of the frame that `address`, in the linear map, lies in; `None` if it has none, or
    /// none that is valid.
    #[inline]
    pub fn frame_at(&self, address: VirtAddr) -> Option<&'t Frame> {
        let pfn = self.linear.to_phys(address).get() >> super::addr::PAGE_SHIFT;
        self.table.find(Pfn::new(u32::try_from(pfn).ok()?))
    }

    /// Frames that are free, in all zones and on all lists.
    pub fn free_frames(&self) -> u32 {
        let in_zones: u32 = self.zones().map(|zone| zone.free_frames).sum();
        in_zones + self.listed_frames()
    }

    /// Frames that were ever given to it, in all zones.
    pub fn managed_frames(&self) -> u32 {
        self.zones().map(|zone| zone.managed_frames).sum()
    }

    /// Requests that failed.
    pub const fn failures(&self) -> &Failures {
        &self.failures
    }

    /// Figures zone by zone, lowest first.
    pub fn zones(&self) -> impl Iterator<Item = ZoneStatistics> + use<'_, 't> {
        self.zones.iter().map(Zone::statistics)
    }

    /// What makes chosen requests fail, in tests.
    pub const fn faults(&self) -> &FaultInjection {
        &self.faults
    }

    /// Checks every zone's invariants.
    ///
    /// # Errors
    ///
    /// The first one found broken.
    pub fn validate(&self) -> Result<(), Violation> {
        self.zones.iter().try_for_each(Zone::validate)
    }
}

/// Classes of flags, by zone.
pub(super) const CLASSES: usize = 4;

/// What a table for the frames of `memory` covers: whole blocks of the largest order.
fn table_span(memory: &Range<Pfn>) -> Range<Pfn> {
    let largest = Order::MAX.frames();
    let end = memory.end.get().checked_next_multiple_of(largest);
    let end = end.unwrap_or(!(largest - 1));
    Pfn::new(memory.start.get() & !(largest - 1))..Pfn::new(end)
}

/// Bytes of a frame table for `memory`, pageblocks included.
pub fn table_bytes(memory: &Range<Pfn>) -> u64 {
    let frames = u64::from(frame::count(&table_span(memory)));
    let pageblocks = frames / u64::from(pageblock::FRAMES);
    frames * size_of::<Frame>() as u64 + pageblocks * size_of::<Pageblock>() as u64
}

/// Makes a frame table for `memory` at `place`, whatever that holds. Only the pageblocks' bytes are
/// written: one for 2 MiB.
///
/// # Safety
///
/// [`table_bytes`] from `place` on, aligned to 4,096, are writable and belong to the table for ever.
pub unsafe fn make_table(place: VirtAddr, memory: &Range<Pfn>) -> Table<'static> {
    let span = table_span(memory);
    let frames = frame::count(&span) as usize;
    let entries = place.as_mut_ptr::<Frame>();
    let pageblocks = entries.wrapping_add(frames).cast::<Pageblock>();
    let count = frames / pageblock::FRAMES as usize;
    // SAFETY: the caller promises that the memory is there and ours.
    unsafe { pageblocks.write_bytes(0, count) };
    // SAFETY: as above; whatever they hold is a value of their atomics, and nothing else refers to them.
    let entries = unsafe { core::slice::from_raw_parts(entries, frames) };
    // SAFETY: as above; zeroes are pageblocks that nobody touched.
    let pageblocks = unsafe { core::slice::from_raw_parts(pageblocks, count) };
    Table::new(entries, pageblocks, span.start)
}

static FRAMES: Once<Frames<'static>> = Once::new();

/// Sets up the kernel's allocator: `table` describes all memory, and `free` are the
/// ranges of memory that nobody uses ([`Memblock::free_ranges`](super::memblock::Memblock)); partial
/// frames at their edges are left out. Panics when called twice.
///
/// # Safety
///
/// As [`Frames::new`], for ever.
pub unsafe fn init(
    linear: LinearMap,
    table: Table<'static>,
    limits: &ZoneLimits,
    free: impl Iterator<Item = Range<PhysAddr>>,
) -> &'static Frames<'static> {
    assert!(
        !FRAMES.is_completed(),
        "the frame allocator is set up already"
    );
    // SAFETY: the caller promises the same.
    let frames = FRAMES.call_once(|| unsafe { Frames::new(linear, table, limits) });
    request::handle(Request::DrainFrames, |irq| {
        if let Some(frames) = global() {
            frames.drain_this_core(irq);
        }
    });
    for range in free {
        frames.add(super::addr::frames_within(&range));
    }
    frames
}

/// The kernel's allocator; `None` before [`init`].
pub fn global() -> Option<&'static Frames<'static>> {
    FRAMES.get()
}

/// Takes a block of `order` from the kernel's memory; see [`Frames::alloc`].
///
/// # Errors
///
/// [`FrameError::OutOfMemory`], [`FrameError::Impossible`], [`FrameError::NotReady`].
#[inline(always)]
#[cfg_attr(feature = "call-sites", track_caller)]
pub fn alloc(order: Order, gfp: Gfp) -> Result<Pfn, FrameError> {
    // What this context has listed needs nothing else: its lists know where the table is.
    #[cfg(all(target_os = "none", not(feature = "fault-injection")))]
    if !gfp.contains(Gfp::ZERO)
        && let Some(pfn) = page_lists::take(crate::arch::cpu::local(), order, gfp)
    {
        call_sites::allocated(Call::Frames, pfn.address().get(), order.bytes());
        return Ok(pfn);
    }
    let block = alloc_slowly(order, gfp);
    let block = block.ok_or_else(|| why_none(order, gfp))?;
    call_sites::allocated(Call::Frames, block.address().get(), order.bytes());
    Ok(block)
}

#[cold]
#[inline(never)]
fn alloc_slowly(order: Order, gfp: Gfp) -> Option<Pfn> {
    let frames = global()?;
    if cfg!(feature = "fault-injection") {
        return (!frames.faults.strikes()).then(|| frames.take(order, gfp))?;
    }
    if gfp.contains(Gfp::ZERO) {
        return frames.take(order, gfp);
    }
    frames.take_past_lists(None, order, gfp)
}

/// Counts a request that failed, and says why. Apart from what failed, so that a block that was had is not
/// packed into a result.
#[cold]
#[inline(never)]
fn why_none(order: Order, gfp: Gfp) -> FrameError {
    match global() {
        Some(frames) => frames.exhausted(order, gfp),
        None => FrameError::NotReady,
    }
}

/// Gives a block back to the kernel's memory; see [`Frames::free`].
///
/// # Errors
///
/// The block was not allocated like this, or is free.
#[inline]
pub fn free(pfn: Pfn, order: Order) -> Result<(), FrameError> {
    call_sites::freed(pfn.address().get());
    #[cfg(target_os = "none")]
    if !cfg!(feature = "hardened") && page_lists::list(crate::arch::cpu::local(), pfn, order) {
        return Ok(());
    }
    free_slowly(pfn, order)
}

#[cold]
#[inline(never)]
fn free_slowly(pfn: Pfn, order: Order) -> Result<(), FrameError> {
    let frames = global().ok_or(FrameError::NotReady)?;
    frames.free_past_lists(pfn, order)
}

/// Compacts the kernel's memory; see [`Frames::compact`].
///
/// # Errors
///
/// [`FrameError::NotReady`].
pub fn compact(order: Order) -> Result<Compacted, FrameError> {
    Ok(global().ok_or(FrameError::NotReady)?.compact(order))
}

/// Gives the kernel's allocator memory that boot no longer needs; partial frames are left out.
///
/// # Errors
///
/// [`FrameError::NotReady`].
pub fn add(range: &Range<PhysAddr>) -> Result<(), FrameError> {
    let frames = global().ok_or(FrameError::NotReady)?;
    frames.add(super::addr::frames_within(range));
    Ok(())
}

#[cfg(test)]
pub(in crate::mm) mod tests;
