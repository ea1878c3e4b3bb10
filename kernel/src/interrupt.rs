//! Interrupts: from the controller to whoever asked for them.
//!
//! A handler runs on this core's interrupt stack with interrupts masked, and must return soon.

use crate::{arch::timer, sync::SpinLock};
use platform::gic::Gic;

struct Interrupts {
    gic: Option<Gic>,
    timer_interrupt: u32,
    timer_handler: Option<fn()>,
}

static INTERRUPTS: SpinLock<Interrupts> = SpinLock::new(Interrupts {
    gic: None,
    timer_interrupt: 0,
    timer_handler: None,
});

/// Takes over the interrupt controller. `timer_interrupt` is the virtual timer's number.
pub(crate) fn init(gic: Gic, timer_interrupt: u32) {
    let mut interrupts = INTERRUPTS.lock();
    interrupts.gic = Some(gic);
    interrupts.timer_interrupt = timer_interrupt;
}

/// Calls `handler` at every interrupt of this core's timer; [`timer::arm`] asks for one. Returns
/// whether the controller has the interrupt.
///
/// The timer is disarmed before the call, so a handler that wants another shot arms it anew.
pub fn on_timer(handler: fn()) -> bool {
    let mut interrupts = INTERRUPTS.lock();
    interrupts.timer_handler = Some(handler);
    let number = interrupts.timer_interrupt;
    let cpu = crate::arch::cpu::id();
    interrupts
        .gic
        .as_mut()
        .is_some_and(|gic| gic.enable_private(number, cpu, true))
}

/// Handles one pending interrupt; called by exception entry.
pub(crate) fn dispatch() {
    let mut interrupts = INTERRUPTS.lock();
    // The timer's line stays up until it is disarmed, so the number must be read first.
    let Some(number) = interrupts.gic.as_mut().and_then(Gic::acknowledge) else {
        return;
    };
    let is_timer = number == interrupts.timer_interrupt;
    let handler = interrupts.timer_handler.filter(|_| is_timer);
    drop(interrupts);
    match handler {
        Some(handler) if timer::take() => handler(),
        Some(_) => {}
        None => crate::log::warn!("interrupt {=u32} has no handler", number),
    }
    if let Some(gic) = INTERRUPTS.lock().gic.as_mut() {
        gic.end(number);
    }
}
