//! What the kernel must know about a board.

use arrayvec::ArrayVec;
use core::ops::Range;

/// Most banks of memory, and most reservations, that a board can have.
pub const MAX_REGIONS: usize = 32;
/// Most cores that a board description lists.
pub const MAX_CPUS: usize = 16;
/// Most virtio-mmio slots; QEMU `virt` has 32.
pub const MAX_VIRTIO: usize = 32;

/// A board. All addresses are physical, after every bus's `ranges`.
#[derive(Clone, Debug)]
pub struct Board<'a> {
    /// Its name, from the root node's `model` or `compatible`.
    pub model: &'a str,
    /// Banks of memory, in the order given.
    pub memory: ArrayVec<Range<u64>, MAX_REGIONS>,
    /// Memory that firmware keeps.
    pub reserved: ArrayVec<Reserved<'a>, MAX_REGIONS>,
    /// Registers of the PL011 that is the console.
    pub uart: u64,
    /// The interrupt controller.
    pub gic: Gic,
    /// Interrupt number of the virtual timer (CNTV), 16 to 31: a private peripheral interrupt.
    pub timer_interrupt: u32,
    /// The cores, boot core included.
    pub cpus: ArrayVec<Cpu, MAX_CPUS>,
    /// How PSCI is called, where there is PSCI.
    pub psci: Option<Conduit>,
    /// The PM block whose watchdog resets a Raspberry Pi.
    pub watchdog: Option<u64>,
    /// End of the memory that the most limited DMA master reaches, if any is limited.
    pub dma_reach: Option<u64>,
    /// The BCM2835 DMA engine.
    pub dma_engine: Option<DmaEngine>,
    /// virtio-mmio register blocks.
    pub virtio: ArrayVec<Range<u64>, MAX_VIRTIO>,
    /// The kernel command line.
    pub bootargs: &'a str,
}

/// Memory that must not be allocated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved<'a> {
    /// Where.
    pub range: Range<u64>,
    /// The node's name, or `memreserve`.
    pub name: &'a str,
    /// It must not even be mapped: another world may own it.
    pub no_map: bool,
}

/// A Generic Interrupt Controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gic {
    /// Version 2: CPU interface in memory.
    V2 {
        /// Distributor registers.
        distributor: Range<u64>,
        /// CPU interface registers.
        cpu_interface: Range<u64>,
    },
    /// Version 3: CPU interface in system registers.
    V3 {
        /// Distributor registers.
        distributor: Range<u64>,
        /// Redistributor registers of all cores.
        redistributors: Range<u64>,
    },
}

/// A core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Affinity fields of its `MPIDR_EL1`.
    pub mpidr: u64,
    /// How it is started.
    pub start: CpuStart,
}

/// How a core is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuStart {
    /// PSCI `CPU_ON`.
    Psci,
    /// Write the entry point here, then `sev`.
    SpinTable(u64),
    /// The device tree names no way.
    Unknown,
}

/// The instruction that calls PSCI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduit {
    /// `hvc #0`
    Hvc,
    /// `smc #0`
    Smc,
}

/// The BCM2835 DMA engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaEngine {
    /// Its registers: channel *n* at `base + 0x100 * n`.
    pub base: u64,
    /// A set bit for each channel that firmware leaves to the Arm cores.
    pub channels: u32,
    /// What to add to a physical address to get the address as the engine sees it.
    pub bus_offset: u64,
    /// End of the physical memory that the engine reaches.
    pub reach: u64,
}
