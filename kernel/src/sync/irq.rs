//! Masked interrupts, as a guard and as a proof.

use core::marker::PhantomData;

/// Proof that interrupts are masked on this core. Neither `Send` nor `Sync`: it means this core only.
#[derive(Debug)]
pub struct IrqMasked(PhantomData<*const ()>);

/// Keeps interrupts masked; restores the former state when dropped.
#[derive(Debug)]
pub struct IrqGuard {
    #[cfg(target_os = "none")]
    saved: crate::arch::irq::Saved,
    masked: IrqMasked,
}

impl IrqGuard {
    /// The proof, for as long as the guard lives.
    pub const fn proof(&self) -> &IrqMasked {
        &self.masked
    }
}

/// Masks interrupts on this core. On the host there are none to mask.
#[inline]
pub fn mask() -> IrqGuard {
    IrqGuard {
        #[cfg(target_os = "none")]
        saved: crate::arch::irq::save_and_mask(),
        masked: IrqMasked(PhantomData),
    }
}

/// Whether interrupts are masked on this core; never on the host.
#[inline]
pub fn is_masked() -> bool {
    #[cfg(target_os = "none")]
    return crate::arch::irq::is_masked();
    #[cfg(not(target_os = "none"))]
    false
}

#[cfg(target_os = "none")]
impl Drop for IrqGuard {
    #[inline]
    fn drop(&mut self) {
        crate::arch::irq::restore(self.saved);
    }
}
