//! A translation table tree: mapping, looking up and walking it.
//!
//! The tree is worked on through two traits, so that the same code builds the kernel's tables, a user
//! program's, and the ones in the host tests, where a recorder stands in for the machine:
//! [`TableMemory`] is the memory that tables lie in, [`Mmu`] what an update asks of the hardware.
//!
//! # Invariants
//!
//! 1. An entry that is valid is never overwritten by another valid one which differs in output
//!    address, size, memory type or scope: it is broken, forgotten by the TLBs and made anew (Arm ARM,
//!    "Using break-before-make when updating translation table entries").
//! 2. A table is linked only when its contents are visible to every walker.
//! 3. Memory, and a table's frame, is given back only after the TLBs have forgotten it.
//! 4. An operation that fails has changed nothing.
//! 5. The sixteen entries of a contiguous group change together: a group is one leaf of 64 KiB.
//!
//! Cost: `map` descends once for each run of entries in a table and waits for the walkers once,
//! plus once for each chain of new tables. `unmap` flushes once. Nothing is split: what would need it is refused.

mod blocks;
mod edit;
#[cfg(test)]
mod model;
mod replace;
#[cfg(test)]
pub(crate) mod tests;

pub use blocks::Held;
pub use edit::{Detached, Tables};

use super::descriptor::{
    Attributes, CONTIGUOUS_BYTES, CONTIGUOUS_ENTRIES, Descriptor, ENTRIES, Level, Meaning,
};
use crate::mm::addr::{PAGE_BYTES, Pfn, PhysAddr, VirtAddr};
use crate::mm::path;
use core::{error, fmt, ops::Range};
use wire::path::Step;

/// The memory that tables lie in. Each table is one frame of 512 entries.
pub trait TableMemory {
    /// Entry `index`, below 512, of the table at `table`.
    fn read(&self, table: PhysAddr, index: usize) -> Descriptor;
    /// Stores that entry, by one single-copy atomic 64-bit write.
    fn write(&mut self, table: PhysAddr, index: usize, descriptor: Descriptor);
    /// Stores `count` entries from `index` on, the second `step_bytes` further up than the first, and so on.
    fn write_run(
        &mut self,
        table: PhysAddr,
        index: usize,
        count: usize,
        first: Descriptor,
        step_bytes: u64,
    ) {
        let mut descriptor = first;
        for index in index..index + count {
            self.write(table, index, descriptor);
            descriptor = descriptor.moved(step_bytes);
        }
    }
    /// A frame for a table, filled with zeros, or `None` when there is none.
    fn allocate(&mut self) -> Option<PhysAddr>;
    /// Takes back a frame that [`allocate`](Self::allocate) gave.
    fn free(&mut self, table: PhysAddr);
}

/// What a table update asks of the hardware, in the vocabulary of the architecture.
pub trait Mmu {
    /// `DSB ISHST`: earlier table writes are visible to every walker in the inner shareable domain.
    fn publish(&mut self);
    /// `ISB`: this core uses what was published from its next instruction on.
    fn synchronize(&mut self);
    /// `TLBI VAAE1IS`: forgets one page or block, and the walk that led to it, on every core.
    fn invalidate(&mut self, page: VirtAddr);
    /// Forgets all that this tree ever mapped, on every core: `TLBI ASIDE1IS` for a user's tree, `TLBI
    /// VMALLE1IS` for the kernel's.
    fn invalidate_all(&mut self);
    /// `DSB ISH; ISB`: earlier invalidations are complete.
    fn wait(&mut self);
}

/// Frames for the pages of an area.
pub trait FrameSource {
    /// A frame, or `None` when memory has run out.
    fn allocate(&mut self) -> Option<Pfn>;
    /// Takes back a frame that [`allocate`](Self::allocate) gave and nobody can reach any more.
    fn free(&mut self, frame: Pfn);
}

