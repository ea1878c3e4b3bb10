//! Magazines: one context's free blocks of one kind, in an array beside them.
//!
//! # Shape
//!
//! ```text
//!            sentinel                              top (full: a multiple of 256)
//!               ▼                                   ▼
//! slots   … │ ·─┼─► never │ block a │ block b │ …   │        256 bytes, aligned to 256
//!                             ▲ │
//!                    mark ────┘ └──► first word of a
//! ```
//!
//! The first word of a listed block, its mark, is the address of the slot that lists it. To take the
//! block under `top`, its mark must name that very slot: so a block that is listed twice, or whose mark
//! was overwritten, is not taken but left for the slow path to name. The sentinel's word names no slot,
//! so that "empty" is the same comparison; "full" is an alignment. A magazine without slots is both.
//!
//! # Context
//!
//! A core has two contexts, thread and interrupt, with magazines of their own (see [`local`](super::local)).
//! Interrupts do not nest and threads stay on their core, so nothing ever comes between the steps of
//! `pop` or `push`: no masking, no exclusives, no lock.
//!
//! # Invariants
//!
//! 1. Only the context that owns a magazine calls what takes `&self`, but for [`peek_len`](Magazine::peek_len).
//! 2. The slots below `top`, down to the sentinel, hold addresses of blocks that were given to `push`.
//! 3. Whoever holds a [`Block`] alone may touch its first word, and a `Block` is neither copied nor cloned.
//!
//! # Cost
//!
//! Two lines: the magazine and the slot; and the block's first. `pop` is 8 instructions where the
//! magazine is known at compile time, its statistics among them, `push` 7.
#![allow(
    unsafe_code,
    reason = "reads and writes the slots, and the first word of free blocks"
)]

use crate::sync::owned::OwnedWord;
use core::{ptr::NonNull, sync::atomic::AtomicPtr};

/// Slots of a magazine's array; one of them is the sentinel's.
pub const SLOTS: usize = 32;
/// Most blocks that a magazine holds.
pub const CAPACITY: u16 = 31;
/// Bytes of an array, and what it is aligned to.
pub const SLOTS_BYTES: usize = SLOTS * size_of::<u64>();

/// A free block, owned, by its first word.
#[derive(Debug)]
pub struct Block(NonNull<u64>);

impl Block {
    /// Takes over a block.
    ///
    /// # Safety
    ///
    /// The 8 bytes at `start`, aligned to 8, are writable memory, and the caller gives them up.
    #[inline(always)]
    pub unsafe fn new(start: NonNull<u8>) -> Self {
        Self(start.cast())
    }

    /// Takes over an object whose block is the word `offset` bytes inside it.
    ///
    /// # Safety
    ///
    /// The 8 bytes there, aligned to 8, are writable memory, and the caller gives them up.
    #[inline(always)]
    pub unsafe fn at(object: NonNull<u8>, offset: u16) -> Self {
        // SAFETY: the caller promises that the object reaches further.
        let start = unsafe { object.add(usize::from(offset)) };
        // SAFETY: the caller promises the same.
        unsafe { Self::new(start) }
    }

    /// Hands the object to a caller, of which it is the word `offset` bytes inside.
    #[inline(always)]
    pub const fn start(self, offset: u16) -> NonNull<u8> {
        let start = self.into_raw().as_ptr().wrapping_sub(offset as usize);
        // SAFETY: the object starts there, and not at 0.
        unsafe { NonNull::new_unchecked(start) }
    }

    /// Hands it to a caller, who owns it from now on.
    #[inline(always)]
    pub const fn into_raw(self) -> NonNull<u8> {
        self.0.cast()
    }

    /// Its address.
    #[inline(always)]
    pub fn address(&self) -> u64 {
        self.0.as_ptr().expose_provenance() as u64
    }

