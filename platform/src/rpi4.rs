//! The Raspberry Pi 4 Model B, for a start without a device tree.
//!
//! QEMU's `raspi4b` passes ATAGs unless it is given `-dtb`. The facts are the BCM2711 ARM Peripherals
//! manual's (in its "low peripheral" map) and those of the firmware's own device tree. Memory is the
//! least that every model has to spare: 1 GiB less the 64 MiB that the GPU takes at most by default.

use crate::board::{Board, Cpu, CpuStart, DmaEngine, Gic, Reserved};
use arrayvec::ArrayVec;

const PERIPHERALS: u64 = 0xFE00_0000;
const GIC: u64 = 0xFF84_0000;

/// The description.
pub fn board() -> Board<'static> {
    // The firmware's stub keeps cores 1 to 3 in a loop in the first page, each reading its own word.
    let release = [0xd8_u64, 0xe0, 0xe8, 0xf0];
    Board {
        model: "Raspberry Pi 4 Model B (built-in description)",
        memory: core::iter::once(0..0x3C00_0000).collect(),
        reserved: ArrayVec::from_iter([Reserved {
            range: 0..0x1000,
            name: "spin-table",
            no_map: false,
        }]),
        uart: PERIPHERALS + 0x20_1000,
        gic: Gic::V2 {
            distributor: GIC + 0x1000..GIC + 0x2000,
            cpu_interface: GIC + 0x2000..GIC + 0x4000,
        },
        timer_interrupt: 27,
        cpus: (0_u64..)
            .zip(release)
            .map(|(mpidr, address)| Cpu {
                mpidr,
                start: CpuStart::SpinTable(address),
            })
            .collect(),
        psci: None,
        watchdog: Some(PERIPHERALS + 0x10_0000),
        dma_reach: Some(0x4000_0000),
        dma_engine: Some(DmaEngine {
            base: PERIPHERALS + 0x7000,
            channels: 0x3c,
            bus_offset: 0xC000_0000,
            reach: 0x4000_0000,
        }),
        virtio: ArrayVec::new(),
        bootargs: "",
    }
}

#[cfg(test)]
mod tests {
    use super::board;
    use crate::board::{CpuStart, Gic};
    use core::ops::Range;

    /// The register blocks: UART, interrupt controller, PM and DMA engine.
    fn registers() -> Vec<Range<u64>> {
        let board = board();
        let Gic::V2 {
            distributor,
            cpu_interface,
        } = board.gic
        else {
            panic!("the board has a GIC-400");
        };
        let engine = board.dma_engine.unwrap();
        let engine = engine.base..engine.base + 0x100 * 16;
        let (uart, pm) = (board.uart, board.watchdog.unwrap());
        vec![
            uart..uart + 0x200,
            distributor,
            cpu_interface,
            pm..pm + 0x28,
            engine,
        ]
    }

    #[test]
    fn nothing_overlaps() {
        let mut all = registers();
        all.extend(board().memory);
        all.sort_by_key(|range| range.start);
        assert!(all.iter().all(|range| range.start < range.end));
        for pair in all.windows(2) {
            assert!(pair[0].end <= pair[1].start, "{pair:x?}");
        }
    }

    #[test]
    fn registers_are_in_the_low_peripheral_window_and_page_aligned() {
        for block in registers() {
            assert!(block.start % 0x1000 == 0, "{block:x?}");
            assert!(
                (0xfc00_0000..0x1_0000_0000).contains(&block.start),
                "{block:x?}"
            );
            assert!(block.end <= 0x1_0000_0000, "{block:x?}");
        }
    }

    #[test]
    fn cores_wait_at_words_of_their_own_in_reserved_memory() {
        let board = board();
        let mut words = Vec::new();
        for (mpidr, cpu) in (0..).zip(&board.cpus) {
            assert_eq!(cpu.mpidr, mpidr);
            let CpuStart::SpinTable(word) = cpu.start else {
                panic!("{cpu:?} has no spin table");
            };
            assert_eq!(word % 8, 0);
            let kept = |range: &Range<u64>| range.contains(&word) && range.contains(&(word + 7));
            assert!(board.reserved.iter().any(|reserved| kept(&reserved.range)));
            words.push(word);
        }
        words.dedup();
        assert_eq!(words.len(), 4);
    }

    #[test]
    fn dma_reaches_all_of_the_memory_within_32_bits_of_bus_address() {
        let board = board();
        let engine = board.dma_engine.unwrap();
        assert_eq!(board.dma_reach, Some(engine.reach));
        assert!(board.memory.iter().all(|bank| bank.end <= engine.reach));
        assert!(engine.bus_offset + engine.reach <= 1 << 32);
        assert_ne!(engine.channels, 0);
    }
}