/// Why a mapping was left as it was. The address is the first at which it could not be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// The range or its memory is not a positive number of whole pages.
    Misaligned(VirtAddr),
    /// The range leaves the addresses that this table translates.
    OutsideRegion(VirtAddr),
    /// Something is mapped there: unmap it first.
    AlreadyMapped(VirtAddr),
    /// Nothing is mapped there.
    NotMapped(VirtAddr),
    /// A larger block covers the address and more than the range: map it with smaller entries.
    SplitsBlock(VirtAddr),
    /// No frame was left for a translation table.
    NoTable(VirtAddr),
    /// No frame was left for the page.
    NoFrame(VirtAddr),
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, address) = match self {
            Self::Misaligned(at) => ("not a range of whole pages", at),
            Self::OutsideRegion(at) => ("outside the table's addresses", at),
            Self::AlreadyMapped(at) => ("already mapped", at),
            Self::NotMapped(at) => ("not mapped", at),
            Self::SplitsBlock(at) => ("inside a larger block", at),
            Self::NoTable(at) => ("no frame for a translation table", at),
            Self::NoFrame(at) => ("no frame for the page", at),
        };
        write!(f, "{what}: {address:#x}")
    }
}

impl error::Error for MapError {}

/// What one leaf maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The first address that the leaf maps, or the address that was looked up.
    pub address: VirtAddr,
    /// The physical address behind it.
    pub physical: PhysAddr,
    /// Its attributes; `None` for bits that this kernel never makes.
    pub attributes: Option<Attributes>,
    /// The level of the table which holds the leaf: the size of its entry.
    pub level: Level,
    /// Whether the entry is one of a contiguous group.
    pub contiguous: bool,
}

impl Mapping {
    /// Bytes that change together: those of the entry, or of its contiguous group.
    pub const fn bytes(&self) -> u64 {
        if self.contiguous {
            CONTIGUOUS_BYTES
        } else {
            self.level.bytes()
        }
    }
}

/// Whether entries of level 3 may be joined by the contiguous hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Each page may be changed on its own.
    Single,
    /// Pages are joined where alignment and size allow.
    Contiguous,
}

/// A tree of translation tables for one region of addresses.
#[derive(Debug)]
pub struct PageTable<M, T> {
    root: PhysAddr,
    region: Range<VirtAddr>,
    memory: M,
    mmu: T,
}

impl<M: TableMemory, T: Mmu> PageTable<M, T> {
    /// A tree over the tables already at `root`, a table of level 0, which translates `region`.
    pub const fn new(root: PhysAddr, region: Range<VirtAddr>, memory: M, mmu: T) -> Self {
        Self {
            root,
            region,
            memory,
            mmu,
        }
    }

    /// Where the root lies.
    pub const fn root(&self) -> PhysAddr {
        self.root
    }
    /// The memory that the tables lie in.
    pub const fn memory_mut(&mut self) -> &mut M {
        &mut self.memory
    }
    /// The hardware that the tree is used by.
    pub const fn mmu_mut(&mut self) -> &mut T {
        &mut self.mmu
    }

    /// Maps `range` to the contiguous memory from `physical` on, with entries of the level `largest`
    /// where alignment and size allow, and smaller ones elsewhere.
    ///
    /// Refuses a range in which anything is mapped.
    pub fn map(
        &mut self,
        range: Range<VirtAddr>,
        physical: PhysAddr,
        attributes: Attributes,
        largest: Level,
    ) -> Result<(), MapError> {
        self.check(&range)?;
        if !physical.is_aligned_to(PAGE_BYTES) {
            return Err(MapError::Misaligned(range.start));
        }
        let mut at = range.start;
        while at < range.end {
            let output = physical.offset(at.get() - range.start.get());
            match self.map_some(at..range.end, output, attributes, (largest, Hint::Single)) {
                Ok(bytes) => at = at.offset(bytes),
                Err(error) => {
                    self.undo(range.start..at, &mut |_| {});
                    return Err(error);
                }
            }
        }
        self.mmu.publish();
        self.mmu.synchronize();
        Ok(())
    }

    /// Maps each page of `range` to a frame from `frames`, which gets them back if this fails.
    pub fn map_frames(
        &mut self,
        range: Range<VirtAddr>,
        attributes: Attributes,
        frames: &mut impl FrameSource,
    ) -> Result<(), MapError> {
        self.check(&range)?;
        let mut at = range.start;
        while at < range.end {
            if let Err(error) = self.map_frame(at, attributes, frames) {
                self.undo(range.start..at, &mut |leaf| {
                    frames.free(leaf.physical.frame());
                });
                return Err(error);
            }
            at = at.offset(PAGE_BYTES);
        }
        self.mmu.publish();
        self.mmu.synchronize();
        Ok(())
    }

