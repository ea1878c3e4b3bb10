//! What the kernel knows about each page frame: 16 bytes, kept apart from the frame.
//!
//! # Shape
//!
//! ```text
//!          bit 0     8      16     24      32       42       52 54         64
//! head         │ kind │ order │ mag.  │ cache │ free   │ in use │ │ carved   │
//!              └── tag of a slab ────────────┘ └─ first free object, objects out, objects ever cut ─┘
//! next, prev   32 bits each: neighbours on the list of a free block or of a partial slab
//! ```
//!
//! A block is known by its first frame, its head; the entries of the other frames are zero. Only
//! slabs (at most eight frames) mark those too, so that any address inside leads to its cache. The
//! head of a free block says in its fourth byte on which migrate type's list it is, the head of an allocated
//! one the [magazine](super::page_lists) that takes it when it is freed, or 0.
//!
//! The third byte alone decides what a free looks at first: the magazine of the objects in the frame,
//! or 0 where there are none. Nothing but a slab may put another value there.
//!
//! # Invariants
//!
//! 1. A zeroed entry is valid: a frame that is nobody's, or that is inside a block. Which entries are
//!    valid at all, their [pageblock] says; [`Table::find`] honours it.
//! 2. An entry changes only under the lock of the list that it is on, or by whoever owns the block.
//!    Readers without the lock (a free asking "whose is this address?") see some former state; for a
//!    block that is theirs it is the present one.
//!
//! The fields are atomics for those readers alone. Every access is relaxed, a plain load or store on
//! AArch64 (Arm ARM B2.2.1: aligned accesses of these sizes are single-copy atomic).
//!
//! # Cost
//!
//! 16 bytes for 4,096: 0.4 % of memory.

use super::addr::{Order, Pfn};
use super::local::Place;
use super::pageblock::{self, MigrateType, Pageblock, State};
use core::{
    ops::Range,
    ptr::NonNull,
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{AcqRel, Relaxed, Release},
    },
};

/// Metadata of one frame.
#[derive(Debug, Default)]
#[repr(C, align(16))]
pub struct Frame {
    head: AtomicU64,
    next: AtomicU32,
    prev: AtomicU32,
}

const _: () = assert!(size_of::<Frame>() == 16);

/// What a frame is. The numbers are those in the entry's low byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Not managed, or inside a block.
    None = 0,
    /// First frame of a free block, on a list of the buddy allocator.
    Free = 1,
    /// First frame of a block that somebody was given.
    Allocated = 2,
    /// First frame of a block that [`kmalloc`](super::kmalloc) handed out as one object.
    Large = 3,
    /// First frame of a slab.
    Slab = 4,
    /// Another frame of a slab.
    SlabTail = 5,
    /// First frame of an allocated block whose [owner](super::compaction) can move it, and is named where
    /// the links of a free block are.
    Movable = 6,
    /// The same while it is being moved, or taken back by its owner: nobody else touches it.
    Moving = 7,
}

/// Number of a slab cache. The caches' registry alone makes them, each below the number of caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct CacheId(pub(super) u8);

/// Most objects of a slab; also "none" where an object's index is meant.
pub const NO_OBJECT: u16 = (1 << 10) - 1;

/// What the head of a slab says about its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlabState {
    /// The first object on the slab's own free list, or [`NO_OBJECT`].
    pub free: u16,
    /// How many objects were ever cut off; those from here on were never handed out.
    pub carved: u16,
    /// How many are out: with callers or on per-CPU lists.
    pub in_use: u16,
}

/// The low 32 bits of the head of a slab of `cache`, whose slabs are of `order` and whose objects go to
/// `magazine` when they are freed by their address.
pub const fn slab_tag(cache: CacheId, order: Order, magazine: u8) -> u32 {
    Kind::Slab as u32 | (order.get() as u32) << 8 | (magazine as u32) << 16 | (cache.0 as u32) << 24
}

