//! Sets of areas of addresses: who owns which part of a region.
//!
//! # Shape
//!
//! ```text
//! index    start ─► node                                    a tree of three fixed levels
//! nodes    taken │ free │ taken │ kept │ free …             chained by address, in a pool
//! bins                └─────────────────┴── free ranges by size, eight bins a doubling
//! kept                            └──────── given back lately, by exact size, still in place
//! ```
//!
//! A set counts in granules, a power of two of pages: every area starts at a multiple of one. An area is
//! followed by a guard page at least, which no other area gets, so that running off its end faults.
//!
//! # Invariants
//!
//! 1. The chain covers the bounds without gap or overlap, in order of addresses.
//! 2. No two neighbours are both free: they are merged when the second becomes so.
//! 3. Each free range is in the bin of its size, and a bin's bit is set if it holds any.
//! 4. The index knows the start of every taken and kept range, and nothing else.
//! 5. An area and a guard page fit into its range.
//!
//! # Cost
//!
//! Constant, whatever the number of areas: `reserve` takes the top of the list of kept ranges of that
//! size, or the first range of the first bin whose ranges all fit, found by one look at four words;
//! `remove` keeps a range or merges it with its two neighbours; `at` reads three levels; `find` and
//! `next` look at some 1,300 entries at most. When nothing fits, the kept ranges (128 at most) are merged
//! and one more look is taken. A range that is larger than asked for by less than an eighth may be missed.
//! Memory for notes is taken before anything changes, in steps that never copy what was there.
//!
//! # Locking
//!
//! None: whoever shares a set locks it.

mod bins;
mod index;
mod pool;
mod space;
#[cfg(test)]
mod tests;

use crate::mm::addr::{PAGE_BYTES, VirtAddr};
use bins::Bins;
use core::{error, fmt, ops::Range};
use index::Index;
use pool::{Id, Pool};

pub use space::{AreaSpace, SpaceKey};

/// One area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// Which area of a set, until it is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(Id);

/// Sizes, in granules, of which ranges are kept: below this.
const KEPT_SIZES: usize = 33;
/// Most ranges that are kept, of all sizes together.
const MOST_KEPT: u32 = 128;

/// A part of the bounds. It is taken if it has a value; else it is free, or kept.
#[derive(Clone, Copy, Debug)]
struct Node<T> {
    first: u32,
    granules: u32,
    below: Id,
    above: Id,
    /// Neighbours in a bin; `next` also on a list of kept ranges.
    next: Id,
    previous: Id,
    kept: bool,
    pages: u32,
    value: Option<T>,
}

impl<T> Node<T> {
    const fn new(first: u32, granules: u32) -> Self {
        Self {
            first,
            granules,
            below: Id::NONE,
            above: Id::NONE,
            next: Id::NONE,
            previous: Id::NONE,
            kept: false,
            pages: 0,
            value: None,
        }
    }
    const fn is_free(&self) -> bool {
        self.value.is_none() && !self.kept
    }
    const fn end(&self) -> u32 {
        self.first + self.granules
    }
}

/// Areas inside bounds.
#[derive(Debug)]
pub struct AreaSet<T> {
    bounds: Range<VirtAddr>,
    granule_shift: u32,
    nodes: Pool<Node<T>>,
    bins: Bins,
    index: Index,
    kept: [Id; KEPT_SIZES],
    kept_ranges: u32,
    areas: usize,
}

impl<T: Copy> AreaSet<T> {
    /// No areas yet; they will lie in `bounds` and start at multiples of a granule, 2^`granule_shift`
    /// bytes and a page at least. The bounds are multiples of one, at most 2³¹ of them.
    pub const fn new(bounds: Range<VirtAddr>, granule_shift: u32) -> Self {
        assert!((bounds.end.get() - bounds.start.get()) >> granule_shift <= 1 << 31);
        Self {
            bounds,
            granule_shift,
            nodes: Pool::new(),
            bins: Bins::new(),
            index: Index::new(),
            kept: [Id::NONE; KEPT_SIZES],
            kept_ranges: 0,
            areas: 0,
        }
    }

