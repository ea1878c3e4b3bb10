//! The interrupt controller, version 2 or 3, through the `arm-gic` crate.
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
    gicv2::GicV2,
    gicv3::{GicCpuInterface, GicError, GicV3},
};
use core::ptr::NonNull;

/// A driver for the controller that the board has.
#[derive(Debug)]
pub enum Gic {
    /// Version 2.
    V2(GicV2<'static>),
    /// Version 3.
    V3(GicV3<'static>),
}

// SAFETY: the driver owns the register blocks, which every core reaches at the same addresses.
unsafe impl Send for Gic {}

impl Gic {
    /// Sets up a GICv2, this core's interface included; all interrupts stay disabled.
    ///
    /// # Safety
    ///
    /// The addresses are those of the distributor and CPU interface, mapped as device memory, and no
    /// other driver uses them.
    pub unsafe fn v2(distributor: NonNull<u8>, cpu_interface: NonNull<u8>) -> Self {
        // SAFETY: the caller's promise is the crate's.
        let mut gic =
            unsafe { GicV2::new(distributor.cast().as_ptr(), cpu_interface.cast().as_ptr()) };
        gic.setup();
        gic.enable_group0(true);
        Self::V2(gic)
    }

    /// Sets up a GICv3, this core's interface included; all interrupts stay disabled.
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
        this_cpu: usize,
    ) -> Result<Self, GicError> {
        // SAFETY: the caller promises a mapped distributor that nobody else uses.
        let distributor = unsafe { UniqueMmioPointer::new(distributor.cast()) };
        // SAFETY: the caller promises the redistributors of `cpus` cores.
        let mut gic = unsafe { GicV3::new(distributor, redistributors.cast(), cpus)? };
        gic.setup(this_cpu);
        GicCpuInterface::set_priority_mask(0xff);
        Ok(Self::V3(gic))
    }

    /// Enables or disables the private peripheral interrupt `number` (16 to 31) on core `cpu`, which
    /// must be this one on a GICv2. Returns whether the controller has such an interrupt.
    pub fn enable_private(&mut self, number: u32, cpu: usize, enable: bool) -> bool {
        let Ok(interrupt) = IntId::try_from(number) else {
            return false;
        };
        match self {
            Self::V2(gic) => gic.enable_interrupt(interrupt, enable).is_ok(),
            Self::V3(gic) => gic.enable_interrupt(interrupt, Some(cpu), enable).is_ok(),
        }
    }

    /// Takes the highest pending interrupt; `None` for a spurious one.
    pub fn acknowledge(&mut self) -> Option<u32> {
        let interrupt = match self {
            Self::V2(gic) => gic.get_and_acknowledge_interrupt(InterruptGroup::Group0),
            Self::V3(_) => GicCpuInterface::get_and_acknowledge_interrupt(InterruptGroup::Group1),
        };
        interrupt.map(u32::from)
    }

    /// Says that the interrupt `number`, acknowledged before on this core, has been handled.
    pub fn end(&mut self, number: u32) {
        let Ok(interrupt) = IntId::try_from(number) else {
            return;
        };
        match self {
            Self::V2(gic) => gic.end_interrupt(interrupt, InterruptGroup::Group0),
            Self::V3(_) => GicCpuInterface::end_interrupt(interrupt, InterruptGroup::Group1),
        }
    }
}
