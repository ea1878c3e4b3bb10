//! How objects of one size lie in a slab, and which index an address has in it.
//!
//! A slab is a buddy block, so it starts at a multiple of its size, and holds objects from its first
//! byte on: no header, so that powers of two are naturally aligned.
//!
//! # Cost
//!
//! An index is one multiplication by a reciprocal, computed when the cache is made.

use crate::mm::addr::{Order, VirtAddr};
use crate::mm::frame::{self, CacheId};
use crate::mm::magazine::CAPACITY;

/// Largest object of a cache, in bytes; larger ones are the buddy allocator's business.
pub const LARGEST_OBJECT_BYTES: usize = 8192;
/// Strictest alignment of a cache, in bytes.
pub const LARGEST_ALIGN_BYTES: usize = 4096;
/// Least bytes of an object: while it is free it holds a word.
const SMALLEST_OBJECT_BYTES: usize = 8;
/// Largest slab.
const LARGEST_ORDER: u8 = 3;
/// Most objects that move between a magazine and the depot at once: as many as 300 instructions move.
pub(super) const LARGEST_DEPOT_BATCH: u16 = 12;
/// A slab may waste one part in this many at its end.
const WASTE_PARTS: usize = 8;

/// The layout of a cache's slabs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes from one object to the next: the size asked for, rounded up to the alignment.
    pub object_bytes: u16,
    /// Size of a slab.
    pub order: Order,
    /// Objects of a slab.
    pub capacity: u16,
    /// Where in an object the word is that the allocator uses while the object is free: 0, or past what
    /// the owner uses, where that must keep its content.
    pub mark_offset: u16,
    /// 2³² over the object's bytes, rounded up.
    pub reciprocal: u32,
    /// Most objects that a magazine keeps.
    pub limit: u16,
    /// How many objects move between a magazine and the slabs at once.
    pub batch: u16,
    /// How many objects move between a magazine and the depot at once; 0 if there is no depot.
    pub depot_batch: u16,
}

impl Geometry {
    /// The layout for objects of `bytes`, at least 1, aligned to `align_bytes`, a power of two.
    /// `None` if either is too large.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "at most 8,192 objects or bytes"
    )]
    pub const fn new(bytes: usize, align_bytes: usize) -> Option<Self> {
        if bytes == 0 || bytes > LARGEST_OBJECT_BYTES || align_bytes > LARGEST_ALIGN_BYTES {
            return None;
        }
        let align = if align_bytes < 8 { 8 } else { align_bytes };
        let rounded = bytes.next_multiple_of(align);
        let object_bytes = if rounded < SMALLEST_OBJECT_BYTES {
            SMALLEST_OBJECT_BYTES
        } else {
            rounded
        };
        let order = smallest_order(object_bytes);
        Some(Self {
            object_bytes: object_bytes as u16,
            order,
            capacity: (order.bytes() as usize / object_bytes) as u16,
            mark_offset: 0,
            reciprocal: (1_u64 << 32).div_ceil(object_bytes as u64) as u32,
            limit: limit(object_bytes),
            batch: batch(object_bytes),
            depot_batch: depot_batch(object_bytes),
        })
    }

    /// The layout for objects that keep what their constructor made of them while they are free: the
    /// allocator's word lies behind them. `None` as for [`new`](Self::new).
    #[expect(clippy::cast_possible_truncation, reason = "at most 8,192 bytes")]
    pub const fn constructed(bytes: usize, align_bytes: usize) -> Option<Self> {
        if bytes == 0 || bytes > LARGEST_OBJECT_BYTES - 8 {
            return None;
        }
        let used = bytes.next_multiple_of(8);
        match Self::new(used + 8, align_bytes) {
            Some(geometry) => Some(Self {
                mark_offset: used as u16,
                ..geometry
            }),
            None => None,
        }
    }

    /// Bytes of an object that its owner may use.
    pub const fn usable_bytes(&self) -> u16 {
        match self.mark_offset {
            0 => self.object_bytes,
            used => used,
        }
    }

    /// Bytes of a slab, less one: the bits of an address that tell its place in the slab.
    #[expect(clippy::cast_possible_truncation, reason = "at most 32 KiB")]
    pub const fn mask(&self) -> u16 {
        (self.order.bytes() - 1) as u16
    }
}

/// The smallest order whose slabs waste little on objects of that size.
#[expect(clippy::cast_possible_truncation, reason = "at most 32 KiB")]
const fn smallest_order(object_bytes: usize) -> Order {
    let mut order = Order::ZERO;
    while order.get() < LARGEST_ORDER {
        let slab_bytes = order.bytes() as usize;
        if slab_bytes % object_bytes <= slab_bytes / WASTE_PARTS && slab_bytes >= object_bytes {
            return order;
        }
        match order.larger() {
            Some(larger) => order = larger,
            None => break,
        }
    }
    order
}

