//! One operation between two reads of the cycle counter.
//!
//! Reads and call are one `asm!`, or the compiler's own moves and spills would be counted. A read may
//! be executed out of order unless a context synchronization event orders it (Arm ARM D13.1.2, reads
//! of PMU registers), so an `isb` stands on each side of the call and before the first read:
//!
//! ```text
//!   isb                      everything before has been done
//!   mrs  x20, PMCCNTR_EL0
//!   isb                      the operation starts after the read
//!   blr  operation           arguments in x0 to x3
//!   isb                      the operation has been done
//!   mrs  x1, PMCCNTR_EL0
//! ```
//!
//! The same sequence with a `nop` in place of the `blr` is the empty measurement. Subtracting it leaves
//! what the callee executed, its return included: a lone `ret` reads 1.
#![allow(
    unsafe_code,
    reason = "calls operations by address between reads of a system register"
)]

use core::arch::{asm, naked_asm};
use kernel::mm::path;
use kernel::sync::irq;
use wire::path::Path;

/// An operation that can be measured: up to four arguments and a result, in registers.
pub type Op = unsafe extern "C" fn(u64, u64, u64, u64) -> u64;

/// One without a result, which would cost an instruction.
pub type VoidOp = unsafe extern "C" fn(u64, u64, u64, u64);

/// What the meter can call.
pub trait Callee: Copy {
    /// Where it begins.
    fn address(self) -> *const ();

    /// Calls it, unmeasured; 0 where it has no result.
    ///
    /// # Safety
    ///
    /// Calling it with `arguments` is sound.
    unsafe fn call(self, arguments: [u64; 4]) -> u64;
}

impl Callee for Op {
    fn address(self) -> *const () {
        self as *const ()
    }

    unsafe fn call(self, [a, b, c, d]: [u64; 4]) -> u64 {
        // SAFETY: the caller's promise.
        unsafe { self(a, b, c, d) }
    }
}

impl Callee for VoidOp {
    fn address(self) -> *const () {
        self as *const ()
    }

    unsafe fn call(self, [a, b, c, d]: [u64; 4]) -> u64 {
        // SAFETY: the caller's promise.
        unsafe { self(a, b, c, d) };
        0
    }
}

/// Empty measurements of which the smallest counts: on a board the first ones fetch the code.
const CALIBRATIONS: u32 = 64;

/// What one call gave.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// What the operation returned; anything for a [`VoidOp`].
    pub result: u64,
    /// What it cost, the empty measurement subtracted.
    pub cost: u64,
    /// How it went.
    pub path: Path,
}

/// The meter, calibrated.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    overhead: u64,
}

impl Meter {
    /// Measures the empty measurement.
    pub fn calibrated() -> Self {
        let overhead = (0..CALIBRATIONS).map(|_| empty_measurement()).min();
        Self {
            overhead: overhead.unwrap_or(0),
        }
    }

    /// What an empty measurement reads.
    pub const fn overhead(&self) -> u64 {
        self.overhead
    }

    /// Measures one call of `op`, with interrupts masked, so that none lands in the figure.
    ///
    /// # Safety
    ///
    /// Calling `op` with `arguments` must be sound.
    pub unsafe fn masked(&self, op: impl Callee, arguments: [u64; 4]) -> Sample {
        let _masked = irq::mask();
        // SAFETY: the caller's promise.
        unsafe { self.open(op, arguments) }
    }

    /// Measures one call of `op` that may not be made with interrupts masked.
    ///
    /// # Safety
    ///
    /// Calling `op` with `arguments` must be sound.
    #[inline(never)]
    pub unsafe fn open(&self, op: impl Callee, arguments: [u64; 4]) -> Sample {
        let (result, start, end): (u64, u64, u64);
        path::take();
        // SAFETY: the caller promises that the call is sound; everything that a function may change
        // by the procedure call standard is declared, and x20, which it may not, holds the first read.
        unsafe {
            asm!(
                "isb",
                "mrs x20, pmccntr_el0",
                "isb",
                "blr {op}",
                "isb",
                "mrs x1, pmccntr_el0",
                op = in(reg) op.address(),
                inlateout("x0") arguments[0] => result,
                inlateout("x1") arguments[1] => end,
                in("x2") arguments[2],
                in("x3") arguments[3],
                out("x20") start,
                clobber_abi("C"),
            );
        }
        Sample {
            result,
            cost: end.wrapping_sub(start).saturating_sub(self.overhead),
            path: path::take(),
        }
    }

    /// What a callee that only returns reads: 1 where the counter counts instructions.
    pub fn of_a_return(&self) -> u64 {
        // SAFETY: the callee does nothing.
        unsafe { self.masked(lone_return as Op, [0; 4]) }.cost
    }

    /// What 100 `nop`s and a return read: 101 where the counter counts instructions.
    pub fn of_hundred_nops(&self) -> u64 {
        // SAFETY: the callee does nothing.
        unsafe { self.masked(hundred_nops as Op, [0; 4]) }.cost
    }
}

/// Called before the operation that a debugger waits for, with the address at which that begins: a
/// breakpoint here comes before all that is counted.
pub fn watched(op: impl Callee) {
    // SAFETY: the callee only returns.
    unsafe { bench_watched_operation(op.address() as u64, 0, 0, 0) };
}

/// Where a debugger stops before the operation that it waits for; x0 is where that begins.
///
/// # Safety
///
/// None needed.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn bench_watched_operation(_: u64, _: u64, _: u64, _: u64) -> u64 {
    naked_asm!("ret")
}

fn empty_measurement() -> u64 {
    let _masked = irq::mask();
    let (start, end): (u64, u64);
    // SAFETY: reads a counter that boot code started and touches no memory.
    unsafe {
        asm!(
            "isb",
            "mrs x20, pmccntr_el0",
            "isb",
            "nop",
            "isb",
            "mrs x1, pmccntr_el0",
            out("x20") start,
            out("x1") end,
            options(nomem, nostack, preserves_flags),
        );
    }
    end.wrapping_sub(start)
}

/// # Safety
///
/// None needed.
#[unsafe(naked)]
unsafe extern "C" fn lone_return(_: u64, _: u64, _: u64, _: u64) -> u64 {
    naked_asm!("ret")
}

/// # Safety
///
/// None needed.
#[unsafe(naked)]
unsafe extern "C" fn hundred_nops(_: u64, _: u64, _: u64, _: u64) -> u64 {
    naked_asm!(".rept 100", "nop", ".endr", "ret")
}
