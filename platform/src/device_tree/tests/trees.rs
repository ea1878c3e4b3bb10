//! The trees themselves, made with `dtoolkit`'s model.

use dtoolkit::{
    memreserve::MemoryReservation,
    model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty},
};

pub(super) fn text(name: &str, value: &str) -> DeviceTreeProperty {
    DeviceTreeProperty::new(name, value).unwrap()
}

pub(super) fn texts(name: &str, values: &[&str]) -> DeviceTreeProperty {
    DeviceTreeProperty::new(name, values).unwrap()
}

pub(super) fn cells(name: &str, values: &[u32]) -> DeviceTreeProperty {
    DeviceTreeProperty::new(name, values).unwrap()
}

/// A property without a value.
pub(super) fn flag(name: &str) -> DeviceTreeProperty {
    cells(name, &[])
}

pub(super) fn widths(address: u32, size: u32) -> [DeviceTreeProperty; 2] {
    [
        cells("#address-cells", &[address]),
        cells("#size-cells", &[size]),
    ]
}

pub(super) fn node(
    name: &str,
    properties: impl IntoIterator<Item = DeviceTreeProperty>,
    children: impl IntoIterator<Item = DeviceTreeNode>,
) -> DeviceTreeNode {
    let mut node = DeviceTreeNode::new(name).unwrap();
    properties
        .into_iter()
        .for_each(|property| node.add_property(property));
    children.into_iter().for_each(|child| node.add_child(child));
    node
}

/// Changes a tree: the node at `path`, which it has, gets `property` (or another value of it).
pub(super) fn set(tree: &mut DeviceTree, path: &str, property: DeviceTreeProperty) {
    tree.find_node_mut(path).unwrap().add_property(property);
}

/// The node at `path`, which the tree has, gets a child.
pub(super) fn add(tree: &mut DeviceTree, path: &str, child: DeviceTreeNode) {
    tree.find_node_mut(path).unwrap().add_child(child);
}

fn tree(
    properties: impl IntoIterator<Item = DeviceTreeProperty>,
    children: impl IntoIterator<Item = DeviceTreeNode>,
) -> DeviceTree {
    let mut tree = DeviceTree::new();
    properties
        .into_iter()
        .for_each(|property| tree.root.add_property(property));
    children
        .into_iter()
        .for_each(|child| tree.root.add_child(child));
    tree
}

/// A PL011 with 32-bit addresses, or with the first cells of its `reg` as given.
pub(super) fn pl011(name: &str, reg: &[u32]) -> DeviceTreeNode {
    let properties = [
        texts("compatible", &["arm,pl011", "arm,primecell"]),
        cells("reg", reg),
    ];
    node(name, properties, [])
}

fn timer() -> DeviceTreeNode {
    let interrupts = [1, 13, 0xf04, 1, 14, 0xf04, 1, 11, 0xf04, 1, 10, 0xf04];
    let compatible = texts("compatible", &["arm,armv8-timer", "arm,armv7-timer"]);
    node("timer", [compatible, cells("interrupts", &interrupts)], [])
}

