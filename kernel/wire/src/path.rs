//! The path that one operation took through the allocators: which slow steps, and how many levels.
//!
//! Slow paths note their steps in a word of the core that runs them; a word that nobody wrote to is the
//! fast path. Whoever wants to know clears the word before an operation and reads it after.
//!
//! ```text
//!   bits   0..16   levels that blocks of page frames were split
//!   bits  16..32   levels that they were merged
//!   bits  32..     one for each other step
//! ```

use core::fmt;

/// Bits of each count of levels.
const LEVEL_BITS: u32 = 16;
/// Levels above this one are not told apart: one block goes through ten at most, and an operation that
/// takes many blocks adds theirs.
const MOST_LEVELS: u64 = 10;

/// A step off the fast path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Step {
    /// The context's list of objects was empty and was refilled.
    Refill = 2 * LEVEL_BITS,
    /// The context's list of objects was full and was drained.
    Drain,
    /// A block went to the buddy allocator or came from it, past the lists.
    Zone,
    /// The context's list of page frames was empty and was refilled.
    PagesRefill,
    /// The context's list of page frames was full and was drained.
    PagesDrain,
    /// Objects went through the cache's depot, whose lock all cores share.
    Depot,
    /// A slab was made.
    SlabMade,
    /// A slab was given back.
    SlabFreed,
    /// The first use of a pageblock initialised its entries in the frame table.
    PageblockInit,
    /// A pageblock was taken from another migrate type.
    Stolen,
    /// Caches were shrunk or lists of other cores drained, for want of memory.
    Reclaim,
    /// Frames were moved for a free block.
    Compaction,
    /// Areas that were freed lazily were unmapped together, and the TLB was flushed.
    VmallocFlush,
    /// A page table was made.
    Table,
}

impl Step {
    /// All of them, in the order in which they are named.
    pub const ALL: [Self; 14] = [
        Self::Refill,
        Self::Drain,
        Self::Zone,
        Self::PagesRefill,
        Self::PagesDrain,
        Self::Depot,
        Self::SlabMade,
        Self::SlabFreed,
        Self::PageblockInit,
        Self::Stolen,
        Self::Reclaim,
        Self::Compaction,
        Self::VmallocFlush,
        Self::Table,
    ];

    /// Its bit in the word.
    pub const fn bit(self) -> u64 {
        1 << self as u32
    }

    /// What it is called in a path.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refill => "refill",
            Self::Drain => "drain",
            Self::Zone => "zone",
            Self::PagesRefill => "pages refill",
            Self::PagesDrain => "pages drain",
            Self::Depot => "depot",
            Self::SlabMade => "slab made",
            Self::SlabFreed => "slab freed",
            Self::PageblockInit => "pageblock init",
            Self::Stolen => "pageblock stolen",
            Self::Reclaim => "reclaim",
            Self::Compaction => "compaction",
            Self::VmallocFlush => "vmalloc flush",
            Self::Table => "page table",
        }
    }
}

/// What a split of `levels` adds to the word.
pub const fn split(levels: u32) -> u64 {
    levels as u64
}

/// What merges through `levels` add to the word.
pub const fn merged(levels: u32) -> u64 {
    (levels as u64) << LEVEL_BITS
}

/// The path that a word tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(u64);

impl Path {
    /// The fast path.
    pub const HIT: Self = Self(0);
    /// Stands for all paths for which there was no room.
    pub const OTHER: Self = Self(u64::MAX);

    /// The path that `word` tells, levels above ten as if they were eleven.
    pub const fn new(word: u64) -> Self {
        const MASK: u64 = (1 << LEVEL_BITS) - 1;
        let flags = word >> (2 * LEVEL_BITS) << (2 * LEVEL_BITS);
        let split = at_most(word & MASK);
        let merged = at_most((word >> LEVEL_BITS) & MASK);
        Self(flags | merged << LEVEL_BITS | split)
    }

    /// The word that tells it.
    pub const fn word(self) -> u64 {
        self.0
    }

    /// The path that was sent as `word`.
    pub const fn sent(word: u64) -> Self {
        Self(word)
    }

    const fn levels(self) -> [(&'static str, u64); 2] {
        const MASK: u64 = (1 << LEVEL_BITS) - 1;
        [
            ("split", self.0 & MASK),
            ("merge", (self.0 >> LEVEL_BITS) & MASK),
        ]
    }
}

const fn at_most(levels: u64) -> u64 {
    if levels > MOST_LEVELS {
        MOST_LEVELS + 1
    } else {
        levels
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::HIT => return f.write_str("hit"),
            Self::OTHER => return f.write_str("other"),
            _ => {}
        }
        let mut between = "";
        for step in Step::ALL {
            if self.0 & step.bit() != 0 {
                write!(f, "{between}{}", step.name())?;
                between = " + ";
            }
        }
        for (name, levels) in self.levels() {
            match levels {
                0 => continue,
                1..=MOST_LEVELS => write!(f, "{between}{name} {levels}")?,
                _ => write!(f, "{between}{name} >{MOST_LEVELS}")?,
            }
            between = " + ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_in_words() {
        let word = Step::Refill.bit() | Step::SlabMade.bit() | split(3);
        assert_eq!(Path::new(word).to_string(), "refill + slab made + split 3");
        assert_eq!(Path::HIT.to_string(), "hit");
        assert_eq!(Path::OTHER.to_string(), "other");
        let many = Path::new(split(700) + merged(10));
        assert_eq!(many.to_string(), "split >10 + merge 10");
        assert_eq!(Path::sent(many.word()), many);
    }

    #[test]
    fn every_step_has_a_bit_of_its_own() {
        let all = Step::ALL.iter().fold(0, |all, step| all | step.bit());
        assert_eq!(all.count_ones() as usize, Step::ALL.len());
        assert_eq!(all & (split(u16::MAX.into()) | merged(u16::MAX.into())), 0);
    }
}
