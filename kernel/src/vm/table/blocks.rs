//! Areas that were filled block by block, and are emptied so.
//!
//! What stands here changes entries of a range that is the caller's alone, and links or frees no table
//! unless it says so. So it needs no lock on the tree: neighbours never see it, and tables stay.
//!
//! An area is emptied without a note of what it holds. [`detach_blocks`](PageTable::detach_blocks) leaves the
//! address of each block in the entry of its first page, broken, and empties all others; when the TLBs have
//! forgotten the area, [`take_blocks`](PageTable::take_blocks) finds the blocks there.

use super::{Hint, MapError, Mmu, PageTable, TableMemory};
use crate::{
    mm::addr::{PAGE_BYTES, Pfn, PhysAddr, VirtAddr},
    vm::descriptor::{Attributes, Descriptor, ENTRIES, Level},
};
use core::ops::Range;

/// What an area held that was detached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// One block, from this frame on: its entries are empty.
    Block(Pfn),
    /// So many blocks, which its entries still name.
    Blocks(u32),
}

/// A stretch of entries in one table.
struct Run {
    table: PhysAddr,
    level: Level,
    entries: Range<usize>,
}

impl<M: TableMemory, T: Mmu> PageTable<M, T> {
    /// Maps the start of `range`, in which nothing is mapped, to the memory from `physical` on, as far as
    /// one table reaches and with the largest entries that fit; returns the bytes mapped. The walkers
    /// know it after [`publish`](Self::publish).
    ///
    /// Only where the table exists: [`MapError::NoTable`] else, unless the tree's memory gives tables.
    #[inline]
    pub fn place(
        &mut self,
        range: Range<VirtAddr>,
        physical: PhysAddr,
        attributes: Attributes,
    ) -> Result<u64, MapError> {
        let at = range.start;
        let (table, level) = self.deepest_table(at);
        if level != Level::PAGE {
            let size = (Level::MIB2, Hint::Contiguous);
            return self.map_some(range, physical, attributes, size);
        }
        let index = level.index(at);
        if self.memory.read(table, index) != Descriptor::EMPTY {
            return Err(MapError::AlreadyMapped(at));
        }
        let pages = (range.end.get() - at.get()) / PAGE_BYTES;
        let entries = index
            ..index + usize::try_from(pages).map_or(ENTRIES, |pages| pages.min(ENTRIES - index));
        let leaf = Descriptor::leaf(physical, attributes, level);
        let bytes = PAGE_BYTES * entries.len() as u64;
        self.write_leaves(table, entries, leaf, (level, Hint::Contiguous));
        Ok(bytes)
    }

    /// Lets the walkers, and this core, see what was placed.
    #[inline]
    pub fn publish(&mut self) {
        self.mmu.publish();
        self.mmu.synchronize();
    }

    /// Has all TLBs forget all of the tree.
    pub fn flush_all(&mut self) {
        self.mmu.publish();
        self.mmu.invalidate_all();
        self.mmu.wait();
    }

    /// Makes the tables down to `level` for the first address of `range`, and returns where they end.
    pub fn make_tables(
        &mut self,
        range: Range<VirtAddr>,
        level: Level,
    ) -> Result<VirtAddr, MapError> {
        self.check(&range)?;
        let at = range.start;
        let (table, deepest) = self.deepest_table(at);
        if deepest < level {
            let link = self.chain(at, deepest, level, Descriptor::EMPTY)?;
            self.memory.write(table, deepest.index(at), link);
            self.publish();
        }
        let last = at.get() | (level.above().bytes() - 1);
        Ok(VirtAddr::new(last.saturating_add(1)).min(range.end))
    }

    /// Where the stretch of addresses from `at` on ends for which there is no table of pages; `None` if there
    /// is one.
    pub fn gap_end(&self, at: VirtAddr) -> Option<VirtAddr> {
        let (_, level) = self.deepest_table(at);
        let last = at.get() | (level.bytes() - 1);
        (level < Level::PAGE).then(|| VirtAddr::new(last.saturating_add(1)))
    }

    /// The entry that decides about `at`, whatever it says.
    pub fn entry(&self, at: VirtAddr) -> Descriptor {
        let (table, level) = self.deepest_table(at);
        self.memory.read(table, level.index(at))
    }

    /// Whether there is a table of `level` for `at`.
    pub fn has_table(&self, at: VirtAddr, level: Level) -> bool {
        self.deepest_table(at).1 >= level
    }