    /// Its first word. The former owner may never have written it: read as volatile, so that the
    /// compiler, which may know that, takes what is there for a value.
    #[inline(always)]
    pub fn word(&self) -> u64 {
        // SAFETY: by invariant 3 the word is there and ours.
        unsafe { self.0.read_volatile() }
    }

    /// Changes its first word.
    #[inline(always)]
    pub fn set_word(&self, word: u64) {
        // SAFETY: by invariant 3 the word is there and ours.
        unsafe { self.0.write(word) }
    }
}

// SAFETY: a block is memory that is owned alone, wherever its owner runs.
unsafe impl Send for Block {}

/// An array of slots, as memory.
#[derive(Debug)]
#[repr(C, align(256))]
pub struct Slots([AtomicPtr<u64>; SLOTS]);

const _: () = assert!(size_of::<Slots>() == SLOTS_BYTES && CAPACITY as usize == SLOTS - 1);

#[cfg(not(target_os = "none"))]
impl Slots {
    /// Slots as memory has them that was never used.
    pub(super) const fn zero() -> Self {
        Self([const { AtomicPtr::new(core::ptr::null_mut()) }; SLOTS])
    }
}

/// What the sentinel's slot leads to: the address of no slot.
static NEVER: u64 = 0;
/// The slots of a magazine that has none: the last is a sentinel.
static NONE: Slots = {
    let mut slots = [const { AtomicPtr::new(core::ptr::null_mut()) }; SLOTS];
    slots[SLOTS - 1] = AtomicPtr::new((&raw const NEVER).cast_mut());
    Slots(slots)
};

/// Whether allocations are counted: three instructions each.
const COUNTS: bool = !cfg!(feature = "uncounted");

/// What stands on top of a magazine, for its slow path.
#[derive(Debug)]
pub enum Top {
    /// A block whose mark is right.
    Block(Block),
    /// Nothing.
    Empty,
    /// The address of a block whose mark names another slot, or none. It stays.
    Broken(u64),
}

/// One context's free blocks of one kind, last in, first out.
#[derive(Debug)]
#[repr(C, align(16))]
pub struct Magazine {
    /// Address of the slot behind the last one that is used.
    top: OwnedWord,
    /// Blocks ever handed out.
    pops: OwnedWord,
}

const _: () = assert!(size_of::<Magazine>() == 16);

impl Magazine {
    /// All zeros, as static memory is: not usable before [`detach`](Self::detach).
    pub(super) const fn zero() -> Self {
        Self {
            top: OwnedWord::new(0),
            pops: OwnedWord::new(0),
        }
    }

    /// Makes it a magazine without slots: empty and full. What it lists is forgotten.
    pub(super) fn detach(&self) {
        let none = (&raw const NONE).expose_provenance() as u64;
        (&raw const NEVER).expose_provenance();
        self.top.set(none + SLOTS_BYTES as u64);
    }

    /// Makes an empty magazine one without slots, and returns those that it had.
    pub(super) fn take_slots(&self) -> Option<NonNull<Slots>> {
        if !self.is_attached() {
            return None;
        }
        // The slot behind the sentinel's is never the array's first.
        let array = (self.top.get() - 1) & !(SLOTS_BYTES as u64 - 1);
        self.detach();
        NonNull::new(slot_at(array).cast())
    }

    /// Gives it slots for `capacity` blocks, at most [`CAPACITY`]. It has none.
    ///
    /// # Safety
    ///
    /// `slots` is writable memory that belongs to the magazine from now on.
    pub unsafe fn attach(&self, slots: NonNull<Slots>, capacity: u16) {
        debug_assert!(!self.is_attached() && (1..=CAPACITY).contains(&capacity));
        let first = SLOTS - usize::from(capacity);
        let array = slots.cast::<*const u64>();
        // SAFETY: the capacity leaves a slot before the first.
        let sentinel = unsafe { array.add(first - 1) };
        // SAFETY: in the array, which the caller gives.
        unsafe { sentinel.write(&raw const NEVER) };
        let start = slots.as_ptr().expose_provenance() as u64;
        self.top.set(start + 8 * first as u64);
    }

