//! Taking mappings away and changing them: where live entries change.
//!
//! Unmapping goes in three steps, so that one flush serves a whole range and nothing needs memory to
//! remember what was mapped: [`detach`](PageTable::detach) clears the valid bits but leaves the
//! addresses in the entries, [`flush`](PageTable::flush) has every TLB forget them, and
//! [`reclaim`](PageTable::reclaim) reads the addresses back, clears the entries and hands over the
//! memory. Between the steps the range belongs to the caller; entries around it may change freely as
//! long as no table is detached.

use super::{MapError, Mapping, Mmu, PageTable, TableMemory, parts};
use crate::{
    mm::addr::{PhysAddr, VirtAddr},
    vm::descriptor::{Attributes, CONTIGUOUS_BYTES, Descriptor, ENTRIES, Level, Meaning},
};
use core::ops::Range;

/// Most leaves that are invalidated one by one; above it, everything is at once. Linux draws its line
/// at 512; a broadcast costs each core about as much as the refill of some tens of entries.
const MOST_SINGLE_INVALIDATIONS: u32 = 64;

/// What becomes of tables in which nothing is mapped any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tables {
    /// They stay for the next mapping there.
    Keep,
    /// Their frames are given back.
    Free,
}

/// What [`PageTable::detach`] took away, for [`PageTable::flush`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "the TLBs still hold what was detached"]
pub struct Detached {
    /// Entries that mapped memory.
    pub leaves: u32,
    /// Tables that became empty.
    pub tables: u32,
}

impl Detached {
    /// What both took away.
    pub const fn and(self, other: Self) -> Self {
        Self {
            leaves: self.leaves + other.leaves,
            tables: self.tables + other.tables,
        }
    }
}

impl<M: TableMemory, T: Mmu> PageTable<M, T> {
    /// Unmaps what is mapped in `range` (holes are passed over) and shows `freed` each leaf when
    /// nothing can reach its memory any more.
    pub fn unmap(
        &mut self,
        range: Range<VirtAddr>,
        tables: Tables,
        freed: &mut impl FnMut(Mapping),
    ) -> Result<(), MapError> {
        let detached = self.detach(range.clone(), tables)?;
        self.flush(range.clone(), detached);
        self.reclaim(range, freed);
        Ok(())
    }

    /// First step of unmapping: from the walkers' next look on, `range` is not mapped.
    pub fn detach(&mut self, range: Range<VirtAddr>, tables: Tables) -> Result<Detached, MapError> {
        self.check(&range)?;
        self.check_edges(&range)?;
        let mut detached = Detached::default();
        edit(
            &mut self.memory,
            self.root,
            Level::ROOT,
            range.clone(),
            &mut |_, _, entry| {
                entry.is_valid().then(|| {
                    detached.leaves += 1;
                    entry.broken()
                })
            },
        );
        if tables == Tables::Free {
            detached.tables = detach_empty(&mut self.memory, self.root, Level::ROOT, range);
        }
        Ok(detached)
    }

    /// Second step: no TLB holds what was detached in `range`, when this returns.
    ///
    /// Detached tables are forgotten together with everything else, as the walk caches may hold them
    /// under any address that they covered.
    pub fn flush(&mut self, range: Range<VirtAddr>, detached: Detached) {
        if detached == Detached::default() {
            return;
        }
        self.mmu.publish();
        if detached.tables > 0 || detached.leaves > MOST_SINGLE_INVALIDATIONS {
            self.mmu.invalidate_all();
        } else {
            self.invalidate_leaves(range, Descriptor::is_broken);
        }
        self.mmu.wait();
    }

    /// Last step: empties the detached entries of `range`, frees detached tables, and shows each leaf
    /// to `freed`.
    pub fn reclaim(&mut self, range: Range<VirtAddr>, freed: &mut impl FnMut(Mapping)) {
        edit(
            &mut self.memory,
            self.root,
            Level::ROOT,
            range,
            &mut |at, level, entry| {
                if !entry.is_broken() {
                    return None;
                }
                freed(mapping(at, level, entry.mended()));
                Some(Descriptor::EMPTY)
            },
        );
    }

