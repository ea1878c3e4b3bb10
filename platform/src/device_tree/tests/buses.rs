//! Addresses on their way through buses, and the reach of DMA.

use super::{
    read,
    trees::{add, cells, flag, node, pl011, qemu_virt, set, text, widths},
};
use crate::device_tree::{ADDRESS_END, DeviceTreeError};
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};

/// QEMU's machine with its UART moved behind `buses`, the outermost first, each with 64-bit addresses
/// and the properties given.
fn uart_behind(buses: &[&[DeviceTreeProperty]], reg: &[u32]) -> DeviceTree {
    let uart = pl011("serial", reg);
    let inner = buses.iter().rev().fold(uart, |inner, properties| {
        node(
            "bus",
            properties.iter().cloned().chain(widths(2, 2)),
            [inner],
        )
    });
    let mut tree = qemu_virt();
    tree.root.remove_child("pl011@9000000");
    tree.root.add_child(inner);
    tree
}

fn uart_base(tree: &DeviceTree) -> Option<u64> {
    match read(tree) {
        Ok(board) => Some(board.uart),
        Err(DeviceTreeError::Missing("PL011 UART")) => None,
        Err(error) => panic!("{error}"),
    }
}

const REG: &[u32] = &[0, 0x1000, 0, 0x1000];

#[test]
fn an_empty_ranges_passes_on_and_a_missing_one_does_not() {
    let (passing, closed): (&[_], &[_]) = (&[flag("ranges")], &[]);
    assert_eq!(uart_base(&uart_behind(&[passing], REG)), Some(0x1000));
    assert_eq!(
        uart_base(&uart_behind(&[passing, passing], REG)),
        Some(0x1000)
    );
    assert_eq!(uart_base(&uart_behind(&[closed], REG)), None);
    assert_eq!(uart_base(&uart_behind(&[closed, passing], REG)), None);
    assert_eq!(uart_base(&uart_behind(&[passing, closed], REG)), None);
}

#[test]
fn two_buses_translate_one_after_the_other() {
    let outer = [cells("ranges", &[0, 0x5000, 1, 0, 0, 0x1_0000])];
    let inner = [cells(
        "ranges",
        &[9, 0, 9, 0, 0, 0x1000, 0, 0, 0, 0x8000, 0, 0x2000],
    )];
    let tree = uart_behind(&[&outer, &inner], REG);
    assert_eq!(uart_base(&tree), Some(0x1_0000_4000));
}

#[test]
fn a_block_that_a_bus_cuts_or_lies_outside_of_is_not_reached() {
    let window = |bytes| [cells("ranges", &[0, 0x1000, 8, 0, 0, bytes])];
    assert_eq!(
        uart_base(&uart_behind(&[&window(0x1000)], REG)),
        Some(0x8_0000_0000)
    );
    assert_eq!(uart_base(&uart_behind(&[&window(0x0fff)], REG)), None);
    assert_eq!(uart_base(&uart_behind(&[&window(0)], REG)), None);
    assert_eq!(
        uart_base(&uart_behind(&[&window(0x1000)], &[0, 0xfff, 0, 0x10])),
        None
    );
    assert_eq!(
        uart_base(&uart_behind(&[&window(0x1000)], &[0, 0x2000, 0, 0x10])),
        None
    );
}

#[test]
fn a_block_without_size_or_past_the_address_space_or_past_u64_is_none() {
    let passing: &[_] = &[flag("ranges")];
    let high = u32::MAX;
    for reg in [
        [0, 0x1000, 0, 0],
        [high, high, 0, 1],
        [0, 0x1000, high, high],
        [0x10_0000, 0, 0, 1],
    ] {
        assert_eq!(uart_base(&uart_behind(&[passing], &reg)), None, "{reg:x?}");
    }
    let last = [0xf_ffff, 0xffff_f000, 0, 0x1000];
    assert_eq!(
        uart_base(&uart_behind(&[passing], &last)),
        Some(ADDRESS_END - 0x1000)
    );
    let wrapping = [cells("ranges", &[0, 0, high, high, 1, 0])];
    assert_eq!(uart_base(&uart_behind(&[&wrapping], REG)), None);
}

#[test]
fn widths_that_no_number_fits_are_not_read() {
    let mut tree = uart_behind(&[&[flag("ranges")]], &[0, 0, 0x1000, 0, 0, 0x1000]);
    for (address, size) in [(3, 3), (0, 6), (6, 0), (0, 0), (u32::MAX, u32::MAX)] {
        set(&mut tree, "/bus", cells("#address-cells", &[address]));
        set(&mut tree, "/bus", cells("#size-cells", &[size]));
        assert_eq!(uart_base(&tree), None, "{address} {size}");
    }
}