/// What QEMU 10 says of `-M virt -cpu cortex-a72 -smp 4 -m 512`, as `dumpdtb=` shows it, less what
/// nobody reads; it lists the virtio slots from the first on.
pub(super) fn qemu_virt() -> DeviceTree {
    let psci = [
        texts("compatible", &["arm,psci-1.0", "arm,psci-0.2", "arm,psci"]),
        text("method", "hvc"),
    ];
    let memory = [
        text("device_type", "memory"),
        cells("reg", &[0, 0x4000_0000, 0, 0x2000_0000]),
    ];
    let slots = (0..32).map(|slot| 0x0a00_0000 + 0x200 * slot).map(|base| {
        let reg = cells("reg", &[0, base, 0, 0x200]);
        let properties = [text("compatible", "virtio,mmio"), reg, flag("dma-coherent")];
        node(&format!("virtio_mmio@{base:x}"), properties, [])
    });
    let pcie = [
        text("compatible", "pci-host-ecam-generic"),
        cells("reg", &[0x40, 0x1000_0000, 0, 0x1000_0000]),
        cells(
            "ranges",
            &[0x0200_0000, 0, 0x1000_0000, 0, 0x1000_0000, 0, 0x2eff_0000],
        ),
    ];
    let gic = [
        text("compatible", "arm,cortex-a15-gic"),
        cells(
            "reg",
            &[0, 0x0800_0000, 0, 0x1_0000, 0, 0x0801_0000, 0, 0x1_0000],
        ),
        flag("ranges"),
    ];
    let cpu = |number: u32| {
        let properties = [text("enable-method", "psci"), cells("reg", &[number])];
        node(&format!("cpu@{number}"), properties, [])
    };
    let map = node("cpu-map", [], [node("socket0", [], [])]);
    let cpus = node(
        "cpus",
        widths(1, 0),
        [map].into_iter().chain((0..4).map(cpu)),
    );
    let children = [
        node("psci", psci, []),
        node("memory@40000000", memory, []),
        node("pcie@10000000", pcie.into_iter().chain(widths(3, 2)), []),
        pl011("pl011@9000000", &[0, 0x0900_0000, 0, 0x1000]),
        node("intc@8000000", gic.into_iter().chain(widths(2, 2)), []),
        cpus,
        timer(),
        node("aliases", [text("serial0", "/pl011@9000000")], []),
        node("chosen", [text("stdout-path", "/pl011@9000000")], []),
    ];
    let root = [
        text("model", "linux,dummy-virt"),
        text("compatible", "linux,dummy-virt"),
    ];
    tree(
        root.into_iter().chain(widths(2, 2)),
        children.into_iter().chain(slots),
    )
}

/// The same machine with `gic-version=3`.
pub(super) fn qemu_virt_gicv3() -> DeviceTree {
    let mut tree = qemu_virt();
    set(&mut tree, "/intc@8000000", text("compatible", "arm,gic-v3"));
    let reg = cells(
        "reg",
        &[0, 0x0800_0000, 0, 0x1_0000, 0, 0x080a_0000, 0, 0xf6_0000],
    );
    set(&mut tree, "/intc@8000000", reg);
    tree
}

/// A Raspberry Pi 4 with 4 GiB as its firmware describes it, less what nobody reads. Its `soc` has a
/// second DMA window, onto registers; the console it names is the mini-UART.
pub(super) fn raspberry_pi_4() -> DeviceTree {
    let cpu = |number: u32| {
        let release = cells("cpu-release-addr", &[0, 0xd8 + 8 * number]);
        let method = text("enable-method", "spin-table");
        let properties = [
            text("compatible", "arm,cortex-a72"),
            cells("reg", &[number]),
        ];
        node(
            &format!("cpu@{number}"),
            properties.into_iter().chain([method, release]),
            [],
        )
    };
    let banks = [0, 0, 0x3b40_0000, 0, 0x4000_0000, 0xbc00_0000];
    let memory = [text("device_type", "memory"), cells("reg", &banks)];
    let cma = [
        text("compatible", "shared-dma-pool"),
        cells("size", &[0x1400_0000]),
    ];
    let nvram = [cells("reg", &[0, 0x3b3f_0000, 0x1000]), flag("no-map")];
    let reserved = [
        node("linux,cma", cma, []),
        node("nvram@3b3f0000", nvram, []),
    ];
    let aliases = [
        text("serial0", "/soc/serial@7e215040"),
        text("serial1", "/soc/serial@7e201000"),
    ];
    let chosen = [
        text("stdout-path", "serial0:115200n8"),
        text("bootargs", "coherent_pool=1M console=ttyS0"),
    ];
    let mut pi_timer = timer();
    // Longer than the specification allows: trees in the field are not all by the book.
    let name = "arm,cpu-registers-not-fw-configured";
    pi_timer.add_property(DeviceTreeProperty::new_unchecked(name, [0_u8; 0]));
    let emmc_windows = cells("dma-ranges", &[0, 0xc000_0000, 0, 0, 0x4000_0000]);
    let emmc = [text("compatible", "simple-bus"), emmc_windows];
    let emmc_ranges = cells("ranges", &[0, 0x7e00_0000, 0, 0xfe00_0000, 0x0180_0000]);
    let children = [
        node("aliases", aliases, []),
        node("chosen", chosen, []),
        node(
            "reserved-memory",
            widths(2, 1).into_iter().chain([flag("ranges")]),
            reserved,
        ),
        soc(),
        node(
            "emmc2bus",
            emmc.into_iter().chain(widths(2, 1)).chain([emmc_ranges]),
            [],
        ),
        scb(),
        pi_timer,
        node("cpus", widths(1, 0), (0..4).map(cpu)),
        node("memory@0", memory, []),
    ];
    let root = [
        text("model", "Raspberry Pi 4 Model B Rev 1.2"),
        texts("compatible", &["raspberrypi,4-model-b", "brcm,bcm2711"]),
    ];
    let mut tree = tree(root.into_iter().chain(widths(2, 1)), children);
    tree.memory_reservations
        .push(MemoryReservation::new(0, 0x1000));
    tree
}