    /// Reserves `bytes`, rounded up to whole pages, and a guard page behind.
    #[inline]
    pub fn reserve(&mut self, bytes: u64, value: T) -> Result<VirtAddr, AreaError> {
        if bytes == 0 {
            return Err(AreaError::Empty);
        }
        let granules = self.granules(bytes).ok_or(AreaError::NoSpace(bytes))?;
        let id = match self.take_kept(granules) {
            Some(id) => id,
            None => self.cut(bytes, granules)?,
        };
        let node = self.nodes.at_mut(id);
        node.value = Some(value);
        #[expect(clippy::cast_possible_truncation, reason = "it fits the bounds")]
        let pages = bytes.div_ceil(PAGE_BYTES) as u32;
        node.pages = pages;
        let first = node.first;
        self.areas += 1;
        Ok(self.address(first))
    }

    /// Forgets the area that starts at `start`.
    pub fn remove(&mut self, start: VirtAddr) -> Option<Area<T>> {
        let key = self.lookup(start)?;
        let area = self.area(key.0);
        self.release(key);
        Some(area)
    }

    /// Forgets an area. Panics if it was forgotten before.
    #[inline]
    pub fn release(&mut self, Key(id): Key) {
        let node = self.nodes.at_mut(id);
        assert!(node.value.take().is_some(), "an area is forgotten twice");
        let granules = node.granules;
        self.areas -= 1;
        match self.kept.get_mut(granules as usize) {
            Some(kept) if self.kept_ranges < MOST_KEPT => {
                node.kept = true;
                node.next = core::mem::replace(kept, id);
                self.kept_ranges += 1;
            }
            _ => self.merge(id),
        }
    }

    /// The area that starts at `start`.
    pub fn at(&self, start: VirtAddr) -> Option<Area<T>> {
        Some(self.area(self.lookup(start)?.0))
    }

    /// The area that starts at `start`, for [`value_mut`](Self::value_mut) and [`release`](Self::release).
    #[inline]
    pub fn lookup(&self, start: VirtAddr) -> Option<Key> {
        let offset = start.get().wrapping_sub(self.bounds.start.get());
        let granule = offset >> self.granule_shift;
        if offset & ((1 << self.granule_shift) - 1) != 0 {
            return None;
        }
        let id = self.index.at(u32::try_from(granule).ok()?)?;
        self.nodes.at(id).value.is_some().then_some(Key(id))
    }

    /// The area's size in pages, and its value. Panics if it was forgotten.
    #[inline]
    pub fn value_mut(&mut self, Key(id): Key) -> (u32, &mut T) {
        let node = self.nodes.at_mut(id);
        (node.pages, node.value.as_mut().expect("an area"))
    }

    /// The area that `address` lies in or, if it lies in a guard page, behind.
    pub fn find(&self, address: VirtAddr) -> Option<Area<T>> {
        let mut granule = self.granule_of(address)?;
        loop {
            let id = self.index.at_or_below(granule)?;
            let node = self.nodes.at(id);
            if node.value.is_some() {
                let area = self.area(id);
                return (address < area.range().end.offset(PAGE_BYTES)).then_some(area);
            }
            // A kept range: nothing in it is anybody's.
            if address < self.address(node.end()) {
                return None;
            }
            granule = node.first.checked_sub(1)?;
        }
    }

    /// The first area that starts at `address` or above: for walking the set step by step.
    pub fn next(&self, address: VirtAddr) -> Option<Area<T>> {
        let offset = address.get().saturating_sub(self.bounds.start.get());
        let mut granule = u32::try_from(offset.div_ceil(1 << self.granule_shift)).ok()?;
        loop {
            let id = self.index.at_or_above(granule)?;
            let node = self.nodes.at(id);
            if node.value.is_some() {
                return Some(self.area(id));
            }
            granule = node.end();
        }
    }

    /// Number of areas.
    pub const fn len(&self) -> usize {
        self.areas
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.areas == 0
    }

    /// What they lie in.
    pub const fn bounds(&self) -> &Range<VirtAddr> {
        &self.bounds
    }

    const fn address(&self, granule: u32) -> VirtAddr {
        self.bounds
            .start
            .offset((granule as u64) << self.granule_shift)
    }

    fn granule_of(&self, address: VirtAddr) -> Option<u32> {
        if !self.bounds.contains(&address) {
            return None;
        }
        u32::try_from((address.get() - self.bounds.start.get()) >> self.granule_shift).ok()
    }

    /// Granules for an area of `bytes` and its guard page, if the bounds hold so many.
    #[inline]
    fn granules(&self, bytes: u64) -> Option<u32> {
        let bounds = self.bounds.end.get() - self.bounds.start.get();
        if bytes > bounds {
            return None;
        }
        let bytes = bytes.next_multiple_of(PAGE_BYTES) + PAGE_BYTES;
        let granules = (bytes + (1 << self.granule_shift) - 1) >> self.granule_shift;
        u32::try_from(granules).ok()
    }

