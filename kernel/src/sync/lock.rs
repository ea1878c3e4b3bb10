//! The kernel's lock: interrupt-safe by construction, fair by tickets.

#![allow(
    unsafe_code,
    reason = "takes a lock away from a core that has died holding it"
)]

use super::irq::{self, IrqGuard, IrqMasked};
use core::ops::{Deref, DerefMut};
use spin::{RelaxStrategy, mutex::TicketMutex};

/// Waits for the lock with `yield`, which lets QEMU's round-robin scheduler (and a hardware thread)
/// run another core; `core::hint::spin_loop` is an `isb` on AArch64, which does not.
#[derive(Debug)]
pub enum Relax {}

impl RelaxStrategy for Relax {
    fn relax() {
        #[cfg(target_os = "none")]
        crate::arch::cpu::yield_now();
        #[cfg(not(target_os = "none"))]
        core::hint::spin_loop();
    }
}

/// A lock that masks interrupts while it is held.
#[derive(Debug)]
pub struct SpinLock<T: ?Sized>(TicketMutex<T, Relax>);

/// The locked value; unlocks, then restores interrupts, when dropped.
#[derive(Debug)]
pub struct SpinLockGuard<'a, T: ?Sized> {
    // Fields drop in order: the lock must be free before an interrupt may want it.
    value: spin::mutex::TicketMutexGuard<'a, T, Relax>,
    irq: IrqGuard,
}

impl<T> SpinLock<T> {
    /// An unlocked lock.
    pub const fn new(value: T) -> Self {
        Self(TicketMutex::new(value))
    }
}

impl<T: ?Sized> SpinLock<T> {
    /// Takes the lock, waiting for it with interrupts masked.
    pub fn lock(&self) -> SpinLockGuard<'_, T> {
        let irq = irq::mask();
        SpinLockGuard {
            value: self.0.lock(),
            irq,
        }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<SpinLockGuard<'_, T>> {
        let irq = irq::mask();
        Some(SpinLockGuard {
            value: self.0.try_lock()?,
            irq,
        })
    }

    /// Takes the lock away from its holder, then waits behind those who waited before.
    ///
    /// # Safety
    ///
    /// The lock is held, and its holder never touches the value again: it is stopped, or is the very
    /// context that now stops the machine.
    pub unsafe fn seize(&self) -> SpinLockGuard<'_, T> {
        let irq = irq::mask();
        // SAFETY: the caller promises that the holder will neither use the value nor unlock.
        unsafe { self.0.force_unlock() };
        SpinLockGuard {
            value: self.0.lock(),
            irq,
        }
    }
}

impl<T: ?Sized> SpinLockGuard<'_, T> {
    /// Proof that interrupts are masked while the lock is held.
    pub const fn proof(&self) -> &IrqMasked {
        self.irq.proof()
    }
}

impl<T: ?Sized> Deref for SpinLockGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> DerefMut for SpinLockGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}
