//! Everything that can be wrong with a text trace, said in one line.

use super::event::ORDER_MAX;
use super::read::LINE_BYTES;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Where and why a file is no sound trace.
#[derive(Debug)]
pub struct TraceError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; none for what concerns the whole file.
    pub line: Option<u64>,
    /// Why.
    pub kind: ErrorKind,
}

/// Why.
#[derive(Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file could not be read or decompressed.
    Io(io::Error),
    /// Longer than any event.
    LineTooLong,
    /// Not text.
    NotText,
    /// A first word that names no event.
    UnknownEvent(String),
    /// A word that is missing, by name.
    Missing(&'static str),
    /// A word too many.
    Excess(String),
    /// A word that is no number in range.
    NotANumber {
        /// Which word.
        field: &'static str,
        /// What is there.
        text: String,
    },
    /// An object of no bytes.
    SizeZero,
    /// An alignment that is no power of two.
    Alignment(u32),
    /// An order above 10.
    Order(u32),
    /// An id that is not the next new one.
    NotDense {
        /// The id there.
        id: u32,
        /// The id that should be there.
        next: u32,
    },
    /// An id that was allocated before.
    AllocatedTwice(u32),
    /// A free of what is free.
    DoubleFree(u32),
    /// A reallocation of what is free.
    ReallocAfterFree(u32),
    /// An id that was never allocated.
    UnknownId(u32),
    /// An object used as page frames.
    NotPages(u32),
    /// Page frames used as an object.
    NotAnObject(u32),
    /// A thread that is neither the next new one nor one before that.
    ThreadNotDense {
        /// The thread there.
        thread: u32,
        /// The next new one.
        next: u32,
    },
    /// More threads than this.
    TooManyThreads(u32),
    /// More events than a record's 32-bit number counts.
    TooMany,
    /// No event at all.
    Empty,
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}", self.kind)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::LineTooLong => write!(f, "a line of more than {LINE_BYTES} bytes"),
            Self::NotText => f.write_str("not UTF-8 text"),
            Self::UnknownEvent(word) => {
                write!(
                    f,
                    "unknown event `{word}`: events are a, z, r, f, p and q; t names a thread"
                )
            }
            Self::Missing(field) => write!(f, "{field} is missing"),
            Self::Excess(word) => write!(f, "`{word}` is one word too many"),
            Self::NotANumber { field, text } => {
                write!(f, "{field} `{text}` is not a number below 2^32")
            }
            Self::SizeZero => f.write_str("SIZE is 0: it must be at least 1"),
            Self::Alignment(align) => write!(f, "ALIGN {align} is not a power of two"),
            Self::Order(order) => write!(f, "ORDER {order} is more than {ORDER_MAX}"),
            Self::NotDense { id, next } => {
                write!(
                    f,
                    "ID {id} comes before {next}: ids count up from 0 without gaps"
                )
            }
            Self::AllocatedTwice(id) => write!(f, "ID {id} is allocated a second time"),
            Self::DoubleFree(id) => write!(f, "ID {id} is freed a second time"),
            Self::ReallocAfterFree(id) => write!(f, "ID {id} is reallocated after it was freed"),
            Self::UnknownId(id) => write!(f, "ID {id} was never allocated"),
            Self::NotPages(id) => write!(f, "ID {id} is an object, not page frames: use f"),
            Self::NotAnObject(id) => write!(f, "ID {id} is page frames, not an object: use q"),
            Self::ThreadNotDense { thread, next } => write!(
                f,
                "THREAD {thread} comes before {next}: threads count up from 0 without gaps"
            ),
            Self::TooManyThreads(most) => write!(f, "more than {most} threads"),
            Self::TooMany => f.write_str("more than 2^32 - 1 events"),
            Self::Empty => f.write_str("no event in it"),
        }
    }
}

impl std::error::Error for TraceError {}
