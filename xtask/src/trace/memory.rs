//! How much memory a machine must have to replay given traces.
//!
//! An estimate from above, made before anything boots: every object is rounded up as coarsely as any
//! allocator here does, a quarter is added for what fragmentation keeps, and the image, what is
//! appended to it and the kernel's own needs come on top. Too little would end a replay in the middle.

use super::ledger::Shape;
use crate::machine::Size;
use std::collections::VecDeque;
use wire::trace::{AHEAD_EVENTS, Totals};

const PAGE: u64 = 4096;
/// Objects above this come from whole page frames.
const SLAB_LARGEST: u64 = 8192;
/// Objects above this, or aligned to more, are mapped from single page frames.
const BLOCK_LARGEST: u64 = 4 << 20;
/// Bytes of one entry in the image's table of slots, from above.
const ENTRY_BYTES: u64 = 64;
/// Bytes that each event of a trace of several threads has in the image's tables, from above.
const EVENT_BYTES: u64 = 24;
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
    ahead_bytes: u64,
    table_bytes: u64,
    payload_bytes: u64,
}

impl Footprint {
    /// Something is allocated.
    pub fn add(&mut self, shape: Shape) {
        self.live_bytes += rounded(shape);
        self.peak_bytes = self.peak_bytes.max(self.live_bytes);
    }

    /// Something is freed.
    pub fn remove(&mut self, shape: Shape) {
        self.live_bytes -= rounded(shape);
    }

    /// The trace's `totals`, the most that [`AHEAD_EVENTS`] events of it allocate, and the bytes that it
    /// takes in the payload.
    pub fn set_table(&mut self, totals: &Totals, ahead_bytes: u64, payload_bytes: usize) {
        self.table_bytes = u64::from(totals.slots) * ENTRY_BYTES;
        if totals.threads > 1 {
            self.table_bytes += u64::from(totals.events) * EVENT_BYTES;
            self.ahead_bytes = ahead_bytes;
        }
        self.payload_bytes = payload_bytes as u64;
    }
}

/// What the last [`AHEAD_EVENTS`] events have allocated, and the most that it ever was: what lives
/// beyond the trace's own peak where cores replay it that far apart.
#[derive(Clone, Debug, Default)]
pub struct Ahead {
    recent: VecDeque<u64>,
    bytes: u64,
    peak_bytes: u64,
}

impl Ahead {
    /// An event, and what it allocates.
    pub fn take(&mut self, made: Option<Shape>) {
        if self.recent.len() == AHEAD_EVENTS as usize {
            self.bytes -= self.recent.pop_front().unwrap_or(0);
        }
        let bytes = made.map_or(0, rounded);
        self.recent.push_back(bytes);
        self.bytes += bytes;
        self.peak_bytes = self.peak_bytes.max(self.bytes);
    }

    /// The most.
    pub const fn peak_bytes(&self) -> u64 {
        self.peak_bytes
    }
}

/// The most that something may take.
fn rounded(shape: Shape) -> u64 {
    let (size, align_log2) = match shape {
        Shape::Object { size, align_log2 } => (u64::from(size), align_log2),
        Shape::Pages { .. } => return shape.bytes(),
    };
    let align = 1 << align_log2;
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
        let live = footprint.peak_bytes + footprint.ahead_bytes;
        most = most.max(live + live / 4 + footprint.table_bytes);
    }
    let bytes = image_bytes + payload + most + KERNEL_BYTES;
    Size((bytes + bytes / METADATA_PART).next_multiple_of(STEP))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn object(size: u32, align_log2: u8) -> Shape {
        Shape::Object { size, align_log2 }
    }

    #[test]
    fn the_peak_counts_and_not_the_sum() {
        let mut footprint = Footprint::default();
        for _ in 0..1000 {
            footprint.add(object(1 << 20, 0));
            footprint.remove(object(1 << 20, 0));
        }
        assert_eq!(footprint.peak_bytes, 1 << 20);
        footprint.add(Shape::Pages { order: 10 });
        footprint.remove(Shape::Pages { order: 10 });
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
            let rounded = rounded(object(size, align_log2));
            assert!(rounded >= at_least, "{size} {align_log2}");
        }
    }

    #[test]
    fn what_is_needed_grows_with_the_trace_and_with_its_bytes() {
        assert_eq!(needed(1 << 20, [].into_iter()), Size(128 << 20));
        let mut footprint = Footprint::default();
        footprint.add(object(u32::MAX, 0));
        let totals = Totals {
            slots: 1 << 20,
            threads: 1,
            ..Totals::default()
        };
        footprint.set_table(&totals, 1 << 30, 100 << 20);
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
        let threads = Totals {
            threads: 2,
            ..totals
        };
        footprint.set_table(&threads, 1 << 30, 100 << 20);
        assert!(needed(1 << 20, [&footprint].into_iter()).0 - with.0 >= 1 << 30);
    }

    #[test]
    fn what_cores_may_be_ahead_by_is_the_costliest_stretch_of_the_trace() {
        let mut ahead = Ahead::default();
        ahead.take(Some(Shape::Pages { order: 10 }));
        (0..AHEAD_EVENTS - 1).for_each(|_| ahead.take(None));
        ahead.take(Some(Shape::Pages { order: 9 }));
        assert_eq!(ahead.peak_bytes(), 4 << 20);
        ahead.take(Some(Shape::Pages { order: 9 }));
        ahead.take(Some(Shape::Pages { order: 9 }));
        assert_eq!(ahead.peak_bytes(), 6 << 20);
    }
}
