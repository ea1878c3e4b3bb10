//! What the first word of a free object says when no magazine lists it.
//!
//! | where the object is | its first word |
//! |---|---|
//! | in a magazine | the address of its slot (see [`magazine`](crate::mm::magazine)) |
//! | in a depot | the complement of its own address |
//! | on its slab's list | the same, with the next object's index + 1 in the upper 16 bits |
//!
//! Addresses have 48 significant bits, all others alike, so the lower 48 bits tell whether the word is
//! the object's own, and the upper 16 what it says.

use crate::mm::magazine::Block;

/// What a word said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// The object is in a depot.
    Depot,
    /// The object is on its slab's list, before the one of that index.
    Slab(u16),
}

impl Link {
    /// The word that says it in the object at `address`.
    const fn word(self, address: u64) -> u64 {
        let field = match self {
            Self::Depot => 0,
            Self::Slab(next) => next as u64 + 1,
        };
        !address ^ field << 48
    }

    /// What `word` says in the object at `address`; `None` if it is no such word.
    pub(super) const fn of(word: u64, address: u64) -> Option<Self> {
        let difference = word ^ !address;
        if difference << 16 != 0 {
            return None;
        }
        Some(match (difference >> 48) as u16 {
            0 => Self::Depot,
            next => Self::Slab(next - 1),
        })
    }

    /// Writes it to `block`.
    #[inline]
    pub(super) fn put(self, block: &Block) {
        block.set_word(self.word(block.address()));
    }

    /// Reads it from `block`.
    #[inline]
    pub(super) fn get(block: &Block) -> Option<Self> {
        Self::of(block.word(), block.address())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_says_what_was_put_and_only_in_its_own_object() {
        for address in [0xffff_0000_4000_0040, 0x7f12_3456_7890] {
            for link in [Link::Depot, Link::Slab(0), Link::Slab(1023)] {
                let word = link.word(address);
                assert_eq!(Link::of(word, address), Some(link));
                assert_eq!(Link::of(word, address + 8), None);
            }
            assert_eq!(Link::of(0, address), None);
            assert_eq!(Link::of(address, address), None);
        }
    }
}
