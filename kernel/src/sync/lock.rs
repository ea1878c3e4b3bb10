//! The kernel's lock: interrupt-safe by construction, fair by tickets, taken in one order.

#![allow(
    unsafe_code,
    reason = "hands a value out to one core at a time, by the tickets' invariants"
)]

use super::{
    atomic::AtomicU32,
    irq::LockMask,
    order::{Class, Rank},
    ticket::{Ticket, Tickets},
};
use core::{
    cell::UnsafeCell,
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

/// A lock that masks interrupts while it is held.
pub struct SpinLock<T: ?Sized> {
    class: Class,
    tickets: Tickets,
    value: UnsafeCell<T>,
}

// SAFETY: the tickets let one holder at a time reach the value (their invariants 1 and 2), so sharing
// the lock moves the value from core to core, which `Send` allows.
unsafe impl<T: ?Sized + Send> Sync for SpinLock<T> {}

/// The locked value; unlocks, then restores interrupts, when dropped.
#[derive(Debug)]
pub struct SpinLockGuard<'a, T: ?Sized> {
    // Fields drop in order: the lock must be free before an interrupt may want it.
    held: Held<'a, T>,
    _irq: LockMask,
}

/// The locked value, where interrupts are masked for longer than it lives; unlocks when dropped.
#[derive(Debug)]
struct Held<'a, T: ?Sized> {
    lock: &'a SpinLock<T>,
    ticket: Ticket,
    /// Not `Send`: interrupts are masked on this core.
    masked: PhantomData<*const ()>,
}

impl<T> SpinLock<T> {
    /// An unlocked lock, which is taken in the order that `rank` says.
    pub const fn new(rank: Rank, value: T) -> Self {
        Self {
            class: Class::new(rank),
            tickets: Tickets::new(AtomicU32::new(0), AtomicU32::new(0)),
            value: UnsafeCell::new(value),
        }
    }
}

impl<T: ?Sized> SpinLock<T> {
    /// Takes the lock, waiting for it with interrupts masked.
    #[inline]
    pub fn lock(&self) -> SpinLockGuard<'_, T> {
        let irq = LockMask::new();
        SpinLockGuard {
            held: self.held(),
            _irq: irq,
        }
    }

    /// With interrupts masked.
    #[inline]
    fn held(&self) -> Held<'_, T> {
        self.class.check();
        let ticket = self.tickets.lock();
        self.took(ticket)
    }

    #[inline]
    fn took(&self, ticket: Ticket) -> Held<'_, T> {
        self.class.taken();
        #[cfg(feature = "contended")]
        super::contention::perhaps_yield();
        Held {
            lock: self,
            ticket,
            masked: PhantomData,
        }
    }

    /// Takes the lock if it is free; out of order too, since nobody waits.
    #[inline]
    pub fn try_lock(&self) -> Option<SpinLockGuard<'_, T>> {
        let irq = LockMask::new();
        let held = self.took(self.tickets.try_lock()?);
        Some(SpinLockGuard { held, _irq: irq })
    }

    /// Takes the lock away from its holder, then waits behind those who waited before.
    ///
    /// # Safety
    ///
    /// The lock is held, and its holder never touches the value again: it is stopped, or is the very
    /// context that now stops the machine.
    pub unsafe fn seize(&self) -> SpinLockGuard<'_, T> {
        let irq = LockMask::new();
        self.tickets.unlock_for_holder();
        let held = self.took(self.tickets.lock());
        SpinLockGuard { held, _irq: irq }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for SpinLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(value) => f.debug_tuple("SpinLock").field(&&*value).finish(),
            None => f.write_str("SpinLock(held)"),
        }
    }
}

impl<T: ?Sized> Deref for SpinLockGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.held
    }
}

impl<T: ?Sized> DerefMut for SpinLockGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.held
    }
}

impl<T: ?Sized> Deref for Held<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this ticket is served and was handed out once (invariants 1 and 2 of the tickets), so
        // nobody else reaches the value while `self` lives; the borrow of `self` orders its own uses.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for Held<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for Held<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.class.released();
        self.lock.tickets.unlock(&self.ticket);
    }
}
