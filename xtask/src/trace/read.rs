//! Reads a trace line by line, plain or compressed, and believes nothing unchecked.
//!
//! A line that is wrong stops everything with file, line and reason: half a trace would look like a
//! whole one.

use super::error::{ErrorKind, TraceError};
use super::event::{Event, Line};
use super::ledger::{Change, Ledger};
use flate2::read::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// The first bytes of a gzip file (RFC 1952, 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1F, 0x8B];
/// Bytes of the longest line that is read; a longer one is no trace.
pub(super) const LINE_BYTES: u64 = 4096;

/// Where in a file something is wrong, from line 1 (none for what concerns the whole), and what.
pub(super) type Located = (Option<u64>, ErrorKind);

/// Files of so many bytes take seconds.
const LONG_BYTES: u64 = 4 << 20;

/// Opens a file of bytes as they are; how far it has been read is shown if that takes long.
///
/// # Errors
///
/// As from the system.
pub(super) fn open_plain(file: &Path) -> io::Result<impl BufRead + use<>> {
    let file = File::open(file)?;
    let bytes = file.metadata()?.len();
    let progress = match bytes >= LONG_BYTES {
        true => ProgressBar::new(bytes),
        false => ProgressBar::hidden(),
    };
    let style = ProgressStyle::with_template("{bar:30} {bytes} of {total_bytes} read, {eta} left");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    let progress = progress
        .with_style(style)
        .with_finish(ProgressFinish::AndClear);
    Ok(BufReader::new(progress.wrap_read(file)))
}

/// Opens a file, plain or compressed by gzip.
///
/// # Errors
///
/// As from the system.
pub fn open(file: &Path) -> io::Result<Box<dyn BufRead>> {
    let mut plain = open_plain(file)?;
    let compressed = plain.fill_buf()?.starts_with(&GZIP_MAGIC);
    Ok(if compressed {
        Box::new(BufReader::new(MultiGzDecoder::new(plain)))
    } else {
        Box::new(plain)
    })
}

/// Reads the trace `file` and shows `visit` each event with what it did; returns what is live behind
/// the last one.
///
/// # Errors
///
/// [`TraceError`], which names file, line and reason.
pub fn file(file: &Path, visit: impl FnMut(&Event, Change)) -> Result<Ledger, TraceError> {
    let failed = |(line, kind)| TraceError {
        file: file.to_owned(),
        line,
        kind,
    };
    let input = open(file).map_err(|error| failed((None, ErrorKind::Io(error))))?;
    events(input, visit).map_err(failed)
}

/// Reads a trace from `input`; see [`file()`].
pub(super) fn events(
    input: impl BufRead,
    mut visit: impl FnMut(&Event, Change),
) -> Result<Ledger, Located> {
    let (mut ledger, mut thread) = (Ledger::default(), 0);
    lines(input, |line| {
        match Line::parse(line)? {
            Line::Thread(number) => thread = ledger.switch_to(number)?,
            Line::Action(action) => {
                let event = Event { thread, action };
                visit(&event, ledger.take(&event)?);
            }
        }
        Ok(())
    })?;
    if ledger.events() == 0 {
        return Err((None, ErrorKind::Empty));
    }
    Ok(ledger)
}

/// Hands each line of `input` that is neither a comment nor empty to `take`.
fn lines(
    input: impl BufRead,
    mut take: impl FnMut(&str) -> Result<(), ErrorKind>,
) -> Result<(), Located> {
    every_line(input, |line| {
        if line.starts_with('#') || line.trim().is_empty() {
            return Ok(());
        }
        take(line)
    })
}

/// Hands each line of `input` to `take`.
pub(super) fn every_line(
    mut input: impl BufRead,
    mut take: impl FnMut(&str) -> Result<(), ErrorKind>,
) -> Result<(), Located> {
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
        take(text).map_err(here)?;
    }
    Ok(())
}
