//! Which parts of an arena are live: a bit for each granule.

/// Live granules.
#[derive(Debug)]
pub(super) struct Claims<'b> {
    bits: &'b mut [u64],
    granule_log2: u32,
}

/// Bits of a word.
const WORD: usize = 64;

impl<'b> Claims<'b> {
    /// Nothing is live. Granules have 2^`granule_log2` bytes, and there are as many as `bits` has.
    pub(super) fn new(bits: &'b mut [u64], granule_log2: u32) -> Self {
        bits.fill(0);
        Self { bits, granule_log2 }
    }

    /// Words that an arena of `bytes` needs.
    pub(super) const fn count(bytes: usize, granule_log2: u32) -> usize {
        (bytes >> granule_log2).div_ceil(WORD)
    }

    /// Claims the granules of `bytes` at `offset`; whether all are there and none was claimed.
    pub(super) fn claim(&mut self, offset: usize, bytes: usize) -> bool {
        self.words(offset, bytes).all(|(index, mask)| {
            let word = self.bits.get_mut(index);
            word.is_some_and(|word| {
                let free = *word & mask == 0;
                *word |= mask;
                free
            })
        })
    }

    /// Gives back what was claimed.
    pub(super) fn release(&mut self, offset: usize, bytes: usize) {
        for (index, mask) in self.words(offset, bytes) {
            if let Some(word) = self.bits.get_mut(index) {
                *word &= !mask;
            }
        }
    }

    /// The words that have the bits of these bytes, each with a mask of those.
    fn words(&self, offset: usize, bytes: usize) -> impl Iterator<Item = (usize, u64)> + use<> {
        let first = offset >> self.granule_log2;
        let end = (offset + bytes).div_ceil(1 << self.granule_log2);
        (first / WORD..end.div_ceil(WORD)).map(move |index| {
            let begin = index * WORD;
            let (low, high) = (first.max(begin) - begin, end.min(begin + WORD) - begin);
            (index, u64::MAX >> (WORD - (high - low)) << low)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_claimed_cannot_be_claimed_again_until_it_is_given_back() {
        let mut bits = vec![0; Claims::count(1024, 3)];
        let mut claims = Claims::new(&mut bits, 3);
        assert!(claims.claim(504, 17));
        assert!(claims.claim(528, 8) && claims.claim(496, 8));
        assert!(!claims.claim(520, 8));
        claims.release(504, 17);
        assert!(claims.claim(504, 24));
        assert!(!claims.claim(1016, 16), "beyond the end");
        assert!(claims.claim(0, 496), "several words, the last in part");
        assert!(!claims.claim(488, 8));
    }
}
