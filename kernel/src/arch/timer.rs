//! The generic timer: time since reset, and the virtual timer's interrupt.

use super::barrier;
use aarch64_cpu::registers::{
    CNTFRQ_EL0, CNTV_CTL_EL0, CNTV_CVAL_EL0, CNTVCT_EL0, Readable, Writeable,
};

/// Ticks of CNTVCT per second, as firmware set CNTFRQ_EL0.
pub fn frequency_hz() -> u64 {
    CNTFRQ_EL0.get()
}

/// Ticks since reset.
pub fn ticks() -> u64 {
    // The counter may be read ahead of what came before (Arm ARM D12.1.2).
    barrier::isb();
    CNTVCT_EL0.get()
}

/// Microseconds since reset.
pub fn micros() -> u64 {
    let scaled = u128::from(ticks()) * 1_000_000 / u128::from(frequency_hz().max(1));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// Asks for an interrupt once CNTVCT reaches `deadline_ticks`.
pub fn arm(deadline_ticks: u64) {
    CNTV_CVAL_EL0.set(deadline_ticks);
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET + CNTV_CTL_EL0::IMASK::CLEAR);
    barrier::isb();
}

/// Whether the deadline was reached; disarms if so. What is left of an interrupt that was already
/// handled (its line falls some time after the timer is disarmed) finds that it was not.
pub fn take() -> bool {
    let control = CNTV_CTL_EL0.extract();
    let due = control.is_set(CNTV_CTL_EL0::ENABLE) && control.is_set(CNTV_CTL_EL0::ISTATUS);
    if due {
        disarm();
    }
    due
}

/// Asks for none.
pub fn disarm() {
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::CLEAR + CNTV_CTL_EL0::IMASK::SET);
    barrier::isb();
}
