//! Makes chosen frame allocations fail, so that tests can walk every path of running out.
//!
//! In images it is there with the feature `fault-injection`; in all others it is empty and always says
//! no, and so costs nothing.

/// Which requests fail.
#[derive(Debug)]
pub struct FaultInjection {
    #[cfg(any(not(target_os = "none"), feature = "fault-injection"))]
    chosen: imp::Chosen,
}

#[cfg(any(not(target_os = "none"), feature = "fault-injection"))]
mod imp {
    use super::FaultInjection;
    use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

    /// Requests until one fails, whether those after it do not, and how many failed.
    #[derive(Debug)]
    pub(super) struct Chosen {
        left: AtomicU64,
        once: AtomicBool,
        struck: AtomicU64,
    }

    /// What is left when none fails.
    const NEVER: u64 = u64::MAX;

    impl FaultInjection {
        pub(in crate::mm) const fn new() -> Self {
            Self {
                chosen: Chosen {
                    left: AtomicU64::new(NEVER),
                    once: AtomicBool::new(false),
                    struck: AtomicU64::new(0),
                },
            }
        }

        /// Lets `requests` succeed and then fails all until [`stop`](Self::stop).
        pub fn fail_after(&self, requests: u64) {
            self.choose(requests, false);
        }

        /// Lets `requests` succeed, fails one, and lets all others succeed.
        pub fn fail_one_after(&self, requests: u64) {
            self.choose(requests, true);
        }

        /// Fails no more requests; returns how many it has failed.
        pub fn stop(&self) -> u64 {
            let struck = self.chosen.struck.load(Relaxed);
            self.choose(NEVER, false);
            struck
        }

        fn choose(&self, requests: u64, once: bool) {
            self.chosen.left.store(requests, Relaxed);
            self.chosen.once.store(once, Relaxed);
            self.chosen.struck.store(0, Relaxed);
        }

        pub(in crate::mm) fn strikes(&self) -> bool {
            let Chosen { left, once, struck } = &self.chosen;
            match left.load(Relaxed) {
                NEVER => return false,
                0 => {}
                more => {
                    left.store(more - 1, Relaxed);
                    return false;
                }
            }
            if once.load(Relaxed) {
                left.store(NEVER, Relaxed);
            }
            struck.fetch_add(1, Relaxed);
            true
        }
    }
}

#[cfg(all(target_os = "none", not(feature = "fault-injection")))]
impl FaultInjection {
    pub(super) const fn new() -> Self {
        Self {}
    }

    #[expect(clippy::unused_self, reason = "the others' twin uses it")]
    pub(super) const fn strikes(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
