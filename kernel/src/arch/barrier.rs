//! Barriers.

use aarch64_cpu::asm::barrier;

/// Stores before are visible to the inner shareable domain, walkers included, before stores after.
pub fn dsb_ishst() {
    barrier::dsb(barrier::ISHST);
}

/// Everything before has completed for the inner shareable domain.
pub fn dsb_ish() {
    barrier::dsb(barrier::ISH);
}

/// Everything before has completed for the whole system, devices included.
pub fn dsb_sy() {
    barrier::dsb(barrier::SY);
}

/// Instructions after are fetched anew and see the registers written before.
pub fn isb() {
    barrier::isb(barrier::SY);
}
