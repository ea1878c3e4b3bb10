//! What one core asks of another: to give back what only that core may touch.
//!
//! Per-CPU lists have one owner and no lock, so nobody else can empty them. Whoever wants that done
//! [asks](ask), and goes on. The core [honours](honour) it where its thread has no list in its hands: at
//! its next slow path, when it is idle, and when an interrupt takes it out of a user program. An
//! interrupt wakes it for the last two; one that arrives in the middle of kernel code does nothing.
//!
//! A request that is made twice before it is honoured is one request.

use super::{
    IrqMasked,
    asked::Asked,
    atomic::AtomicU32,
    irq,
    percpu::{MAX_CPUS, cpu},
};
use spin::Once;

/// A set of cores: bit *n* is core *n*.
pub type Cores = u32;

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Request {
    /// Give the page frames on its lists back to their zones.
    DrainFrames,
    /// Give the objects on its lists back to their slabs.
    DrainObjects,
}

impl Request {
    const COUNT: usize = 2;

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

static ASKED: [Asked; MAX_CPUS] = [const { Asked::new(AtomicU32::new(0)) }; MAX_CPUS];

static HANDLERS: [Once<fn(&IrqMasked)>; Request::COUNT] = [const { Once::new() }; Request::COUNT];

static WAKER: Once<fn(Cores)> = Once::new();

/// Lets `handler` honour `request` on every core, with interrupts masked and nothing in flight in the
/// core's thread. At boot; a second handler is not heard.
pub fn handle(request: Request, handler: fn(&IrqMasked)) {
    HANDLERS[request as usize].call_once(|| handler);
}

/// Lets `waker` interrupt cores. At boot.
pub fn set_waker(waker: fn(Cores)) {
    WAKER.call_once(|| waker);
}

/// Asks `request` of `cores`, but for this one, and wakes those that may be idle or in a user program.
/// What this core did before is visible to them when they honour it.
///
/// May be called anywhere, in interrupt handlers too. It takes no lock.
pub fn ask(cores: Cores, request: Request) {
    let this = 1 << cpu();
    let others = (0..MAX_CPUS.min(32)).filter(|core| (cores & !this) >> core & 1 != 0);
    let woken = others
        .filter(|&core| ASKED[core].set(request.bit()))
        .fold(0, |woken, core| woken | 1 << core);
    if let Some(waker) = WAKER.get().filter(|_| woken != 0) {
        waker(woken);
    }
}

/// Those of `cores` that have not begun to honour `request`.
pub fn outstanding(cores: Cores, request: Request) -> Cores {
    (0..MAX_CPUS.min(32))
        .filter(|&core| cores >> core & 1 != 0 && ASKED[core].peek() & request.bit() != 0)
        .fold(0, |outstanding, core| outstanding | 1 << core)
}

/// Whether anything is asked of this core: one load, for slow paths.
#[inline]
pub fn is_asked() -> bool {
    ASKED[cpu()].peek() != 0
}

/// Honours what is asked of this core. Only where its thread has none of its per-CPU lists in its hands.
pub fn honour() {
    if !is_asked() {
        return;
    }
    let irq = irq::mask();
    let bits = ASKED[cpu()].take();
    for (number, handler) in HANDLERS.iter().enumerate() {
        if let Some(handler) = handler.get().filter(|_| bits >> number & 1 != 0) {
            handler(irq.proof());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU32 as Counter, Ordering::Relaxed};

    #[test]
    fn a_request_reaches_the_core_asked_once_and_no_other() {
        static HONOURED: Counter = Counter::new(0);
        handle(Request::DrainFrames, |_| {
            HONOURED.fetch_add(1, Relaxed);
        });
        let (number, numbers) = std::sync::mpsc::channel();
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || {
            number.send(cpu()).unwrap();
            gone.recv().unwrap();
            honour();
            honour();
        });
        let core = numbers.recv().unwrap();
        let everyone = 1 << core | 1 << cpu();
        ask(everyone, Request::DrainFrames);
        ask(everyone, Request::DrainFrames);
        assert_eq!(outstanding(everyone, Request::DrainFrames), 1 << core);
        assert!(!is_asked(), "nobody asks itself");
        go.send(()).unwrap();
        other.join().unwrap();
        assert_eq!(HONOURED.load(Relaxed), 1);
        assert_eq!(outstanding(everyone, Request::DrainFrames), 0);
    }
}
