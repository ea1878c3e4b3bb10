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
    pub(super) const fn words(bytes: usize, granule_log2: u32) -> usize {
        (bytes >> granule_log2).div_ceil(WORD)
    }

    /// Claims the granules of `bytes` at `offset`; whether all are there and none was claimed.
    pub(super) fn claim(&mut self, offset: usize, bytes: usize) -> bool {
        self.granules(offset, bytes).all(|granule| {
            let mask = 1 << (granule % WORD);
            let word = self.bits.get_mut(granule / WORD);
            word.is_some_and(|word| {
                let free = *word & mask == 0;
                *word |= mask;
                free
            })
        })
    }

    /// Gives back what was claimed.
    pub(super) fn release(&mut self, offset: usize, bytes: usize) {
        for granule in self.granules(offset, bytes) {
            if let Some(word) = self.bits.get_mut(granule / WORD) {
                *word &= !(1 << (granule % WORD));
            }
        }
    }

    fn granules(&self, offset: usize, bytes: usize) -> core::ops::Range<usize> {
        let end = (offset + bytes).div_ceil(1 << self.granule_log2);
        offset >> self.granule_log2..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_claimed_cannot_be_claimed_again_until_it_is_given_back() {
        let mut bits = vec![0; Claims::words(1024, 3)];
        let mut claims = Claims::new(&mut bits, 3);
        assert!(claims.claim(504, 17));
        assert!(claims.claim(528, 8) && claims.claim(496, 8));
        assert!(!claims.claim(520, 8));
        claims.release(504, 17);
        assert!(claims.claim(504, 24));
        assert!(!claims.claim(1016, 16), "beyond the end");
    }
}
