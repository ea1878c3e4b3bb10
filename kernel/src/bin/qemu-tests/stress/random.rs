//! Random numbers: xorshift64*.

/// A generator; one seed, one sequence.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The generator of `seed`, and of the `stream` among its.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mixed =
            seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ stream.wrapping_mul(0xd1b5_4a32_d192_ed03);
        let mut random = Self(mixed | 1);
        random.bits();
        random
    }

    /// 64 random bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `limit`, which is below 2³².
    pub(super) fn below(&mut self, limit: usize) -> usize {
        let scaled = (self.bits() >> 32) * limit as u64;
        usize::try_from(scaled >> 32).expect("64 bits")
    }

    /// Bytes of an object: uniform in an octave, from 8 to 8,191; now and then up to 256 KiB.
    pub(super) fn size(&mut self) -> usize {
        let octave = if self.below(64) == 0 { 15 } else { 10 };
        let least = 8 << self.below(octave);
        least + self.below(least)
    }
}
