//! The cycle counter. Under QEMU's icount it counts instructions, exactly; on hardware, cycles.
//!
//! Boot code starts it with its first instructions, so its value is the cost of everything since
//! (on the boot core).

use super::{
    barrier,
    registers::{CycleCounter, DebugFeatures, ID_AA64DFR0_EL1::PMUVer},
};
use tock_registers::interfaces::Readable;

/// Whether there is an architected PMU.
pub fn is_present() -> bool {
    let version = DebugFeatures.extract();
    !version.matches_all(PMUVer::None) && !version.matches_all(PMUVer::ImplementationDefined)
}

/// PMCCNTR_EL0, or 0 without a PMU.
pub fn cycles() -> u64 {
    if !is_present() {
        return 0;
    }
    // The counter may be read ahead of what came before (Arm ARM D13.2).
    barrier::isb();
    CycleCounter.get()
}
