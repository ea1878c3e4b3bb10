//! Into a program and out of it again.
#![allow(
    unsafe_code,
    reason = "enters EL0, and comes back to the middle of a function"
)]

use super::{
    address_space::{AddressSpace, SpaceError},
    fault::UserFault,
    frames::{self, ZeroedFrames},
    programs::Program,
    running::{self, UserSpace},
    vma::{Kind, Rights},
};
use crate::{
    arch::exception::Frame,
    mm::addr::{PAGE_BYTES, VirtAddr},
    sync::{
        irq,
        percpu::{MAX_CPUS, cpu},
    },
    vm::hardware::Hardware,
};
use core::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

/// Where a program's code starts, and with it the program.
pub(super) const TEXT: VirtAddr = VirtAddr::new(0x40_0000);
/// Where its data starts.
pub(super) const DATA: VirtAddr = VirtAddr::new(0x50_0000);
/// The end of its stack.
const STACK_END: VirtAddr = VirtAddr::new(0x8000_0000_0000);
const STACK_BYTES: u64 = 64 << 10;

core::arch::global_asm!(
    include_str!("run.s"),
    FRAME_BYTES = const size_of::<Frame>(),
);

unsafe extern "C" {
    /// Saves what a called function must keep and the stack pointer, and enters EL0 with the registers
    /// of `frame`. Returns when [`leave_user`] is called.
    fn enter_user(frame: *const Frame, saved_sp: *mut u64);
    /// Returns from the [`enter_user`] that saved this stack pointer.
    fn leave_user(saved_sp: u64) -> !;
}

/// The kernel's stack pointers while programs run. A core's own is written when it enters EL0 and read
/// when it leaves.
static SAVED_SP: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// By itself, with a code.
    Exited(u8),
    /// By what it did.
    Killed(UserFault),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with {code}"),
            Self::Killed(fault) => write!(f, "killed: {fault}"),
        }
    }
}

/// Runs `program` on this core until it ends, with interrupts enabled while it does, and gives its memory
/// back.
///
/// # Errors
///
/// When there is no memory to load it into.
pub fn run(program: &Program) -> Result<Outcome, SpaceError> {
    running::begin(load(program)?);
    let frame = Frame {
        x: [0; 31],
        sp: STACK_END.get(),
        elr: TEXT.get(),
        // EL0t, nothing masked.
        spsr: 0,
        fpsr: 0,
        fpcr: 0,
        q: [0; 32],
    };
    let masked = irq::mask();
    running::resume_tables();
    // SAFETY: the tables are the program's, and the frame gives it nothing of the kernel's. Interrupts
    // are masked until it runs. `leave` comes back here with the stack as it is now: everything that the
    // kernel does meanwhile lies below.
    unsafe { enter_user(&raw const frame, SAVED_SP[cpu()].as_ptr()) };
    drop(masked);
    match running::end() {
        Some(outcome) => Ok(outcome),
        None => panic!("a user program was left without an outcome"),
    }
}

/// Ends this core's program; [`run`] returns. Interrupts are masked and the program's tables are away.
pub(super) fn leave(outcome: Outcome) -> ! {
    running::with(|running| running.outcome = Some(outcome));
    // SAFETY: an exception from EL0 happens only between `enter_user` and this, on the same core, so the
    // saved stack is live and everything above it untouched. Nothing on the stack below has a destructor
    // that matters: the exception's frames hold plain data.
    unsafe { leave_user(SAVED_SP[cpu()].load(Ordering::Relaxed)) }
}

fn load(program: &Program) -> Result<UserSpace, SpaceError> {
    let pages = |start: VirtAddr, bytes: usize| {
        start..start.offset((bytes as u64).next_multiple_of(PAGE_BYTES))
    };
    let data = pages(DATA, program.data.len());
    let heap = data.end.offset(PAGE_BYTES);
    let mut space = AddressSpace::new(frames::tables(), Hardware::User(None), ZeroedFrames, heap)?;
    let text = pages(TEXT, program.text.len());
    space.add(text, Rights::ReadExecute, Kind::Image, program.text)?;
    if !data.is_empty() {
        space.add(data, Rights::ReadWrite, Kind::Image, program.data)?;
    }
    let stack = VirtAddr::new(STACK_END.get() - STACK_BYTES)..STACK_END;
    space.add(stack, Rights::ReadWrite, Kind::Stack, &[])?;
    Ok(space)
}
