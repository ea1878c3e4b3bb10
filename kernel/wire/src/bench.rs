//! What a bench image reports, one record a frame.
//!
//! The image sends each row's whole histogram; percentiles are the host's business. Nothing counts
//! as measured before [`Record::End`] has arrived.

use crate::event::Event;
use serde::{Deserialize, Serialize};

/// What the counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Instructions, exactly.
    Instructions,
    /// Cycles.
    Cycles,
}

impl Unit {
    /// What a counter counts for which a lone `ret` reads `empty`, and 100 `nop`s and a `ret` `nops`.
    /// A core whose cycles look so executes one instruction a cycle.
    pub const fn of(empty: u64, nops: u64) -> Self {
        match (empty, nops) {
            (1, 101) => Self::Instructions,
            _ => Self::Cycles,
        }
    }

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Cycles => "cycles",
        }
    }
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Record<'a> {
    /// What was booted; the first record.
    Header {
        /// `MIDR_EL1`.
        midr: u64,
        /// Exception level that the image was entered at.
        entry_el: u8,
        /// Usable memory in bytes.
        memory_bytes: u64,
        /// Cores that run.
        cpus: u32,
        /// What is counted.
        unit: Unit,
        /// What an empty measurement reads, subtracted from every sample.
        overhead: u64,
        /// What a lone `ret` reads after that; 1 where the counter counts instructions.
        empty: u64,
        /// What 100 `nop`s and a `ret` read; 101 where the counter counts instructions.
        nops: u64,
        /// Seed of the seeded rows.
        seed: u64,
        /// Checking tier, `default` or `hardened`; with `, uncounted` where allocations are not counted.
        tier: &'a str,
    },
    /// A row that this image can measure, in answer to `list`, and as the plan before a run.
    Row {
        /// Its name.
        name: &'a str,
        /// What it measures, in a sentence.
        about: &'a str,
    },
    /// What begins now: the part of a name that the rows measured together share.
    Begin {
        /// `kmalloc/64` for `kmalloc/64/alloc` and `kmalloc/64/free`.
        name: &'a str,
    },
    /// A path that samples of `name` took; sent before the buckets that refer to it.
    Path {
        /// The row.
        name: &'a str,
        /// Its number in this row.
        index: u8,
        /// [`Path::word`](crate::path::Path::word).
        word: u64,
        /// Samples that took it.
        n: u64,
        /// The sum of these.
        sum: u64,
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// Part of the histogram of `name`: [`Cell`]s.
    Buckets {
        /// The row.
        name: &'a str,
        /// The cells, [`CELL_BYTES`] each.
        cells: &'a [u8],
    },
    /// A finished row.
    Done {
        /// The row.
        name: &'a str,
        /// Samples.
        n: u64,
        /// The row's very first operation, before any warm-up; a sample too where there is none.
        cold: u64,
        /// The smallest sample.
        min: u64,
        /// The largest sample.
        max: u64,
        /// The sum of all samples.
        sum: u64,
        /// Which of the row's operations the largest sample was, from 0, unrecorded ones counted.
        at: u64,
        /// What that one was given: bytes, or an order.
        amount: u64,
        /// The word of the path that it took.
        path: u64,
    },
    /// How memory stood during a replay.
    Point {
        /// The trace, `trace/redis` for example.
        name: &'a str,
        /// Events so far.
        at: u64,
        /// Bytes that the program had asked for and not freed.
        asked: u64,
        /// Bytes of page frames that the allocators held for them.
        held: u64,
        /// Free frames in blocks smaller than 2 MiB, in thousandths of all free frames.
        fragmented: u64,
    },
    /// Part of a map of physical memory: what blocks of equal size hold, in the order of addresses.
    Map {
        /// When it was drawn, `pages/churn62/after` for example.
        name: &'a str,
        /// The number of the first block's first frame.
        first: u64,
        /// Frames of a block.
        frames: u32,
        /// Two bytes a block: who has the most of it ([`Holder`]) in the low half and its pageblock's
        /// migrate type in the high half of the first; how many of its frames are free in the second.
        blocks: &'a [u8],
    },
    /// A figure that is no latency.
    Value {
        /// Its name, `trace/redis/peak-bytes-held` for example.
        name: &'a str,
        /// The figure.
        value: u64,
        /// Its unit.
        unit: &'a str,
    },
    /// A row that could not be measured.
    Failed {
        /// The row.
        name: &'a str,
        /// Why.
        why: &'a str,
    },
    /// Rows that are left out, and the run goes on: this machine is too small for them, or an allocator
    /// beside ours failed its check.
    Excluded {
        /// The part of their names that they share.
        name: &'a str,
        /// Why.
        why: &'a str,
    },
    /// All rows are done.
    End {
        /// How many [`Record::Done`]s there were.
        rows: u32,
    },
    /// An event of the group that was asked for.
    Event {
        /// Which.
        event: Event,
        /// Whether it is counted: whether the PMU implements it, and has a counter for it.
        is_counted: bool,
    },
    /// How often an event happened in all samples of `name`, what an empty measurement counts subtracted
    /// from each; sent before the row is done.
    Counted {
        /// The row.
        name: &'a str,
        /// The event.
        event: Event,
        /// How often.
        sum: u64,
    },
    /// What all of it took, boot included; comes before the end marker.
    Spent {
        /// In the counter's unit.
        cycles: u64,
    },
    /// Part of the best sequence that a hunt has; sent before [`Record::Hunt`] if it is a new one.
    Steps {
        /// As [`hunt::steps`](crate::hunt::steps) reads them.
        steps: &'a [u8],
    },
    /// How a hunt goes.
    Hunt {
        /// What it does.
        stage: HuntStage,
        /// Sequences run so far.
        evaluations: u32,
        /// What the costliest operation of the best one costs: its last one.
        cost: u64,
        /// The word of the path that it took.
        path: u64,
    },
}

