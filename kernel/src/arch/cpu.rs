//! This core: its number, its stacks, and waiting.

use super::{image, stack};
use crate::mm::{addr::VirtAddr, local::Local};
use crate::sync::{irq::IrqMasked, percpu::MAX_CPUS};
use aarch64_cpu::registers::{MPIDR_EL1, Readable, TPIDR_EL1};
use core::{
    arch::asm,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

/// What a context of a core has for itself, found through TPIDR_EL1: the fast paths' part first, so that
/// one instruction reaches it.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct CpuBlock {
    local: Local,
    /// The core's number.
    pub id: AtomicU64,
    /// End of its interrupt stack.
    pub irq_stack: AtomicU64,
    /// End of its fault stack.
    pub fault_stack: AtomicU64,
    /// Guards made with interrupts masked already; [`sync::irq`](crate::sync::irq) counts them.
    inner_guards: AtomicU32,
    /// Address of the block that the core's interrupts use.
    pub irq_block: AtomicU64,
}

/// The blocks of the cores' thread and interrupt contexts; the boot core's are the first.
#[derive(Debug)]
#[repr(transparent)]
pub struct CpuBlocks([[CpuBlock; CONTEXTS]; MAX_CPUS]);

/// Contexts of a core: thread, interrupt.
const CONTEXTS: usize = 2;

// SAFETY: a block's `local` is reached by `local` and `locals_of_this_core` alone, which hand each
// context its own, and by `all_locals`, whose users look at words that are made for that.
unsafe impl Sync for CpuBlocks {}

/// All blocks. The image's entry points TPIDR_EL1 to the first.
pub static CPUS: CpuBlocks = CpuBlocks(
    [const {
        [const {
            CpuBlock {
                local: Local::zero(),
                id: AtomicU64::new(0),
                irq_stack: AtomicU64::new(0),
                fault_stack: AtomicU64::new(0),
                inner_guards: AtomicU32::new(0),
                irq_block: AtomicU64::new(0),
            }
        }; CONTEXTS]
    }; MAX_CPUS],
);

/// Cores whose blocks are ready, as bits.
static READY: AtomicU64 = AtomicU64::new(0);

/// Fills in the blocks of core `id`, which does not run yet, or is this one before it allocates.
fn init_blocks(id: usize, irq_stack: u64, fault_stack: u64) {
    let [_, irq] = &CPUS.0[id];
    for block in &CPUS.0[id] {
        block.local.init();
        block.id.store(id as u64, Ordering::Relaxed);
        block.irq_stack.store(irq_stack, Ordering::Relaxed);
        block.fault_stack.store(fault_stack, Ordering::Relaxed);
        let irq_block = VirtAddr::from_ptr(irq).get();
        block.irq_block.store(irq_block, Ordering::Relaxed);
    }
    READY.fetch_or(1 << id, Ordering::Release);
}

/// What a core that starts finds: the end of its stack, and its block.
#[derive(Debug)]
#[repr(C, align(16))]
pub struct Secondary {
    stack: AtomicU64,
    block: AtomicU64,
}

/// Left by the core that starts another one, which reads it with the MMU on.
pub static SECONDARY: Secondary = Secondary {
    stack: AtomicU64::new(0),
    block: AtomicU64::new(0),
};

/// Gives core `id` its stacks, by their ends, and leaves word for it; it may be started from then on.
/// Panics past [`MAX_CPUS`].
pub fn prepare(id: usize, stack: VirtAddr, irq_stack: VirtAddr, fault_stack: VirtAddr) {
    // A core that did not come up when it was started before keeps what its blocks hold.
    if READY.load(Ordering::Acquire) & 1 << id == 0 {
        init_blocks(id, irq_stack.get(), fault_stack.get());
    }
    SECONDARY.stack.store(stack.get(), Ordering::Relaxed);
    SECONDARY.block.store(
        VirtAddr::from_ptr(&raw const CPUS.0[id][0]).get(),
        Ordering::Relaxed,
    );
    // What starts the core is no store of this kind: a call, or a word past the caches.
    super::barrier::dsb_ish();
}

/// Wakes cores that wait for an event; what was stored before is visible to them.
pub fn send_event() {
    super::barrier::dsb_ish();
    aarch64_cpu::asm::sev();
}