    /// What `address` is mapped to, as the hardware would find it.
    pub fn walk(&self, address: VirtAddr) -> Option<Mapping> {
        if !self.region.contains(&address) {
            return None;
        }
        let (mut table, mut level) = (self.root, Level::ROOT);
        let (entry, physical, attributes) = loop {
            let entry = self.memory.read(table, level.index(address));
            match entry.meaning(level) {
                Meaning::Empty => return None,
                Meaning::Table(next) => (table, level) = (next, level.next()),
                Meaning::Leaf(physical, attributes) => break (entry, physical, Some(attributes)),
                Meaning::Foreign(physical) => break (entry, physical, None),
            }
        };
        Some(Mapping {
            address,
            physical: physical.offset(address.get() & (level.bytes() - 1)),
            attributes,
            level,
            contiguous: entry.is_contiguous(),
        })
    }

    /// Shows `visit` every leaf that maps an address of `range`, in order.
    pub fn visit(&self, range: Range<VirtAddr>, visit: &mut dyn FnMut(Mapping)) {
        let range = range.start.max(self.region.start)..range.end.min(self.region.end);
        self.visit_table(self.root, Level::ROOT, range, visit);
    }

    fn visit_table(
        &self,
        table: PhysAddr,
        level: Level,
        range: Range<VirtAddr>,
        visit: &mut dyn FnMut(Mapping),
    ) {
        for part in parts(range, level) {
            let entry = self.memory.read(table, level.index(part.start));
            let (physical, attributes) = match entry.meaning(level) {
                Meaning::Empty => continue,
                Meaning::Table(next) => {
                    self.visit_table(next, level.next(), part, visit);
                    continue;
                }
                Meaning::Leaf(physical, attributes) => (physical, Some(attributes)),
                Meaning::Foreign(physical) => (physical, None),
            };
            visit(Mapping {
                address: VirtAddr::new(part.start.get() & !(level.bytes() - 1)),
                physical,
                attributes,
                level,
                contiguous: entry.is_contiguous(),
            });
        }
    }

    fn check(&self, range: &Range<VirtAddr>) -> Result<(), MapError> {
        if range.is_empty()
            || !range.start.is_aligned_to(PAGE_BYTES)
            || !range.end.is_aligned_to(PAGE_BYTES)
        {
            return Err(MapError::Misaligned(range.start));
        }
        if range.start < self.region.start {
            return Err(MapError::OutsideRegion(range.start));
        }
        if range.end > self.region.end {
            return Err(MapError::OutsideRegion(self.region.end.max(range.start)));
        }
        Ok(())
    }

    fn map_frame(
        &mut self,
        page: VirtAddr,
        attributes: Attributes,
        frames: &mut impl FrameSource,
    ) -> Result<(), MapError> {
        let frame = frames.allocate().ok_or(MapError::NoFrame(page))?;
        let range = page..page.offset(PAGE_BYTES);
        let size = (Level::PAGE, Hint::Single);
        match self.map_some(range, frame.address(), attributes, size) {
            Ok(_) => Ok(()),
            Err(error) => {
                frames.free(frame);
                Err(error)
            }
        }
    }

    /// Maps the start of `range` by leaves of one size in one table, with the tables that it needs, and
    /// returns the bytes they map: one leaf at least. Leaves are of the level `largest` at most.
    fn map_some(
        &mut self,
        range: Range<VirtAddr>,
        output: PhysAddr,
        attributes: Attributes,
        (largest, hint): (Level, Hint),
    ) -> Result<u64, MapError> {
        let (at, bytes) = (range.start, range.end.get() - range.start.get());
        let (table, level) = self.deepest_table(at);
        if self.memory.read(table, level.index(at)) != Descriptor::EMPTY {
            // A broken entry's memory is still on its way back to its owner.
            return Err(MapError::AlreadyMapped(at));
        }
        let fits = |size: Level| {
            at.is_aligned_to(size.bytes())
                && output.is_aligned_to(size.bytes())
                && bytes >= size.bytes()
        };
        let mut target = largest.max(level).max(Level::GIB);
        while !fits(target) {
            target = target.next();
        }
        let leaf = Descriptor::leaf(output, attributes, target);
        let (index, in_table) = (level.index(at), bytes / level.bytes());
        if target > level {
            // One leaf, and no more: the tables are new, and the next look finds them.
            let link = self.chain(at, level, target, leaf)?;
            self.memory.write(table, index, link);
            return Ok(target.bytes());
        }
        let most = usize::try_from(in_table).unwrap_or(ENTRIES);
        let last = ENTRIES.min(index.saturating_add(most));
        let is_empty = |&index: &usize| self.memory.read(table, index) == Descriptor::EMPTY;
        let count = 1 + (index + 1..last).take_while(is_empty).count();
        let hint = if level == Level::PAGE {
            hint
        } else {
            Hint::Single
        };
        self.write_leaves(table, index..index + count, leaf, (level, hint));
        Ok(level.bytes() * count as u64)
    }

