//! Memory that is given to the allocator, and memory that nobody has touched yet.
//!
//! A range of untouched memory consists of largest blocks. The entry of its first frame holds its length
//! and its neighbours on the list of ranges; nothing else of it is valid, and no pageblock says that
//! this much is. Blocks are taken off its end.

use super::Buddy;
use crate::mm::addr::{Order, Pfn};
use crate::mm::frame;
use crate::mm::pageblock::{self, MigrateType, State};
use core::ops::Range;

const LARGEST: u32 = Order::MAX.frames();

impl Buddy<'_> {
    /// Takes over the frames of `range`, which lie in the span, are nobody's, and were never given
    /// before. The cost does not depend on its length: edges are at most nine blocks each.
    pub fn add(&mut self, range: Range<Pfn>) {
        assert!(
            self.span.start <= range.start && range.end <= self.span.end,
            "frames {range:?} outside the zone {:?}",
            self.span
        );
        let start = Pfn::new(range.start.get().next_multiple_of(LARGEST));
        let end = Pfn::new(range.end.get() & !(LARGEST - 1));
        if start < end {
            self.add_blocks(range.start..start);
            self.add_untouched(start..end);
            self.add_blocks(end..range.end);
        } else {
            self.add_blocks(range);
        }
        self.lowest_free = self.free;
    }

    /// Takes over whole pageblocks that only movable frames may use, until they are wanted
    /// ([`take_range`](super::Buddy::take_range)).
    pub fn add_cma(&mut self, range: Range<Pfn>) {
        assert!(range.start.is_aligned_to(pageblock::ORDER));
        assert!(range.end.is_aligned_to(pageblock::ORDER));
        let frames = frame::count(&range);
        let mut pfn = range.start;
        while pfn < range.end {
            let touched = State::touched(self.class, MigrateType::Cma);
            self.table.at(pfn).clear();
            self.table.pageblock(pfn).set(touched);
            self.insert_whole(pfn, pageblock::ORDER, MigrateType::Cma);
            pfn = pfn.offset(pageblock::FRAMES);
        }
        self.managed += frames;
        self.free += frames;
        self.cma += frames;
        self.lowest_free = self.free;
    }

    /// Enters a range as blocks, as large as they can be.
    fn add_blocks(&mut self, range: Range<Pfn>) {
        let mut pfn = range.start;
        while pfn < range.end {
            let order = Order::largest_at(pfn, frame::count(&(pfn..range.end)));
            let pageblock = self.table.pageblock(pfn);
            if !pageblock.state().is_touched() {
                self.table.at(pfn).clear();
                pageblock.set(State::touched(self.class, MigrateType::Movable));
            }
            if order < pageblock::ORDER && !pageblock.state().has_entries() {
                self.open(pfn, MigrateType::Movable);
            }
            self.managed += order.frames();
            self.free += order.frames();
            let row = pageblock.state().row();
            self.insert_merged(pfn, order, row);
            pfn = pfn.offset(order.frames());
        }
    }

    fn add_untouched(&mut self, range: Range<Pfn>) {
        let frames = frame::count(&range);
        self.managed += frames;
        self.free += frames;
        self.enter_untouched(range);
    }

    fn enter_untouched(&mut self, range: Range<Pfn>) {
        let frames = frame::count(&range);
        if frames > 0 {
            self.table.at(range.start).set_untouched(frames);
            self.untouched.push_front(&self.table, range.start);
            self.untouched_frames += frames;
        }
    }

    /// Takes a largest block off the end of a range that nobody touched.
    pub(super) fn take_untouched(&mut self) -> Option<Pfn> {
        let start = self.untouched.first()?;
        let entry = self.table.at(start);
        let left = entry.untouched_frames() - LARGEST;
        if left == 0 {
            self.untouched.remove(&self.table, start);
        } else {
            entry.set_untouched(left);
        }
        let pfn = start.offset(left);
        self.touch(pfn);
        Some(pfn)
    }

    /// Makes the heads of both pageblocks of a largest block valid; it was untouched until now.
    fn touch(&mut self, pfn: Pfn) {
        for half in [pfn, pfn.offset(pageblock::FRAMES)] {
            let touched = State::touched(self.class, MigrateType::Movable);
            self.table.at(half).clear();
            self.table.pageblock(half).set(touched);
        }
        self.untouched_frames -= LARGEST;
    }

    /// Takes the largest block at `pfn` out of a range of untouched memory.
    pub(super) fn cut_untouched(&mut self, range: &Range<Pfn>, pfn: Pfn) {
        self.untouched.remove(&self.table, range.start);
        self.untouched_frames -= frame::count(range);
        self.enter_untouched(range.start..pfn);
        self.enter_untouched(pfn.offset(LARGEST)..range.end);
        self.untouched_frames += LARGEST;
        self.touch(pfn);
    }

    /// The range of untouched memory that holds `pfn`.
    pub(super) fn untouched_around(&self, pfn: Pfn) -> Option<Range<Pfn>> {
        let ranges = self.untouched.iter(&self.table);
        let mut ranges =
            ranges.map(|start| start..start.offset(self.table.at(start).untouched_frames()));
        ranges.find(|range| range.contains(&pfn))
    }

    pub(super) fn is_untouched(&self, pfn: Pfn) -> bool {
        self.untouched_around(pfn).is_some()
    }
}
