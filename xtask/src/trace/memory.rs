//! How much memory a machine must have to replay given traces.
//!
//! An estimate from above, made before anything boots: every object is rounded up as coarsely as any
//! allocator here does, a quarter is added for what fragmentation keeps, and the image, what is
//! appended to it and the kernel's own needs come on top. Too little would end a replay in the middle.

use crate::machine::Size;

const PAGE: u64 = 4096;
/// Objects above this come from whole page frames.
const SLAB_LARGEST: u64 = 8192;
/// Objects above this, or aligned to more, are mapped from single page frames.
const BLOCK_LARGEST: u64 = 4 << 20;
/// Bytes of one entry in the image's table of slots, from above.
const ENTRY_BYTES: u64 = 32;
/// What the kernel takes for itself and other rows hold: pools, tables, stacks.
const KERNEL_BYTES: u64 = 64 << 20;
/// One part in so many of memory goes to the frame table and the page tables.
const METADATA_PART: u64 = 64;
/// Sizes are given in multiples of this.
const STEP: u64 = 64 << 20;

/// What a trace needs of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    live_bytes: u64,
    peak_bytes: u64,
    table_bytes: u64,
    payload_bytes: u64,
}

impl Footprint {
    /// An object is allocated.
    pub fn alloc(&mut self, size: u32, align_log2: u8) {
        self.add(rounded(size, align_log2));
    }

    /// An object is freed.
    pub fn free(&mut self, size: u32, align_log2: u8) {
        self.live_bytes -= rounded(size, align_log2);
    }

    /// A block of page frames is allocated.
    pub fn alloc_pages(&mut self, order: u32) {
        self.add(PAGE << order);
    }

    /// A block of page frames is freed.
    pub fn free_pages(&mut self, order: u32) {
        self.live_bytes -= PAGE << order;
    }

    /// The trace uses `slots` slots and takes `bytes` in the payload.
    pub fn set_table(&mut self, slots: u32, bytes: usize) {
        self.table_bytes = u64::from(slots) * ENTRY_BYTES;
        self.payload_bytes = bytes as u64;
    }

    fn add(&mut self, bytes: u64) {
        self.live_bytes += bytes;
        self.peak_bytes = self.peak_bytes.max(self.live_bytes);
    }
}

/// The most that an object may take.
fn rounded(size: u32, align_log2: u8) -> u64 {
    let (size, align) = (u64::from(size), 1 << align_log2);
    if size > BLOCK_LARGEST || align > BLOCK_LARGEST {
        let slack = if align > PAGE { align } else { 0 };
        (size + slack).next_multiple_of(PAGE) + PAGE
    } else if size > SLAB_LARGEST || align > 8 {
        size.max(align).next_power_of_two()
    } else {
        // Four size classes a doubling: a fifth of the class is waste at most, and 8 bytes the least.
        (size + size / 4).next_multiple_of(8)
    }
}

/// The memory that a machine needs for an image of `image_bytes` and all of `footprints`, one replayed
/// after the other.
pub fn needed<'a>(image_bytes: u64, footprints: impl Iterator<Item = &'a Footprint>) -> Size {
    let (mut payload, mut most) = (0, 0);
    for footprint in footprints {
        payload += footprint.payload_bytes;
        most = most.max(footprint.peak_bytes + footprint.peak_bytes / 4 + footprint.table_bytes);
    }
    let bytes = image_bytes + payload + most + KERNEL_BYTES;
    Size((bytes + bytes / METADATA_PART).next_multiple_of(STEP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_counts_and_not_the_sum() {
        let mut footprint = Footprint::default();
        for _ in 0..1000 {
            footprint.alloc(1 << 20, 0);
            footprint.free(1 << 20, 0);
        }
        assert_eq!(footprint.peak_bytes, 1 << 20);
        footprint.alloc_pages(10);
        footprint.free_pages(10);
        assert_eq!((footprint.peak_bytes, footprint.live_bytes), (4 << 20, 0));
    }

    #[test]
    fn rounding_covers_what_the_allocators_do() {
        for (size, align_log2, at_least) in [
            (1, 0, 8),
            (33, 0, 40),
            (8192, 0, 8192),
            (8193, 0, 16384),
            (100, 12, 4096),
            (2_048_008, 0, 2 << 20),
            ((4 << 20) + 1, 0, (4 << 20) + PAGE),
            (5 << 20, 21, (7 << 20) + PAGE),
        ] {
            assert!(rounded(size, align_log2) >= at_least, "{size} {align_log2}");
        }
    }

    #[test]
    fn what_is_needed_grows_with_the_trace_and_with_its_bytes() {
        assert_eq!(needed(1 << 20, [].into_iter()), Size(128 << 20));
        let mut footprint = Footprint::default();
        footprint.alloc(u32::MAX, 0);
        footprint.set_table(1 << 20, 100 << 20);
        let with = needed(1 << 20, [&footprint].into_iter());
        assert!(
            with.0 > (5 << 30) + (100 << 20) && with.0 < 6 << 30,
            "{with}"
        );
        let twice = needed(1 << 20, [&footprint, &footprint].into_iter());
        assert!(
            twice.0 - with.0 >= 64 << 20 && twice.0 - with.0 <= 192 << 20,
            "{twice}"
        );
    }
}
