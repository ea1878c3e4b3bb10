//! Allocation traces as the image reads them.
//!
//! A text trace names objects by dense numbers; the host turns those into reusable slots, so that the
//! image's table is as large as the most objects ever live at once, and checks everything that can be
//! wrong. What is left is a fixed-size record an event.
//!
//! ```text
//!   header, 40 bytes   magic "TSTRACE2", events u32, slots u32, peak bytes asked u64,
//!                      peak page frames u64 (page events), threads u32, zero u32, all little-endian
//!   record, 12 bytes   op u8, alignment as a power of two u8, thread u16, slot u32, size u32
//! ```

/// The first eight bytes.
pub const MAGIC: [u8; 8] = *b"TSTRACE2";
/// Bytes before the first record.
pub const HEADER_BYTES: usize = 40;
/// Bytes of one record.
pub const RECORD_BYTES: usize = 12;
/// Threads that a trace can tell apart.
pub const THREADS_MAX: u32 = 1 << 16;
/// Where cores replay a trace together, none is further ahead of another than this many events: so much
/// more than was ever live at once may live, and no more.
pub const AHEAD_EVENTS: u32 = 1024;

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
    /// Who did it, below the trace's number of threads.
    pub thread: u16,
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
        bytes[2..4].copy_from_slice(&self.thread.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.slot.to_le_bytes());
        bytes[8..].copy_from_slice(&self.size.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            op: Op::new(bytes[0])?,
            align_log2: bytes[1],
            thread: u16::from_le_bytes([bytes[2], bytes[3]]),
            slot: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            size: u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]),
        })
    }
}

/// What a trace says of itself as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events.
    pub events: u32,
    /// Slots that the events use.
    pub slots: u32,
    /// Most bytes asked for and live at once, page events excluded.
    pub peak_bytes: u64,
    /// Most page frames live at once.
    pub peak_frames: u64,
    /// Threads that did it, at least 1.
    pub threads: u32,
}

impl Totals {
    /// The header of such a trace.
    pub fn header(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.events.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.slots.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.peak_bytes.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.peak_frames.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.threads.to_le_bytes());
        bytes
    }

    /// Bytes of the arena that an allocator gets which has one for all: a power of two, 64 MiB at least,
    /// and twice what the trace has live at most, since such allocators differ in what they make of it.
    pub const fn arena_bytes(&self) -> u64 {
        const LEAST: u64 = 64 << 20;
        let most = 2 * (self.peak_bytes + (self.peak_frames << 12));
        if most < LEAST {
            LEAST
        } else {
            most.next_power_of_two()
        }
    }

    fn from_header(header: &[u8]) -> Option<Self> {
        let (magic, totals) = header.split_at_checked(MAGIC.len())?;
        let word = |at: usize| {
            let mut word = [0; 4];
            word.copy_from_slice(&totals[4 * at..4 * at + 4]);
            u32::from_le_bytes(word)
        };
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 1)) << 32;
        (magic == MAGIC).then(|| Self {
            events: word(0),
            slots: word(1),
            peak_bytes: long(2),
            peak_frames: long(4),
            threads: word(6),
        })
    }
}

/// A trace: its totals and its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace<'a> {
    /// What its header says.
    pub totals: Totals,
    records: &'a [u8],
}

impl<'a> Trace<'a> {
    /// Reads a trace; `None` if a length, the magic, an operation, a slot or a thread is wrong.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, records) = bytes.split_at_checked(HEADER_BYTES)?;
        let totals = Totals::from_header(header)?;
        let events = usize::try_from(totals.events).ok()?;
        let records = records.get(..events.checked_mul(RECORD_BYTES)?)?;
        let is_sound =
            |event: Event| event.slot < totals.slots && u32::from(event.thread) < totals.threads;
        records
            .chunks_exact(RECORD_BYTES)
            .all(|record| Event::from_bytes(record).is_some_and(is_sound))
            .then_some(Self { totals, records })
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

    const fn event(op: Op, thread: u16, slot: u32, size: u32) -> Event {
        Event {
            op,
            align_log2: 6,
            thread,
            slot,
            size,
        }
    }

    #[test]
    fn a_trace_arrives_as_written_and_nothing_wrong_is_taken() {
        let events = [
            event(Op::Alloc, 0, 0, 100),
            event(Op::Pages, 300, 1, 3),
            event(Op::Free, 300, 0, 0),
        ];
        let totals = Totals {
            events: 3,
            slots: 2,
            peak_bytes: 100,
            peak_frames: 8,
            threads: 301,
        };
        let mut bytes = totals.header().to_vec();
        events
            .iter()
            .for_each(|event| bytes.extend_from_slice(&event.to_bytes()));
        let trace = Trace::parse(&bytes).unwrap();
        assert_eq!(trace.totals, totals);
        assert_eq!(trace.events().collect::<Vec<_>>(), events);
        assert_eq!(Trace::parse(&bytes[..bytes.len() - 1]), None);
        let is_wrong = |at: usize, byte| {
            let mut wrong = bytes.clone();
            wrong[at] = byte;
            Trace::parse(&wrong).is_none()
        };
        assert!(is_wrong(HEADER_BYTES, b'?'), "an operation");
        assert!(is_wrong(HEADER_BYTES + 3, 2), "a thread");
        assert!(is_wrong(HEADER_BYTES + 4, 2), "a slot");
        assert!(is_wrong(7, b'1'), "the magic of an older layout");
    }
}