    fn area(&self, id: Id) -> Area<T> {
        let node = self.nodes.at(id);
        Area {
            start: self.address(node.first),
            bytes: u64::from(node.pages) * PAGE_BYTES,
            value: node.value.expect("a node that is taken"),
        }
    }

    #[inline]
    fn take_kept(&mut self, granules: u32) -> Option<Id> {
        let kept = self.kept.get_mut(granules as usize)?;
        let id = kept.some()?;
        let node = self.nodes.at_mut(id);
        node.kept = false;
        *kept = node.next;
        self.kept_ranges -= 1;
        Some(id)
    }

    /// Cuts a range for `bytes` off a free one.
    #[inline(never)]
    fn cut(&mut self, bytes: u64, granules: u32) -> Result<Id, AreaError> {
        self.begin()?;
        let found = self.bins.first_that_fits(granules).or_else(|| {
            self.merge_kept();
            self.bins.first_that_fits(granules)
        });
        let id = found.ok_or(AreaError::NoSpace(bytes))?;
        let Node {
            first,
            granules: found,
            ..
        } = *self.nodes.at(id);
        self.index.prepare(first).ok_or(AreaError::NoMemory)?;
        if found > granules {
            let rest = Node::new(first + granules, found - granules);
            let rest = self.nodes.insert(rest).ok_or(AreaError::NoMemory)?;
            self.bins.remove(&mut self.nodes, id);
            self.nodes.at_mut(id).granules = granules;
            self.chain_above(id, rest);
            self.bins.insert(&mut self.nodes, rest);
        } else {
            self.bins.remove(&mut self.nodes, id);
        }
        self.index.set(first, id);
        Ok(id)
    }

    /// Makes all of the bounds one free range, the first time.
    fn begin(&mut self) -> Result<(), AreaError> {
        if !self.nodes.is_empty() {
            return Ok(());
        }
        let granules = (self.bounds.end.get() - self.bounds.start.get()) >> self.granule_shift;
        let granules = u32::try_from(granules).expect("at most 2³¹ granules");
        self.index.begin(granules).ok_or(AreaError::NoMemory)?;
        let all = self.nodes.insert(Node::new(0, granules));
        let all = all.ok_or(AreaError::NoMemory)?;
        self.bins.insert(&mut self.nodes, all);
        Ok(())
    }

    /// Makes a range free that was taken or kept, as one with the free ranges around it.
    fn merge(&mut self, id: Id) {
        let Node {
            first,
            below,
            above,
            ..
        } = *self.nodes.at(id);
        self.index.clear(first);
        let is_free =
            |nodes: &Pool<Node<T>>, id: Id| id.some().is_some_and(|id| nodes.at(id).is_free());
        if is_free(&self.nodes, above) {
            self.absorb(id, above);
        }
        let mut merged = id;
        if is_free(&self.nodes, below) {
            self.bins.remove(&mut self.nodes, below);
            self.swallow(below, id);
            merged = below;
        }
        self.bins.insert(&mut self.nodes, merged);
    }

    /// Adds the free range `above` to `id`, which it follows.
    fn absorb(&mut self, id: Id, above: Id) {
        self.bins.remove(&mut self.nodes, above);
        self.swallow(id, above);
    }

    /// Adds the range `above`, which is on no list, to `id`, which it follows, and forgets its node.
    fn swallow(&mut self, id: Id, above: Id) {
        let gone = *self.nodes.at(above);
        let node = self.nodes.at_mut(id);
        node.granules += gone.granules;
        node.above = gone.above;
        if let Some(next) = gone.above.some() {
            self.nodes.at_mut(next).below = id;
        }
        self.nodes.remove(above);
    }

    /// Puts `new` into the chain behind `id`.
    fn chain_above(&mut self, id: Id, new: Id) {
        let above = core::mem::replace(&mut self.nodes.at_mut(id).above, new);
        let node = self.nodes.at_mut(new);
        node.below = id;
        node.above = above;
        if let Some(above) = above.some() {
            self.nodes.at_mut(above).below = new;
        }
    }

    /// Makes all kept ranges free.
    fn merge_kept(&mut self) {
        for size in 0..KEPT_SIZES {
            while let Some(id) = self.kept[size].some() {
                let node = self.nodes.at_mut(id);
                node.kept = false;
                self.kept[size] = node.next;
                self.merge(id);
            }
        }
        self.kept_ranges = 0;
    }
}
