//! VMSAv8-64 stage 1 descriptors as types: what a mapping may be, and nothing else.
//!
//! A translation table is 512 descriptors of 64 bits (4 KiB granule). Every bit that this kernel sets
//! is set here, so that the rules hold by construction: no [`Attributes`] is both writable and
//! executable, device memory is never executable, user pages are never executable by the kernel and
//! always tagged with their address space (nG), and the access flag is always set (so that no
//! access-flag fault exists). Field positions: Arm ARM D8.3.1 (table, block and page descriptors) and
//! D8.3.2 (attribute fields).

#[cfg(test)]
mod tests;

use crate::mm::addr::{PAGE_BYTES, PAGE_SHIFT, PhysAddr, VirtAddr};
use core::fmt;

/// Descriptors in one table.
pub const ENTRIES: usize = 512;
/// Entries of level 3 that the contiguous hint joins: 64 KiB (Arm ARM D8.7.1, 4 KiB granule).
pub const CONTIGUOUS_ENTRIES: usize = 16;
/// What they map, in bytes.
pub const CONTIGUOUS_BYTES: u64 = PAGE_BYTES * CONTIGUOUS_ENTRIES as u64;

/// Level of a table in the walk, 0 (the root) to 3 (whose entries map pages).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(u8);

impl Level {
    /// The root's level: an entry spans 512 GiB and can only point to a table.
    pub const ROOT: Self = Self(0);
    /// An entry spans 1 GiB.
    pub const GIB: Self = Self(1);
    /// An entry spans 2 MiB.
    pub const MIB2: Self = Self(2);
    /// An entry maps one 4 KiB page.
    pub const PAGE: Self = Self(3);

    /// The level as a number, 0 to 3.
    pub const fn get(self) -> u8 {
        self.0
    }
    /// Bytes that one entry of a table at this level spans.
    pub const fn bytes(self) -> u64 {
        PAGE_BYTES << (9 * (3 - self.0))
    }
    /// Whether an entry at this level can map memory (level 0 cannot with 48-bit addresses).
    pub const fn maps(self) -> bool {
        self.0 > 0
    }
    /// The level below. Panics at the last.
    pub const fn next(self) -> Self {
        assert!(self.0 < 3, "no level below the pages");
        Self(self.0 + 1)
    }
    /// The level above. Panics at the root.
    pub const fn above(self) -> Self {
        assert!(self.0 > 0, "no level above the root");
        Self(self.0 - 1)
    }
    /// Index, below [`ENTRIES`], of the entry of a table at this level which translates `address`.
    pub const fn index(self, address: VirtAddr) -> usize {
        let shift = PAGE_SHIFT + 9 * (3 - self.0 as u32);
        #[expect(clippy::cast_possible_truncation, reason = "nine bits are kept")]
        let index = (address.get() >> shift) as usize & (ENTRIES - 1);
        index
    }
}

/// What kind of memory lies behind a mapping. The value is the index of its byte in MAIR_EL1, which boot
/// sets accordingly (`arch::mmu::MAIR`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Memory {
    /// Normal, write-back, read- and write-allocate, inner shareable.
    Normal = 0,
    /// Device-nGnRE: registers.
    Device = 1,
    /// Normal, not cacheable: memory shared with a device that does not snoop.
    NonCacheable = 2,
    /// Device-nGnRnE: registers where a write is done only when the device has acknowledged it.
    StrictDevice = 3,
}

/// Who may do what. No value can be written to and executed by anyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read by the kernel alone.
    KernelRead,
    /// Read and written by the kernel alone.
    KernelReadWrite,
    /// Read and executed by the kernel alone.
    KernelReadExecute,
    /// Read by the user program (and by the kernel's copy routines).
    UserRead,
    /// Read and written by the user program.
    UserReadWrite,
    /// Read and executed by the user program; never executed by the kernel.
    UserReadExecute,
}

impl Access {
    /// Every value.
    pub const ALL: [Self; 6] = [
        Self::KernelRead,
        Self::KernelReadWrite,
        Self::KernelReadExecute,
        Self::UserRead,
        Self::UserReadWrite,
        Self::UserReadExecute,
    ];

    /// Whether EL0 may reach it.
    pub const fn is_user(self) -> bool {
        matches!(
            self,
            Self::UserRead | Self::UserReadWrite | Self::UserReadExecute
        )
    }
    /// Whether anyone may write.
    pub const fn is_writable(self) -> bool {
        matches!(self, Self::KernelReadWrite | Self::UserReadWrite)
    }
    /// Whether anyone may execute.
    pub const fn is_executable(self) -> bool {
        matches!(self, Self::KernelReadExecute | Self::UserReadExecute)
    }
}

/// A kind of memory and who may use it: all that a mapping is besides its addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    memory: Memory,
    access: Access,
}

