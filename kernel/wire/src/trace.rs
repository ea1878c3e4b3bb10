//! Allocation traces as the image reads them.
//!
//! A text trace names objects by dense numbers; the host turns those into reusable slots, so that the
//! image's table is as large as the most objects ever live at once, and checks everything that can be
//! wrong. What is left is a fixed-size record an event.
//!
//! ```text
//!   header, 32 bytes   magic "TSTRACE1", events u32, slots u32, peak bytes asked u64,
//!                      peak page frames u64 (page events), all little-endian
//!   record, 12 bytes   op u8, alignment as a power of two u8, zero u16, slot u32, size u32
//! ```

/// The first eight bytes.
pub const MAGIC: [u8; 8] = *b"TSTRACE1";
/// Bytes before the first record.
pub const HEADER_BYTES: usize = 32;
/// Bytes of one record.
pub const RECORD_BYTES: usize = 12;

/// What an event does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    /// Allocate.
    Alloc = b'a',
    /// Allocate, zeroed.
    Zeroed = b'z',
    /// Reallocate.
    Realloc = b'r',
    /// Free.
    Free = b'f',
    /// Allocate page frames; the record's size is the order.
    Pages = b'p',
    /// Free page frames.
    FreePages = b'q',
}

impl Op {
    /// The operation that the byte `raw` names.
    pub const fn new(raw: u8) -> Option<Self> {
        Some(match raw {
            b'a' => Self::Alloc,
            b'z' => Self::Zeroed,
            b'r' => Self::Realloc,
            b'f' => Self::Free,
            b'p' => Self::Pages,
            b'q' => Self::FreePages,
            _ => return None,
        })
    }
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it does.
    pub op: Op,
    /// Alignment asked for, as a power of two; 0 where the trace names none.
    pub align_log2: u8,
    /// Which object, below the trace's number of slots.
    pub slot: u32,
    /// Bytes asked for; for [`Op::Pages`] the order.
    pub size: u32,
}

impl Event {
    /// The record's bytes.
    pub fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        bytes[0] = self.op as u8;
        bytes[1] = self.align_log2;
        bytes[4..8].copy_from_slice(&self.slot.to_le_bytes());
        bytes[8..].copy_from_slice(&self.size.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            op: Op::new(bytes[0])?,
            align_log2: bytes[1],
            slot: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            size: u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]),
        })
    }
}

/// A trace: its totals and its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace<'a> {
    /// Slots that the events use.
    pub slots: u32,
    /// Most bytes asked for and live at once, page events excluded.
    pub peak_bytes: u64,
    /// Most page frames live at once.
    pub peak_frames: u64,
    records: &'a [u8],
}

impl<'a> Trace<'a> {
    /// The header of a trace of `events` events.
    pub fn header(
        events: u32,
        slots: u32,
        peak_bytes: u64,
        peak_frames: u64,
    ) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&events.to_le_bytes());
        bytes[12..16].copy_from_slice(&slots.to_le_bytes());
        bytes[16..24].copy_from_slice(&peak_bytes.to_le_bytes());
        bytes[24..].copy_from_slice(&peak_frames.to_le_bytes());
        bytes
    }

    /// Reads a trace; `None` if a length, the magic, an operation or a slot number is wrong.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, records) = bytes.split_at_checked(HEADER_BYTES)?;
        let (magic, totals) = header.split_at(8);
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&totals[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let events = usize::try_from(word(0) & u64::from(u32::MAX)).ok()?;
        let records = records.get(..events.checked_mul(RECORD_BYTES)?)?;
        let slots = u32::try_from(word(0) >> 32).ok()?;
        let sound = records
            .chunks_exact(RECORD_BYTES)
            .all(|record| Event::from_bytes(record).is_some_and(|event| event.slot < slots));
        (magic == MAGIC && sound).then_some(Self {
            slots,
            peak_bytes: word(8),
            peak_frames: word(16),
            records,
        })
    }

    /// Number of events.
    pub const fn len(&self) -> usize {
        self.records.len() / RECORD_BYTES
    }

    /// Whether there is no event.
    pub const fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The events in order.
    pub fn events(&self) -> impl Iterator<Item = Event> + 'a {
        self.records
            .chunks_exact(RECORD_BYTES)
            .filter_map(Event::from_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_arrives_as_written_and_nothing_wrong_is_taken() {
        let events = [
            Event {
                op: Op::Alloc,
                align_log2: 6,
                slot: 0,
                size: 100,
            },
            Event {
                op: Op::Pages,
                align_log2: 0,
                slot: 1,
                size: 3,
            },
            Event {
                op: Op::Free,
                align_log2: 0,
                slot: 0,
                size: 0,
            },
        ];
        let mut bytes = Trace::header(3, 2, 100, 8).to_vec();
        events
            .iter()
            .for_each(|event| bytes.extend_from_slice(&event.to_bytes()));
        let trace = Trace::parse(&bytes).unwrap();
        assert_eq!(
            (trace.slots, trace.peak_bytes, trace.peak_frames),
            (2, 100, 8)
        );
        assert_eq!(trace.events().collect::<Vec<_>>(), events);
        assert_eq!(Trace::parse(&bytes[..bytes.len() - 1]), None);
        let mut out_of_range = bytes.clone();
        out_of_range[HEADER_BYTES + 4] = 2;
        assert_eq!(Trace::parse(&out_of_range), None);
        bytes[HEADER_BYTES] = b'?';
        assert_eq!(Trace::parse(&bytes), None);
    }
}
