//! Which rows there are, in the order in which they are measured.
//!
//! Rows that one workload measures together (its allocations and its frees) form a [`Family`]. Boot
//! phases and traces are known only in a running image, and join there.

pub mod line_up;

use crate::name::Name;
use crate::workload::FreeOrder;
use crate::workload::pathology::Pathology;
use core::fmt;

/// One operation of a family: which of its samples a row reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Operation {
    /// Allocations.
    Alloc,
    /// Frees.
    Free,
    /// Allocations that ask for zeros (traces).
    Zeroed,
    /// Reallocations (traces).
    Realloc,
    /// Allocations of page frames (traces).
    PagesAlloc,
    /// Frees of page frames (traces).
    PagesFree,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Alloc,
        Self::Free,
        Self::Zeroed,
        Self::Realloc,
        Self::PagesAlloc,
        Self::PagesFree,
    ];
    /// The two that every workload has.
    pub const PAIR: [Self; 2] = [Self::Alloc, Self::Free];

    /// The last word of the row's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alloc => "alloc",
            Self::Free => "free",
            Self::Zeroed => "zeroed",
            Self::Realloc => "realloc",
            Self::PagesAlloc => "pages-alloc",
            Self::PagesFree => "pages-free",
        }
    }

    /// The operation as an index into [`Operation::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// What a family does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Hot pairs of one size, through an allocator's own interface.
    Hot(u32),
    /// Hot pairs of `kmalloc` and `kfree`, the size passed at run time.
    Kmalloc(u32),
    /// Hot pairs of `alloc` and `dealloc` with a constant `Layout`.
    Layout(u32),
    /// Hot pairs of a cache of 64-byte objects.
    Cache64,
    /// Hot pairs of blocks of page frames of this order.
    Pages(u8),
    /// A batch of 64-byte objects.
    Batch64(FreeOrder),
    /// `mixed/toggle` as the crates' figures were measured.
    Toggle,
    /// `mixed/toggle` as Linux's figures were measured.
    ToggleLinux,
    /// `mixed/replace-1024`.
    Replace,
    /// Hot pairs of `vmalloc` and `vfree`.
    Vmalloc(u32),
    /// Hot pairs of DMA buffers.
    Dma(u32),
    /// `mixed/toggle` on memory that was fragmented before.
    Fragmented,
    /// Blocks of random orders.
    PagesMix,
    /// Blocks of small orders at 62 % of memory.
    PagesChurn,
    /// Single frames, a tenth of them replaced again and again.
    PagesChurnSingle,
    /// A batch of single frames.
    PagesLifo,
    /// Growth by single frames.
    PagesGrow,
    /// A frame where this core has none listed.
    PagesRefill,
    /// A frame where this core's list is full.
    PagesDrain,
    /// Compaction of everything.
    Compact,
    /// Compaction on request.
    CompactRequest,
    /// A cache that grows by a slab.
    SlabGrow,
    /// Objects of one size that another core frees.
    RemoteFree(u32),
    /// Single page frames that another core frees.
    RemoteFreePages,
    /// Objects that all other cores free at once.
    RemoteStorm,
    /// All cores at once.
    Contended(Contention),
    /// What drives allocators into what a mean hides.
    Pathology(Pathology),
    /// Large blocks asked for while single frames come and go.
    OrderHunger,
    /// Fill 64 MiB.
    Used,
    /// What cannot be had of 64 MiB.
    Metadata,
    /// What cannot be had of 256 MiB in page frames.
    PagesMetadata,
    /// Hold 1,024 objects.
    Held1024,
    /// Hold 65,536 objects.
    Held65536,
}

/// What all cores want at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contention {
    /// Objects of many sizes.
    Objects,
    /// Blocks of page frames, up to order 3.
    Pages,
}

