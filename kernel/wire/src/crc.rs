//! CRC-32 as Ethernet, gzip and zlib compute it (ISO 3309: polynomial 0x04C1_1DB7 reflected, initial
//! value and final exclusive-or all ones).
//!
//! A table of 16 entries, one nibble a step: small enough for the panic path, and no start-up work.

/// Remainders of the sixteen nibbles.
const TABLE: [u32; 16] = {
    let mut table = [0; 16];
    let mut nibble = 0;
    while nibble < 16 {
        let mut remainder = nibble;
        let mut bit = 0;
        while bit < 4 {
            let carry = remainder & 1;
            remainder >>= 1;
            if carry == 1 {
                remainder ^= 0xEDB8_8320;
            }
            bit += 1;
        }
        table[nibble as usize] = remainder;
        nibble += 1;
    }
    table
};

/// A running checksum.
#[derive(Clone, Copy, Debug)]
pub struct Crc32(u32);

impl Crc32 {
    /// The checksum of no bytes yet.
    pub const fn new() -> Self {
        Self(!0)
    }

    /// Takes one byte in.
    pub const fn update(&mut self, byte: u8) {
        let mut state = self.0 ^ byte as u32;
        state = (state >> 4) ^ TABLE[(state & 15) as usize];
        state = (state >> 4) ^ TABLE[(state & 15) as usize];
        self.0 = state;
    }

    /// The checksum of what was taken in.
    pub const fn finish(self) -> u32 {
        !self.0
    }
}

impl Default for Crc32 {
    fn default() -> Self {
        Self::new()
    }
}

/// The checksum of `bytes`.
pub fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = Crc32::new();
    for &byte in bytes {
        crc.update(byte);
    }
    crc.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_catalogue_is_reached() {
        assert_eq!(checksum(b"123456789"), 0xCBF4_3926);
        assert_eq!(checksum(b""), 0);
    }
}
