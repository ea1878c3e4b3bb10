//! Calls from core to core: a function that runs on another core, in its interrupt context, while the
//! caller waits.
//!
//! Each core has one outgoing call and a set of incoming ones. The caller leaves the function in its own
//! slot with the set of cores that have yet to run it, puts itself into each one's incoming set, and
//! sends them an interrupt. A core takes its whole set at once, runs what it finds, and takes itself off
//! the caller's.

use crate::{
    arch::cpu,
    interrupt::{self, Signal},
    sync::{Rank, SpinLock, irq, percpu::MAX_CPUS, request::Cores},
};
use core::{
    fmt,
    sync::atomic::{AtomicU32, Ordering},
};

/// Why a call was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The caller's interrupts are masked: two cores that call each other so would wait for good. Ask
    /// by [`request`](crate::sync::request), which does not wait.
    Masked,
    /// A core of these does not run.
    NoCore(Cores),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Masked => write!(f, "a call with interrupts masked"),
            Self::NoCore(cores) => write!(f, "cores {cores:#x} do not run"),
        }
    }
}

impl core::error::Error for CallError {}

/// A core's calls.
#[derive(Debug)]
#[repr(align(64))]
struct Calls {
    /// What others are to run for it.
    outgoing: SpinLock<Option<fn()>>,
    /// The cores that have yet to.
    waits_for: AtomicU32,
    /// The cores that wait for it.
    incoming: AtomicU32,
}

static CALLS: [Calls; MAX_CPUS] = [const {
    Calls {
        outgoing: SpinLock::new(Rank::Work, None),
        waits_for: AtomicU32::new(0),
        incoming: AtomicU32::new(0),
    }
}; MAX_CPUS];

/// Runs `work` on core `core`, in interrupt context, and returns when it is done.
///
/// # Errors
///
/// See [`CallError`]. Nothing has run then.
pub fn call(core: usize, work: fn()) -> Result<(), CallError> {
    call_each(1 << core.min(31), work)
}

/// Runs `work` on every core that runs, this one included, in interrupt context and all at once, and
/// returns when all are done.
///
/// # Errors
///
/// [`CallError::Masked`].
pub fn broadcast(work: fn()) -> Result<(), CallError> {
    call_each(super::online(), work)
}

/// Runs `work` on each of `cores`, as [`broadcast`] does.
///
/// # Errors
///
/// See [`CallError`]. Nothing has run then.
pub fn call_each(cores: Cores, work: fn()) -> Result<(), CallError> {
    if irq::is_masked() {
        return Err(CallError::Masked);
    }
    if cores == 0 || cores & !super::online() != 0 {
        return Err(CallError::NoCore(cores));
    }
    // Handlers cannot call, so this slot is the thread's, and its last call has returned.
    let mine = &CALLS[cpu::id()];
    *mine.outgoing.lock() = Some(work);
    mine.waits_for.store(cores, Ordering::Relaxed);
    for (core, calls) in CALLS.iter().enumerate() {
        if cores >> core & 1 != 0 {
            calls.incoming.fetch_or(1 << cpu::id(), Ordering::Release);
        }
    }
    interrupt::send(Signal::Call, cores);
    while mine.waits_for.load(Ordering::Acquire) != 0 {
        cpu::wait_for_event();
    }
    Ok(())
}

/// Makes the calls that others wait for on this core; in its interrupt handler.
pub(crate) fn answer_calls() {
    let me = cpu::id();
    let callers = CALLS[me].incoming.swap(0, Ordering::Acquire);
    for (core, calls) in CALLS.iter().enumerate() {
        if callers >> core & 1 != 0 {
            let work = *calls.outgoing.lock();
            if let Some(work) = work {
                work();
            }
            calls.waits_for.fetch_and(!(1 << me), Ordering::Release);
            cpu::send_event();
        }
    }
}
