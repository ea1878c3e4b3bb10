//! Makes a chosen frame allocation fail, so that tests can walk every path of running out.
//!
//! On the target it is empty and always says no, and so costs nothing there.

/// Which request fails next.
#[derive(Debug)]
pub struct FaultInjection {
    #[cfg(not(target_os = "none"))]
    left: core::sync::atomic::AtomicU64,
}

#[cfg(not(target_os = "none"))]
impl FaultInjection {
    pub(super) const fn new() -> Self {
        Self {
            left: core::sync::atomic::AtomicU64::new(u64::MAX),
        }
    }

    /// Lets `requests` succeed and then fails all until [`stop`](Self::stop).
    pub fn fail_after(&self, requests: u64) {
        self.left
            .store(requests, core::sync::atomic::Ordering::Relaxed);
    }

    /// Fails no more requests.
    pub fn stop(&self) {
        self.fail_after(u64::MAX);
    }

    pub(super) fn strikes(&self) -> bool {
        use core::sync::atomic::Ordering::Relaxed;
        let left = self.left.load(Relaxed);
        if left == u64::MAX {
            return false;
        }
        self.left.store(left.saturating_sub(1), Relaxed);
        left == 0
    }
}

#[cfg(target_os = "none")]
impl FaultInjection {
    pub(super) const fn new() -> Self {
        Self {}
    }

    #[expect(clippy::unused_self, reason = "the host's twin uses it")]
    pub(super) const fn strikes(&self) -> bool {
        false
    }
}
