//! The map of virtual addresses: 48 bits in each half, 4 KiB granule.
//!
//! ```text
//! 0000_0000_0000_0000 ┬ user region (TTBR0); the first page is never mapped
//! 0001_0000_0000_0000 ┴ faults up to
//! ffff_0000_0000_0000 ┬ linear map: all memory, at physical + a constant
//! ffff_8000_0000_0000 ┼ vmalloc: areas of scattered frames, each with a guard page behind it
//! ffff_8080_0000_0000 ┼ ioremap: device registers
//! ffff_8100_0000_0000 ┼ stacks of the other cores, each with a guard as large as itself below it
//! ffff_8180_0000_0000 ┴ faults up to
//! ffff_ffff_8000_0000 ┬ fixmap: what boot needs before it can allocate (UART, device tree)
//! ffff_ffff_8020_0000 ┼ kernel image, linked here, loaded anywhere; 16 MiB at most
//! ffff_ffff_8120_0000 ┴ faults to the end
//! ```
//!
//! The image lies in the last 4 GiB because defmt's symbols lie near address 0 and are reached by
//! `adrp`, which wraps around. `linker.ld` repeats [`IMAGE`]'s start and asserts its size.

use crate::mm::addr::VirtAddr;
use core::ops::Range;

const fn range(start: u64, end: u64) -> Range<VirtAddr> {
    VirtAddr::new(start)..VirtAddr::new(end)
}

/// What a user program may map. The lowest page never is, so that a null dereference faults.
pub const USER: Range<VirtAddr> = range(0x1000, 1 << 48);
/// All of memory; see [`LinearMap`](crate::mm::addr::LinearMap).
pub const LINEAR: Range<VirtAddr> = range(0xffff_0000_0000_0000, 0xffff_8000_0000_0000);
/// Areas made by vmalloc.
pub const VMALLOC: Range<VirtAddr> = range(0xffff_8000_0000_0000, 0xffff_8080_0000_0000);
/// Device registers mapped by ioremap.
pub const IOREMAP: Range<VirtAddr> = range(0xffff_8080_0000_0000, 0xffff_8100_0000_0000);
/// Stacks of all cores but the boot core, whose stacks are the image's.
pub const STACKS: Range<VirtAddr> = range(0xffff_8100_0000_0000, 0xffff_8180_0000_0000);
/// Mappings at fixed addresses; see [`fixmap`](crate::vm::fixmap).
pub const FIXMAP: Range<VirtAddr> = range(0xffff_ffff_8000_0000, 0xffff_ffff_8020_0000);
/// The kernel image.
pub const IMAGE: Range<VirtAddr> = range(0xffff_ffff_8020_0000, 0xffff_ffff_8120_0000);