/// What a hunt does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HuntStage {
    /// It looks for costlier operations.
    Search,
    /// It looks for a shorter way to the costliest.
    Shrink,
    /// It is over, and its best was run once more.
    Over,
}

/// Bytes of one [`Cell`] in [`Record::Buckets`].
pub const CELL_BYTES: usize = 7;

/// The samples of one row that fell into one bucket and took one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The bucket, as [`histogram::bucket`](crate::histogram::bucket) has it.
    pub bucket: u16,
    /// The path's number in its row.
    pub path: u8,
    /// How many samples.
    pub count: u32,
}

impl Cell {
    /// The cell as bytes: bucket (u16 LE), path, count (u32 LE).
    pub fn to_bytes(self) -> [u8; CELL_BYTES] {
        let (bucket, count) = (self.bucket.to_le_bytes(), self.count.to_le_bytes());
        [
            bucket[0], bucket[1], self.path, count[0], count[1], count[2], count[3],
        ]
    }
}

/// The cells in `bytes`.
pub fn cells(bytes: &[u8]) -> impl Iterator<Item = Cell> + '_ {
    bytes.chunks_exact(CELL_BYTES).map(|bytes| Cell {
        bucket: u16::from_le_bytes([bytes[0], bytes[1]]),
        path: bytes[2],
        count: u32::from_le_bytes([bytes[3], bytes[4], bytes[5], bytes[6]]),
    })
}

/// Who holds a block of memory in [`Record::Map`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Holder {
    /// It is not managed: the image, the device tree, holes.
    Reserved,
    /// Nobody.
    Free,
    /// Whoever asked for page frames.
    Pages,
    /// A cache's slabs.
    Slab,
}

impl Holder {
    /// All of them, by number.
    pub const ALL: [Self; 4] = [Self::Reserved, Self::Free, Self::Pages, Self::Slab];

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Free => "free",
            Self::Pages => "pages",
            Self::Slab => "slab",
        }
    }
}

/// Migrate types by the number in [`Record::Map`].
pub const MIGRATE_TYPES: [&str; 5] = ["unmovable", "movable", "reclaimable", "CMA", "isolated"];

/// Writes `record` into `buffer`; returns the part used.
///
/// # Errors
///
/// `postcard::Error::SerializeBufferFull` if it does not fit.
pub fn encode<'b>(record: &Record<'_>, buffer: &'b mut [u8]) -> Result<&'b [u8], postcard::Error> {
    postcard::to_slice(record, buffer).map(|used| &*used)
}

/// Reads one record.
///
/// # Errors
///
/// `postcard`'s, for bytes that are none.
pub fn decode(bytes: &[u8]) -> Result<Record<'_>, postcard::Error> {
    postcard::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_an_instruction_is_instructions() {
        assert_eq!(Unit::of(1, 101), Unit::Instructions);
        for (empty, nops) in [(0, 100), (1, 34), (3, 103), (0, 0)] {
            assert_eq!(Unit::of(empty, nops), Unit::Cycles);
        }
    }

    #[test]
    fn cells_arrive_as_sent() {
        let sent = [(3, 0, 70_000), (2047, 5, 1)].map(|(bucket, path, count)| Cell {
            bucket,
            path,
            count,
        });
        let bytes = sent.map(Cell::to_bytes).concat();
        let mut buffer = [0; 64];
        let record = Record::Buckets {
            name: "kmalloc/64/alloc",
            cells: &bytes,
        };
        let encoded = encode(&record, &mut buffer).unwrap();
        let Ok(Record::Buckets { cells: got, .. }) = decode(encoded) else {
            panic!("another record")
        };
        assert_eq!(cells(got).collect::<Vec<_>>(), sent);
    }
}
