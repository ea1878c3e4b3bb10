//! The interrupt controller, version 2 or 3, through the `arm-gic` crate.
//!
//! It has two halves. [`Gic`] is what all cores share, and is for setting up: one core at a time.
//! [`CpuInterface`] is one core's own, and is for handling and sending: no core ever waits for another
//! one to take an interrupt.
//!
//! We run in the non-secure world (or where there is no secure one). There the version 2 registers
//! `GICC_IAR`, `GICC_EOIR` and bit 0 of both control registers stand for group 1, the only group we
//! can have (Arm IHI 0048B, 4.4.2 and table 4-34): those are the ones that the crate calls group 0.
#![allow(
    unsafe_code,
    reason = "the crate's constructors take addresses of mapped register blocks"
)]

use arm_gic::{
    IntId, InterruptGroup, UniqueMmioPointer,
    gicv2::{self, GicV2, SgiTargetListFilter},
    gicv3::{self, GicCpuInterface, GicError, GicV3, SgiTargetGroup},
};
use core::{fmt, ptr::NonNull};

/// Private peripheral interrupts and those that cores send each other are numbered below this.
const PRIVATE: u32 = 32;
/// Interrupts that cores send each other are numbered below this.
const SENT: u32 = 16;
/// Byte offset of GICD_ITARGETSR0 (Arm IHI 0048B, table 4-1).
const ITARGETSR0: usize = 0x800;
/// The affinity fields of an MPIDR_EL1.
const AFFINITY: u64 = 0xff_00ff_ffff;

/// Why a core's part of the controller cannot be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoreError {
    /// No redistributor is that of the core with this affinity.
    NoRedistributor(u64),
    /// It does not have an interrupt that cores send each other.
    NotSent(u32),
}

impl fmt::Display for CoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRedistributor(mpidr) => write!(f, "no redistributor for core {mpidr:#x}"),
            Self::NotSent(number) => write!(f, "interrupt {number} cannot be sent"),
        }
    }
}

impl core::error::Error for CoreError {}

/// What the cores share of the controller.
#[derive(Debug)]
pub enum Gic {
    /// Version 2.
    V2 {
        /// The driver that sets up.
        shared: GicV2<'static>,
        /// The distributor's registers.
        distributor: NonNull<u8>,
        /// The CPU interface's: every core finds its own there.
        cpu_interface: NonNull<u8>,
    },
    /// Version 3, with the number of its redistributors.
    V3(GicV3<'static>, usize),
}

// SAFETY: the driver owns the register blocks, which every core reaches at the same addresses.
unsafe impl Send for Gic {}

impl Gic {
    /// Sets up what is shared of a GICv2; all interrupts stay disabled.
    ///
    /// # Safety
    ///
    /// The addresses are those of the distributor and CPU interface, mapped as device memory for good,
    /// and no other driver uses them.
    pub unsafe fn v2(distributor: NonNull<u8>, cpu_interface: NonNull<u8>) -> Self {
        Self::V2 {
            // SAFETY: the caller's promise is the crate's.
            shared: unsafe { v2(distributor, cpu_interface) },
            distributor,
            cpu_interface,
        }
    }

    /// Sets up what is shared of a GICv3; all interrupts stay disabled.
    ///
    /// # Errors
    ///
    /// The crate's, for redistributors that are not as expected.
    ///
    /// # Safety
    ///
    /// The addresses are those of the distributor and of the redistributors of `cpus` cores, mapped
    /// as device memory, and no other driver uses them.
    pub unsafe fn v3(
        distributor: NonNull<u8>,
        redistributors: NonNull<u8>,
        cpus: usize,
    ) -> Result<Self, GicError> {
        // SAFETY: the caller promises a mapped distributor that nobody else uses.
        let distributor = unsafe { UniqueMmioPointer::new(distributor.cast()) };
        // SAFETY: the caller promises the redistributors of `cpus` cores.
        let mut gic = unsafe { GicV3::new(distributor, redistributors.cast(), cpus)? };
        gic.distributor().configure_default_settings();
        Ok(Self::V3(gic, cpus))
    }

    /// Sets up the part of the core that calls this, whose affinity is that of `mpidr`, with the
    /// interrupts `sent` (below 16) enabled and no other.
    ///
    /// # Errors
    ///
    /// See [`CoreError`].
    pub fn this_core(&mut self, mpidr: u64, sent: &[u32]) -> Result<CpuInterface, CoreError> {
        let mpidr = mpidr & AFFINITY;
        let mut interface = match self {
            Self::V2 {
                shared,
                distributor,
                cpu_interface,
            } => {
                // What belongs to this core among what it writes is banked; the rest is as it was.
                shared.setup();
                shared.enable_group0(true);
                let targets = distributor.as_ptr().wrapping_add(ITARGETSR0).cast::<u32>();
                // SAFETY: a register of the distributor, which stays mapped. For each core it reads as
                // the bit of that core's interface (Arm IHI 0048B, 4.3.12).
                let targets = unsafe { targets.read_volatile() };
                let [bit, ..] = targets.to_le_bytes();
                // SAFETY: `v2` was promised the addresses. This instance is one core's: of the
                // distributor it writes the registers that are banked, and the one that sends, which
                // keeps nothing; the CPU interface is banked whole (Arm IHI 0048B, 2.3.1 and 4.1.4).
                let own = unsafe { v2(*distributor, *cpu_interface) };
                // A lone core's registers read as zero.
                CpuInterface::V2(own, Target(u64::from(bit.max(1))))
            }
            Self::V3(gic, cpus) => {
                let index = (0..*cpus).find(|&cpu| {
                    let typer = gic.gicr_typer(cpu);
                    typer.is_ok_and(|typer| typer.core_mpidr() == mpidr)
                });
                let index = index.ok_or(CoreError::NoRedistributor(mpidr))?;
                gic.init_cpu(index);
                let own = gic.redistributor(index);
                own.map_err(|_| CoreError::NoRedistributor(mpidr))?
                    .configure_default_settings();
                GicCpuInterface::set_priority_mask(0xff);
                GicCpuInterface::enable_group1(true);
                CpuInterface::V3(index, Target(mpidr))
            }
        };
        for &number in sent {
            if number >= SENT || !self.enable_private(&mut interface, number, true) {
                return Err(CoreError::NotSent(number));
            }
        }
        Ok(interface)
    }

