//! The linked image: boot code, and the sections' bounds as the linker placed them.

use super::{cpu, mmu, stack};
use crate::mm::addr::{PhysAddr, VirtAddr};
use core::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

core::arch::global_asm!(
    include_str!("boot.s"),
    SCTLR_EL1_OFF = const mmu::SCTLR_EL1_OFF,
    SCTLR_EL1_ON = const mmu::SCTLR_EL1_ON,
    MAIR = const mmu::MAIR,
    TCR = const mmu::TCR,
    TEXT = const mmu::EARLY_TEXT,
    RODATA = const mmu::EARLY_RODATA,
    DATA = const mmu::EARLY_DATA,
    STACK_BYTES = const stack::STACK_BYTES,
    BOOT_CPU = sym cpu::CPUS,
    ENTRY = sym crate::boot::rust_entry,
    SECONDARY = sym cpu::SECONDARY,
    SECONDARY_ENTRY = sym crate::smp::secondary_entry,
);

macro_rules! symbols {
    ($($(#[$doc:meta])* $function:ident: $start:ident .. $end:ident;)*) => {
        unsafe extern "C" {
            $(static $start: u8; static $end: u8;)*
        }
        $($(#[$doc])*
        pub fn $function() -> Range<VirtAddr> {
            VirtAddr::from_ptr(&raw const $start)..VirtAddr::from_ptr(&raw const $end)
        })*
    };
}

symbols! {
    /// Everything, the stacks included.
    whole: __image_start..__image_end;
    /// Code.
    text: __text_start..__text_end;
    /// Constants and the user programs.
    rodata: __rodata_start..__rodata_end;
    /// Variables, boot tables and `.bss`.
    data: __data_start..__data_end;
    /// Frames for the page tables that boot makes.
    table_pool: __table_pool_start..__table_pool_end;
    /// Exception fix-ups: pairs of addresses.
    exception_table: __ex_table_start..__ex_table_end;
    /// The guard below the boot core's stack.
    boot_stack_guard: __boot_stack_guard..__boot_stack_start;
    /// The guard below its interrupt stack.
    irq_stack_guard: __irq_stack_guard..__irq_stack_start;
    /// The guard below its fault stack.
    fault_stack_guard: __fault_stack_guard..__fault_stack_start;
}

unsafe extern "C" {
    static secondary_start: u8;
    static __kernel_root: u8;
    static __empty_root: u8;
}

static LOADED_AT: AtomicU64 = AtomicU64::new(0);

/// Notes where the image was loaded; once, first of all.
pub fn set_load_address(base: PhysAddr) {
    LOADED_AT.store(base.get(), Ordering::Relaxed);
}

/// The physical address of `address`, inside the image.
pub fn to_phys(address: VirtAddr) -> PhysAddr {
    let offset = address.get() - whole().start.get();
    PhysAddr::new(LOADED_AT.load(Ordering::Relaxed) + offset)
}

/// Where the image is in memory, the stacks included and the payload behind it not.
pub fn loaded() -> Range<PhysAddr> {
    let whole = whole();
    to_phys(whole.start)..to_phys(whole.end)
}

/// The end of image and payload in memory. The Image header's `image_size` counts both.
pub fn payload_end() -> PhysAddr {
    let header = whole().start.offset(16).as_mut_ptr::<u64>();
    // SAFETY: the header is the first 64 bytes of the text; its third word is `image_size`, which the
    // host may have changed since it was linked, so the read must not be folded.
    let bytes = unsafe { header.read_volatile() };
    let image = loaded();
    image.start.offset(bytes).max(image.end)
}

/// The kernel's root table (TTBR1).
pub fn kernel_root() -> PhysAddr {
    to_phys(VirtAddr::from_ptr(&raw const __kernel_root))
}

/// A root table without entries, for TTBR0 while no user's is in use.
pub fn empty_root() -> PhysAddr {
    to_phys(VirtAddr::from_ptr(&raw const __empty_root))
}

/// Where another core starts, MMU off.
pub fn secondary_entry() -> PhysAddr {
    to_phys(VirtAddr::from_ptr(&raw const secondary_start))
}
