//! Writes a trace, plain or compressed, and checks it by the reader's own rules.

use super::event::Event;
use super::ledger::{Change, Ledger};
use super::{ErrorKind, TraceError};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// What a compressed file's name ends with.
const GZIP_SUFFIX: &str = "gz";

/// A trace that is being written to a file.
#[derive(Debug)]
pub struct Writer {
    file: PathBuf,
    out: Output,
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
            out: create().map_err(|error| failed(file, error))?,
            lines: Lines::default(),
        })
    }

    /// Writes an event; returns what it does.
    ///
    /// # Errors
    ///
    /// [`TraceError`] if it is not allowed there, or cannot be written.
    pub fn event(&mut self, event: &Event) -> Result<Change, TraceError> {
        let written = self.lines.event(&mut self.out, event);
        written.map_err(|kind| TraceError {
            file: self.file.clone(),
            line: None,
            kind,
        })
    }

    /// What is live now, and the counts so far.
    pub const fn ledger(&self) -> &Ledger {
        &self.lines.ledger
    }

    /// Ends the file.
    ///
    /// # Errors
    ///
    /// [`TraceError`] if it cannot be written.
    pub fn finish(self) -> Result<Ledger, TraceError> {
        let ended = match self.out {
            Output::Plain(mut out) => out.flush(),
            Output::Gzip(out) => out.finish().and_then(|mut out| out.flush()),
        };
        ended.map_err(|error| failed(&self.file, error))?;
        Ok(self.lines.ledger)
    }
}

fn failed(file: &Path, error: io::Error) -> TraceError {
    TraceError {
        file: file.to_owned(),
        line: None,
        kind: ErrorKind::Io(error),
    }
}

/// The lines of a trace, and what they amount to.
#[derive(Debug, Default)]
pub(super) struct Lines {
    ledger: Ledger,
    thread: u16,
}

impl Lines {
    /// Writes an event's line, and before it one that names its thread if that is another one.
    pub(super) fn event(
        &mut self,
        out: &mut impl Write,
        event: &Event,
    ) -> Result<Change, ErrorKind> {
        if event.thread != self.thread {
            self.thread = self.ledger.switch_to(event.thread.into())?;
            writeln!(out, "t {}", self.thread).map_err(ErrorKind::Io)?;
        }
        let change = self.ledger.take(event)?;
        writeln!(out, "{}", event.action).map_err(ErrorKind::Io)?;
        Ok(change)
    }
}
