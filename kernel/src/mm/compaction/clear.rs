//! One chunk: what it holds, and how it is cleared.

use super::{Compacted, Immovable};
use crate::mm::{
    addr::{Order, Pfn},
    frame::Kind,
    frames::Frames,
    pageblock::{self, MigrateType},
    zone::{Watermarks, Zone},
};

/// A chunk that holds free and movable blocks alone, and one of each at least.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    start: Pfn,
    order: Order,
    /// Frames in movable blocks.
    pub(super) used: u32,
}

impl Chunk {
    /// The chunk of `order` at `start`, if clearing it would make it free; as it looks at this moment, to
    /// somebody without a lock. Adds the entries that this took to `looked`.
    pub(super) fn look(
        frames: &Frames<'_>,
        start: Pfn,
        order: Order,
        looked: &mut u32,
    ) -> Option<Self> {
        let (mut pfn, end, mut used) = (start, start.offset(order.frames()), 0);
        while pfn < end {
            *looked += 1;
            let state = frames.table().state(pfn)?;
            if state.migrate_type() == MigrateType::Isolated {
                return None;
            }
            let entry = frames.table().find(pfn)?;
            let block = entry.order();
            match entry.kind() {
                Kind::Free => {}
                Kind::Movable => used += block.frames(),
                _ => return None,
            }
            if block > order {
                return None;
            }
            pfn = pfn.offset(block.frames());
        }
        (0 < used && used < order.frames()).then_some(Self { start, order, used })
    }

    fn end(&self) -> Pfn {
        self.start.offset(self.order.frames())
    }

    fn pageblocks(&self) -> impl Iterator<Item = Pfn> + use<> {
        let start = self.start.get() & !(pageblock::FRAMES - 1);
        (start..self.end().get())
            .step_by(pageblock::FRAMES as usize)
            .map(Pfn::new)
    }
}

impl<'t> Frames<'t> {
    /// Moves all blocks of the chunk elsewhere, if their pageblocks can be spared meanwhile.
    pub(super) fn clear_chunk(&self, zone: &Zone<'t>, chunk: &Chunk, done: &mut Compacted) {
        if !zone.can_spare(chunk.order.frames().max(pageblock::FRAMES)) {
            return;
        }
        let isolated = chunk
            .pageblocks()
            .take_while(|&pageblock| zone.lock().isolate(pageblock))
            .count();
        if isolated == chunk.pageblocks().count() {
            if self.move_all(zone, chunk, done) {
                done.cleared += 1;
            } else {
                done.left += 1;
            }
        }
        for pageblock in chunk.pageblocks().take(isolated) {
            zone.lock().rejoin(pageblock);
        }
    }

    fn move_all(&self, zone: &Zone<'t>, chunk: &Chunk, done: &mut Compacted) -> bool {
        let mut pfn = chunk.start;
        while pfn < chunk.end() {
            let Some(entry) = self.table().find(pfn) else {
                return false;
            };
            let (kind, order) = (entry.kind(), entry.order());
            match kind {
                Kind::Free => {}
                Kind::Movable => match self.relocate(pfn, order, |order| zone.take_beside(order)) {
                    Ok(()) => done.moved += 1,
                    Err(Stuck::Refused) => done.refused += 1,
                    Err(Stuck::NoRoom) => return false,
                },
                // Inside a free block that was merged meanwhile, or somebody's after all.
                _ => {}
            }
            pfn = match kind {
                Kind::Free | Kind::Movable => pfn.offset(order.frames()),
                _ => pfn.offset(1),
            };
        }
        zone.lock()
            .first_used(&(chunk.start..chunk.end()))
            .is_none()
    }

    /// Moves the movable block at `from` to a block that `take` gives, and frees it.
    pub(in crate::mm) fn relocate(
        &self,
        from: Pfn,
        order: Order,
        take: impl FnOnce(Order) -> Option<Pfn>,
    ) -> Result<(), Stuck> {
        let to = take(order).ok_or(Stuck::NoRoom)?;
        let (result, unused) = match self.migrate(from, to, order) {
            Ok(()) => (Ok(()), from),
            Err(Immovable) => (Err(Stuck::Refused), to),
        };
        if let Err(error) = self.free_to_zone(unused, order) {
            unreachable!("a block that is nobody's cannot be freed: {error}");
        }
        result
    }
}

/// Why a block stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mm) enum Stuck {
    /// Its owner refused, or it was changing hands.
    Refused,
    /// There is nowhere to move it.
    NoRoom,
}

impl Zone<'_> {
    fn take_beside(&self, order: Order) -> Option<Pfn> {
        self.lock().alloc_beside(order)
    }

    /// Whether `frames` free frames could be kept from everybody for a while.
    fn can_spare(&self, frames: u32) -> bool {
        let buddy = self.lock();
        buddy.free_frames() > frames + Watermarks::of(buddy.managed_frames()).min
    }
}
