//! What is missing, too much or of the wrong shape is an error that says so.

use super::{
    super::{FixedName, MAX_BYTES, board, length},
    read,
    trees::{add, cells, flag, node, qemu_virt, set, text, widths},
};
use crate::device_tree::DeviceTreeError::{self, Malformed, Missing, TooMany};
use dtoolkit::{
    error::{FdtErrorKind, PropertyError},
    memreserve::MemoryReservation,
    model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty},
};

fn refusal(change: impl FnOnce(&mut DeviceTree)) -> DeviceTreeError {
    let mut tree = qemu_virt();
    change(&mut tree);
    read(&tree).unwrap_err()
}

fn without(child: &str) -> DeviceTreeError {
    refusal(|tree| assert!(tree.root.remove_child(child).is_some()))
}

#[test]
fn a_board_needs_memory_a_uart_an_interrupt_controller_and_a_timer() {
    assert_eq!(without("memory@40000000"), Missing("memory"));
    assert_eq!(without("pl011@9000000"), Missing("PL011 UART"));
    assert_eq!(without("intc@8000000"), Missing("GICv2 or GICv3"));
    assert_eq!(without("timer"), Missing("virtual timer interrupt"));
    assert_eq!(read(&DeviceTree::new()).unwrap_err(), Missing("memory"));
}

#[test]
fn what_is_there_but_of_no_use_is_missing() {
    let timer = |value: &[u32]| {
        let interrupts = cells("interrupts", value);
        refusal(|tree| set(tree, "/timer", interrupts))
    };
    // A shared interrupt, one past the private ones, and too few.
    for value in [
        [1, 13, 0, 1, 14, 0, 0, 11, 0],
        [1, 13, 0, 1, 14, 0, 1, 16, 0],
    ] {
        assert_eq!(timer(&value), Missing("virtual timer interrupt"));
    }
    assert_eq!(
        timer(&[1, 13, 0, 1, 14, 0, 1]),
        Missing("virtual timer interrupt")
    );
    let half = cells("reg", &[0, 0x0800_0000, 0, 0x1_0000]);
    let gic = refusal(|tree| set(tree, "/intc@8000000", half));
    assert_eq!(gic, Missing("GICv2 or GICv3"));
    let empty = refusal(|tree| set(tree, "/memory@40000000", flag("reg")));
    assert_eq!(empty, Missing("memory"));
    let disabled = refusal(|tree| set(tree, "/memory@40000000", text("status", "disabled")));
    assert_eq!(disabled, Missing("memory"));
}

#[test]
fn boards_without_cores_psci_chosen_or_aliases_are_boards_all_the_same() {
    let mut tree = qemu_virt();
    for child in ["cpus", "psci", "chosen", "aliases"] {
        assert!(tree.root.remove_child(child).is_some());
    }
    let board = read(&tree).unwrap();
    assert!(board.cpus.is_empty());
    assert_eq!((board.psci, board.bootargs), (None, ""));
    let mut tree = qemu_virt();
    set(&mut tree, "/psci", text("method", "telepathy"));
    assert_eq!(read(&tree).unwrap().psci, None);
}

#[test]
fn more_than_there_is_room_for_is_refused() {
    let banks: Vec<u32> = (0..33).flat_map(|bank| [bank, 0, 0, 0x1000]).collect();
    let banks = refusal(|tree| set(tree, "/memory@40000000", cells("reg", &banks)));
    assert_eq!(banks, TooMany("memory banks"));
    let entry = |start: u64| MemoryReservation::new(start << 20, 0x1000);
    let reservations = refusal(|tree| tree.memory_reservations.extend((0..33).map(entry)));
    assert_eq!(reservations, TooMany("reservations"));
    let cores = refusal(|tree| {
        (4..17).for_each(|number| {
            let core = node(&format!("cpu@{number:x}"), [cells("reg", &[number])], []);
            add(tree, "/cpus", core);
        });
    });
    assert_eq!(cores, TooMany("cores"));
    let slot = [
        text("compatible", "virtio,mmio"),
        cells("reg", &[0, 0x0b00_0000, 0, 0x200]),
    ];
    let slots = refusal(|tree| add(tree, "/", node("virtio_mmio@b000000", slot, [])));
    assert_eq!(slots, TooMany("virtio-mmio slots"));
}

