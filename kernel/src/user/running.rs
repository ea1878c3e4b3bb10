//! The program that each core runs, and when its tables are installed.

use super::{
    address_space::AddressSpace,
    asid::{Asid, AsidAllocator},
    frames::ZeroedFrames,
    run::Outcome,
};
use crate::{
    arch::{barrier, mmu, tlb},
    sync::{
        Rank, SpinLock,
        irq::{self, IrqGuard},
        percpu::{MAX_CPUS, cpu},
    },
    vm::{hardware::Hardware, raw_table::RawTables},
};

/// The memory of a program that runs.
pub(super) type UserSpace = AddressSpace<RawTables, Hardware, ZeroedFrames>;

/// A program on a core.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) space: UserSpace,
    /// How it ended, once it has.
    pub(super) outcome: Option<Outcome>,
    asid: Asid,
}

/// Core *n* takes lock *n*; others only try it, to move a page, and hold it for as long as that takes.
static RUNNING: [SpinLock<Option<Running>>; MAX_CPUS] =
    [const { SpinLock::new(Rank::Program, None) }; MAX_CPUS];

static ASIDS: SpinLock<AsidAllocator> = SpinLock::new(Rank::Asids, AsidAllocator::new(8));

/// Learns what this machine's ASIDs are like, and lets programs' pages be moved. At boot.
pub fn init() {
    ASIDS.lock().set_bits(mmu::asid_bits());
    super::moving::init();
}

/// Makes `space` this core's program.
pub(super) fn begin(mut space: UserSpace) {
    let mut slot = RUNNING[cpu()].lock();
    assert!(slot.is_none(), "a user program runs on this core already");
    let mut asids = ASIDS.lock();
    let assignment = asids.assign(None, cpu());
    if assignment.flush {
        barrier::dsb_ishst();
        tlb::invalidate_all();
        barrier::dsb_ish();
        barrier::isb();
    }
    // Only now may another core take a number of the new generation.
    drop(asids);
    *space.mmu_mut() = Hardware::User(Some(assignment.asid.number()));
    *slot = Some(Running {
        space,
        outcome: None,
        asid: assignment.asid,
    });
}

/// This core runs no program any more; returns how it ended. Its memory is given back.
pub(super) fn end() -> Option<Outcome> {
    let running = RUNNING[cpu()].lock().take()?;
    ASIDS.lock().release(cpu());
    let Running {
        space,
        outcome,
        asid,
    } = running;
    // Flushes the ASID, if anything was ever mapped.
    drop(space);
    ASIDS.lock().free(asid);
    outcome
}

/// Works on this core's program; `None` if there is none.
pub(super) fn with<R>(work: impl FnOnce(&mut Running) -> R) -> Option<R> {
    RUNNING[cpu()].lock().as_mut().map(work)
}

/// Works on the program of core `core`, if there is one and nobody else does.
pub(super) fn try_with<R>(core: usize, work: impl FnOnce(&mut Running) -> R) -> Option<R> {
    RUNNING.get(core)?.try_lock()?.as_mut().map(work)
}

/// From here on, user addresses fault: the first thing after every entry from EL0.
pub fn suspend_tables() {
    mmu::empty_ttbr0();
}

/// From here on, the program's memory is where the program sees it: the last thing before a return to
/// EL0, with interrupts masked.
pub fn resume_tables() {
    with(|running| mmu::set_ttbr0(running.space.root(), running.asid.number()));
}

/// The program's tables, installed for the moment of a copy; interrupts are masked meanwhile.
#[derive(Debug)]
pub(super) struct Installed {
    _masked: IrqGuard,
}

impl Installed {
    pub(super) fn new() -> Self {
        let masked = irq::mask();
        resume_tables();
        Self { _masked: masked }
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        suspend_tables();
    }
}
