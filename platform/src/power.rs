//! Stopping and resetting a board.
#![allow(
    unsafe_code,
    reason = "turns the address of a register block into a reference, once"
)]

use core::ptr::NonNull;
use tock_registers::{
    interfaces::{Readable, Writeable},
    register_structs,
    registers::ReadWrite,
};

register_structs! {
    /// The part of the PM block that resets (BCM2835 power management; Linux `bcm2835_wdt.c`).
    Registers {
        (0x00 => _reserved0),
        (0x1c => rstc: ReadWrite<u32>),
        (0x20 => rsts: ReadWrite<u32>),
        (0x24 => wdog: ReadWrite<u32>),
        (0x28 => @END),
    }
}

/// Every write carries this in its top byte.
const PASSWORD: u32 = 0x5a00_0000;
/// `RSTC`: a full reset when the watchdog runs out.
const RSTC_FULL_RESET: u32 = 0x20;
const RSTC_CONFIG_MASK: u32 = 0x30;
/// `RSTS`: partition 63, by which the firmware knows that it should halt rather than boot again.
const RSTS_HALT: u32 = 0x555;
/// Ticks of about 15 microseconds until it bites.
const TICKS: u32 = 10;

/// Halts a Raspberry Pi through its watchdog: it resets, and the firmware then stays halted.
///
/// # Safety
///
/// `base` is the PM register block, mapped as device memory.
pub unsafe fn halt_raspberry_pi(base: NonNull<u8>) {
    // SAFETY: the caller promises a mapped PM block; the accesses are volatile.
    let registers = unsafe { base.cast::<Registers>().as_ref() };
    registers
        .rsts
        .set(PASSWORD | (registers.rsts.get() & 0x00ff_f000) | RSTS_HALT);
    registers.wdog.set(PASSWORD | TICKS);
    let kept = registers.rstc.get() & 0x00ff_ffff & !RSTC_CONFIG_MASK;
    registers.rstc.set(PASSWORD | kept | RSTC_FULL_RESET);
}

/// Turns the machine off by PSCI; returns only if the firmware does not know how.
#[cfg(target_os = "none")]
pub fn psci_off(conduit: crate::board::Conduit) {
    use crate::board::Conduit;
    // An error means that PSCI lacks the call; the caller has no better answer than to go on.
    let _ = match conduit {
        Conduit::Hvc => smccc::psci::system_off::<smccc::Hvc>(),
        Conduit::Smc => smccc::psci::system_off::<smccc::Smc>(),
    };
}

/// Why a core did not start.
#[cfg(target_os = "none")]
pub use smccc::psci::Error as PsciError;

/// Starts the core with affinity `mpidr` at the physical address `entry`, with `context` in x0.
///
/// # Errors
///
/// PSCI's own: already on, denied, invalid parameters, …
#[cfg(target_os = "none")]
pub fn psci_start(
    conduit: crate::board::Conduit,
    mpidr: u64,
    entry: u64,
    context: u64,
) -> Result<(), PsciError> {
    use crate::board::Conduit;
    match conduit {
        Conduit::Hvc => smccc::psci::cpu_on::<smccc::Hvc>(mpidr, entry, context),
        Conduit::Smc => smccc::psci::cpu_on::<smccc::Smc>(mpidr, entry, context),
    }
}
