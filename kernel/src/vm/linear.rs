//! How a memory bank is cut for the linear map.
//!
//! Blocks as large as alignment allows map most of memory. Where attributes differ or may change (the
//! image's alias, the DMA pool), 4 KiB entries do, since a block cannot be split while it is in use
//! without FEAT_BBM.

use super::descriptor::{Attributes, Level};
use crate::mm::addr::{PAGE_BYTES, PhysAddr};
use core::ops::Range;

/// Memory that the linear map treats on its own, with entries of 4 KiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Special {
    /// Whole pages.
    pub range: Range<PhysAddr>,
    /// What they are mapped as.
    pub attributes: Attributes,
}

/// A part of a bank which is mapped in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Whole pages.
    pub range: Range<PhysAddr>,
    /// What they are mapped as.
    pub attributes: Attributes,
    /// The largest entry allowed.
    pub largest: Level,
}

/// Cuts the whole pages of `bank` into parts, in order. `specials` are disjoint and in order; they may
/// lie in other banks or in none.
pub fn parts(bank: Range<PhysAddr>, specials: &[Special]) -> impl Iterator<Item = Part> {
    let mut at = PhysAddr::new(bank.start.get().next_multiple_of(PAGE_BYTES));
    let end = PhysAddr::new(bank.end.get() & !(PAGE_BYTES - 1));
    core::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let next = specials.iter().find(|special| special.range.end > at);
        let part = match next {
            Some(special) if special.range.start <= at => Part {
                range: at..special.range.end.min(end),
                attributes: special.attributes,
                largest: Level::PAGE,
            },
            _ => Part {
                range: at..next.map_or(end, |special| special.range.start.min(end)),
                attributes: Attributes::KERNEL_DATA,
                largest: Level::GIB,
            },
        };
        at = part.range.end;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn range(start: u64, end: u64) -> Range<PhysAddr> {
        PhysAddr::new(start)..PhysAddr::new(end)
    }

    fn special(start: u64, end: u64) -> Special {
        Special {
            range: range(start, end),
            attributes: Attributes::KERNEL_RODATA,
        }
    }

    #[test]
    fn a_bank_is_covered_once_and_specials_get_small_entries() {
        let specials = [
            special(0x1000, 0x5000),
            special(0x8000, 0x9000),
            special(0xf000, 0x1_2000),
        ];
        let cut: Vec<_> = parts(range(0x4000, 0x1_0800), &specials)
            .map(|part| (part.range.start.get(), part.range.end.get(), part.largest))
            .collect();
        assert_eq!(
            cut,
            [
                (0x4000, 0x5000, Level::PAGE),
                (0x5000, 0x8000, Level::GIB),
                (0x8000, 0x9000, Level::PAGE),
                (0x9000, 0xf000, Level::GIB),
                (0xf000, 0x1_0000, Level::PAGE),
            ]
        );
    }

    #[test]
    fn a_bank_without_a_whole_page_maps_nothing() {
        assert_eq!(parts(range(0x1001, 0x1fff), &[]).count(), 0);
        assert_eq!(parts(range(0x1001, 0x2fff), &[]).count(), 0);
        assert_eq!(parts(range(0x1001, 0x3000), &[]).count(), 1);
    }
}
