//! Turns what a program's recorder left (see [`recorder::layout`]) into a trace.
//!
//! Addresses become ids. What a recording cannot tell is settled so that the trace is sound, and
//! counted: a free of what was never seen allocated is left out, and what is allocated again though
//! nobody saw it freed was freed just before.

use super::addresses::{Addresses, New, Place, Summary};
use super::write::Writer;
use super::{TraceError, read};
use anyhow::{Context, Result};
use recorder::layout::{Header, Kind, RECORD_BYTES, Record};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads the recording `from` and writes it to `to`; its threads are told apart only `with_threads`.
///
/// # Errors
///
/// If `from` is no recording, or a file cannot be read or written.
pub fn convert(from: &Path, to: &Path, comment: &str, with_threads: bool) -> Result<Summary> {
    let cannot_read = || format!("cannot read the recording {}", from.display());
    let mut input = read::open_plain(from).with_context(cannot_read)?;
    let header = next(&mut input).with_context(cannot_read)?;
    let header = header.as_ref().and_then(Header::from_bytes);
    let header = header.with_context(|| format!("{} is no recording", from.display()))?;
    let mut converter = Converter {
        addresses: Addresses::new(Writer::create(to, comment)?),
        with_threads,
        left_out: HashSet::new(),
        moving: HashMap::new(),
        too_large: 0,
    };
    while let Some(bytes) = next(&mut input).with_context(cannot_read)? {
        if let Some(record) = Record::from_bytes(&bytes) {
            converter.take(&record)?;
        }
    }
    let notes = [
        ("objects of 4 GiB or more, left out", converter.too_large),
        ("events lost for want of room on the disk", header.lost),
    ];
    Ok(converter.addresses.finish(&notes)?)
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

struct Converter {
    addresses: Addresses,
    with_threads: bool,
    /// Addresses of objects that are left out.
    left_out: HashSet<u64>,
    /// What each thread has begun to reallocate: the object's address and its id if it has one. A
    /// signal's handler may begin another one in between.
    moving: HashMap<u32, Vec<(u64, Option<u32>)>>,
    /// Objects that the format cannot hold.
    too_large: u64,
}

impl Converter {
    fn take(&mut self, record: &Record) -> Result<(), TraceError> {
        let (address, place) = (record.address, Place::Object(record.address));
        match record.kind {
            Kind::Alloc | Kind::Zeroed => self.made(record),
            Kind::Free if self.left_out.remove(&address) => Ok(()),
            Kind::Free => self.addresses.freed(self.thread(record), place),
            Kind::ReallocBegin => {
                let id = self.addresses.take(place);
                self.left_out.remove(&address);
                let moving = self.moving.entry(record.thread).or_default();
                moving.push((address, id));
                Ok(())
            }
            Kind::ReallocEnd => {
                let moving = self.moving.get_mut(&record.thread);
                match moving.and_then(Vec::pop) {
                    Some((former, Some(id))) => self.moved(record, Place::Object(former), id),
                    // Nobody saw it allocated, or begin to be reallocated: this is the first of it.
                    _ if address != 0 => self.made(record),
                    _ => Ok(()),
                }
            }
        }
    }

    const fn thread(&self, record: &Record) -> u32 {
        if self.with_threads { record.thread } else { 0 }
    }

    fn made(&mut self, record: &Record) -> Result<(), TraceError> {
        let (thread, place) = (self.thread(record), Place::Object(record.address));
        match self.size_of(record) {
            Some(size) => {
                let object = New::Object {
                    size,
                    align_log2: record.align_log2,
                    zeroed: record.kind == Kind::Zeroed,
                };
                self.addresses.made(thread, place, object)
            }
            // What was there is gone nevertheless.
            None => match self.addresses.take(place) {
                Some(id) => self.addresses.free(thread, place, id),
                None => Ok(()),
            },
        }
    }

    /// The object `id` was at `former`, and its reallocation has ended.
    fn moved(&mut self, record: &Record, former: Place, id: u32) -> Result<(), TraceError> {
        let thread = self.thread(record);
        if record.address == 0 && record.size != 0 {
            self.addresses.put(former, id);
            return Ok(());
        }
        let size = (record.address != 0).then(|| self.size_of(record));
        match size.flatten() {
            Some(size) => {
                let place = Place::Object(record.address);
                self.addresses.resized(thread, place, id, size)
            }
            None => self.addresses.free(thread, former, id),
        }
    }

    /// The size as the format has it: an object of no bytes is one of one byte. `None`, and the address
    /// is noted, if it is too large for it.
    fn size_of(&mut self, record: &Record) -> Option<u32> {
        self.left_out.remove(&record.address);
        let size = u32::try_from(record.size.max(1)).ok();
        let size = size.filter(|_| u32::from(record.align_log2) < u32::BITS);
        if size.is_none() {
            self.too_large += 1;
            self.left_out.insert(record.address);
        }
        size
    }
}

#[cfg(test)]
mod tests;
