//! A region of addresses for areas of all sizes, in three sets: those that can have blocks of 2 MiB start
//! at multiples of 2 MiB, those that can have contiguous entries at multiples of 64 KiB, all others at
//! any page. So alignment is never searched for, and small areas never split the room of large ones.

use super::{Area, AreaError, AreaSet, Key};
use crate::mm::addr::VirtAddr;
use core::ops::Range;

/// Granules of the sets, as powers of two.
const GRANULE_SHIFTS: [u32; 3] = [12, 16, 21];

/// Which area of a space, until it is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceKey {
    set: u8,
    key: Key,
}

/// The three sets.
#[derive(Debug)]
pub struct AreaSpace<T>([AreaSet<T>; 3]);

impl<T: Copy> AreaSpace<T> {
    /// No areas yet. An eighth of `bounds`, which are multiples of 16 MiB, is for areas below 64 KiB, three
    /// eighths for those below 2 MiB, half for all others.
    pub const fn new(bounds: Range<VirtAddr>) -> Self {
        let eighth = (bounds.end.get() - bounds.start.get()) / 8;
        let (start, end) = (bounds.start, bounds.end);
        let (first, second) = (start.offset(eighth), start.offset(4 * eighth));
        Self([
            AreaSet::new(start..first, GRANULE_SHIFTS[0]),
            AreaSet::new(first..second, GRANULE_SHIFTS[1]),
            AreaSet::new(second..end, GRANULE_SHIFTS[2]),
        ])
    }

    /// As [`AreaSet::reserve`].
    #[inline]
    pub fn reserve(&mut self, bytes: u64, value: T) -> Result<VirtAddr, AreaError> {
        let set = usize::from(bytes >= 1 << GRANULE_SHIFTS[1])
            + usize::from(bytes >= 1 << GRANULE_SHIFTS[2]);
        self.0[set].reserve(bytes, value)
    }

    /// As [`AreaSet::remove`].
    pub fn remove(&mut self, start: VirtAddr) -> Option<Area<T>> {
        let set = self.set_at(start);
        self.0[set].remove(start)
    }

    /// As [`AreaSet::at`].
    pub fn at(&self, start: VirtAddr) -> Option<Area<T>> {
        self.0[self.set_at(start)].at(start)
    }

    /// As [`AreaSet::lookup`].
    #[inline]
    pub fn lookup(&self, start: VirtAddr) -> Option<SpaceKey> {
        let set = self.set_at(start);
        let key = self.0[set].lookup(start)?;
        let set = u8::try_from(set).ok()?;
        Some(SpaceKey { set, key })
    }

    /// As [`AreaSet::value_mut`].
    #[inline]
    pub fn value_mut(&mut self, SpaceKey { set, key }: SpaceKey) -> (u32, &mut T) {
        self.0[usize::from(set)].value_mut(key)
    }

    /// As [`AreaSet::release`].
    #[inline]
    pub fn release(&mut self, SpaceKey { set, key }: SpaceKey) {
        self.0[usize::from(set)].release(key);
    }

    /// As [`AreaSet::find`].
    pub fn find(&self, address: VirtAddr) -> Option<Area<T>> {
        self.0[self.set_at(address)].find(address)
    }

    /// As [`AreaSet::next`].
    pub fn next(&self, address: VirtAddr) -> Option<Area<T>> {
        self.0.iter().find_map(|set| set.next(address))
    }

    /// Number of areas.
    pub fn len(&self) -> usize {
        self.0.iter().map(AreaSet::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    fn set_at(&self, address: VirtAddr) -> usize {
        let [_, middle, large] = &self.0;
        usize::from(address >= middle.bounds().start) + usize::from(address >= large.bounds().start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_areas_are_aligned_and_all_are_found_in_order() {
        let bounds = VirtAddr::new(0xffff_8000_0000_0000)..VirtAddr::new(0xffff_8000_1000_0000);
        let mut space = AreaSpace::new(bounds.clone());
        let mut starts = [1_u64, 4096, 65_535, 65_536, 100_000, 2 << 20, 5 << 20]
            .map(|bytes| (bytes, space.reserve(bytes, bytes).unwrap()));
        for (bytes, start) in starts {
            let align = match bytes {
                ..=65_535 => 1 << 12,
                65_536..=0x1f_ffff => 1 << 16,
                _ => 2 << 20,
            };
            assert!(start.is_aligned_to(align), "{bytes}");
            assert_eq!(space.find(start.offset(1)).unwrap().value, bytes);
        }
        starts.sort_by_key(|&(_, start)| start);
        let mut at = bounds.start;
        for (bytes, start) in starts {
            let area = space.next(at).unwrap();
            assert_eq!((area.start, area.value), (start, bytes));
            at = start.offset(1);
        }
        assert_eq!(space.next(at), None);
        assert_eq!(space.len(), starts.len());
        for (bytes, start) in starts {
            assert_eq!(space.remove(start).unwrap().value, bytes);
        }
        assert!(space.is_empty());
    }
}
