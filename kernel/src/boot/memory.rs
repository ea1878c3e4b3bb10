//! From "only the image is mapped" to the frame allocator.
#![allow(unsafe_code, reason = "says which memory is whose, for the first time")]

use super::stop;
use crate::{
    arch::image,
    mm::{
        addr::{LinearMap, PAGE_BYTES, PhysAddr, frames_within},
        boot_heap::{BootHeap, BootHeapFull, BootVec},
        frames,
        memblock::{Memblock, MemblockError},
        zone::ZoneLimits,
    },
    sync::{Rank, SpinLock},
    vm::{descriptor::Attributes, kernel_space, linear::Special},
};
use core::ops::Range;
use platform::Board;
use wire::{
    params::Params,
    payload::{Payload, PayloadError},
};

/// Memory for DMA buffers, unless `dma=BYTES` says otherwise: a sixteenth of all, at most 16 MiB.
const DMA_POOL_BYTES_MAX: u64 = 16 << 20;
/// The boot heap: room for the list of free ranges of any board, some dozen.
const BOOT_HEAP_BYTES: u64 = 16 << 10;
/// The DMA pool starts at a multiple of this, so that its page tables are its own.
const DMA_POOL_ALIGN: u64 = 2 << 20;

/// Puts the image and what came behind it into the linear map, each section with its rights, and
/// reads the payload.
pub(super) fn map_image_and_payload() -> Option<Payload<'static>> {
    let image = image::loaded();
    let all = image.start..image::payload_end();
    let sections = [
        (image::text(), Attributes::KERNEL_RODATA),
        (image::rodata(), Attributes::KERNEL_RODATA),
        (
            image::data().start..image::whole().end,
            Attributes::KERNEL_DATA,
        ),
    ];
    let specials = sections.map(|(section, attributes)| Special {
        range: image::to_phys(section.start)..image::to_phys(section.end),
        attributes,
    });
    if let Err(error) = kernel_space::map_linear(all.clone(), &specials) {
        stop(format_args!("linear map of the image: {error}"));
    }
    let start = LinearMap::kernel().to_virt(image.end);
    let length = usize::try_from(all.end.get().saturating_sub(image.end.get())).unwrap_or(0);
    // SAFETY: mapped above; the Image header counts these bytes, so the boot loader loaded them, and
    // they are reserved for good.
    let behind = unsafe { core::slice::from_raw_parts(start.as_mut_ptr(), length) };
    match Payload::parse(behind) {
        Ok(payload) => Some(payload),
        Err(PayloadError::Magic) => None,
        Err(error) => stop(format_args!("{error}")),
    }
}

/// What memory there is and what is taken; from the hand-over on, for reports alone.
static MEMBLOCK: SpinLock<Memblock> = SpinLock::new(Rank::MemoryMap, Memblock::new());

/// Looks at the memory map of boot: banks, and what was reserved in them.
pub fn memory_map<R>(look: impl FnOnce(&Memblock) -> R) -> R {
    look(&MEMBLOCK.lock())
}

/// Enters what memory there is, and what is taken: by the image, by the device tree, by firmware.
#[inline(never)]
pub(super) fn enter(board: &Board<'static>, blob: Option<Range<PhysAddr>>) {
    let entered = regions(&mut MEMBLOCK.lock(), board, blob);
    entered.unwrap_or_else(|error| stop(format_args!("memory map: {error}")));
}

fn regions(
    memblock: &mut Memblock,
    board: &Board<'static>,
    blob: Option<Range<PhysAddr>>,
) -> Result<(), MemblockError> {
    let physical = |range: &Range<u64>| PhysAddr::new(range.start)..PhysAddr::new(range.end);
    for bank in &board.memory {
        memblock.add(physical(bank), "System RAM")?;
    }
    for reserved in &board.reserved {
        memblock.reserve(physical(&reserved.range), reserved.name, reserved.no_map)?;
    }
    let image = image::loaded();
    memblock.reserve(image.clone(), "Kernel image", false)?;
    memblock.reserve(image.end..image::payload_end(), "Payload", false)?;
    if let Some(blob) = blob {
        memblock.reserve(blob, "Device tree", false)?;
    }
    // Frame 0 is never handed out: address 0 stays the end of every list that counts in addresses.
    memblock.reserve(
        PhysAddr::new(0)..PhysAddr::new(PAGE_BYTES),
        "Frame 0",
        false,
    )
}

