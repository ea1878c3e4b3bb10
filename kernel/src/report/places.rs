//! Where things are: regions of virtual addresses, and physical memory with what is reserved in it.

use crate::{
    arch::image,
    boot,
    mm::{
        addr::{LinearMap, VirtAddr},
        memblock::{Memblock, Region},
        report::Rows,
    },
    vm::layout,
};
use core::ops::Range;
use wire::report::{self, Address, Record, Resource};

/// The virtual regions, and the sections of the image.
pub(super) fn layout(rows: &mut Rows<'_>) {
    let linear = LinearMap::kernel();
    let span = boot::memory_map(Memblock::span).unwrap_or_default();
    let memory = linear.to_virt(span.start)..linear.to_virt(span.end);
    let boot_stack = image::boot_stack_guard().end..image::irq_stack_guard().start;
    let regions: [(&str, u8, Range<VirtAddr>); 12] = [
        ("user", 0, layout::USER),
        ("linear map", 0, layout::LINEAR),
        ("memory", 1, memory),
        ("vmalloc", 0, layout::VMALLOC),
        ("ioremap", 0, layout::IOREMAP),
        ("stacks", 0, layout::STACKS),
        ("fixmap", 0, layout::FIXMAP),
        ("image window", 0, layout::IMAGE),
        (".text", 1, image::text()),
        (".rodata", 1, image::rodata()),
        (".data", 1, image::data()),
        ("boot stack", 1, boot_stack),
    ];
    for (name, depth, range) in regions {
        rows(&Record::Region(report::Region {
            name,
            depth,
            start: Address(range.start.get()),
            end: Address(range.end.get()),
        }));
    }
}

/// Banks of memory, and in each what is reserved. One region at a time is read, so that nobody prints
/// under boot's lock.
pub(super) fn iomem(rows: &mut Rows<'_>) {
    let bank = |index| boot::memory_map(|memblock| memblock.memory().get(index).copied());
    let reserved = |index| boot::memory_map(|memblock| memblock.reserved().get(index).copied());
    for bank in (0..).map_while(bank) {
        rows(&resource(0, &bank));
        for region in (0..).map_while(reserved) {
            if bank.start <= region.start && region.start < bank.end {
                rows(&resource(1, &region));
            }
        }
    }
}

const fn resource(depth: u8, region: &Region) -> Record<'static> {
    Record::Resource(Resource {
        name: region.name,
        depth,
        mapped: !region.nomap,
        start: Address(region.start.get()),
        end: Address(region.end.get()),
    })
}
