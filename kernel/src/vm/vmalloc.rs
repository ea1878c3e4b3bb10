//! Memory that is contiguous to the kernel and scattered physically: vmalloc.
//!
//! An area of [`VMALLOC`](super::layout::VMALLOC) is reserved, its pages are filled with whatever blocks
//! of frames there are, and a guard page stays unmapped behind it. Freeing flushes the TLBs once and then gives the frames
//! back; the addresses are reused only after that.
//!
//! All of this takes long: with interrupts masked it is refused, never attempted.
//!
//! Locking: the areas' lock and the page tables' lock are taken one after the other, never together.

#[cfg(target_os = "none")]
mod kernel;

#[cfg(target_os = "none")]
pub use kernel::{area_at, next, vfree, vmalloc};

use super::{
    area::{Area, AreaError, AreaSet},
    table::MapError,
};
use crate::{
    mm::addr::{PAGE_BYTES, VirtAddr},
    sync::SpinLock,
};
use core::{error, fmt, ops::Range};

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
    /// Being filled with pages, or emptied: its addresses are nobody's.
    Changing,
    /// In use.
    Live,
}

impl State {
    /// What a report says of an area in it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Changing => "vmalloc, changing",
            Self::Live => "vmalloc",
        }
    }
}

/// Fills and empties areas: the kernel's page tables, or a model of them in tests.
pub trait Backing {
    /// Maps each page of `range` to a frame of its own; maps nothing when it fails.
    fn fill(&self, range: Range<VirtAddr>) -> Result<(), MapError>;
    /// Unmaps `range` and gives its frames back.
    fn empty(&self, range: Range<VirtAddr>);
}

/// Gives out areas of scattered memory.
#[derive(Debug)]
pub struct Vmalloc<B> {
    areas: SpinLock<AreaSet<State>>,
    backing: B,
}

impl<B: Backing> Vmalloc<B> {
    /// No areas yet, and all of `bounds` to put them in.
    pub const fn new(bounds: Range<VirtAddr>, backing: B) -> Self {
        Self {
            areas: SpinLock::new(AreaSet::new(bounds)),
            backing,
        }
    }

    /// Reserves and fills an area of `bytes`, rounded up to whole pages, and returns its start.
    pub fn allocate(&self, bytes: u64) -> Result<VirtAddr, VmallocError> {
        let start = self
            .areas
            .lock()
            .reserve(bytes, PAGE_BYTES, State::Changing)?;
        let end = start.offset(bytes.next_multiple_of(PAGE_BYTES));
        if let Err(error) = self.backing.fill(start..end) {
            self.areas.lock().remove(start);
            return Err(VmallocError::Map { bytes, error });
        }
        self.set(start, State::Live);
        Ok(start)
    }

    /// Empties the area at `start` and forgets it.
    pub fn free(&self, start: VirtAddr) -> Result<(), VfreeError> {
        let range = {
            let mut areas = self.areas.lock();
            let area = areas.at_mut(start).ok_or(VfreeError::NotAnArea(start))?;
            if area.value == State::Changing {
                return Err(VfreeError::BeingFreed(start));
            }
            area.value = State::Changing;
            area.range()
        };
        self.backing.empty(range);
        self.areas.lock().remove(start);
        Ok(())
    }

    /// The first area at `address` or above, for reports.
    pub fn next(&self, address: VirtAddr) -> Option<Area<State>> {
        self.areas.lock().next(address).cloned()
    }

    /// The area that `address` lies in, or whose guard page it does; for fault handlers, so `None` also
    /// while somebody holds the areas.
    pub fn try_find(&self, address: VirtAddr) -> Option<Area<State>> {
        self.areas.try_lock()?.find(address).cloned()
    }

    fn set(&self, start: VirtAddr, state: State) {
        if let Some(area) = self.areas.lock().at_mut(start) {
            area.value = state;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::RefCell, collections::BTreeSet, vec::Vec};

    /// Pages that are filled, at most `limit` of them.
    struct Pages {
        filled: RefCell<BTreeSet<u64>>,
        limit: usize,
    }

    impl Backing for Pages {
        fn fill(&self, range: Range<VirtAddr>) -> Result<(), MapError> {
            let pages: Vec<u64> = (range.start.get()..range.end.get()).step_by(4096).collect();
            let mut filled = self.filled.borrow_mut();
            if filled.len() + pages.len() > self.limit {
                return Err(MapError::NoFrame(range.start));
            }
            for page in pages {
                assert!(filled.insert(page), "{page:#x} is filled twice");
            }
            Ok(())
        }
        fn empty(&self, range: Range<VirtAddr>) {
            for page in (range.start.get()..range.end.get()).step_by(4096) {
                assert!(
                    self.filled.borrow_mut().remove(&page),
                    "{page:#x} was not filled"
                );
            }
        }
    }

    fn vmalloc(limit: usize) -> Vmalloc<Pages> {
        let bounds = VirtAddr::new(0xffff_8000_0000_0000)..VirtAddr::new(0xffff_8000_0010_0000);
        let filled = RefCell::default();
        Vmalloc::new(bounds, Pages { filled, limit })
    }

    #[test]
    fn areas_are_filled_when_made_and_emptied_when_freed() {
        let vmalloc = vmalloc(10);
        let first = vmalloc.allocate(4097).unwrap();
        let second = vmalloc.allocate(1).unwrap();
        assert_eq!(
            second.get() - first.get(),
            3 * 4096,
            "two pages and a guard"
        );
        assert_eq!(vmalloc.backing.filled.borrow().len(), 3);
        vmalloc.free(first).unwrap();
        vmalloc.free(second).unwrap();
        assert!(vmalloc.backing.filled.borrow().is_empty());
        assert_eq!(vmalloc.next(VirtAddr::new(0)), None);
    }

    #[test]
    fn an_area_that_cannot_be_filled_is_forgotten() {
        let vmalloc = vmalloc(2);
        let first = vmalloc.allocate(4096).unwrap();
        let error = vmalloc.allocate(8192).unwrap_err();
        let at = first.offset(2 * 4096);
        assert_eq!(
            error,
            VmallocError::Map {
                bytes: 8192,
                error: MapError::NoFrame(at)
            }
        );
        assert_eq!(vmalloc.allocate(4096), Ok(at));
    }

    #[test]
    fn a_wrong_or_second_free_is_named() {
        let vmalloc = vmalloc(2);
        let start = vmalloc.allocate(8192).unwrap();
        let inside = start.offset(4096);
        assert_eq!(vmalloc.free(inside), Err(VfreeError::NotAnArea(inside)));
        vmalloc.set(start, State::Changing);
        assert_eq!(vmalloc.free(start), Err(VfreeError::BeingFreed(start)));
        vmalloc.set(start, State::Live);
        assert_eq!(vmalloc.free(start), Ok(()));
        assert_eq!(vmalloc.free(start), Err(VfreeError::NotAnArea(start)));
    }

    #[test]
    fn a_guard_page_belongs_to_the_area_before_it() {
        let vmalloc = vmalloc(1);
        let start = vmalloc.allocate(4096).unwrap();
        assert_eq!(vmalloc.try_find(start.offset(4096)).unwrap().start, start);
        assert_eq!(vmalloc.try_find(start.offset(8192)), None);
    }
}
