//! The interrupt mask of this core (PSTATE.DAIF).

use aarch64_cpu::registers::{DAIF, Readable, Writeable};
use core::arch::asm;

/// A saved mask.
#[derive(Clone, Copy, Debug)]
pub struct Saved(u64);

/// Masks interrupts (IRQ; FIQ and SError stay as they are) and returns the former mask.
#[inline]
pub fn save_and_mask() -> Saved {
    let saved = Saved(DAIF.get());
    // Not `nomem`: memory accesses must not move out of the masked section.
    // SAFETY: masks interrupts, touches no memory.
    unsafe { asm!("msr daifset, #2", options(nostack, preserves_flags)) }
    saved
}

/// Restores a mask that `save_and_mask` returned on this core.
#[inline]
pub fn restore(saved: Saved) {
    // SAFETY: the former mask was in force before, so handlers may run again where they could then.
    unsafe { asm!("msr daif, {}", in(reg) saved.0, options(nostack, preserves_flags)) }
}

/// Whether interrupts are masked.
#[inline]
pub fn is_masked() -> bool {
    DAIF.is_set(DAIF::I)
}

/// Unmasks interrupts, for the end of boot and for tests.
pub fn unmask() {
    // SAFETY: the vectors and the interrupt controller are set up by whoever calls this.
    unsafe { asm!("msr daifclr, #2", options(nostack, preserves_flags)) }
}

/// Unmasks SError: an asynchronous error of a store from before would be taken here, not later.
pub fn unmask_errors() {
    DAIF.write(DAIF::A::Unmasked + DAIF::D::Masked + DAIF::I::Masked + DAIF::F::Masked);
}
