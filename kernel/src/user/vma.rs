//! Virtual memory areas of a user program: what it may use, whether or not it has been touched yet.
//!
//! # Invariants
//!
//! 1. Areas are sorted by address, disjoint, not empty, made of whole pages, and inside the bounds.
//! 2. The area of the heap, if there is one, spans from the heap's start to the break, rounded up to a
//!    page; it is the only one of kind [`Kind::Heap`].
//!
//! An operation that fails has changed nothing. Cost: finding is logarithmic, changes move the areas
//! behind.

#[cfg(test)]
mod tests;

use crate::mm::addr::{PAGE_BYTES, VirtAddr};
use crate::vm::descriptor::Attributes;
use alloc::vec::Vec;
use core::{error, fmt, ops::Range};

/// What a program may do with an area. Nothing is both writable and executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Read.
    Read,
    /// Read and write.
    ReadWrite,
    /// Read and execute.
    ReadExecute,
}

impl Rights {
    /// The attributes of its pages.
    pub const fn attributes(self) -> Attributes {
        match self {
            Self::Read => Attributes::USER_RODATA,
            Self::ReadWrite => Attributes::USER_DATA,
            Self::ReadExecute => Attributes::USER_TEXT,
        }
    }
}

/// What an area is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The program's code and data.
    Image,
    /// Grown and shrunk by `brk`.
    Heap,
    /// The stack.
    Stack,
    /// Made by `mmap`.
    Anonymous,
}

/// One area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vma {
    /// Its addresses, whole pages.
    pub range: Range<VirtAddr>,
    /// What may be done with it.
    pub rights: Rights,
    /// What it is for.
    pub kind: Kind,
}

/// Why the areas stay as they are. The address is where it would have gone wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmaError {
    /// Not a positive number of whole pages.
    Misaligned(VirtAddr),
    /// Outside the user region, or below the heap's start.
    Outside(VirtAddr),
    /// Another area is in the way.
    Overlap(VirtAddr),
    /// No gap holds so many bytes.
    NoSpace(u64),
    /// No memory to note the area.
    NoMemory,
}

impl fmt::Display for VmaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misaligned(at) => write!(f, "{at:#x} does not start an area of whole pages"),
            Self::Outside(at) => write!(f, "{at:#x} is outside the user region"),
            Self::Overlap(at) => write!(f, "another area is at {at:#x}"),
            Self::NoSpace(bytes) => write!(f, "no gap of {bytes} bytes in the user region"),
            Self::NoMemory => write!(f, "no memory to note an area"),
        }
    }
}

impl error::Error for VmaError {}

/// The areas of one program.
#[derive(Debug)]
pub struct VmaSet {
    bounds: Range<VirtAddr>,
    vmas: Vec<Vma>,
    heap_start: VirtAddr,
    heap_break: VirtAddr,
}

impl VmaSet {
    /// No areas, and an empty heap that will grow from `heap_start`, a page, on.
    pub const fn new(bounds: Range<VirtAddr>, heap_start: VirtAddr) -> Self {
        Self {
            bounds,
            vmas: Vec::new(),
            heap_start,
            heap_break: heap_start,
        }
    }

    /// The area that holds `address`.
    pub fn find(&self, address: VirtAddr) -> Option<&Vma> {
        let vma = self.vmas.get(self.first_ending_after(address))?;
        vma.range.contains(&address).then_some(vma)
    }

