//! The performance monitors: the cycle counter, and the event counters beside it.
//!
//! Under QEMU's icount the cycle counter counts instructions, exactly; on hardware, cycles. Boot code
//! starts it with its first instructions, so its value is the cost of everything since (on the boot
//! core). Event counters stand still until [`count`] gives them an event; each core has its own.

use super::{
    barrier,
    registers::{
        CommonEvents0, CommonEvents1, CounterEnable, CounterSelection, CycleCounter, DebugFeatures,
        EventCounter0, EventCounter1, EventCounter2, EventCounter3, EventCounter4, EventCounter5,
        ID_AA64DFR0_EL1::PMUVer, MonitorControl, PMCR_EL0, SelectedEventType,
    },
};
use tock_registers::interfaces::{Readable, Writeable};

/// Most event counters that are used; a Cortex-A72 has so many (its TRM, PMCR_EL0.N).
pub const MOST_EVENTS: usize = 6;

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

/// Event counters that there are, [`MOST_EVENTS`] at most.
pub fn event_counters() -> usize {
    if !is_present() {
        return 0;
    }
    let counters = usize::try_from(MonitorControl.read(PMCR_EL0::N));
    MOST_EVENTS.min(counters.unwrap_or(0))
}

/// Whether this core's PMU counts the common event `number`: those to 0x3F say so in PMCEID0_EL0 and
/// PMCEID1_EL0, and others never.
pub fn implements(number: u16) -> bool {
    let implemented = match number {
        _ if !is_present() => 0,
        0x00..0x20 => CommonEvents0.get(),
        0x20..0x40 => CommonEvents1.get(),
        _ => 0,
    };
    // The upper halves are about other events.
    implemented >> (number % 0x20) & 1 == 1
}

/// Lets the first event counters of this core count `events` at EL0 and EL1, one each, from whatever
/// they stood at. Those for which there is no counter are not counted.
pub fn count(events: &[u16]) {
    for (counter, &event) in (0..event_counters() as u64).zip(events) {
        CounterSelection.set(counter);
        // The selection takes effect with a context synchronization event.
        barrier::isb();
        SelectedEventType.set(event.into());
        CounterEnable.set(1 << counter);
    }
    barrier::isb();
}

/// The first `counters` event counters, which must be that many at most as [`event_counters`] says; 0
/// for others. They wrap at 2³². Nothing orders the reads: what is to be counted stands between two
/// context synchronization events.
#[inline]
pub fn events(counters: usize) -> [u32; MOST_EVENTS] {
    let mut values = [0; MOST_EVENTS];
    for (counter, value) in values.iter_mut().enumerate().take(counters) {
        *value = event_counter(counter);
    }
    values
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "counters of 32 bits")]
fn event_counter(counter: usize) -> u32 {
    let value = match counter {
        0 => EventCounter0.get(),
        1 => EventCounter1.get(),
        2 => EventCounter2.get(),
        3 => EventCounter3.get(),
        4 => EventCounter4.get(),
        _ => EventCounter5.get(),
    };
    value as u32
}