    /// Gives all of `range` other attributes; all of it must be mapped.
    ///
    /// Permissions of a live entry may change in place; a change of memory type, of scope (global or not)
    /// or of contiguous groups goes through break-before-make, and whoever uses the range meanwhile
    /// faults, on entries that are [changing](Descriptor::is_changing): never the stack or the code that
    /// runs. A group that reaches beyond the range is cut. Code that was just written needs its
    /// instruction caches cleaned by the caller.
    pub fn protect(
        &mut self,
        range: Range<VirtAddr>,
        attributes: Attributes,
    ) -> Result<(), MapError> {
        self.check(&range)?;
        let (leaves, in_place) = self.survey(&range, attributes)?;
        self.cut_group(range.start);
        self.cut_group(range.end);
        let change = |level, entry| {
            if in_place {
                with_attributes(attributes, level, entry)
            } else {
                Some(entry.changing())
            }
        };
        let root = self.root;
        edit(
            &mut self.memory,
            root,
            Level::ROOT,
            range.clone(),
            &mut |_, level, entry| change(level, entry),
        );
        self.mmu.publish();
        if leaves > MOST_SINGLE_INVALIDATIONS {
            self.mmu.invalidate_all();
        } else {
            self.invalidate_leaves(range.clone(), |_| true);
        }
        self.mmu.wait();
        if !in_place {
            edit(
                &mut self.memory,
                root,
                Level::ROOT,
                range,
                &mut |_, level, entry| with_attributes(attributes, level, entry.mended()),
            );
            self.mmu.publish();
            self.mmu.synchronize();
        }
        Ok(())
    }

    /// Takes back what a failed `map` did in `range`. Its entries were valid, so a walker may have
    /// used them: they are unmapped like any others, and tables made for them are freed.
    pub(super) fn undo(&mut self, range: Range<VirtAddr>, freed: &mut impl FnMut(Mapping)) {
        if !range.is_empty() {
            let undone = self.unmap(range, Tables::Free, freed);
            debug_assert_eq!(undone, Ok(()), "undoing a mapping that was just made");
        }
    }

    fn invalidate_leaves(&mut self, range: Range<VirtAddr>, which: impl Fn(Descriptor) -> bool) {
        let Self {
            memory, mmu, root, ..
        } = self;
        edit(memory, *root, Level::ROOT, range, &mut |at, _, entry| {
            if which(entry) {
                mmu.invalidate(at);
            }
            None
        });
    }

    /// Makes the contiguous group that `at` lies inside, behind its start, sixteen entries of their own.
    fn cut_group(&mut self, at: VirtAddr) {
        let Some(leaf) = self.walk(at) else { return };
        let start = VirtAddr::new(at.get() & !(CONTIGUOUS_BYTES - 1));
        if !leaf.contiguous || start == at {
            return;
        }
        let group = start..start.offset(CONTIGUOUS_BYTES);
        let root = self.root;
        let all = |table: &mut Self, change: &mut dyn FnMut(Descriptor) -> Descriptor| {
            let change = &mut |_, _, entry| Some(change(entry));
            edit(&mut table.memory, root, Level::ROOT, group.clone(), change);
        };
        all(self, &mut Descriptor::changing);
        self.mmu.publish();
        self.invalidate_leaves(group.clone(), |_| true);
        self.mmu.wait();
        all(self, &mut |entry| entry.mended().single());
        self.mmu.publish();
        self.mmu.synchronize();
    }

    /// Counts the entries of `range` and whether all may be changed to `attributes` in place. Refuses holes,
    /// and blocks that reach beyond the range.
    fn survey(
        &self,
        range: &Range<VirtAddr>,
        attributes: Attributes,
    ) -> Result<(u32, bool), MapError> {
        let (mut leaves, mut in_place, mut at) = (0, true, range.start);
        while at < range.end {
            let leaf = self.walk(at).ok_or(MapError::NotMapped(at))?;
            let left = range.end.get() - at.get();
            if !at.is_aligned_to(leaf.level.bytes()) || left < leaf.level.bytes() {
                return Err(MapError::SplitsBlock(at));
            }
            in_place &= !leaf.contiguous;
            in_place &= leaf.attributes.is_some_and(|old| {
                old.memory() == attributes.memory()
                    && old.access().is_user() == attributes.access().is_user()
            });
            leaves += 1;
            at = at.offset(leaf.level.bytes());
        }
        Ok((leaves, in_place))
    }

