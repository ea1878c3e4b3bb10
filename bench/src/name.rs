//! Rows' names: text of bounded length that needs no heap.

use core::fmt::{self, Write};
use core::ops::Deref;

/// Longest name of a row in bytes.
pub const NAME_BYTES: usize = 96;

/// A row's name or the front of one, without a heap to keep it in.
#[derive(Clone, Copy)]
pub struct Name {
    bytes: [u8; NAME_BYTES],
    length: usize,
}

impl Name {
    /// A name as `format_args!` makes it. What exceeds [`NAME_BYTES`] is cut off.
    pub fn new(text: fmt::Arguments<'_>) -> Self {
        let mut name = Self {
            bytes: [0; NAME_BYTES],
            length: 0,
        };
        // Only a name that is too long fails to be written, and is then as long as it can be.
        let _ = name.write_fmt(text);
        name
    }
}

impl Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.chars() {
            let mut buffer = [0; 4];
            let part = part.encode_utf8(&mut buffer).as_bytes();
            let end = self.length + part.len();
            let place = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
            place.copy_from_slice(part);
            self.length = end;
        }
        Ok(())
    }
}

impl Deref for Name {
    type Target = str;
    fn deref(&self) -> &str {
        // Whole characters were written and nothing else.
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_too_long_is_cut_between_characters() {
        let name = Name::new(format_args!("{}ä{}", "x".repeat(NAME_BYTES - 1), "y"));
        assert_eq!(&*name, "x".repeat(NAME_BYTES - 1));
    }
}
