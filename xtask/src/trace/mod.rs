//! Reads text traces, checks every line, and turns them into what the image replays.
//!
//! A line that is wrong stops everything with file, line and reason: a replay of half a trace would
//! look like a measurement. What leaves here is sound: slots instead of ids, each event allowed by the
//! state its slot is in.

mod error;
mod event;
pub mod memory;

pub use error::{ErrorKind, TraceError};

use event::TextEvent;
use flate2::read::MultiGzDecoder;
use memory::Footprint;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use wire::trace::{Event, Op, RECORD_BYTES, Trace};

/// The first bytes of a gzip file (RFC 1952, 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1F, 0x8B];
/// Bytes of the longest line that is read; a longer one is no trace.
const LINE_BYTES: u64 = 4096;

/// A trace that was read and found sound.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its name in rows: the file's, without the suffixes.
    pub name: String,
    /// What the image replays: a [`Trace`].
    pub bytes: Vec<u8>,
    /// What it needs of a machine.
    pub footprint: Footprint,
}

/// Reads the trace `file`, plain or compressed by gzip.
///
/// # Errors
///
/// [`TraceError`], which names file, line and reason.
pub fn load(file: &Path) -> Result<Loaded, TraceError> {
    let open = || -> io::Result<Box<dyn BufRead>> {
        let mut plain = BufReader::new(File::open(file)?);
        let compressed = plain.fill_buf()?.starts_with(&GZIP_MAGIC);
        Ok(if compressed {
            Box::new(BufReader::new(MultiGzDecoder::new(plain)))
        } else {
            Box::new(plain)
        })
    };
    let failed = |line, kind| TraceError {
        file: file.to_owned(),
        line,
        kind,
    };
    let input = open().map_err(|error| failed(None, ErrorKind::Io(error)))?;
    let sound = parse(input).map_err(|(line, kind)| failed(line, kind))?;
    Ok(Loaded {
        name: name_of(file),
        ..sound
    })
}

/// A trace's name: the file's up to the first dot, of characters that a row's name may have.
fn name_of(file: &Path) -> String {
    /// Names above this would not fit a row's.
    const LONGEST: usize = 40;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let stem = name
        .split('.')
        .find(|part| !part.is_empty())
        .unwrap_or("trace");
    let allowed = |letter: char| {
        if letter.is_ascii_alphanumeric() {
            letter
        } else {
            '-'
        }
    };
    stem.chars().map(allowed).take(LONGEST).collect()
}

type Located = (Option<u64>, ErrorKind);

fn parse(mut input: impl BufRead) -> Result<Loaded, Located> {
    let mut checked = Checked::default();
    let mut line = Vec::new();
    for number in 1.. {
        let here = |kind| (Some(number), kind);
        line.clear();
        let read = (&mut input)
            .take(LINE_BYTES + 1)
            .read_until(b'\n', &mut line);
        if read.map_err(|error| here(ErrorKind::Io(error)))? == 0 {
            break;
        }
        if line.len() as u64 > LINE_BYTES {
            return Err(here(ErrorKind::LineTooLong));
        }
        let text = std::str::from_utf8(&line).map_err(|_| here(ErrorKind::NotText))?;
        if !(text.starts_with('#') || text.trim().is_empty()) {
            let event = TextEvent::parse(text).map_err(here)?;
            checked.take(event).map_err(here)?;
        }
    }
    checked.finish().map_err(|kind| (None, kind))
}

/// What lives under an id.
#[derive(Clone, Copy, Debug)]
enum Live {
    Object {
        slot: u32,
        size: u32,
        align_log2: u8,
    },
    Pages {
        slot: u32,
        order: u32,
    },
}

/// The events so far, checked, and what is live after them.
#[derive(Default)]
struct Checked {
    /// Ids allocated so far: they are dense, so this is the next new one.
    ids: u64,
    live: HashMap<u64, Live>,
    /// Slots that were used and are free; the last one is used again first.
    free_slots: Vec<u32>,
    slots: u32,
    events: u32,
    asked_bytes: u64,
    peak_asked_bytes: u64,
    frames: u64,
    peak_frames: u64,
    footprint: Footprint,
    records: Vec<u8>,
}

impl Checked {
    fn take(&mut self, event: TextEvent) -> Result<(), ErrorKind> {
        match event {
            TextEvent::Alloc {
                id,
                size,
                align_log2,
                zeroed,
            } => {
                let op = if zeroed { Op::Zeroed } else { Op::Alloc };
                self.alloc(op, id, size, align_log2)
            }
            TextEvent::Realloc { id, size } => self.realloc(id, size),
            TextEvent::Free { id } => self.free(id),
            TextEvent::Pages { id, order } => self.alloc_pages(id, order),
            TextEvent::FreePages { id } => self.free_pages(id),
        }
    }