fn soc() -> DeviceTreeNode {
    let ranges = [
        [0x7e00_0000, 0, 0xfe00_0000, 0x0180_0000],
        [0x7c00_0000, 0, 0xfc00_0000, 0x0200_0000],
        [0x4000_0000, 0, 0xff80_0000, 0x0080_0000],
    ];
    let windows = [
        [0xc000_0000, 0, 0, 0x4000_0000],
        [0x7c00_0000, 0, 0xfc00_0000, 0x0380_0000],
    ];
    let properties = [
        text("compatible", "simple-bus"),
        cells("ranges", ranges.as_flattened()),
        cells("dma-ranges", windows.as_flattened()),
    ];
    let block = |name: &str, compatible: &[&str], reg: &[u32]| {
        node(
            name,
            [texts("compatible", compatible), cells("reg", reg)],
            [],
        )
    };
    let gic = [
        0x4004_1000,
        0x1000,
        0x4004_2000,
        0x2000,
        0x4004_4000,
        0x2000,
        0x4004_6000,
        0x2000,
    ];
    let pm = [0x7e10_0000, 0x114, 0x7e00_a000, 0x24, 0x7ec1_1000, 0x20];
    let mut engine = block("dma@7e007000", &["brcm,bcm2835-dma"], &[0x7e00_7000, 0xb00]);
    engine.add_property(cells("brcm,dma-channel-mask", &[0x07f5]));
    let mut disabled = pl011("serial@7e201400", &[0x7e20_1400, 0x200]);
    disabled.add_property(text("status", "disabled"));
    let mini_uart = ["brcm,bcm2835-aux-uart"];
    let children = [
        disabled,
        engine,
        block(
            "watchdog@7e100000",
            &["brcm,bcm2711-pm", "brcm,bcm2835-pm-wdt"],
            &pm,
        ),
        pl011("serial@7e201000", &[0x7e20_1000, 0x200]),
        block("serial@7e215040", &mini_uart, &[0x7e21_5040, 0x40]),
        block("interrupt-controller@40041000", &["arm,gic-400"], &gic),
    ];
    node("soc", properties.into_iter().chain(widths(1, 1)), children)
}

/// The bus of the PCIe host, which has addresses of three cells below it.
fn scb() -> DeviceTreeNode {
    let usb = node("usb@0,0", [cells("reg", &[0, 0, 0, 0, 0])], []);
    let pcie = [
        text("compatible", "brcm,bcm2711-pcie"),
        cells("reg", &[0, 0x7d50_0000, 0x9310]),
        cells(
            "ranges",
            &[0x0200_0000, 0, 0xc000_0000, 6, 0, 0, 0x4000_0000],
        ),
        cells("dma-ranges", &[0x0200_0000, 0, 0, 0, 0, 0, 0xc000_0000]),
    ];
    let ranges = [
        0,
        0x7c00_0000,
        0,
        0xfc00_0000,
        0x0380_0000,
        6,
        0,
        6,
        0,
        0x4000_0000,
    ];
    let properties = [text("compatible", "simple-bus"), cells("ranges", &ranges)];
    let pcie = node("pcie@7d500000", pcie.into_iter().chain(widths(3, 2)), [usb]);
    node("scb", properties.into_iter().chain(widths(2, 1)), [pcie])
}
