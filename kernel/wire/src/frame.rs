//! Frames on the serial line.
//!
//! One UART carries everything an image says. Each message is a frame:
//!
//! ```text
//!   00 │ COBS( channel, sequence (u16 LE), payload …, CRC-32 (u32 LE) ) │ 00
//! ```
//!
//! COBS (Cheshire and Baker, 1999) leaves no zero byte inside, so a zero always ends whatever came
//! before it: the host cuts the line at zeros, and every piece is either a frame whose checksum holds
//! or plain text that the earliest boot or a panic wrote. A frame that a panic cut short is neither,
//! and is counted as lost. Sequence numbers run over all channels, so that a frame that vanished
//! whole is noticed too.
//!
//! The encoder streams: it holds one COBS block (254 bytes) and needs no length in advance, so a log
//! line of any length costs the same small buffer.

use crate::crc::Crc32;

/// What a frame is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Channel {
    /// One defmt frame in raw encoding.
    Log = 1,
    /// UTF-8 text for the user: reports, an app's output.
    Text = 2,
    /// One `postcard` [`bench::Record`](crate::bench::Record).
    Bench = 3,
    /// One `postcard` [`control::Control`](crate::control::Control).
    Control = 4,
    /// One [`fault::Dump`](crate::fault::Dump).
    Fault = 5,
    /// One `postcard` [`report::Record`](crate::report::Record).
    Report = 6,
}

impl Channel {
    /// The channel numbered `raw`.
    pub const fn new(raw: u8) -> Option<Self> {
        Some(match raw {
            1 => Self::Log,
            2 => Self::Text,
            3 => Self::Bench,
            4 => Self::Control,
            5 => Self::Fault,
            6 => Self::Report,
            _ => return None,
        })
    }
}

/// Most bytes that one COBS block holds.
const BLOCK_BYTES: usize = 254;

/// A streaming encoder for one frame at a time.
///
/// `start`, any number of `write`s, `finish`; each is given where the bytes go.
#[derive(Debug)]
pub struct Encoder {
    sequence: u16,
    crc: Crc32,
    block: [u8; BLOCK_BYTES],
    used: usize,
}

impl Encoder {
    /// An encoder that will number its first frame 0.
    pub const fn new() -> Self {
        Self {
            sequence: 0,
            crc: Crc32::new(),
            block: [0; BLOCK_BYTES],
            used: 0,
        }
    }

    /// Opens a frame, abandoning one that was left open: its start ends the torn one on the line.
    pub fn start(&mut self, channel: Channel, mut out: impl FnMut(u8)) {
        self.used = 0;
        self.crc = Crc32::new();
        out(0);
        self.write(&[channel as u8], &mut out);
        self.write(&self.sequence.to_le_bytes(), &mut out);
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// Adds payload bytes.
    pub fn write(&mut self, bytes: &[u8], mut out: impl FnMut(u8)) {
        for &byte in bytes {
            self.crc.update(byte);
            self.stuff(byte, &mut out);
        }
    }

    /// Closes the frame.
    pub fn finish(&mut self, mut out: impl FnMut(u8)) {
        for byte in self.crc.finish().to_le_bytes() {
            self.stuff(byte, &mut out);
        }
        self.flush(&mut out);
        out(0);
    }

    fn stuff(&mut self, byte: u8, out: &mut impl FnMut(u8)) {
        if self.used == BLOCK_BYTES {
            self.flush(out);
        }
        if byte == 0 {
            self.flush(out);
        } else {
            self.block[self.used] = byte;
            self.used += 1;
        }
    }

    /// Emits the block: its length plus one, then its bytes. A full block (code 255) implies no zero
    /// after it, every other one does.
    fn flush(&mut self, out: &mut impl FnMut(u8)) {
        // At most 254, so the code fits a byte.
        out(u8::try_from(self.used + 1).unwrap_or(u8::MAX));
        for &byte in &self.block[..self.used] {
            out(byte);
        }
        self.used = 0;
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

/// A frame whose checksum held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is about.
    pub channel: Channel,
    /// Its number on this line, modulo 2¹⁶.
    pub sequence: u16,
    /// What it says.
    pub payload: &'a [u8],
}

/// Why a piece between two zeros is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// The COBS code at this offset points past the end: the piece was cut short or is plain text.
    Torn {
        /// Offset of the code byte.
        offset: usize,
    },
    /// Fewer bytes than header and checksum take.
    Short(usize),
    /// The checksum sent and the one computed differ.
    Checksum {
        /// The checksum in the frame.
        sent: u32,
        /// The checksum of what arrived.
        computed: u32,
    },
    /// A sound frame on a channel that this version does not know.
    UnknownChannel(u8),
}

impl core::fmt::Display for FrameError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Torn { offset } => write!(f, "cut short after byte {offset}"),
            Self::Short(bytes) => write!(f, "only {bytes} bytes long"),
            Self::Checksum { sent, computed } => {
                write!(f, "checksum {computed:#010x}, sent as {sent:#010x}")
            }
            Self::UnknownChannel(raw) => write!(f, "unknown channel {raw}"),
        }
    }
}