    fn alloc(&mut self, op: Op, id: u64, size: u32, align_log2: u8) -> Result<(), ErrorKind> {
        let slot = self.new_slot(id)?;
        let object = Live::Object {
            slot,
            size,
            align_log2,
        };
        self.live.insert(id, object);
        self.asked_bytes += u64::from(size);
        self.footprint.alloc(size, align_log2);
        self.push(Event {
            op,
            align_log2,
            slot,
            size,
        })
    }

    fn free(&mut self, id: u64) -> Result<(), ErrorKind> {
        let (slot, size, align_log2) = self.object(id, ErrorKind::DoubleFree)?;
        self.live.remove(&id);
        self.free_slots.push(slot);
        self.asked_bytes -= u64::from(size);
        self.footprint.free(size, align_log2);
        self.push(plain(Op::Free, slot, 0))
    }

    fn alloc_pages(&mut self, id: u64, order: u32) -> Result<(), ErrorKind> {
        let slot = self.new_slot(id)?;
        self.live.insert(id, Live::Pages { slot, order });
        self.frames += 1 << order;
        self.footprint.alloc_pages(order);
        self.push(plain(Op::Pages, slot, order))
    }

    fn free_pages(&mut self, id: u64) -> Result<(), ErrorKind> {
        let (slot, order) = match self.find(id, ErrorKind::DoubleFree)? {
            Live::Pages { slot, order } => (slot, order),
            Live::Object { .. } => return Err(ErrorKind::NotPages(id)),
        };
        self.live.remove(&id);
        self.free_slots.push(slot);
        self.frames -= 1 << order;
        self.footprint.free_pages(order);
        self.push(plain(Op::FreePages, slot, 0))
    }

    fn realloc(&mut self, id: u64, size: u32) -> Result<(), ErrorKind> {
        let (slot, former, align_log2) = self.object(id, ErrorKind::ReallocAfterFree)?;
        self.live.insert(
            id,
            Live::Object {
                slot,
                size,
                align_log2,
            },
        );
        self.asked_bytes = self.asked_bytes - u64::from(former) + u64::from(size);
        // Both are live while one is copied to the other.
        self.footprint.alloc(size, align_log2);
        self.footprint.free(former, align_log2);
        self.push(plain(Op::Realloc, slot, size))
    }

    fn push(&mut self, event: Event) -> Result<(), ErrorKind> {
        self.events = self.events.checked_add(1).ok_or(ErrorKind::TooMany)?;
        self.records.extend(event.to_bytes());
        self.peak_asked_bytes = self.peak_asked_bytes.max(self.asked_bytes);
        self.peak_frames = self.peak_frames.max(self.frames);
        Ok(())
    }

    fn new_slot(&mut self, id: u64) -> Result<u32, ErrorKind> {
        let next = self.ids;
        if id < next {
            return Err(ErrorKind::AllocatedTwice(id));
        }
        if id > next {
            return Err(ErrorKind::NotDense { id, next });
        }
        self.ids += 1;
        if let Some(slot) = self.free_slots.pop() {
            return Ok(slot);
        }
        let slot = self.slots;
        self.slots = slot.checked_add(1).ok_or(ErrorKind::TooMany)?;
        Ok(slot)
    }

    /// What lives under `id`; `when_free` is the error if it no longer does.
    fn find(&self, id: u64, when_free: fn(u64) -> ErrorKind) -> Result<Live, ErrorKind> {
        let absent = || {
            if id < self.ids {
                when_free(id)
            } else {
                ErrorKind::UnknownId(id)
            }
        };
        self.live.get(&id).copied().ok_or_else(absent)
    }

    fn object(
        &self,
        id: u64,
        when_free: fn(u64) -> ErrorKind,
    ) -> Result<(u32, u32, u8), ErrorKind> {
        match self.find(id, when_free)? {
            Live::Object {
                slot,
                size,
                align_log2,
            } => Ok((slot, size, align_log2)),
            Live::Pages { .. } => Err(ErrorKind::NotAnObject(id)),
        }
    }

    fn finish(mut self) -> Result<Loaded, ErrorKind> {
        if self.events == 0 {
            return Err(ErrorKind::Empty);
        }
        let header = Trace::header(
            self.events,
            self.slots,
            self.peak_asked_bytes,
            self.peak_frames,
        );
        let mut bytes = header.to_vec();
        bytes.reserve_exact(self.records.len());
        bytes.append(&mut self.records);
        debug_assert_eq!(
            bytes.len(),
            header.len() + self.events as usize * RECORD_BYTES
        );
        self.footprint.set_table(self.slots, bytes.len());
        Ok(Loaded {
            name: String::new(),
            bytes,
            footprint: self.footprint,
        })
    }
}

/// An event that names no alignment.
const fn plain(op: Op, slot: u32, size: u32) -> Event {
    Event {
        op,
        align_log2: 0,
        slot,
        size,
    }
}

#[cfg(test)]
mod tests;
