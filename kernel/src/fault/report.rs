//! Printing a fault or panic, and stopping.
#![allow(unsafe_code, reason = "reads the stack of the code that failed")]

use super::{
    EXIT_CODE,
    esr::Syndrome,
    place::{Located, Place},
};
use crate::{
    arch::{
        cpu,
        exception::{Frame, Kind},
        image, mmu, stack,
    },
    console::{self, Emergency},
    mm::addr::VirtAddr,
    vm::{ioremap, kernel_space, layout, vmalloc},
};
use core::{
    fmt::Write,
    ops::Range,
    panic::PanicInfo,
    sync::atomic::{AtomicUsize, Ordering},
};
use wire::{fault::Dump, frame::Channel};

/// The core that failed first, plus one; 0 while none has.
static FAILED: AtomicUsize = AtomicUsize::new(0);

/// Whether this is the first failure; if not, it is one of this very code. A core that fails while
/// another one is reporting stops here.
fn is_first() -> bool {
    let me = cpu::id() + 1;
    match FAILED.compare_exchange(0, me, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => true,
        Err(first) if first == me => false,
        Err(_) => cpu::park(),
    }
}

/// Lets a fault inside a copy routine end the copy; returns whether the frame now goes on elsewhere.
pub fn fix_up(frame: &mut Frame, esr: u64, far: u64) -> bool {
    let syndrome = Syndrome(esr);
    let Some(access) = syndrome.access() else {
        return false;
    };
    // Somebody changes the mapping, break before make.
    if syndrome.is_translation_fault() && kernel_space::wait_for_change(VirtAddr::new(far)) {
        return true;
    }
    let Some(fixup) = crate::user::copy::fixup(frame.elr) else {
        return false;
    };
    // A page of the user's that was never touched is filled; anything else ends the copy.
    let is_missing = syndrome.is_translation_fault();
    if !(is_missing && crate::user::current_fault(VirtAddr::new(far), access)) {
        frame.elr = fixup;
    }
    true
}

/// Reports a fault and ends the machine. Runs on the fault stack.
pub fn report(frame: &Frame, kind: Kind, esr: u64, far: u64) -> ! {
    if !is_first() {
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
    let locate = |address| {
        let address = VirtAddr::new(address);
        Located {
            address,
            places: &places,
            area: area_at(address),
            stack_bytes: stack::STACK_BYTES,
        }
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

/// The area of vmalloc or of ioremap that `address` lies in or behind. Somebody may hold their locks, who
/// was interrupted by this: then nothing is known.
fn area_at(address: VirtAddr) -> Option<Place> {
    let place = |name, range| Place { name, range };
    vmalloc::area_at(address)
        .map(|range| place("vmalloc area", range))
        .or_else(|| Some(place("ioremap area", ioremap::try_find(address)?.range())))
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
    // SP may lie in the guard, where nothing can be read.
    let (start, end) = (sp.max(stack::start(sp)) & !15, stack::end(sp));
    let is_stack = [image::whole(), layout::STACKS]
        .iter()
        .any(|stacks| stacks.contains(&VirtAddr::new(start)));
    // Garbage in SP is no reason to fail again. A stack is mapped whole.
    let is_readable = |byte| mmu::is_readable(VirtAddr::new(byte));
    let stack: &[u8] = if is_stack && start < end && is_readable(start) && is_readable(end - 1) {
        let length = usize::try_from(end - start).unwrap_or(0);
        // SAFETY: the range can be read, as was just found, and lies where stacks do, which stay mapped.
        // The owner of this one does not run: it failed, or called this.
        unsafe { core::slice::from_raw_parts(VirtAddr::new(start).as_mut_ptr(), length) }
    } else {
        &[]
    };
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
    if !is_first() {
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
