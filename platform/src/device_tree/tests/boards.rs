//! The boards that we run on.

use super::{
    read,
    trees::{cells, flag, qemu_virt, qemu_virt_gicv3, raspberry_pi_4, set, text},
};
use crate::board::{Conduit, Cpu, CpuStart, DmaEngine, Gic, Reserved};

#[test]
fn qemu_virt_is_read_as_its_dump_says() {
    let board = read(&qemu_virt()).unwrap();
    assert_eq!(board.model, "linux,dummy-virt");
    assert_eq!(board.memory.first(), Some(&(0x4000_0000..0x6000_0000)));
    assert_eq!(board.memory.len(), 1);
    assert!(board.reserved.is_empty());
    assert_eq!(board.uart, 0x0900_0000);
    let gic = Gic::V2 {
        distributor: 0x0800_0000..0x0801_0000,
        cpu_interface: 0x0801_0000..0x0802_0000,
    };
    assert_eq!(board.gic, gic);
    assert_eq!(board.timer_interrupt, 27);
    let cpus = [0, 1, 2, 3].map(|mpidr| Cpu {
        mpidr,
        start: CpuStart::Psci,
    });
    assert_eq!(board.cpus.as_slice(), cpus);
    assert_eq!(board.psci, Some(Conduit::Hvc));
    assert_eq!(
        (board.watchdog, board.dma_reach, board.dma_engine),
        (None, None, None)
    );
    assert_eq!(board.virtio.len(), 32);
    assert_eq!(board.virtio.first(), Some(&(0x0a00_0000..0x0a00_0200)));
    assert_eq!(board.virtio.last(), Some(&(0x0a00_3e00..0x0a00_4000)));
    assert_eq!(board.bootargs, "");
}

#[test]
fn a_gic_of_version_3_has_redistributors() {
    let mut tree = qemu_virt_gicv3();
    set(&mut tree, "/psci", text("method", "smc"));
    let board = read(&tree).unwrap();
    let gic = Gic::V3 {
        distributor: 0x0800_0000..0x0801_0000,
        redistributors: 0x080a_0000..0x0900_0000,
    };
    assert_eq!(board.gic, gic);
    assert_eq!(board.psci, Some(Conduit::Smc));
}

#[test]
fn a_raspberry_pi_4_is_read_through_its_buses() {
    let board = read(&raspberry_pi_4()).unwrap();
    assert_eq!(board.model, "Raspberry Pi 4 Model B Rev 1.2");
    assert_eq!(
        board.memory.as_slice(),
        [0..0x3b40_0000, 0x4000_0000..0xfc00_0000]
    );
    let reserved = [
        Reserved {
            range: 0..0x1000,
            name: "memreserve",
            no_map: false,
        },
        Reserved {
            range: 0x3b3f_0000..0x3b3f_1000,
            name: "nvram@3b3f0000",
            no_map: true,
        },
    ];
    assert_eq!(board.reserved.as_slice(), reserved);
    // Not the mini-UART that `stdout-path` names, nor the disabled PL011 that comes first.
    assert_eq!(board.uart, 0xfe20_1000);
    let gic = Gic::V2 {
        distributor: 0xff84_1000..0xff84_2000,
        cpu_interface: 0xff84_2000..0xff84_4000,
    };
    assert_eq!(board.gic, gic);
    let cpu = |mpidr| Cpu {
        mpidr,
        start: CpuStart::SpinTable(0xd8 + 8 * mpidr),
    };
    assert_eq!(board.cpus.as_slice(), [0, 1, 2, 3].map(cpu));
    assert_eq!((board.psci, board.watchdog), (None, Some(0xfe10_0000)));
    assert!(board.virtio.is_empty());
    assert_eq!(board.bootargs, "coherent_pool=1M console=ttyS0");
}

#[test]
fn the_raspberry_pi_s_dma_stops_at_1_gib_whatever_window_it_has_onto_registers() {
    let board = read(&raspberry_pi_4()).unwrap();
    assert_eq!(board.dma_reach, Some(0x4000_0000));
    let engine = DmaEngine {
        base: 0xfe00_7000,
        channels: 0x07f5,
        bus_offset: 0xc000_0000,
        reach: 0x4000_0000,
    };
    assert_eq!(board.dma_engine, Some(engine));
}

#[test]
fn the_built_in_raspberry_pi_is_the_one_that_the_firmware_describes() {
    let (built_in, board) = (crate::rpi4::board(), read(&raspberry_pi_4()).unwrap());
    assert_eq!(built_in.uart, board.uart);
    assert_eq!(built_in.gic, board.gic);
    assert_eq!(built_in.timer_interrupt, board.timer_interrupt);
    assert_eq!(built_in.cpus, board.cpus);
    assert_eq!(
        (built_in.psci, built_in.watchdog),
        (board.psci, board.watchdog)
    );
    assert_eq!(built_in.dma_reach, board.dma_reach);
    let engine = |board: crate::Board<'_>| DmaEngine {
        channels: 0,
        ..board.dma_engine.unwrap()
    };
    assert_eq!(engine(built_in), engine(board));
}

#[test]
fn an_older_name_of_the_pm_block_is_known_too() {
    let mut tree = raspberry_pi_4();
    set(
        &mut tree,
        "/soc/watchdog@7e100000",
        text("compatible", "brcm,bcm2835-pm"),
    );
    assert_eq!(read(&tree).unwrap().watchdog, Some(0xfe10_0000));
}