/// Sets memory aside for DMA buffers, where every master reaches it.
pub(super) fn reserve_dma_pool(board: &Board<'_>, params: &Params<'_>) -> Range<PhysAddr> {
    let mut memblock = MEMBLOCK.lock();
    let default = (memblock.memory_bytes() / 16).min(DMA_POOL_BYTES_MAX);
    let wanted = params.number("dma").unwrap_or(default);
    let bytes = wanted.max(DMA_POOL_ALIGN).next_multiple_of(DMA_POOL_ALIGN);
    let reach = PhysAddr::new(board.dma_reach.unwrap_or(1 << 32).min(1 << 32));
    match memblock.alloc(bytes, DMA_POOL_ALIGN, reach, "DMA pool") {
        Ok(start) => start..start.offset(bytes),
        Err(error) => stop(format_args!("DMA pool: {error}")),
    }
}

/// Maps all memory that may be mapped: blocks, but 4 KiB entries for the DMA pool. The image and its
/// payload are mapped already. Returns how much memory the board has, in bytes.
pub(super) fn linear_map(dma_pool: &Range<PhysAddr>) -> u64 {
    let mapped = image::loaded().start..image::payload_end();
    let specials = [Special {
        range: dma_pool.clone(),
        attributes: Attributes::KERNEL_DATA,
    }];
    let memblock = MEMBLOCK.lock();
    for range in memblock.mappable_ranges() {
        let below = range.start..range.end.min(mapped.start);
        let above = range.start.max(mapped.end)..range.end;
        for part in [below, above].into_iter().filter(|part| !part.is_empty()) {
            if let Err(error) = kernel_space::map_linear(part, &specials) {
                stop(format_args!("linear map: {error}"));
            }
        }
    }
    memblock.memory_bytes()
}

/// Gives all memory that is left to the frame allocator. memblock is history after this.
#[inline(never)]
pub(super) fn hand_over(board: &Board<'_>) {
    let Some(span) = memory_map(Memblock::span) else {
        stop(format_args!("no memory"))
    };
    let span = frames_within(&span);
    let table = LinearMap::kernel().to_virt(reserve(frames::table_bytes(&span), "Frame table"));
    // SAFETY: just reserved for good, and mapped by the linear map.
    let table = unsafe { frames::make_table(table, &span) };
    let four_gib = PhysAddr::new(1 << 32);
    let dma_end = PhysAddr::new(board.dma_reach.unwrap_or(four_gib.get())).min(four_gib);
    let limits = ZoneLimits {
        dma_end: dma_end.frame(),
        dma32_end: four_gib.frame(),
    };

    let start = reserve(BOOT_HEAP_BYTES, "Boot heap");
    // SAFETY: just reserved for this, and mapped by the linear map.
    let heap = unsafe { BootHeap::new(LinearMap::kernel(), start..start.offset(BOOT_HEAP_BYTES)) };
    let free = free_ranges(&heap).unwrap_or_else(|error| stop(format_args!("{error}")));
    let ranges = free.iter().map(|&(start, end)| start..end);
    // SAFETY: the free ranges are memory that nobody uses, covered by the linear map.
    unsafe { frames::init(LinearMap::kernel(), table, &limits, ranges) };
    drop(free);
    release(&heap.finish());
    kernel_space::set_source(crate::vm::frames::TABLES);
}

/// Sets whole pages aside, as high as they go.
fn reserve(bytes: u64, name: &'static str) -> PhysAddr {
    let everywhere = PhysAddr::new(u64::MAX >> 12);
    match MEMBLOCK.lock().alloc(bytes, PAGE_BYTES, everywhere, name) {
        Ok(start) => start,
        Err(error) => stop(format_args!("{name}: {error}")),
    }
}

/// What is free, copied: the frame allocator takes its locks while it is given memory, and memblock's
/// must not be held around them.
fn free_ranges(heap: &BootHeap) -> Result<BootVec<'_, (PhysAddr, PhysAddr)>, BootHeapFull> {
    let mut free = heap.vec(8)?;
    memory_map(|memblock| {
        memblock
            .free_ranges()
            .try_for_each(|range| free.push((range.start, range.end)))
    })?;
    Ok(free)
}

/// Gives the frame allocator memory that boot reserved and needs no more.
fn release(range: &Range<PhysAddr>) {
    let freed = MEMBLOCK.lock().free(range.clone());
    freed.unwrap_or_else(|error| stop(format_args!("memory map: {error}")));
    frames::add(range).unwrap_or_else(|error| stop(format_args!("boot heap: {error}")));
}
