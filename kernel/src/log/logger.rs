//! The transport under defmt: one frame of the serial line for each message.
#![allow(
    unsafe_code,
    reason = "defmt::Logger has unsafe methods, and the open frame is a shared cell"
)]

use crate::{console::Console, sync::SpinLockGuard};
use core::cell::UnsafeCell;
use wire::frame::Channel;

#[defmt::global_logger]
struct Logger;

defmt::timestamp!("{=u64:us}", crate::arch::timer::micros());

/// The console's lock, held from `acquire` to `release`.
///
/// # Invariant
///
/// 1. Only the context that holds the console's lock touches the cell: `acquire` fills it right after
///    taking the lock, `release` empties it before giving the lock back.
struct Held(UnsafeCell<Option<SpinLockGuard<'static, Console>>>);

// SAFETY: by invariant 1 at most one context reaches the cell at any moment.
unsafe impl Sync for Held {}

static HELD: Held = Held(UnsafeCell::new(None));

impl Held {
    /// # Safety
    ///
    /// The caller holds the console's lock.
    #[expect(clippy::mut_from_ref, reason = "exclusive by invariant 1")]
    unsafe fn guard(&self) -> &mut Option<SpinLockGuard<'static, Console>> {
        // SAFETY: invariant 1, by the caller's promise.
        unsafe { &mut *self.0.get() }
    }
}

// SAFETY: `acquire` takes a lock that `release` gives back; a second `acquire` in between waits for it
// on another core, and on the same core is a message inside a message, which the panic handler ends.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        let mut console = crate::console::lock();
        console.start(Channel::Log);
        // SAFETY: the lock was taken above.
        *unsafe { HELD.guard() } = Some(console);
    }

    unsafe fn flush() {}

    unsafe fn release() {
        // SAFETY: defmt calls this after `acquire`, in the same context.
        if let Some(mut console) = unsafe { HELD.guard() }.take() {
            console.finish();
        }
    }

    unsafe fn write(bytes: &[u8]) {
        // SAFETY: defmt calls this between `acquire` and `release`, in the same context.
        if let Some(console) = unsafe { HELD.guard() } {
            console.write(bytes);
        }
    }
}
