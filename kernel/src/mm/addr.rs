//! Addresses, page frames and orders as types.
//!
//! Outside `arch` and this file an address is never a `usize`: physical, virtual and bus addresses
//! cannot be mixed up, and each is checked once, when it is made.

use core::{fmt, ops::Range};

/// Bytes of a page and of a page frame (4 KiB granule).
pub const PAGE_BYTES: u64 = 1 << PAGE_SHIFT;
/// Bits of an address inside a page.
pub const PAGE_SHIFT: u32 = 12;

/// A physical address, as the CPU puts it on the bus.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct PhysAddr(u64);

impl PhysAddr {
    /// The physical address `raw`. AArch64 has at most 52 bits of them (Arm ARM D8.1.5).
    pub const fn new(raw: u64) -> Self {
        debug_assert!(raw <= 1 << 52);
        Self(raw)
    }
    /// The address as a number.
    pub const fn get(self) -> u64 {
        self.0
    }
    /// The frame that holds it. Panics past 16 TiB, more than any supported machine addresses.
    pub const fn frame(self) -> Pfn {
        let frame = self.0 >> PAGE_SHIFT;
        assert!(frame <= u32::MAX as u64, "physical address past 16 TiB");
        #[expect(clippy::cast_possible_truncation, reason = "checked in the line above")]
        Pfn(frame as u32)
    }
    /// This address moved up by `bytes`.
    pub const fn offset(self, bytes: u64) -> Self {
        Self::new(self.0 + bytes)
    }
    /// Whether it is a multiple of `align_bytes`, a power of two.
    pub const fn is_aligned_to(self, align_bytes: u64) -> bool {
        self.0 & (align_bytes - 1) == 0
    }
}

/// A virtual address in either half.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct VirtAddr(u64);

impl VirtAddr {
    /// The virtual address `raw`; what is not canonical simply faults when used.
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }
    /// The address of what `pointer` points at.
    pub fn from_ptr<T: ?Sized>(pointer: *const T) -> Self {
        Self(pointer.cast::<u8>().addr() as u64)
    }
    /// The address as a number.
    pub const fn get(self) -> u64 {
        self.0
    }
    /// The address as a pointer with exposed provenance: to memory that no Rust allocation owns.
    pub fn as_mut_ptr<T>(self) -> *mut T {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "usize has 64 bits on every target"
        )]
        core::ptr::with_exposed_provenance_mut(self.0 as usize)
    }
    /// This address moved up by `bytes`.
    pub const fn offset(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add(bytes))
    }
    /// Whether it is a multiple of `align_bytes`, a power of two.
    pub const fn is_aligned_to(self, align_bytes: u64) -> bool {
        self.0 & (align_bytes - 1) == 0
    }
}

/// An address as a device sees memory, after its bus's offset.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct DmaAddr(u64);

impl DmaAddr {
    /// The bus address `raw`.
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }
    /// The address as a number, as it goes into a device's registers.
    pub const fn get(self) -> u64 {
        self.0
    }
}