/// Where a free block names its list's type, and an allocated one its magazine.
const LIST_SHIFT: u32 = 24;
/// Bits of an owner's key.
const KEY_BITS: u32 = 56;
const FREE_SHIFT: u32 = 32;
const IN_USE_SHIFT: u32 = 42;
/// Highest, so that one shift yields it.
const CARVED_SHIFT: u32 = 54;

impl Frame {
    /// What the frame is.
    #[inline]
    pub fn kind(&self) -> Kind {
        match self.head.load(Relaxed) & 0xff {
            0 => Kind::None,
            1 => Kind::Free,
            2 => Kind::Allocated,
            3 => Kind::Large,
            4 => Kind::Slab,
            5 => Kind::SlabTail,
            6 => Kind::Movable,
            7 => Kind::Moving,
            kind => corrupt(kind),
        }
    }

    /// The order of the block of which this is the head.
    #[inline]
    pub fn order(&self) -> Order {
        #[expect(clippy::cast_possible_truncation, reason = "one byte is meant")]
        let raw = (self.head.load(Relaxed) >> 8) as u8;
        Order::new(raw).unwrap_or(Order::MAX)
    }

    /// The list's type, if it is the head of a free block of that order.
    pub(super) fn free_of(&self, order: Order) -> Option<MigrateType> {
        self.free_row(order).map(MigrateType::from_row)
    }

    /// The list's [row](MigrateType::index), below 8, if it is the head of a free block of that order.
    #[inline(always)]
    pub(super) fn free_row(&self, order: Order) -> Option<usize> {
        let found = self.head.load(Relaxed);
        let row = (found >> LIST_SHIFT & 7) as usize;
        (found & 0xffff == head(Kind::Free, order)).then_some(row)
    }

    /// Makes it the head of a free block on a list of `row`.
    #[inline(always)]
    pub(super) fn set_free(&self, order: Order, row: usize) {
        let list = (row as u64) << LIST_SHIFT;
        self.head.store(head(Kind::Free, order) | list, Relaxed);
    }

    /// The frames of a range that nobody touched, whose first frame this is.
    pub(super) fn untouched_frames(&self) -> u32 {
        (self.head.load(Relaxed) >> 32) as u32
    }

    /// Makes it the first frame of a range of `frames` that nobody touched.
    pub(super) fn set_untouched(&self, frames: u32) {
        self.head.store(u64::from(frames) << 32, Relaxed);
    }

    /// Whether it is the head of a block of that kind and order.
    #[inline]
    pub fn is_head(&self, kind: Kind, order: Order) -> bool {
        self.head.load(Relaxed) & !(0xff << LIST_SHIFT) == head(kind, order)
    }

    /// The number of the magazine that takes the allocated block of `order` of which this is the head,
    /// or 0 if it names none; `None` if it is something else.
    #[inline(always)]
    pub(super) fn magazine(&self, order: Order) -> Option<u8> {
        self.magazine_place(order).map(Place::number)
    }

    /// The same, as the place of the magazine among a context's.
    #[inline(always)]
    pub(super) fn magazine_place(&self, order: Order) -> Option<Place> {
        const { assert!(LIST_SHIFT == 24) };
        let found = self.head.load(Relaxed);
        Place::of_fourth_byte(found.wrapping_sub(head(Kind::Allocated, order)))
    }

    /// Where its links are: for an allocated block, 8 bytes that are its owner's.
    #[inline(always)]
    pub(super) fn links(&self) -> NonNull<u8> {
        // Out of a reference to the whole entry: both links are one word here.
        NonNull::from(self)
            .with_addr(NonNull::from(&self.next).addr())
            .cast()
    }

    /// Makes it the head of an allocated block of `order` that `magazine` takes when it is freed.
    #[inline]
    pub(super) fn set_allocated(&self, order: Order, magazine: u8) {
        let list = u64::from(magazine) << LIST_SHIFT;
        self.head
            .store(head(Kind::Allocated, order) | list, Relaxed);
    }

