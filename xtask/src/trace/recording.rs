//! Turns what a program's recorder left (see [`recorder::layout`]) into a trace.
//!
//! Addresses become ids. What a recording cannot tell is settled so that the trace is sound, and
//! counted: a free of what was never seen allocated is left out, and what is allocated again though
//! nobody saw it freed was freed just before.

use super::TraceError;
use super::event::{Action, Event};
use super::write::Writer;
use crate::bench::format::grouped;
use anyhow::{Context, Result};
use recorder::layout::{Header, Kind, RECORD_BYTES, Record};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use wire::trace::THREADS_MAX;

/// Reads the recording `from` and writes it to `to`; its threads are told apart only `with_threads`.
///
/// # Errors
///
/// If `from` is no recording, or a file cannot be read or written.
pub fn convert(from: &Path, to: &Path, comment: &str, with_threads: bool) -> Result<Summary> {
    let cannot_read = || format!("cannot read the recording {}", from.display());
    let mut input = BufReader::new(File::open(from).with_context(cannot_read)?);
    let header = next(&mut input).with_context(cannot_read)?;
    let header = header.as_ref().and_then(Header::from_bytes);
    let header = header.with_context(|| format!("{} is no recording", from.display()))?;
    let mut converter = Converter {
        writer: Writer::create(to, comment)?,
        threads: with_threads.then(HashMap::new),
        live: HashMap::new(),
        left_out: HashSet::new(),
        moving: HashMap::new(),
        summary: Summary {
            lost: header.lost,
            ..Summary::default()
        },
    };
    while let Some(bytes) = next(&mut input).with_context(cannot_read)? {
        if let Some(record) = Record::from_bytes(&bytes) {
            converter.take(&record)?;
        }
    }
    Ok(converter.finish()?)
}

/// Whether the recording `file` holds anything.
///
/// # Errors
///
/// If it cannot be read.
pub fn is_empty(file: &Path) -> Result<bool> {
    let mut input = File::open(file).context("cannot read a recording")?;
    next(&mut input)?;
    let first = next(&mut input)?;
    Ok(first.as_ref().and_then(Record::from_bytes).is_none())
}

/// The bytes of the next record; `None` at the end.
fn next(input: &mut impl Read) -> io::Result<Option<[u8; RECORD_BYTES]>> {
    let mut bytes = [0; RECORD_BYTES];
    match input.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a recording amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Events of the trace.
    pub events: u32,
    /// Threads in it.
    pub threads: u32,
    /// Objects that are live at its end.
    pub live: usize,
    /// Most bytes that were asked for and live at once.
    pub peak_bytes: u64,
    /// Frees of objects that were never seen allocated; left out.
    pub unknown_frees: u64,
    /// Objects whose address was allocated again though nobody saw them freed.
    pub unseen_frees: u64,
    /// Objects that the format cannot hold: 4 GiB and more, or aligned to that; left out.
    pub too_large: u64,
    /// Events that there was no room for.
    pub lost: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: u64| if count == 1 { "" } else { "s" };
        write!(
            f,
            "{} event{}, {} thread{}, at most {} bytes at once, {} object{} live at the end",
            grouped(self.events.into()),
            plural(self.events.into()),
            self.threads,
            plural(self.threads.into()),
            grouped(self.peak_bytes),
            grouped(self.live as u64),
            plural(self.live as u64),
        )?;
        for (count, what) in [
            (
                self.unknown_frees,
                "freed and never seen allocated, left out",
            ),
            (self.unseen_frees, "freed where nobody saw it"),
            (self.too_large, "of 4 GiB or more, left out"),
        ] {
            if count > 0 {
                write!(f, "; {} object{} {what}", grouped(count), plural(count))?;
            }
        }
        if self.lost > 0 {
            write!(
                f,
                "; {} event{} lost for want of room on the disk",
                grouped(self.lost),
                plural(self.lost)
            )?;
        }
        Ok(())
    }
}