/// Most objects that a magazine keeps. Many of small ones, for what they hold is little. Fewer of those
/// of which a slab has few: an object that is listed keeps its slab from ending. More where a slab is one
/// object.
const fn limit(object_bytes: usize) -> u16 {
    match object_bytes {
        0..=256 | 4096 => CAPACITY,
        257..=512 => 16,
        513..=1024 => 13,
        1025..=4095 => 8,
        _ => 7,
    }
}

/// How many objects move between a magazine and the slabs at once: as many as some 300 instructions move.
const fn batch(object_bytes: usize) -> u16 {
    match object_bytes {
        0..=256 => 6,
        257..=512 => 4,
        513..=4095 => 3,
        _ => 1,
    }
}

/// How many objects move between a magazine and the depot at once. What it keeps keeps slabs from ending,
/// so larger objects have none.
const fn depot_batch(object_bytes: usize) -> u16 {
    match object_bytes {
        0..=128 => LARGEST_DEPOT_BATCH,
        _ => 0,
    }
}

/// What tells an object of one cache from other addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Bytes of a slab, less one.
    pub(super) mask: u16,
    /// See [`Geometry::reciprocal`].
    pub(super) reciprocal: u32,
    /// The low half of the entry of a slab's first frame.
    pub(super) tag: u32,
}

impl Shape {
    pub(super) const fn new(cache: CacheId, geometry: &Geometry) -> Self {
        // Only the cache itself knows where the word of such an object is.
        let magazine = match geometry.mark_offset {
            0 => cache.0,
            _ => 0,
        };
        Self {
            mask: geometry.mask(),
            reciprocal: geometry.reciprocal,
            tag: frame::slab_tag(cache, geometry.order, magazine),
        }
    }

    /// Where the slab would start that `address` is in.
    #[inline]
    pub(super) fn slab_of(self, address: VirtAddr) -> VirtAddr {
        VirtAddr::new(address.get() & !u64::from(self.mask))
    }

    /// The index of the object that starts at `address` in its slab, or `None` between objects.
    #[inline]
    pub(super) fn index_of(self, address: VirtAddr) -> Option<u16> {
        let offset = address.get() & u64::from(self.mask);
        // Quotient in the upper half, remainder scaled to 2³² in the lower: a multiple leaves less
        // than one reciprocal there (D. Lemire et al., "Faster remainder by direct computation",
        // 2019). Exact for offsets below 2¹⁷ and sizes up to 2¹³: rounding the reciprocal up adds
        // less than 2⁻¹⁷ to the quotient, and one that is not whole misses the next by 2⁻¹³.
        let product = offset * u64::from(self.reciprocal);
        #[expect(clippy::cast_possible_truncation, reason = "each half is meant")]
        let (index, remainder) = ((product >> 32) as u16, product as u32);
        (remainder < self.reciprocal).then_some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::frame::NO_OBJECT;

    #[test]
    fn every_size_has_a_slab_that_wastes_little_and_counts_in_ten_bits() {
        for bytes in 1..=LARGEST_OBJECT_BYTES {
            let geometry = Geometry::new(bytes, 8).unwrap();
            let slab = usize::try_from(geometry.order.bytes()).unwrap();
            let used = usize::from(geometry.capacity) * usize::from(geometry.object_bytes);
            assert!(usize::from(geometry.object_bytes) >= bytes);
            assert!(
                geometry.capacity >= 1 && geometry.capacity < NO_OBJECT,
                "{bytes}"
            );
            assert!(slab - used <= slab / 4, "{bytes}: {geometry:?}");
            assert!(geometry.batch >= 1 && geometry.batch <= geometry.limit);
            assert!(geometry.depot_batch < geometry.limit);
        }
        assert_eq!(Geometry::new(0, 8), None);
        assert_eq!(Geometry::new(LARGEST_OBJECT_BYTES + 1, 8), None);
        assert_eq!(Geometry::new(8, 2 * LARGEST_ALIGN_BYTES), None);
    }

    #[test]
    fn objects_are_aligned_as_asked() {
        for align in (0..=12).map(|shift| 1_usize << shift) {
            for bytes in [1, 16, 24, 100, 4096, 8192] {
                let geometry = Geometry::new(bytes, align).unwrap();
                assert_eq!(usize::from(geometry.object_bytes) % align, 0);
            }
        }
    }

    #[test]
    fn every_offset_of_every_slab_has_the_index_that_division_gives() {
        for bytes in (8..=LARGEST_OBJECT_BYTES).step_by(8) {
            let geometry = Geometry::new(bytes, 8).unwrap();
            let shape = Shape::new(CacheId(0), &geometry);
            for offset in 0..=geometry.mask() {
                let size = geometry.object_bytes;
                let expected = (offset % size == 0).then_some(offset / size);
                let address = VirtAddr::new(0xffff_0000_4000_0000 + u64::from(offset));
                assert_eq!(shape.index_of(address), expected);
                assert_eq!(shape.slab_of(address).get(), 0xffff_0000_4000_0000);
            }
        }
    }
}
