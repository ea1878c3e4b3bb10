//! Devices that read and write memory by themselves: a Pi's DMA engine, and a virtio disk.
#![allow(unsafe_code, reason = "says where the DMA engine is")]

use crate::tour::{Stop, because};
use alloc::{format, string::String};
use kernel::{
    dma::{
        self, Direction,
        bcm2835::{COPY_BYTES_MAX, DEVICE, Engine},
        disk,
    },
    machine,
};

/// A DMA engine copies between two buffers of the pool, by bus addresses.
pub(crate) fn dma() -> Stop {
    let Some(registers) = machine().board.dma_engine else {
        return Ok(String::from("no DMA engine on this board"));
    };
    let mut source = because("source", dma::alloc(&DEVICE, u64::from(COPY_BYTES_MAX)))?;
    let mut destination = because(
        "destination",
        dma::alloc(&DEVICE, u64::from(COPY_BYTES_MAX)),
    )?;
    let pattern = (0_u8..=250).cycle();
    source
        .as_mut_slice()
        .iter_mut()
        .zip(pattern.clone())
        .for_each(|(byte, value)| *byte = value);
    destination.as_mut_slice().fill(0);

    let channel = registers.channels.trailing_zeros();
    let mut engine = because("DMA engine", engine_at(registers.base, channel))?;
    let source = source.give(Direction::ToDevice);
    let mut destination = destination.give(Direction::FromDevice);
    because(
        "copy",
        engine.copy(&source, &mut destination, COPY_BYTES_MAX),
    )?;
    let bus = destination.bus_address();
    let (source, destination) = (source.take(), destination.take());
    if source.as_slice() != destination.as_slice() {
        return Err(String::from("the copy differs"));
    }
    let kib = COPY_BYTES_MAX >> 10;
    Ok(format!(
        "channel {channel} copied {kib} KiB to bus address {:#x}, verified",
        bus.get()
    ))
}

fn engine_at(base: u64, channel: u32) -> Result<Engine, dma::bcm2835::CopyError> {
    // SAFETY: the board says that the engine is there and that the channel is ours, and this is the
    // only driver of it.
    unsafe { Engine::new(kernel::mm::addr::PhysAddr::new(base), channel) }
}

const SECTOR_BYTES: usize = 512;
/// Sectors that are read, from the first on.
const READ_SECTORS: u64 = 8;
/// The sector that is written, and the number whose pattern it gets.
const WRITTEN_SECTOR: usize = 16;
const WRITTEN_PATTERN: u64 = 1016;

/// What the host put into sector `number`: its words count up from a multiple of the number.
fn pattern(number: u64) -> impl Iterator<Item = u8> {
    let first = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (0..SECTOR_BYTES as u64 / 8).flat_map(move |word| first.wrapping_add(word).to_le_bytes())
}

/// A virtio disk is read and verified, and one sector written for the host to look at.
pub(crate) fn disk() -> Stop {
    let Some(mut disk) = disk::first() else {
        return Ok(String::from("no virtio disk on this board"));
    };
    let mut sector = [0; SECTOR_BYTES];
    for (number, block) in (0..READ_SECTORS).zip(0..) {
        because("reading", disk.read_blocks(block, &mut sector))?;
        if !sector.iter().copied().eq(pattern(number)) {
            return Err(format!("sector {number} is not what the host wrote"));
        }
    }
    sector
        .iter_mut()
        .zip(pattern(WRITTEN_PATTERN))
        .for_each(|(byte, value)| *byte = value);
    because("writing", disk.write_blocks(WRITTEN_SECTOR, &sector))?;
    because("flushing", disk.flush())?;
    let sectors = disk.capacity();
    Ok(format!(
        "{READ_SECTORS} of {sectors} sectors verified, sector {WRITTEN_SECTOR} written"
    ))
}
