//! Buses: how a child's addresses become physical ones, and how much memory its masters reach.

use super::ADDRESS_END;
use arrayvec::ArrayVec;
use core::ops::Range;
use dtoolkit::{fdt::FdtNode, standard};

/// Windows of a `dma-ranges` that are looked at. Leaving one out makes the reach smaller, never larger.
const MAX_WINDOWS: usize = 8;

/// A bus and the buses above it: what an address must pass through.
pub(super) struct Bus<'b, 'a> {
    /// The bus.
    pub(super) node: FdtNode<'a>,
    /// The one above; `None` for the root, whose addresses are physical.
    pub(super) parent: Option<&'b Bus<'b, 'a>>,
}

/// A part of memory as the masters on a bus see it.
pub(super) struct Window {
    /// Where they see it; `None` for an address of three cells, as PCI has.
    pub(super) bus_start: Option<u64>,
    /// Where it is.
    pub(super) memory: Range<u64>,
}

impl Bus<'_, '_> {
    /// The register block number `index` of `node`, a child of this bus: not empty, and passed on as
    /// one piece by every bus above.
    pub(super) fn registers(&self, node: FdtNode<'_>, index: usize) -> Option<Range<u64>> {
        let reg = node.reg().ok()??.nth(index)?;
        let bytes = reg.size::<u64>().ok().filter(|&bytes| bytes != 0)?;
        let start = self.translate(reg.address::<u64>().ok()?, bytes)?;
        let end = start.checked_add(bytes).filter(|&end| end <= ADDRESS_END)?;
        Some(start..end)
    }

    /// The physical address of `bytes` bytes at a child's `address`; `None` where a bus does not pass
    /// them on. A bus without `ranges` passes nothing on, one with an empty `ranges` all.
    fn translate(&self, mut address: u64, bytes: u64) -> Option<u64> {
        let mut bus = self;
        while let Some(parent) = bus.parent {
            address = pass(bus.node.ranges().ok()??, address, bytes)?;
            bus = parent;
        }
        Some(address)
    }

    /// The windows onto memory of the masters on `node`, a child of this bus; none if it has no
    /// `dma-ranges`, or an empty one: then it is as limited as this bus.
    pub(super) fn dma_windows(&self, node: FdtNode<'_>) -> ArrayVec<Window, MAX_WINDOWS> {
        let ranges = node.dma_ranges().ok().flatten().into_iter().flatten();
        let windows = ranges.filter_map(|range| {
            let bytes = range.length::<u64>().ok().filter(|&bytes| bytes != 0)?;
            let start = self.memory_address(range.parent_bus_address::<u64>().ok()?)?;
            let end = start.saturating_add(bytes).min(ADDRESS_END);
            let bus_start = range.child_bus_address::<u64>().ok();
            Some(Window {
                bus_start,
                memory: start..end,
            })
        });
        windows.take(MAX_WINDOWS).collect()
    }

    /// Where in memory a master on this bus is at `address`. Here a bus that says nothing passes
    /// everything on, as Linux has it.
    fn memory_address(&self, mut address: u64) -> Option<u64> {
        let mut bus = self;
        while let Some(parent) = bus.parent {
            if let Some(ranges) = bus.node.dma_ranges().ok()? {
                address = pass(ranges, address, 1)?;
            }
            bus = parent;
        }
        Some(address)
    }
}

/// What the bus above sees of `bytes` bytes at `address`. Ranges with addresses of three cells, as PCI
/// has them, pass on nothing that we look for.
fn pass<'a>(
    ranges: impl Iterator<Item = standard::Range<'a>>,
    address: u64,
    bytes: u64,
) -> Option<u64> {
    let mut ranges = ranges.peekable();
    if ranges.peek().is_none() {
        return Some(address);
    }
    ranges.find_map(|range| {
        let inside = address.checked_sub(range.child_bus_address::<u64>().ok()?)?;
        let room = range.length::<u64>().ok()?.checked_sub(inside)?;
        let start = range.parent_bus_address::<u64>().ok()?;
        (bytes <= room).then(|| start.checked_add(inside))?
    })
}

/// The end below which masters with these windows reach all of `memory`; `None` if there are no
/// windows, or if they do not reach the start of memory: no end describes those.
///
/// The windows' largest end would not do: the Raspberry Pi's have one for memory and one, far above
/// it, for registers.
pub(super) fn dma_end(windows: &[Window], memory: &[Range<u64>]) -> Option<u64> {
    let reached = |start| {
        let mut reached = start;
        while let Some(window) = windows
            .iter()
            .find(|window| window.memory.contains(&reached))
        {
            reached = window.memory.end;
        }
        reached
    };
    let lowest = memory.iter().map(|bank| bank.start).min()?;
    if reached(lowest) == lowest {
        return None;
    }
    let ends = memory.iter().map(|bank| (reached(bank.start), bank.end));
    let first_gap = ends.clone().filter(|(reached, end)| reached < end).min();
    first_gap.or_else(|| ends.max()).map(|(reached, _)| reached)
}
