//! Blocks on their way: rings from one context to another, and tables of one context's own.
#![allow(
    unsafe_code,
    reason = "turns words back into blocks, once, by the invariants below"
)]

use super::block::Block;
use core::{
    num::NonZeroU64,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// A block as words, or zeros.
#[derive(Debug)]
struct Place([AtomicU64; 2]);

impl Place {
    const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; 2])
    }

    fn put(&self, block: Block) {
        for (place, word) in self.0.iter().zip(block.into_words()) {
            place.store(word.get(), Ordering::Relaxed);
        }
    }

    fn take(&self) -> Option<Block> {
        let [start, says] = &self.0;
        let start = NonZeroU64::new(start.load(Ordering::Relaxed))?;
        let says = NonZeroU64::new(says.load(Ordering::Relaxed))?;
        self.0
            .iter()
            .for_each(|word| word.store(0, Ordering::Relaxed));
        // SAFETY: `put` stored them, and they are zeros from now on.
        Some(unsafe { Block::from_words([start, says]) })
    }
}

/// Blocks that one context holds.
///
/// # Invariants
///
/// 1. One context at a time uses it.
#[derive(Debug)]
pub(super) struct Table<const N: usize>([Place; N]);

impl<const N: usize> Table<N> {
    pub(super) const fn new() -> Self {
        Self([const { Place::new() }; N])
    }

    /// Puts a block into place `index`, which is empty.
    pub(super) fn put(&self, index: usize, block: Block) {
        self.0[index].put(block);
    }

    /// Takes the block out of place `index`.
    pub(super) fn take(&self, index: usize) -> Option<Block> {
        self.0[index].take()
    }

    /// Frees all.
    pub(super) fn empty(&self) {
        self.0.iter().filter_map(Place::take).for_each(Block::free);
    }
}

/// Blocks in a ring.
const LENGTH: usize = 64;

/// A ring from one context to one other.
///
/// # Invariants
///
/// 1. One context sends and one receives, each one at a time.
/// 2. Places from `received` up to `sent` hold blocks; the sender may write the others.
#[derive(Debug)]
pub(super) struct Ring {
    places: [Place; LENGTH],
    sent: AtomicUsize,
    received: AtomicUsize,
}

impl Ring {
    pub(super) const fn new() -> Self {
        Self {
            places: [const { Place::new() }; LENGTH],
            sent: AtomicUsize::new(0),
            received: AtomicUsize::new(0),
        }
    }

    /// Sends `block`; gives it back if the ring is full.
    pub(super) fn send(&self, block: Block) -> Result<(), Block> {
        let sent = self.sent.load(Ordering::Relaxed);
        if sent - self.received.load(Ordering::Acquire) == LENGTH {
            return Err(block);
        }
        self.places[sent % LENGTH].put(block);
        self.sent.store(sent + 1, Ordering::Release);
        Ok(())
    }

    /// Receives the block that was sent first.
    pub(super) fn receive(&self) -> Option<Block> {
        let received = self.received.load(Ordering::Relaxed);
        if received == self.sent.load(Ordering::Acquire) {
            return None;
        }
        let block = self.places[received % LENGTH].take();
        self.received.store(received + 1, Ordering::Release);
        block
    }
}
