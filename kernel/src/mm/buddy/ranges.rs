//! Blocks cut up and ranges taken exactly: `split_page`, and what `alloc_contig` needs.

use super::{Buddy, whole};
use crate::mm::addr::{Order, Pfn};
use crate::mm::frame::Kind;
use crate::mm::frame_error::FrameError;
use crate::mm::pageblock::{self, MigrateType};
use crate::mm::zeroing;
use core::ops::Range;

impl Buddy<'_> {
    /// Makes an allocated block one of single frames, each to be freed on its own.
    ///
    /// # Errors
    ///
    /// As for [`free`](Self::free).
    pub fn split_page(&mut self, pfn: Pfn, order: Order) -> Result<(), FrameError> {
        let known = self.table.find(pfn);
        if !known.is_some_and(|entry| entry.is_head(Kind::Allocated, order)) {
            return Err(match known {
                Some(_) => self.why_not(pfn, order),
                None => self.why_not_known(pfn),
            });
        }
        for pageblock in (0..order.frames()).step_by(pageblock::FRAMES as usize) {
            self.open_allocated(pfn.offset(pageblock));
        }
        for frame in 0..order.frames() {
            let entry = self.table.at(pfn.offset(frame));
            entry.set_head(Kind::Allocated, Order::ZERO);
        }
        Ok(())
    }

    /// Makes all entries of a pageblock valid whose first is, if that says more than the rest.
    fn open_allocated(&self, pfn: Pfn) {
        let pageblock = self.table.pageblock(pfn);
        let state = pageblock.state();
        if !state.has_entries() {
            zeroing::clear_entries(self.table.entries(pfn));
            pageblock.set(state.with_entries());
        }
    }

    /// Keeps the pageblock of `pfn` from being allocated from: its free blocks move to lists of their
    /// own. False if it is isolated already or has no memory.
    pub fn isolate(&mut self, pfn: Pfn) -> bool {
        let start = Pfn::new(pfn.get() & !(pageblock::FRAMES - 1));
        self.bring_in(start);
        let pageblock = self.table.pageblock(start);
        let former = pageblock.state().migrate_type();
        if !pageblock.state().is_touched() || former == MigrateType::Isolated {
            return false;
        }
        self.halve(start);
        pageblock.set(pageblock.state().isolated());
        let moved = self.relist(start, MigrateType::Isolated);
        self.free -= moved;
        if former == MigrateType::Cma {
            self.cma -= moved;
        }
        self.isolated += moved;
        true
    }

    /// Undoes [`isolate`](Self::isolate): the pageblock is for whom it was.
    pub fn rejoin(&mut self, pfn: Pfn) {
        let start = Pfn::new(pfn.get() & !(pageblock::FRAMES - 1));
        let pageblock = self.table.pageblock(start);
        let former = pageblock.state().former_type();
        assert_eq!(pageblock.state().migrate_type(), MigrateType::Isolated);
        self.halve(start);
        let all_free = self.table.at(start).free_of(pageblock::ORDER).is_some();
        let target = if all_free { whole(former) } else { former };
        pageblock.set(pageblock.state().with_type(target));
        let moved = self.relist(start, target);
        self.isolated -= moved;
        self.free += moved;
        if target == MigrateType::Cma {
            self.cma += moved;
        }
        if all_free {
            self.unlink(start, pageblock::ORDER, target);
            self.insert_whole(start, pageblock::ORDER, target);
        }
    }

    /// Makes the pageblock at `start` part of touched memory, if it is in an untouched range.
    fn bring_in(&mut self, start: Pfn) {
        let Some(range) = self.untouched_around(start) else {
            return;
        };
        let block = Pfn::new(start.get() & !(Order::MAX.frames() - 1));
        self.cut_untouched(&range, block);
        self.link(block, Order::MAX, MigrateType::Movable);
    }

    /// Cuts the free block of two pageblocks that the one at `start` is in, if it is, in two.
    fn halve(&mut self, start: Pfn) {
        let block = Pfn::new(start.get() & !(Order::MAX.frames() - 1));
        let entry = self.table.find(block);
        let Some(list) = entry.and_then(|entry| entry.free_of(Order::MAX)) else {
            return;
        };
        self.unlink(block, Order::MAX, list);
        for half in [block, block.offset(pageblock::FRAMES)] {
            self.link(half, pageblock::ORDER, list);
        }
    }

    /// Puts all free blocks of the pageblock at `start` on the lists of `target`; how many frames.
    fn relist(&mut self, start: Pfn, target: MigrateType) -> u32 {
        let (mut moved, end) = (0, start.offset(pageblock::FRAMES));
        let mut pfn = start;
        while pfn < end {
            let Some(entry) = self.table.find(pfn) else {
                break;
            };
            let order = match entry.kind() {
                Kind::None | Kind::SlabTail => Order::ZERO,
                _ => entry.order(),
            };
            if let Some(list) = entry.free_of(order) {
                self.unlink(pfn, order, list);
                self.link(pfn, order, target);
                moved += order.frames();
            }
            pfn = pfn.offset(order.frames());
        }
        moved
    }

    /// The first frame of `range` that is not free. What it finds free stays so where the pageblocks are
    /// isolated.
    pub fn first_used(&self, range: &Range<Pfn>) -> Option<Pfn> {
        self.first_but(range, |kind| kind == Kind::Free)
    }

    /// The first frame of `range` that is neither free nor in a movable block.
    pub fn first_unmovable(&self, range: &Range<Pfn>) -> Option<Pfn> {
        self.first_but(range, |kind| matches!(kind, Kind::Free | Kind::Movable))
    }

    fn first_but(&self, range: &Range<Pfn>, passes: impl Fn(Kind) -> bool) -> Option<Pfn> {
        let mut pfn = range.start;
        while pfn < range.end {
            match self.block_around(pfn) {
                Some((kind, head)) if passes(kind) => {
                    pfn = head.offset(self.table.at(head).order().frames());
                }
                None => match self.untouched_around(pfn) {
                    Some(range) => pfn = range.end,
                    None => return Some(pfn),
                },
                Some(_) => return Some(pfn),
            }
        }
        None
    }

    /// Takes exactly `range`, all of which is free and in isolated pageblocks; each part of it is then
    /// an allocated block, as large as its place allows.
    pub fn take_range(&mut self, range: Range<Pfn>) {
        let mut pfn = range.start;
        while pfn < range.end {
            let (_, head) = self.block_around(pfn).expect("the range is free");
            let end = head.offset(self.table.at(head).order().frames());
            self.take_part(head..end, pfn..end.min(range.end));
            pfn = end;
        }
    }

    /// Takes `part` out of a free block that is at `block`.
    fn take_part(&mut self, block: Range<Pfn>, part: Range<Pfn>) {
        let order = self.table.at(block.start).order();
        self.unlink(block.start, order, MigrateType::Isolated);
        self.table.at(block.start).clear();
        if block != part {
            for pageblock in (0..order.frames()).step_by(pageblock::FRAMES as usize) {
                self.open_allocated(block.start.offset(pageblock));
            }
        }
        for (piece, free) in [
            (block.start..part.start, true),
            (part.clone(), false),
            (part.end..block.end, true),
        ] {
            let mut pfn = piece.start;
            while pfn < piece.end {
                let left = piece.end.get() - pfn.get();
                let order = Order::largest_at(pfn, left);
                if free {
                    self.link(pfn, order, MigrateType::Isolated);
                } else {
                    self.table.at(pfn).set_head(Kind::Allocated, order);
                    self.isolated -= order.frames();
                }
                pfn = pfn.offset(order.frames());
            }
        }
        self.lowest_free = self.lowest_free.min(self.free);
    }
}