macro_rules! as_hexadecimal {
    ($($address:ty),*) => {$(
        impl fmt::Debug for $address {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
        impl fmt::LowerHex for $address {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }
    )*};
}
as_hexadecimal!(PhysAddr, VirtAddr, DmaAddr, Pfn);

/// Number of a 4 KiB physical page frame: 32 bits reach 16 TiB.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Pfn(u32);

impl Pfn {
    /// The frame numbered `raw`.
    pub const fn new(raw: u32) -> Self {
        Self(raw)
    }
    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
    /// Its first byte.
    pub const fn address(self) -> PhysAddr {
        PhysAddr((self.0 as u64) << PAGE_SHIFT)
    }
    /// The frame `frames` further up.
    pub const fn offset(self, frames: u32) -> Self {
        Self(self.0 + frames)
    }
    /// Whether it can be the first of a block of `order`.
    pub const fn is_aligned_to(self, order: Order) -> bool {
        self.0 & (order.frames() - 1) == 0
    }
}

/// The whole frames inside `bytes`: partial ones at the edges are left out.
pub fn frames_within(bytes: &Range<PhysAddr>) -> Range<Pfn> {
    let start = PhysAddr::new(bytes.start.get().next_multiple_of(PAGE_BYTES)).frame();
    let end = bytes.end.frame();
    start..end.max(start)
}

/// Size of a buddy block: one of order *n* spans 2ⁿ frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Order(u8);

impl Order {
    /// One frame.
    pub const ZERO: Self = Self(0);
    /// Largest block the buddy allocator hands out: 2¹⁰ frames, 4 MiB.
    pub const MAX: Self = Self(10);
    /// Number of orders.
    pub const COUNT: usize = 11;

    /// The order `raw`, or `None` past [`Order::MAX`].
    pub const fn new(raw: u8) -> Option<Self> {
        if raw <= Self::MAX.0 {
            Some(Self(raw))
        } else {
            None
        }
    }
    /// The smallest order whose blocks hold `bytes`, or `None` past 4 MiB.
    pub const fn holding(bytes: u64) -> Option<Self> {
        if bytes > PAGE_BYTES << Self::MAX.0 {
            return None;
        }
        let frames = bytes.div_ceil(PAGE_BYTES);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "at most 10, by the line above"
        )]
        Some(Self(if frames <= 1 {
            0
        } else {
            (frames - 1).ilog2() as u8 + 1
        }))
    }
    /// The largest block that can start at `pfn` and has at most `frames` frames, one at least.
    pub const fn largest_at(pfn: Pfn, frames: u32) -> Self {
        assert!(frames > 0);
        let (aligned, fits) = (pfn.get().trailing_zeros(), frames.ilog2());
        let raw = if aligned < fits { aligned } else { fits };
        #[expect(clippy::cast_possible_truncation, reason = "at most 31")]
        match Self::new(raw as u8) {
            Some(order) => order,
            None => Self::MAX,
        }
    }
    /// The lowest order whose bit is set in `orders`, if it is one.
    pub const fn lowest_of(orders: u32) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, reason = "at most 32")]
        Self::new(orders.trailing_zeros() as u8)
    }
    /// The highest order whose bit is set in `orders`, below bit 11, if one is.
    pub const fn highest_of(orders: u32) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, reason = "at most 31")]
        match orders.checked_ilog2() {
            Some(order) => Self::new(order as u8),
            None => None,
        }
    }
    /// The next larger one.
    pub const fn larger(self) -> Option<Self> {
        Self::new(self.0 + 1)
    }
    /// The next smaller one.
    pub const fn smaller(self) -> Option<Self> {
        match self.0 {
            0 => None,
            raw => Some(Self(raw - 1)),
        }
    }
    /// The order as a number, 0 to 10.
    pub const fn get(self) -> u8 {
        self.0
    }
    /// The order as an index into a list of [`Order::COUNT`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
    /// Frames in a block of this order.
    pub const fn frames(self) -> u32 {
        1 << self.0
    }
    /// Bytes in a block of this order.
    pub const fn bytes(self) -> u64 {
        PAGE_BYTES << self.0
    }
    /// All orders, smallest first.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        (0..=Self::MAX.0).map(Self)
    }
}

/// Where all of physical memory is mapped, linearly, for the kernel: virtual = physical + a constant.
///
/// On the target the constant is fixed ([`crate::vm::layout::LINEAR`]). On the host each test brings
/// its own arena and a map onto it, so that allocators that touch memory can be tested side by side.
#[derive(Clone, Copy, Debug)]
pub struct LinearMap {
    #[cfg(not(target_os = "none"))]
    base: u64,
}

impl LinearMap {
    /// The kernel's linear map.
    #[cfg(target_os = "none")]
    pub const fn kernel() -> Self {
        Self {}
    }

    /// A map that puts physical address 0 at `base`; wraps, so any arena can hold any address.
    #[cfg(not(target_os = "none"))]
    pub const fn at(base: VirtAddr) -> Self {
        Self { base: base.get() }
    }

    #[cfg(target_os = "none")]
    const fn base(self) -> u64 {
        crate::vm::layout::LINEAR.start.get()
    }
    #[cfg(not(target_os = "none"))]
    const fn base(self) -> u64 {
        self.base
    }

    /// Where `address` is mapped.
    pub const fn to_virt(self, address: PhysAddr) -> VirtAddr {
        VirtAddr::new(self.base().wrapping_add(address.get()))
    }

    /// The physical address that `address`, inside the map, stands for.
    pub const fn to_phys(self, address: VirtAddr) -> PhysAddr {
        PhysAddr(address.get().wrapping_sub(self.base()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_holds_the_bytes_it_was_asked_to_hold() {
        for (bytes, order) in [
            (1, 0),
            (4096, 0),
            (4097, 1),
            (8192, 1),
            (8193, 2),
            (4 << 20, 10),
        ] {
            assert_eq!(Order::holding(bytes), Order::new(order), "{bytes}");
        }
        assert_eq!(Order::holding((4 << 20) + 1), None);
        assert_eq!(Order::new(11), None);
    }

    #[test]
    fn partial_frames_are_left_out() {
        let frames = |range: Range<u64>| {
            frames_within(&(PhysAddr::new(range.start)..PhysAddr::new(range.end)))
        };
        assert_eq!(frames(0x1000..0x3000), Pfn::new(1)..Pfn::new(3));
        assert_eq!(frames(0x1001..0x3fff), Pfn::new(2)..Pfn::new(3));
        assert!(frames(0x1001..0x1fff).is_empty());
    }
}