/// A figure of a family that is no latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Blocks of 2 MiB that could be had.
    Recovered,
    /// Those that free memory would make if it were in one piece.
    Ideal,
    /// What it took.
    Cost,
    /// Blocks that were moved.
    Moved,
    /// Blocks of 2 MiB that became free.
    Cleared,
    /// Requests that were granted.
    Granted,
    /// Bytes that were asked for.
    Asked,
    /// Bytes that were held for them.
    Held,
    /// The first over the second, or what the family says.
    Ratio,
    /// Bytes of a machine's memory that no caller can have.
    Lost,
}

impl Figure {
    /// The last word of its name, and its unit.
    pub const fn name_and_unit(self) -> (&'static str, &'static str) {
        match self {
            Self::Recovered => ("recovered", "blocks of 2 MiB"),
            Self::Ideal => ("ideal", "blocks of 2 MiB"),
            Self::Cost => ("cost", "instructions"),
            Self::Moved => ("moved", "frames"),
            Self::Cleared => ("cleared", "blocks of 2 MiB"),
            Self::Granted => ("granted", "blocks of 4 MiB"),
            Self::Asked => ("asked", "bytes"),
            Self::Held => ("held", "bytes"),
            Self::Ratio => ("ratio", "per mille"),
            Self::Lost => ("lost", "bytes"),
        }
    }
}

