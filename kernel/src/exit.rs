//! Ending the run, with a code that the host can check.

use crate::{arch, console};
use core::sync::atomic::{AtomicBool, Ordering};
use platform::power::PowerOff;
use spin::Once;
use wire::control::Control;

/// Whether a debugger listens for semihosting calls.
static SEMIHOSTING: AtomicBool = AtomicBool::new(false);

/// How the board is turned off, with everything mapped that it takes: the end may come with any lock
/// held.
static POWER_OFF: Once<PowerOff> = Once::new();

/// Ends by `how` from now on, where no debugger listens.
pub(crate) fn set_power_off(how: PowerOff) {
    POWER_OFF.call_once(|| how);
}

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
    if let Some(how) = POWER_OFF.get() {
        how.off();
    }
    arch::cpu::park()
}
