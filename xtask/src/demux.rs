//! The serial line taken apart: frames, plain text, and what was lost.
//!
//! The line is cut at zero bytes. A piece whose checksum holds is a frame; a printable one is plain
//! text that the earliest boot or a panic wrote; any other was torn, and printable lines at its end
//! are still shown, for they are what a panic has to say. Frames are numbered, so that one which
//! vanished whole is noticed as well.
//!
//! No frame looks like text: its second byte is always the channel's, or a zero's COBS code, all of
//! them control characters. So two printable bytes settle that a piece is text, and its lines can be
//! shown before the piece has ended.

use wire::frame::{self, Channel};

/// What a piece of the line was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A sound frame.
    Frame(Channel, &'a [u8]),
    /// Plain text: whole lines, or the part of one that has been waiting.
    Text(&'a str),
}

/// Takes a serial line apart.
#[derive(Debug, Default)]
pub struct Demux {
    pending: Vec<u8>,
    /// The number that the next frame must have; frames start at 0.
    next: u16,
    /// Whether a sound frame has come.
    has_begun: bool,
    /// Torn pieces since the last sound frame.
    torn: u32,
    lost: u32,
}

/// Most bytes of one piece; a longer one is noise. The largest frame is a dump of a whole stack.
const MOST_PIECE_BYTES: usize = 4 << 20;

impl Demux {
    /// Takes in `bytes` as they arrived.
    pub fn push(&mut self, bytes: &[u8], out: &mut dyn FnMut(Piece<'_>)) {
        for part in bytes.split_inclusive(|&byte| byte == 0) {
            let (ended, part) = match part {
                [part @ .., 0] => (true, part),
                part => (false, part),
            };
            self.pending.extend_from_slice(part);
            if ended || self.pending.len() > MOST_PIECE_BYTES {
                let mut piece = std::mem::take(&mut self.pending);
                self.piece(&mut piece, out);
            }
        }
        self.show_pending(true, out);
    }

    /// Shows text that has been waiting for the end of its line; called when the line has been quiet.
    pub fn idle(&mut self, out: &mut dyn FnMut(Piece<'_>)) {
        self.show_pending(false, out);
    }

    /// The line has ended: takes what is pending as it is, and says how many frames were lost in all.
    pub fn finish(&mut self, out: &mut dyn FnMut(Piece<'_>)) -> u32 {
        let mut piece = std::mem::take(&mut self.pending);
        self.piece(&mut piece, out);
        self.lost += std::mem::take(&mut self.torn);
        self.lost
    }

    fn show_pending(&mut self, whole_lines: bool, out: &mut dyn FnMut(Piece<'_>)) {
        let Some(text) = as_text(&self.pending).filter(|text| text.len() >= 2) else {
            return;
        };
        let shown = if whole_lines {
            text.rfind('\n').map_or(0, |at| at + 1)
        } else {
            text.len()
        };
        if shown > 0 {
            out(Piece::Text(&text[..shown]));
            self.pending.drain(..shown);
        }
    }

    fn piece(&mut self, piece: &mut [u8], out: &mut dyn FnMut(Piece<'_>)) {
        if piece.is_empty() {
            return;
        }
        if let Some(text) = as_text(piece) {
            return out(Piece::Text(text));
        }
        let torn = piece.to_vec();
        match frame::decode(piece) {
            Ok(frame) => {
                // A torn frame and the gap in the numbers that it leaves are one loss.
                let gap = u32::from(frame.sequence.wrapping_sub(self.next));
                let torn = std::mem::take(&mut self.torn);
                // What came before the very first frame was none: a line that is switched on makes noise.
                let is_first = !std::mem::replace(&mut self.has_begun, true);
                self.lost += if is_first { gap } else { gap.max(torn) };
                self.next = frame.sequence.wrapping_add(1);
                out(Piece::Frame(frame.channel, frame.payload));
            }
            Err(_) => {
                self.torn += 1;
                if let Some(text) = text_at_the_end(&torn) {
                    out(Piece::Text(text));
                }
            }
        }
    }
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t' | 0x1B)
}

fn as_text(bytes: &[u8]) -> Option<&str> {
    let printable = bytes.iter().all(|&byte| is_printable(byte));
    std::str::from_utf8(bytes).ok().filter(|_| printable)
}

/// The printable end of a torn piece, if it is long enough not to be an accident.
fn text_at_the_end(piece: &[u8]) -> Option<&str> {
    const LEAST: usize = 8;
    let from = piece
        .iter()
        .rposition(|&byte| !is_printable(byte))
        .map_or(0, |at| at + 1);
    as_text(&piece[from..]).filter(|text| text.len() >= LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wire::frame::Encoder;

    #[derive(Clone, Debug, PartialEq)]
    enum Seen {
        Frame(Channel, Vec<u8>),
        Text(String),
    }

    fn send(encoder: &mut Encoder, channel: Channel, payload: &[u8]) -> Vec<u8> {
        let mut line = Vec::new();
        encoder.start(channel, |byte| line.push(byte));
        encoder.write(payload, |byte| line.push(byte));
        encoder.finish(|byte| line.push(byte));
        line
    }

    /// What is seen when the line arrives in `chunks`, adjoining texts joined, and what was lost.
    fn take_apart<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Seen>, u32) {
        let (mut demux, mut seen) = (Demux::default(), Vec::new());
        let mut note = |piece: Piece<'_>| match (piece, seen.last_mut()) {
            (Piece::Frame(channel, payload), _) => {
                seen.push(Seen::Frame(channel, payload.to_vec()));
            }
            (Piece::Text(text), Some(Seen::Text(before))) => before.push_str(text),
            (Piece::Text(text), _) => seen.push(Seen::Text(text.to_owned())),
        };
        for chunk in chunks {
            demux.push(chunk, &mut note);
        }
        let lost = demux.finish(&mut note);
        (seen, lost)
    }

    #[test]
    fn frames_and_plain_text_share_the_line() {
        let mut encoder = Encoder::new();
        let mut line = b"early boot\n".to_vec();
        line.extend(send(&mut encoder, Channel::Text, b"hello"));
        line.extend(send(&mut encoder, Channel::Control, &[0, 1, 0]));
        line.extend(b"panicked at x.rs:1\n");
        let seen = [
            Seen::Text("early boot\n".into()),
            Seen::Frame(Channel::Text, b"hello".to_vec()),
            Seen::Frame(Channel::Control, vec![0, 1, 0]),
            Seen::Text("panicked at x.rs:1\n".into()),
        ];
        assert_eq!(take_apart([&line[..]]), (seen.to_vec(), 0));
    }

    #[test]
    fn a_frame_that_vanished_or_came_torn_is_counted_once() {
        let mut encoder = Encoder::new();
        let mut frame = || send(&mut encoder, Channel::Text, b"payload");
        let (first, second, third, fourth) = (frame(), frame(), frame(), frame());
        assert_eq!(take_apart([&first[..], &third, &fourth]).1, 1);
        assert_eq!(take_apart([&second[..]]).1, 1);
        let torn = &second[..second.len() - 4];
        assert_eq!(take_apart([&first[..], torn, &third, &fourth]).1, 1);
        assert_eq!(take_apart([&first[..], torn]).1, 1);
        assert_eq!(take_apart([&first[..], &second, &third, &fourth]).1, 0);
    }

    #[test]
    fn noise_before_the_first_frame_is_no_loss() {
        let mut encoder = Encoder::new();
        let mut frame = || send(&mut encoder, Channel::Text, b"payload");
        let (first, second, third) = (frame(), frame(), frame());
        let noise = b"\xFE\x80\x03";
        assert_eq!(take_apart([&noise[..], &first, &second]).1, 0);
        assert_eq!(take_apart([&noise[..], &third]).1, 2);
        assert_eq!(take_apart([&first[..], noise, &second]).1, 1);
    }

    #[test]
    fn numbers_wrap_around() {
        let mut encoder = Encoder::new();
        let line: Vec<u8> = (0..66_000)
            .flat_map(|_| send(&mut encoder, Channel::Log, b"x"))
            .collect();
        let (seen, lost) = take_apart([&line[..]]);
        assert_eq!((seen.len(), lost), (66_000, 0));
    }

    #[test]
    fn what_a_panic_says_after_a_torn_frame_is_shown() {
        let mut encoder = Encoder::new();
        let mut line = send(&mut encoder, Channel::Bench, &[0xFF; 300]);
        line.truncate(200);
        line.extend(b"\npanicked: out of frames\n");
        let (seen, lost) = take_apart([&line[..]]);
        assert_eq!(seen, [Seen::Text("\npanicked: out of frames\n".into())]);
        assert_eq!(lost, 1);
    }

    #[test]
    fn text_is_shown_by_lines_at_once_and_by_parts_when_the_line_is_quiet() {
        let (mut demux, mut seen) = (Demux::default(), Vec::new());
        let mut note = |piece: Piece<'_>| match piece {
            Piece::Text(text) => seen.push(text.to_owned()),
            Piece::Frame(..) => panic!("there was no frame"),
        };
        demux.push(b"one\ntw", &mut note);
        demux.idle(&mut note);
        demux.push(b"o", &mut note);
        demux.idle(&mut note);
        assert_eq!(demux.finish(&mut note), 0);
        assert_eq!(seen, ["one\n", "tw", "o"]);
    }

    proptest! {
        #[test]
        fn a_quiet_line_never_breaks_a_frame(
            payload in prop::collection::vec(any::<u8>(), 0..80), earlier in 0_u16..600,
            at in any::<prop::sample::Index>(),
        ) {
            let mut encoder = Encoder::new();
            let (mut demux, mut got) = (Demux::default(), None);
            for _ in 0..earlier {
                demux.push(&send(&mut encoder, Channel::Log, b""), &mut |_| {});
            }
            let line = send(&mut encoder, Channel::Text, &payload);
            let (before, after) = line.split_at(at.index(line.len()));
            let mut note = |piece: Piece<'_>| match piece {
                Piece::Frame(_, payload) => got = Some(payload.to_vec()),
                Piece::Text(text) => panic!("text {text:?}"),
            };
            demux.push(before, &mut note);
            demux.idle(&mut note);
            demux.push(after, &mut note);
            prop_assert_eq!(demux.finish(&mut note), 0);
            prop_assert_eq!(got, Some(payload));
        }

        #[test]
        fn how_the_line_is_chopped_does_not_matter(size in 1_usize..40) {
            let mut encoder = Encoder::new();
            let mut line = b"boot: plain\n".to_vec();
            for length in [0, 3, 253, 254, 255, 700] {
                line.extend(send(&mut encoder, Channel::Log, &vec![7; length]));
            }
            line.extend(b"the end\n");
            prop_assert_eq!(take_apart(line.chunks(size)), take_apart([&line[..]]));
        }
    }
}
