//! Memory that is contiguous to the kernel and scattered physically: vmalloc.
//!
//! An area of [`VMALLOC`](super::layout::VMALLOC) is reserved, its pages are filled with the largest blocks
//! of frames that there are, and a guard page stays unmapped behind it. From 64 KiB on, entries are joined
//! by the contiguous hint; from 2 MiB on, they are blocks.
//!
//! # Freeing is lazy
//!
//! ```text
//! vfree ─► detach ─► lazy batch ── full: one flush of all TLBs ─► flushed batch ─► frames and addresses
//!             │      32 areas or 2 MiB                             two areas a call      are free again
//!             └─ more than 16 blocks: flushed at once, alone
//! ```
//!
//! # Invariants
//!
//! 1. An area's frames and addresses are given back only after a flush that came after its detachment.
//! 2. An area that was detached is in one batch, or in the hands of one caller.
//! 3. A call gives back its own area, and two of other callers with 16 blocks each at most.
//!
//! # Cost
//!
//! By `cargo xtask bench --filter vmalloc`. Finding addresses and the area that is freed take constant time;
//! mapping and unmapping a store for each page, in runs; a flush is paid by one call in 32.
//!
//! # Locking
//!
//! The areas' lock is held for the bookkeeping alone, and for the flush of a full batch: a constant number
//! of steps. Tables are changed without it, and without their own lock as long as no table is missing
//! (see `kernel_space`). Nothing here may be called with interrupts masked: filling an area takes long.

mod batch;
#[cfg(target_os = "none")]
mod kernel;
#[cfg(test)]
mod tests;

#[cfg(target_os = "none")]
pub use kernel::{area_at, find, init, next, purge, vfree, vmalloc, vmap, vunmap};
#[cfg(target_os = "none")]
pub(super) use kernel::{vfree_movable, vmalloc_movable};

use super::{
    area::{Area, AreaError, AreaSpace, SpaceKey},
    descriptor::Attributes,
    table::{Held, MapError},
};
use crate::{
    mm::addr::{PAGE_BYTES, Pfn, VirtAddr},
    mm::path,
    sync::{Rank, SpinLock, SpinLockGuard},
};
use batch::{Batches, Lazy};
use core::{error, fmt, ops::Range};
use wire::path::Step;

/// Why there is no area. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmallocError {
    /// Interrupts are masked here, and the work would take too long: do it elsewhere.
    WouldSleep,
    /// No area: none was asked for, or the addresses or the memory to note it ran out.
    Area(AreaError),
    /// The pages or the tables for so many bytes ran out at the address.
    Map {
        /// What was asked for, in bytes.
        bytes: u64,
        /// What ran out, and where.
        error: MapError,
    },
}

impl fmt::Display for VmallocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldSleep => write!(f, "vmalloc with interrupts masked"),
            Self::Area(error) => write!(f, "vmalloc: {error}"),
            Self::Map { bytes, error } => write!(f, "vmalloc of {bytes} bytes: {error}"),
        }
    }
}

impl error::Error for VmallocError {}

impl From<AreaError> for VmallocError {
    fn from(error: AreaError) -> Self {
        Self::Area(error)
    }
}

/// Why memory was not freed: each of these is a bug of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VfreeError {
    /// No area starts at the address.
    NotAnArea(VirtAddr),
    /// Somebody else is freeing the area.
    BeingFreed(VirtAddr),
}

impl fmt::Display for VfreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnArea(at) => {
                write!(f, "vfree of {at:#x}: invalid free, no area starts there")
            }
            Self::BeingFreed(at) => write!(f, "vfree of {at:#x}: double free"),
        }
    }
}

impl error::Error for VfreeError {}

/// What an area is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its memory and its addresses are on their way back: they are nobody's.
    Changing,
    /// In use.
    Live,
    /// In use, and its frames may be moved.
    Movable,
    /// In use, for frames that are somebody else's.
    Mapped,
}

impl State {
    /// What a report says of an area in it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Changing => "vmalloc, changing",
            Self::Live => "vmalloc",
            Self::Movable => "vmalloc, movable",
            Self::Mapped => "vmap",
        }
    }
}

/// Fills and empties areas: the kernel's page tables, or a model of them in tests.
pub trait Backing {
    /// Maps `range` to memory of its own; maps nothing when it fails.
    fn fill(&self, range: Range<VirtAddr>) -> Result<(), MapError>;
    /// Maps `range` to single frames that may be moved; maps nothing when it fails.
    fn fill_movable(&self, range: Range<VirtAddr>) -> Result<(), MapError>;
    /// Has the frames of `range`, which may be moved, stay where they are.
    fn disown(&self, range: Range<VirtAddr>);
    /// Maps `range` to these frames, one a page; maps nothing when it fails.
    fn map(
        &self,
        range: Range<VirtAddr>,
        frames: &[Pfn],
        attributes: Attributes,
    ) -> Result<(), MapError>;
    /// Unmaps `range`, whose frames are others'; the TLBs still hold it.
    fn clear(&self, range: Range<VirtAddr>);
    /// Unmaps `range`; the TLBs still hold it.
    fn detach(&self, range: Range<VirtAddr>) -> Held;
    /// No TLB holds anything any more that was detached before.
    fn flush(&self);
    /// Gives back the memory of `range`, which was detached and then flushed.
    fn release(&self, range: Range<VirtAddr>, held: Held);
    /// Gives back a block which is all that an area held, that was detached and then flushed.
    fn free(&self, block: Pfn);
}