    /// Enables or disables the private interrupt `number` (0 to 31) of the core whose interface this
    /// is, and which calls this. Returns whether the controller has such an interrupt.
    pub fn enable_private(
        &mut self,
        interface: &mut CpuInterface,
        number: u32,
        enable: bool,
    ) -> bool {
        let interrupt = IntId::try_from(number).ok().filter(|_| number < PRIVATE);
        let Some(interrupt) = interrupt else {
            return false;
        };
        match (self, interface) {
            (_, CpuInterface::V2(own, _)) => own.enable_interrupt(interrupt, enable).is_ok(),
            (Self::V3(gic, _), CpuInterface::V3(cpu, _)) => {
                gic.enable_interrupt(interrupt, Some(*cpu), enable).is_ok()
            }
            (Self::V2 { .. }, CpuInterface::V3(..)) => false,
        }
    }
}

/// A driver of a GICv2's registers.
///
/// # Safety
///
/// As [`Gic::v2`].
unsafe fn v2(distributor: NonNull<u8>, cpu_interface: NonNull<u8>) -> GicV2<'static> {
    // SAFETY: the caller's promise is the crate's.
    unsafe { GicV2::new(distributor.cast().as_ptr(), cpu_interface.cast().as_ptr()) }
}

/// A core as the controller knows it: for version 2 the bit of its interface, for version 3 its
/// affinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target(u64);

impl Target {
    /// As a number, never 0 for version 2.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// From what [`to_bits`](Self::to_bits) returned.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

/// An interrupt that has been taken, and must be ended by the core that took it.
#[derive(Debug)]
#[must_use = "a core gets no further interrupt of its priority until this one is ended"]
pub struct Taken(IntId);

impl Taken {
    /// Its number.
    pub fn number(&self) -> u32 {
        // A version 2 adds to the number of an interrupt that was sent the number of its sender (Arm
        // IHI 0048B, 4.4.4); a version 3 has none above these bits that we enable.
        self.0.raw_value() & 0x3ff
    }
}

/// One core's part of the controller; only that core may use it.
#[derive(Debug)]
pub enum CpuInterface {
    /// Version 2: registers that each core finds at the same address.
    V2(GicV2<'static>, Target),
    /// Version 3: system registers, and the redistributor of this number.
    V3(usize, Target),
}

// SAFETY: plain addresses and numbers, which mean something to one core alone: its holder sees to it
// that it is used there.
unsafe impl Send for CpuInterface {}

impl CpuInterface {
    /// How others name this core when they send it something.
    pub const fn target(&self) -> Target {
        let (Self::V2(_, target) | Self::V3(_, target)) = self;
        *target
    }

    /// Takes the highest pending interrupt; `None` for a spurious one.
    pub fn acknowledge(&mut self) -> Option<Taken> {
        let taken = match self {
            Self::V2(gic, _) => gic.get_and_acknowledge_interrupt(InterruptGroup::Group0),
            Self::V3(..) => GicCpuInterface::get_and_acknowledge_interrupt(InterruptGroup::Group1),
        };
        taken.map(Taken)
    }

    /// Says that an interrupt has been handled.
    pub fn end(&mut self, taken: Taken) {
        match self {
            Self::V2(gic, _) => gic.end_interrupt(taken.0, InterruptGroup::Group0),
            Self::V3(..) => GicCpuInterface::end_interrupt(taken.0, InterruptGroup::Group1),
        }
    }

    /// Sends the interrupt `number`, which was given to [`Gic::this_core`], to a core. Stores from
    /// before are not ordered before it: that takes a barrier.
    pub fn send(&mut self, number: u32, to: Target) {
        let interrupt = IntId::sgi(number);
        match self {
            Self::V2(gic, _) => {
                #[expect(clippy::cast_possible_truncation, reason = "one bit of eight")]
                let target_list = to.0 as u16;
                let target = gicv2::SgiTarget::List {
                    target_list_filter: SgiTargetListFilter::CPUTargetList,
                    target_list,
                };
                gic.send_sgi(interrupt, target);
            }
            Self::V3(..) => {
                let [affinity0, affinity1, affinity2, _, affinity3, ..] = to.0.to_le_bytes();
                let target = gicv3::SgiTarget::List {
                    affinity3,
                    affinity2,
                    affinity1,
                    // Sixteen cores a cluster: more take a range selector, which not every GICv3 has.
                    target_list: 1_u16.checked_shl(affinity0.into()).unwrap_or(0),
                };
                let sent =
                    GicCpuInterface::send_sgi(interrupt, target, SgiTargetGroup::CurrentGroup1);
                debug_assert!(sent.is_ok(), "made as one that can be sent");
            }
        }
    }
}
