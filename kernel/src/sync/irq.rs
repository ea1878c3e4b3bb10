//! Masked interrupts, as a guard and as a proof.
//!
//! Guards nest, and may be dropped in any order: interrupts stay masked until the last one is gone. The
//! guard that found them unmasked is the outer one, and there is one at most; those made inside it are
//! counted, in a word of the context that runs. An outer guard that is dropped before the inner ones
//! leaves the unmasking to the last of these. So a proof holds as long as it can be named.
//!
//! Locks mask, too, but give no proof and are not counted: they are on the paths that are measured. One
//! that is still held when interrupts are unmasked, because what masked them was dropped before it, is a
//! kernel bug that builds with lock order name.
//!
//! A lone guard costs 8 instructions from before to after, one inside another 12; a lock's masking costs
//! 8, or 3 inside another.

use core::marker::PhantomData;

/// Proof that interrupts are masked on this core. Neither `Send` nor `Sync`: it means this core only.
#[derive(Debug)]
pub struct IrqMasked(PhantomData<*const ()>);

/// Keeps interrupts masked for at least as long as it lives.
#[derive(Debug)]
pub struct IrqGuard {
    #[cfg(target_os = "none")]
    is_inner: bool,
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
        is_inner: nesting::enter(),
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
        nesting::leave(self.is_inner);
    }
}

/// What a lock keeps masked for as long as it is held.
#[derive(Debug)]
pub(super) struct LockMask {
    #[cfg(target_os = "none")]
    is_inner: bool,
}

impl LockMask {
    #[inline]
    pub(super) fn new() -> Self {
        Self {
            #[cfg(target_os = "none")]
            is_inner: nesting::mask(),
        }
    }
}

#[cfg(target_os = "none")]
impl Drop for LockMask {
    #[inline]
    fn drop(&mut self) {
        if !self.is_inner {
            nesting::leave_outer();
        }
    }
}

/// The word that counts: inner guards, and in its top bit that the outer one is gone already. It is the
/// running context's alone, and is touched with interrupts masked.
#[cfg(target_os = "none")]
mod nesting {
    use crate::{
        arch::{cpu, irq},
        sync::order,
    };
    use core::sync::atomic::Ordering::Relaxed;

    const OUTER_GONE: u32 = 1 << 31;

    /// Returns whether interrupts were masked before.
    #[inline]
    pub(super) fn mask() -> bool {
        let were_masked = irq::is_masked();
        if !were_masked {
            irq::mask();
        }
        were_masked
    }

    /// As [`mask`], and counts an inner guard.
    #[inline]
    pub(super) fn enter() -> bool {
        let is_inner = mask();
        if is_inner {
            let inner = cpu::inner_guards();
            inner.store(inner.load(Relaxed) + 1, Relaxed);
        }
        is_inner
    }

    #[inline]
    pub(super) fn leave(is_inner: bool) {
        if is_inner {
            leave_inner();
        } else {
            leave_outer();
        }
    }

    #[inline]
    pub(super) fn leave_outer() {
        let inner = cpu::inner_guards();
        let count = inner.load(Relaxed);
        if count == 0 {
            unmask();
        } else {
            inner.store(count | OUTER_GONE, Relaxed);
        }
    }

    #[inline]
    fn leave_inner() {
        let inner = cpu::inner_guards();
        let count = inner.load(Relaxed) - 1;
        if count == OUTER_GONE {
            inner.store(0, Relaxed);
            unmask();
        } else {
            inner.store(count, Relaxed);
        }
    }

    #[inline]
    fn unmask() {
        order::check_unmasking();
        irq::unmask();
    }
}
