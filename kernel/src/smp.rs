//! Other cores: starting them, and giving them something to do.
//!
//! Execution is run-to-completion: a started core waits for events until [`on`] gives it a function,
//! runs it with interrupts masked, and waits again. Each has stacks of its own, with guards, and the
//! identity map only while it starts.
#![allow(
    unsafe_code,
    reason = "writes a core's entry point where its firmware reads it"
)]

use crate::{
    arch::{cache, cpu, image, irq, mmu, stack, timer},
    mm::{
        addr::{LinearMap, PhysAddr, VirtAddr},
        frames::{self, FrameError},
        local,
    },
    sync::{SpinLock, percpu::MAX_CPUS},
    vm::{descriptor::Attributes, kernel_space, layout, table::MapError},
};
use core::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};
use platform::{board::CpuStart, power::PsciError};

/// Why a core did not start.
#[derive(Debug)]
pub enum StartError {
    /// The board describes no such core, or the kernel has no room for it.
    NoCore(usize),
    /// It was started before.
    Running(usize),
    /// The device tree names no way to start it, or a word outside memory.
    NoMethod(usize),
    /// No memory for its stacks.
    Stacks(MapError),
    /// No memory for its magazines.
    Magazines(FrameError),
    /// PSCI refused.
    Psci(PsciError),
    /// It was started, and did not come up within a second.
    Silent(usize),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCore(core) => write!(f, "no core {core}"),
            Self::Running(core) => write!(f, "core {core} runs already"),
            Self::NoMethod(core) => write!(f, "no way to start core {core}"),
            Self::Stacks(error) => write!(f, "stacks: {error}"),
            Self::Magazines(error) => write!(f, "magazines: {error}"),
            Self::Psci(error) => write!(f, "PSCI: {error}"),
            Self::Silent(core) => write!(f, "core {core} did not come up"),
        }
    }
}

impl core::error::Error for StartError {}

/// What one core is doing.
struct Core {
    up: AtomicBool,
    /// From before a function is given until it has returned.
    busy: AtomicBool,
    work: SpinLock<Option<fn()>>,
}

static CORES: [Core; MAX_CPUS] = [const {
    Core {
        up: AtomicBool::new(false),
        busy: AtomicBool::new(false),
        work: SpinLock::new(None),
    }
}; MAX_CPUS];

/// Held while a core starts: they come up one at a time.
static STARTING: SpinLock<()> = SpinLock::new(());

/// Starts core `core`, counted as the board lists them (the boot core is 0).
///
/// # Errors
///
/// See [`StartError`].
pub fn start(core: usize) -> Result<(), StartError> {
    let board = &crate::machine().board;
    let described = board
        .cpus
        .get(core)
        .filter(|_| (1..MAX_CPUS).contains(&core));
    let described = described.ok_or(StartError::NoCore(core))?;
    let _one_at_a_time = STARTING.lock();
    if CORES[core].up.load(Ordering::Acquire) {
        return Err(StartError::Running(core));
    }
    let mut ends = [VirtAddr::default(); 3];
    for (number, end) in (core * 3..).zip(&mut ends) {
        *end = map_stack(number as u64).map_err(StartError::Stacks)?;
    }
    cpu::prepare(core, ends[0], ends[1], ends[2]);
    if let Some(frames) = frames::global() {
        local::provide_slots(frames, core).map_err(StartError::Magazines)?;
    }
    let entry = image::secondary_entry();
    match (described.start, board.psci) {
        (CpuStart::Psci, Some(conduit)) => {
            platform::power::psci_start(conduit, described.mpidr, entry.get(), 0)
                .map_err(StartError::Psci)?;
        }
        (CpuStart::SpinTable(release), _) => {
            release_from_spin_table(PhysAddr::new(release), entry)
                .ok_or(StartError::NoMethod(core))?;
        }
        _ => return Err(StartError::NoMethod(core)),
    }
    let deadline = timer::ticks() + timer::frequency_hz();
    while !CORES[core].up.load(Ordering::Acquire) {
        if timer::ticks() > deadline {
            return Err(StartError::Silent(core));
        }
        cpu::yield_now();
    }
    Ok(())
}

/// Maps stack number `number` of all cores' and returns its end. A stack that is mapped already, after
/// a start that failed, is used again.
fn map_stack(number: u64) -> Result<VirtAddr, MapError> {
    let start = layout::STACKS.start.offset(number * 2 * stack::STACK_BYTES);
    let range = start..start.offset(stack::STACK_BYTES);
    if kernel_space::walk(start).is_none() {
        kernel_space::map_frames(range.clone(), Attributes::KERNEL_DATA)?;
    }
    Ok(range.end)
}

/// Writes the entry point where a waiting core reads it, past the caches, and wakes it; `None` if the
/// word is not in the linear map.
fn release_from_spin_table(release: PhysAddr, entry: PhysAddr) -> Option<()> {
    let address = LinearMap::kernel().to_virt(release);
    kernel_space::walk(address)?;
    // SAFETY: the device tree says that firmware waits at this word, in memory that is reserved for it;
    // it is mapped, as the line above found.
    unsafe { address.as_mut_ptr::<u64>().write_volatile(entry.get()) };
    cache::clean_invalidate(address, 8);
    cpu::send_event();
    Some(())
}

/// The first Rust code of another core.
pub(crate) extern "C" fn secondary_entry() -> ! {
    mmu::drop_identity_map();
    irq::unmask_errors();
    let core = &CORES[cpu::id()];
    core.up.store(true, Ordering::Release);
    loop {
        let work = core.work.lock().take();
        match work {
            Some(work) => {
                work();
                core.busy.store(false, Ordering::Release);
            }
            None => cpu::wait_for_event(),
        }
    }
}

/// Runs `work` on core `core`, which [`start`] has started, and returns at once. It waits for what the
/// core was given before.
///
/// # Errors
///
/// [`StartError::NoCore`] if it does not run.
pub fn on(core: usize, work: fn()) -> Result<(), StartError> {
    let runs = CORES
        .get(core)
        .filter(|core| core.up.load(Ordering::Acquire));
    let target = runs.ok_or(StartError::NoCore(core))?;
    while target.busy.swap(true, Ordering::Acquire) {
        cpu::yield_now();
    }
    *target.work.lock() = Some(work);
    cpu::send_event();
    Ok(())
}

/// Waits until core `core` has finished all that it was given.
pub fn wait(core: usize) {
    let Some(core) = CORES.get(core) else { return };
    while core.busy.load(Ordering::Acquire) {
        cpu::yield_now();
    }
}
