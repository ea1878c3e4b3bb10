//! A word that one context writes and any other may look at.
#![allow(
    unsafe_code,
    reason = "reads and writes a cell without locks, by its owner's invariant"
)]

#[cfg(target_os = "none")]
use core::cell::UnsafeCell;
#[cfg(not(target_os = "none"))]
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A word of one context of one core: its owner reads and writes it as plain memory, which compilers
/// may pair and fold; whoever else [peeks](Self::peek) sees some former value.
///
/// On the host, where contexts are threads, it is a relaxed atomic.
///
/// # Invariants
///
/// 1. [`get`](Self::get) and [`set`](Self::set) are called by the owner alone. The type is not `Sync`,
///    so whoever shares it promises that.
#[derive(Debug)]
#[repr(transparent)]
pub struct OwnedWord {
    #[cfg(target_os = "none")]
    word: UnsafeCell<u64>,
    #[cfg(not(target_os = "none"))]
    word: AtomicU64,
    #[cfg(not(target_os = "none"))]
    _not_sync: core::marker::PhantomData<core::cell::Cell<()>>,
}

#[cfg(target_os = "none")]
impl OwnedWord {
    /// A word that holds `value`.
    pub const fn new(value: u64) -> Self {
        Self {
            word: UnsafeCell::new(value),
        }
    }

    /// The value, for its owner.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        // SAFETY: by invariant 1 nobody writes meanwhile.
        unsafe { *self.word.get() }
    }

    /// Changes the value, for its owner.
    #[inline(always)]
    pub fn set(&self, value: u64) {
        // SAFETY: by invariant 1 nobody writes meanwhile, and others only peek.
        unsafe { *self.word.get() = value }
    }

    /// Some value that it had not long ago.
    pub fn peek(&self) -> u64 {
        // SAFETY: an aligned load of 64 bits yields a value that was stored whole (Arm ARM B2.2.1);
        // volatile, so that the compiler derives nothing from it.
        unsafe { self.word.get().read_volatile() }
    }
}

#[cfg(not(target_os = "none"))]
impl OwnedWord {
    /// A word that holds `value`.
    pub const fn new(value: u64) -> Self {
        Self {
            word: AtomicU64::new(value),
            _not_sync: core::marker::PhantomData,
        }
    }

    /// The value, for its owner.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.word.load(Relaxed)
    }

    /// Changes the value, for its owner.
    #[inline(always)]
    pub fn set(&self, value: u64) {
        self.word.store(value, Relaxed);
    }

    /// Some value that it had not long ago.
    pub fn peek(&self) -> u64 {
        self.word.load(Relaxed)
    }
}
