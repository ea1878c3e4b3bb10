//! The memory layout in Linux's manner: virtual regions and sections, then physical memory and what
//! is reserved in it (as `/proc/iomem`). The allocators' reports stand beside the allocators.

use crate::{
    arch::image,
    boot,
    mm::{
        addr::{LinearMap, VirtAddr},
        memblock::{Memblock, Region},
    },
    vm::layout,
};
use core::{fmt, ops::Range};

/// The virtual regions, and the sections of the image, with bounds and sizes.
#[derive(Debug)]
pub struct VirtualLayout;

impl fmt::Display for VirtualLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Virtual kernel memory layout:")?;
        let linear = LinearMap::kernel();
        let span = boot::memory_map(|memblock| memblock.span()).unwrap_or_default();
        let memory = linear.to_virt(span.start)..linear.to_virt(span.end);
        for (name, range) in [
            ("user", layout::USER),
            ("linear map", layout::LINEAR),
            ("  memory", memory),
            ("vmalloc", layout::VMALLOC),
            ("ioremap", layout::IOREMAP),
            ("fixmap", layout::FIXMAP),
            ("image window", layout::IMAGE),
            ("  .text", image::text()),
            ("  .rodata", image::rodata()),
            ("  .data", image::data()),
            (
                "  boot stack",
                image::boot_stack_guard().end..image::irq_stack_guard().start,
            ),
        ] {
            line(f, name, &range)?;
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, range: &Range<VirtAddr>) -> fmt::Result {
    let (start, end) = (range.start.get(), range.end.get());
    writeln!(
        f,
        "  {name:<14} {start:#018x} - {:#018x}  {}",
        end - 1,
        Size(end - start)
    )
}

/// Bytes, in the largest binary unit that they fill at least once, to a tenth of it.
#[derive(Debug)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [
            (1 << 40, "TiB"),
            (1 << 30, "GiB"),
            (1 << 20, "MiB"),
            (1 << 10, "KiB"),
        ];
        let fitting = units.into_iter().find(|(bytes, _)| self.0 >= *bytes);
        let (unit, name) = fitting.unwrap_or((1, "B"));
        let tenths = self.0 % unit * 10 / unit;
        if tenths == 0 {
            write!(f, "{} {name}", self.0 / unit)
        } else {
            write!(f, "{}.{tenths} {name}", self.0 / unit)
        }
    }
}

/// Physical memory, bank by bank, and what is reserved in it.
#[derive(Debug)]
pub struct PhysicalLayout;

impl fmt::Display for PhysicalLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Physical memory:")?;
        boot::memory_map(|memblock| banks(f, memblock))
    }
}

fn banks(f: &mut fmt::Formatter<'_>, memblock: &Memblock) -> fmt::Result {
    for bank in memblock.memory() {
        region(f, "", bank)?;
        let inside = |reserved: &&Region| bank.start <= reserved.start && reserved.start < bank.end;
        for reserved in memblock.reserved().iter().filter(inside) {
            region(f, "  ", reserved)?;
        }
    }
    Ok(())
}

fn region(f: &mut fmt::Formatter<'_>, indent: &str, region: &Region) -> fmt::Result {
    let (start, end) = (region.start.get(), region.end.get());
    let unmapped = if region.nomap { ", not mapped" } else { "" };
    let size = Size(end - start);
    writeln!(
        f,
        "  {indent}{start:09x}-{:09x} : {}{unmapped} ({size})",
        end - 1,
        region.name
    )
}
