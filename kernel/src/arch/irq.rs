//! The interrupt mask of this core (PSTATE.DAIF).
//!
//! The rest of the kernel masks through [`sync::irq`](crate::sync::irq), whose guards nest.

use aarch64_cpu::registers::{DAIF, Readable, Writeable};
use core::arch::asm;

/// Masks interrupts (IRQ; FIQ and SError stay as they are).
#[inline]
pub(crate) fn mask() {
    // Not `nomem`: memory accesses must not move out of the masked section.
    // SAFETY: masks interrupts, touches no memory.
    unsafe { asm!("msr daifset, #2", options(nostack, preserves_flags)) }
}

/// Whether interrupts are masked.
#[inline]
pub fn is_masked() -> bool {
    DAIF.is_set(DAIF::I)
}

/// Unmasks interrupts: for [`sync::irq`](crate::sync::irq), and where a context begins that has none of
/// its guards.
#[inline]
pub(crate) fn unmask() {
    // SAFETY: the vectors and the interrupt controller are set up by whoever calls this.
    unsafe { asm!("msr daifclr, #2", options(nostack, preserves_flags)) }
}

/// Unmasks SError: an asynchronous error of a store from before would be taken here, not later.
pub(crate) fn unmask_errors() {
    DAIF.write(DAIF::A::Unmasked + DAIF::D::Masked + DAIF::I::Masked + DAIF::F::Masked);
}