#[test]
fn a_reg_of_the_wrong_length_is_refused_with_the_name_of_its_node() {
    let error = PropertyError::PropEncodedArraySizeMismatch { size: 12, chunk: 4 };
    let named = |name| DeviceTreeError::Property {
        node: FixedName::from(name).unwrap(),
        error,
    };
    let reg = || cells("reg", &[0, 0x4000_0000, 0]);
    let memory = refusal(|tree| set(tree, "/memory@40000000", reg()));
    assert_eq!(memory, named("memory@40000000"));
    assert_eq!(memory.to_string(), format!("node memory@40000000: {error}"),);
    let long = "a-long-name@0123456789abcdef01234567";
    let reserved = refusal(|tree| {
        tree.root.add_child(node(
            "reserved-memory",
            widths(2, 2),
            [node(long, [reg()], [])],
        ));
    });
    assert_eq!(reserved, named(&long[..31]));
}

#[test]
fn errors_read_as_sentences_do() {
    assert_eq!(Missing("memory").to_string(), "no memory");
    assert_eq!(TooMany("cores").to_string(), "too many cores");
}

#[test]
fn a_blob_that_is_none_is_malformed() {
    let kind = |blob: &[u8]| match board(blob) {
        Err(Malformed(error)) => error.kind,
        other => panic!("{other:?}"),
    };
    assert_eq!(kind(&[]), FdtErrorKind::InvalidLength);
    assert_eq!(kind(&[0; 64]), FdtErrorKind::InvalidMagic);
    let blob = qemu_virt().to_dtb();
    assert_eq!(kind(&blob[..blob.len() - 1]), FdtErrorKind::InvalidLength);
    let mut old = blob;
    old[23] = 16;
    assert_eq!(kind(&old), FdtErrorKind::UnsupportedVersion(16));
}

#[test]
fn names_longer_than_the_specification_allows_are_read_over() {
    let mut tree = qemu_virt();
    // As the Raspberry Pi 4's tree has it: 35 characters, of 31 that are allowed.
    let long = DeviceTreeProperty::new_unchecked("arm,cpu-registers-not-fw-configured", 0_u32);
    set(&mut tree, "/timer", long);
    assert_eq!(read(&tree).unwrap().timer_interrupt, 27);
    let name = "a-name-of-forty-letters-that-goes-on-and";
    tree.root.add_child(DeviceTreeNode::new_unchecked(name));
    assert_eq!(read(&tree).unwrap().timer_interrupt, 27);
}

#[test]
fn a_long_name_does_not_excuse_a_broken_structure() {
    let mut tree = qemu_virt();
    let long = DeviceTreeProperty::new_unchecked("arm,cpu-registers-not-fw-configured", 0_u32);
    tree.root.add_property(long);
    let blob = tree.to_dtb();
    let [from, to] = [8, 12].map(|at| blob[at..].first_chunk().copied().unwrap());
    let [from, to] = [from, to].map(|cell| usize::try_from(u32::from_be_bytes(cell)).unwrap());
    assert!(board(&blob).is_ok());
    // The end of the tree, that of the root node, and that of a node in the root: none may go.
    for end in [4, 8, 12] {
        let mut broken = blob.clone();
        broken[to - end + 3] = 4;
        assert!(
            matches!(board(&broken), Err(Malformed(_))),
            "token at end - {end}"
        );
    }
    let mut unnamed = blob.clone();
    // The first property's name, behind the root's token and (empty) name, its token and length.
    unnamed[from + 16..from + 20].fill(0x7f);
    assert!(matches!(board(&unnamed), Err(Malformed(_))));
}

#[test]
fn bytes_behind_a_blob_are_let_be() {
    let mut blob = qemu_virt().to_dtb();
    blob.extend([0xa5; 13]);
    assert_eq!(board(&blob).unwrap().model, "linux,dummy-virt");
}

#[test]
fn the_length_is_read_from_the_first_eight_bytes() {
    let header = |length: u32| {
        let [a, b, c, d] = length.to_be_bytes();
        [0xd0, 0x0d, 0xfe, 0xed, a, b, c, d]
    };
    let max = u32::try_from(MAX_BYTES).unwrap();
    assert_eq!(length(header(0x1234)), Ok(Some(0x1234)));
    assert_eq!(length(header(max)), Ok(Some(MAX_BYTES)));
    assert_eq!(length(header(max + 1)), Err(TooMany("bytes")));
    assert_eq!(length(header(u32::MAX)), Err(TooMany("bytes")));
    assert_eq!(length([0; 8]), Ok(None));
    // ATAGs, which begin with the length of `ATAG_CORE` and its tag.
    assert_eq!(length([5, 0, 0, 0, 1, 0, 0x41, 0x54]), Ok(None));
    let blob = qemu_virt().to_dtb();
    assert_eq!(length(*blob.first_chunk().unwrap()), Ok(Some(blob.len())));
    assert_eq!(board(&header(u32::MAX)).unwrap_err(), TooMany("bytes"));
}
