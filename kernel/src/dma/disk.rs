//! The board's first virtio block device, over virtio-mmio.
#![allow(unsafe_code, reason = "hands mapped registers to virtio-drivers")]

use super::virtio::PoolHal;
use crate::{
    log::{self, defmt::Display2Format},
    mm::addr::PhysAddr,
    vm::ioremap,
};
use core::ptr::NonNull;
use virtio_drivers::{
    device::blk::VirtIOBlk,
    transport::{
        DeviceType, Transport,
        mmio::{MmioTransport, VirtIOHeader},
    },
};

/// A block device of 512-byte sectors.
pub type Disk = VirtIOBlk<PoolHal, MmioTransport<'static>>;

/// The first block device that answers in one of the board's virtio-mmio slots, if any.
pub fn first() -> Option<Disk> {
    let slots = &crate::machine().board.virtio;
    slots.iter().find_map(|slot| {
        let bytes = slot.end - slot.start;
        let registers = ioremap::ioremap(PhysAddr::new(slot.start), bytes).ok()?;
        let header = NonNull::new(registers.as_mut_ptr::<VirtIOHeader>())?;
        let length = usize::try_from(bytes).ok()?;
        // SAFETY: the registers of the slot, just mapped as device memory, and mapped for as long as
        // the transport lives: it is unmapped below only where no transport is kept.
        let transport = unsafe { MmioTransport::new(header, length) };
        let disk = transport
            .ok()
            .filter(|found| found.device_type() == DeviceType::Block);
        let disk = disk.and_then(|transport| match Disk::new(transport) {
            Ok(disk) => Some(disk),
            Err(error) => {
                log::warn!(
                    "virtio block device at {=u64:#x}: {}",
                    slot.start,
                    Display2Format(&error)
                );
                None
            }
        });
        if disk.is_none() {
            ioremap::iounmap(registers);
        }
        disk
    })
}