    /// All areas, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Vma> {
        self.vmas.iter()
    }

    /// Adds an area.
    pub fn insert(&mut self, vma: Vma) -> Result<(), VmaError> {
        self.check(&vma.range)?;
        let index = self.free_place(&vma.range)?;
        self.vmas.try_reserve(1).map_err(|_| VmaError::NoMemory)?;
        self.vmas.insert(index, vma);
        Ok(())
    }

    /// Takes `range` out of every area; an area around it becomes two.
    pub fn remove(&mut self, range: &Range<VirtAddr>) -> Result<(), VmaError> {
        self.check(range)?;
        self.vmas.try_reserve(1).map_err(|_| VmaError::NoMemory)?;
        let mut index = self.first_ending_after(range.start);
        while let Some(vma) = self
            .vmas
            .get_mut(index)
            .filter(|vma| vma.range.start < range.end)
        {
            let old = vma.range.clone();
            let (below, above) = (old.start < range.start, range.end < old.end);
            match (below, above) {
                (false, false) => {
                    self.vmas.remove(index);
                    continue;
                }
                (true, _) => vma.range.end = range.start,
                (false, true) => vma.range.start = range.end,
            }
            if below && above {
                let mut rest = vma.clone();
                rest.range = range.end..old.end;
                // The heap goes on only from its start.
                rest.kind = if rest.kind == Kind::Heap {
                    Kind::Anonymous
                } else {
                    rest.kind
                };
                self.vmas.insert(index + 1, rest);
            } else if above && vma.kind == Kind::Heap {
                vma.kind = Kind::Anonymous;
            }
            index += 1;
        }
        self.heap_break = self
            .heap_break
            .min(self.heap_pages().end)
            .max(self.heap_start);
        Ok(())
    }

    /// The highest gap of `bytes`, whole pages, below `top`, with a free page on either side.
    pub fn gap(&self, bytes: u64, top: VirtAddr) -> Result<Range<VirtAddr>, VmaError> {
        let no_space = VmaError::NoSpace(bytes);
        let needed = bytes
            .checked_next_multiple_of(PAGE_BYTES)
            .and_then(|bytes| bytes.checked_add(2 * PAGE_BYTES))
            .filter(|_| bytes > 0)
            .ok_or(no_space)?;
        let mut gap_end = top.min(self.bounds.end);
        for index in (0..=self.vmas.len()).rev() {
            let gap_start = match index.checked_sub(1) {
                Some(below) => self.vmas[below].range.end,
                None => self.bounds.start.max(self.heap_pages().end),
            };
            if gap_end.get().saturating_sub(gap_start.get()) >= needed {
                let end = gap_end.get() - PAGE_BYTES;
                let start = gap_end.get() - needed + PAGE_BYTES;
                return Ok(VirtAddr::new(start)..VirtAddr::new(end));
            }
            if let Some(below) = index.checked_sub(1) {
                gap_end = gap_end.min(self.vmas[below].range.start);
            }
        }
        Err(no_space)
    }

    /// Where the heap ends, to the byte.
    pub const fn heap_break(&self) -> VirtAddr {
        self.heap_break
    }

    /// Moves the end of the heap, and returns the pages that are no longer part of it.
    pub fn set_break(&mut self, new: VirtAddr) -> Result<Range<VirtAddr>, VmaError> {
        if new < self.heap_start || new > self.bounds.end {
            return Err(VmaError::Outside(new));
        }
        let old = self.heap_pages();
        let end = VirtAddr::new(new.get().next_multiple_of(PAGE_BYTES));
        let heap = self.vmas.iter().position(|vma| vma.kind == Kind::Heap);
        if end > old.end {
            self.free_place(&(old.end..end))?;
            match heap {
                Some(index) => self.vmas[index].range.end = end,
                None => self.insert(Vma {
                    range: self.heap_start..end,
                    rights: Rights::ReadWrite,
                    kind: Kind::Heap,
                })?,
            }
        } else if let Some(index) = heap {
            if end == self.heap_start {
                self.vmas.remove(index);
            } else {
                self.vmas[index].range.end = end;
            }
        }
        self.heap_break = new;
        Ok(end.min(old.end)..old.end)
    }

    /// Panics unless the invariants hold.
    pub fn validate(&self) {
        let mut free_from = self.bounds.start;
        for vma in &self.vmas {
            assert!(
                vma.range.start >= free_from,
                "areas overlap at {:?}",
                vma.range
            );
            assert!(!vma.range.is_empty(), "{:?}", vma.range);
            assert!(vma.range.start.is_aligned_to(PAGE_BYTES));
            assert!(vma.range.end.is_aligned_to(PAGE_BYTES));
            free_from = vma.range.end;
        }
        assert!(free_from <= self.bounds.end);
        let heaps: Vec<_> = self
            .vmas
            .iter()
            .filter(|vma| vma.kind == Kind::Heap)
            .collect();
        assert!(heaps.len() <= 1);
        let end = self.heap_break.get().next_multiple_of(PAGE_BYTES);
        let range = heaps
            .first()
            .map_or(self.heap_start..self.heap_start, |vma| vma.range.clone());
        assert_eq!(
            range,
            self.heap_start..VirtAddr::new(end),
            "the heap's area"
        );
    }

    /// The pages of the heap.
    fn heap_pages(&self) -> Range<VirtAddr> {
        let heap = self.vmas.iter().find(|vma| vma.kind == Kind::Heap);
        heap.map_or(self.heap_start..self.heap_start, |vma| vma.range.clone())
    }

    fn first_ending_after(&self, address: VirtAddr) -> usize {
        self.vmas.partition_point(|vma| vma.range.end <= address)
    }

    fn check(&self, range: &Range<VirtAddr>) -> Result<(), VmaError> {
        let aligned = |address: VirtAddr| address.is_aligned_to(PAGE_BYTES);
        if range.is_empty() || !aligned(range.start) || !aligned(range.end) {
            return Err(VmaError::Misaligned(range.start));
        }
        if range.start < self.bounds.start || range.end > self.bounds.end {
            return Err(VmaError::Outside(range.start));
        }
        Ok(())
    }

    /// The place in the list for an area at `range`, where none may be.
    fn free_place(&self, range: &Range<VirtAddr>) -> Result<usize, VmaError> {
        let index = self.first_ending_after(range.start);
        match self.vmas.get(index) {
            Some(next) if next.range.start < range.end => {
                Err(VmaError::Overlap(next.range.start.max(range.start)))
            }
            _ => Ok(index),
        }
    }
}