/// What [`Vmalloc::purge`] gave back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Areas.
    pub areas: usize,
    /// Their pages.
    pub pages: u32,
}

/// Most blocks of an area that waits for a flush together with others.
const MOST_LAZY_BLOCKS: u32 = 16;

#[derive(Debug)]
struct Areas {
    space: AreaSpace<State>,
    batches: Batches,
}

/// Gives out areas of scattered memory.
#[derive(Debug)]
pub struct Vmalloc<B> {
    areas: SpinLock<Areas>,
    backing: B,
}

impl<B: Backing> Vmalloc<B> {
    /// No areas yet, and all of `bounds` to put them in.
    pub const fn new(bounds: Range<VirtAddr>, backing: B) -> Self {
        Self {
            areas: SpinLock::new(
                Rank::Areas,
                Areas {
                    space: AreaSpace::new(bounds),
                    batches: Batches::new(),
                },
            ),
            backing,
        }
    }

    /// Reserves and fills an area of `bytes`, rounded up to whole pages, and returns its start. When
    /// memory or addresses run out, what waits to be given back is, and all is tried once more.
    pub fn allocate(&self, bytes: u64) -> Result<VirtAddr, VmallocError> {
        self.allocate_as(bytes, State::Live)
    }

    /// As [`allocate`](Self::allocate), of frames that may be moved.
    pub fn allocate_movable(&self, bytes: u64) -> Result<VirtAddr, VmallocError> {
        self.allocate_as(bytes, State::Movable)
    }

    #[inline(always)]
    fn allocate_as(&self, bytes: u64, state: State) -> Result<VirtAddr, VmallocError> {
        self.try_allocate(bytes, state).or_else(|error| {
            if self.purge().areas > 0 {
                self.try_allocate(bytes, state)
            } else {
                Err(error)
            }
        })
    }

    #[inline]
    fn try_allocate(&self, bytes: u64, state: State) -> Result<VirtAddr, VmallocError> {
        let start = self.areas.lock().space.reserve(bytes, state)?;
        let end = start.offset(bytes.next_multiple_of(PAGE_BYTES));
        let filled = match state {
            State::Movable => self.backing.fill_movable(start..end),
            _ => self.backing.fill(start..end),
        };
        if let Err(error) = filled {
            self.areas.lock().space.remove(start);
            return Err(VmallocError::Map { bytes, error });
        }
        Ok(start)
    }

    /// Takes the area at `start` away. Its memory and addresses are given back when no TLB holds them.
    pub fn free(&self, start: VirtAddr) -> Result<(), VfreeError> {
        self.free_as(start, State::Live)
    }

    /// As [`free`](Self::free), for an area whose frames may be moved.
    pub fn free_movable(&self, start: VirtAddr) -> Result<(), VfreeError> {
        self.free_as(start, State::Movable)
    }

    #[inline(always)]
    fn free_as(&self, start: VirtAddr, state: State) -> Result<(), VfreeError> {
        let (key, pages) = self.claim(start, state)?;
        let end = start.offset(PAGE_BYTES * u64::from(pages));
        if state == State::Movable {
            self.backing.disown(start..end);
        }
        let held = self.backing.detach(start..end);
        let lazy = Lazy {
            key,
            start,
            pages,
            held,
        };
        if matches!(held, Held::Blocks(blocks) if blocks > MOST_LAZY_BLOCKS) {
            path::note(Step::VmallocFlush);
            self.backing.flush();
            self.give_back(&lazy);
            return Ok(());
        }
        let [first, second] = self.wait_for_flush(lazy);
        self.finish(first);
        self.finish(second);
        Ok(())
    }

    /// Adds an area to those that wait for a flush, which comes if it is due. Returns what two areas held
    /// that had theirs; the addresses of those that were one block are free again.
    #[inline]
    fn wait_for_flush(&self, lazy: Lazy) -> [Due; 2] {
        let mut areas = self.areas.lock();
        while !areas.batches.has_room() {
            areas = self.make_room(areas);
        }
        let Areas { space, batches } = &mut *areas;
        batches.add(lazy);
        if !batches.has_room() && !batches.has_due() {
            self.flush(batches);
        }
        let mut next = || match batches.next_due() {
            None => Due::Nothing,
            Some(lazy) => match lazy.held {
                Held::Block(block) => {
                    space.release(lazy.key);
                    Due::Block(block)
                }
                Held::Blocks(_) => Due::Area(lazy),
            },
        };
        [next(), next()]
    }