impl Attributes {
    /// The kernel's code: read and execute.
    pub const KERNEL_TEXT: Self = Self::normal(Access::KernelReadExecute);
    /// The kernel's constants: read only.
    pub const KERNEL_RODATA: Self = Self::normal(Access::KernelRead);
    /// The kernel's data and all memory that it manages: read and write.
    pub const KERNEL_DATA: Self = Self::normal(Access::KernelReadWrite);
    /// Device registers: read and write by the kernel. Never executable: a speculative fetch from
    /// device memory could have side effects (Arm ARM, "Device memory").
    pub const DEVICE: Self = Self {
        memory: Memory::Device,
        access: Access::KernelReadWrite,
    };
    /// Device registers whose writes are acknowledged by the device itself: configuration space.
    pub const STRICT_DEVICE: Self = Self {
        memory: Memory::StrictDevice,
        access: Access::KernelReadWrite,
    };
    /// Memory that bypasses the caches, read and written by the kernel.
    pub const NON_CACHEABLE: Self = Self {
        memory: Memory::NonCacheable,
        access: Access::KernelReadWrite,
    };
    /// A user program's code.
    pub const USER_TEXT: Self = Self::normal(Access::UserReadExecute);
    /// A user program's constants.
    pub const USER_RODATA: Self = Self::normal(Access::UserRead);
    /// A user program's data, heap and stack.
    pub const USER_DATA: Self = Self::normal(Access::UserReadWrite);

    /// Every value there is.
    pub const ALL: [Self; 9] = [
        Self::KERNEL_TEXT,
        Self::KERNEL_RODATA,
        Self::KERNEL_DATA,
        Self::DEVICE,
        Self::STRICT_DEVICE,
        Self::NON_CACHEABLE,
        Self::USER_TEXT,
        Self::USER_RODATA,
        Self::USER_DATA,
    ];

    /// Cacheable memory with `access`.
    pub const fn normal(access: Access) -> Self {
        Self {
            memory: Memory::Normal,
            access,
        }
    }
    /// The kind of memory.
    pub const fn memory(self) -> Memory {
        self.memory
    }
    /// Who may use it.
    pub const fn access(self) -> Access {
        self.access
    }

    const fn bits(self) -> u64 {
        let shareable = match self.memory {
            Memory::Normal => INNER_SHAREABLE,
            Memory::Device | Memory::StrictDevice | Memory::NonCacheable => OUTER_SHAREABLE,
        };
        let access = match self.access {
            Access::KernelRead => READ_ONLY | UXN | PXN,
            Access::KernelReadWrite => UXN | PXN,
            Access::KernelReadExecute => READ_ONLY | UXN,
            Access::UserRead => USER | READ_ONLY | UXN | PXN | NOT_GLOBAL,
            Access::UserReadWrite => USER | UXN | PXN | NOT_GLOBAL,
            Access::UserReadExecute => USER | READ_ONLY | PXN | NOT_GLOBAL,
        };
        (self.memory as u64) << MEMORY_SHIFT | shareable | access | ACCESS_FLAG
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = match self.memory {
            Memory::Normal => "normal",
            Memory::Device => "device-nGnRE",
            Memory::StrictDevice => "device-nGnRnE",
            Memory::NonCacheable => "non-cacheable",
        };
        let access = match self.access {
            Access::KernelRead => "read-only",
            Access::KernelReadWrite => "read-write",
            Access::KernelReadExecute => "read-execute",
            Access::UserRead => "user read-only",
            Access::UserReadWrite => "user read-write",
            Access::UserReadExecute => "user read-execute",
        };
        write!(f, "{memory} {access}")
    }
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

const VALID: u64 = 1 << 0;
/// A table at levels 0 to 2, a page at level 3; clear for a block.
const TABLE_OR_PAGE: u64 = 1 << 1;
const MEMORY_SHIFT: u32 = 2;
/// `AP[1]`.
const USER: u64 = 1 << 6;
/// `AP[2]`.
const READ_ONLY: u64 = 1 << 7;
const OUTER_SHAREABLE: u64 = 0b10 << 8;
const INNER_SHAREABLE: u64 = 0b11 << 8;
const ACCESS_FLAG: u64 = 1 << 10;
const NOT_GLOBAL: u64 = 1 << 11;
/// One of 16 entries, aligned to as many, which map contiguous memory alike: a TLB may keep them as one
/// (Arm ARM D8.7.1, "Contiguous bit").
const CONTIGUOUS: u64 = 1 << 52;
const PXN: u64 = 1 << 53;
const UXN: u64 = 1 << 54;
/// For software (bits 58 to 55): in an invalid entry, it is only being changed and will be valid again.
const CHANGING: u64 = 1 << 55;
/// Output or next-table address, bits 47 to 12.
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

/// One 64-bit entry of a translation table.
///
/// An entry whose valid bit is clear means "not mapped" to the hardware whatever its other bits say
/// (Arm ARM D8.3.1). [`broken`](Self::broken) uses that: it keeps the address of what was mapped, until
/// the TLBs have forgotten it and the memory behind it may be given back.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Descriptor(u64);

/// What a [`Descriptor`] says, at a given level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing is mapped.
    Empty,
    /// The table of the next level lies at this address.
    Table(PhysAddr),
    /// Memory at this address is mapped.
    Leaf(PhysAddr, Attributes),
    /// A valid leaf with a combination of attribute bits that this kernel never makes.
    Foreign(PhysAddr),
}