impl Work {
    /// The operations that its rows report.
    pub const fn operations(self) -> &'static [Operation] {
        match self {
            Self::Used
            | Self::Metadata
            | Self::PagesMetadata
            | Self::Held1024
            | Self::Held65536
            | Self::Compact => &[],
            Self::SlabGrow | Self::PagesRefill | Self::CompactRequest => &[Operation::Alloc],
            Self::PagesDrain => &[Operation::Free],
            _ => &Operation::PAIR,
        }
    }

    /// Its figures that are no latencies.
    pub const fn figures(self) -> &'static [Figure] {
        match self {
            Self::PagesChurn | Self::PagesChurnSingle => &[Figure::Recovered, Figure::Ideal],
            Self::Compact => &[Figure::Cost, Figure::Moved, Figure::Cleared],
            Self::OrderHunger => &[Figure::Granted],
            Self::Used => &[Figure::Asked, Figure::Ratio],
            Self::Metadata | Self::PagesMetadata => &[Figure::Lost],
            Self::Held1024 | Self::Held65536 => &[Figure::Asked, Figure::Held, Figure::Ratio],
            _ => &[],
        }
    }

    /// What its rows measure, in a sentence.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Hot(_) => "Hot pairs of one size, size and alignment passed at run time.",
            Self::Kmalloc(_) => "Hot pairs of kmalloc and kfree, the size passed at run time.",
            Self::Layout(_) => {
                "Hot pairs of the global allocator, the Layout a compile-time constant."
            }
            Self::Cache64 => "Hot pairs of a slab cache of 64-byte objects.",
            Self::Pages(_) => {
                "Hot pairs of one block of 2^order page frames, 256 MiB free otherwise."
            }
            Self::Batch64(FreeOrder::Fifo) => {
                "1,000 objects of 64 bytes, freed first in, first out."
            }
            Self::Batch64(FreeOrder::Lifo) => {
                "1,000 objects of 64 bytes, freed last in, first out."
            }
            Self::Batch64(FreeOrder::Random) => "1,000 objects of 64 bytes, freed in random order.",
            Self::Toggle => {
                "100,000 operations on 1,024 slots, each freed if full and filled if empty; \
                 sizes uniform in octaves, 16 to 4,095 bytes."
            }
            Self::ToggleLinux => {
                "As mixed/toggle, with the generator and the log-uniform sizes of Linux's figures."
            }
            Self::Replace => {
                "100,000 operations on 1,024 full slots, each freed and filled anew; log-uniform \
                 sizes, 16 to 4,074 bytes."
            }
            Self::Vmalloc(_) => "Hot pairs of vmalloc and vfree: scattered frames, mapped.",
            Self::Dma(_) => "Hot pairs of a contiguous DMA buffer for a coherent device.",
            Self::Fragmented => {
                "mixed/toggle after 1,000,000 operations on 16,384 slots of which every second \
                 object was freed."
            }
            Self::PagesMix => {
                "100,000 operations on 4,096 slots of blocks up to order 10, each order half as \
                 likely as the one below; 256 MiB."
            }
            Self::PagesChurn => {
                "50,000 operations after 1,000,000 on 32,768 slots of blocks up to order 3, at 62 % \
                 of 256 MiB; and the 2 MiB blocks that can be had afterwards."
            }
            Self::PagesChurnSingle => {
                "Half of 256 MiB in single frames, a random tenth replaced 100 times; and the 2 MiB \
                 blocks that can be had afterwards."
            }
            Self::PagesLifo => "512 single page frames, freed last in, first out.",
            Self::PagesGrow => {
                "Nine tenths of 256 MiB taken in single frames and freed, three times in different \
                 orders: what growth costs at most."
            }
            Self::PagesRefill => {
                "A frame where this core lists none and free memory is in whole blocks of 4 MiB."
            }
            Self::PagesDrain => "A frame given back to a list that is full.",
            Self::Compact => {
                "60 of 64 MiB in single movable frames of which a random half was freed: one call that \
                 makes blocks of 2 MiB of the holes."
            }
            Self::CompactRequest => {
                "Blocks of 2 MiB, each made on request out of 60 of 64 MiB in single movable frames of \
                 which a random half was freed."
            }
            Self::SlabGrow => {
                "A 64-byte object of a cache that holds nothing: its first slab is made for it."
            }
            Self::RemoteFree(_) => {
                "10 batches of 1,000 objects, allocated on one core and freed on another."
            }
            Self::RemoteFreePages => {
                "10 batches of 1,000 page frames, allocated on one core and freed on another."
            }
            Self::RemoteStorm => {
                "10 batches of 1,000 objects of 64 bytes, allocated on one core and freed by all others \
                 at once while it allocates the next."
            }
            Self::Pathology(pathology) => pathology.about(),
            Self::OrderHunger => {
                "Blocks of 4 MiB, asked for 625 times while 20,000 single frames are replaced at random \
                 in 64 MiB of which 70 % are in use; and how often there was one."
            }
            Self::Contended(Contention::Objects) => {
                "mixed/toggle on 256 slots of each core, all at once, yielding inside sections: what \
                 all executed meanwhile."
            }
            Self::Contended(Contention::Pages) => {
                "Blocks up to order 3 on 256 slots of each core, all at once, yielding inside \
                 sections: what all executed meanwhile."
            }
            Self::Used => {
                "Sizes of mixed/toggle from 64 MiB until the first failure: bytes asked for, and \
                 their part of 64 MiB."
            }
            Self::Metadata => {
                "64 MiB less all that objects of 512 bytes get of it, and what the allocator keeps \
                 elsewhere."
            }
            Self::PagesMetadata => {
                "256 MiB less all that single page frames get of it, and what the allocator keeps \
                 elsewhere."
            }
            Self::Held1024 => {
                "1,024 objects that mixed/replace-1024 leaves live, free lists drained: bytes in \
                 slabs over bytes asked for."
            }
            Self::Held65536 => {
                "65,536 objects after 1,000,000 random replacements, free lists drained: bytes in \
                 slabs over bytes asked for."
            }
        }
    }
}

/// Rows that are measured together.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// The front that their names share.
    pub name: Name,
    /// What is done.
    pub work: Work,
}

impl Family {
    const fn new(name: Name, work: Work) -> Self {
        Self { name, work }
    }
}

/// The name of the row that reports `operation` of the family `name`.
pub fn row_name(name: &str, operation: Operation) -> Name {
    Name::new(format_args!("{name}/{}", operation.name()))
}

/// The name of the value that is `figure` of the family `name`.
pub fn figure_name(name: &str, figure: Figure) -> Name {
    Name::new(format_args!("{name}/{}", figure.name_and_unit().0))
}

/// Sizes of the areas in the rows of vmalloc and DMA.
const AREAS: [(&str, u32); 3] = [("4K", 4 << 10), ("64K", 64 << 10), ("1M", 1 << 20)];

