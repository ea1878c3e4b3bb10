//! What a caller allows an allocation to do, and which memory it needs: Linux's GFP flags.

bitflags::bitflags! {
    /// Get-free-pages flags. The names and meanings are Linux's (`include/linux/gfp_types.h`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Gfp: u32 {
        /// Memory below the reach of the board's most limited DMA master.
        const DMA = 1 << 0;
        /// Memory below 4 GiB.
        const DMA32 = 1 << 1;
        /// Fill with zeros.
        const ZERO = 1 << 2;
        /// Say nothing in the log when the allocation fails. Without it the 1st, 2nd, 4th, 8th …
        /// failure is told, with what was asked and what was left.
        const NOWARN = 1 << 3;
        /// The caller may wait for memory to be reclaimed; without it, none is.
        const DIRECT_RECLAIM = 1 << 4;
    }
}

impl Gfp {
    /// For the kernel's own use, where waiting for reclaim is allowed: the ordinary choice.
    pub const KERNEL: Self = Self::DIRECT_RECLAIM;
    /// Where waiting is not: in interrupt handlers and under locks.
    pub const ATOMIC: Self = Self::empty();
}