    /// An entry of a table that nobody initialised: at worst it looks like what it is not.
    #[cfg(not(target_os = "none"))]
    pub(crate) fn garbage(number: u32) -> Self {
        let orders = number % 11;
        let head = match number % 4 {
            0 => head(Kind::Free, Order::new(orders as u8 % 11).expect("below 11")),
            1 => head(Kind::Allocated, Order::ZERO),
            2 => Kind::Slab as u64 | 0x1234_0000,
            _ => 0xa5a5_a5a5_a5a5_a5a5,
        };
        Self {
            head: AtomicU64::new(head),
            next: AtomicU32::new(number ^ 1),
            prev: AtomicU32::new(number),
        }
    }

    /// Makes it a frame of no state: not a head.
    pub fn clear(&self) {
        self.head.store(0, Relaxed);
    }

    /// Makes it the head of a block.
    pub fn set_head(&self, kind: Kind, order: Order) {
        self.head.store(head(kind, order), Relaxed);
    }

    /// Turns a head of one kind into one of another; false if it is not, or no longer, of the first.
    /// Of several contexts that try at once one succeeds.
    pub fn claim(&self, order: Order, from: Kind, to: Kind) -> bool {
        self.head
            .compare_exchange(head(from, order), head(to, order), AcqRel, Relaxed)
            .is_ok()
    }

    /// Notes whose the block is, 0 to 255, and what it is to them: 56 bits.
    pub(super) fn set_owner(&self, owner: u8, key: u64) {
        let word = u64::from(owner) << KEY_BITS | key & ((1 << KEY_BITS) - 1);
        let [low, high] = [word & 0xffff_ffff, word >> 32].map(|half| {
            #[expect(clippy::cast_possible_truncation, reason = "32 bits are left")]
            let half = half as u32;
            half
        });
        self.next.store(low, Relaxed);
        self.prev.store(high, Relaxed);
    }

    /// What [`set_owner`](Self::set_owner) noted.
    pub(super) fn owner(&self) -> (u8, u64) {
        let word = u64::from(self.next.load(Relaxed)) | u64::from(self.prev.load(Relaxed)) << 32;
        let owner = (word >> KEY_BITS) as u8;
        (owner, word & ((1 << KEY_BITS) - 1))
    }

    /// Makes it the head of a block of that kind, after all that was stored before.
    pub(super) fn publish_head(&self, kind: Kind, order: Order) {
        self.head.store(head(kind, order), Release);
    }

    /// Makes it the head of an empty slab, none of whose objects were cut off yet.
    pub fn set_slab(&self, tag: u32) {
        let state = u64::from(NO_OBJECT) << FREE_SHIFT;
        self.head.store(u64::from(tag) | state, Relaxed);
    }

    /// Makes it a further frame of the slab with that tag.
    pub fn set_slab_tail(&self, tag: u32) {
        let tag = tag & !0xffff | Kind::SlabTail as u32;
        self.head.store(u64::from(tag), Relaxed);
    }

    /// The cache whose slab this frame is part of.
    #[inline]
    pub fn slab_cache(&self) -> Option<CacheId> {
        let head = self.head.load(Relaxed);
        #[expect(clippy::cast_possible_truncation, reason = "eight bits are meant")]
        let cache = CacheId((head >> 24) as u8);
        // The two kinds differ in their lowest bit alone.
        (head & 0xfe == Kind::Slab as u64).then_some(cache)
    }

    /// How many objects were cut off, if this is the head of a slab with that tag.
    #[inline]
    pub fn carved(&self, tag: u32) -> Option<u16> {
        let head = self.head.load(Relaxed);
        #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
        let found = head as u32;
        let carved = (head >> CARVED_SHIFT) as u16;
        (found == tag).then_some(carved)
    }