/// Families whose names say it all.
const FIXED: [(&str, Work); 19] = [
    ("batch-64/fifo", Work::Batch64(FreeOrder::Fifo)),
    ("batch-64/lifo", Work::Batch64(FreeOrder::Lifo)),
    ("batch-64/random", Work::Batch64(FreeOrder::Random)),
    ("slab/grow", Work::SlabGrow),
    ("percpu/refill", Work::PagesRefill),
    ("percpu/drain", Work::PagesDrain),
    ("compact/all", Work::Compact),
    ("compact/request", Work::CompactRequest),
    ("mixed/toggle", Work::Toggle),
    ("mixed/toggle-linux", Work::ToggleLinux),
    ("mixed/replace-1024", Work::Replace),
    ("mixed/fragmented", Work::Fragmented),
    ("pages/mix", Work::PagesMix),
    ("pages/churn62", Work::PagesChurn),
    ("pages/churn-order0", Work::PagesChurnSingle),
    ("pages/grow", Work::PagesGrow),
    ("held/replace-1024", Work::Held1024),
    ("held/65536", Work::Held65536),
    ("used-of-64MiB", Work::Used),
];

/// What two cores do.
const REMOTE: [(&str, Work); 3] = [
    ("remote-free/64", Work::RemoteFree(64)),
    ("remote-free/1024", Work::RemoteFree(1024)),
    ("remote-free/pages-0", Work::RemoteFreePages),
];

/// The front of the names of workloads that drive allocators into what a mean hides.
const PATHOLOGY: &str = "pathology";

/// What all cores do at once, in an image that yields inside sections.
const CONTENDED: [(&str, Work); 2] = [
    ("contended/toggle", Work::Contended(Contention::Objects)),
    ("contended/pages", Work::Contended(Contention::Pages)),
];

/// The families of all cores at once.
pub fn contended() -> impl Iterator<Item = Family> {
    let family = |(name, work)| Family::new(Name::new(format_args!("{name}")), work);
    CONTENDED.into_iter().map(family)
}

/// All families but boot, traces, the line-up and those of all cores at once, in order, as far as
/// a machine of `cores` cores has them.
pub fn families(cores: u32) -> impl Iterator<Item = Family> {
    let of = |name: fmt::Arguments<'_>, work| Family::new(Name::new(name), work);
    let powers =
        |front: &'static str, powers: core::ops::RangeInclusive<u32>, work: fn(u32) -> Work| {
            let sizes = powers.map(|power| 1 << power);
            sizes.map(move |size| of(format_args!("{front}/{size}"), work(size)))
        };
    let pages = (0..=10).map(move |order| of(format_args!("pages/{order}"), Work::Pages(order)));
    let areas = |front: &'static str, work: fn(u32) -> Work| {
        AREAS
            .into_iter()
            .map(move |(size, bytes)| of(format_args!("{front}/{size}"), work(bytes)))
    };
    let remote = REMOTE.into_iter().filter(move |_| cores > 1);
    let pathologies = Pathology::ALL.map(|each| (each.name(), Work::Pathology(each)));
    let storm = (cores > 1).then_some(("remote-storm", Work::RemoteStorm));
    let pathologies = pathologies
        .into_iter()
        .chain([("order-10-hunger", Work::OrderHunger)])
        .chain(storm)
        .map(move |(name, work)| of(format_args!("{PATHOLOGY}/{name}"), work));
    let fixed = FIXED.into_iter().chain(remote);
    let fixed = fixed.map(move |(name, work)| of(format_args!("{name}"), work));
    powers("kmalloc", 3..=13, Work::Kmalloc)
        .chain(powers("layout", 3..=12, Work::Layout))
        .chain([of(format_args!("cache-64"), Work::Cache64)])
        .chain(pages)
        .chain(fixed)
        .chain(areas("vmalloc", Work::Vmalloc))
        .chain(areas("dma", Work::Dma))
        .chain(pathologies)
}

#[cfg(test)]
mod tests;
