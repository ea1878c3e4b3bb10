//! Which rows there are, in the order in which they are measured.
//!
//! Rows that one workload measures together (its allocations and its frees) form a [`Family`]. Boot
//! phases and traces are known only in a running image, and join there.

use crate::workload::FreeOrder;
use core::fmt::{self, Write};
use core::ops::Deref;

/// Longest name of a row in bytes.
pub const NAME_BYTES: usize = 96;

/// A row's name or the front of one, without a heap to keep it in.
#[derive(Clone, Copy)]
pub struct Name {
    bytes: [u8; NAME_BYTES],
    length: usize,
}

impl Name {
    /// A name as `format_args!` makes it. What exceeds [`NAME_BYTES`] is cut off.
    pub fn new(text: fmt::Arguments<'_>) -> Self {
        let mut name = Self {
            bytes: [0; NAME_BYTES],
            length: 0,
        };
        // Only a name that is too long fails to be written, and is then as long as it can be.
        let _ = name.write_fmt(text);
        name
    }
}

impl Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.chars() {
            let mut buffer = [0; 4];
            let part = part.encode_utf8(&mut buffer).as_bytes();
            let end = self.length + part.len();
            let place = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
            place.copy_from_slice(part);
            self.length = end;
        }
        Ok(())
    }
}

impl Deref for Name {
    type Target = str;
    fn deref(&self) -> &str {
        // Whole characters were written and nothing else.
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

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
}

impl Work {
    /// What its rows measure, in a sentence.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Kmalloc(_) => "Hot pairs of kmalloc and kfree, the size passed at run time.",
            Self::Layout(_) => {
                "Hot pairs of the global allocator, the Layout a compile-time constant."
            }
            Self::Cache64 => "Hot pairs of a slab cache of 64-byte objects.",
            Self::Pages(_) => "Hot pairs of one block of 2^order page frames.",
            Self::Batch64(FreeOrder::Fifo) => {
                "1,000 objects of 64 bytes by kmalloc, freed first in, first out."
            }
            Self::Batch64(FreeOrder::Lifo) => {
                "1,000 objects of 64 bytes by kmalloc, freed last in, first out."
            }
            Self::Batch64(FreeOrder::Random) => {
                "1,000 objects of 64 bytes by kmalloc, freed in random order."
            }
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

/// Sizes of the areas in the rows of vmalloc and DMA.
const AREAS: [(&str, u32); 3] = [("4K", 4 << 10), ("64K", 64 << 10), ("1M", 1 << 20)];

/// All families but boot and traces, in order.
pub fn families() -> impl Iterator<Item = Family> {
    let kmalloc = (3..=13).map(|power| {
        let size = 1 << power;
        Family::new(
            Name::new(format_args!("kmalloc/{size}")),
            Work::Kmalloc(size),
        )
    });
    let layout = (3..=12).map(|power| {
        let size = 1 << power;
        Family::new(Name::new(format_args!("layout/{size}")), Work::Layout(size))
    });
    let pages = (0..=10)
        .map(|order| Family::new(Name::new(format_args!("pages/{order}")), Work::Pages(order)));
    let fixed = |name: &'static str, work| Family::new(Name::new(format_args!("{name}")), work);
    let cache = [fixed("cache-64", Work::Cache64)];
    let sequences = [
        fixed("batch-64/fifo", Work::Batch64(FreeOrder::Fifo)),
        fixed("batch-64/lifo", Work::Batch64(FreeOrder::Lifo)),
        fixed("batch-64/random", Work::Batch64(FreeOrder::Random)),
        fixed("mixed/toggle", Work::Toggle),
        fixed("mixed/toggle-linux", Work::ToggleLinux),
        fixed("mixed/replace-1024", Work::Replace),
    ];
    let areas = |front: &'static str, work: fn(u32) -> Work| {
        AREAS.into_iter().map(move |(size, bytes)| {
            Family::new(Name::new(format_args!("{front}/{size}")), work(bytes))
        })
    };
    kmalloc
        .chain(layout)
        .chain(cache)
        .chain(pages)
        .chain(sequences)
        .chain(areas("vmalloc", Work::Vmalloc))
        .chain(areas("dma", Work::Dma))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_row_has_a_name_of_its_own_and_a_sentence() {
        let mut names = BTreeSet::new();
        for family in families() {
            for operation in Operation::PAIR {
                assert!(names.insert(row_name(&family.name, operation).to_string()));
            }
            assert!(family.work.about().ends_with('.'));
        }
        assert_eq!(names.len(), 2 * (11 + 10 + 1 + 11 + 6 + 3 + 3));
        for name in ["kmalloc/8/alloc", "layout/4096/free", "pages/10/free"] {
            assert!(names.contains(name), "{name}");
        }
    }

    #[test]
    fn a_name_too_long_is_cut_between_characters() {
        let name = Name::new(format_args!("{}ä{}", "x".repeat(NAME_BYTES - 1), "y"));
        assert_eq!(&*name, "x".repeat(NAME_BYTES - 1));
    }

    #[test]
    fn operations_are_numbered_as_listed() {
        for (index, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation.index(), index);
        }
    }
}
