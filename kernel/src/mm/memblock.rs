//! Memory before there is an allocator: which physical ranges exist, and which are spoken for.
//!
//! The device tree's banks go in by [`add`](Memblock::add); the image, the device tree and whatever
//! that reserves by [`reserve`](Memblock::reserve). Boot may then [`alloc`](Memblock::alloc). What is
//! memory and not reserved in the end goes to the buddy allocator, once.
//!
//! # Shape
//!
//! ```text
//! memory     [ bank 0                  ]      [ bank 1       ]
//! reserved        [image][dtb]    [fw ]            [initrd]
//! free       [   ]           [    ]           [   ]        [ ]
//! ```
//!
//! # Invariants
//!
//! 1. Each list is sorted, and its regions are not empty and do not overlap.
//! 2. Neighbours that touch differ in name or in `nomap`; otherwise they are one region.
//!
//! # Cost
//!
//! A few passes over lists of at most [`CAPACITY`] regions. Nothing is allocated.
//!
//! # Locking
//!
//! None: one core boots, and owns the value.

use super::addr::PhysAddr;
use core::{fmt, ops::Range};

/// Most regions of one kind.
pub const CAPACITY: usize = 128;
/// First byte that a [`Pfn`](super::addr::Pfn) cannot name: 16 TiB.
const REACH_END: u64 = 1 << 44;

/// A range of physical memory with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First byte.
    pub start: PhysAddr,
    /// First byte behind it.
    pub end: PhysAddr,
    /// What it is, for reports.
    pub name: &'static str,
    /// Whether the kernel must not even map it (`no-map` in the device tree).
    pub nomap: bool,
}

impl Region {
    const EMPTY: Self = Self {
        start: PhysAddr::new(0),
        end: PhysAddr::new(0),
        name: "",
        nomap: false,
    };

    /// Its bounds.
    pub const fn range(&self) -> Range<PhysAddr> {
        self.start..self.end
    }

    const fn bytes(&self) -> u64 {
        self.end.get() - self.start.get()
    }

    fn continues(&self, next: &Self) -> bool {
        self.end == next.start && self.name == next.name && self.nomap == next.nomap
    }
}

/// Why a range could not be entered or found. The lists are unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemblockError {
    /// The list has no room for the region at this address.
    Full(PhysAddr),
    /// The range ends past 16 TiB, which frame numbers cannot reach, or before it starts.
    BadRange(PhysAddr, PhysAddr),
    /// No free range holds so many bytes at that alignment below the limit.
    OutOfMemory {
        /// Bytes asked for.
        bytes: u64,
        /// Alignment asked for, in bytes.
        align_bytes: u64,
        /// The limit.
        below: PhysAddr,
    },
}

impl fmt::Display for MemblockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(at) => write!(f, "more than {CAPACITY} memory regions, at {at:#x}"),
            Self::BadRange(start, end) => write!(f, "{start:#x} to {end:#x} is no memory range"),
            Self::OutOfMemory {
                bytes,
                align_bytes,
                below,
            } => write!(
                f,
                "no {bytes} free bytes aligned to {align_bytes:#x} below {below:#x}"
            ),
        }
    }
}

impl core::error::Error for MemblockError {}

/// A sorted list of disjoint regions.
#[derive(Clone, Debug)]
struct Regions {
    list: [Region; CAPACITY],
    len: usize,
}

impl Regions {
    const fn new() -> Self {
        Self {
            list: [Region::EMPTY; CAPACITY],
            len: 0,
        }
    }

    fn as_slice(&self) -> &[Region] {
        &self.list[..self.len]
    }

    /// The indices of the regions that share a byte with `range`.
    fn overlapping(&self, range: &Range<PhysAddr>) -> Range<usize> {
        let first = self.as_slice().partition_point(|r| r.end <= range.start);
        let end = self.as_slice().partition_point(|r| r.start < range.end);
        // An empty range inside a region shares nothing with it.
        first..if range.is_empty() { first } else { end }
    }

