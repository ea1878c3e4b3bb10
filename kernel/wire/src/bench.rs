//! What a bench image reports, one record a frame.
//!
//! The image sends each row's whole histogram; percentiles are the host's business. Nothing counts
//! as measured before [`Record::End`] has arrived.

use serde::{Deserialize, Serialize};

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
        /// Instructions that an empty measurement reads, subtracted from every sample.
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
    /// Part of the histogram of `name`: six bytes a bucket, index (u16 LE) and count (u32 LE).
    Buckets {
        /// The row.
        name: &'a str,
        /// The buckets.
        pairs: &'a [u8],
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
}

/// Bytes of one bucket in [`Record::Buckets`].
pub const PAIR_BYTES: usize = 6;

/// One bucket as bytes.
pub fn pair(index: u16, count: u32) -> [u8; PAIR_BYTES] {
    let (index, count) = (index.to_le_bytes(), count.to_le_bytes());
    [index[0], index[1], count[0], count[1], count[2], count[3]]
}

/// The buckets in `pairs`.
pub fn pairs(pairs: &[u8]) -> impl Iterator<Item = (u16, u32)> + '_ {
    pairs.chunks_exact(PAIR_BYTES).map(|pair| {
        let index = u16::from_le_bytes([pair[0], pair[1]]);
        (
            index,
            u32::from_le_bytes([pair[2], pair[3], pair[4], pair[5]]),
        )
    })
}

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
    fn buckets_arrive_as_sent() {
        let bytes = [pair(3, 70_000), pair(2047, 1)].concat();
        let mut buffer = [0; 64];
        let record = Record::Buckets {
            name: "kmalloc/64/alloc",
            pairs: &bytes,
        };
        let sent = encode(&record, &mut buffer).unwrap();
        let Ok(Record::Buckets { pairs: got, .. }) = decode(sent) else {
            panic!("another record")
        };
        assert_eq!(pairs(got).collect::<Vec<_>>(), [(3, 70_000), (2047, 1)]);
    }
}
