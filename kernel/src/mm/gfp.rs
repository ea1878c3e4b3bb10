//! What a caller allows an allocation to do, and which memory it needs: Linux's GFP flags.
//!
//! The four lowest bits say which memory: they are, as a number, the [group](Gfp::group) of lists that
//! a core serves the request from.

bitflags::bitflags! {
    /// Get-free-pages flags. The names and meanings are Linux's (`include/linux/gfp_types.h`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Gfp: u32 {
        /// Memory below the reach of the board's most limited DMA master.
        const DMA = 1 << 0;
        /// Memory below 4 GiB.
        const DMA32 = 1 << 1;
        /// The frames can be moved: their owner registered how, or will give them back when asked.
        const MOVABLE = 1 << 2;
        /// The frames come back under pressure: whoever holds them registered a shrinker.
        const RECLAIMABLE = 1 << 3;
        /// Fill with zeros.
        const ZERO = 1 << 4;
        /// The request is important enough to dip into half of the reserve that the watermark `min`
        /// keeps, or into three quarters where the caller cannot wait.
        const HIGH = 1 << 5;
        /// The caller may wait for memory to be reclaimed; without it, none is.
        const DIRECT_RECLAIM = 1 << 6;
        /// Give up after one light attempt to reclaim: caches are asked, frames are not moved. The
        /// caller has another way to go on.
        const NORETRY = 1 << 7;
        /// Try hard: reclaim and compact again as long as that helps, and fail only then.
        const RETRY_MAYFAIL = 1 << 8;
        /// Never fail: reclaim is retried, then the whole reserve is open, and where nothing can come any
        /// more the kernel panics with an account of its memory. The caller has no way to go on without.
        /// What no zone could ever give is an error all the same, at once.
        const NOFAIL = 1 << 9;
        /// Say nothing in the log when the allocation fails. Without it the 1st, 2nd, 4th, 8th …
        /// failure is told, with what was asked and what was left.
        const NOWARN = 1 << 10;
    }
}

impl Gfp {
    /// For the kernel's own use, where waiting for reclaim is allowed: the ordinary choice.
    pub const KERNEL: Self = Self::DIRECT_RECLAIM;
    /// Where waiting is not allowed (in interrupt handlers and under locks) and failing is dear: may
    /// use the reserve.
    pub const ATOMIC: Self = Self::HIGH;
    /// Where waiting is not allowed and failing is cheap: the reserve is left alone, nothing is
    /// reclaimed, nothing is logged.
    pub const NOWAIT: Self = Self::NOWARN;
    /// The flags that choose memory.
    pub const MEMORY: Self = Self::DMA
        .union(Self::DMA32)
        .union(Self::MOVABLE)
        .union(Self::RECLAIMABLE);

    /// The bits of [`MEMORY`](Self::MEMORY) as a number below 16.
    #[inline]
    pub const fn group(self) -> usize {
        (self.bits() & Self::MEMORY.bits()) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_chosen_by_the_four_lowest_bits() {
        assert_eq!(Gfp::MEMORY.bits(), 0xf);
        assert_eq!((Gfp::KERNEL | Gfp::ZERO).group(), 0);
        assert_eq!((Gfp::ATOMIC | Gfp::DMA | Gfp::MOVABLE).group(), 5);
    }

    #[test]
    fn only_what_may_wait_reclaims() {
        assert!(Gfp::KERNEL.contains(Gfp::DIRECT_RECLAIM));
        for gfp in [Gfp::ATOMIC, Gfp::NOWAIT] {
            assert!(!gfp.contains(Gfp::DIRECT_RECLAIM));
        }
        assert!(Gfp::ATOMIC.contains(Gfp::HIGH) && !Gfp::NOWAIT.contains(Gfp::HIGH));
    }
}