impl core::error::Error for FrameError {}

/// Bytes of channel and sequence number.
const HEADER_BYTES: usize = 3;
/// Bytes of the checksum.
const CRC_BYTES: usize = 4;

/// Decodes the bytes between two zeros, in place.
///
/// # Errors
///
/// See [`FrameError`]; `piece` is then half decoded, so plain text must be told apart from a copy.
pub fn decode(piece: &mut [u8]) -> Result<Frame<'_>, FrameError> {
    let length = unstuff(piece)?;
    if length < HEADER_BYTES + CRC_BYTES {
        return Err(FrameError::Short(length));
    }
    let (body, crc) = piece[..length].split_at(length - CRC_BYTES);
    let sent = u32::from_le_bytes([crc[0], crc[1], crc[2], crc[3]]);
    let computed = crate::crc::checksum(body);
    if sent != computed {
        return Err(FrameError::Checksum { sent, computed });
    }
    let channel = Channel::new(body[0]).ok_or(FrameError::UnknownChannel(body[0]))?;
    let sequence = u16::from_le_bytes([body[1], body[2]]);
    Ok(Frame {
        channel,
        sequence,
        payload: &body[HEADER_BYTES..],
    })
}

/// Undoes COBS in place; returns how many bytes are left.
fn unstuff(piece: &mut [u8]) -> Result<usize, FrameError> {
    let (mut from, mut to) = (0, 0);
    while from < piece.len() {
        let code = usize::from(piece[from]);
        let end = from + code;
        if code == 0 || end > piece.len() {
            return Err(FrameError::Torn { offset: from });
        }
        piece.copy_within(from + 1..end, to);
        to += code - 1;
        from = end;
        if code <= BLOCK_BYTES && from < piece.len() {
            piece[to] = 0;
            to += 1;
        }
    }
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(channel: Channel, writes: &[Vec<u8>]) -> Vec<u8> {
        let (mut line, mut encoder) = (Vec::new(), Encoder::new());
        encoder.start(channel, |byte| line.push(byte));
        for bytes in writes {
            encoder.write(bytes, |byte| line.push(byte));
        }
        encoder.finish(|byte| line.push(byte));
        line
    }

    proptest! {
        #[test]
        fn what_is_sent_arrives_and_another_decoder_agrees(
            writes in prop::collection::vec(prop::collection::vec(0_u8..4, 0..600), 0..4),
        ) {
            let line = encode(Channel::Text, &writes);
            prop_assert_eq!((line[0], line[line.len() - 1]), (0, 0));
            let mut piece = line[1..line.len() - 1].to_vec();
            prop_assert!(!piece.contains(&0));
            let reference = cobs::decode_vec(&piece).unwrap();
            let frame = decode(&mut piece).unwrap();
            prop_assert_eq!(frame.payload, writes.concat());
            prop_assert_eq!(&reference[HEADER_BYTES..reference.len() - CRC_BYTES], frame.payload);
        }

        #[test]
        fn a_changed_byte_or_a_cut_is_noticed(
            payload in prop::collection::vec(any::<u8>(), 0..600), at in any::<prop::sample::Index>(),
            flip in 1_u8..=255,
        ) {
            let line = encode(Channel::Log, &[payload]);
            let piece = &line[1..line.len() - 1];
            let at = at.index(piece.len());
            prop_assert!(decode(&mut piece[..at].to_vec()).is_err());
            let mut changed = piece.to_vec();
            changed[at] ^= flip;
            prop_assert!(changed[at] == 0 || decode(&mut changed).is_err());
        }
    }

    #[test]
    fn a_full_block_implies_no_zero() {
        for length in [253, 254, 255, 508, 509] {
            let line = encode(Channel::Bench, &[vec![7; length]]);
            let frame_bytes = &mut line[1..line.len() - 1].to_vec();
            assert_eq!(decode(frame_bytes).unwrap().payload, vec![7; length]);
        }
    }

    #[test]
    fn a_frame_costs_ten_bytes_and_one_for_every_254() {
        for (payload, overhead) in [(0, 10), (100, 10), (254, 11), (1000, 13)] {
            let line = encode(Channel::Text, &[vec![7; payload]]);
            assert_eq!(line.len(), payload + overhead, "{payload}");
        }
    }

    #[test]
    fn frames_are_numbered() {
        let (mut line, mut encoder) = (Vec::new(), Encoder::new());
        for _ in 0..3 {
            encoder.start(Channel::Log, |byte| line.push(byte));
            encoder.finish(|byte| line.push(byte));
        }
        let numbers: Vec<u16> = line
            .split(|&byte| byte == 0)
            .filter(|piece| !piece.is_empty())
            .map(|piece| decode(&mut piece.to_vec()).unwrap().sequence)
            .collect();
        assert_eq!(numbers, [0, 1, 2]);
    }
}
