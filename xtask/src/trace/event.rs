//! One line of a text trace.

use super::error::ErrorKind;
use std::fmt;

/// The largest order of a block of page frames.
pub const ORDER_MAX: u32 = 10;

/// What one thread did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which thread, from 0.
    pub thread: u16,
    /// What.
    pub action: Action,
}

/// What a line without a thread says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// An object is allocated.
    Alloc {
        /// It.
        id: u32,
        /// Its bytes, at least 1.
        size: u32,
        /// Its alignment as a power of two; 0 where none is named.
        align_log2: u8,
        /// Whether it is all zero.
        zeroed: bool,
    },
    /// An object gets another size.
    Realloc {
        /// It.
        id: u32,
        /// Its bytes from now on, at least 1.
        size: u32,
    },
    /// An object is freed.
    Free {
        /// It.
        id: u32,
    },
    /// Page frames are allocated.
    Pages {
        /// They.
        id: u32,
        /// There are 2^order of them.
        order: u32,
    },
    /// Page frames are freed.
    FreePages {
        /// They.
        id: u32,
    },
}

impl Action {
    /// What it is done to.
    pub const fn id(self) -> u32 {
        match self {
            Self::Alloc { id, .. }
            | Self::Realloc { id, .. }
            | Self::Free { id }
            | Self::Pages { id, .. }
            | Self::FreePages { id } => id,
        }
    }

    /// The same, done to `id`.
    #[must_use]
    pub const fn on(mut self, other: u32) -> Self {
        match &mut self {
            Self::Alloc { id, .. }
            | Self::Realloc { id, .. }
            | Self::Free { id }
            | Self::Pages { id, .. }
            | Self::FreePages { id } => *id = other,
        }
        self
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Alloc {
                id,
                size,
                zeroed: true,
                ..
            } => write!(f, "z {id} {size}"),
            Self::Alloc {
                id,
                size,
                align_log2: 0,
                ..
            } => write!(f, "a {id} {size}"),
            Self::Alloc {
                id,
                size,
                align_log2,
                ..
            } => write!(f, "a {id} {size} {}", 1_u64 << align_log2),
            Self::Realloc { id, size } => write!(f, "r {id} {size}"),
            Self::Free { id } => write!(f, "f {id}"),
            Self::Pages { id, order } => write!(f, "p {id} {order}"),
            Self::FreePages { id } => write!(f, "q {id}"),
        }
    }
}

/// A line that is neither a comment nor empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// What follows is done by this thread.
    Thread(u32),
    /// Something is done.
    Action(Action),
}

impl Line {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(line: &str) -> Result<Self, ErrorKind> {
        let mut words = Words(line.split_ascii_whitespace());
        let kind = words.0.next().unwrap_or_default();
        let action = match kind {
            "t" => {
                let thread = words.required("THREAD")?;
                words.end()?;
                return Ok(Self::Thread(thread));
            }
            "a" | "z" => {
                let (id, size) = (words.required("ID")?, words.size()?);
                let align_log2 = if kind == "a" { words.alignment()? } else { 0 };
                Action::Alloc {
                    id,
                    size,
                    align_log2,
                    zeroed: kind == "z",
                }
            }
            "r" => Action::Realloc {
                id: words.required("ID")?,
                size: words.size()?,
            },
            "f" => Action::Free {
                id: words.required("ID")?,
            },
            "p" => Action::Pages {
                id: words.required("ID")?,
                order: words.order()?,
            },
            "q" => Action::FreePages {
                id: words.required("ID")?,
            },
            other => return Err(ErrorKind::UnknownEvent(other.to_owned())),
        };
        words.end()?;
        Ok(Self::Action(action))
    }
}

/// The words of a line behind its first.
struct Words<'a>(std::str::SplitAsciiWhitespace<'a>);

impl Words<'_> {
    fn optional(&mut self, field: &'static str) -> Result<Option<u32>, ErrorKind> {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = digits.then(|| text.parse().ok()).flatten();
            number.ok_or_else(|| ErrorKind::NotANumber {
                field,
                text: text.to_owned(),
            })
        };
        self.0.next().map(number).transpose()
    }

    fn required(&mut self, field: &'static str) -> Result<u32, ErrorKind> {
        self.optional(field)?.ok_or(ErrorKind::Missing(field))
    }

    fn size(&mut self) -> Result<u32, ErrorKind> {
        match self.required("SIZE")? {
            0 => Err(ErrorKind::SizeZero),
            size => Ok(size),
        }
    }

    fn alignment(&mut self) -> Result<u8, ErrorKind> {
        let align = self.optional("ALIGN")?.unwrap_or(1);
        if align.is_power_of_two() {
            // Below 32 by its type.
            Ok(align.trailing_zeros().to_le_bytes()[0])
        } else {
            Err(ErrorKind::Alignment(align))
        }
    }

    fn order(&mut self) -> Result<u32, ErrorKind> {
        let order = self.required("ORDER")?;
        if order > ORDER_MAX {
            Err(ErrorKind::Order(order))
        } else {
            Ok(order)
        }
    }

    fn end(&mut self) -> Result<(), ErrorKind> {
        let excess = self.0.next();
        excess.map_or(Ok(()), |word| Err(ErrorKind::Excess(word.to_owned())))
    }
}
