//! Page frames in power-of-two blocks that split on demand and merge when freed.
//!
//! Each zone has one. Memblock fills it once, at boot; from then on page tables, slabs, vmalloc and
//! user memory live on it.
//!
//! # Shape
//!
//! ```text
//! frame      0   1   2   3 │ 4   5 │ 6 │ 7
//!            └─ allocated ─┘ └free─┘  a   f
//!
//! row of lists    unmovable    order 0: 7    order 1: 4    …    available = 0b011
//! (one a type)    movable      …                       order 9, 10: whole free pageblocks
//! untouched       [0x40000, 64 largest blocks] ⇄ …
//! ```
//!
//! A block is known by its first frame, whose [`Frame`](super::frame::Frame) holds its order and, while
//! it is free, its list and its neighbours there, as frame numbers. There are no pointers here, and so no
//! `unsafe`: memory being allocated is never touched.
//!
//! Each [pageblock] serves one migrate type, so that what cannot move gathers in few
//! of them. A pageblock that is free altogether serves whoever comes first. A request whose type has
//! nothing left takes from another's largest block; if that is half a pageblock or more it
//! claims the pageblock, by its byte alone: free blocks of it that stand on the former type's lists move
//! when an allocation comes upon them, a few at a time.
//!
//! Memory that was never used lies in ranges of largest blocks; their entries in the frame table are
//! not even written. Adding a range costs the same whatever its length.
//!
//! # Invariants
//!
//! 1. Every managed frame is in exactly one block, free or not, or in a range of untouched memory.
//! 2. A block of order *n* starts at a multiple of 2ⁿ frames.
//! 3. Two buddies of one order are never both free, unless they are pageblocks of different special
//!    types: `free` merges them before it returns.
//! 4. The free-frame count equals the sum over lists and untouched ranges, and list *n* of a row holds
//!    free blocks of order *n* alone, which name the row.
//! 5. Entries inside a block are zero, unless the block's owner (a slab) marks them.
//! 6. A pageblock is free as a whole, or inside such a block: its type is movable, CMA or isolated. A
//!    block smaller than a pageblock lies in one all of whose entries are valid.
//!
//! [`validate`](Buddy::validate) checks all six.
//!
//! # Cost
//!
//! `alloc` finds its list by one bit scan and splits at most ten times; `free` merges at most ten
//! times. Each step touches two entries; no step depends on a block's size. The first split of a
//! pageblock zeroes its 512 entries, 8 KiB, by cache lines.
//!
//! # Locking
//!
//! None. The zone's lock wraps the whole allocator; see [`mm`](super) for the order of locks.

mod batch;
mod fallback;
mod growth;
mod ranges;
mod validate;

use super::addr::{Order, Pfn};
use super::frame::{Kind, List, Table};
use super::frame_error::FrameError;
use super::pageblock::{self, MigrateType, State};
use super::{path, zeroing};
use core::ops::Range;
use wire::path::Step;

pub use batch::BATCH;
pub use validate::Violation;

/// Most blocks that one allocation moves to the list of the type that claimed their pageblock.
const MOVES: usize = 4;
/// The orders of blocks that are whole pageblocks.
const WHOLE: u32 = 1 << Order::MAX.get() | 1 << pageblock::ORDER.get();

/// Rows that a type's three bits can name, and lists that four bits of an order can: powers of two, so
/// that no index needs a check.
const ROWS: usize = 8;
const PLACES: usize = 16;

/// The free blocks of one migrate type.
#[derive(Debug)]
#[repr(align(256))]
struct Row {
    lists: [List; PLACES],
    blocks: [u32; PLACES],
    /// Bit *n* is set while list *n* is not empty.
    available: u32,
}

impl Row {
    const fn new() -> Self {
        Self {
            lists: [const { List::new() }; PLACES],
            blocks: [0; PLACES],
            available: 0,
        }
    }

    #[inline(always)]
    fn push(&mut self, table: &Table<'_>, pfn: Pfn, order: Order) {
        let place = place(order);
        self.lists[place].push_front(table, pfn);
        self.blocks[place] += 1;
        self.available |= 1 << place;
    }

