//! Several blocks at once, for the lists that each context has in front of its zone.

use super::Buddy;
use crate::mm::addr::{Order, Pfn};
use crate::mm::pageblock::MigrateType;

/// Most blocks that are taken at once: a block two orders larger is cut into so many.
pub const BATCH: usize = 2;

/// The order of a block that is cut into a batch of blocks of `order`.
const fn whole_batch(order: Order) -> Order {
    match order.larger() {
        Some(twice) => twice,
        None => order,
    }
}

const _: () = assert!(whole_batch(Order::ZERO).frames() as usize == BATCH);

impl Buddy<'_> {
    /// Takes up to [`BATCH`] blocks of `order` for `migrate` and returns how many, each with `magazine`
    /// in its head: blocks of just that order if there are any, so that they are used up first, else
    /// the parts of one larger block. As [`alloc`](Buddy::alloc) where that would touch the reserve.
    pub fn alloc_batch(
        &mut self,
        (order, magazine): (Order, u8),
        migrate: MigrateType,
        reserve: u32,
        blocks: &mut [Pfn; BATCH],
    ) -> usize {
        let mut taken = 0;
        if self.usable(migrate) >= whole_batch(order).frames() + reserve {
            taken = self.take_alike(order, migrate, blocks);
        }
        if taken == 0 {
            let Some(pfn) = self.alloc(order, migrate, reserve) else {
                return 0;
            };
            self.table.at(pfn).set_allocated(order, magazine);
            blocks[0] = pfn;
            return 1;
        }
        for &pfn in &blocks[..taken] {
            self.table.at(pfn).set_allocated(order, magazine);
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most a batch")]
        self.note_taken(order.frames() * taken as u32);
        taken
    }

    /// Takes blocks of `order`, or the parts of the smallest larger one; none from other types.
    fn take_alike(
        &mut self,
        order: Order,
        migrate: MigrateType,
        blocks: &mut [Pfn; BATCH],
    ) -> usize {
        let mut taken = 0;
        while taken < BATCH
            && let Some(found) = self.smallest(order, migrate)
            && (taken == 0 || found == order)
        {
            let cut = found.min(whole_batch(order));
            let Some(mut pfn) = self.take(cut, migrate) else {
                break;
            };
            let parts = 1 << (cut.get() - order.get());
            for block in blocks[taken..].iter_mut().take(parts) {
                *block = pfn;
                pfn = pfn.offset(order.frames());
            }
            taken += parts;
        }
        taken
    }
}
