//! Where a request goes whose own type has nothing left.

use super::Buddy;
use crate::mm::addr::{Order, Pfn};
use crate::mm::pageblock::{self, MigrateType};
use crate::mm::path;
use wire::path::Step;

/// The smallest free block that claims its pageblock: half of it.
const CLAIMS_FROM: Order = pageblock::ORDER.smaller().expect("above 0");

impl Buddy<'_> {
    /// Takes untouched memory, else from the lists of other types, in their order.
    #[cold]
    pub(super) fn take_elsewhere(&mut self, order: Order, migrate: MigrateType) -> Option<Pfn> {
        if let Some(pfn) = self.take_untouched() {
            self.carve(pfn, Order::MAX, order, migrate);
            return Some(pfn);
        }
        let mut types = migrate.fallbacks().iter();
        types.find_map(|&from| match from {
            MigrateType::Cma => self.borrow(order),
            _ => self.steal(order, migrate, from),
        })
    }

    /// Takes the smallest block that will do of CMA memory, which stays CMA.
    fn borrow(&mut self, order: Order) -> Option<Pfn> {
        let cma = MigrateType::Cma;
        let available = self.rows[cma.index()].available;
        let found = Order::lowest_of(available >> order.get() << order.get())?;
        let pfn = self.pop(found, cma);
        if found >= pageblock::ORDER {
            self.carve(pfn, found, order, cma);
        } else {
            self.split(pfn, found, order, cma);
        }
        self.cma -= order.frames();
        Some(pfn)
    }

    /// Takes from the largest block of `from`, and the whole pageblock with it if the block is half of
    /// that or more; else the smallest block that will do, so that little of it is mixed.
    fn steal(&mut self, order: Order, migrate: MigrateType, from: MigrateType) -> Option<Pfn> {
        let available = self.rows[from.index()].available >> order.get() << order.get();
        let largest = Order::highest_of(available)?;
        let claims = largest >= CLAIMS_FROM;
        let found = if claims {
            largest
        } else {
            Order::lowest_of(available)?
        };
        path::note(Step::Stolen);
        let pfn = self.pop(found, from);
        let pageblock = self.table.pageblock(pfn);
        let mut owner = pageblock.state().migrate_type();
        if claims && owner.is_ordinary() {
            owner = migrate;
            pageblock.set(pageblock.state().with_type(migrate));
            self.claimed += 1;
        }
        self.split(pfn, found, order, owner);
        Some(pfn)
    }
}