    #[inline(always)]
    fn remove(&mut self, table: &Table<'_>, pfn: Pfn, order: Order) {
        let place = place(order);
        self.lists[place].remove(table, pfn);
        self.left(place);
    }

    /// The first block of a list.
    #[inline(always)]
    fn pop(&mut self, table: &Table<'_>, order: Order) -> Option<Pfn> {
        let place = place(order);
        let pfn = self.lists[place].pop_front(table)?;
        self.left(place);
        Some(pfn)
    }

    /// Notes that a block left a list.
    #[inline(always)]
    fn left(&mut self, place: usize) {
        self.blocks[place] -= 1;
        if self.blocks[place] == 0 {
            self.available &= !(1 << place);
        }
    }
}

#[inline(always)]
const fn place(order: Order) -> usize {
    order.index() % PLACES
}

/// The allocator of one zone.
#[derive(Debug)]
pub struct Buddy<'t> {
    table: Table<'t>,
    span: Range<Pfn>,
    class: u8,
    rows: [Row; ROWS],
    untouched: List,
    untouched_frames: u32,
    managed: u32,
    free: u32,
    /// Of `free`, those in CMA pageblocks.
    cma: u32,
    /// Free as well, but in isolated pageblocks, and not in `free`.
    isolated: u32,
    lowest_free: u32,
    claimed: u32,
}

impl<'t> Buddy<'t> {
    /// An allocator for frames of `span`, none of which it has yet. `table` covers the span, which
    /// consists of whole blocks of the largest order; its pageblocks will be marked with `class`.
    pub const fn new(table: Table<'t>, span: Range<Pfn>, class: u8) -> Self {
        assert!(span.start.is_aligned_to(Order::MAX) && span.end.is_aligned_to(Order::MAX));
        Self {
            table,
            span,
            class,
            rows: [const { Row::new() }; ROWS],
            untouched: List::new(),
            untouched_frames: 0,
            managed: 0,
            free: 0,
            cma: 0,
            isolated: 0,
            lowest_free: 0,
            claimed: 0,
        }
    }

    /// Frames that were given to it.
    pub const fn managed_frames(&self) -> u32 {
        self.managed
    }

    /// Frames that are free and to be had.
    pub const fn free_frames(&self) -> u32 {
        self.free
    }

    /// Of the free frames, those in CMA pageblocks.
    pub const fn cma_frames(&self) -> u32 {
        self.cma
    }

    /// Frames that are free and isolated.
    pub const fn isolated_frames(&self) -> u32 {
        self.isolated
    }

    /// The fewest frames that were ever free since memory was last added.
    pub const fn lowest_free_frames(&self) -> u32 {
        self.lowest_free
    }

    /// Pageblocks that one type took from another.
    pub const fn claimed_pageblocks(&self) -> u32 {
        self.claimed
    }

    /// Free blocks on the lists of `migrate`, by order; untouched memory counts as movable.
    pub fn free_blocks(&self, migrate: MigrateType) -> [u32; Order::COUNT] {
        let row = &self.rows[migrate.index()];
        let mut blocks = *row.blocks.first_chunk().expect("more places than orders");
        if migrate == MigrateType::Movable {
            blocks[Order::MAX.index()] += self.untouched_frames / Order::MAX.frames();
        }
        blocks
    }

    /// Takes a block of `order` for `migrate`, if more than `reserve` frames stay free. CMA memory
    /// counts, and is given, for movable requests alone.
    pub fn alloc(&mut self, order: Order, migrate: MigrateType, reserve: u32) -> Option<Pfn> {
        if self.usable(migrate) < order.frames() + reserve {
            return None;
        }
        let pfn = match self.take(order, migrate) {
            Some(pfn) => pfn,
            None => self.take_elsewhere(order, migrate)?,
        };
        self.table.at(pfn).set_head(Kind::Allocated, order);
        self.note_taken(order.frames());
        Some(pfn)
    }

    /// Takes a block of `order` for movable frames, only where a pageblock of theirs is in use already.
    pub fn alloc_beside(&mut self, order: Order) -> Option<Pfn> {
        let small = self.rows[MigrateType::Movable.index()].available & !WHOLE;
        if small >> order.get() == 0 {
            return None;
        }
        self.alloc(order, MigrateType::Movable, 0)
    }

