//! Address space identifiers: few numbers for any number of address spaces.
//!
//! A TLB entry of a user page carries the 8 or 16 bits of its space's ASID, so that spaces can be
//! switched without forgetting anything. When the numbers run out, a new generation begins: all TLBs are
//! flushed once, spaces that run on some core at that moment keep their number, and every other space
//! gets a new one when it runs next.
//!
//! # Invariants
//!
//! 1. In one generation a number belongs to one space at most; number 0 to none.
//! 2. A number is given to another space only after the TLBs have forgotten it: at a new generation, or
//!    when its space is gone and flushed.

use crate::sync::percpu::MAX_CPUS;

/// Numbers that the largest allocator manages.
const NUMBERS_MAX: usize = 1 << 16;

/// A number, and the generation that it was given in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asid {
    generation: u64,
    number: u16,
}

impl Asid {
    /// The number, as it goes into TTBR0_EL1.
    pub const fn number(self) -> u16 {
        self.number
    }
}

/// What [`AsidAllocator::assign`] decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a flush may be due before the number is used"]
pub struct Assignment {
    /// The space's ASID from now on.
    pub asid: Asid,
    /// A new generation began: every TLB must forget everything before the number is used.
    pub flush: bool,
}

/// What a core is running.
#[derive(Clone, Copy, Debug)]
struct Active {
    /// The ASID as the space knows it.
    known: Asid,
    /// The same number in the present generation.
    kept: Asid,
}

/// Gives out ASIDs.
#[derive(Debug)]
pub struct AsidAllocator {
    numbers: usize,
    generation: u64,
    used: [u64; NUMBERS_MAX / 64],
    next: usize,
    active: [Option<Active>; MAX_CPUS],
}

impl AsidAllocator {
    /// An allocator of `bits`-bit numbers, 8 or 16 (ID_AA64MMFR0_EL1.ASIDBits); fewer in tests. There
    /// must be more numbers than cores.
    pub const fn new(bits: u32) -> Self {
        assert!(
            bits <= 16 && (1 << bits) > MAX_CPUS + 1,
            "more numbers than cores"
        );
        let mut used = [0; NUMBERS_MAX / 64];
        used[0] = 1;
        Self {
            numbers: 1 << bits,
            generation: 1,
            used,
            next: 1,
            active: [None; MAX_CPUS],
        }
    }

    /// Uses `bits`-bit numbers from here on; before the first is given out.
    pub fn set_bits(&mut self, bits: u32) {
        assert!(
            self.next == 1 && self.generation == 1,
            "numbers have been given out"
        );
        assert!(bits <= 16 && 1 << bits >= self.numbers, "8 or 16 bits");
        self.numbers = 1 << bits;
    }

    /// The ASID of a space that core `cpu` is about to run, and that had `known` when it ran last.
    pub fn assign(&mut self, known: Option<Asid>, cpu: usize) -> Assignment {
        let (asid, flush) = match known.and_then(|known| self.still_valid(known)) {
            Some(asid) => (asid, false),
            None => match self.take_number() {
                Some(asid) => (asid, false),
                None => self.begin_generation(known),
            },
        };
        self.active[cpu] = Some(Active {
            known: asid,
            kept: asid,
        });
        Assignment { asid, flush }
    }

    /// Core `cpu` runs no space any more.
    pub fn release(&mut self, cpu: usize) {
        self.active[cpu] = None;
    }

    /// The space of `asid` is gone, runs on no core, and the TLBs have forgotten it.
    pub fn free(&mut self, asid: Asid) {
        if let Some(asid) = self.still_valid(asid) {
            let number = usize::from(asid.number);
            self.used[number / 64] &= !(1 << (number % 64));
        }
    }

    /// The space's ASID in this generation, if its number is still its own.
    fn still_valid(&self, known: Asid) -> Option<Asid> {
        if known.generation == self.generation {
            return Some(known);
        }
        let kept = self
            .active
            .iter()
            .flatten()
            .find(|active| active.known == known)?;
        Some(kept.kept)
    }

    fn take_number(&mut self) -> Option<Asid> {
        let from_next = self.next..self.numbers;
        let number = from_next
            .chain(1..self.next)
            .find(|&number| !self.is_used(number))?;
        self.used[number / 64] |= 1 << (number % 64);
        self.next = number + 1;
        u16::try_from(number).ok().map(|number| Asid {
            generation: self.generation,
            number,
        })
    }

