//! Physical memory as a map: what each of many equal blocks of frames holds, for reports that draw it.
//!
//! Read from the frame table without locks, as it stands at about this moment: for a bench, which is
//! alone, exactly.

use super::addr::Pfn;
use super::frame::Kind;
use super::frames::Frames;
use super::pageblock::{self, MigrateType};

/// What a block of frames holds; the rest of it is not managed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Frames that are free; those on cores' lists are not.
    pub free: u32,
    /// Frames that whoever asked for page frames has, cores' lists included.
    pub pages: u32,
    /// Frames in slabs.
    pub slab: u32,
    /// What its first frame's pageblock is for.
    pub migrate: MigrateType,
}

/// What frames hold, from the one that was looked at up to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Free,
    Pages,
    Slab,
    Unmanaged,
}

impl Frames<'_> {
    /// Tells `out` of each block of `block_frames` frames, at least 1, that the frame table covers, in the
    /// order of addresses. Takes time in proportion to memory.
    pub fn map(&self, block_frames: u32, out: &mut dyn FnMut(Holding)) {
        let span = self.table().span();
        let (mut pfn, mut piece, mut until) = (span.start, Piece::Unmanaged, span.start);
        while pfn < span.end {
            let mut holding = Holding {
                free: 0,
                pages: 0,
                slab: 0,
                migrate: self.migrate_type(pfn),
            };
            let end = Pfn::new(pfn.get() + block_frames).min(span.end);
            while pfn < end {
                if pfn >= until {
                    (piece, until) = self.piece(pfn);
                }
                let next = until.min(end);
                let frames = next.get() - pfn.get();
                match piece {
                    Piece::Free => holding.free += frames,
                    Piece::Pages => holding.pages += frames,
                    Piece::Slab => holding.slab += frames,
                    Piece::Unmanaged => {}
                }
                pfn = next;
            }
            out(holding);
        }
    }

    fn migrate_type(&self, pfn: Pfn) -> MigrateType {
        let state = self.table().state(pfn);
        let touched = state.filter(|state| state.is_touched());
        touched.map_or(MigrateType::Movable, |state| state.migrate_type())
    }

    /// What `pfn`, at which a block may begin, holds, and the first frame that may hold something else.
    fn piece(&self, pfn: Pfn) -> (Piece, Pfn) {
        let pageblock_end = Pfn::new((pfn.get() + 1).next_multiple_of(pageblock::FRAMES));
        let Some(entry) = self.table().find(pfn) else {
            // Nobody was ever given anything here: either all of it is free, or none of it is managed.
            let piece = if self.is_free(pfn) {
                Piece::Free
            } else {
                Piece::Unmanaged
            };
            return (piece, pageblock_end);
        };
        let piece = match entry.kind() {
            Kind::None => return (Piece::Unmanaged, pfn.offset(1)),
            Kind::Slab | Kind::SlabTail => return (Piece::Slab, pfn.offset(1)),
            Kind::Free => Piece::Free,
            Kind::Allocated | Kind::Large | Kind::Movable | Kind::Moving => Piece::Pages,
        };
        (piece, pfn.offset(entry.order().frames()))
    }
}

#[cfg(test)]
mod tests;
