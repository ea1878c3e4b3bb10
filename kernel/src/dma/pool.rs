//! Contiguous pieces of one range of memory: the policy of the DMA pool.
//!
//! # Shape
//!
//! One bit for each page of the range, set while the page is in use. A piece is a run of set bits; its
//! owner remembers how long it is.
//!
//! # Invariants
//!
//! 1. A set bit belongs to exactly one piece, or lies behind the last page.
//! 2. `free_pages` counts the clear bits.
//!
//! # Cost
//!
//! `allocate` takes the lowest run that fits: it looks at each 64-page word once in the worst case, and
//! at each bit of those that are neither full nor empty. `free` touches the piece's own bits. There is no
//! allocation after [`Pool::new`].

use crate::mm::addr::{PAGE_BYTES, PhysAddr};
use alloc::vec::Vec;
use core::{error, fmt, ops::Range};

/// Why the pool refused. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolError {
    /// No piece of no bytes.
    Empty,
    /// There is no run of free pages that long.
    Exhausted {
        /// Bytes that were asked for.
        bytes: u64,
        /// Bytes that are free, in pieces.
        free_bytes: u64,
    },
    /// What was to be freed is not a piece in use.
    NotAllocated(PhysAddr),
    /// No memory to note which pages are in use.
    NoMemory,
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a DMA buffer of 0 bytes"),
            Self::Exhausted { bytes, free_bytes } => {
                write!(
                    f,
                    "no {bytes} contiguous bytes in the DMA pool, {free_bytes} are free"
                )
            }
            Self::NotAllocated(at) => write!(f, "{at:#x} is not in use in the DMA pool"),
            Self::NoMemory => write!(f, "no memory for the DMA pool's map"),
        }
    }
}

impl error::Error for PoolError {}

/// A range of memory, page by page.
#[derive(Debug)]
pub struct Pool {
    start: PhysAddr,
    pages: usize,
    free_pages: usize,
    used: Vec<u64>,
}

impl Pool {
    /// All whole pages of `range`, free.
    pub fn new(range: &Range<PhysAddr>) -> Result<Self, PoolError> {
        let start = PhysAddr::new(range.start.get().next_multiple_of(PAGE_BYTES));
        let pages = pages(range.end.get().saturating_sub(start.get()) / PAGE_BYTES);
        let words = pages.div_ceil(64);
        let mut used = Vec::new();
        used.try_reserve_exact(words)
            .map_err(|_| PoolError::NoMemory)?;
        used.resize(words, 0);
        let mut pool = Self {
            start,
            pages,
            free_pages: pages,
            used,
        };
        // The last word's bits behind the last page are never free.
        pool.fill(pages..words * 64, true);
        Ok(pool)
    }

    /// The memory that it gives out.
    pub const fn range(&self) -> Range<PhysAddr> {
        self.start..self.start.offset(self.pages as u64 * PAGE_BYTES)
    }

    /// Bytes that are free.
    pub const fn free_bytes(&self) -> u64 {
        self.free_pages as u64 * PAGE_BYTES
    }

    /// The lowest free piece of `bytes`, rounded up to whole pages.
    pub fn allocate(&mut self, bytes: u64) -> Result<PhysAddr, PoolError> {
        if bytes == 0 {
            return Err(PoolError::Empty);
        }
        let exhausted = PoolError::Exhausted {
            bytes,
            free_bytes: self.free_bytes(),
        };
        let count = pages(bytes.div_ceil(PAGE_BYTES));
        if count > self.free_pages {
            return Err(exhausted);
        }
        let first = self.first_run(count).ok_or(exhausted)?;
        self.fill(first..first + count, true);
        self.free_pages -= count;
        Ok(self.start.offset(first as u64 * PAGE_BYTES))
    }

    /// Takes back the piece of `bytes` at `start`.
    pub fn free(&mut self, start: PhysAddr, bytes: u64) -> Result<(), PoolError> {
        let refused = PoolError::NotAllocated(start);
        let offset = start.get().checked_sub(self.start.get()).ok_or(refused)?;
        let (first, count) = (
            pages(offset / PAGE_BYTES),
            pages(bytes.div_ceil(PAGE_BYTES)),
        );
        let end = first
            .checked_add(count)
            .filter(|&end| end <= self.pages)
            .ok_or(refused)?;
        let is_whole = offset.is_multiple_of(PAGE_BYTES) && count > 0;
        if !is_whole || !(first..end).all(|page| self.is_used(page)) {
            return Err(refused);
        }
        self.fill(first..end, false);
        self.free_pages += count;
        Ok(())
    }

    /// Panics unless the invariants hold.
    pub fn validate(&self) {
        let free = (0..self.pages).filter(|&page| !self.is_used(page)).count();
        assert_eq!(free, self.free_pages, "free pages of the DMA pool");
        assert!((self.pages..self.used.len() * 64).all(|page| self.is_used(page)));
    }

    fn is_used(&self, page: usize) -> bool {
        self.used[page / 64] & 1 << (page % 64) != 0
    }

