//! From a granule to the range that starts there: three levels of 512, 64 and 512 entries or less.
//!
//! Tables are made when they are first needed and stay, as translation tables do.

use super::pool::Id;
use alloc::vec::Vec;

const LEAF_SHIFT: u32 = 9;
const MIDDLE_SHIFT: u32 = 6;
const LEAF: usize = 1 << LEAF_SHIFT;
const MIDDLE: usize = 1 << MIDDLE_SHIFT;

/// A table, empty until it is made, and how many entries of it lead somewhere.
#[derive(Debug)]
struct Table<E> {
    entries: Vec<E>,
    used: u32,
}

impl<E> Table<E> {
    const fn new() -> Self {
        Self {
            entries: Vec::new(),
            used: 0,
        }
    }

    /// Gives it `count` entries, if it has none yet; `None` without memory.
    fn make(&mut self, count: usize, empty: impl FnMut() -> E) -> Option<()> {
        if self.entries.is_empty() {
            self.entries.try_reserve_exact(count).ok()?;
            self.entries.resize_with(count, empty);
        }
        Some(())
    }
}

/// What an entry leads to: a range, or a table with any.
trait Leads {
    fn leads(&self) -> bool;
}

impl Leads for Id {
    fn leads(&self) -> bool {
        *self != Self::NONE
    }
}

impl<E> Leads for Table<E> {
    fn leads(&self) -> bool {
        self.used > 0
    }
}

impl<E: Leads> Table<E> {
    /// The last entry at `index` or below that leads somewhere.
    fn at_or_below(&self, index: usize) -> Option<(usize, &E)> {
        let upto = self.entries.get(..=index).unwrap_or(&self.entries);
        let mut entries = upto.iter().enumerate().rev();
        entries.find(|(_, entry)| entry.leads())
    }
    /// The first entry at `index` or above that leads somewhere.
    fn at_or_above(&self, index: usize) -> Option<(usize, &E)> {
        let mut entries = self.entries.iter().enumerate().skip(index);
        entries.find(|(_, entry)| entry.leads())
    }
}

type Leaf = Table<Id>;
type Middle = Table<Leaf>;

/// The index.
#[derive(Debug)]
pub(super) struct Index(Table<Middle>);

/// Its entries' numbers, highest level first.
#[inline]
const fn split(granule: u32) -> [usize; 3] {
    [
        (granule >> (LEAF_SHIFT + MIDDLE_SHIFT)) as usize,
        (granule >> LEAF_SHIFT) as usize % MIDDLE,
        granule as usize % LEAF,
    ]
}

impl Index {
    pub(super) const fn new() -> Self {
        Self(Table::new())
    }

    /// Makes the first level for so many granules.
    pub(super) fn begin(&mut self, granules: u32) -> Option<()> {
        let [last, ..] = split(granules - 1);
        self.0.make(last + 1, Table::new)
    }

    /// Makes the tables for `granule`; `None` without memory. From then on it can be set.
    pub(super) fn prepare(&mut self, granule: u32) -> Option<()> {
        let [high, middle, _] = split(granule);
        let table = self.0.entries.get_mut(high)?;
        table.make(MIDDLE, Table::new)?;
        table.entries[middle].make(LEAF, || Id::NONE)
    }

    /// Notes that `id` starts at `granule`, at which nothing does and which was prepared.
    pub(super) fn set(&mut self, granule: u32, id: Id) {
        self.store(granule, id, 1);
    }

    /// Notes that nothing starts at `granule` any more.
    pub(super) fn clear(&mut self, granule: u32) {
        self.store(granule, Id::NONE, u32::MAX);
    }

    /// Stores an entry and counts it: 1 more, or (wrapping) 1 less.
    fn store(&mut self, granule: u32, id: Id, change: u32) {
        let [high, middle, low] = split(granule);
        let table = &mut self.0.entries[high];
        let leaf = &mut table.entries[middle];
        leaf.entries[low] = id;
        let was_used = leaf.leads();
        leaf.used = leaf.used.wrapping_add(change);
        if leaf.leads() != was_used {
            table.used = table.used.wrapping_add(change);
        }
    }

    /// What starts at `granule`.
    #[inline]
    pub(super) fn at(&self, granule: u32) -> Option<Id> {
        let [high, middle, low] = split(granule);
        let leaf = self.0.entries.get(high)?.entries.get(middle)?;
        leaf.entries.get(low)?.some()
    }

    /// What starts last at `granule` or below.
    pub(super) fn at_or_below(&self, granule: u32) -> Option<Id> {
        let [high, middle, low] = split(granule);
        let exact = self.0.entries.get(high);
        let below = |table: &Middle, middle| {
            let (_, leaf) = table.at_or_below(middle)?;
            leaf.at_or_below(LEAF - 1)?.1.some()
        };
        let in_leaf = exact
            .and_then(|table| table.entries.get(middle))
            .and_then(|leaf| leaf.at_or_below(low)?.1.some());
        let in_middle = || below(exact?, middle.checked_sub(1)?);
        let in_root = || {
            let (_, table) = self.0.at_or_below(high.checked_sub(1)?)?;
            below(table, MIDDLE - 1)
        };
        in_leaf.or_else(in_middle).or_else(in_root)
    }

    /// What starts first at `granule` or above.
    pub(super) fn at_or_above(&self, granule: u32) -> Option<Id> {
        let [high, middle, low] = split(granule);
        let exact = self.0.entries.get(high);
        let above = |table: &Middle, middle| {
            let (_, leaf) = table.at_or_above(middle)?;
            leaf.at_or_above(0)?.1.some()
        };
        let in_leaf = exact
            .and_then(|table| table.entries.get(middle))
            .and_then(|leaf| leaf.at_or_above(low)?.1.some());
        let in_middle = || above(exact?, middle + 1);
        let in_root = || above(self.0.at_or_above(high + 1)?.1, 0);
        in_leaf.or_else(in_middle).or_else(in_root)
    }
}
