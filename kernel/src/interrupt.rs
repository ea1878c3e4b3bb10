//! Interrupts: from the controller to whoever asked for them.
//!
//! Each core has its own half of the controller, and handles what arrives there without a lock. A
//! handler runs on this core's interrupt stack with interrupts masked, and must return soon.

use crate::{
    arch::{barrier, cpu, timer},
    sync::{
        IrqMasked, PerCpu, Rank, SpinLock, irq,
        percpu::{CacheAligned, MAX_CPUS},
        request::Cores,
    },
};
use core::{
    cell::{Cell, RefCell},
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};
use platform::gic::{CoreError, CpuInterface, Gic, Target};

/// What a core can send to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Signal {
    /// Look at what you are asked, or given to do. Nothing happens in the handler: the core leaves its
    /// idle loop, or its user program, for a moment.
    Wake = 0,
    /// Make the calls that others wait for, now.
    Call = 1,
}

impl Signal {
    const ALL: [u32; 2] = [Self::Wake as u32, Self::Call as u32];
    const CALL: u32 = Self::Call as u32;
    const WAKE: u32 = Self::Wake as u32;
}

/// One core's part.
#[derive(Debug)]
struct Core {
    interface: RefCell<Option<CpuInterface>>,
    timer_handler: Cell<Option<fn()>>,
}

static CORES: PerCpu<Core> = PerCpu::new(
    [const {
        CacheAligned(Core {
            interface: RefCell::new(None),
            timer_handler: Cell::new(None),
        })
    }; MAX_CPUS],
);

/// What all cores share of the controller.
static SHARED: SpinLock<Option<Gic>> = SpinLock::new(Rank::Interrupts, None);

/// Number of the virtual timer's interrupt, the same on every core.
static TIMER: AtomicU32 = AtomicU32::new(u32::MAX);

/// How cores are named to the controller, plus 1; 0 for those whose interrupts are off.
static TARGETS: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

/// Takes over the interrupt controller. `timer_interrupt` is the virtual timer's number.
pub(crate) fn init(gic: Gic, timer_interrupt: u32) {
    *SHARED.lock() = Some(gic);
    TIMER.store(timer_interrupt, Ordering::Relaxed);
    crate::sync::request::set_waker(|cores| send(Signal::Wake, cores));
}

/// Sets up this core's part; others can send it interrupts from then on.
///
/// # Errors
///
/// See [`CoreError`].
pub(crate) fn init_core() -> Result<(), CoreError> {
    let mut shared = SHARED.lock();
    let Some(gic) = shared.as_mut() else {
        return Ok(());
    };
    let interface = gic.this_core(cpu::mpidr(), &Signal::ALL)?;
    let target = interface.target();
    let irq = irq::mask();
    CORES.get(irq.proof()).interface.replace(Some(interface));
    TARGETS[cpu::id()].store(target.to_bits() + 1, Ordering::Release);
    Ok(())
}

/// Sends `signal` to `cores`, which may include this one; those whose interrupts are off get nothing.
/// What this core did before is visible to them when they handle it. Takes no lock.
pub(crate) fn send(signal: Signal, cores: Cores) {
    // The interrupt may not overtake the stores that it tells of (Arm IHI 0069, 9.1.6; on a version 2
    // it is a store to a device, which a barrier orders too).
    barrier::dsb_ishst();
    let irq = irq::mask();
    for (core, target) in TARGETS.iter().enumerate() {
        let target = target.load(Ordering::Acquire);
        if cores >> core & 1 != 0 && target != 0 {
            with_interface(irq.proof(), |interface| {
                interface.send(signal as u32, Target::from_bits(target - 1));
            });
        }
    }
    barrier::isb();
}

/// Works on this core's interface; `None` before [`init_core`].
fn with_interface<R>(proof: &IrqMasked, work: impl FnOnce(&mut CpuInterface) -> R) -> Option<R> {
    CORES.get(proof).interface.borrow_mut().as_mut().map(work)
}

/// Calls `handler` at every interrupt of this core's timer; [`timer::arm`] asks for one. Returns
/// whether the controller has the interrupt.
///
/// The timer is disarmed before the call, so a handler that wants another shot arms it anew.
pub fn on_timer(handler: fn()) -> bool {
    let mut shared = SHARED.lock();
    let number = TIMER.load(Ordering::Relaxed);
    let enabled = shared.as_mut().and_then(|gic| {
        let irq = irq::mask();
        CORES.get(irq.proof()).timer_handler.set(Some(handler));
        with_interface(irq.proof(), |interface| {
            gic.enable_private(interface, number, true)
        })
    });
    enabled == Some(true)
}

/// Handles one pending interrupt; called by exception entry.
pub(crate) fn dispatch() {
    let irq = irq::mask();
    // The timer's line stays up until it is disarmed, so the number must be read first.
    let taken = with_interface(irq.proof(), CpuInterface::acknowledge);
    let Some(taken) = taken.flatten() else {
        return;
    };
    match taken.number() {
        Signal::WAKE => {}
        Signal::CALL => {
            // What the sender did before it sent is read after the number was (Arm IHI 0048B and 0069
            // leave that to a barrier).
            barrier::dsb_ish();
            crate::smp::answer_calls();
        }
        number if number == TIMER.load(Ordering::Relaxed) => {
            let handler = CORES.get(irq.proof()).timer_handler.get();
            if let Some(handler) = handler.filter(|_| timer::take()) {
                handler();
            }
        }
        number => crate::log::warn!("interrupt {=u32} has no handler", number),
    }
    with_interface(irq.proof(), |interface| interface.end(taken));
}
