//! The board, its console and its interrupt controller.
#![allow(unsafe_code, reason = "drivers take the addresses of mapped registers")]

use super::stop;
use crate::{
    arch::{monitor, pmu},
    console, exit, interrupt, log,
    mm::addr::{PAGE_BYTES, PhysAddr, VirtAddr},
    vm::{
        descriptor::{Attributes, Level},
        fixmap, ioremap, kernel_space,
    },
};
use core::{ops::Range, ptr::NonNull};
use platform::{
    Board,
    board::Gic as GicRegisters,
    device_tree::{self, DeviceTreeError},
    gic::Gic,
    pl011::Pl011,
    power::{PowerOff, Watchdog},
};
use wire::{params::Params, payload::Payload};

/// The device tree's blob, where it came in memory of its own.
pub(super) type Blob = Option<Range<PhysAddr>>;

/// The UART that `earlycon=ADDRESS` names: something to say what is wrong with before the device tree
/// has been read.
pub(super) fn early_console(params: &Params<'_>) {
    if let Some(base) = params.number("earlycon") {
        map_console(PhysAddr::new(base));
    }
}

/// The board's UART becomes the console, unless it is the early one already.
pub(super) fn console(board: &Board<'_>) {
    map_console(PhysAddr::new(board.uart));
}

fn map_console(base: PhysAddr) {
    let slot = fixmap::UART;
    let page = PhysAddr::new(base.get() & !(PAGE_BYTES - 1));
    match kernel_space::walk(slot.start) {
        Some(mapping) if mapping.physical == page => return,
        Some(_) => kernel_space::unmap(slot.clone()).expect("the slot is one page of its own"),
        None => {}
    }
    if let Err(error) = kernel_space::map(slot.clone(), page, Attributes::DEVICE, Level::PAGE) {
        stop(format_args!("console at {base:#x}: {error}"));
    }
    let registers = slot.start.offset(base.get() - page.get());
    // SAFETY: the device tree, the built-in board or the run parameters say that a PL011 is there, and
    // the fixmap slot stays mapped until another UART takes its place.
    console::init(unsafe { Pl011::new(pointer(registers)) });
}

/// The board: from the payload's file `dtb`, or the blob that the boot loader left, or built in.
#[inline(never)]
pub(super) fn find_board(
    device_tree: u64,
    payload: Option<&Payload<'static>>,
) -> (Board<'static>, Blob) {
    let mut files = payload.into_iter().flat_map(Payload::files).flatten();
    if let Some((_, blob)) = files.find(|(name, _)| *name == "dtb") {
        return (parse(blob), None);
    }
    let Some((blob, range)) = map_blob(device_tree) else {
        return (platform::rpi4::board(), None);
    };
    (parse(blob), Some(range))
}

#[inline(never)]
fn parse(blob: &'static [u8]) -> Board<'static> {
    device_tree::board(blob).unwrap_or_else(|error| refuse(&error))
}

fn refuse(error: &DeviceTreeError) -> ! {
    stop(format_args!("device tree: {error}"))
}

/// Maps the blob at `start` for reading; `None` if there is none.
///
/// Boot loaders put it 8-byte aligned (Linux `booting.rst`) into memory; QEMU's `raspi4b` without one
/// leaves the address of its ATAGs, in memory too, where no magic is found.
fn map_blob(start: u64) -> Option<(&'static [u8], Range<PhysAddr>)> {
    if start == 0 || !start.is_multiple_of(8) || start >= 1 << 48 {
        return None;
    }
    let start = PhysAddr::new(start);
    let window = fixmap::DEVICE_TREE;
    let inside = start.get() % PAGE_BYTES;
    let at = window.start.offset(inside);
    let first = window.start..window.start.offset(PAGE_BYTES);
    map_window(first.clone(), start);
    let header = *bytes(at, 8)
        .first_chunk()
        .expect("eight bytes were asked for");
    let length = match device_tree::length(header) {
        Ok(length) => length?,
        Err(error) => refuse(&error),
    };
    let end = window
        .start
        .offset((inside + length as u64).next_multiple_of(PAGE_BYTES));
    if end > window.end {
        refuse(&DeviceTreeError::TooMany("bytes"));
    }
    if first.end < end {
        map_window(first.end..end, start.offset(PAGE_BYTES));
    }
    Some((bytes(at, length), start..start.offset(length as u64)))
}

/// Maps `range` of the window to the pages from the one that holds `physical` on.
fn map_window(range: Range<VirtAddr>, physical: PhysAddr) {
    let page = PhysAddr::new(physical.get() & !(PAGE_BYTES - 1));
    if let Err(error) = kernel_space::map(range, page, Attributes::KERNEL_RODATA, Level::PAGE) {
        stop(format_args!("device tree at {physical:#x}: {error}"));
    }
}

/// Bytes of the device tree window that are mapped for good.
fn bytes(start: VirtAddr, length: usize) -> &'static [u8] {
    // SAFETY: the window was mapped read-only by the caller and is never unmapped; nobody writes the
    // blob, whose memory is reserved.
    unsafe { core::slice::from_raw_parts(start.as_mut_ptr(), length) }
}

