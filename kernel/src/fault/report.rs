//! Printing a fault or panic, and stopping.
#![allow(unsafe_code, reason = "reads the stack of the code that failed")]

use super::{
    EXIT_CODE,
    esr::Syndrome,
    place::{Located, Place},
};
use crate::{
    arch::{
        exception::{Frame, Kind},
        image, stack,
    },
    console::{self, Emergency},
    mm::addr::VirtAddr,
    vm::layout,
};
use core::{
    fmt::Write,
    ops::Range,
    panic::PanicInfo,
    sync::atomic::{AtomicBool, Ordering},
};
use wire::{fault::Dump, frame::Channel};

/// Set by the first failure; a second one is a failure of this very code.
static FAILED: AtomicBool = AtomicBool::new(false);

/// Lets a fault inside a copy routine end the copy; returns whether the frame now goes on elsewhere.
pub fn fix_up(frame: &mut Frame, esr: u64, far: u64) -> bool {
    let syndrome = Syndrome(esr);
    let Some(access) = syndrome.access() else {
        return false;
    };
    let Some(fixup) = crate::user::copy::fixup(frame.elr) else {
        return false;
    };
    // A page of the user's that was never touched is filled; anything else ends the copy.
    if !crate::user::current_fault(VirtAddr::new(far), access) {
        frame.elr = fixup;
    }
    true
}

/// Reports a fault and ends the machine. Runs on the fault stack.
pub fn report(frame: &Frame, kind: Kind, esr: u64, far: u64) -> ! {
    if FAILED.swap(true, Ordering::Relaxed) {
        again(esr, frame.elr, far);
    }
    let mut line = console::emergency();
    // A terminal that has gone away is no reason not to go on.
    let _ = describe(&mut line, frame, kind, esr, far);
    dump(&mut line, frame.elr, frame.sp, frame.x);
    stop(line)
}

fn describe(
    line: &mut Emergency,
    frame: &Frame,
    kind: Kind,
    esr: u64,
    far: u64,
) -> core::fmt::Result {
    let (syndrome, places) = (Syndrome(esr), places());
    let locate = |address| Located {
        address: VirtAddr::new(address),
        places: &places,
    };
    write!(line, "\n*** fault: ")?;
    match kind {
        Kind::Synchronous => write!(line, "{syndrome}")?,
        Kind::StackOverflow => write!(line, "stack overflow, {syndrome}")?,
        Kind::SError => write!(line, "system error")?,
        Kind::Sp0 => write!(line, "{syndrome} on SP_EL0")?,
        Kind::Fiq => write!(line, "unexpected FIQ")?,
        Kind::AArch32 => write!(line, "exception from AArch32")?,
    }
    if syndrome.has_address() && kind != Kind::SError && kind != Kind::Fiq {
        write!(line, " at {far:#018x}: {}", locate(far))?;
    }
    let el = frame.spsr >> 2 & 3;
    writeln!(
        line,
        "\n    ESR {esr:#010x}  FAR {far:#018x}  SPSR {:#x} (EL{el})",
        frame.spsr
    )?;
    writeln!(line, "    pc  {:#018x}: {}", frame.elr, locate(frame.elr))?;
    writeln!(line, "    sp  {:#018x}: {}", frame.sp, locate(frame.sp))?;
    for (index, registers) in frame.x.chunks(4).enumerate() {
        write!(line, "   ")?;
        for (register, value) in (index * 4..).zip(registers) {
            write!(line, " x{register:<2} {value:016x} ")?;
        }
        writeln!(line)?;
    }
    Ok(())
}

/// A failure while another is being reported: one line, and out, with nothing that may fail again.
fn again(esr: u64, elr: u64, far: u64) -> ! {
    let mut line = console::emergency();
    let _ = writeln!(
        line,
        "\n*** fault inside the fault handler: ESR {esr:#x}, pc {elr:#x}, FAR {far:#x}"
    );
    line.flush();
    crate::exit::stop(EXIT_CODE)
}

/// The image's sections, stacks and guards, with their rights.
fn places() -> [Place; 9] {
    let place = |name, range| Place { name, range };
    [
        place("kernel text, read-only", image::text()),
        place(
            "kernel constants, read-only, not executable",
            image::rodata(),
        ),
        place("kernel data, not executable", image::data()),
        place("boot stack", stack_above(&image::boot_stack_guard())),
        place("interrupt stack", stack_above(&image::irq_stack_guard())),
        place("fault stack", stack_above(&image::fault_stack_guard())),
        place("guard page of the boot stack", image::boot_stack_guard()),
        place(
            "guard page of the interrupt stack",
            image::irq_stack_guard(),
        ),
        place("guard page of the fault stack", image::fault_stack_guard()),
    ]
}

fn stack_above(guard: &Range<VirtAddr>) -> Range<VirtAddr> {
    guard.end..guard.end.offset(stack::STACK_BYTES)
}

/// Sends registers and stack for the host to unwind.
fn dump(line: &mut Emergency, pc: u64, sp: u64, x: [u64; 31]) {
    let stacks = [image::whole(), layout::STACKS];
    let inside = stacks
        .iter()
        .any(|stacks| stacks.contains(&VirtAddr::new(sp)));
    // SP may lie in the guard, where nothing can be read.
    let start = sp.max(stack::start(sp)) & !15;
    let bytes = if inside {
        stack::end(sp).saturating_sub(start)
    } else {
        0
    };
    let pointer = VirtAddr::new(start).as_mut_ptr::<u8>();
    let length = usize::try_from(bytes).unwrap_or(0);
    // SAFETY: the range lies inside a core's stack, which is mapped for good. Its owner
    // does not run: it failed, or called this.
    let stack = unsafe { core::slice::from_raw_parts(pointer, length) };
    let dump = Dump {
        pc,
        sp,
        x,
        stack_start: start,
        stack,
    };
    line.frame(Channel::Fault, &[&dump.header(), stack]);
}

fn stop(mut line: Emergency) -> ! {
    line.flush();
    drop(line);
    crate::exit::exit(EXIT_CODE)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let mut x = [0_u64; 31];
    let (pc, sp): (u64, u64);
    // SAFETY: stores the callee-saved registers into `x`, whose address the block is given, and reads
    // the program counter and the stack pointer, all as of this instruction.
    unsafe {
        core::arch::asm!(
            "stp x19, x20, [{x}, #152]",
            "stp x21, x22, [{x}, #168]",
            "stp x23, x24, [{x}, #184]",
            "stp x25, x26, [{x}, #200]",
            "stp x27, x28, [{x}, #216]",
            "stp x29, x30, [{x}, #232]",
            "adr {pc}, .",
            "mov {sp}, sp",
            x = in(reg) x.as_mut_ptr(),
            pc = out(reg) pc,
            sp = out(reg) sp,
            options(nostack, preserves_flags),
        );
    }
    if FAILED.swap(true, Ordering::Relaxed) {
        again(0, pc, 0);
    }
    let mut line = console::emergency();
    let _ = writeln!(line, "\n*** panic: {}", info.message());
    if let Some(place) = info.location() {
        let _ = writeln!(line, "    at {place}");
    }
    dump(&mut line, pc, sp, x);
    stop(line)
}