/// Gives the boot core its stacks and its magazines: the first Rust code, before anything allocates.
pub fn init_boot_cpu() {
    let end = |guard: VirtAddr| guard.get() + stack::STACK_BYTES;
    init_blocks(
        0,
        end(image::irq_stack_guard().end),
        end(image::fault_stack_guard().end),
    );
}

/// The running context's block.
#[inline(always)]
fn block() -> &'static CpuBlock {
    #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits here")]
    let block = core::ptr::with_exposed_provenance::<CpuBlock>(TPIDR_EL1.get() as usize);
    // SAFETY: TPIDR_EL1 holds the address of one of the static blocks from before the first Rust
    // instruction on every core, and user code cannot write it.
    unsafe { &*block }
}

/// This core's number, below [`MAX_CPUS`].
#[inline]
pub fn id() -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "below MAX_CPUS")]
    let id = block().id.load(Ordering::Relaxed) as usize;
    id
}

/// What the running context has for itself.
#[inline(always)]
pub fn local<'a>() -> &'a Local {
    // The exception entry points TPIDR_EL1 to another block whenever another context runs on this core,
    // so that this one is ours. A `&Local` cannot be sent to another.
    &block().local
}

/// What both contexts of this core have: no interrupt uses its own meanwhile. In the interrupt context
/// that one alone, since the thread is in the middle of something.
pub fn locals_of_this_core(_proof: &IrqMasked) -> impl Iterator<Item = &Local> {
    let [thread, interrupt] = &CPUS.0[id()];
    let in_thread = core::ptr::eq(block(), thread);
    let thread = in_thread.then_some(&thread.local);
    core::iter::once(&interrupt.local).chain(thread)
}

/// What both contexts of core `core` have, which does not run, or is this one while nothing interrupts.
pub fn locals_of<'a>(core: usize) -> [&'a Local; CONTEXTS] {
    CPUS.0[core].each_ref().map(|block| &block.local)
}

/// Cores whose blocks are ready, as bits.
pub fn ready() -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "at most MAX_CPUS bits")]
    let ready = READY.load(Ordering::Acquire) as u32;
    ready
}

/// What the contexts of all cores have that were ever started, each with its core.
pub fn all_locals<'a>() -> impl Iterator<Item = (usize, &'a Local)> {
    let ready = READY.load(Ordering::Acquire);
    let cores = CPUS.0.iter().enumerate();
    let cores = cores.filter(move |(id, _)| ready & 1 << id != 0);
    cores.flat_map(|(id, contexts)| contexts.iter().map(move |block| (id, &block.local)))
}

/// The running context's count of guards that were made with interrupts masked already; to be touched
/// with interrupts masked.
#[inline]
pub(crate) fn inner_guards() -> &'static AtomicU32 {
    &block().inner_guards
}

/// This core's affinity, as the device tree and the interrupt controller name it, with other bits.
pub fn mpidr() -> u64 {
    MPIDR_EL1.get()
}

/// Waits for an event unless `word` holds something else than `seen`; may return early.
///
/// The exclusive load watches the word: a store to it by another core clears the monitor, which is an
/// event (Arm ARM D1.6.1, B2.12.2). What is watched between the load and the `wfe` is latched.
#[inline]
pub fn wait_while(word: &AtomicU32, seen: u32) {
    // SAFETY: reads the word, which the reference keeps alive, and waits.
    unsafe {
        asm!(
            "ldxr {read:w}, [{word}]",
            "cmp {read:w}, {seen:w}",
            "b.ne 2f",
            "wfe",
            "2:",
            word = in(reg) word.as_ptr(),
            seen = in(reg) seen,
            read = out(reg) _,
            options(readonly, nostack),
        );
    }
}

/// Lets another hardware thread, or another core of an emulator, go first.
pub fn yield_now() {
    // SAFETY: a hint.
    unsafe { asm!("yield", options(nomem, nostack, preserves_flags)) }
}

/// Waits for an event or interrupt; may return early.
pub fn wait_for_event() {
    aarch64_cpu::asm::wfe();
}

/// Waits for an interrupt, also for one that is masked; may return early.
pub fn wait_for_interrupt() {
    aarch64_cpu::asm::wfi();
}

/// Stops this core for good, interrupts masked.
pub fn park() -> ! {
    super::irq::mask();
    loop {
        wait_for_event();
    }
}