    /// The first page of the lowest run of `count` free ones.
    fn first_run(&self, count: usize) -> Option<usize> {
        let (mut start, mut page) = (0, 0);
        while page < self.pages {
            // What is left of the word, from `page` on: a run of used pages, then one of free pages.
            let word = self.used[page / 64] >> (page % 64);
            let left = 64 - page % 64;
            let used = (word.trailing_ones() as usize).min(left);
            if used > 0 {
                page += used;
                start = page;
                continue;
            }
            page += (word.trailing_zeros() as usize).min(left);
            if page - start >= count {
                return Some(start);
            }
        }
        None
    }

    fn fill(&mut self, pages: Range<usize>, used: bool) {
        let mut page = pages.start;
        while page < pages.end {
            let bits = (64 - page % 64).min(pages.end - page);
            let mask = (u64::MAX >> (64 - bits)) << (page % 64);
            let word = &mut self.used[page / 64];
            *word = if used { *word | mask } else { *word & !mask };
            page += bits;
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "usize has 64 bits on every target"
)]
const fn pages(count: u64) -> usize {
    count as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: u64 = 0x4800_0000;

    fn pool(pages: u64) -> Pool {
        let start = PhysAddr::new(START);
        Pool::new(&(start..start.offset(pages * PAGE_BYTES))).unwrap()
    }

    #[test]
    fn a_whole_pool_can_be_one_piece() {
        for pages in [1, 63, 64, 65, 1000] {
            let mut pool = pool(pages);
            assert_eq!(pool.allocate(pages * PAGE_BYTES), Ok(PhysAddr::new(START)));
            let exhausted = PoolError::Exhausted {
                bytes: 1,
                free_bytes: 0,
            };
            assert_eq!(pool.allocate(1), Err(exhausted));
            pool.validate();
            assert_eq!(pool.free(PhysAddr::new(START), pages * PAGE_BYTES), Ok(()));
            assert_eq!(pool.free_bytes(), pages * PAGE_BYTES);
        }
    }

    #[test]
    fn what_is_not_in_use_is_not_freed() {
        let mut pool = pool(8);
        let start = pool.allocate(2 * PAGE_BYTES).unwrap();
        for (at, bytes) in [
            (start.offset(PAGE_BYTES), 2 * PAGE_BYTES),
            (start.offset(1), PAGE_BYTES),
            (start, 9 * PAGE_BYTES),
            (start, 0),
            (PhysAddr::new(START - PAGE_BYTES), PAGE_BYTES),
            (start, u64::MAX),
        ] {
            assert_eq!(
                pool.free(at, bytes),
                Err(PoolError::NotAllocated(at)),
                "{at:?} {bytes}"
            );
        }
        assert_eq!(pool.free(start, 2 * PAGE_BYTES), Ok(()));
        let twice = pool.free(start, 2 * PAGE_BYTES);
        assert_eq!(twice, Err(PoolError::NotAllocated(start)));
        pool.validate();
    }

    #[test]
    fn partial_pages_at_the_edges_are_left_out() {
        let range = PhysAddr::new(START + 1)..PhysAddr::new(START + 3 * PAGE_BYTES - 1);
        let pool = Pool::new(&range).unwrap();
        let start = START + PAGE_BYTES;
        assert_eq!(
            pool.range(),
            PhysAddr::new(start)..PhysAddr::new(start + PAGE_BYTES)
        );
        assert_eq!(
            Pool::new(&(range.start..range.start)).unwrap().free_bytes(),
            0
        );
    }

    #[derive(Clone, Debug)]
    enum Op {
        Allocate { bytes: u64 },
        Free { which: usize },
    }

    fn op() -> impl Strategy<Value = Op> {
        let bytes = prop_oneof![1..3 * PAGE_BYTES, 1..90 * PAGE_BYTES];
        prop_oneof![
            bytes.prop_map(|bytes| Op::Allocate { bytes }),
            any::<usize>().prop_map(|which| Op::Free { which }),
        ]
    }

    proptest! {
        #[test]
        fn pieces_are_the_ones_a_naive_pool_gives_and_all_come_back(
            total in 1u64..200,
            ops in prop::collection::vec(op(), 1..60),
        ) {
            let mut pool = pool(total);
            let mut naive = std::vec![false; pages(total)];
            let mut live = Vec::new();
            for op in ops {
                match op {
                    Op::Allocate { bytes } => {
                        let count = pages(bytes.div_ceil(PAGE_BYTES));
                        let first = naive.windows(count).position(|run| run.iter().all(|used| !used));
                        let ours = pool.allocate(bytes);
                        let expected =
                            first.map(|first| PhysAddr::new(START + first as u64 * PAGE_BYTES));
                        prop_assert_eq!(ours.ok(), expected);
                        if let Some(first) = first {
                            naive[first..first + count].fill(true);
                            live.push((first, count, bytes));
                        }
                    }
                    Op::Free { which } if !live.is_empty() => {
                        let (first, count, bytes) = live.swap_remove(which % live.len());
                        let start = PhysAddr::new(START + first as u64 * PAGE_BYTES);
                        prop_assert_eq!(pool.free(start, bytes), Ok(()));
                        naive[first..first + count].fill(false);
                    }
                    Op::Free { .. } => {}
                }
                pool.validate();
            }
            for (first, _, bytes) in live {
                let start = PhysAddr::new(START + first as u64 * PAGE_BYTES);
                prop_assert_eq!(pool.free(start, bytes), Ok(()));
            }
            prop_assert_eq!(pool.free_bytes(), total * PAGE_BYTES);
        }
    }
}