    /// Whether it has slots.
    pub fn is_attached(&self) -> bool {
        self.top.get() != (&raw const NONE).addr() as u64 + SLOTS_BYTES as u64
    }

    /// Takes the block on top. An error, with how many were ever taken, if there is none or if its mark
    /// does not name its slot: [`top`](Self::top) tells which.
    #[inline(always)]
    pub fn pop(&self) -> Result<Block, u64> {
        let (top, pops) = (self.top.get(), self.pops());
        let slot = slot_at(top - 8);
        // SAFETY: by invariant 2, or it is the sentinel's.
        let block = unsafe { slot.read() };
        // SAFETY: a listed block's first word is there and ours; so is the sentinel's.
        let mark = unsafe { block.read() };
        if mark != slot.addr() as u64 {
            return Err(pops);
        }
        self.top.set(slot.addr() as u64);
        self.count_pop(pops);
        // SAFETY: a slot holds no null.
        Ok(Block(unsafe { NonNull::new_unchecked(block) }))
    }

    /// Puts a block on top; an error, with the block, if there is no room.
    #[inline(always)]
    pub fn push(&self, block: Block) -> Result<(), Block> {
        let top = self.top.get();
        if top.is_multiple_of(SLOTS_BYTES as u64) {
            return Err(block);
        }
        block.set_word(top);
        // SAFETY: below the array's end, so by invariant 2 the slot is there, and ours.
        unsafe { slot_at(top).write(block.0.as_ptr()) };
        self.top.set(top + 8);
        Ok(())
    }

