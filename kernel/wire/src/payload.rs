//! The payload behind the flat image: a command line and files.
//!
//! ```text
//!   offset  bytes  what
//!        0      8  magic "TESSERA1"
//!        8      8  length of everything from offset 0 (u64 LE)
//!       16      4  CRC-32 of everything from offset 20
//!       20      4  length of the command line (u32 LE)
//!       24      4  number of files (u32 LE)
//!       28      4  zero
//!       32      …  command line, UTF-8, padded with zeros to 8 bytes
//!        …      …  each file: length of its name, length of its data (u64 LE each), name, data,
//!                  both padded with zeros to 8 bytes
//! ```
//!
//! xtask appends it at the image's end (its `.bss` included), 4 KiB aligned, and counts it in the
//! Image header's `image_size`, so that a boot loader keeps it and memblock reserves it: the same for
//! QEMU and for a card.

use core::fmt;

/// The first eight bytes.
pub const MAGIC: [u8; 8] = *b"TESSERA1";
/// Bytes before the command line.
pub const HEADER_BYTES: usize = 32;
/// Alignment of the payload behind the image, in bytes.
pub const ALIGN_BYTES: usize = 4096;
/// Alignment of every part in bytes.
const PART_BYTES: usize = 8;

/// Why bytes are no payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PayloadError {
    /// Another magic, or nothing at all.
    Magic,
    /// A length inside points past the end, at this offset.
    Truncated {
        /// Offset of what did not fit.
        offset: usize,
    },
    /// The checksum sent and the one computed differ.
    Checksum {
        /// The checksum in the header.
        sent: u32,
        /// The checksum of what is there.
        computed: u32,
    },
    /// A name or the command line is not UTF-8.
    NotText {
        /// Offset of the text.
        offset: usize,
    },
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("no payload magic"),
            Self::Truncated { offset } => write!(f, "payload truncated at byte {offset}"),
            Self::Checksum { sent, computed } => {
                write!(
                    f,
                    "payload checksum {computed:#010x}, expected {sent:#010x}"
                )
            }
            Self::NotText { offset } => write!(f, "payload text at byte {offset} is not UTF-8"),
        }
    }
}

impl core::error::Error for PayloadError {}

/// A payload whose checksum held.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    command_line: &'a str,
    files: &'a [u8],
    file_count: u32,
    offset: usize,
}

impl<'a> Payload<'a> {
    /// Reads a payload from the start of `bytes`.
    ///
    /// # Errors
    ///
    /// See [`PayloadError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PayloadError> {
        let header = bytes.get(..HEADER_BYTES).ok_or(PayloadError::Magic)?;
        if header[..8] != MAGIC {
            return Err(PayloadError::Magic);
        }
        let length = usize::try_from(u64_at(header, 8)).unwrap_or(usize::MAX);
        let whole = bytes
            .get(..length)
            .filter(|whole| whole.len() >= HEADER_BYTES);
        let whole = whole.ok_or(PayloadError::Truncated { offset: 8 })?;
        let (sent, computed) = (u32_at(header, 16), crate::crc::checksum(&whole[20..]));
        if sent != computed {
            return Err(PayloadError::Checksum { sent, computed });
        }
        let mut parts = Parts {
            bytes: whole,
            offset: HEADER_BYTES,
        };
        let command_line = parts.text(u64::from(u32_at(header, 20)))?;
        Ok(Self {
            command_line,
            files: whole,
            file_count: u32_at(header, 24),
            offset: parts.offset,
        })
    }

    /// The command line; see [`Params`](crate::params::Params).
    pub const fn command_line(&self) -> &'a str {
        self.command_line
    }

    /// The files, in order, as name and data.
    ///
    /// # Errors
    ///
    /// An item is an error where a length points past the end; it is the last item then.
    pub fn files(&self) -> impl Iterator<Item = Result<(&'a str, &'a [u8]), PayloadError>> {
        let mut parts = Parts {
            bytes: self.files,
            offset: self.offset,
        };
        let mut left = self.file_count;
        core::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let file = parts.file();
            if file.is_err() {
                left = 0;
            }
            Some(file)
        })
    }
}