    fn insert_at(&mut self, index: usize, region: Region) {
        self.list.copy_within(index..self.len, index + 1);
        self.list[index] = region;
        self.len += 1;
    }

    fn remove_at(&mut self, index: usize) {
        self.list.copy_within(index + 1..self.len, index);
        self.len -= 1;
    }

    /// Joins the region at `index` with the one before it if they are one.
    fn join(&mut self, index: usize) {
        if index > 0 && index < self.len && self.list[index - 1].continues(&self.list[index]) {
            self.list[index - 1].end = self.list[index].end;
            self.remove_at(index);
        }
    }

    /// Whether entering or cutting out `range` may need more entries than there are.
    fn lacks_room_for(&self, range: &Range<PhysAddr>) -> bool {
        self.len + self.overlapping(range).len() + 1 > CAPACITY
    }

    /// Enters the parts of `new` that no region covers yet.
    fn insert_gaps(&mut self, new: Region) {
        let mut start = new.start;
        let mut index = self.overlapping(&new.range()).start;
        while start < new.end {
            let next = self.as_slice().get(index).copied();
            let end = next.map_or(new.end, |next| next.start.min(new.end));
            if start < end {
                self.insert_at(index, Region { start, end, ..new });
                index += 1;
            }
            start = next.map_or(new.end, |next| next.end.max(start));
            index += 1;
        }
        // Joins happen at the edges of what was entered: at `index` and at everything before it
        // that this call touched.
        let first = self.overlapping(&new.range()).start;
        for touched in (first..=index).rev() {
            self.join(touched);
        }
    }

    /// Takes `range` out, cutting regions that stick out of it.
    fn cut(&mut self, range: &Range<PhysAddr>) {
        let cut = self.overlapping(range);
        let mut index = cut.start;
        for _ in cut {
            let region = self.list[index];
            self.remove_at(index);
            if region.start < range.start {
                let end = range.start;
                self.insert_at(index, Region { end, ..region });
                index += 1;
            }
            if region.end > range.end {
                let start = range.end;
                self.insert_at(index, Region { start, ..region });
                index += 1;
            }
        }
    }
}

/// The two lists.
#[derive(Clone, Debug)]
pub struct Memblock {
    memory: Regions,
    reserved: Regions,
}

impl Memblock {
    /// No memory at all.
    pub const fn new() -> Self {
        Self {
            memory: Regions::new(),
            reserved: Regions::new(),
        }
    }

    /// Enters a bank of memory; banks may touch and overlap.
    ///
    /// # Errors
    ///
    /// [`MemblockError::Full`], [`MemblockError::BadRange`].
    pub fn add(&mut self, range: Range<PhysAddr>, name: &'static str) -> Result<(), MemblockError> {
        let region = Region {
            start: range.start,
            end: range.end,
            name,
            nomap: false,
        };
        Self::enter(&mut self.memory, region)
    }

    /// Takes `range` out of what may be allocated. It need not be memory. Where something is reserved
    /// already the first name stays, but a `nomap` region always wins.
    ///
    /// # Errors
    ///
    /// [`MemblockError::Full`], [`MemblockError::BadRange`].
    pub fn reserve(
        &mut self,
        range: Range<PhysAddr>,
        name: &'static str,
        nomap: bool,
    ) -> Result<(), MemblockError> {
        let region = Region {
            start: range.start,
            end: range.end,
            name,
            nomap,
        };
        Self::enter(&mut self.reserved, region)
    }

    fn enter(list: &mut Regions, region: Region) -> Result<(), MemblockError> {
        let range = region.range();
        if range.end < range.start || range.end.get() > REACH_END {
            return Err(MemblockError::BadRange(range.start, range.end));
        }
        if range.is_empty() {
            return Ok(());
        }
        if list.lacks_room_for(&range) {
            return Err(MemblockError::Full(range.start));
        }
        if region.nomap {
            list.cut(&range);
        }
        list.insert_gaps(region);
        Ok(())
    }