    /// A slab's state.
    pub fn slab(&self) -> SlabState {
        let head = self.head.load(Relaxed);
        #[expect(clippy::cast_possible_truncation, reason = "ten bits are meant")]
        let field = |shift: u32| (head >> shift) as u16 & NO_OBJECT;
        SlabState {
            free: field(FREE_SHIFT),
            carved: field(CARVED_SHIFT),
            in_use: field(IN_USE_SHIFT),
        }
    }

    /// Changes a slab's state; the cache's lock is held.
    pub fn update_slab(&self, state: SlabState) {
        let tag = self.head.load(Relaxed) & 0xffff_ffff;
        let fields = u64::from(state.free) << FREE_SHIFT
            | u64::from(state.in_use) << IN_USE_SHIFT
            | u64::from(state.carved) << CARVED_SHIFT;
        self.head.store(tag | fields, Relaxed);
    }

    pub(super) fn next(&self) -> Link {
        Link(self.next.load(Relaxed))
    }
    pub(super) fn prev(&self) -> Link {
        Link(self.prev.load(Relaxed))
    }
    pub(super) fn set_next(&self, next: Link) {
        self.next.store(next.0, Relaxed);
    }
    pub(super) fn set_prev(&self, prev: Link) {
        self.prev.store(prev.0, Relaxed);
    }
}

#[cold]
#[inline(never)]
fn corrupt(kind: u64) -> ! {
    panic!("the frame table is overwritten: a frame of kind {kind}");
}

const fn head(kind: Kind, order: Order) -> u64 {
    kind as u64 | (order.get() as u64) << 8
}

/// A place on a list: a frame, or the list's end. The highest frame number stands for the end; that
/// frame, the last below 16 TiB, is never managed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Link(u32);

impl Link {
    pub(super) const END: Self = Self(u32::MAX);

    pub(super) const fn to(pfn: Pfn) -> Self {
        Self(pfn.get())
    }
    pub(super) fn pfn(self) -> Option<Pfn> {
        (self != Self::END).then_some(Pfn::new(self.0))
    }
}

/// The entries of a stretch of frames and of its pageblocks.
#[derive(Clone, Copy, Debug)]
pub struct Table<'t> {
    frames: &'t [Frame],
    pageblocks: &'t [Pageblock],
    first: Pfn,
}

impl<'t> Table<'t> {
    /// Entries for the frames from `first` on, whole blocks of the largest order. The frames' entries
    /// may hold garbage; the pageblocks' are zero.
    pub const fn new(frames: &'t [Frame], pageblocks: &'t [Pageblock], first: Pfn) -> Self {
        let largest = Order::MAX.frames() as usize;
        assert!(first.is_aligned_to(Order::MAX) && frames.len().is_multiple_of(largest));
        assert!(pageblocks.len() * pageblock::FRAMES as usize == frames.len());
        Self {
            frames,
            pageblocks,
            first,
        }
    }

    /// The frames it has entries for.
    pub fn span(&self) -> Range<Pfn> {
        let frames = u32::try_from(self.frames.len()).expect("a frame number has 32 bits");
        self.first..self.first.offset(frames)
    }

    /// The entries, valid or not.
    pub const fn frames(&self) -> &'t [Frame] {
        self.frames
    }

    /// What the pageblock of `pfn` says, or `None` outside the table.
    #[inline]
    pub fn state(&self, pfn: Pfn) -> Option<State> {
        let index = pfn.get().wrapping_sub(self.first.get()) >> pageblock::ORDER.get();
        self.pageblocks.get(index as usize).map(Pageblock::state)
    }

    /// The entry of `pfn`, or `None` outside the table and where no entry is valid.
    #[inline]
    pub fn find(&self, pfn: Pfn) -> Option<&'t Frame> {
        let index = pfn.get().wrapping_sub(self.first.get());
        let pageblock = self
            .pageblocks
            .get((index >> pageblock::ORDER.get()) as usize)?;
        pageblock.published().knows(pfn).then(|| self.at(pfn))
    }

    /// The entry of `pfn`, which a list or a caller of this module says is there. Panics if not.
    #[inline]
    pub(super) fn at(&self, pfn: Pfn) -> &'t Frame {
        &self.frames[pfn.get().wrapping_sub(self.first.get()) as usize]
    }

    /// The byte of the pageblock of `pfn`, which is in the table.
    #[inline]
    pub(super) fn pageblock(&self, pfn: Pfn) -> &'t Pageblock {
        let index = pfn.get().wrapping_sub(self.first.get()) >> pageblock::ORDER.get();
        &self.pageblocks[index as usize]
    }

    /// The entries of the pageblock of `pfn`.
    pub(super) fn entries(&self, pfn: Pfn) -> &'t [Frame] {
        let start = (pfn.get() - self.first.get()) & !(pageblock::FRAMES - 1);
        &self.frames[start as usize..][..pageblock::FRAMES as usize]
    }
}