    /// Takes up to `most` blocks off the top, up to the first whose mark is wrong. Not counted as handed
    /// out. Nothing else uses the magazine until the iterator is dropped.
    #[inline]
    pub fn drain(&self, most: usize) -> Drain<'_> {
        Drain {
            magazine: self,
            top: self.top.get(),
            left: most,
        }
    }

    /// The address of the block on top, if its mark does not name its slot.
    #[inline]
    pub fn broken(&self) -> Option<u64> {
        let slot = slot_at(self.top.get() - 8);
        // SAFETY: as in `pop`.
        let block = unsafe { slot.read() };
        // SAFETY: as in `pop`.
        let mark = unsafe { block.read_volatile() };
        let is_right = mark == slot.addr() as u64 || core::ptr::eq(block, &raw const NEVER);
        (!is_right).then_some(block.addr() as u64)
    }

    /// Puts `blocks` on top, as many as there is room for; takes no more from the iterator, which does
    /// not use the magazine.
    #[inline]
    pub fn push_run(&self, blocks: &mut impl Iterator<Item = Block>) {
        let mut top = self.top.get();
        while !top.is_multiple_of(SLOTS_BYTES as u64)
            && let Some(block) = blocks.next()
        {
            block.set_word(top);
            // SAFETY: as in `push`.
            unsafe { slot_at(top).write(block.0.as_ptr()) };
            top += 8;
        }
        self.top.set(top);
    }

    /// What stands on top, which is taken if it is right. Not counted as handed out.
    pub fn top(&self) -> Top {
        let slot = slot_at(self.top.get() - 8);
        // SAFETY: as in `pop`.
        let block = unsafe { slot.read() };
        if core::ptr::eq(block, &raw const NEVER) {
            return Top::Empty;
        }
        // SAFETY: as in `pop`.
        let mark = unsafe { block.read_volatile() };
        if mark != slot.addr() as u64 {
            return Top::Broken(block.addr() as u64);
        }
        self.top.set(slot.addr() as u64);
        // SAFETY: a slot holds no null.
        Top::Block(Block(unsafe { NonNull::new_unchecked(block) }))
    }

    #[inline(always)]
    fn pops(&self) -> u64 {
        if COUNTS { self.pops.get() } else { 0 }
    }

    /// Counts one block that was handed out past it, where `pops` were before.
    #[inline(always)]
    pub fn count_pop(&self, pops: u64) {
        if COUNTS {
            self.pops.set(pops + 1);
        }
    }

    /// Counts as many more that were handed out past it.
    pub fn count_pops(&self, pops: u64) {
        if COUNTS {
            self.pops.set(self.pops.get() + pops);
        }
    }

    /// Takes back as many that were counted.
    pub fn uncount_pops(&self, pops: u64) {
        if COUNTS {
            self.pops.set(self.pops.get() - pops);
        }
    }

    /// How many blocks it had handed out at about this moment. For any context.
    pub fn peek_pops(&self) -> u64 {
        self.pops.peek()
    }

    /// Whether it had slots at about this moment. For any context.
    pub fn peek_is_attached(&self) -> bool {
        let top = self.top.peek();
        top != 0 && top != (&raw const NONE).addr() as u64 + SLOTS_BYTES as u64
    }

    /// How many blocks it held at about this moment, where it has slots for `capacity`. For any context.
    pub fn peek_len(&self, capacity: u16) -> u16 {
        if !self.peek_is_attached() {
            return 0;
        }
        let top = self.top.peek();
        let room = top.next_multiple_of(SLOTS_BYTES as u64) - top;
        #[expect(clippy::cast_possible_truncation, reason = "at most 31")]
        let room = (room / 8) as u16;
        capacity.saturating_sub(room)
    }

    /// The addresses of its blocks, topmost first, each with whether its mark is right.
    pub fn blocks(&self) -> impl Iterator<Item = (u64, bool)> {
        let mut top = self.top.get();
        core::iter::from_fn(move || {
            top -= 8;
            // SAFETY: as in `pop`; the sentinel ends the walk.
            let block = unsafe { slot_at(top).read() };
            // SAFETY: as in `pop`.
            let mark = unsafe { block.read_volatile() };
            let listed = !core::ptr::eq(block, &raw const NEVER);
            listed.then_some((block.addr() as u64, mark == top))
        })
    }

    /// Whether the slot at the address `mark` is one of its and lists the block at `address`, at about
    /// this moment: so for a block that the caller has, whether it is free. For any context.
    pub fn peek_lists(&self, mark: u64, address: u64) -> bool {
        let top = self.top.peek();
        let array = top.wrapping_sub(1) & !(SLOTS_BYTES as u64 - 1);
        if top == 0 || !(array..top).contains(&mark) || !mark.is_multiple_of(8) {
            return false;
        }
        // SAFETY: inside an array of slots, which is never given back. Volatile, since the owner may
        // write it now; a block that is free stays in its slot until somebody takes it.
        let block = unsafe { slot_at(mark).read_volatile() };
        block.addr() as u64 == address
    }
}

/// Blocks on their way out of a magazine; see [`Magazine::drain`].
#[derive(Debug)]
pub struct Drain<'m> {
    magazine: &'m Magazine,
    top: u64,
    left: usize,
}

impl Iterator for Drain<'_> {
    type Item = Block;

    #[inline]
    fn next(&mut self) -> Option<Block> {
        let slot = slot_at(self.top - 8);
        self.left = self.left.checked_sub(1)?;
        // SAFETY: as in `pop`.
        let block = unsafe { slot.read() };
        // SAFETY: as in `pop`.
        if unsafe { block.read() } != slot.addr() as u64 {
            return None;
        }
        self.top = slot.addr() as u64;
        // SAFETY: a slot holds no null.
        Some(Block(unsafe { NonNull::new_unchecked(block) }))
    }
}

impl Drop for Drain<'_> {
    #[inline]
    fn drop(&mut self) {
        self.magazine.top.set(self.top);
    }
}

#[inline(always)]
fn slot_at(address: u64) -> *mut *mut u64 {
    #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits here")]
    core::ptr::with_exposed_provenance_mut(address as usize)
}

#[cfg(test)]
mod tests;
