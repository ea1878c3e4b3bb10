//! Other cores: starting them, and giving them something to do.
//!
//! Boot starts them all. Execution is run-to-completion: a started core waits for an interrupt until
//! [`on`] gives it a function, runs it with interrupts enabled, and waits again; [`call()`] interrupts it.
//! Each has stacks of its own, with guards, and the identity map only while it starts.
#![allow(
    unsafe_code,
    reason = "writes a core's entry point where its firmware reads it"
)]

mod call;

use crate::{
    arch::{cache, cpu, image, irq, mmu, stack, timer},
    interrupt::{self, Signal},
    mm::{
        addr::{LinearMap, PhysAddr, VirtAddr},
        frames::{self, FrameError},
        local,
    },
    sync::{
        self, Rank, SpinLock,
        percpu::MAX_CPUS,
        request::{self, Cores},
    },
    vm::{descriptor::Attributes, kernel_space, layout, table::MapError},
};
pub(crate) use call::answer_calls;
pub use call::{CallError, broadcast, call, call_each};
use core::{
    fmt,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};
use platform::{Board, board::CpuStart, power::PsciError};

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
    /// From before a function is given until it has returned.
    busy: AtomicBool,
    work: SpinLock<Option<fn()>>,
}

static CORES: [Core; MAX_CPUS] = [const {
    Core {
        busy: AtomicBool::new(false),
        work: SpinLock::new(Rank::Work, None),
    }
}; MAX_CPUS];

/// The cores that run.
static ONLINE: AtomicU32 = AtomicU32::new(1);

/// Held while a core starts: they come up one at a time.
static STARTING: SpinLock<()> = SpinLock::new(Rank::CoreStart, ());

/// The cores that run, with their interrupts enabled: the boot core, and those that were started.
pub fn online() -> Cores {
    ONLINE.load(Ordering::Acquire)
}

fn is_online(core: usize) -> bool {
    core < MAX_CPUS && online() >> core & 1 != 0
}

/// Starts the board's other cores, `most` cores in all at most, and returns how many run. One that does
/// not start is named in the log.
pub(crate) fn start_all(board: &Board<'_>, most: usize) -> u32 {
    for core in 1..board.cpus.len().min(MAX_CPUS).min(most) {
        if let Err(error) = start_on(board, core) {
            crate::println!("no second core: {error}");
        }
    }
    online().count_ones()
}

/// Starts core `core`, counted as the board lists them (the boot core is 0).
///
/// # Errors
///
/// See [`StartError`].
pub fn start(core: usize) -> Result<(), StartError> {
    start_on(&crate::machine().board, core)
}

fn start_on(board: &Board<'_>, core: usize) -> Result<(), StartError> {
    let described = board
        .cpus
        .get(core)
        .filter(|_| (1..MAX_CPUS).contains(&core));
    let described = described.ok_or(StartError::NoCore(core))?;
    let _one_at_a_time = STARTING.lock();
    if is_online(core) {
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
    while !is_online(core) {
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
    if let Err(error) = interrupt::init_core() {
        crate::println!("core {}: {error}", cpu::id());
        cpu::park();
    }
    irq::unmask();
    ONLINE.fetch_or(1 << cpu::id(), Ordering::Release);
    cpu::send_event();
    idle(&CORES[cpu::id()])
}

/// Does what this core is given, and what is asked of it, for good.
fn idle(core: &Core) -> ! {
    loop {
        request::honour();
        let work = core.work.lock().take();
        if let Some(work) = work {
            work();
            core.busy.store(false, Ordering::Release);
            cpu::send_event();
            continue;
        }
        // An interrupt that arrives after the last look is pending, and ends the wait; it is taken when
        // the guard goes.
        let _masked = sync::irq::mask();
        if !request::is_asked() && !core.busy.load(Ordering::Acquire) {
            cpu::wait_for_interrupt();
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
    if core == 0 || !is_online(core) {
        return Err(StartError::NoCore(core));
    }
    let target = &CORES[core];
    while target.busy.swap(true, Ordering::Acquire) {
        cpu::wait_for_event();
    }
    *target.work.lock() = Some(work);
    interrupt::send(Signal::Wake, 1 << core);
    Ok(())
}

/// Waits until core `core` has finished all that it was given.
pub fn wait(core: usize) {
    let Some(core) = CORES.get(core) else { return };
    while core.busy.load(Ordering::Acquire) {
        cpu::wait_for_event();
    }
}
