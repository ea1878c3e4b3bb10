//! Rows about page frames: totals, zones, free blocks, failures.

use core::fmt::{self, Write};
use serde::{Deserialize, Serialize};

/// Orders of blocks, 0 to 10.
pub const ORDERS: usize = 11;

/// Totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meminfo {
    /// What the frame allocator manages.
    pub total_bytes: u64,
    /// What of it is free, on cores' page lists too.
    pub free_bytes: u64,
    /// What of that lies on cores' page lists.
    pub page_lists_bytes: u64,
    /// The most that was ever in use at once, zone by zone.
    pub peak_used_bytes: u64,
    /// In slabs, used or not.
    pub slab_bytes: u64,
    /// In objects of slabs that callers have.
    pub slab_live_bytes: u64,
    /// The entries of all frames, which are not managed.
    pub frame_table_bytes: u64,
    /// Addresses that vmalloc has.
    pub vmalloc_total_bytes: u64,
    /// Memory in areas of vmalloc, also of those that are being freed.
    pub vmalloc_used_bytes: u64,
    /// The pool of buffers for devices, which is not managed.
    pub dma_total_bytes: u64,
    /// What of it is free.
    pub dma_free_bytes: u64,
    /// Requests for frames that failed.
    pub allocation_failures: u64,
}

impl fmt::Display for Meminfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, bytes) in [
            ("MemTotal", self.total_bytes),
            ("MemFree", self.free_bytes),
            ("MemPageLists", self.page_lists_bytes),
            ("MemPeakUsed", self.peak_used_bytes),
            ("Slab", self.slab_bytes),
            ("SlabLive", self.slab_live_bytes),
            ("FrameTable", self.frame_table_bytes),
            ("VmallocTotal", self.vmalloc_total_bytes),
            ("VmallocUsed", self.vmalloc_used_bytes),
            ("DmaTotal", self.dma_total_bytes),
            ("DmaFree", self.dma_free_bytes),
        ] {
            let spaces = 16_usize.saturating_sub(name.len() + 1);
            writeln!(f, "{name}:{:spaces$}{:>8} kB", "", bytes / 1024)?;
        }
        writeln!(f, "AllocFailures:{:>10}", self.allocation_failures)
    }
}

/// How often something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter<'a> {
    /// Linux's name for it, where it has one.
    pub name: &'a str,
    /// How often.
    pub count: u64,
}

impl fmt::Display for Counter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.name, self.count)
    }
}

/// A zone's free blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreeBlocks<'a> {
    /// The zone.
    pub zone: &'a str,
    /// Blocks of order 0 to 10; what lies on cores' page lists is not among them.
    pub blocks_by_order: [u32; ORDERS],
}

impl FreeBlocks<'_> {
    /// Frames in the blocks.
    pub fn frames(&self) -> u64 {
        let blocks = self.blocks_by_order.iter().zip(0_u32..);
        blocks
            .map(|(&blocks, order)| u64::from(blocks) << order)
            .sum()
    }
}

impl fmt::Display for FreeBlocks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node 0, zone {:>8} ", self.zone)?;
        numbers(f, &self.blocks_by_order)
    }
}

fn numbers(f: &mut fmt::Formatter<'_>, numbers: &[u32]) -> fmt::Result {
    for number in numbers {
        write!(f, "{number:>6} ")?;
    }
    writeln!(f)
}

/// What a pageblock is: the unit that has a migrate type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageTypes {
    /// Order of a pageblock.
    pub pageblock_order: u8,
    /// Frames of a pageblock.
    pub pageblock_frames: u32,
}

impl fmt::Display for PageTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Page block order: {}", self.pageblock_order)?;
        writeln!(f, "Pages per block:  {}", self.pageblock_frames)
    }
}

/// A zone's free blocks of one migrate type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreeOfType<'a> {
    /// The zone.
    pub zone: &'a str,
    /// The migrate type.
    pub migrate_type: &'a str,
    /// Blocks of order 0 to 10.
    pub blocks_by_order: [u32; ORDERS],
}

impl fmt::Display for FreeOfType<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            zone, migrate_type, ..
        } = self;
        write!(f, "Node    0, zone {zone:>8}, type {migrate_type:>12} ")?;
        numbers(f, &self.blocks_by_order)
    }
}

