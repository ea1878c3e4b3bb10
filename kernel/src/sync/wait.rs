//! Waiting for another core.

use super::atomic::AtomicU32;

/// Looks at the word before a thread of the host lets others run: some microseconds.
#[cfg(not(target_os = "none"))]
const SPINS: u32 = 200;

/// One turn of a loop that waits for another core and has no word to watch.
///
/// `yield` lets QEMU's round-robin scheduler, and a hardware thread, run another core;
/// `core::hint::spin_loop` is an `isb` on AArch64, which does not.
#[inline]
pub fn pause() {
    #[cfg(target_os = "none")]
    crate::arch::cpu::yield_now();
    #[cfg(not(target_os = "none"))]
    std::thread::yield_now();
}

/// One turn of a loop that waits until `word` no longer holds `seen`: a core sleeps until somebody
/// writes to it. May return early.
#[inline]
pub(super) fn while_holds(word: &AtomicU32, seen: u32) {
    #[cfg(target_os = "none")]
    crate::arch::cpu::wait_while(word, seen);
    #[cfg(not(target_os = "none"))]
    {
        // A thread that holds a lock may have no processor of its own; most of the time it has one.
        for _ in 0..SPINS {
            if word.load(super::atomic::Ordering::Relaxed) != seen {
                return;
            }
            core::hint::spin_loop();
        }
        pause();
    }
}
