//! Translation registers, and the values they start with.
//!
//! Bit positions: Arm ARM D24.2 (MAIR_EL1, SCTLR_EL1, TCR_EL1, TTBRn_EL1) and D8.3 (descriptors).

use super::{barrier, image, tlb};
use crate::mm::addr::{PhysAddr, VirtAddr};
use aarch64_cpu::registers::{ID_AA64MMFR0_EL1, Readable, TTBR0_EL1, Writeable};

/// Memory attributes by index: 0 Normal write-back, 1 Device-nGnRE, 2 Normal non-cacheable, 3
/// Device-nGnRnE.
pub const MAIR: u64 = 0x00_44_04_ff;

/// T0SZ = T1SZ = 16 (48 bits), 4 KiB granules, walks write-back and inner shareable, ASID in TTBR0.
/// IPS and AS are filled in at run time.
pub const TCR: u64 = 0xB510_3510;

/// RES1 bits of an ARMv8.0 SCTLR_EL1; everything off.
pub const SCTLR_EL1_OFF: u64 = 0x30D0_0800;
/// MMU, data and instruction caches, stack alignment checks at EL1 and EL0, writable means
/// execute-never, EL0 may wait for events and interrupts and clean caches.
pub const SCTLR_EL1_ON: u64 = SCTLR_EL1_OFF
    | 1 // M
    | 1 << 2 // C
    | 1 << 3 // SA
    | 1 << 4 // SA0
    | 1 << 12 // I
    | 1 << 15 // UCT
    | 1 << 16 // nTWI
    | 1 << 18 // nTWE
    | 1 << 19 // WXN
    | 1 << 26; // UCI

/// A page, accessed, inner shareable, attribute index 0.
const PAGE: u64 = 0b11 | 0b11 << 8 | 1 << 10;
const READ_ONLY: u64 = 1 << 7;
const PXN: u64 = 1 << 53;
const UXN: u64 = 1 << 54;
/// Descriptor bits of the image's text while booting, and after.
pub const EARLY_TEXT: u64 = PAGE | READ_ONLY | UXN;
/// Descriptor bits of the image's constants.
pub const EARLY_RODATA: u64 = PAGE | READ_ONLY | UXN | PXN;
/// Descriptor bits of the image's variables.
pub const EARLY_DATA: u64 = PAGE | UXN | PXN;

/// The ASID that no address space owns; TTBR0 carries it whenever no user's tables are installed.
pub const RESERVED_ASID: u16 = 0;

/// Installs a user's tables.
///
/// Going from the empty table (with [`RESERVED_ASID`]) to a user's changes table and ASID in one
/// register write, so no walk can pair one with the other (Arm ARM D8.17.3).
pub fn set_ttbr0(root: PhysAddr, asid: u16) {
    TTBR0_EL1.set(u64::from(asid) << 48 | root.get());
    barrier::isb();
}

/// Takes a user's tables away: user addresses fault from here on.
pub fn empty_ttbr0() {
    set_ttbr0(image::empty_root(), RESERVED_ASID);
}

/// Ends the identity map: boot is over on this core.
pub fn drop_identity_map() {
    empty_ttbr0();
    tlb::invalidate_local();
}

/// Bits of an ASID on this core: 8 or 16.
pub fn asid_bits() -> u32 {
    let sixteen = ID_AA64MMFR0_EL1.read(ID_AA64MMFR0_EL1::ASIDBits) == 2;
    if sixteen { 16 } else { 8 }
}

/// Whether a load from `address` at EL1 would succeed, by asking the translation itself.
pub fn is_readable(address: VirtAddr) -> bool {
    let result: u64;
    // Not `nomem`: the tables that it walks are memory, which may just have changed.
    // SAFETY: AT walks the tables and reports in PAR_EL1 (Arm ARM C5.6); it writes no memory.
    unsafe {
        core::arch::asm!(
            "at s1e1r, {}",
            "isb",
            "mrs {}, par_el1",
            in(reg) address.get(),
            out(reg) result,
            options(readonly, nostack, preserves_flags),
        );
    }
    result & 1 == 0
}
