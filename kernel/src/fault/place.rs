//! What an address belongs to, or is nearest to.

use crate::{mm::addr::VirtAddr, vm::layout};
use core::{fmt, ops::Range};

/// A named range of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name, with its rights where it is mapped.
    pub name: &'static str,
    /// Its bounds.
    pub range: Range<VirtAddr>,
}

/// The address spaces that exist on every board.
fn regions() -> [Place; 7] {
    let place = |name, range| Place { name, range };
    [
        place("user region", layout::USER),
        place("linear map", layout::LINEAR),
        place("vmalloc region", layout::VMALLOC),
        place("ioremap region", layout::IOREMAP),
        place("region of the cores' stacks", layout::STACKS),
        place("fixmap", layout::FIXMAP),
        place("image window", layout::IMAGE),
    ]
}

/// What a core's stacks are called, in the order in which they lie in [`layout::STACKS`].
const STACKS: [&str; 3] = ["stack", "interrupt stack", "fault stack"];

/// An address, and the smallest thing that holds it: an area, a core's stack, one of `places`, a region.
#[derive(Debug)]
pub struct Located<'a> {
    /// The address.
    pub address: VirtAddr,
    /// Ranges inside the regions: the image's sections and guards.
    pub places: &'a [Place],
    /// The area of the vmalloc or ioremap region that it lies in or, in its guard page, behind.
    pub area: Option<Place>,
    /// Size of a stack in bytes; it has as much guard below it.
    pub stack_bytes: u64,
}

impl fmt::Display for Located<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address;
        if address.get() < layout::USER.start.get() {
            return write!(f, "null page + {:#x}", address.get());
        }
        if let Some(area) = &self.area {
            return in_area(f, address, area);
        }
        if layout::STACKS.contains(&address) {
            return in_stacks(f, address, self.stack_bytes);
        }
        let regions = regions();
        let bytes = |place: &&Place| place.range.end.get() - place.range.start.get();
        let around = self.places.iter().chain(&regions);
        let holding = around.filter(|place| place.range.contains(&address));
        match holding.min_by_key(bytes) {
            Some(place) => {
                let inside = address.get() - place.range.start.get();
                write!(f, "{} + {inside:#x}", place.name)
            }
            None => f.write_str("outside every region"),
        }
    }
}

fn in_area(f: &mut fmt::Formatter<'_>, address: VirtAddr, area: &Place) -> fmt::Result {
    let Place { name, range } = area;
    let (start, end) = (range.start, range.end);
    if address >= end {
        write!(f, "guard page of the {name} {start:#x}-{end:#x}")
    } else {
        let inside = address.get() - start.get();
        write!(f, "{name} {start:#x}-{end:#x} + {inside:#x}")
    }
}

/// Stacks lie one behind the other, the guard of each below it; the first has none, and is nobody's.
fn in_stacks(f: &mut fmt::Formatter<'_>, address: VirtAddr, stack_bytes: u64) -> fmt::Result {
    let from_first_guard = address.get() - layout::STACKS.start.get() + stack_bytes;
    let (number, inside) = (
        from_first_guard / (2 * stack_bytes),
        from_first_guard % (2 * stack_bytes),
    );
    let (core, kind) = (number / 3, STACKS[(number % 3) as usize]);
    match inside.checked_sub(stack_bytes) {
        Some(inside) => write!(f, "{kind} of core {core} + {inside:#x}"),
        None => write!(f, "guard page of the {kind} of core {core}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn the_smallest_place_is_named() {
        let start = layout::IMAGE.start;
        let places = [
            Place {
                name: "kernel text, read-only",
                range: start..start.offset(0x1000),
            },
            Place {
                name: "guard page of the boot stack",
                range: start.offset(0x8000)..start.offset(0x1_0000),
            },
        ];
        let name = |address| {
            Located {
                address,
                places: &places,
                area: None,
                stack_bytes: 0x8000,
            }
            .to_string()
        };
        assert_eq!(name(start.offset(0x10)), "kernel text, read-only + 0x10");
        assert_eq!(
            name(start.offset(0xfff8)),
            "guard page of the boot stack + 0x7ff8"
        );
        assert_eq!(name(start.offset(0x2_0000)), "image window + 0x20000");
        assert_eq!(name(VirtAddr::new(8)), "null page + 0x8");
        assert_eq!(name(VirtAddr::new(0x4000)), "user region + 0x3000");
        assert_eq!(
            name(VirtAddr::new(0x0123_0000_0000_0000)),
            "outside every region"
        );
    }

    #[test]
    fn an_area_is_told_from_the_guard_behind_it() {
        let start = layout::VMALLOC.start.offset(0x3000);
        let name = |bytes| {
            Located {
                address: start.offset(bytes),
                places: &[],
                area: Some(Place {
                    name: "vmalloc area",
                    range: start..start.offset(0x2000),
                }),
                stack_bytes: 0x8000,
            }
            .to_string()
        };
        let area = "vmalloc area 0xffff800000003000-0xffff800000005000";
        assert_eq!(name(0x1fff), std::format!("{area} + 0x1fff"));
        assert_eq!(name(0x2000), std::format!("guard page of the {area}"));
    }

    #[test]
    fn a_stack_of_another_core_is_told_from_the_guard_below_it() {
        let name = |offset| {
            Located {
                address: layout::STACKS.start.offset(offset),
                places: &[],
                area: None,
                stack_bytes: 0x8000,
            }
            .to_string()
        };
        // Core 1's stacks are number 3 to 5, each at a multiple of 64 KiB.
        assert_eq!(name(0x3_0010), "stack of core 1 + 0x10");
        assert_eq!(name(0x2_fff8), "guard page of the stack of core 1");
        assert_eq!(name(0x4_7fff), "interrupt stack of core 1 + 0x7fff");
        assert_eq!(name(0x4_8000), "guard page of the fault stack of core 1");
        assert_eq!(name(0x6_0000), "stack of core 2 + 0x0");
    }
}
