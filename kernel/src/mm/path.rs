//! Notes of the path that an operation takes: which slow steps, and how many levels of blocks.
//!
//! The steps are those of [`wire::path`]. Each context has one word; slow paths write to it, fast paths do
//! not know of it, and what wants to tell operations apart takes it after each one. A note is a load, an
//! `orr` or `add`, and a store. Without the feature `paths` there are no notes at all, and on the host
//! none either.

use wire::path::Path;
#[cfg(all(target_os = "none", feature = "paths"))]
use wire::path::{self, Step};

#[cfg(all(target_os = "none", feature = "paths"))]
mod imp {
    use super::{Path, Step, path};
    use crate::arch::cpu;

    #[inline(always)]
    pub(crate) fn note(step: Step) {
        let word = cpu::local().path();
        word.set(word.get() | step.bit());
    }

    #[inline(always)]
    pub(crate) fn split(levels: u8) {
        let word = cpu::local().path();
        word.set(word.get() + path::split(levels.into()));
    }

    #[inline(always)]
    pub(crate) fn merged(levels: u8) {
        let word = cpu::local().path();
        word.set(word.get() + path::merged(levels.into()));
    }

    /// A list of page frames was drained, and the blocks merged through `levels`.
    #[inline(always)]
    pub(crate) fn drained(levels: u8) {
        let word = cpu::local().path();
        word.set((word.get() | Step::PagesDrain.bit()) + path::merged(levels.into()));
    }

    pub(crate) fn take() -> Path {
        let local = cpu::local();
        let word = local.path();
        let mut steps = word.get();
        word.set(0);
        // Counted anyway, so that a note of it would cost twice.
        if local.take_miss() {
            steps |= Step::PagesRefill.bit();
        }
        Path::new(steps)
    }
}

#[cfg(not(all(target_os = "none", feature = "paths")))]
mod imp {
    use super::Path;
    use wire::path::Step;

    #[inline(always)]
    pub(crate) const fn note(_: Step) {}

    #[inline(always)]
    pub(crate) const fn split(_: u8) {}

    #[inline(always)]
    pub(crate) const fn merged(_: u8) {}

    #[inline(always)]
    pub(crate) const fn drained(_: u8) {}

    pub(crate) const fn take() -> Path {
        Path::HIT
    }
}

/// What this context noted since it was asked last; the fast path if nothing.
pub fn take() -> Path {
    imp::take()
}

pub(crate) use imp::{drained, merged, note, split};