#[test]
fn of_an_mpidr_in_two_cells_the_first_is_aff3() {
    let mut tree = qemu_virt();
    set(&mut tree, "/cpus", cells("#address-cells", &[2]));
    for (number, reg) in [
        [0, 0],
        [0, 0x0100],
        [0x12, 0x0034_5678],
        [0xff, 0x00ff_ffff],
    ]
    .iter()
    .enumerate()
    {
        set(&mut tree, &format!("/cpus/cpu@{number}"), cells("reg", reg));
    }
    let found: Vec<u64> = read(&tree)
        .unwrap()
        .cpus
        .iter()
        .map(|cpu| cpu.mpidr)
        .collect();
    assert_eq!(found, [0, 0x100, 0x12_0034_5678, 0xff_00ff_ffff]);
}

#[test]
fn a_core_whose_reg_is_no_mpidr_or_which_failed_is_left_out_but_not_a_disabled_one() {
    let mut tree = qemu_virt();
    set(&mut tree, "/cpus/cpu@0", text("status", "disabled"));
    set(&mut tree, "/cpus/cpu@1", cells("reg", &[0x8000_0001]));
    set(&mut tree, "/cpus/cpu@2", text("status", "fail-bist"));
    set(&mut tree, "/cpus/cpu@3", cells("reg", &[0, 0, 3]));
    let found: Vec<u64> = read(&tree)
        .unwrap()
        .cpus
        .iter()
        .map(|cpu| cpu.mpidr)
        .collect();
    assert_eq!(found, [0]);
}

#[test]
fn a_spin_table_needs_an_aligned_address() {
    let mut tree = raspberry_pi_4();
    let release = |cell: &[u32]| cells("cpu-release-addr", cell);
    tree.find_node_mut("/cpus/cpu@0")
        .unwrap()
        .remove_property("cpu-release-addr");
    set(&mut tree, "/cpus/cpu@1", release(&[0, 0xe4]));
    set(&mut tree, "/cpus/cpu@2", release(&[0x2000]));
    set(&mut tree, "/cpus/cpu@3", release(&[1, 0x2000]));
    let found: Vec<CpuStart> = read(&tree)
        .unwrap()
        .cpus
        .iter()
        .map(|cpu| cpu.start)
        .collect();
    let (unknown, at) = (CpuStart::Unknown, CpuStart::SpinTable);
    assert_eq!(found, [unknown, unknown, at(0x2000), at(0x1_0000_2000)]);
}

#[test]
fn the_first_usable_node_of_a_kind_wins() {
    let mut tree = raspberry_pi_4();
    let mut later = tree.root.remove_child("timer").unwrap();
    let mut useless = later.clone();
    useless.add_property(cells("interrupts", &[1, 13, 0xf04]));
    later.add_property(cells("interrupts", &[1, 0, 0, 1, 0, 0, 1, 5, 0]));
    tree.root.add_child(useless);
    for (number, mut timer) in [tree_timer(), later].into_iter().enumerate() {
        timer = renamed(&timer, &format!("timer{number}"));
        tree.root.add_child(timer);
    }
    let board = read(&tree).unwrap();
    assert_eq!(board.timer_interrupt, 27);
}

fn tree_timer() -> dtoolkit::model::DeviceTreeNode {
    qemu_virt().root.remove_child("timer").unwrap()
}

fn renamed(node: &dtoolkit::model::DeviceTreeNode, name: &str) -> dtoolkit::model::DeviceTreeNode {
    use dtoolkit::Node;
    super::trees::node(name, node.properties().cloned(), [])
}

#[test]
fn a_board_without_a_model_goes_by_what_it_is_compatible_with() {
    let mut tree = raspberry_pi_4();
    tree.root.remove_property("model");
    assert_eq!(read(&tree).unwrap().model, "raspberrypi,4-model-b");
    tree.root.remove_property("compatible");
    assert_eq!(read(&tree).unwrap().model, "unnamed board");
}

#[test]
fn the_console_is_found_by_path_or_alias_with_options_or_without() {
    let mut tree = raspberry_pi_4();
    let serial = super::trees::pl011("serial@7e201600", &[0x7e20_1600, 0x200]);
    super::trees::add(&mut tree, "/soc", serial);
    set(&mut tree, "/aliases", text("uart3", "/soc/serial@7e201600"));
    for path in [
        "uart3",
        "uart3:115200n8",
        "/soc/serial@7e201600",
        "/soc/serial@7e201600:9600",
    ] {
        set(&mut tree, "/chosen", text("stdout-path", path));
        assert_eq!(read(&tree).unwrap().uart, 0xfe20_1600, "{path}");
    }
}

#[test]
fn a_console_that_is_no_usable_pl011_gives_way_to_the_first_that_is() {
    let mut tree = raspberry_pi_4();
    let deep = "/soc".repeat(40);
    let elsewhere = [
        "",
        "/",
        "//",
        ":",
        "/soc",
        "/soc/",
        "/soc/serial@7e201400",
        "/nowhere/serial",
        "nothing",
        "serial0",
        "/soc/serial@7e201000/below",
        &deep,
    ];
    for path in elsewhere {
        set(&mut tree, "/chosen", text("stdout-path", path));
        assert_eq!(read(&tree).unwrap().uart, 0xfe20_1000, "{path}");
    }
    set(&mut tree, "/chosen", flag("stdout-path"));
    assert_eq!(read(&tree).unwrap().uart, 0xfe20_1000);
}