    /// Free frames that requests for `migrate` may have.
    #[inline(always)]
    fn usable(&self, migrate: MigrateType) -> u32 {
        match migrate {
            MigrateType::Movable => self.free,
            _ => self.free - self.cma,
        }
    }

    #[inline(always)]
    fn note_taken(&mut self, frames: u32) {
        self.free -= frames;
        self.lowest_free = self.lowest_free.min(self.free);
    }

    /// The smallest order of which the lists of `migrate`, or those of whole pageblocks, have a block
    /// that will do.
    #[inline(always)]
    fn smallest(&self, order: Order, migrate: MigrateType) -> Option<Order> {
        let whole = self.rows[MigrateType::Movable.index()].available & WHOLE;
        let available = self.rows[migrate.index()].available | whole;
        Order::lowest_of(available >> place(order) << place(order))
    }

    /// Takes a block off the lists of `migrate`, or a pageblock that is free altogether.
    #[inline(always)]
    fn take(&mut self, order: Order, migrate: MigrateType) -> Option<Pfn> {
        let found = self.smallest(order, migrate)?;
        if found >= pageblock::ORDER {
            return Some(self.take_whole(found, order, migrate));
        }
        let pfn = self.pop(found, migrate);
        if self.table.pageblock(pfn).state().row() != migrate.index() {
            return Some(self.take_moved(pfn, found, order, migrate));
        }
        if found > order {
            self.split_first(pfn, found, order, migrate);
        }
        Some(pfn)
    }

    /// Takes a block of whole pageblocks.
    #[inline(always)]
    fn take_whole(&mut self, found: Order, order: Order, migrate: MigrateType) -> Pfn {
        let pfn = self.pop(found, MigrateType::Movable);
        if found > order {
            self.carve(pfn, found, order, migrate);
        }
        pfn
    }

    /// Goes on where `pfn`, off the list of `migrate`, was found to lie in another's pageblock: it and
    /// some that follow move to that type's lists.
    #[cold]
    #[inline(never)]
    fn take_moved(
        &mut self,
        mut pfn: Pfn,
        mut found: Order,
        order: Order,
        migrate: MigrateType,
    ) -> Pfn {
        for _ in 0..MOVES {
            let owner = self.table.pageblock(pfn).state().migrate_type();
            if owner == migrate {
                break;
            }
            let Some(next) = self.smallest(order, migrate) else {
                break;
            };
            self.link(pfn, found, owner);
            if next >= pageblock::ORDER {
                return self.take_whole(next, order, migrate);
            }
            (pfn, found) = (self.pop(next, migrate), next);
        }
        let owner = self.table.pageblock(pfn).state().migrate_type();
        self.split(pfn, found, order, owner);
        pfn
    }

    /// Cuts a free block of whole pageblocks, on no list, down to `order`, for `migrate`.
    fn carve(&mut self, pfn: Pfn, mut found: Order, order: Order, migrate: MigrateType) {
        if found > pageblock::ORDER && order < found {
            found = pageblock::ORDER;
            self.link(pfn.offset(pageblock::FRAMES), found, whole(migrate));
            path::split(1);
        }
        if order < pageblock::ORDER {
            self.open(pfn, migrate);
            self.split_first(pfn, found, order, migrate);
        }
    }

    /// Makes all entries of a pageblock valid and gives it to `migrate`.
    fn open(&self, pfn: Pfn, migrate: MigrateType) {
        let pageblock = self.table.pageblock(pfn);
        let state = pageblock.state();
        if !state.has_entries() {
            path::note(Step::PageblockInit);
            zeroing::clear_entries(self.table.entries(pfn));
        }
        pageblock.set(state.with_entries().with_type(migrate));
    }

    /// As [`split`](Self::split) where the lists that the rest goes to are empty: the block was the smallest
    /// that would do. They are entered without a look at what they held.
    #[inline(always)]
    fn split_first(&mut self, pfn: Pfn, found: Order, order: Order, migrate: MigrateType) {
        let (table, row) = (self.table, &mut self.rows[migrate.index()]);
        debug_assert!(
            row.available >> place(order) & ((1 << (found.get() - order.get())) - 1) == 0
        );
        path::split(found.get() - order.get());
        row.available |= (1 << place(found)) - (1 << place(order));
        let mut cut = found;
        while let Some(half) = cut.smaller().filter(|half| *half >= order) {
            let pfn = pfn.offset(half.frames());
            table.at(pfn).set_free(half, migrate.index());
            row.lists[place(half)].start(&table, pfn);
            row.blocks[place(half)] = 1;
            cut = half;
        }
    }