    /// Starts anew with the numbers of the spaces that are running; the TLBs are flushed.
    fn begin_generation(&mut self, known: Option<Asid>) -> (Asid, bool) {
        self.generation += 1;
        self.used.fill(0);
        self.used[0] = 1;
        self.next = 1;
        for active in self.active.iter_mut().flatten() {
            active.kept.generation = self.generation;
            let number = usize::from(active.kept.number);
            self.used[number / 64] |= 1 << (number % 64);
        }
        let kept = known.and_then(|known| self.still_valid(known));
        let asid = kept.or_else(|| self.take_number());
        (asid.expect("there are more numbers than cores"), true)
    }

    fn is_used(&self, number: usize) -> bool {
        self.used[number / 64] & 1 << (number % 64) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{collections::BTreeMap, vec::Vec};

    /// Few numbers, but more than a host test has cores.
    const BITS: u32 = 7;

    #[test]
    fn a_space_keeps_its_number_while_the_generation_lasts() {
        let mut allocator = AsidAllocator::new(BITS);
        let first = allocator.assign(None, 0);
        assert!(!first.flush && first.asid.number() != 0);
        allocator.release(0);
        let other = allocator.assign(None, 0);
        assert_ne!(other.asid.number(), first.asid.number());
        assert_eq!(
            allocator.assign(Some(first.asid), 0),
            Assignment {
                flush: false,
                ..first
            }
        );
    }

    #[test]
    fn a_running_space_keeps_its_number_across_generations() {
        let mut allocator = AsidAllocator::new(BITS);
        let running = allocator.assign(None, 0).asid;
        let mut flushes = 0;
        for _ in 0..300 {
            let other = allocator.assign(None, 1);
            assert_ne!(other.asid.number(), running.number());
            flushes += u32::from(other.flush);
        }
        assert_eq!(flushes, 2);
        let again = allocator.assign(Some(running), 0);
        assert!(!again.flush);
    }

    #[test]
    fn the_number_of_a_space_that_is_gone_is_used_again() {
        let mut allocator = AsidAllocator::new(BITS);
        for _ in 0..1000 {
            let Assignment { asid, flush } = allocator.assign(None, 0);
            assert!(!flush);
            allocator.release(0);
            allocator.free(asid);
        }
    }

    #[derive(Clone, Debug)]
    enum Op {
        Run { cpu: usize, space: usize },
        Leave { cpu: usize },
        Drop { space: usize },
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            8 => (0usize..3, 0usize..200).prop_map(|(cpu, space)| Op::Run { cpu, space }),
            2 => (0usize..3).prop_map(|cpu| Op::Leave { cpu }),
            1 => (0usize..200).prop_map(|space| Op::Drop { space }),
        ]
    }

    proptest! {
        #[test]
        fn no_space_ever_meets_the_entries_of_another(ops in prop::collection::vec(op(), 1..800)) {
            let mut allocator = AsidAllocator::new(BITS);
            let mut known: Vec<Option<Asid>> = std::vec![None; 200];
            let mut running: [Option<(usize, u16)>; 3] = [None; 3];
            // Which space's entries the TLBs hold under each number.
            let mut tlb = BTreeMap::new();
            for op in ops {
                match op {
                    Op::Run { cpu, space } => {
                        // A space runs on one core at a time.
                        if running.iter().flatten().any(|&(other, _)| other == space) {
                            continue;
                        }
                        if running[cpu].take().is_some() {
                            allocator.release(cpu);
                        }
                        let Assignment { asid, flush } = allocator.assign(known[space], cpu);
                        if flush {
                            // Whatever runs elsewhere fills the TLBs again.
                            tlb = running.iter().flatten().map(|&(s, n)| (n, s)).collect();
                        }
                        let owner = tlb.insert(asid.number(), space);
                        prop_assert!(owner.is_none_or(|owner| owner == space));
                        prop_assert!(asid.number() != 0);
                        known[space] = Some(asid);
                        running[cpu] = Some((space, asid.number()));
                    }
                    Op::Leave { cpu } => {
                        running[cpu] = None;
                        allocator.release(cpu);
                    }
                    Op::Drop { space } => {
                        if running.iter().flatten().any(|&(other, _)| other == space) {
                            continue;
                        }
                        if let Some(asid) = known[space].take() {
                            tlb.retain(|_, owner| *owner != space);
                            allocator.free(asid);
                        }
                    }
                }
            }
        }
    }
}