/// Frames in `span`.
pub(super) fn count(span: &Range<Pfn>) -> u32 {
    span.end.get().saturating_sub(span.start.get())
}

/// A doubly linked list of heads.
///
/// Invariant: `first` has no `prev`, `last` no `next`, and each neighbour's link leads back.
#[derive(Debug)]
pub(super) struct List {
    first: Link,
    last: Link,
}

impl List {
    pub(super) const fn new() -> Self {
        Self {
            first: Link::END,
            last: Link::END,
        }
    }

    pub(super) fn first(&self) -> Option<Pfn> {
        self.first.pfn()
    }

    pub(super) fn last(&self) -> Option<Pfn> {
        self.last.pfn()
    }

    #[inline]
    pub(super) fn push_front(&mut self, table: &Table<'_>, pfn: Pfn) {
        let frame = table.at(pfn);
        frame.set_prev(Link::END);
        frame.set_next(self.first);
        match self.first.pfn() {
            Some(first) => table.at(first).set_prev(Link::to(pfn)),
            None => self.last = Link::to(pfn),
        }
        self.first = Link::to(pfn);
    }

    pub(super) fn push_back(&mut self, table: &Table<'_>, pfn: Pfn) {
        let frame = table.at(pfn);
        frame.set_prev(self.last);
        frame.set_next(Link::END);
        match self.last.pfn() {
            Some(last) => table.at(last).set_next(Link::to(pfn)),
            None => self.first = Link::to(pfn),
        }
        self.last = Link::to(pfn);
    }

    /// Makes `pfn` its only head. It is empty.
    #[inline(always)]
    pub(super) fn start(&mut self, table: &Table<'_>, pfn: Pfn) {
        let frame = table.at(pfn);
        frame.set_prev(Link::END);
        frame.set_next(Link::END);
        (self.first, self.last) = (Link::to(pfn), Link::to(pfn));
    }

    /// Takes its first head off it.
    #[inline]
    pub(super) fn pop_front(&mut self, table: &Table<'_>) -> Option<Pfn> {
        let pfn = self.first.pfn()?;
        self.first = table.at(pfn).next();
        match self.first.pfn() {
            Some(first) => table.at(first).set_prev(Link::END),
            None => self.last = Link::END,
        }
        Some(pfn)
    }

    #[inline]
    pub(super) fn remove(&mut self, table: &Table<'_>, pfn: Pfn) {
        let frame = table.at(pfn);
        let (next, prev) = (frame.next(), frame.prev());
        match prev.pfn() {
            Some(prev) => table.at(prev).set_next(next),
            None => self.first = next,
        }
        match next.pfn() {
            Some(next) => table.at(next).set_prev(prev),
            None => self.last = prev,
        }
    }

    /// Its heads, first to last.
    pub(super) fn iter<'t>(&self, table: &Table<'t>) -> impl Iterator<Item = Pfn> + use<'t> {
        let table = *table;
        core::iter::successors(self.first.pfn(), move |pfn| table.at(*pfn).next().pfn())
    }
}

#[cfg(test)]
mod tests;
