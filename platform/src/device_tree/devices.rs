//! The devices that a kernel cannot do without, found by walking the tree.

use super::{
    DeviceTreeError, MAX_DEPTH,
    bus::{Bus, dma_end},
    property::{cells, is_enabled, strings, text},
    push,
};
use crate::board::{Conduit, DmaEngine, Gic, MAX_VIRTIO};
use arrayvec::ArrayVec;
use core::ops::Range;
use dtoolkit::{Node, fdt::FdtNode};

/// What the walk has found so far; the first usable node of a kind wins.
#[derive(Default)]
pub(super) struct Devices {
    pub(super) uart: Option<u64>,
    pub(super) gic: Option<Gic>,
    /// Interrupt number of the virtual timer.
    pub(super) timer: Option<u32>,
    pub(super) psci: Option<Conduit>,
    /// The Raspberry Pi's PM block.
    pub(super) watchdog: Option<u64>,
    pub(super) dma_reach: Option<u64>,
    pub(super) dma_engine: Option<DmaEngine>,
    pub(super) virtio: ArrayVec<Range<u64>, MAX_VIRTIO>,
}

impl Devices {
    /// Walks the tree below `root`, disabled nodes and what is below them left out.
    #[inline(never)]
    pub(super) fn visit_all(
        &mut self,
        root: FdtNode<'_>,
        memory: &[Range<u64>],
    ) -> Result<(), DeviceTreeError> {
        self.visit_children(
            &Bus {
                node: root,
                parent: None,
            },
            memory,
            0,
        )
    }

    fn visit_children(
        &mut self,
        bus: &Bus<'_, '_>,
        memory: &[Range<u64>],
        depth: usize,
    ) -> Result<(), DeviceTreeError> {
        for node in bus.node.children().filter(|&node| is_enabled(node)) {
            self.limit_dma(node, bus, memory);
            for name in strings(node, "compatible") {
                self.visit(node, bus, memory, name)?;
            }
            if depth < MAX_DEPTH {
                self.visit_children(
                    &Bus {
                        node,
                        parent: Some(bus),
                    },
                    memory,
                    depth + 1,
                )?;
            }
        }
        Ok(())
    }

    /// Takes `node` for what `name`, one of its `compatible`, says it is.
    #[inline(never)]
    fn visit(
        &mut self,
        node: FdtNode<'_>,
        bus: &Bus<'_, '_>,
        memory: &[Range<u64>],
        name: &str,
    ) -> Result<(), DeviceTreeError> {
        match name {
            "arm,pl011" => first(&mut self.uart, || uart(node, bus)),
            "arm,cortex-a15-gic" | "arm,gic-400" => first(&mut self.gic, || {
                let (distributor, cpu_interface) = two_blocks(node, bus)?;
                Some(Gic::V2 {
                    distributor,
                    cpu_interface,
                })
            }),
            "arm,gic-v3" => first(&mut self.gic, || {
                let (distributor, redistributors) = two_blocks(node, bus)?;
                Some(Gic::V3 {
                    distributor,
                    redistributors,
                })
            }),
            "arm,armv8-timer" => first(&mut self.timer, || virtual_timer(node)),
            "arm,psci-1.0" | "arm,psci-0.2" => first(&mut self.psci, || conduit(node)),
            "brcm,bcm2835-pm" | "brcm,bcm2835-pm-wdt" => {
                first(&mut self.watchdog, || Some(bus.registers(node, 0)?.start));
            }
            "brcm,bcm2835-dma" => first(&mut self.dma_engine, || dma_engine(node, bus, memory)),
            "virtio,mmio" => {
                if let Some(registers) = bus.registers(node, 0) {
                    push(&mut self.virtio, registers, "virtio-mmio slots")?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Lowers the reach of DMA to that of the masters on `node`.
    #[inline(never)]
    fn limit_dma(&mut self, node: FdtNode<'_>, bus: &Bus<'_, '_>, memory: &[Range<u64>]) {
        if let Some(end) = dma_end(&bus.dma_windows(node), memory) {
            self.dma_reach = Some(self.dma_reach.unwrap_or(end).min(end));
        }
    }
}

fn first<T>(slot: &mut Option<T>, find: impl FnOnce() -> Option<T>) {
    if slot.is_none() {
        *slot = find();
    }
}

/// The registers of the PL011 `node`, a child of `bus`.
pub(super) fn uart(node: FdtNode<'_>, bus: &Bus<'_, '_>) -> Option<u64> {
    Some(bus.registers(node, 0)?.start)
}

fn two_blocks(node: FdtNode<'_>, bus: &Bus<'_, '_>) -> Option<(Range<u64>, Range<u64>)> {
    Some((bus.registers(node, 0)?, bus.registers(node, 1)?))
}

/// The third interrupt of `arm,armv8-timer` is the virtual timer's: type (1 = private), number, flags.
fn virtual_timer(node: FdtNode<'_>) -> Option<u32> {
    let mut third = cells(node, "interrupts").skip(6);
    let (kind, number) = (third.next()?, third.next()?);
    (kind == 1 && number < 16).then(|| 16 + number)
}

fn conduit(node: FdtNode<'_>) -> Option<Conduit> {
    match text(node, "method")? {
        "hvc" => Some(Conduit::Hvc),
        "smc" => Some(Conduit::Smc),
        _ => None,
    }
}

/// The engine, seeing memory through the window of its bus that memory starts in.
fn dma_engine(node: FdtNode<'_>, bus: &Bus<'_, '_>, memory: &[Range<u64>]) -> Option<DmaEngine> {
    let lowest = memory.iter().map(|bank| bank.start).min()?;
    let windows = bus.parent?.dma_windows(bus.node);
    let window = windows
        .into_iter()
        .find(|window| window.memory.contains(&lowest))?;
    Some(DmaEngine {
        base: bus.registers(node, 0)?.start,
        channels: cells(node, "brcm,dma-channel-mask").next()?,
        bus_offset: window.bus_start?.checked_sub(window.memory.start)?,
        reach: window.memory.end,
    })
}
