//! Free ranges by size: eight bins a doubling, and a bit for each that holds any.

use super::{
    Node,
    pool::{Id, Pool},
};

/// Bins a doubling, as a power of two. Below as many granules, each size has a bin of its own.
const FINE_SHIFT: u32 = 3;
const FINE: u32 = 1 << FINE_SHIFT;
const WORDS: usize = 4;
const BINS: usize = WORDS * 64;

/// The lists.
#[derive(Debug)]
pub(super) struct Bins {
    first: [Id; BINS],
    filled: [u64; WORDS],
}

/// The bin of ranges of `granules`, one at least.
const fn bin_of(granules: u32) -> usize {
    if granules < FINE {
        return granules as usize;
    }
    let doubling = granules.ilog2() - FINE_SHIFT;
    ((doubling << FINE_SHIFT) + (granules >> doubling)) as usize
}

/// The first bin in which every range has `granules` or more.
const fn bin_holding(granules: u32) -> usize {
    if granules < FINE {
        return granules as usize;
    }
    let step = 1 << (granules.ilog2() - FINE_SHIFT);
    bin_of(granules.saturating_add(step - 1))
}

impl Bins {
    pub(super) const fn new() -> Self {
        Self {
            first: [Id::NONE; BINS],
            filled: [0; WORDS],
        }
    }

    /// A range that has `granules` at least.
    pub(super) fn first_that_fits(&self, granules: u32) -> Option<Id> {
        let bin = bin_holding(granules);
        let mut mask = u64::MAX << (bin % 64);
        for word in bin / 64..WORDS {
            let filled = self.filled[word] & mask;
            if filled != 0 {
                return self.first[word * 64 + filled.trailing_zeros() as usize].some();
            }
            mask = u64::MAX;
        }
        None
    }

    /// Notes the free range `id`.
    pub(super) fn insert<T: Copy>(&mut self, nodes: &mut Pool<Node<T>>, id: Id) {
        let bin = bin_of(nodes.at(id).granules);
        let next = core::mem::replace(&mut self.first[bin], id);
        let node = nodes.at_mut(id);
        node.previous = Id::NONE;
        node.next = next;
        if let Some(next) = next.some() {
            nodes.at_mut(next).previous = id;
        }
        self.filled[bin / 64] |= 1 << (bin % 64);
    }

    /// Forgets the free range `id`, whose size is what it was.
    pub(super) fn remove<T: Copy>(&mut self, nodes: &mut Pool<Node<T>>, id: Id) {
        let Node {
            granules,
            next,
            previous,
            ..
        } = *nodes.at(id);
        if let Some(next) = next.some() {
            nodes.at_mut(next).previous = previous;
        }
        match previous.some() {
            Some(previous) => nodes.at_mut(previous).next = next,
            None => {
                let bin = bin_of(granules);
                self.first[bin] = next;
                if next == Id::NONE {
                    self.filled[bin / 64] &= !(1 << (bin % 64));
                }
            }
        }
    }

    /// Panics unless invariant 3 of the set holds, and returns how many ranges there are.
    #[cfg(test)]
    pub(super) fn validate<T: Copy>(&self, nodes: &Pool<Node<T>>) -> usize {
        let mut ranges = 0;
        for (bin, &first) in self.first.iter().enumerate() {
            let is_filled = self.filled[bin / 64] & 1 << (bin % 64) != 0;
            assert_eq!(first != Id::NONE, is_filled, "bin {bin}");
            let (mut previous, mut at) = (Id::NONE, first);
            while let Some(id) = at.some() {
                let node = nodes.at(id);
                assert!(node.is_free() && bin_of(node.granules) == bin);
                assert_eq!(node.previous, previous);
                (previous, at) = (id, node.next);
                ranges += 1;
            }
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_grow_with_sizes_and_the_largest_size_has_one() {
        let sizes = (1..5000).chain((13..=31).flat_map(|power| {
            let size = 1_u32 << power;
            [size - 1, size, size + 1]
        }));
        let mut last = 0;
        for size in sizes {
            let bin = bin_of(size);
            assert!(bin >= last && bin < BINS, "{size}");
            last = bin;
        }
    }

    #[test]
    fn every_range_of_the_bin_that_is_chosen_holds_what_was_asked_for() {
        for asked in 1..3000 {
            let chosen = bin_holding(asked);
            let smallest = (1..10_000).find(|&size| bin_of(size) >= chosen).unwrap();
            assert!(smallest >= asked, "{asked}");
            assert!(
                smallest <= asked + asked / 8,
                "{asked}: not before {smallest}"
            );
        }
    }
}