/// A reading position.
struct Parts<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Parts<'a> {
    fn part(&mut self, length: u64) -> Result<&'a [u8], PayloadError> {
        let truncated = PayloadError::Truncated {
            offset: self.offset,
        };
        let length = usize::try_from(length).map_err(|_| truncated)?;
        let end = self.offset.checked_add(length).ok_or(truncated)?;
        let part = self.bytes.get(self.offset..end).ok_or(truncated)?;
        self.offset = end.next_multiple_of(PART_BYTES);
        Ok(part)
    }

    fn text(&mut self, length: u64) -> Result<&'a str, PayloadError> {
        let offset = self.offset;
        core::str::from_utf8(self.part(length)?).map_err(|_| PayloadError::NotText { offset })
    }

    fn file(&mut self) -> Result<(&'a str, &'a [u8]), PayloadError> {
        let lengths = self.part(16)?;
        let (name, data) = (u64_at(lengths, 0), u64_at(lengths, 8));
        Ok((self.text(name)?, self.part(data)?))
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | (u64::from(u32_at(bytes, at + 4)) << 32)
}

/// Writes a payload: calls `out` with consecutive pieces. Twice: once to learn length and checksum.
pub fn write<'a, F>(command_line: &str, files: F, mut out: impl FnMut(&[u8]))
where
    F: Iterator<Item = (&'a str, &'a [u8])> + Clone,
{
    let count = u32::try_from(files.clone().count()).unwrap_or(u32::MAX);
    let (mut crc, mut length) = (crate::crc::Crc32::new(), 20_u64);
    body(command_line, count, files.clone(), &mut |piece| {
        piece.iter().for_each(|&byte| crc.update(byte));
        length += piece.len() as u64;
    });
    out(&MAGIC);
    out(&length.to_le_bytes());
    out(&crc.finish().to_le_bytes());
    body(command_line, count, files, &mut out);
}

fn body<'a>(
    command_line: &str,
    count: u32,
    files: impl Iterator<Item = (&'a str, &'a [u8])>,
    out: &mut impl FnMut(&[u8]),
) {
    let line_bytes = u32::try_from(command_line.len()).unwrap_or(u32::MAX);
    out(&line_bytes.to_le_bytes());
    out(&count.to_le_bytes());
    out(&[0; 4]);
    let mut padded = |part: &[u8]| {
        out(part);
        out(&[0; PART_BYTES][..part.len().next_multiple_of(PART_BYTES) - part.len()]);
    };
    padded(command_line.as_bytes());
    for (name, data) in files {
        padded(&(name.len() as u64).to_le_bytes());
        padded(&(data.len() as u64).to_le_bytes());
        padded(name.as_bytes());
        padded(data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(command_line: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(command_line, files.iter().copied(), |piece| {
            bytes.extend_from_slice(piece);
        });
        bytes
    }

    #[test]
    fn what_is_written_is_read_and_later_bytes_do_not_matter() {
        let files: [(&str, &[u8]); 3] = [("a", b""), ("trace", b"12345"), ("c.bin", &[0; 16])];
        let mut bytes = written("log=info seed=1", &files);
        assert_eq!(bytes.len() % PART_BYTES, 0);
        bytes.extend_from_slice(&[0xAA; 100]);
        let payload = Payload::parse(&bytes).unwrap();
        assert_eq!(payload.command_line(), "log=info seed=1");
        let read: Vec<_> = payload.files().map(Result::unwrap).collect();
        assert_eq!(read, files);
    }

    #[test]
    fn a_board_without_a_payload_is_told_so() {
        assert_eq!(Payload::parse(&[0; 64]).unwrap_err(), PayloadError::Magic);
        assert_eq!(Payload::parse(&[]).unwrap_err(), PayloadError::Magic);
    }

    proptest! {
        #[test]
        fn a_changed_byte_or_a_cut_is_an_error(at in any::<prop::sample::Index>(), flip in 1_u8..) {
            let bytes = written("seed=1", &[("x", b"abc")]);
            let at = at.index(bytes.len());
            prop_assert!(Payload::parse(&bytes[..at]).is_err());
            let mut changed = bytes;
            changed[at] ^= flip;
            prop_assert!(Payload::parse(&changed).is_err());
        }
    }
}