struct Converter {
    writer: Writer,
    /// The trace's number of each of the system's threads, if they are told apart.
    threads: Option<HashMap<u32, u16>>,
    /// Ids by address.
    live: HashMap<u64, u32>,
    /// Addresses of objects that are left out.
    left_out: HashSet<u64>,
    /// What each thread has begun to reallocate: the object's address and its id if it has one. A
    /// signal's handler may begin another one in between.
    moving: HashMap<u32, Vec<(u64, Option<u32>)>>,
    summary: Summary,
}

impl Converter {
    fn take(&mut self, record: &Record) -> Result<(), TraceError> {
        let address = record.address;
        match record.kind {
            Kind::Alloc | Kind::Zeroed => self.made(record),
            Kind::Free => match self.live.remove(&address) {
                Some(id) => self.event(record, Action::Free { id }),
                None => {
                    let known = self.left_out.remove(&address);
                    self.summary.unknown_frees += u64::from(!known);
                    Ok(())
                }
            },
            Kind::ReallocBegin => {
                let id = self.live.remove(&address);
                self.left_out.remove(&address);
                let moving = self.moving.entry(record.thread).or_default();
                moving.push((address, id));
                Ok(())
            }
            Kind::ReallocEnd => {
                let moving = self.moving.get_mut(&record.thread);
                match moving.and_then(Vec::pop) {
                    Some((former, Some(id))) => self.moved(record, former, id),
                    // Nobody saw it allocated, or begin to be reallocated: this is the first of it.
                    _ if address != 0 => self.made(record),
                    _ => Ok(()),
                }
            }
        }
    }

    fn made(&mut self, record: &Record) -> Result<(), TraceError> {
        self.settle(record)?;
        let Some(size) = self.size_of(record) else {
            return Ok(());
        };
        let id = self.new_id();
        self.live.insert(record.address, id);
        let action = Action::Alloc {
            id,
            size,
            align_log2: record.align_log2,
            zeroed: record.kind == Kind::Zeroed,
        };
        self.event(record, action)
    }

    /// The object `id` was at `former`, and its reallocation has ended.
    fn moved(&mut self, record: &Record, former: u64, id: u32) -> Result<(), TraceError> {
        if record.address == 0 {
            if record.size == 0 {
                return self.event(record, Action::Free { id });
            }
            self.live.insert(former, id);
            return Ok(());
        }
        self.settle(record)?;
        match self.size_of(record) {
            Some(size) => {
                self.live.insert(record.address, id);
                self.event(record, Action::Realloc { id, size })
            }
            None => self.event(record, Action::Free { id }),
        }
    }

    /// Frees what lives at the address that `record` allocates.
    fn settle(&mut self, record: &Record) -> Result<(), TraceError> {
        self.left_out.remove(&record.address);
        match self.live.remove(&record.address) {
            Some(id) => {
                self.summary.unseen_frees += 1;
                self.event(record, Action::Free { id })
            }
            None => Ok(()),
        }
    }

    /// The size as the format has it: an object of no bytes is one of one byte. `None`, and the address
    /// is noted, if it is too large for it.
    fn size_of(&mut self, record: &Record) -> Option<u32> {
        let size = u32::try_from(record.size.max(1)).ok();
        let size = size.filter(|_| u32::from(record.align_log2) < u32::BITS);
        if size.is_none() {
            self.summary.too_large += 1;
            self.left_out.insert(record.address);
        }
        size
    }

    fn new_id(&self) -> u32 {
        // The writer refuses more.
        u32::try_from(self.writer.ledger().ids()).unwrap_or(u32::MAX)
    }

    fn event(&mut self, record: &Record, action: Action) -> Result<(), TraceError> {
        let thread = match &mut self.threads {
            None => 0,
            Some(threads) => {
                // More than the format tells apart share numbers.
                let next = threads.len() % THREADS_MAX as usize;
                let next = u16::try_from(next).unwrap_or(0);
                *threads.entry(record.thread).or_insert(next)
            }
        };
        self.writer.event(&Event { thread, action }).map(|_| ())
    }

    fn finish(self) -> Result<Summary, TraceError> {
        let ledger = self.writer.finish()?;
        Ok(Summary {
            events: ledger.events(),
            threads: ledger.threads(),
            live: ledger.live().count(),
            peak_bytes: ledger.peak_bytes(),
            ..self.summary
        })
    }
}

#[cfg(test)]
mod tests;