#[test]
fn a_disabled_bus_hides_what_is_on_it_and_so_does_great_depth() {
    let passing: &[_] = &[flag("ranges")];
    let mut tree = uart_behind(&[passing], REG);
    set(&mut tree, "/bus", text("status", "ok"));
    assert_eq!(uart_base(&tree), Some(0x1000));
    set(&mut tree, "/bus", text("status", "disabled"));
    assert_eq!(uart_base(&tree), None);
    set(&mut tree, "/chosen", text("stdout-path", "/bus/serial"));
    assert_eq!(uart_base(&tree), None);

    assert_eq!(uart_base(&uart_behind(&[passing; 8], REG)), Some(0x1000));
    let mut tree = uart_behind(&[passing; 9], REG);
    assert_eq!(uart_base(&tree), None);
    set(
        &mut tree,
        "/chosen",
        text("stdout-path", &("/bus".repeat(9) + "/serial")),
    );
    assert_eq!(uart_base(&tree), None);
}

/// The reach of a board with these banks of memory (start and size, in GiB) and these buses.
fn reach(banks: &[[u32; 2]], buses: impl IntoIterator<Item = DeviceTreeNode>) -> Option<u64> {
    let mut tree = qemu_virt();
    let reg: Vec<u32> = banks
        .as_flattened()
        .iter()
        .flat_map(|&gib| gib_cells(gib))
        .collect();
    set(&mut tree, "/memory@40000000", cells("reg", &reg));
    buses.into_iter().for_each(|bus| add(&mut tree, "/", bus));
    read(&tree).unwrap().dma_reach.map(|end| end >> 30)
}

fn gib_cells(gib: u32) -> [u32; 2] {
    [gib >> 2, gib << 30]
}

/// A bus with windows: where in memory, and how much of it, in GiB.
fn masters(name: &str, windows: &[[u32; 2]], inner: Option<DeviceTreeNode>) -> DeviceTreeNode {
    let window = |&[start, size]: &[u32; 2]| [0, start, size].map(gib_cells);
    let ranges: Vec<u32> = windows.iter().flat_map(window).flatten().collect();
    node(
        name,
        widths(2, 2)
            .into_iter()
            .chain([cells("dma-ranges", &ranges)]),
        inner,
    )
}

#[test]
fn the_most_limited_bus_says_how_far_dma_reaches() {
    let bus = |name, end| masters(name, &[[0, end]], None);
    assert_eq!(reach(&[[1, 8]], []), None);
    assert_eq!(reach(&[[1, 8]], [bus("a", 4)]), Some(4));
    assert_eq!(
        reach(&[[1, 8]], [bus("a", 4), bus("b", 2), bus("c", 8)]),
        Some(2)
    );
    assert_eq!(reach(&[[1, 1]], [bus("a", 4)]), Some(4));
    let mut disabled = bus("a", 2);
    disabled.add_property(text("status", "disabled"));
    assert_eq!(reach(&[[1, 8]], [disabled, bus("b", 3)]), Some(3));
}

#[test]
fn windows_that_touch_are_one_and_a_hole_in_memory_needs_no_window() {
    let bus = |windows: &[[u32; 2]]| [masters("a", windows, None)];
    assert_eq!(reach(&[[1, 8]], bus(&[[4, 2], [0, 4]])), Some(6));
    assert_eq!(reach(&[[1, 8]], bus(&[[0, 3], [4, 16]])), Some(3));
    assert_eq!(reach(&[[1, 2], [4, 4]], bus(&[[0, 3], [4, 16]])), Some(20));
    assert_eq!(reach(&[[1, 2], [4, 4]], bus(&[[0, 3], [5, 16]])), Some(4));
    assert_eq!(reach(&[[4, 4], [1, 2]], bus(&[[0, 3]])), Some(4));
}

#[test]
fn a_bus_that_says_nothing_or_does_not_reach_the_start_of_memory_sets_no_end() {
    let bus = |windows: &[[u32; 2]]| [masters("a", windows, None)];
    assert_eq!(reach(&[[1, 8]], bus(&[])), None);
    assert_eq!(reach(&[[1, 8]], bus(&[[4, 16]])), None);
    assert_eq!(reach(&[[1, 8]], bus(&[[1, 0]])), None);
}

#[test]
fn windows_of_an_inner_bus_go_through_those_of_the_outer() {
    let inner = masters("inner", &[[0, 1]], None);
    let outer = masters("outer", &[[2, 2]], Some(inner));
    // The inner bus's window starts at 0 of the outer, which is 2 GiB of memory.
    assert_eq!(reach(&[[2, 8]], [outer]), Some(3));
    let silent = node("outer", widths(2, 2), [masters("inner", &[[0, 3]], None)]);
    assert_eq!(reach(&[[2, 8]], [silent]), Some(3));
}

#[test]
fn a_window_past_the_end_of_the_numbers_ends_with_the_address_space() {
    let high = u32::MAX;
    let ranges = cells("dma-ranges", &[0, 0, 0, 0, high, high]);
    let bus = node("a", widths(2, 2).into_iter().chain([ranges]), []);
    assert_eq!(reach(&[[1, 8]], [bus]), Some(ADDRESS_END >> 30));
}