pub(super) fn heading_of_free(out: &mut impl Write) -> fmt::Result {
    write!(
        out,
        "\n{:<43} ",
        "Free pages count per migrate type at order"
    )?;
    for order in 0..ORDERS {
        write!(out, "{order:>6} ")?;
    }
    writeln!(out)
}

/// A zone's pageblocks by migrate type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageBlocks<'a> {
    /// The zone.
    pub zone: &'a str,
    /// Pageblocks of what stays where it is.
    pub unmovable: u32,
    /// Of what compaction may move.
    pub movable: u32,
    /// Of what shrinkers may give up.
    pub reclaimable: u32,
    /// Lent by the pool of buffers for devices.
    pub cma: u32,
    /// From which nothing is given out at the moment.
    pub isolate: u32,
}

impl fmt::Display for PageBlocks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node 0, zone {:>8} ", self.zone)?;
        for blocks in [
            self.unmovable,
            self.movable,
            self.reclaimable,
            self.cma,
            self.isolate,
        ] {
            write!(f, "{blocks:>12} ")?;
        }
        writeln!(f)
    }
}

pub(super) fn heading_of_blocks(out: &mut impl Write) -> fmt::Result {
    write!(out, "\n{:<23}", "Number of blocks type")?;
    for name in ["Unmovable", "Movable", "Reclaimable", "CMA", "Isolate"] {
        write!(out, "{name:>12} ")?;
    }
    writeln!(out)
}

/// A zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone<'a> {
    /// Its name.
    pub zone: &'a str,
    /// Frames in free blocks; those on cores' page lists are not among them.
    pub free_frames: u32,
    /// Below this, only the most urgent requests are served.
    pub min_frames: u32,
    /// Below this, requests reclaim.
    pub low_frames: u32,
    /// Where reclaim ends.
    pub high_frames: u32,
    /// Free frames in pageblocks lent by the pool of buffers for devices.
    pub cma_frames: u32,
    /// Free frames in pageblocks from which nothing is given out; not in `free_frames`.
    pub isolated_frames: u32,
    /// Between its bounds, holes included.
    pub spanned_frames: u32,
    /// What the allocator was given.
    pub managed_frames: u32,
    /// The most that were ever in use at once.
    pub peak_used_frames: u32,
    /// Number of its first frame.
    pub start_frame: u32,
}

impl fmt::Display for Zone<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Node 0, zone {:>8}", self.zone)?;
        writeln!(f, "  pages free     {}", self.free_frames)?;
        for (name, frames) in [
            ("min", self.min_frames),
            ("low", self.low_frames),
            ("high", self.high_frames),
            ("spanned", self.spanned_frames),
            ("managed", self.managed_frames),
            ("cma", self.cma_frames),
            ("isolated", self.isolated_frames),
            ("peak", self.peak_used_frames),
        ] {
            writeln!(f, "        {name:<8} {frames}")?;
        }
        writeln!(f, "  start_pfn:           {}", self.start_frame)?;
        writeln!(f, "  pagesets")
    }
}

/// A core's list of single frames and small blocks of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pageset<'a> {
    /// The zone.
    pub zone: &'a str,
    /// The core.
    pub cpu: u32,
    /// Frames on the list.
    pub frames: u32,
    /// Most frames that it keeps.
    pub high_frames: u32,
    /// Frames that it is refilled with.
    pub batch_frames: u32,
    /// Requests that the list served.
    pub hits: u64,
    /// Requests for which it was refilled first.
    pub misses: u64,
}

impl fmt::Display for Pageset<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "    cpu: {}", self.cpu)?;
        for (name, number) in [
            ("count:", u64::from(self.frames)),
            ("high:", u64::from(self.high_frames)),
            ("batch:", u64::from(self.batch_frames)),
            ("hits:", self.hits),
            ("miss:", self.misses),
        ] {
            writeln!(f, "              {name:<7}{number}")?;
        }
        Ok(())
    }
}

/// Requests that failed and asked for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure<'a> {
    /// The highest zone that would have served them.
    pub zone: &'a str,
    /// Order of the block asked for.
    pub order: u8,
    /// The flags, by name.
    pub flags: &'a str,
    /// How many.
    pub failures: u64,
    /// Frames that were free at the last.
    pub free_frames: u32,
}

pub(super) const HEADING_OF_FAILURES: &str = "failures  zone   order  free_pages  flags\n";

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>8}  {:<6} {:>5}  {:>10}  {}",
            self.failures, self.zone, self.order, self.free_frames, self.flags
        )
    }
}
