//! The dump that a fault or panic leaves, from which the host unwinds the stack.
//!
//! Images keep no frame pointers (they would cost every leaf function three instructions), so the
//! backtrace is made on the host, from the ELF's call-frame information and the bytes of the stack.
//!
//! ```text
//!   offset  bytes  what
//!        0      8  pc            8  sp            16  x0 … x30, 8 bytes each
//!      264      8  address of the first stack byte
//!      272      …  stack bytes, from sp upward
//! ```

/// General registers x0 to x30.
pub const REGISTERS: usize = 31;
/// Bytes before the stack.
pub const HEADER_BYTES: usize = 8 * (REGISTERS + 3);

/// Registers at the fault, and the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dump<'a> {
    /// Where it happened.
    pub pc: u64,
    /// The stack pointer then.
    pub sp: u64,
    /// x0 to x30.
    pub x: [u64; REGISTERS],
    /// Address of the first byte of `stack`.
    pub stack_start: u64,
    /// Stack contents.
    pub stack: &'a [u8],
}

impl<'a> Dump<'a> {
    /// The header's bytes; the stack's follow them on the line.
    pub fn header(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let words = [self.pc, self.sp]
            .into_iter()
            .chain(self.x)
            .chain([self.stack_start]);
        for (slot, word) in bytes.chunks_exact_mut(8).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Reads a dump; `None` if it is shorter than a header.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, stack) = bytes.split_at_checked(HEADER_BYTES)?;
        let word = |index: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&header[index * 8..index * 8 + 8]);
            u64::from_le_bytes(word)
        };
        Some(Self {
            pc: word(0),
            sp: word(1),
            x: core::array::from_fn(|register| word(2 + register)),
            stack_start: word(2 + REGISTERS),
            stack,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_arrives_as_sent() {
        let dump = Dump {
            pc: 1,
            sp: 2,
            x: core::array::from_fn(|register| register as u64 + 100),
            stack_start: 3,
            stack: b"stack",
        };
        let mut bytes = dump.header().to_vec();
        bytes.extend_from_slice(dump.stack);
        assert_eq!(Dump::parse(&bytes), Some(dump));
        assert_eq!(Dump::parse(&bytes[..HEADER_BYTES - 1]), None);
    }
}