    /// Refuses a range whose first or last leaf reaches beyond it.
    fn check_edges(&self, range: &Range<VirtAddr>) -> Result<(), MapError> {
        let start_of = |leaf: Mapping| leaf.address.get() & !(leaf.bytes() - 1);
        if let Some(first) = self.walk(range.start)
            && start_of(first) < range.start.get()
        {
            return Err(MapError::SplitsBlock(range.start));
        }
        let last = VirtAddr::new(range.end.get() - 1);
        if let Some(leaf) = self.walk(last)
            && start_of(leaf) + (leaf.bytes() - 1) > last.get()
        {
            return Err(MapError::SplitsBlock(VirtAddr::new(start_of(leaf))));
        }
        Ok(())
    }
}

/// The leaf `entry` with other attributes.
fn with_attributes(attributes: Attributes, level: Level, entry: Descriptor) -> Option<Descriptor> {
    match entry.meaning(level) {
        Meaning::Leaf(output, _) | Meaning::Foreign(output) => {
            let leaf = Descriptor::leaf(output, attributes, level);
            Some(if entry.is_contiguous() {
                leaf.contiguous()
            } else {
                leaf
            })
        }
        Meaning::Empty | Meaning::Table(_) => None,
    }
}

fn mapping(address: VirtAddr, level: Level, entry: Descriptor) -> Mapping {
    let (physical, attributes) = match entry.meaning(level) {
        Meaning::Leaf(physical, attributes) => (physical, Some(attributes)),
        Meaning::Foreign(physical) | Meaning::Table(physical) => (physical, None),
        Meaning::Empty => (PhysAddr::new(0), None),
    };
    Mapping {
        address,
        physical,
        attributes,
        level,
        contiguous: entry.is_contiguous(),
    }
}

/// Shows `change` every leaf of `range`, live or detached, and stores what it returns. Frees each
/// detached table on the way, the lowest first: only [`PageTable::reclaim`] meets any.
fn edit<M: TableMemory>(
    memory: &mut M,
    table: PhysAddr,
    level: Level,
    range: Range<VirtAddr>,
    change: &mut impl FnMut(VirtAddr, Level, Descriptor) -> Option<Descriptor>,
) {
    for part in parts(range, level) {
        let index = level.index(part.start);
        let entry = memory.read(table, index);
        if entry == Descriptor::EMPTY {
            continue;
        }
        if let Some(next) = entry.mended().table_below(level) {
            edit(memory, next, level.next(), part, change);
            if entry.is_broken() {
                memory.write(table, index, Descriptor::EMPTY);
                memory.free(next);
            }
        } else if let Some(changed) = change(part.start, level, entry) {
            memory.write(table, index, changed);
        }
    }
}

/// Detaches each table along `range` that maps nothing but what was detached in `range` (entries that
/// somebody else detached elsewhere still hold an address), and counts them.
fn detach_empty<M: TableMemory>(
    memory: &mut M,
    table: PhysAddr,
    level: Level,
    range: Range<VirtAddr>,
) -> u32 {
    let mut detached = 0;
    if level == Level::PAGE {
        return detached;
    }
    for part in parts(range, level) {
        let index = level.index(part.start);
        let entry = memory.read(table, index);
        if let Some(next) = entry.table_below(level) {
            let below = level.next();
            let ours = below.index(part.start)..=below.index(VirtAddr::new(part.end.get() - 1));
            detached += detach_empty(memory, next, below, part);
            let is_unused = |index| {
                let entry = memory.read(next, index);
                entry == Descriptor::EMPTY || (entry.is_broken() && ours.contains(&index))
            };
            if (0..ENTRIES).all(is_unused) {
                memory.write(table, index, entry.broken());
                detached += 1;
            }
        }
    }
    detached
}
