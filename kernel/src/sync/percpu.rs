//! One value a core, without locks.
#![allow(
    unsafe_code,
    reason = "shares values that are not Sync, under the rule below"
)]

use super::IrqMasked;

/// Most cores that an image runs on.
#[cfg(target_os = "none")]
pub const MAX_CPUS: usize = 8;
/// Most threads that may use per-CPU data at once in host tests.
#[cfg(not(target_os = "none"))]
pub const MAX_CPUS: usize = 64;

/// A value that starts a cache line (64 bytes on every core we run on), so that cores share none.
#[derive(Debug)]
#[repr(align(64))]
pub struct CacheAligned<T>(pub T);

/// One `T` for each core.
///
/// # Invariants
///
/// 1. Core *n* alone reaches entry *n*, and only with interrupts masked: [`get`](Self::get) takes the
///    proof, which cannot leave the core. So at any moment one context at most uses an entry.
///
/// A `&T` is handed out, never a `&mut T`: `T` is made of cells, and nested use stays sound.
#[derive(Debug)]
pub struct PerCpu<T>([CacheAligned<T>; MAX_CPUS]);

impl<T> PerCpu<T> {
    /// Takes one value a core; write `PerCpu::new([const { CacheAligned(T::new()) }; MAX_CPUS])`.
    pub const fn new(values: [CacheAligned<T>; MAX_CPUS]) -> Self {
        Self(values)
    }

    /// This core's value.
    #[inline]
    pub fn get<'a>(&'a self, _proof: &'a IrqMasked) -> &'a T {
        &self.0[cpu()].0
    }
}

// SAFETY: by invariant 1 no two contexts use the same entry at once, so sharing the array moves each
// `T` to at most one core, which `Send` allows.
unsafe impl<T: Send> Sync for PerCpu<T> {}

/// This core's number, below [`MAX_CPUS`].
#[cfg(target_os = "none")]
#[inline]
pub fn cpu() -> usize {
    crate::arch::cpu::id()
}

/// This thread's number, below [`MAX_CPUS`]: a thread is a core on the host. Numbers of threads that
/// have ended are used again.
#[cfg(not(target_os = "none"))]
pub fn cpu() -> usize {
    use std::sync::atomic::{AtomicU64, Ordering};
    static TAKEN: AtomicU64 = AtomicU64::new(0);
    struct Claim(usize);
    impl Drop for Claim {
        fn drop(&mut self) {
            TAKEN.fetch_and(!(1 << self.0), Ordering::Release);
        }
    }
    fn claim() -> Claim {
        loop {
            let taken = TAKEN.load(Ordering::Relaxed);
            assert!(taken != u64::MAX, "more than 64 threads use per-CPU data");
            let free = taken.trailing_ones();
            let with_mine = taken | 1 << free;
            if TAKEN
                .compare_exchange(taken, with_mine, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
            {
                return Claim(free as usize);
            }
        }
    }
    std::thread_local!(static CLAIM: Claim = claim());
    CLAIM.with(|claim| claim.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::irq;
    use core::cell::Cell;

    #[test]
    fn every_thread_has_its_own_value() {
        static COUNTS: PerCpu<Cell<u32>> =
            PerCpu::new([const { CacheAligned(Cell::new(0)) }; MAX_CPUS]);
        let add = |times: u32| {
            for _ in 0..times {
                let irq = irq::mask();
                let count = COUNTS.get(irq.proof());
                count.set(count.get() + 1);
            }
            COUNTS.get(irq::mask().proof()).get()
        };
        let before = add(0);
        let other = std::thread::spawn(move || add(1000)).join().unwrap();
        assert!(other >= 1000);
        assert_eq!(add(10), before + 10);
    }
}
