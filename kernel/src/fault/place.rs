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
        place("vmalloc area", layout::VMALLOC),
        place("ioremap area", layout::IOREMAP),
        place(
            "stacks of the other cores, or a guard below one",
            layout::STACKS,
        ),
        place("fixmap", layout::FIXMAP),
        place("image window", layout::IMAGE),
    ]
}

/// An address, and the smallest of `places` and the fixed regions that holds it.
#[derive(Debug)]
pub struct Located<'a> {
    /// The address.
    pub address: VirtAddr,
    /// Ranges inside the regions: the image's sections and guards.
    pub places: &'a [Place],
}

impl fmt::Display for Located<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address;
        if address.get() < layout::USER.start.get() {
            return write!(f, "null page + {:#x}", address.get());
        }
        let regions = regions();
        let bytes = |place: &&Place| place.range.end.get() - place.range.start.get();
        let around = self.places.iter().chain(&regions);
        let holding = around.filter(|place| place.range.contains(&address));
        match holding.min_by_key(bytes) {
            Some(place) => {
                write!(
                    f,
                    "{} + {:#x}",
                    place.name,
                    address.get() - place.range.start.get()
                )
            }
            None => f.write_str("outside every region"),
        }
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
}
