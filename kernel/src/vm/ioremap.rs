//! Device registers in the kernel's address space.

use super::{
    area::{Area, AreaError, AreaSpace},
    descriptor::{Attributes, Level},
    kernel_space, layout,
    table::MapError,
};
use crate::{
    mm::addr::{LinearMap, PAGE_BYTES, PhysAddr, VirtAddr},
    sync::{Rank, SpinLock},
};
use core::{error, fmt};

/// Areas by their first register page's physical address.
static AREAS: SpinLock<AreaSpace<PhysAddr>> =
    SpinLock::new(Rank::Areas, AreaSpace::new(layout::IOREMAP));

/// Why registers were not mapped. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoremapError {
    /// The address is memory, mapped cacheable already: a second, uncached alias would lose data
    /// (Arm ARM, "Mismatched memory attributes").
    Memory(PhysAddr),
    /// The registers lie past what a translation table entry can hold, 48 bits.
    OutOfReach(PhysAddr),
    /// No area of addresses, or no memory to note it.
    Area(AreaError),
    /// The tables ran out.
    Map(MapError),
}

impl fmt::Display for IoremapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(at) => write!(f, "ioremap of {at:#x}, which is memory"),
            Self::OutOfReach(at) => write!(f, "ioremap of {at:#x}, past 48 bits"),
            Self::Area(error) => write!(f, "ioremap: {error}"),
            Self::Map(error) => write!(f, "ioremap: {error}"),
        }
    }
}

impl error::Error for IoremapError {}

/// How registers are to be accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registers {
    /// Device-nGnRE: in order, not merged, writes acknowledged early. The ordinary choice.
    Device,
    /// Device-nGnRnE: as above, but a write is done only when the device says so (Linux's `ioremap_np`).
    Strict,
    /// Normal non-cacheable: writes may be merged and reordered, as for a framebuffer (`ioremap_wc`).
    WriteCombining,
}

/// Maps `bytes` of registers at `physical` as Device-nGnRE and returns where the first is. Neither needs
/// to be aligned; whole pages are mapped, with 2 MiB blocks where they fit.
///
/// # Errors
///
/// Those of [`IoremapError`].
pub fn ioremap(physical: PhysAddr, bytes: u64) -> Result<VirtAddr, IoremapError> {
    ioremap_as(physical, bytes, Registers::Device)
}

/// As [`ioremap`], for registers of the kind named.
///
/// # Errors
///
/// Those of [`IoremapError`].
pub fn ioremap_as(
    physical: PhysAddr,
    bytes: u64,
    registers: Registers,
) -> Result<VirtAddr, IoremapError> {
    let attributes = match registers {
        Registers::Device => Attributes::DEVICE,
        Registers::Strict => Attributes::STRICT_DEVICE,
        Registers::WriteCombining => Attributes::NON_CACHEABLE,
    };
    let inside = physical.get() % PAGE_BYTES;
    let page = PhysAddr::new(physical.get() - inside);
    let mapped = inside
        .checked_add(bytes)
        .and_then(|end| end.checked_next_multiple_of(PAGE_BYTES))
        .filter(|mapped| {
            page.get()
                .checked_add(*mapped)
                .is_some_and(|end| end <= 1 << 48)
        })
        .ok_or(IoremapError::OutOfReach(physical))?;
    if bytes == 0 {
        return Err(IoremapError::Area(AreaError::Empty));
    }
    // Addresses behind the linear map's end are nobody's memory.
    let alias = LinearMap::kernel().to_virt(page);
    let alias = alias..alias.offset(mapped).min(layout::LINEAR.end);
    let mut memory = None;
    kernel_space::visit(alias, &mut |leaf| memory = memory.or(Some(leaf.physical)));
    if let Some(memory) = memory {
        return Err(IoremapError::Memory(memory.max(page)));
    }
    let start = AREAS
        .lock()
        .reserve(mapped, page)
        .map_err(IoremapError::Area)?;
    let range = start..start.offset(mapped);
    if let Err(error) = kernel_space::map(range, page, attributes, Level::MIB2) {
        AREAS.lock().remove(start);
        return Err(IoremapError::Map(error));
    }
    Ok(start.offset(inside))
}

/// Unmaps registers that [`ioremap`] mapped at `address`, which nobody uses any more. Panics if there are
/// none.
pub fn iounmap(address: VirtAddr) {
    let page = VirtAddr::new(address.get() & !(PAGE_BYTES - 1));
    let Some(range) = AREAS.lock().at(page).map(|area| area.range()) else {
        panic!("iounmap of {address:#x}: no registers are mapped there");
    };
    if let Err(error) = kernel_space::unmap(range) {
        panic!("iounmap of {address:#x}: {error}");
    }
    AREAS.lock().remove(page);
}

/// The first area at `address` or above, with the physical address of its first page; for reports.
pub fn next(address: VirtAddr) -> Option<Area<PhysAddr>> {
    AREAS.lock().next(address)
}

/// The area that `address` lies in, or whose guard page it does. For fault handlers: it waits for nobody.
pub fn try_find(address: VirtAddr) -> Option<Area<PhysAddr>> {
    AREAS.try_lock()?.find(address)
}
