//! Stopping and resetting a board.
#![allow(
    unsafe_code,
    reason = "turns the address of a register block into a reference, once"
)]

use crate::board::Conduit;
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

/// The Raspberry Pi's PM block.
#[derive(Clone, Copy, Debug)]
pub struct Watchdog(NonNull<u8>);

// SAFETY: the registers are reachable from every core, and whoever writes them resets the machine.
unsafe impl Send for Watchdog {}
// SAFETY: as above.
unsafe impl Sync for Watchdog {}

impl Watchdog {
    /// The PM block whose registers are mapped at `base`.
    ///
    /// # Safety
    ///
    /// `base` is the PM register block, mapped as device memory for as long as the value is used.
    pub const unsafe fn new(base: NonNull<u8>) -> Self {
        Self(base)
    }

    /// Halts the board: it resets some 150 microseconds later, and the firmware then stays halted.
    fn halt(self) {
        // SAFETY: the maker promised a mapped PM block; the accesses are volatile.
        let registers = unsafe { self.0.cast::<Registers>().as_ref() };
        registers
            .rsts
            .set(PASSWORD | (registers.rsts.get() & 0x00ff_f000) | RSTS_HALT);
        registers.wdog.set(PASSWORD | TICKS);
        let kept = registers.rstc.get() & 0x00ff_ffff & !RSTC_CONFIG_MASK;
        registers.rstc.set(PASSWORD | kept | RSTC_FULL_RESET);
    }
}

/// How a board is turned off.
#[derive(Clone, Copy, Debug)]
pub enum PowerOff {
    /// By PSCI.
    Psci(Conduit),
    /// As a Raspberry Pi.
    Watchdog(Watchdog),
}

impl PowerOff {
    /// Turns the board off; returns at once where that takes a moment, or where it cannot be done.
    pub fn off(self) {
        match self {
            // An error means that PSCI lacks the call; the caller has no better answer than to go on.
            Self::Psci(Conduit::Hvc) => drop(smccc::psci::system_off::<smccc::Hvc>()),
            Self::Psci(Conduit::Smc) => drop(smccc::psci::system_off::<smccc::Smc>()),
            Self::Watchdog(watchdog) => watchdog.halt(),
        }
    }
}

/// Why a core did not start.
pub use smccc::psci::Error as PsciError;

/// Starts the core with affinity `mpidr` at the physical address `entry`, with `context` in x0.
///
/// # Errors
///
/// PSCI's own: already on, denied, invalid parameters, …
pub fn psci_start(conduit: Conduit, mpidr: u64, entry: u64, context: u64) -> Result<(), PsciError> {
    match conduit {
        Conduit::Hvc => smccc::psci::cpu_on::<smccc::Hvc>(mpidr, entry, context),
        Conduit::Smc => smccc::psci::cpu_on::<smccc::Smc>(mpidr, entry, context),
    }
}
