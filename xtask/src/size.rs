//! Sizes of memory, read and written as QEMU does.

use std::fmt;
use std::str::FromStr;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A memory size in bytes, written as QEMU does: `64M`, `2G`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes % GIB == 0 => write!(f, "{}G", bytes / GIB),
            bytes if bytes % MIB == 0 => write!(f, "{}M", bytes / MIB),
            bytes => write!(f, "{}K", bytes / 1024),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit = match text.as_bytes().last() {
            Some(b'K' | b'k') => 1024,
            Some(b'M' | b'm') => MIB,
            Some(b'G' | b'g') => GIB,
            _ => return Err("a size is a number and K, M or G, as in 512M".to_owned()),
        };
        let number: u64 = text[..text.len() - 1]
            .parse()
            .map_err(|_| format!("`{text}` is not a number followed by K, M or G"))?;
        let bytes = number.checked_mul(unit).filter(|bytes| bytes % MIB == 0);
        bytes
            .map(Self)
            .ok_or_else(|| format!("`{text}` is not a whole number of MiB"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_as_qemu_does() {
        for (text, bytes, shown) in [
            ("64M", 64 << 20, "64M"),
            ("8g", 8 << 30, "8G"),
            ("65536K", 64 << 20, "64M"),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)));
            assert_eq!(Size(bytes).to_string(), shown);
        }
        for text in ["", "M", "512", "-1M", "1.5G", "3K", "99999999999999G", "é"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
