//! Exception entry: the vectors, the frame they save, and who handles what.

use super::{cpu::CpuBlock, stack::STACK_SHIFT};
use aarch64_cpu::registers::{ESR_EL1, FAR_EL1, Readable};
use core::mem::offset_of;

/// Registers of the interrupted code, as `vectors.s` saves them.
#[derive(Clone, Debug)]
#[repr(C, align(16))]
pub struct Frame {
    /// x0 to x30.
    pub x: [u64; 31],
    /// Its stack pointer: SP_EL0 for a user program.
    pub sp: u64,
    /// Where it goes on.
    pub elr: u64,
    /// Its processor state.
    pub spsr: u64,
    /// Floating-point status.
    pub fpsr: u64,
    /// Floating-point control.
    pub fpcr: u64,
    /// q0 to q31.
    pub q: [u128; 32],
}

const _: () = {
    assert!(offset_of!(Frame, sp) == 248 && offset_of!(Frame, elr) == 256);
    assert!(offset_of!(Frame, fpsr) == 272 && offset_of!(Frame, q) == 288);
    assert!(size_of::<Frame>() == 800);
};

/// An exception that ends the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Kind {
    /// A synchronous exception that nothing handles.
    Synchronous = 0,
    /// An exception on SP_EL0, which the kernel never uses.
    Sp0 = 1,
    /// A fast interrupt: we enable none.
    Fiq = 2,
    /// A system error, asynchronous.
    SError = 3,
    /// An exception from a 32-bit program: we start none.
    AArch32 = 4,
    /// The stack pointer was in the guard below a stack.
    StackOverflow = 5,
}

impl Kind {
    fn new(raw: u64) -> Self {
        match raw {
            0 => Self::Synchronous,
            1 => Self::Sp0,
            2 => Self::Fiq,
            3 => Self::SError,
            4 => Self::AArch32,
            _ => Self::StackOverflow,
        }
    }
}

core::arch::global_asm!(
    include_str!("vectors.s"),
    FRAME_BYTES = const size_of::<Frame>(),
    STACK_SHIFT = const STACK_SHIFT,
    IRQ_STACK = const offset_of!(CpuBlock, irq_stack),
    FAULT_STACK = const offset_of!(CpuBlock, fault_stack),
    IRQ_BLOCK = const offset_of!(CpuBlock, irq_block),
    KIND_SP0 = const Kind::Sp0 as u64,
    KIND_FIQ = const Kind::Fiq as u64,
    KIND_SERROR = const Kind::SError as u64,
    KIND_AARCH32 = const Kind::AArch32 as u64,
    KIND_OVERFLOW = const Kind::StackOverflow as u64,
    EL1_SYNC = sym el1_sync,
    EL1_IRQ = sym el1_irq,
    EL0_SYNC = sym el0_sync,
    EL0_IRQ = sym el0_irq,
    FATAL = sym fatal,
);

unsafe extern "C" {
    safe fn on_fault_stack(frame: &Frame, kind: u64) -> !;
}

extern "C" fn el1_sync(frame: &mut Frame) {
    let (esr, far) = (ESR_EL1.get(), FAR_EL1.get());
    if !crate::fault::fix_up(frame, esr, far) {
        on_fault_stack(frame, Kind::Synchronous as u64);
    }
}

extern "C" fn el1_irq() {
    crate::interrupt::dispatch();
}

extern "C" fn el0_sync(frame: &mut Frame) {
    crate::user::on_exception(frame, ESR_EL1.get(), FAR_EL1.get());
}

extern "C" fn el0_irq() {
    crate::user::suspend_tables();
    crate::interrupt::dispatch();
    // The kernel has nothing in its hands on this core: a program runs.
    crate::sync::request::honour();
    crate::user::resume_tables();
}

extern "C" fn fatal(frame: &Frame, kind: u64) -> ! {
    crate::fault::report(frame, Kind::new(kind), ESR_EL1.get(), FAR_EL1.get());
}
