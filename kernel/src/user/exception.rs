//! Exceptions from EL0.

use super::{
    address_space::SpaceError,
    copy,
    fault::{Cause, UserFault},
    run::{self, Outcome},
    running::{self, resume_tables, suspend_tables},
    syscall::{self, Action, Errno, Services},
    vma::{Rights, VmaError},
};
use crate::{
    arch::{exception::Frame, irq},
    console,
    fault::esr::{Access, Syndrome},
    mm::{
        addr::{Order, PAGE_BYTES, VirtAddr},
        frames,
        gfp::Gfp,
    },
    vm::layout,
};
use core::ops::Range;

const SVC: u64 = 0x15;
const INSTRUCTION_ABORT: u64 = 0x20;
const DATA_ABORT: u64 = 0x24;

/// A synchronous exception from EL0, whose registers are in `frame`. Returns if the program goes on; the
/// caller restores the frame.
pub fn on_exception(frame: &mut Frame, esr: u64, far: u64) {
    suspend_tables();
    irq::unmask();
    let outcome = handle(frame, Syndrome(esr), VirtAddr::new(far));
    // They stay masked: the program's own mask comes with its SPSR, and what follows must not be
    // interrupted.
    irq::mask();
    if let Some(outcome) = outcome {
        run::leave(outcome);
    }
    resume_tables();
}

/// A fault of the kernel's at `address`, inside a copy routine: tries to fill the page.
///
/// Called with the program's tables installed; they are away while this works.
pub fn current_fault(address: VirtAddr, access: Access) -> bool {
    suspend_tables();
    let filled = layout::USER.contains(&address) && fill(address, access).is_ok();
    resume_tables();
    filled
}

fn fill(address: VirtAddr, access: Access) -> Result<(), Cause> {
    let attempt = || {
        let filled = running::with(|running| running.space.handle_fault(address, access));
        filled.unwrap_or(Err(Cause::Translation))
    };
    let has_room = || {
        let frames = frames::global();
        frames.is_some_and(|frames| frames.reclaim(Order::ZERO, Gfp::KERNEL | Gfp::MOVABLE))
    };
    match attempt() {
        Err(Cause::OutOfMemory) if has_room() => attempt(),
        result => result,
    }
}

/// Handles the exception; returns how the program ended, if it did.
fn handle(frame: &mut Frame, syndrome: Syndrome, far: VirtAddr) -> Option<Outcome> {
    match (syndrome.class(), syndrome.access()) {
        (SVC, _) => {
            let [x0, x1, x2, x3, x4, x5, ..] = frame.x;
            match syscall::dispatch(&mut Kernel, frame.x[8], [x0, x1, x2, x3, x4, x5]) {
                Action::Return(value) => {
                    frame.x[0] = value;
                    None
                }
                Action::Exit(code) => Some(Outcome::Exited(code)),
            }
        }
        (INSTRUCTION_ABORT | DATA_ABORT, Some(access)) => {
            abort(far, access, syndrome).err().map(Outcome::Killed)
        }
        _ => Some(Outcome::Killed(UserFault::Exception {
            pc: VirtAddr::new(frame.elr),
            syndrome,
        })),
    }
}

fn abort(address: VirtAddr, access: Access, syndrome: Syndrome) -> Result<(), UserFault> {
    if !syndrome.is_translation_fault() || !layout::USER.contains(&address) {
        return Err(UserFault::of_abort(address, access, syndrome));
    }
    fill(address, access).map_err(|cause| UserFault::Access {
        address,
        access,
        cause,
    })
}

/// What system calls get.
struct Kernel;

impl Services for Kernel {
    fn write(&mut self, buffer: VirtAddr, bytes: u64) -> Result<u64, Errno> {
        let mut written = 0;
        let mut chunk = [0; 256];
        while written < bytes {
            let length = usize::try_from(bytes - written)
                .unwrap_or(usize::MAX)
                .min(chunk.len());
            let chunk = &mut chunk[..length];
            match copy::copy_from_user(chunk, buffer.offset(written)) {
                Ok(()) => console::text(chunk),
                Err(_) if written > 0 => break,
                Err(_) => return Err(Errno::Fault),
            }
            written += length as u64;
        }
        Ok(written)
    }

    fn system_name(&mut self, buffer: VirtAddr) -> Result<(), Errno> {
        copy::copy_to_user(buffer, &syscall::utsname()).map_err(|_| Errno::Fault)
    }

    fn set_break(&mut self, end: VirtAddr) -> VirtAddr {
        let moved = running::with(|running| running.space.set_break(end));
        let (end, gone) = moved.unwrap_or_default();
        drop_pages(gone);
        end
    }

    fn map(&mut self, bytes: u64, rights: Rights) -> Result<VirtAddr, Errno> {
        running::with(|running| running.space.map_anonymous(bytes, rights).map_err(errno))
            .unwrap_or(Err(Errno::NoMemory))
    }

    fn unmap(&mut self, start: VirtAddr, bytes: u64) -> Result<(), Errno> {
        let end = bytes
            .checked_next_multiple_of(PAGE_BYTES)
            .ok_or(Errno::Invalid)?;
        let end = start
            .get()
            .checked_add(end)
            .map(VirtAddr::new)
            .ok_or(Errno::Invalid)?;
        running::with(|running| running.space.remove(&(start..end)).map_err(errno))
            .unwrap_or(Err(Errno::Invalid))?;
        drop_pages(start..end);
        Ok(())
    }
}

/// Gives back the pages of `range`, with interrupts on between any few of them.
fn drop_pages(mut range: Range<VirtAddr>) {
    while !range.is_empty() {
        let rest = range.end..range.end;
        range = running::with(|running| running.space.drop_some(range)).unwrap_or(rest);
    }
}

const fn errno(error: SpaceError) -> Errno {
    match error {
        SpaceError::Area(VmaError::NoSpace(_) | VmaError::NoMemory)
        | SpaceError::Map(_)
        | SpaceError::NoRoot => Errno::NoMemory,
        SpaceError::Area(_) => Errno::Invalid,
    }
}
