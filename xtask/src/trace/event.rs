//! One line of a text trace.

use super::error::ErrorKind;

/// The largest order of a block of page frames.
pub(super) const ORDER_MAX: u32 = 10;

/// An event as the text has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextEvent {
    Alloc {
        id: u64,
        size: u32,
        align_log2: u8,
        zeroed: bool,
    },
    Realloc {
        id: u64,
        size: u32,
    },
    Free {
        id: u64,
    },
    Pages {
        id: u64,
        order: u32,
    },
    FreePages {
        id: u64,
    },
}

impl TextEvent {
    /// Reads one line that is neither a comment nor empty.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn parse(line: &str) -> Result<Self, ErrorKind> {
        let mut words = Words(line.split_ascii_whitespace());
        let kind = words.0.next().unwrap_or_default();
        let event = match kind {
            "a" | "z" => {
                let (id, size) = (words.id()?, words.size()?);
                let align_log2 = if kind == "a" { words.alignment()? } else { 0 };
                Self::Alloc {
                    id,
                    size,
                    align_log2,
                    zeroed: kind == "z",
                }
            }
            "r" => Self::Realloc {
                id: words.id()?,
                size: words.size()?,
            },
            "f" => Self::Free { id: words.id()? },
            "p" => Self::Pages {
                id: words.id()?,
                order: words.order()?,
            },
            "q" => Self::FreePages { id: words.id()? },
            other => return Err(ErrorKind::UnknownEvent(other.to_owned())),
        };
        match words.0.next() {
            Some(word) => Err(ErrorKind::Excess(word.to_owned())),
            None => Ok(event),
        }
    }
}

/// The words of a line behind its event.
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

    fn id(&mut self) -> Result<u64, ErrorKind> {
        self.required("ID").map(u64::from)
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
            Err(ErrorKind::Alignment(align.into()))
        }
    }

    fn order(&mut self) -> Result<u32, ErrorKind> {
        let order = self.required("ORDER")?;
        if order > ORDER_MAX {
            Err(ErrorKind::Order(order.into()))
        } else {
            Ok(order)
        }
    }
}
