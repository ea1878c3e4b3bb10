//! Ending the run, with a code that the host can check.

use crate::{arch, console};
use core::sync::atomic::{AtomicBool, Ordering};
use wire::control::Control;

/// Whether a debugger listens for semihosting calls.
static SEMIHOSTING: AtomicBool = AtomicBool::new(false);

/// Ends by semihosting from now on, where `listening`.
pub(crate) fn set_semihosting(listening: bool) {
    SEMIHOSTING.store(listening, Ordering::Relaxed);
}

/// Says goodbye with `code`, then stops the machine.
pub fn exit(code: u32) -> ! {
    console::control(&Control::Exit { code });
    console::flush();
    stop(code)
}

/// Stops the machine without a word: semihosting where the host asked for it, else PSCI or the
/// Pi's watchdog, else this core waits for good.
pub(crate) fn stop(code: u32) -> ! {
    if SEMIHOSTING.load(Ordering::Relaxed) {
        arch::semihosting::exit(code);
    }
    crate::machine::power_off();
    arch::cpu::park()
}