impl Descriptor {
    /// Nothing mapped.
    pub const EMPTY: Self = Self(0);

    /// An entry as it stands in memory.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
    /// The entry as it stands in memory.
    pub const fn bits(self) -> u64 {
        self.0
    }
    /// Points to the next level's table, a page-aligned frame below 2⁴⁸. No limits are set there
    /// (APTable, UXNTable and PXNTable are zero): the leaf alone decides.
    pub const fn table(frame: PhysAddr) -> Self {
        Self(frame.get() & ADDRESS | TABLE_OR_PAGE | VALID)
    }
    /// Maps the memory at `output`, aligned to the level's size, with `attributes`.
    pub const fn leaf(output: PhysAddr, attributes: Attributes, level: Level) -> Self {
        debug_assert!(level.maps() && output.is_aligned_to(level.bytes()));
        let page = if level.get() == 3 { TABLE_OR_PAGE } else { 0 };
        Self(output.get() & ADDRESS | attributes.bits() | page | VALID)
    }
    /// Whether the hardware walks on or translates through it.
    pub const fn is_valid(self) -> bool {
        self.0 & VALID != 0
    }
    /// Whether it was made invalid by [`broken`](Self::broken) and its memory is still held.
    pub const fn is_broken(self) -> bool {
        self.0 != 0 && !self.is_valid()
    }
    /// This entry with its valid bit clear.
    pub const fn broken(self) -> Self {
        Self(self.0 & !VALID)
    }
    /// As [`broken`](Self::broken), by somebody who will soon make it anew: who faults on it waits.
    pub const fn changing(self) -> Self {
        Self(self.0 & !VALID | CHANGING)
    }
    /// Whether it was made invalid by [`changing`](Self::changing).
    pub const fn is_changing(self) -> bool {
        self.0 & (VALID | CHANGING) == CHANGING
    }
    /// This entry, which is [broken](Self::broken) or [changing](Self::changing), with its valid bit set.
    pub const fn mended(self) -> Self {
        Self(self.0 & !CHANGING | VALID)
    }
    /// This leaf as one of [`CONTIGUOUS_ENTRIES`] that map contiguous memory alike.
    pub const fn contiguous(self) -> Self {
        Self(self.0 | CONTIGUOUS)
    }
    /// This leaf as one of its own.
    pub const fn single(self) -> Self {
        Self(self.0 & !CONTIGUOUS)
    }
    /// Whether it is a leaf with the contiguous hint.
    pub const fn is_contiguous(self) -> bool {
        self.0 & CONTIGUOUS != 0
    }
    /// This leaf for the page at `output`.
    pub const fn leading_to(self, output: PhysAddr) -> Self {
        Self(self.0 & !ADDRESS | output.get() & ADDRESS)
    }
    /// This leaf for memory `bytes` further up.
    pub const fn moved(self, bytes: u64) -> Self {
        Self(self.0 + bytes)
    }
    /// The memory or the table that it points to.
    pub const fn output(self) -> PhysAddr {
        PhysAddr::new(self.0 & ADDRESS)
    }

    /// The table of the next level that it points to from a table at `level`, if it does.
    pub const fn table_below(self, level: Level) -> Option<PhysAddr> {
        let points = TABLE_OR_PAGE | VALID;
        if self.0 & points == points && level.get() < 3 {
            Some(PhysAddr::new(self.0 & ADDRESS))
        } else {
            None
        }
    }

    /// What it says in a table at `level`.
    pub fn meaning(self, level: Level) -> Meaning {
        if let Some(table) = self.table_below(level) {
            return Meaning::Table(table);
        }
        // Reserved encodings: a "block" at level 3, or at level 0 with 48-bit addresses, faults.
        let is_page = self.0 & TABLE_OR_PAGE != 0;
        if !self.is_valid() || level == Level::ROOT || (level == Level::PAGE && !is_page) {
            return Meaning::Empty;
        }
        let output = PhysAddr::new(self.0 & ADDRESS);
        let bits = self.0 & !(ADDRESS | IGNORED | CONTIGUOUS | TABLE_OR_PAGE | VALID);
        let known = |attributes: &Attributes| attributes.bits() == bits;
        match Attributes::ALL.into_iter().find(known) {
            Some(attributes) => Meaning::Leaf(output, attributes),
            None => Meaning::Foreign(output),
        }
    }
}

/// Bits 58 to 55, for software's use, and PBHA, bits 62 to 59.
const IGNORED: u64 = 0x7f80_0000_0000_0000;

impl fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}
