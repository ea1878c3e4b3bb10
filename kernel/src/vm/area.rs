//! Ordered sets of areas of addresses: who owns which part of a region.
//!
//! An area is a whole number of pages and is followed by a guard page that no other area gets, so that
//! running off its end faults. Areas are found by first fit.
//!
//! # Invariants
//!
//! 1. Areas are sorted by address, do not overlap, and lie inside the bounds with their guards.
//! 2. Starts are multiples of the alignment asked for, sizes are positive multiples of a page.
//!
//! Cost: `reserve` looks at every area in the worst case, `remove` and `find` at the logarithm; both
//! changes move the areas behind. Memory for the list is taken before anything changes.

use crate::mm::addr::{PAGE_BYTES, VirtAddr};
use alloc::vec::Vec;
use core::{error, fmt, ops::Range};

/// One area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area<T> {
    /// Its first address.
    pub start: VirtAddr,
    /// Its size in bytes, without the guard page.
    pub bytes: u64,
    /// What it is for.
    pub value: T,
}

impl<T> Area<T> {
    /// Its addresses, without the guard page.
    pub const fn range(&self) -> Range<VirtAddr> {
        self.start..self.start.offset(self.bytes)
    }
}

/// Why no area was reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AreaError {
    /// An area of no bytes was asked for.
    Empty,
    /// No gap holds these many bytes and a guard page.
    NoSpace(u64),
    /// No memory was left to note the area.
    NoMemory,
}

impl fmt::Display for AreaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "an area of 0 bytes"),
            Self::NoSpace(bytes) => write!(f, "no gap of {bytes} bytes between the areas"),
            Self::NoMemory => write!(f, "no memory to note an area"),
        }
    }
}

impl error::Error for AreaError {}

/// Areas inside bounds.
#[derive(Debug)]
pub struct AreaSet<T> {
    bounds: Range<VirtAddr>,
    areas: Vec<Area<T>>,
}

impl<T> AreaSet<T> {
    /// No areas yet; they will lie in `bounds`, which are multiples of a page.
    pub const fn new(bounds: Range<VirtAddr>) -> Self {
        Self {
            bounds,
            areas: Vec::new(),
        }
    }

    /// Reserves `bytes`, rounded up to whole pages, at the lowest address that is a multiple of
    /// `align_bytes`, a power of two not below a page.
    pub fn reserve(
        &mut self,
        bytes: u64,
        align_bytes: u64,
        value: T,
    ) -> Result<VirtAddr, AreaError> {
        if bytes == 0 {
            return Err(AreaError::Empty);
        }
        let no_space = AreaError::NoSpace(bytes);
        let bytes = bytes.checked_next_multiple_of(PAGE_BYTES).ok_or(no_space)?;
        let with_guard = bytes.checked_add(PAGE_BYTES).ok_or(no_space)?;
        let (index, start) = self.first_fit(with_guard, align_bytes).ok_or(no_space)?;
        self.areas.try_reserve(1).map_err(|_| AreaError::NoMemory)?;
        self.areas.insert(
            index,
            Area {
                start,
                bytes,
                value,
            },
        );
        Ok(start)
    }

    /// Forgets the area that starts at `start`.
    pub fn remove(&mut self, start: VirtAddr) -> Option<Area<T>> {
        let index = self
            .areas
            .binary_search_by_key(&start, |area| area.start)
            .ok()?;
        Some(self.areas.remove(index))
    }

    /// The area that starts at `start`.
    pub fn at_mut(&mut self, start: VirtAddr) -> Option<&mut Area<T>> {
        let index = self
            .areas
            .binary_search_by_key(&start, |area| area.start)
            .ok()?;
        self.areas.get_mut(index)
    }

    /// The area that `address` lies in or, if it lies in a guard page, behind.
    pub fn find(&self, address: VirtAddr) -> Option<&Area<T>> {
        let area = self.first_from(address.offset(1).min(self.bounds.end), true)?;
        let end = area.range().end.offset(PAGE_BYTES);
        (address < end).then_some(area)
    }

    /// The first area that starts at `address` or above: for walking the set step by step.
    pub fn next(&self, address: VirtAddr) -> Option<&Area<T>> {
        self.first_from(address, false)
    }

    /// Number of areas.
    pub fn len(&self) -> usize {
        self.areas.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.areas.is_empty()
    }

    /// Panics unless the invariants hold.
    pub fn validate(&self) {
        let mut free_from = self.bounds.start;
        for area in &self.areas {
            assert!(area.start >= free_from, "areas overlap at {:?}", area.start);
            assert!(area.bytes > 0 && area.bytes.is_multiple_of(PAGE_BYTES));
            assert!(area.start.is_aligned_to(PAGE_BYTES));
            free_from = area.range().end.offset(PAGE_BYTES);
            assert!(
                free_from <= self.bounds.end,
                "{:?} leaves the bounds",
                area.start
            );
        }
    }

    fn first_from(&self, address: VirtAddr, before: bool) -> Option<&Area<T>> {
        let index = self.areas.partition_point(|area| area.start < address);
        self.areas
            .get(if before { index.checked_sub(1)? } else { index })
    }

