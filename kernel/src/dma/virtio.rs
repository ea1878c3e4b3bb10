//! virtio's view of memory: what `virtio-drivers` asks of a kernel, answered from the DMA pool.
//!
//! Queues live in pool pages. Requests are bounced: copied into a pool page for the device and, where it
//! writes, back. So a device never sees memory that is not lent to it.
//!
//! Both sides use a queue at once, which needs a device that snoops, as virtio-mmio devices on QEMU's
//! `virt` do (`dma-coherent` in the device tree): there is no cache maintenance here.
#![allow(
    unsafe_code,
    reason = "implements an unsafe trait over the pool's memory"
)]

use super::{buffer::DmaMemory, device::Device, kernel, pool::PoolError};
use crate::{
    mm::addr::{DmaAddr, PAGE_BYTES, PAGE_SHIFT, PhysAddr, VirtAddr},
    vm::ioremap,
};
use core::ptr::NonNull;
use virtio_drivers::{BufferDirection, Hal};

/// A virtio device behind virtio-mmio: it reaches everything and snoops.
pub const DEVICE: Device = Device {
    name: "virtio-mmio",
    mask: u64::MAX,
    bus_offset: 0,
    coherent: true,
};

/// The kernel, as `virtio-drivers` sees it.
#[derive(Debug)]
pub struct PoolHal;

fn memory() -> &'static DmaMemory {
    match kernel::memory() {
        Ok(memory) => memory,
        Err(error) => panic!("virtio before boot made the pool: {error}"),
    }
}

fn bytes(pages: usize) -> u64 {
    pages as u64 * PAGE_BYTES
}

fn piece(bytes: u64) -> Result<(PhysAddr, VirtAddr), PoolError> {
    let memory = memory();
    let start = memory.take_piece(bytes)?;
    Ok((start, memory.address(start)))
}

fn physical(bus: virtio_drivers::PhysAddr) -> PhysAddr {
    match DEVICE.physical_address(DmaAddr::new(bus)) {
        Some(address) => address,
        None => panic!("virtio: {bus:#x} is no bus address"),
    }
}

// SAFETY: `dma_alloc` gives whole, zeroed pool pages that are nobody else's until `dma_dealloc`;
// `mmio_phys_to_virt` maps registers in an area of their own.
unsafe impl Hal for PoolHal {
    fn dma_alloc(
        pages: usize,
        _direction: BufferDirection,
    ) -> (virtio_drivers::PhysAddr, NonNull<u8>) {
        // Address 0 tells the crate that there is no memory; nothing uses the pointer then.
        let Ok((start, address)) = piece(bytes(pages)) else {
            return (0, NonNull::dangling());
        };
        let pointer = address.as_mut_ptr::<u8>();
        // SAFETY: the pages were taken from the pool just now, and the linear map has them.
        unsafe { pointer.write_bytes(0, pages << PAGE_SHIFT) };
        (
            start.get(),
            NonNull::new(pointer).expect("the linear map does not start at 0"),
        )
    }

    unsafe fn dma_dealloc(
        start: virtio_drivers::PhysAddr,
        _address: NonNull<u8>,
        pages: usize,
    ) -> i32 {
        memory().return_piece(physical(start), bytes(pages));
        0
    }

    unsafe fn mmio_phys_to_virt(start: virtio_drivers::PhysAddr, size: usize) -> NonNull<u8> {
        match ioremap::ioremap(PhysAddr::new(start), size as u64) {
            Ok(address) => NonNull::new(address.as_mut_ptr()).expect("no area is at 0"),
            Err(error) => panic!("virtio registers: {error}"),
        }
    }

    unsafe fn share(buffer: NonNull<[u8]>, direction: BufferDirection) -> virtio_drivers::PhysAddr {
        // The trait has no way to refuse.
        let (start, address) = match piece(buffer.len() as u64) {
            Ok(piece) => piece,
            Err(error) => panic!("virtio bounce buffer: {error}"),
        };
        let bounce = address.as_mut_ptr::<u8>();
        if direction == BufferDirection::DeviceToDriver {
            // What another owner of the pages left is none of the device's business.
            // SAFETY: the piece was taken from the pool just now and has that length.
            unsafe { bounce.write_bytes(0, buffer.len()) };
        } else {
            // SAFETY: the caller's buffer is valid; the piece is as long, and nobody else's.
            unsafe { bounce.copy_from_nonoverlapping(buffer.cast().as_ptr(), buffer.len()) };
        }
        start.get()
    }

    unsafe fn unshare(
        start: virtio_drivers::PhysAddr,
        buffer: NonNull<[u8]>,
        direction: BufferDirection,
    ) {
        let start = physical(start);
        if direction != BufferDirection::DriverToDevice {
            let bounce = memory().address(start).as_mut_ptr::<u8>();
            // SAFETY: the piece that `share` took for this buffer; the device is done with it, and the
            // caller's buffer is valid and unused meanwhile.
            unsafe { bounce.copy_to_nonoverlapping(buffer.cast().as_ptr(), buffer.len()) };
        }
        memory().return_piece(start, buffer.len() as u64);
    }
}