    /// Frees the tables of level 3 in `range`, which are empty, where a block is to take their place. At most
    /// as many as one table of level 2 holds.
    pub fn free_page_tables(&mut self, range: Range<VirtAddr>) {
        let run = self.run(&range, |level| level == Level::MIB2);
        let is_table = |entry: Descriptor| entry.mended().table_below(Level::MIB2);
        let mut broken = 0;
        for index in run.entries.clone() {
            let entry = self.memory.read(run.table, index);
            let is_empty = |table| {
                (0..ENTRIES).all(|index| self.memory.read(table, index) == Descriptor::EMPTY)
            };
            if entry.is_valid() && is_table(entry).is_some_and(is_empty) {
                self.memory.write(run.table, index, entry.broken());
                broken += 1;
            }
        }
        if broken == 0 {
            return;
        }
        self.flush_all();
        for index in run.entries {
            let entry = self.memory.read(run.table, index);
            if let Some(table) = is_table(entry).filter(|_| entry.is_broken()) {
                self.memory.write(run.table, index, Descriptor::EMPTY);
                self.memory.free(table);
            }
        }
    }

    /// Unmaps `range`, whose memory is somebody else's; the TLBs still hold it.
    pub fn clear(&mut self, range: Range<VirtAddr>) {
        self.runs(range, |memory, run| {
            memory.write_run(
                run.table,
                run.entries.start,
                run.entries.len(),
                Descriptor::EMPTY,
                0,
            );
        });
    }

    /// Unmaps `range`, which blocks fill whose sizes `bytes_at` tells; the TLBs still hold it. Panics where
    /// nothing is mapped.
    pub fn detach_blocks(
        &mut self,
        range: Range<VirtAddr>,
        bytes_at: impl Fn(PhysAddr) -> u64,
    ) -> Held {
        let bytes = range.end.get() - range.start.get();
        let (mut only, mut blocks, mut left) = (None, 0, 0_u64);
        self.runs(range, |memory, run| {
            let mut index = run.entries.start;
            while index < run.entries.end {
                let mut first = Descriptor::EMPTY;
                if left == 0 {
                    let entry = memory.read(run.table, index);
                    assert!(entry.is_valid(), "an area of blocks has a hole");
                    left = bytes_at(entry.output());
                    blocks += 1;
                    if left >= bytes {
                        only = Some(entry.output().frame());
                    } else {
                        first = entry.broken();
                    }
                }
                let count = run.count(index, left);
                memory.write(run.table, index, first);
                memory.write_run(run.table, index + 1, count - 1, Descriptor::EMPTY, 0);
                index += count;
                left = left.saturating_sub(run.level.bytes() * count as u64);
            }
        });
        only.map_or(Held::Blocks(blocks), Held::Block)
    }

    /// Empties `range`, which was detached and which no TLB holds any more, and shows each of its blocks to
    /// `take`, which says how many bytes it has.
    pub fn take_blocks(&mut self, range: Range<VirtAddr>, mut take: impl FnMut(PhysAddr) -> u64) {
        let mut left = 0_u64;
        self.runs(range, |memory, run| {
            let mut index = run.entries.start;
            while index < run.entries.end {
                let entry = memory.read(run.table, index);
                if entry.is_broken() {
                    memory.write(run.table, index, Descriptor::EMPTY);
                    left = take(entry.output());
                }
                let count = run.count(index, left);
                index += count;
                left = left.saturating_sub(run.level.bytes() * count as u64);
            }
        });
    }

    /// Shows `visit` the entries of `range`, one stretch for each table.
    #[inline]
    fn runs(&mut self, range: Range<VirtAddr>, mut visit: impl FnMut(&mut M, Run)) {
        let mut at = range.start;
        while at < range.end {
            let run = self.run(&(at..range.end), |_| false);
            at = at.offset(run.level.bytes() * run.entries.len() as u64);
            visit(&mut self.memory, run);
        }
    }

    /// The entries of the start of `range`, in the lowest table there is or in the first that `is_last` is
    /// true of.
    #[inline]
    fn run(&self, range: &Range<VirtAddr>, is_last: impl Fn(Level) -> bool) -> Run {
        let (mut table, mut level) = (self.root, Level::ROOT);
        while !is_last(level)
            && let Some(below) = self
                .memory
                .read(table, level.index(range.start))
                .table_below(level)
        {
            (table, level) = (below, level.next());
        }
        let start = level.index(range.start);
        let bytes = range.end.get() - range.start.get();
        let count = usize::try_from(bytes.div_ceil(level.bytes())).unwrap_or(ENTRIES);
        let end = if level == Level::PAGE || is_last(level) {
            ENTRIES.min(start.saturating_add(count))
        } else {
            // The next entry may lead to a table.
            start + 1
        };
        Run {
            table,
            level,
            entries: start..end,
        }
    }
}

impl Run {
    /// Entries from `index` on that `bytes` fill, one at least.
    #[inline]
    fn count(&self, index: usize, bytes: u64) -> usize {
        let count = usize::try_from(bytes / self.level.bytes()).unwrap_or(ENTRIES);
        count.clamp(1, self.entries.end - index)
    }
}