    /// Makes `range` allocatable again, whatever part of it was reserved.
    ///
    /// # Errors
    ///
    /// [`MemblockError::Full`] if a region had to be cut in two and there is no room for that.
    pub fn free(&mut self, range: Range<PhysAddr>) -> Result<(), MemblockError> {
        if self.reserved.lacks_room_for(&range) {
            return Err(MemblockError::Full(range.start));
        }
        self.reserved.cut(&range);
        Ok(())
    }

    /// Reserves the highest free `bytes` that are aligned to `align_bytes` (a power of two) and end
    /// at `below` or under it; returns where they start. Their content is whatever was there.
    ///
    /// # Errors
    ///
    /// [`MemblockError::OutOfMemory`], [`MemblockError::Full`].
    pub fn alloc(
        &mut self,
        bytes: u64,
        align_bytes: u64,
        below: PhysAddr,
        name: &'static str,
    ) -> Result<PhysAddr, MemblockError> {
        let fit = |range: Range<PhysAddr>| {
            let end = range.end.min(below).get();
            let start = end.checked_sub(bytes)? & !(align_bytes - 1);
            (start >= range.start.get()).then(|| PhysAddr::new(start))
        };
        let start = self.free_ranges().filter_map(fit).last();
        let start = start.ok_or(MemblockError::OutOfMemory {
            bytes,
            align_bytes,
            below,
        })?;
        self.reserve(start..start.offset(bytes), name, false)?;
        Ok(start)
    }

    /// All memory, lowest first.
    pub fn memory(&self) -> &[Region] {
        self.memory.as_slice()
    }

    /// All reservations, lowest first.
    pub fn reserved(&self) -> &[Region] {
        self.reserved.as_slice()
    }

    /// The first reservation that shares a byte with `range`.
    pub fn overlaps(&self, range: &Range<PhysAddr>) -> Option<&Region> {
        self.reserved()[self.reserved.overlapping(range)].first()
    }

    /// Bytes of memory, reserved or not.
    pub fn memory_bytes(&self) -> u64 {
        self.memory().iter().map(Region::bytes).sum()
    }

    /// The lowest and the highest byte's end of all memory; `None` without any.
    pub fn span(&self) -> Option<Range<PhysAddr>> {
        Some(self.memory().first()?.start..self.memory().last()?.end)
    }

    /// What is memory and not reserved, lowest first.
    pub fn free_ranges(&self) -> Ranges<'_> {
        self.without(|_| true)
    }

    /// What is memory and may be mapped, lowest first.
    pub fn mappable_ranges(&self) -> Ranges<'_> {
        self.without(|region| region.nomap)
    }

    fn without(&self, excluded: fn(&Region) -> bool) -> Ranges<'_> {
        Ranges {
            memory: self.memory(),
            reserved: self.reserved(),
            excluded,
            from: PhysAddr::new(0),
        }
    }
}

impl Default for Memblock {
    fn default() -> Self {
        Self::new()
    }
}

/// Memory without some of the reservations, range by range.
#[derive(Clone, Debug)]
pub struct Ranges<'a> {
    memory: &'a [Region],
    reserved: &'a [Region],
    excluded: fn(&Region) -> bool,
    from: PhysAddr,
}

impl Iterator for Ranges<'_> {
    type Item = Range<PhysAddr>;

    fn next(&mut self) -> Option<Range<PhysAddr>> {
        loop {
            let bank = self.memory.first()?;
            let start = self.from.max(bank.start);
            if start >= bank.end {
                self.memory = &self.memory[1..];
                continue;
            }
            match self.reserved.first() {
                Some(hole) if hole.end <= start || !(self.excluded)(hole) => {
                    self.reserved = &self.reserved[1..];
                }
                Some(hole) if hole.start <= start => self.from = hole.end,
                hole => {
                    let end = hole.map_or(bank.end, |hole| hole.start.min(bank.end));
                    self.from = end;
                    return Some(start..end);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
