//! A magazine against a vector, and what its marks give away.
#![allow(
    unsafe_code,
    reason = "makes slots and blocks out of the tests' memory"
)]

use super::*;
use proptest::prelude::*;
use std::{boxed::Box, vec::Vec};

/// A magazine with room for `capacity`, and memory for as many blocks and one more.
fn magazine(capacity: u16) -> (Magazine, Vec<Block>) {
    let magazine = Magazine::zero();
    magazine.detach();
    let slots = Box::leak(Box::new(Slots::zero()));
    // SAFETY: leaked just now.
    unsafe { magazine.attach(NonNull::from(slots), capacity) };
    let memory = std::vec![0xa5a5_u64; usize::from(capacity) + 1].leak();
    let blocks = memory.iter_mut().map(|word| {
        // SAFETY: leaked just now, and each word taken once.
        unsafe { Block::new(NonNull::from(word).cast()) }
    });
    (magazine, blocks.collect())
}

/// A second handle on a block: what a double free makes.
fn twin(block: &Block) -> Block {
    Block(block.0)
}

proptest! {
    #[test]
    fn it_holds_what_it_was_given_last_in_first_out(
        capacity in 1..=CAPACITY,
        pushes in prop::collection::vec(any::<bool>(), 0..200),
    ) {
        let (magazine, mut free) = magazine(capacity);
        let (mut listed, mut taken) = (Vec::new(), 0);
        for push in pushes {
            if push {
                let block = free.pop().expect("one more than it holds");
                let address = block.address();
                match magazine.push(block) {
                    Ok(()) => listed.push(address),
                    Err(block) => {
                        prop_assert_eq!(listed.len(), usize::from(capacity));
                        free.push(block);
                    }
                }
            } else {
                match magazine.pop() {
                    Ok(block) => {
                        taken += 1;
                        prop_assert_eq!(Some(block.address()), listed.pop());
                        free.push(block);
                    }
                    Err(pops) => {
                        prop_assert_eq!(pops, taken);
                        prop_assert!(listed.is_empty());
                        prop_assert!(matches!(magazine.top(), Top::Empty));
                    }
                }
            }
            prop_assert_eq!(usize::from(magazine.peek_len(capacity)), listed.len());
            prop_assert_eq!(magazine.peek_pops(), taken);
            let blocks: Vec<_> = magazine.blocks().collect();
            let expected: Vec<_> = listed.iter().rev().map(|at| (*at, true)).collect();
            prop_assert_eq!(blocks, expected);
        }
    }
}

#[test]
fn a_magazine_without_slots_is_empty_and_full() {
    let magazine = Magazine::zero();
    magazine.detach();
    assert!(!magazine.is_attached());
    assert!(magazine.pop().is_err());
    assert!(matches!(magazine.top(), Top::Empty));
    let mut word = 7_u64;
    // SAFETY: the test's own word.
    let block = unsafe { Block::new(NonNull::from(&mut word).cast()) };
    assert!(magazine.push(block).is_err());
    assert_eq!(magazine.peek_len(CAPACITY), 0);
    assert_eq!(word, 7);
}

#[test]
fn a_block_that_is_listed_twice_leaves_once() {
    let (magazine, mut blocks) = magazine(8);
    let (twice, other) = (blocks.pop().unwrap(), blocks.pop().unwrap());
    let address = twice.address();
    magazine.push(twin(&twice)).unwrap();
    magazine.push(other).unwrap();
    magazine.push(twice).unwrap();
    assert_eq!(magazine.pop().unwrap().address(), address);
    magazine.pop().unwrap();
    assert!(magazine.pop().is_err());
    assert!(matches!(magazine.top(), Top::Broken(at) if at == address));
}

#[test]
fn a_block_whose_mark_was_overwritten_stays() {
    let (magazine, mut blocks) = magazine(8);
    let block = blocks.pop().unwrap();
    let written = twin(&block);
    magazine.push(block).unwrap();
    written.set_word(written.word() + 8);
    assert!(magazine.pop().is_err());
    assert!(matches!(magazine.top(), Top::Broken(at) if at == written.address()));
    assert_eq!(
        magazine.blocks().collect::<Vec<_>>(),
        [(written.address(), false)]
    );
}

#[test]
fn anybody_sees_which_blocks_it_lists() {
    let (magazine, mut blocks) = magazine(8);
    let block = blocks.pop().unwrap();
    let listed = twin(&block);
    assert!(!magazine.peek_lists(listed.word(), listed.address()));
    magazine.push(block).unwrap();
    assert!(magazine.peek_lists(listed.word(), listed.address()));
    assert!(!magazine.peek_lists(listed.word() + 8, listed.address()));
    assert!(!magazine.peek_lists(listed.word(), listed.address() + 8));
    magazine.pop().unwrap();
    assert!(!magazine.peek_lists(listed.word(), listed.address()));
}
