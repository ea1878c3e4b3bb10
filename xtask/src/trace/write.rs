//! Writes a trace, plain or compressed, and checks it by the reader's own rules.

use super::event::{Action, Event};
use super::ledger::{Change, Ledger};
use super::{ErrorKind, TraceError};
use anyhow::{Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::mem;
use std::path::{Path, PathBuf};
use wire::trace::THREADS_MAX;

/// What a compressed file's name ends with.
const GZIP_SUFFIX: &str = "gz";

/// A trace that is being written to a file, which is removed again if it is never finished.
#[derive(Debug)]
pub struct Writer {
    file: PathBuf,
    /// None when it is finished.
    out: Option<Output>,
    lines: Lines,
}

#[derive(Debug)]
enum Output {
    Plain(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Gzip(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Gzip(out) => out.flush(),
        }
    }
}

impl Writer {
    /// A trace in `file`, compressed if its name ends in `.gz`, that begins with a comment of one line.
    ///
    /// # Errors
    ///
    /// [`TraceError`] if it cannot be written.
    pub fn create(file: &Path, comment: &str) -> Result<Self, TraceError> {
        let create = || {
            let plain = BufWriter::new(File::create(file)?);
            let mut out = match file.extension().is_some_and(|end| end == GZIP_SUFFIX) {
                true => Output::Gzip(GzEncoder::new(plain, Compression::default())),
                false => Output::Plain(plain),
            };
            let comment = comment.replace(|letter: char| letter.is_control(), " ");
            writeln!(out, "# {comment}").map(|()| out)
        };
        Ok(Self {
            file: file.to_owned(),
            out: Some(create().map_err(|error| failed(file, ErrorKind::Io(error)))?),
            lines: Lines::default(),
        })
    }

    /// Writes what `thread` does, whatever number the caller knows it by; returns what that changes.
    ///
    /// # Errors
    ///
    /// [`TraceError`] if it is not allowed there, or cannot be written.
    pub fn event(&mut self, thread: u32, action: Action) -> Result<Change, TraceError> {
        let Some(out) = &mut self.out else {
            return Err(failed(&self.file, ErrorKind::Empty));
        };
        let written = self.lines.event(out, thread, action);
        written.map_err(|kind| failed(&self.file, kind))
    }

    /// What is live now, and the counts so far.
    pub const fn ledger(&self) -> &Ledger {
        &self.lines.ledger
    }

    /// Ends the file.
    ///
    /// # Errors
    ///
    /// [`TraceError`] if it cannot be written, or there is no event in it.
    pub fn finish(mut self) -> Result<Ledger, TraceError> {
        if self.lines.ledger.events() == 0 {
            return Err(failed(&self.file, ErrorKind::Empty));
        }
        let ended = match self.out.take() {
            Some(Output::Plain(mut out)) => out.flush(),
            Some(Output::Gzip(out)) => out.finish().and_then(|mut out| out.flush()),
            None => Ok(()),
        };
        ended.map_err(|error| failed(&self.file, ErrorKind::Io(error)))?;
        Ok(mem::take(&mut self.lines.ledger))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.out.take().is_some() {
            // Half a trace would look like a whole one; whatever the error was, it has been told.
            let _ = std::fs::remove_file(&self.file);
        }
    }
}

fn failed(file: &Path, kind: ErrorKind) -> TraceError {
    TraceError {
        file: file.to_owned(),
        line: None,
        kind,
    }
}

/// The lines of a trace, and what they amount to.
#[derive(Debug, Default)]
pub(super) struct Lines {
    ledger: Ledger,
    /// The trace's number of each thread, in the order in which they came.
    threads: HashMap<u32, u16>,
    thread: u16,
}

impl Lines {
    /// Writes an event's line, and before it one that names its thread if that is another one.
    pub(super) fn event(
        &mut self,
        out: &mut impl Write,
        thread: u32,
        action: Action,
    ) -> Result<Change, ErrorKind> {
        // More than the format tells apart share numbers.
        let next = self.threads.len() % THREADS_MAX as usize;
        let next = u16::try_from(next).unwrap_or(0);
        let thread = *self.threads.entry(thread).or_insert(next);
        if thread != self.thread {
            self.thread = self.ledger.switch_to(thread.into())?;
            writeln!(out, "t {thread}").map_err(ErrorKind::Io)?;
        }
        let change = self.ledger.take(&Event { thread, action })?;
        writeln!(out, "{action}").map_err(ErrorKind::Io)?;
        Ok(change)
    }
}

/// Checks that a file can be written there: better now than when there is something to write.
///
/// # Errors
///
/// If there is no such folder.
pub fn check_folder(file: &Path) -> Result<()> {
    let folder = file.parent().filter(|folder| *folder != Path::new(""));
    let writable = folder.is_none_or(Path::is_dir) && !file.is_dir();
    ensure!(writable, "-o {}: no such folder", file.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::sound;

    const fn object(id: u32) -> Action {
        Action::Alloc {
            id,
            size: 8,
            align_log2: 0,
            zeroed: false,
        }
    }

    #[test]
    fn threads_are_numbered_as_they_come_and_more_than_there_are_numbers_share_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.trace.gz");
        let mut writer = Writer::create(&file, "two\nlines").unwrap();
        for id in 0..THREADS_MAX + 2 {
            writer.event(1_000_000 - id, object(id)).unwrap();
        }
        assert_eq!(writer.finish().unwrap().threads(), THREADS_MAX);
        let (events, _) = sound::read(&file);
        let threads: Vec<u16> = events.iter().map(|event| event.thread).collect();
        assert_eq!((threads[0], threads[1], threads[65_535]), (0, 1, 65_535));
        assert_eq!(threads[65_536..], [0, 1]);
    }

    #[test]
    fn what_is_not_allowed_is_refused_and_nothing_unfinished_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.trace");
        let mut writer = Writer::create(&file, "x").unwrap();
        writer.event(0, object(0)).unwrap();
        let error = writer.event(0, object(0)).unwrap_err().to_string();
        assert!(
            error.contains("x.trace: ID 0 is allocated a second time"),
            "{error}"
        );
        drop(writer);
        assert!(!file.exists());
        let empty = Writer::create(&file, "x").unwrap().finish().unwrap_err();
        assert!(matches!(empty.kind, ErrorKind::Empty) && !file.exists());
        check_folder(&file).unwrap();
        assert!(check_folder(folder.path()).is_err(), "a folder is no file");
    }
}
