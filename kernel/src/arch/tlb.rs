//! TLB maintenance. The caller orders it: `DSB ISHST` before, `DSB ISH` and `ISB` after (Arm ARM
//! D8.16.5).

use core::arch::asm;

/// Forgets one page, in every address space, on every core; `va` is any address in it.
pub fn invalidate_page(va: u64) {
    // The operand holds bits 55 to 12 of the address (Arm ARM C5.5, TLBI VAAE1IS).
    let operand = (va >> 12) & 0x0fff_ffff_ffff;
    // SAFETY: forgetting a translation loses nothing: it is walked anew.
    unsafe { asm!("tlbi vaae1is, {}", in(reg) operand, options(nostack, preserves_flags)) }
}

/// Forgets all of the address space `asid`, on every core.
pub fn invalidate_asid(asid: u16) {
    let operand = u64::from(asid) << 48;
    // SAFETY: as above.
    unsafe { asm!("tlbi aside1is, {}", in(reg) operand, options(nostack, preserves_flags)) }
}

/// Forgets everything, on every core.
pub fn invalidate_all() {
    // SAFETY: as above.
    unsafe { asm!("tlbi vmalle1is", options(nostack, preserves_flags)) }
}

/// Forgets everything on this core, and waits until that is done.
pub fn invalidate_local() {
    // SAFETY: as above; the barriers order it.
    unsafe {
        asm!(
            "dsb nshst",
            "tlbi vmalle1",
            "dsb nsh",
            "isb",
            options(nostack, preserves_flags),
        );
    }
}