    /// The lowest table on the way to `at` that there is, and its level.
    #[inline]
    fn deepest_table(&self, at: VirtAddr) -> (PhysAddr, Level) {
        let (mut table, mut level) = (self.root, Level::ROOT);
        while let Some(below) = self.memory.read(table, level.index(at)).table_below(level) {
            (table, level) = (below, level.next());
        }
        (table, level)
    }

    /// Writes empty entries of one table: contiguous memory from that of `first` on.
    #[inline]
    fn write_leaves(
        &mut self,
        table: PhysAddr,
        entries: Range<usize>,
        first: Descriptor,
        (level, hint): (Level, Hint),
    ) {
        let step = level.bytes();
        let mut write = |entries: Range<usize>, done: usize, contiguous| {
            let first = first.moved(step * done as u64);
            let first = if contiguous {
                first.contiguous()
            } else {
                first
            };
            self.memory
                .write_run(table, entries.start, entries.len(), first, step);
        };
        let groups = match hint {
            Hint::Single => 0..0,
            Hint::Contiguous if entries.len() < CONTIGUOUS_ENTRIES => 0..0,
            Hint::Contiguous => groups(&entries, first.output()),
        };
        if groups.is_empty() {
            write(entries, 0, false);
        } else {
            let start = entries.start;
            write(start..groups.start, 0, false);
            write(groups.clone(), groups.start - start, true);
            write(groups.end..entries.end, groups.end - start, false);
        }
    }

    /// Builds the tables below `level` down to `target`, unlinked, with `leaf` at their end; returns
    /// the entry that links them. By invariant 2 they are published here.
    fn chain(
        &mut self,
        at: VirtAddr,
        level: Level,
        target: Level,
        leaf: Descriptor,
    ) -> Result<Descriptor, MapError> {
        let mut made = [None; 3];
        let needed = usize::from(target.get() - level.get());
        for index in 0..needed {
            path::note(Step::Table);
            made[index] = self.memory.allocate();
            if made[index].is_none() {
                made.into_iter()
                    .flatten()
                    .for_each(|table| self.memory.free(table));
                return Err(MapError::NoTable(at));
            }
        }
        let (mut below, mut below_level) = (leaf, target);
        for table in made.into_iter().flatten() {
            self.memory.write(table, below_level.index(at), below);
            below = Descriptor::table(table);
            below_level = below_level.above();
        }
        self.mmu.publish();
        Ok(below)
    }
}

/// The parts of `range` that the entries of a table at `level` translate, one by one.
fn parts(range: Range<VirtAddr>, level: Level) -> impl Iterator<Item = Range<VirtAddr>> {
    let mut at = range.start;
    core::iter::from_fn(move || {
        (at < range.end).then(|| {
            let last = at.get() | (level.bytes() - 1);
            let end = VirtAddr::new(last.saturating_add(1)).min(range.end);
            core::mem::replace(&mut at, end)..end
        })
    })
}

/// Those of `entries`, which map the memory from `output` on, that whole contiguous groups make up.
fn groups(entries: &Range<usize>, output: PhysAddr) -> Range<usize> {
    let start = entries.start.next_multiple_of(CONTIGUOUS_ENTRIES);
    let end = entries.end - entries.end % CONTIGUOUS_ENTRIES;
    let first = output.offset(PAGE_BYTES * (start - entries.start) as u64);
    if first.is_aligned_to(CONTIGUOUS_BYTES) && start < end {
        start..end
    } else {
        0..0
    }
}
