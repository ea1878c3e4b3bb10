//! What a recording holds: records of one size, in the order in which it happened.
//!
//! ```text
//!   file:    header, records, zeros up to the end of the last chunk
//!   header   magic "TSRECRD1", process u64, lost u64, zero u64
//!   record   kind u8, alignment as a power of two u8, zero u16, thread u32,
//!            address u64, size u64, zero u64
//! ```
//!
//! All numbers are of the machine's own byte order. A record whose kind is 0 was claimed and never
//! written: its thread ended in between. `lost` counts what there was no room for.

/// The first eight bytes.
pub const MAGIC: [u8; 8] = *b"TSRECRD1";
/// Bytes of a record, and of the header.
pub const RECORD_BYTES: usize = 32;
/// Records that a file grows by, the header counted as one: 1 MiB.
pub const CHUNK_RECORDS: u64 = 1 << 15;
/// Chunks of the largest file: 128 million records.
pub const CHUNKS: usize = 1 << 12;

/// Names the folder that recordings go to.
pub const FOLDER_VARIABLE: &str = "TESSERA_RECORDING";
/// Set if children are to be recorded too.
pub const CHILDREN_VARIABLE: &str = "TESSERA_RECORDING_CHILDREN";
/// The file in that folder that holds the number of the process that came first. The recordings beside
/// it are called by their process and a number from 0, which grows when the process becomes another
/// program: `1234.0`.
pub const FIRST_FILE: &str = "first";

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// An object was allocated at `address`, of `size` bytes.
    Alloc = 1,
    /// As that, and it is all zero.
    Zeroed = 2,
    /// The object at `address` is about to be freed.
    Free = 3,
    /// The object at `address` is about to be reallocated. Its thread says next how that ended.
    ReallocBegin = 4,
    /// The reallocation that this thread began last gave `address` and `size` bytes. Address 0 is
    /// failure, and the object is where it was; with size 0 it was freed.
    ReallocEnd = 5,
}

impl Kind {
    const fn new(raw: u8) -> Option<Self> {
        Some(match raw {
            1 => Self::Alloc,
            2 => Self::Zeroed,
            3 => Self::Free,
            4 => Self::ReallocBegin,
            5 => Self::ReallocEnd,
            _ => return None,
        })
    }
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// What happened.
    pub kind: Kind,
    /// The alignment asked for, as a power of two; 0 where none was.
    pub align_log2: u8,
    /// The thread, by the system's number.
    pub thread: u32,
    /// Where.
    pub address: u64,
    /// Bytes asked for; 0 for what has no size.
    pub size: u64,
}

impl Record {
    /// The record's first three words; the fourth is 0.
    pub const fn to_words(self) -> [u64; 3] {
        let first = self.kind as u64 | (self.align_log2 as u64) << 8 | (self.thread as u64) << 32;
        [first, self.address, self.size]
    }

    /// The record that `bytes` hold; `None` if it was never written.
    pub fn from_bytes(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let [first, address, size, _] = words(bytes);
        let [kind, align_log2, ..] = first.to_le_bytes();
        Some(Self {
            kind: Kind::new(kind)?,
            align_log2,
            thread: u32::try_from(first >> 32).ok()?,
            address,
            size,
        })
    }
}

/// What a recording says of itself as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The process.
    pub process: u64,
    /// Records that there was no room for.
    pub lost: u64,
}

impl Header {
    /// The header that `bytes` hold; `None` if it is none.
    pub fn from_bytes(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let [magic, process, lost, _] = words(bytes);
        (magic.to_ne_bytes() == MAGIC).then_some(Self { process, lost })
    }
}

fn words(bytes: &[u8; RECORD_BYTES]) -> [u64; 4] {
    core::array::from_fn(|at| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[8 * at..8 * at + 8]);
        u64::from_ne_bytes(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(words: [u64; 3]) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn a_record_arrives_as_written_and_one_that_never_was_is_none() {
        let record = Record {
            kind: Kind::ReallocEnd,
            align_log2: 12,
            thread: u32::MAX,
            address: 0x7FFF_1234_5678_9ABC,
            size: u64::MAX,
        };
        let [first, address, size] = record.to_words();
        assert_eq!(
            Record::from_bytes(&bytes([first, address, size])),
            Some(record)
        );
        assert_eq!(Record::from_bytes(&bytes([0, address, size])), None);
    }

    #[test]
    fn a_header_is_known_by_its_magic() {
        let header = Header {
            process: 7,
            lost: 9,
        };
        let magic = u64::from_ne_bytes(MAGIC);
        assert_eq!(Header::from_bytes(&bytes([magic, 7, 9])), Some(header));
        assert_eq!(Header::from_bytes(&bytes([magic + 1, 7, 9])), None);
    }
}
