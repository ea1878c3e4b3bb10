//! This core: its number, its stacks, and waiting.

use super::{image, stack};
use crate::mm::addr::VirtAddr;
use crate::sync::percpu::MAX_CPUS;
use aarch64_cpu::registers::{Readable, TPIDR_EL1};
use core::{
    arch::asm,
    sync::atomic::{AtomicU64, Ordering},
};

/// What exception entry needs of a core, found through TPIDR_EL1.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct CpuBlock {
    /// The core's number.
    pub id: AtomicU64,
    /// End of its interrupt stack.
    pub irq_stack: AtomicU64,
    /// End of its fault stack.
    pub fault_stack: AtomicU64,
}

/// The blocks; the boot core's is the first.
pub static CPUS: [CpuBlock; MAX_CPUS] = [const {
    CpuBlock {
        id: AtomicU64::new(0),
        irq_stack: AtomicU64::new(0),
        fault_stack: AtomicU64::new(0),
    }
}; MAX_CPUS];

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
    let block = &CPUS[id];
    block.id.store(id as u64, Ordering::Relaxed);
    block.irq_stack.store(irq_stack.get(), Ordering::Relaxed);
    block
        .fault_stack
        .store(fault_stack.get(), Ordering::Relaxed);
    SECONDARY.stack.store(stack.get(), Ordering::Relaxed);
    SECONDARY
        .block
        .store(VirtAddr::from_ptr(block).get(), Ordering::Relaxed);
    // What starts the core is no store of this kind: a call, or a word past the caches.
    super::barrier::dsb_ish();
}

/// Wakes cores that wait for an event; what was stored before is visible to them.
pub fn send_event() {
    super::barrier::dsb_ish();
    aarch64_cpu::asm::sev();
}

/// Gives the boot core its stacks.
pub fn init_boot_cpu() {
    let end = |guard: VirtAddr| guard.get() + stack::STACK_BYTES;
    CPUS[0]
        .irq_stack
        .store(end(image::irq_stack_guard().end), Ordering::Relaxed);
    CPUS[0]
        .fault_stack
        .store(end(image::fault_stack_guard().end), Ordering::Relaxed);
}

/// This core's number, below [`MAX_CPUS`].
#[inline]
pub fn id() -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits here")]
    let block = core::ptr::with_exposed_provenance::<CpuBlock>(TPIDR_EL1.get() as usize);
    // SAFETY: TPIDR_EL1 holds the address of one of the static blocks from before the first Rust
    // instruction on every core, and user code cannot write it.
    let id = unsafe { &*block }.id.load(Ordering::Relaxed);
    #[expect(clippy::cast_possible_truncation, reason = "below MAX_CPUS")]
    let id = id as usize;
    id
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
    let _masked = super::irq::save_and_mask();
    loop {
        wait_for_event();
    }
}
