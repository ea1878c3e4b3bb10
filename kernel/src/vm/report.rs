//! Addresses in figures: the rows of ptdump and vmallocinfo.
//!
//! Rows are handed out with no lock held: tables are read in stretches of [`RUNS`] rows, areas one by
//! one, so what changes meanwhile may be missed.

use super::{
    descriptor::{Access, Attributes, Memory},
    table::Mapping,
};
use crate::mm::addr::VirtAddr;
use wire::report::{self, Address};

/// Rows of ptdump that are gathered under the tables' lock at once.
pub const RUNS: usize = 64;

/// Leaves that follow each other and are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    first: Mapping,
    end: VirtAddr,
}

/// The first runs among the leaves shown to it.
#[derive(Debug)]
pub struct Runs {
    runs: [Option<Run>; RUNS],
    used: usize,
    /// Where the first leaf starts that found no room.
    rest: Option<VirtAddr>,
}

impl Runs {
    /// None yet.
    pub const fn new() -> Self {
        Self {
            runs: [None; RUNS],
            used: 0,
            rest: None,
        }
    }

    /// Takes the next leaf, in order of addresses.
    pub fn take(&mut self, leaf: Mapping) {
        let end = leaf.address.offset(leaf.level.bytes());
        let last = self
            .used
            .checked_sub(1)
            .and_then(|last| self.runs[last].as_mut());
        match last {
            _ if self.rest.is_some() => {}
            Some(run) if run.end == leaf.address && alike(&run.first, &leaf) => run.end = end,
            _ if self.used == RUNS => self.rest = Some(leaf.address),
            _ => {
                self.runs[self.used] = Some(Run { first: leaf, end });
                self.used += 1;
            }
        }
    }
}

fn alike(one: &Mapping, other: &Mapping) -> bool {
    let kind = |leaf: &Mapping| (leaf.level, leaf.contiguous, leaf.attributes);
    kind(one) == kind(other)
}

impl Default for Runs {
    fn default() -> Self {
        Self::new()
    }
}

impl Run {
    /// Its row.
    pub fn row(&self) -> report::Mapping<'static> {
        let Mapping {
            address,
            physical,
            attributes,
            level,
            contiguous,
        } = self.first;
        report::Mapping {
            start: Address(address.get()),
            end: Address(self.end.get()),
            physical: Address(physical.get()),
            leaf_bytes: level.bytes(),
            access: attributes.map_or_else(report::Access::default, access),
            contiguous,
            memory: attributes.map_or("UNKNOWN", |attributes| match attributes.memory() {
                Memory::Normal => "MEM/NORMAL",
                Memory::Device => "DEVICE/nGnRE",
                Memory::StrictDevice => "DEVICE/nGnRnE",
                Memory::NonCacheable => "MEM/NORMAL-NC",
            }),
        }
    }
}

fn access(attributes: Attributes) -> report::Access {
    let access = attributes.access();
    report::Access {
        writable: access.is_writable(),
        kernel_executable: access == Access::KernelReadExecute,
        user_executable: access == Access::UserReadExecute,
        user: access.is_user(),
    }
}

#[cfg(target_os = "none")]
pub use kernel::{areas, mappings};

#[cfg(target_os = "none")]
mod kernel {
    use super::Runs;
    use crate::{
        mm::{
            addr::{PAGE_BYTES, VirtAddr},
            report::Rows,
        },
        vm::{ioremap, kernel_space, layout, vmalloc},
    };
    use core::ops::Range;
    use wire::report::{Address, Area, Record, Region};

    /// The kernel's translation tables, region by region.
    pub fn mappings(rows: &mut Rows<'_>) {
        for (name, region) in [
            ("linear map", layout::LINEAR),
            ("vmalloc", layout::VMALLOC),
            ("ioremap", layout::IOREMAP),
            ("stacks", layout::STACKS),
            ("fixmap", layout::FIXMAP),
            ("image window", layout::IMAGE),
        ] {
            rows(&Record::Mapped(Region {
                name,
                depth: 0,
                start: Address(region.start.get()),
                end: Address(region.end.get()),
            }));
            mappings_of(region, rows);
        }
    }

    fn mappings_of(region: Range<VirtAddr>, rows: &mut Rows<'_>) {
        let mut from = Some(region.start);
        while let Some(start) = from {
            let mut runs = Runs::new();
            kernel_space::visit(start..region.end, &mut |leaf| runs.take(leaf));
            for run in runs.runs.iter().flatten() {
                rows(&Record::Mapping(run.row()));
            }
            from = runs.rest;
        }
    }

    /// The areas of vmalloc, then those of ioremap.
    pub fn areas(rows: &mut Rows<'_>) {
        let mut from = layout::VMALLOC.start;
        while let Some(area) = vmalloc::next(from) {
            rows(&Record::Area(Area {
                start: Address(area.start.get()),
                end: Address(area.range().end.get()),
                what: area.value.name(),
                frames: area.bytes / PAGE_BYTES,
                physical: None,
            }));
            from = area.start.offset(1);
        }
        let mut from = layout::IOREMAP.start;
        while let Some(area) = ioremap::next(from) {
            rows(&Record::Area(Area {
                start: Address(area.start.get()),
                end: Address(area.range().end.get()),
                what: "ioremap",
                frames: 0,
                physical: Some(Address(area.value.get())),
            }));
            from = area.start.offset(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{mm::addr::PhysAddr, vm::descriptor::Level};
    use std::vec::Vec;

    fn leaf(address: u64, attributes: Attributes, level: Level) -> Mapping {
        Mapping {
            address: VirtAddr::new(address),
            physical: PhysAddr::new(address & 0xffff_ffff),
            attributes: Some(attributes),
            level,
            contiguous: false,
        }
    }

    #[test]
    fn leaves_that_follow_each_other_and_are_alike_are_one_row() {
        let mut runs = Runs::new();
        let (data, text) = (Attributes::KERNEL_DATA, Attributes::KERNEL_TEXT);
        for (address, attributes, level) in [
            (0x1000, data, Level::PAGE),
            (0x2000, data, Level::PAGE),
            (0x3000, text, Level::PAGE),
            (0x5000, text, Level::PAGE),
            (0x20_0000, text, Level::MIB2),
        ] {
            runs.take(leaf(address, attributes, level));
        }
        let rows: Vec<_> = runs.runs.iter().flatten().map(Run::row).collect();
        let bounds: Vec<_> = rows.iter().map(|row| (row.start.0, row.end.0)).collect();
        assert_eq!(
            bounds,
            [
                (0x1000, 0x3000),
                (0x3000, 0x4000),
                (0x5000, 0x6000),
                (0x20_0000, 0x40_0000)
            ]
        );
        assert!(rows[0].access.writable && !rows[0].access.kernel_executable);
        assert!(!rows[1].access.writable && rows[1].access.kernel_executable);
        assert_eq!(rows[3].leaf_bytes, 2 << 20);
    }

    #[test]
    fn what_finds_no_room_is_where_the_next_stretch_begins() {
        let mut runs = Runs::new();
        for page in 0..2 * RUNS as u64 {
            runs.take(leaf(page * 0x2000, Attributes::KERNEL_DATA, Level::PAGE));
        }
        assert_eq!(runs.used, RUNS);
        assert_eq!(runs.rest, Some(VirtAddr::new(RUNS as u64 * 0x2000)));
    }
}
