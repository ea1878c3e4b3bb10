//! Banks and reservations.

use super::{
    read,
    trees::{add, cells, flag, node, qemu_virt, set, text, widths},
};
use crate::{board::Reserved, device_tree::ADDRESS_END};
use dtoolkit::{memreserve::MemoryReservation, model::DeviceTree};

fn reserve(tree: &mut DeviceTree) -> &mut DeviceTree {
    let properties = widths(2, 2).into_iter().chain([flag("ranges")]);
    tree.root.add_child(node("reserved-memory", properties, []));
    tree
}

#[test]
fn all_banks_of_all_memory_nodes_count_but_not_empty_or_disabled_ones() {
    let mut tree = qemu_virt();
    let banks = [
        0,
        0x4000_0000,
        0,
        0x1000_0000,
        0,
        0x6000_0000,
        0,
        0,
        0,
        0x8000_0000,
        1,
        0,
    ];
    set(&mut tree, "/memory@40000000", cells("reg", &banks));
    add(
        &mut tree,
        "/",
        node(
            "memory@800000000",
            [cells("reg", &[8, 0, 0, 0x4000_0000])],
            [],
        ),
    );
    let off = [cells("reg", &[9, 0, 1, 0]), text("status", "disabled")];
    add(&mut tree, "/", node("memory@900000000", off, []));
    add(
        &mut tree,
        "/",
        node("memory-controller@1", [cells("reg", &[7, 0, 1, 0])], []),
    );
    let expected = [
        0x4000_0000..0x5000_0000,
        0x8000_0000..0x1_8000_0000,
        0x8_0000_0000..0x8_4000_0000,
    ];
    assert_eq!(read(&tree).unwrap().memory.as_slice(), expected);
}

#[test]
fn a_bank_is_cut_where_the_address_space_ends() {
    let mut tree = qemu_virt();
    let high = u32::MAX;
    let banks = [
        0,
        0x4000_0000,
        high,
        high,
        0x10_0000,
        0,
        0,
        0x1000,
        high,
        high,
        0,
        2,
    ];
    set(&mut tree, "/memory@40000000", cells("reg", &banks));
    let memory = read(&tree).unwrap().memory;
    assert_eq!(memory.first(), Some(&(0x4000_0000..ADDRESS_END)));
    assert_eq!(memory.len(), 1);
}

#[test]
fn reservations_are_fixed_in_place_or_left_out() {
    let mut tree = qemu_virt();
    tree.memory_reservations
        .push(MemoryReservation::new(0x4800_0000, 0x1_0000));
    tree.memory_reservations
        .push(MemoryReservation::new(0x4900_0000, 0));
    tree.memory_reservations
        .push(MemoryReservation::new(u64::MAX, u64::MAX));
    reserve(&mut tree);
    let secure = [cells(
        "reg",
        &[0, 0x5000_0000, 0, 0x1000, 0, 0x5100_0000, 0, 0x2000],
    )];
    let log = [cells("reg", &[0, 0x5200_0000, 0, 0x1000])];
    let off = [
        cells("reg", &[0, 0x5300_0000, 0, 0x1000]),
        text("status", "disabled"),
    ];
    let pool = [
        cells("size", &[0, 0x10_0000]),
        cells("alignment", &[0, 0x1000]),
        flag("no-map"),
    ];
    let parent = "/reserved-memory";
    let secure = secure.into_iter().chain([flag("no-map")]);
    add(&mut tree, parent, node("secure@50000000", secure, []));
    add(&mut tree, parent, node("log@52000000", log, []));
    add(&mut tree, parent, node("off@53000000", off, []));
    add(&mut tree, parent, node("pool", pool, []));
    let reserved = |range, name, no_map| Reserved {
        range,
        name,
        no_map,
    };
    let expected = [
        reserved(0x4800_0000..0x4801_0000, "memreserve", false),
        reserved(0x5000_0000..0x5000_1000, "secure@50000000", true),
        reserved(0x5100_0000..0x5100_2000, "secure@50000000", true),
        reserved(0x5200_0000..0x5200_1000, "log@52000000", false),
    ];
    assert_eq!(read(&tree).unwrap().reserved.as_slice(), expected);
}

#[test]
fn as_many_reservations_as_there_is_room_for_are_kept() {
    let mut tree = qemu_virt();
    let entry = |start: u64| MemoryReservation::new(start << 20, 0x1000);
    tree.memory_reservations.extend((0..32).map(entry));
    assert_eq!(read(&tree).unwrap().reserved.len(), 32);
}