    /// Cuts a free block on no list down to `order`; the rest goes to the lists of `migrate`.
    fn split(&mut self, pfn: Pfn, found: Order, order: Order, migrate: MigrateType) {
        path::split(found.get() - order.get());
        let mut cut = found;
        while let Some(half) = cut.smaller().filter(|half| *half >= order) {
            self.link(pfn.offset(half.frames()), half, migrate);
            cut = half;
        }
    }

    /// Gives back a block with the order it was allocated with.
    ///
    /// # Errors
    ///
    /// All but [`FrameError::OutOfMemory`] and [`FrameError::NotReady`]: the block was not allocated
    /// here like this.
    #[inline]
    pub fn free(&mut self, pfn: Pfn, order: Order) -> Result<(), FrameError> {
        self.free_counting_merges(pfn, order).map(path::merged)
    }

    /// As [`free`](Self::free), and returns how many times the block merged with its buddy.
    ///
    /// # Errors
    ///
    /// As for `free`.
    pub fn free_counting_merges(&mut self, pfn: Pfn, order: Order) -> Result<u8, FrameError> {
        let state = self.table.state(pfn);
        let Some(state) = state.filter(|state| state.knows(pfn)) else {
            return Err(self.why_not_known(pfn));
        };
        if !self.table.at(pfn).is_head(Kind::Allocated, order) {
            return Err(self.why_not(pfn, order));
        }
        self.free += order.frames();
        if !state.is_ordinary() {
            self.freed_special(order, state.migrate_type());
        }
        Ok(self.insert_merged(pfn, order, state.row()))
    }

    #[cold]
    fn freed_special(&mut self, order: Order, migrate: MigrateType) {
        if migrate == MigrateType::Cma {
            self.cma += order.frames();
        } else {
            self.free -= order.frames();
            self.isolated += order.frames();
        }
    }

    /// Merges a block of pageblocks of a type, whose entry may say anything, with its free buddies
    /// and puts it on a list. Returns how many times it merged.
    #[inline]
    fn insert_merged(&mut self, mut pfn: Pfn, mut order: Order, row: usize) -> u8 {
        let table = self.table;
        let freed = order;
        while order < pageblock::ORDER {
            let buddy = Pfn::new(pfn.get() ^ order.frames());
            let Some(list) = table.at(buddy).free_row(order) else {
                self.link_in(pfn, order, row);
                return order.get() - freed.get();
            };
            self.rows[list].remove(&table, buddy, order);
            // The lower half's entry is written last, as the head or as the higher half of a larger one.
            table.at(pfn.max(buddy)).clear();
            pfn = pfn.min(buddy);
            order = order.larger().expect("below a pageblock's");
        }
        self.insert_whole(pfn, order, MigrateType::from_row(row));
        order.get() - freed.get()
    }

    /// Puts a free block of whole pageblocks on a list, with the buddy of a pageblock that is free, too.
    fn insert_whole(&mut self, mut pfn: Pfn, mut order: Order, mut migrate: MigrateType) {
        let state = self.table.pageblock(pfn).state();
        if migrate.is_ordinary() && migrate != MigrateType::Movable {
            migrate = MigrateType::Movable;
            self.table.pageblock(pfn).set(state.with_type(migrate));
        }
        if order == pageblock::ORDER && self.take_buddy_pageblock(pfn, state.with_type(migrate)) {
            self.table.at(pfn).clear();
            pfn = Pfn::new(pfn.get() & !(Order::MAX.frames() - 1));
            order = Order::MAX;
        }
        self.link(pfn, order, migrate);
    }