    /// Makes room among the areas that wait. Some that were flushed are left only if several cores free at
    /// once.
    #[cold]
    #[inline(never)]
    fn make_room<'a>(&'a self, mut areas: SpinLockGuard<'a, Areas>) -> SpinLockGuard<'a, Areas> {
        match areas.batches.next_due() {
            Some(lazy) => {
                drop(areas);
                self.give_back(&lazy);
                self.areas.lock()
            }
            None => {
                self.flush(&mut areas.batches);
                areas
            }
        }
    }

    /// Flushes what waits for it; nothing may be left of what was flushed before.
    #[cold]
    #[inline(never)]
    fn flush(&self, batches: &mut Batches) {
        path::note(Step::VmallocFlush);
        self.backing.flush();
        batches.turn();
    }

    /// Reserves an area and maps it to these frames.
    pub fn map(&self, frames: &[Pfn], attributes: Attributes) -> Result<VirtAddr, VmallocError> {
        let bytes = PAGE_BYTES * frames.len() as u64;
        let reserve = || self.areas.lock().space.reserve(bytes, State::Mapped);
        let start = match reserve() {
            Err(AreaError::NoSpace(_)) if self.purge().areas > 0 => reserve(),
            result => result,
        }?;
        let range = start..start.offset(bytes);
        if let Err(error) = self.backing.map(range, frames, attributes) {
            self.areas.lock().space.remove(start);
            return Err(VmallocError::Map { bytes, error });
        }
        Ok(start)
    }

    /// Unmaps the area at `start`, which [`map`](Self::map) made. Nobody can reach its frames by it when this
    /// returns: their owner may give them away at once, so this flush does not wait for others.
    pub fn unmap(&self, start: VirtAddr) -> Result<(), VfreeError> {
        let (key, pages) = self.claim(start, State::Mapped)?;
        let end = start.offset(PAGE_BYTES * u64::from(pages));
        self.backing.clear(start..end);
        self.backing.flush();
        self.areas.lock().space.release(key);
        Ok(())
    }

    /// Gives back all that waits for it, and returns how much that was.
    pub fn purge(&self) -> Purged {
        let mut purged = Purged::default();
        loop {
            let (mut due, mut count) = ([const { None }; 8], 0);
            {
                let mut areas = self.areas.lock();
                if !areas.batches.has_due() && areas.batches.is_waiting() {
                    self.flush(&mut areas.batches);
                }
                for slot in &mut due {
                    *slot = areas.batches.next_due();
                    count += usize::from(slot.is_some());
                }
            }
            if count == 0 {
                return purged;
            }
            for lazy in due.into_iter().flatten() {
                self.give_back(&lazy);
                purged.areas += 1;
                purged.pages += lazy.pages;
            }
        }
    }

    /// Pages of areas that were freed and wait to be given back.
    pub fn waiting_pages(&self) -> u32 {
        self.areas.lock().batches.pages()
    }

    /// The first area at `address` or above, for reports.
    pub fn next(&self, address: VirtAddr) -> Option<Area<State>> {
        self.areas.lock().space.next(address)
    }

    /// The area that `address` lies in, or whose guard page it does.
    pub fn find(&self, address: VirtAddr) -> Option<Area<State>> {
        self.areas.lock().space.find(address)
    }

    /// As [`find`](Self::find), for fault handlers, so `None` also
    /// while somebody holds the areas.
    pub fn try_find(&self, address: VirtAddr) -> Option<Area<State>> {
        self.areas.try_lock()?.space.find(address)
    }

    /// Makes the area at `start` the caller's alone, to be freed.
    #[inline]
    fn claim(&self, start: VirtAddr, expected: State) -> Result<(SpaceKey, u32), VfreeError> {
        let space = &mut self.areas.lock().space;
        let key = space.lookup(start).ok_or(VfreeError::NotAnArea(start))?;
        let (pages, state) = space.value_mut(key);
        if *state == State::Changing {
            return Err(VfreeError::BeingFreed(start));
        }
        if *state != expected {
            return Err(VfreeError::NotAnArea(start));
        }
        *state = State::Changing;
        Ok((key, pages))
    }

    /// Gives back a flushed area's memory, then its addresses: its tables still name its blocks.
    #[cold]
    #[inline(never)]
    fn give_back(&self, lazy: &Lazy) {
        self.backing.release(lazy.range(), lazy.held);
        self.areas.lock().space.release(lazy.key);
    }

    #[inline]
    fn finish(&self, due: Due) {
        match due {
            Due::Nothing => {}
            Due::Block(block) => self.backing.free(block),
            Due::Area(lazy) => self.give_back(&lazy),
        }
    }
}

/// What a call gives back of an earlier one's.
enum Due {
    Nothing,
    Block(Pfn),
    Area(Lazy),
}
