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
//!
//! Event counters ([`Meter::count`]) are read before and after all that, so that the figure in between
//! is the same with them and without. What they count beyond the callee is subtracted in the same way.
#![allow(
    unsafe_code,
    reason = "calls operations by address between reads of a system register"
)]

use crate::samples::Observed;
use core::arch::{asm, naked_asm};
use core::array;
use core::hint::black_box;
use kernel::arch::pmu;
use kernel::mm::path;
use kernel::sync::irq;
use wire::bench::Unit;
use wire::event::{Event, Group, MOST};
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
    /// How often each event happened that is counted, in the order of [`Meter::events`]; what an empty
    /// measurement counts subtracted.
    pub events: [u32; MOST],
}

impl Sample {
    /// What it says of an operation that was given `amount`.
    pub const fn observed(&self, amount: u64) -> Observed {
        Observed {
            cost: self.cost,
            amount,
            path: self.path,
            events: self.events,
        }
    }
}

/// The meter, calibrated.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    overhead: u64,
    events: Events,
}

/// The events that are counted, in the order of the counters.
#[derive(Clone, Copy, Debug)]
struct Events {
    counted: [Option<Event>; MOST],
    counters: usize,
    /// What an empty measurement counts.
    overhead: [u32; MOST],
}

/// What one pass of the sequence gave.
struct Reading {
    result: u64,
    ticks: u64,
    events: [u32; MOST],
}

impl Meter {
    /// Measures the empty measurement. No event is counted.
    pub fn calibrated() -> Self {
        let events = Events {
            counted: [None; MOST],
            counters: 0,
            overhead: [0; MOST],
        };
        let readings = (0..CALIBRATIONS).map(|_| empty_measurement(0));
        let overhead = readings.map(|reading| reading.ticks).min().unwrap_or(0);
        Self { overhead, events }
    }

    /// Counts the events of `group` from now on, those that this core's PMU implements and has counters
    /// for. Other cores count what this one does once they have been told: [`start`](Self::start).
    pub fn count(&mut self, group: Group) {
        let implemented = group.events().iter().copied();
        let implemented = implemented.filter(|event| pmu::implements(event.number()));
        let events = &mut self.events;
        events.counters = 0;
        for event in implemented.take(pmu::event_counters()) {
            events.counted[events.counters] = Some(event);
            events.counters += 1;
        }
        self.start();
        let readings = (0..CALIBRATIONS).map(|_| empty_measurement(self.events.counters));
        let least = |least: [u32; MOST], reading: Reading| {
            array::from_fn(|counter| least[counter].min(reading.events[counter]))
        };
        self.events.overhead = readings.fold([u32::MAX; MOST], least);
    }

    /// Lets the event counters of this core count.
    pub fn start(&self) {
        let numbers = self
            .events
            .counted
            .map(|event| event.map_or(0, Event::number));
        pmu::count(&numbers[..self.events.counters]);
    }

    /// The events that are counted.
    pub fn events(&self) -> impl Iterator<Item = Event> + '_ {
        self.events.counted.iter().copied().flatten()
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
    pub unsafe fn open(&self, op: impl Callee, arguments: [u64; 4]) -> Sample {
        path::take();
        // SAFETY: the caller's promise.
        let reading = unsafe {
            black_box(measurement as Measures)(op.address(), arguments, self.events.counters)
        };
        let (seen, overhead) = (reading.events, self.events.overhead);
        Sample {
            result: reading.result,
            cost: reading.ticks.saturating_sub(self.overhead),
            path: path::take(),
            events: array::from_fn(|event| seen[event].saturating_sub(overhead[event])),
        }
    }

    /// What the counter counts, as its reads of known code show.
    pub fn unit(&self) -> Unit {
        Unit::of(self.of_a_return(), self.of_hundred_nops())
    }

    /// What a callee that only returns reads: 1 where the counter counts instructions.
    pub fn of_a_return(&self) -> u64 {
        // SAFETY: the callee does nothing.
        unsafe { self.masked(lone_return as Op, [0; 4]) }.cost
    }

    /// What 100 `nop`s and a return read: 101 where the counter counts instructions.
    pub fn of_hundred_nops(&self) -> u64 {
        self.hundred_nops().cost
    }

    /// How many instructions of 100 `nop`s and a return an event counter counts, if one counts those.
    pub fn retired_of_hundred_nops(&self) -> Option<u32> {
        let counter = self
            .events()
            .position(|event| event == Event::InstRetired)?;
        Some(self.hundred_nops().events[counter])
    }

    fn hundred_nops(&self) -> Sample {
        // SAFETY: the callee does nothing.
        unsafe { self.masked(hundred_nops as Op, [0; 4]) }
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

fn empty_measurement(counters: usize) -> Reading {
    let _masked = irq::mask();
    // SAFETY: nothing is called.
    unsafe { black_box(empty as Measures)(lone_return as *const (), [0; 4], counters) }
}

/// How what a call costs is measured, and what nothing costs: what is called, with what, and how many
/// event counters are read.
type Measures = unsafe fn(*const (), [u64; 4], usize) -> Reading;

/// Defines a function that measures what `$middle` does with `{op}`, and reads the first event counters.
/// It is one definition so that both functions are the same but for that instruction, and they are called
/// by addresses that the compiler does not see, or it would shape each to its callers: then what event
/// counters count of one is what they count beyond the callee of the other.
macro_rules! measures {
    ($(#[$doc:meta])* $name:ident, $middle:literal) => {
        $(#[$doc])*
        #[inline(never)]
        unsafe fn $name(op: *const (), arguments: [u64; 4], counters: usize) -> Reading {
            let (result, start, end): (u64, u64, u64);
            let before = pmu::events(counters);
            // SAFETY: the caller promises that the call, if it is one, is sound; everything that a
            // function may change by the procedure call standard is declared, and x20, which it may
            // not, holds the first read.
            unsafe {
                asm!(
                    "isb",
                    "mrs x20, pmccntr_el0",
                    "isb",
                    $middle,
                    "isb",
                    "mrs x1, pmccntr_el0",
                    op = in(reg) op,
                    inlateout("x0") arguments[0] => result,
                    inlateout("x1") arguments[1] => end,
                    in("x2") arguments[2],
                    in("x3") arguments[3],
                    out("x20") start,
                    clobber_abi("C"),
                );
            }
            let after = pmu::events(counters);
            Reading {
                result,
                ticks: end.wrapping_sub(start),
                events: array::from_fn(|event| after[event].wrapping_sub(before[event])),
            }
        }
    };
}

measures!(
    /// Calls `op`.
    ///
    /// # Safety
    ///
    /// Calling `op` with `arguments` must be sound.
    measurement,
    "blr {op}"
);
measures!(
    /// Calls nothing.
    ///
    /// # Safety
    ///
    /// None needed.
    empty,
    "nop // {op}"
);

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