    /// Takes the other half of the largest block that the pageblock of `pfn`, in `state`, lies in off
    /// its list, if it is there, and of the same kind.
    fn take_buddy_pageblock(&mut self, pfn: Pfn, state: State) -> bool {
        let buddy = Pfn::new(pfn.get() ^ pageblock::FRAMES);
        if !state.merges_with(self.table.pageblock(buddy).state()) {
            return false;
        }
        let entry = self.table.at(buddy);
        let Some(list) = entry.free_of(pageblock::ORDER) else {
            return false;
        };
        self.unlink(buddy, pageblock::ORDER, list);
        entry.clear();
        path::merged(1);
        true
    }

    #[inline]
    fn link(&mut self, pfn: Pfn, order: Order, migrate: MigrateType) {
        self.link_in(pfn, order, migrate.index());
    }

    #[inline(always)]
    fn link_in(&mut self, pfn: Pfn, order: Order, row: usize) {
        let table = self.table;
        table.at(pfn).set_free(order, row);
        self.rows[row % ROWS].push(&table, pfn, order);
    }

    fn unlink(&mut self, pfn: Pfn, order: Order, migrate: MigrateType) {
        let table = self.table;
        self.rows[migrate.index()].remove(&table, pfn, order);
    }

    /// Takes the first block off a list that is not empty.
    #[inline(always)]
    fn pop(&mut self, order: Order, migrate: MigrateType) -> Pfn {
        let table = self.table;
        let first = self.rows[migrate.index()].pop(&table, order);
        first.expect("its bit is set")
    }

    /// Why `pfn`, in the span, whose entry is valid, cannot be freed as a block of `order`.
    #[cold]
    fn why_not(&self, pfn: Pfn, order: Order) -> FrameError {
        let head = self.table.at(pfn);
        match head.kind() {
            Kind::Allocated => FrameError::WrongOrder {
                pfn,
                given: order,
                actual: head.order(),
            },
            Kind::Free => FrameError::DoubleFree(pfn),
            Kind::Large | Kind::Slab | Kind::SlabTail | Kind::Movable | Kind::Moving => {
                FrameError::InUse(pfn)
            }
            Kind::None => self.why_no_head(pfn, order),
        }
    }

    /// What `pfn`, which starts no block, is instead.
    fn why_no_head(&self, pfn: Pfn, order: Order) -> FrameError {
        match self.block_around(pfn) {
            Some((Kind::Free, _)) => FrameError::DoubleFree(pfn),
            Some(_) if !pfn.is_aligned_to(order) => FrameError::Misaligned { pfn, order },
            Some((_, head)) => FrameError::NotAHead {
                pfn,
                block: self.table.at(head).order(),
            },
            None => FrameError::NotManaged(pfn),
        }
    }

    /// What `pfn`, whose entry is not valid, is: inside a block of whole pageblocks, or untouched.
    #[cold]
    fn why_not_known(&self, pfn: Pfn) -> FrameError {
        match self.block_around(pfn) {
            Some((Kind::Free, _)) => FrameError::DoubleFree(pfn),
            Some((_, head)) => FrameError::NotAHead {
                pfn,
                block: self.table.at(head).order(),
            },
            None if self.is_untouched(pfn) => FrameError::DoubleFree(pfn),
            None => FrameError::NotManaged(pfn),
        }
    }

    /// The kind and the head of the block that `pfn` is in; `None` if it is in none.
    fn block_around(&self, pfn: Pfn) -> Option<(Kind, Pfn)> {
        let start_of = |order: Order| Pfn::new(pfn.get() & !(order.frames() - 1));
        let starts = Order::all().map(start_of);
        let mut heads = starts.filter_map(|start| Some((start, self.table.find(start)?)));
        let (head, frame) = heads.find(|(_, frame)| frame.kind() != Kind::None)?;
        (pfn < head.offset(frame.order().frames())).then_some((frame.kind(), head))
    }

    /// Whether `pfn` is in a free block.
    pub fn is_free_frame(&self, pfn: Pfn) -> bool {
        matches!(self.block_around(pfn), Some((Kind::Free, _))) || self.is_untouched(pfn)
    }
}

/// The type of the row that a whole pageblock is listed in, which serves `migrate`.
const fn whole(migrate: MigrateType) -> MigrateType {
    if migrate.is_ordinary() {
        MigrateType::Movable
    } else {
        migrate
    }
}