/// A GICv3's distributor, and the part of its redistributors that is one core's, are at least this long
/// (Arm IHI 0069, 12.8 and 12.10).
const DISTRIBUTOR_BYTES: u64 = 64 << 10;
const REDISTRIBUTOR_BYTES: u64 = 128 << 10;

/// Sets the interrupt controller up; every interrupt stays disabled until somebody asks for it.
pub(super) fn interrupts(board: &Board<'_>, entry_el: u64) {
    let open = |distributor: &Range<u64>, cpu_interface: Option<&Range<u64>>| {
        if entry_el == 3 {
            let start = |registers: &Range<u64>| PhysAddr::new(registers.start);
            monitor::open_interrupt_controller(start(distributor), cpu_interface.map(start));
        }
    };
    let gic = match &board.gic {
        GicRegisters::V2 {
            distributor,
            cpu_interface,
        } => {
            open(distributor, Some(cpu_interface));
            let (distributor, cpu_interface) = (map_gic(distributor), map_gic(cpu_interface));
            // SAFETY: just mapped as device memory, at the addresses that the board says.
            unsafe { Gic::v2(distributor, cpu_interface) }
        }
        GicRegisters::V3 {
            distributor,
            redistributors,
        } => {
            open(distributor, None);
            gic_v3(distributor, redistributors, board.cpus.len().max(1))
        }
    };
    interrupt::init(gic, board.timer_interrupt);
    if let Err(error) = interrupt::init_core() {
        stop(format_args!("interrupt controller: {error}"));
    }
    log::debug!("interrupts and timer ready, PMU {=bool}", pmu::is_present());
}

fn gic_v3(distributor: &Range<u64>, redistributors: &Range<u64>, cores: usize) -> Gic {
    let bytes = |registers: &Range<u64>| registers.end - registers.start;
    if bytes(distributor) < DISTRIBUTOR_BYTES
        || bytes(redistributors) / REDISTRIBUTOR_BYTES < cores as u64
    {
        stop(format_args!(
            "device tree: GICv3 registers too small for {cores} cores"
        ));
    }
    let (distributor, redistributors) = (map_gic(distributor), map_gic(redistributors));
    // SAFETY: just mapped as device memory, at the addresses that the board says, and long enough.
    match unsafe { Gic::v3(distributor, redistributors, cores) } {
        Ok(gic) => gic,
        Err(error) => stop(format_args!("interrupt controller: {error}")),
    }
}

fn map_gic(registers: &Range<u64>) -> NonNull<u8> {
    map_registers("interrupt controller", registers)
}

/// Finds out how the board is turned off, and maps what that takes.
pub(super) fn power(board: &Board<'_>) {
    if let Some(conduit) = board.psci {
        exit::set_power_off(PowerOff::Psci(conduit));
    } else if let Some(base) = board.watchdog {
        let registers = map_registers("watchdog", &(base..base + PAGE_BYTES));
        // SAFETY: just mapped as device memory, at the address that the board says.
        exit::set_power_off(PowerOff::Watchdog(unsafe { Watchdog::new(registers) }));
    }
}

/// Maps the registers of `device`, for good.
fn map_registers(device: &str, registers: &Range<u64>) -> NonNull<u8> {
    let start = PhysAddr::new(registers.start);
    match ioremap::ioremap(start, registers.end - registers.start) {
        Ok(address) => pointer(address),
        Err(error) => stop(format_args!("{device}: {error}")),
    }
}

fn pointer(address: VirtAddr) -> NonNull<u8> {
    NonNull::new(address.as_mut_ptr()).expect("no mapping is at address 0")
}