    /// Where an area of `with_guard` bytes goes: its place in the list and its address.
    fn first_fit(&self, with_guard: u64, align_bytes: u64) -> Option<(usize, VirtAddr)> {
        let mut gap_start = self.bounds.start;
        for index in 0..=self.areas.len() {
            let next = self.areas.get(index);
            let gap_end = next.map_or(self.bounds.end, |area| area.start);
            let start = gap_start.get().checked_next_multiple_of(align_bytes)?;
            if start.checked_add(with_guard)? <= gap_end.get() {
                return Some((index, VirtAddr::new(start)));
            }
            gap_start = next?.range().end.offset(PAGE_BYTES);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const START: u64 = 0xffff_8000_0000_0000;
    const PAGES: u64 = 64;

    fn set() -> AreaSet<u32> {
        AreaSet::new(VirtAddr::new(START)..VirtAddr::new(START + PAGES * PAGE_BYTES))
    }

    #[test]
    fn the_lowest_gap_that_fits_is_taken() {
        let mut set = set();
        let pages = |address: VirtAddr| (address.get() - START) / PAGE_BYTES;
        let mut reserve = |bytes| set.reserve(bytes, PAGE_BYTES, 0).map(pages);
        assert_eq!(reserve(1), Ok(0));
        assert_eq!(reserve(3 * PAGE_BYTES), Ok(2));
        assert_eq!(reserve(PAGE_BYTES + 1), Ok(6));
        assert!(set.remove(VirtAddr::new(START + 2 * PAGE_BYTES)).is_some());
        assert_eq!(set.reserve(4 * PAGE_BYTES, PAGE_BYTES, 0).map(pages), Ok(9));
        assert_eq!(set.reserve(3 * PAGE_BYTES, PAGE_BYTES, 0).map(pages), Ok(2));
        assert_eq!(set.reserve(2 * PAGE_BYTES, 1 << 16, 0).map(pages), Ok(16));
        set.validate();
    }

    #[test]
    fn what_cannot_fit_is_refused_and_changes_nothing() {
        let mut set = set();
        for bytes in [PAGES * PAGE_BYTES, u64::MAX, u64::MAX - PAGE_BYTES] {
            assert_eq!(
                set.reserve(bytes, PAGE_BYTES, 0),
                Err(AreaError::NoSpace(bytes))
            );
        }
        assert_eq!(set.reserve(0, PAGE_BYTES, 0), Err(AreaError::Empty));
        assert!(set.is_empty());
        assert!(set.reserve((PAGES - 1) * PAGE_BYTES, PAGE_BYTES, 0).is_ok());
    }

    #[test]
    fn an_address_is_found_in_its_area_and_in_the_guard_behind_it() {
        let mut set = set();
        let start = set.reserve(2 * PAGE_BYTES, PAGE_BYTES, 7).unwrap();
        let found = |bytes| set.find(start.offset(bytes)).map(|area| area.value);
        assert_eq!(found(0), Some(7));
        assert_eq!(found(3 * PAGE_BYTES - 1), Some(7));
        assert_eq!(found(3 * PAGE_BYTES), None);
        assert_eq!(set.find(VirtAddr::new(START - 1)), None);
    }

    #[derive(Clone, Debug)]
    enum Op {
        Reserve { bytes: u64, align: u32 },
        Remove { which: usize },
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            (1..9 * PAGE_BYTES, 0u32..4).prop_map(|(bytes, align)| Op::Reserve { bytes, align }),
            any::<usize>().prop_map(|which| Op::Remove { which }),
        ]
    }

    proptest! {
        #[test]
        fn areas_never_overlap_and_freeing_all_gives_everything_back(
            ops in prop::collection::vec(op(), 1..80),
        ) {
            let mut set = set();
            let mut live = Vec::new();
            for op in ops {
                match op {
                    Op::Reserve { bytes, align } => {
                        let align = PAGE_BYTES << align;
                        // The naive allocator: try every aligned address.
                        let needed = bytes.next_multiple_of(PAGE_BYTES) + PAGE_BYTES;
                        let fits = |&start: &u64| {
                            start + needed <= START + PAGES * PAGE_BYTES
                                && live.iter().all(|&(from, size): &(u64, u64)| {
                                    start + needed <= from || from + size <= start
                                })
                        };
                        let naive = (START..START + PAGES * PAGE_BYTES)
                            .step_by(usize::try_from(align).unwrap())
                            .find(fits);
                        let ours = set.reserve(bytes, align, 0).ok().map(VirtAddr::get);
                        prop_assert_eq!(ours, naive);
                        live.extend(ours.map(|start| (start, needed)));
                    }
                    Op::Remove { which } if !live.is_empty() => {
                        let (start, _) = live.swap_remove(which % live.len());
                        prop_assert!(set.remove(VirtAddr::new(start)).is_some());
                        prop_assert!(set.remove(VirtAddr::new(start)).is_none());
                    }
                    Op::Remove { .. } => {}
                }
                set.validate();
                prop_assert_eq!(set.len(), live.len());
            }
        }
    }
}
