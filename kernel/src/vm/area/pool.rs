//! Nodes by number, in segments that are never moved.
//!
//! A segment is as large as all before it together until they have 8,192 nodes each: a small set needs
//! little, and a large one grows without ever copying what it has. A node takes the first free place,
//! then the next that was never used: nothing loops over a segment.

use alloc::vec::Vec;

/// Nodes of the first segment.
const FIRST: u32 = 1 << FIRST_SHIFT;
const FIRST_SHIFT: u32 = 6;
/// Segments that double; all others are as large as the last of them.
const DOUBLING: u32 = 8;
const LARGEST_SHIFT: u32 = FIRST_SHIFT + DOUBLING - 1;
/// 475,072 nodes at most.
const SEGMENTS: usize = 64;

/// Number of a node, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Id(pub(super) u32);

impl Id {
    pub(super) const NONE: Self = Self(u32::MAX);

    #[inline]
    pub(super) fn some(self) -> Option<Self> {
        (self != Self::NONE).then_some(self)
    }
}

#[derive(Clone, Copy, Debug)]
enum Place<N> {
    Used(N),
    Free(Id),
}

/// The nodes.
#[derive(Debug)]
pub(super) struct Pool<N> {
    segments: [Vec<Place<N>>; SEGMENTS],
    /// Places that were ever used.
    places: u32,
    free: Id,
}

/// The segment of node `id`, and its place there.
#[inline]
const fn split(id: u32) -> (usize, usize) {
    let moved = id + FIRST;
    let doublings = moved.ilog2() - FIRST_SHIFT;
    if doublings < DOUBLING {
        (doublings as usize, (moved - (FIRST << doublings)) as usize)
    } else {
        let behind = moved - (FIRST << DOUBLING);
        (
            (DOUBLING + (behind >> LARGEST_SHIFT)) as usize,
            (behind & ((1 << LARGEST_SHIFT) - 1)) as usize,
        )
    }
}

const fn capacity(segment: usize) -> usize {
    let last = DOUBLING as usize - 1;
    (FIRST as usize) << if segment < last { segment } else { last }
}

impl<N: Copy> Pool<N> {
    pub(super) const fn new() -> Self {
        Self {
            segments: [const { Vec::new() }; SEGMENTS],
            places: 0,
            free: Id::NONE,
        }
    }

    /// Whether there never was a node.
    pub(super) const fn is_empty(&self) -> bool {
        self.places == 0
    }

    /// Stores `node`; `None` if there is no memory for it.
    pub(super) fn insert(&mut self, node: N) -> Option<Id> {
        if let Some(id) = self.free.some() {
            let (segment, place) = split(id.0);
            let place = &mut self.segments[segment][place];
            let Place::Free(next) = *place else {
                panic!("node {} is used and on the list of free ones", id.0);
            };
            self.free = next;
            *place = Place::Used(node);
            return Some(id);
        }
        let id = self.places;
        let (segment, place) = split(id);
        let nodes = self.segments.get_mut(segment)?;
        if place == 0 {
            nodes.try_reserve_exact(capacity(segment)).ok()?;
        }
        nodes.push(Place::Used(node));
        self.places += 1;
        Some(Id(id))
    }

    /// Forgets node `id`.
    pub(super) fn remove(&mut self, id: Id) {
        let (segment, place) = split(id.0);
        self.segments[segment][place] = Place::Free(self.free);
        self.free = id;
    }

    /// Node `id`. Panics if there is none.
    #[inline]
    pub(super) fn at(&self, id: Id) -> &N {
        let (segment, place) = split(id.0);
        match &self.segments[segment][place] {
            Place::Used(node) => node,
            Place::Free(_) => unused(id),
        }
    }

    /// Node `id`. Panics if there is none.
    #[inline]
    pub(super) fn at_mut(&mut self, id: Id) -> &mut N {
        let (segment, place) = split(id.0);
        match &mut self.segments[segment][place] {
            Place::Used(node) => node,
            Place::Free(_) => unused(id),
        }
    }
}

#[cold]
#[inline(never)]
fn unused(id: Id) -> ! {
    panic!("node {} of an area set is not used", id.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_place_of_its_own_in_a_segment_that_holds_it() {
        let mut expected = (0, 0);
        for id in 0..200_000 {
            assert_eq!(split(id), expected, "{id}");
            expected.1 += 1;
            if expected.1 == capacity(expected.0) {
                expected = (expected.0 + 1, 0);
            }
        }
    }

    #[test]
    fn places_are_used_again_and_nodes_stay_what_they_are() {
        let mut pool = Pool::new();
        let ids: Vec<Id> = (0..300).map(|value| pool.insert(value).unwrap()).collect();
        pool.remove(ids[7]);
        pool.remove(ids[200]);
        assert_eq!(pool.insert(1000), Some(ids[200]));
        assert_eq!(pool.insert(1001), Some(ids[7]));
        assert_eq!((*pool.at(ids[7]), *pool.at(ids[8])), (1001, 8));
        assert_eq!(pool.insert(1002), Some(Id(300)));
    }
}
