//! Memory: its banks, and what of it firmware keeps.

use super::{ADDRESS_END, DeviceTreeError, FixedName, property::is_enabled, push};
use crate::board::{MAX_REGIONS, Reserved};
use arrayvec::ArrayVec;
use core::ops::Range;
use dtoolkit::{
    Node,
    fdt::{Fdt, FdtNode},
};

/// Lists the banks, in the order given.
#[inline(never)]
pub(super) fn banks(
    root: FdtNode<'_>,
    list: &mut ArrayVec<Range<u64>, MAX_REGIONS>,
) -> Result<(), DeviceTreeError> {
    for node in root.children() {
        if node.name_without_address() == "memory" && is_enabled(node) {
            for bank in regions(node)? {
                push(list, bank, "memory banks")?;
            }
        }
    }
    if list.is_empty() {
        Err(DeviceTreeError::Missing("memory"))
    } else {
        Ok(())
    }
}

/// Lists the entries of `/memreserve/`, and the children of `/reserved-memory` that say where they
/// are: the others ask the kernel for memory, for devices that we do not drive.
#[inline(never)]
pub(super) fn reservations<'a>(
    tree: Fdt<'a>,
    list: &mut ArrayVec<Reserved<'a>, MAX_REGIONS>,
) -> Result<(), DeviceTreeError> {
    for entry in tree.memory_reservations() {
        if let Some(range) = region(entry.address(), entry.size()) {
            let reserved = Reserved {
                range,
                name: "memreserve",
                no_map: false,
            };
            push(list, reserved, "reservations")?;
        }
    }
    let Some(parent) = tree.root().child("reserved-memory") else {
        return Ok(());
    };
    for node in parent.children().filter(|&node| is_enabled(node)) {
        let no_map = node.property("no-map").is_some();
        for range in regions(node)? {
            push(
                list,
                Reserved {
                    range,
                    name: node.name(),
                    no_map,
                },
                "reservations",
            )?;
        }
    }
    Ok(())
}

/// The regions of a node's `reg`; the node stands under a bus without translation.
fn regions(node: FdtNode<'_>) -> Result<impl Iterator<Item = Range<u64>>, DeviceTreeError> {
    let reg = node.reg().map_err(|error| {
        let mut name = FixedName::new();
        let length = node.name().floor_char_boundary(name.capacity());
        name.push_str(&node.name()[..length]);
        DeviceTreeError::Property { node: name, error }
    })?;
    Ok(reg
        .into_iter()
        .flatten()
        .filter_map(|entry| region(entry.address::<u64>().ok()?, entry.size::<u64>().ok()?)))
}

/// What of a region can be addressed, if anything.
fn region(start: u64, bytes: u64) -> Option<Range<u64>> {
    let end = start.saturating_add(bytes).min(ADDRESS_END);
    (start < end).then_some(start..end)
}
