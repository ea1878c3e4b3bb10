//! Checking a zone's invariants, entry by entry.

use super::{Buddy, whole};
use crate::mm::addr::{Order, Pfn};
use crate::mm::frame::Kind;
use crate::mm::pageblock::{self, MigrateType};

/// A broken invariant, by its number in the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant.
    pub invariant: u8,
    /// Where it was found broken.
    pub pfn: Pfn,
}

const fn broken<T>(invariant: u8, pfn: Pfn) -> Result<T, Violation> {
    Err(Violation { invariant, pfn })
}

impl Buddy<'_> {
    /// Checks every invariant; pageblocks that nobody touched cost one look.
    ///
    /// # Errors
    ///
    /// The first one found broken.
    pub fn validate(&self) -> Result<(), Violation> {
        let listed = self.validate_lists()?;
        let (mut found, mut free, mut pfn) = (self.untouched_frames, 0, self.span.start);
        while pfn < self.span.end {
            let Some(entry) = self.table.find(pfn) else {
                pfn = Pfn::new((pfn.get() + 1).next_multiple_of(pageblock::FRAMES));
                continue;
            };
            let order = match entry.kind() {
                Kind::None => {
                    pfn = pfn.offset(1);
                    continue;
                }
                Kind::SlabTail => return broken(5, pfn),
                _ => entry.order(),
            };
            self.validate_block(pfn, order)?;
            found += order.frames();
            if entry.kind() == Kind::Free {
                free += order.frames();
            }
            pfn = pfn.offset(order.frames());
        }
        if found != self.managed {
            return broken(1, self.span.start);
        }
        let all_free = self.free + self.isolated;
        if free != listed || free + self.untouched_frames != all_free {
            return broken(4, self.span.start);
        }
        if self.lowest_free > self.managed {
            return broken(4, self.span.end);
        }
        Ok(())
    }

    /// Frames on all lists.
    fn validate_lists(&self) -> Result<u32, Violation> {
        let (mut all, mut special) = (0, [0, 0]);
        for migrate in MigrateType::ALL {
            for order in Order::all() {
                let frames = self.validate_list(order, migrate)? * order.frames();
                all += frames;
                match migrate {
                    MigrateType::Cma => special[0] += frames,
                    MigrateType::Isolated => special[1] += frames,
                    _ => {}
                }
            }
        }
        let ranges = self.untouched.iter(&self.table);
        let untouched = ranges.map(|start| self.table.at(start).untouched_frames());
        if special != [self.cma, self.isolated] || untouched.sum::<u32>() != self.untouched_frames {
            return broken(4, self.span.start);
        }
        Ok(all)
    }

    /// Blocks on a list.
    fn validate_list(&self, order: Order, migrate: MigrateType) -> Result<u32, Violation> {
        let row = &self.rows[migrate.index()];
        let mut blocks = 0;
        for pfn in row.lists[order.index()].iter(&self.table) {
            let entry = self.table.find(pfn);
            if entry.and_then(|entry| entry.free_of(order)) != Some(migrate) {
                return broken(4, pfn);
            }
            let owner = self.table.pageblock(pfn).state().migrate_type();
            if migrate.is_ordinary() != owner.is_ordinary() {
                return broken(4, pfn);
            }
            if order >= pageblock::ORDER && whole(owner) != owner {
                return broken(6, pfn);
            }
            blocks += 1;
        }
        let bit = row.available >> order.get() & 1 == 1;
        if blocks != row.blocks[order.index()] || bit != (blocks > 0) {
            return broken(4, self.span.start);
        }
        Ok(blocks)
    }

    fn validate_block(&self, pfn: Pfn, order: Order) -> Result<(), Violation> {
        let head = self.table.at(pfn);
        if !pfn.is_aligned_to(order) || pfn.offset(order.frames()) > self.span.end {
            return broken(2, pfn);
        }
        let state = self.table.pageblock(pfn).state();
        if order < pageblock::ORDER && !state.has_entries() {
            return broken(6, pfn);
        }
        if head.kind() == Kind::Free && self.could_merge(pfn, order) {
            return broken(3, pfn);
        }
        let expected = match head.kind() {
            Kind::Slab => Kind::SlabTail,
            _ => Kind::None,
        };
        let inside = (1..order.frames()).map(|i| pfn.offset(i));
        let mut known = inside.filter_map(|pfn| Some((pfn, self.table.find(pfn)?)));
        match known.find(|(_, entry)| entry.kind() != expected) {
            Some((inside, _)) => broken(5, inside),
            None => Ok(()),
        }
    }

    /// Whether the buddy of a free block is free too, and of the same kind.
    fn could_merge(&self, pfn: Pfn, order: Order) -> bool {
        let buddy = Pfn::new(pfn.get() ^ order.frames());
        let state = |pfn| self.table.pageblock(pfn).state();
        order < Order::MAX
            && self
                .table
                .find(buddy)
                .is_some_and(|entry| entry.free_of(order).is_some())
            && state(pfn).merges_with(state(buddy))
    }
}
