//! What is known about each 2 MiB of memory in one byte: whom it is for, and how much of its entries
//! in the frame table is there at all.
//!
//! # Shape
//!
//! ```text
//! bit   0 1     2 3        4        5        6
//!      │ class │ type │ isolated │ head │ entries │
//! ```
//!
//! *class* and *type* are, as one number, the group of [`Gfp`](super::gfp::Gfp) flags that the
//! pageblock serves: the class is that of its zone, the type the mobility of the requests it was opened
//! for, or CMA. *isolated* keeps everybody out; the type says for whom the pageblock was, and will be.
//!
//! A zeroed byte is a pageblock that nobody touched: its entries in the frame table are garbage. With
//! *head* set the first entry is valid, which is all that a block of 512 or 1,024 frames needs. With
//! *entries* set all 512 are: that is when its block was split first. So the frame table costs nothing
//! before memory is used, and then about 270 instructions for 2 MiB.
//!
//! # Locking
//!
//! A byte changes under the lock of the pageblock's zone. Whoever owns a block in it may read without:
//! for that block class and validity do not change.

use super::addr::{Order, Pfn};
use core::sync::atomic::{
    AtomicU8,
    Ordering::{Acquire, Relaxed, Release},
};

/// The order of a pageblock: 512 frames, what one level-2 block descriptor maps.
pub const ORDER: Order = Order::new(9).expect("below the largest");
/// Frames of a pageblock.
pub const FRAMES: u32 = ORDER.frames();

/// Whom a pageblock's frames are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MigrateType {
    /// Whoever keeps frames where they are.
    Unmovable = 0,
    /// Whoever registered how to move them, or gives them back when asked.
    Movable = 1,
    /// Caches that shrink.
    Reclaimable = 2,
    /// Movable frames, until contiguous memory is wanted there.
    Cma = 3,
    /// Nobody: the range is about to be taken whole.
    Isolated = 4,
}

impl MigrateType {
    /// One past the highest number.
    pub const COUNT: usize = 5;
    /// All types, in Linux's order.
    pub const ALL: [Self; 5] = [
        Self::Unmovable,
        Self::Movable,
        Self::Reclaimable,
        Self::Cma,
        Self::Isolated,
    ];

    /// The type that requests of a [group](super::gfp::Gfp::group) ask for.
    #[inline]
    pub const fn of_group(group: usize) -> Self {
        match group >> 2 & 3 {
            0 => Self::Unmovable,
            2 => Self::Reclaimable,
            _ => Self::Movable,
        }
    }

    /// The number, an index below [`COUNT`](Self::COUNT).
    #[inline]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The type with that number, below 8.
    #[inline]
    pub(super) const fn from_row(row: usize) -> Self {
        match row {
            0 => Self::Unmovable,
            1 => Self::Movable,
            2 => Self::Reclaimable,
            3 => Self::Cma,
            _ => Self::Isolated,
        }
    }

    /// Whether requests name it; the others only keep them out.
    #[inline]
    pub const fn is_ordinary(self) -> bool {
        (self as u8) < Self::Cma as u8
    }

    /// Which types' memory a request of this type may take when its own is used up, best first.
    pub const fn fallbacks(self) -> &'static [Self] {
        match self {
            Self::Unmovable => &[Self::Reclaimable, Self::Movable],
            Self::Reclaimable => &[Self::Unmovable, Self::Movable],
            Self::Movable => &[Self::Cma, Self::Reclaimable, Self::Unmovable],
            Self::Cma | Self::Isolated => &[],
        }
    }

    /// Linux's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unmovable => "Unmovable",
            Self::Movable => "Movable",
            Self::Reclaimable => "Reclaimable",
            Self::Cma => "CMA",
            Self::Isolated => "Isolate",
        }
    }
}

/// What a pageblock's byte says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct State(u8);

const HEAD: u8 = 1 << 5;
const ENTRIES: u8 = 1 << 6;
const CLASS: u8 = 3;
const TYPE_SHIFT: u8 = 2;
/// Isolated, where the type's two other bits say for whom it was.
const ISOLATED: u8 = (MigrateType::Isolated as u8) << TYPE_SHIFT;

impl State {
    /// A pageblock whose first entry is valid, of the zone of `class`.
    pub(super) const fn touched(class: u8, migrate: MigrateType) -> Self {
        Self(HEAD | class & CLASS | (migrate as u8) << TYPE_SHIFT)
    }

    /// With all entries valid.
    pub(super) const fn with_entries(self) -> Self {
        Self(self.0 | HEAD | ENTRIES)
    }

    /// For another type.
    pub(super) const fn with_type(self, migrate: MigrateType) -> Self {
        Self(self.0 & !(7 << TYPE_SHIFT) | (migrate as u8) << TYPE_SHIFT)
    }

    /// Isolated, and remembers for whom it was.
    pub(super) const fn isolated(self) -> Self {
        Self(self.0 | ISOLATED)
    }

    /// For whom an isolated pageblock was.
    pub(super) const fn former_type(self) -> MigrateType {
        Self(self.0 & !ISOLATED).migrate_type()
    }

    /// The class of its zone.
    #[inline]
    pub const fn class(self) -> usize {
        (self.0 & CLASS) as usize
    }

    /// Whom it is for.
    #[inline]
    pub const fn migrate_type(self) -> MigrateType {
        MigrateType::from_row(self.row())
    }

    /// The [number](MigrateType::index) of whom it is for.
    #[inline]
    pub(super) const fn row(self) -> usize {
        if self.0 & ISOLATED != 0 {
            MigrateType::Isolated.index()
        } else {
            (self.0 >> TYPE_SHIFT & 3) as usize
        }
    }

    /// Whether requests name whom it is for.
    #[inline]
    pub(super) const fn is_ordinary(self) -> bool {
        self.row() < MigrateType::Cma as usize
    }

    /// Whether anything of it is valid.
    #[inline]
    pub const fn is_touched(self) -> bool {
        self.0 & HEAD != 0
    }

    /// Whether all its entries are valid.
    #[inline]
    pub const fn has_entries(self) -> bool {
        self.0 & ENTRIES != 0
    }

    /// Whether the entry of `pfn`, in this pageblock, is valid.
    #[inline]
    pub const fn knows(self, pfn: Pfn) -> bool {
        self.has_entries() || self.is_touched() && pfn.is_aligned_to(ORDER)
    }

    /// Whether a free pageblock in this state and one in `other` may be one block.
    pub(super) const fn merges_with(self, other: Self) -> bool {
        (self.0 ^ other.0) & !ENTRIES == 0
    }
}

/// A pageblock's byte.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Pageblock(AtomicU8);

impl Pageblock {
    /// One that nobody touched.
    pub const fn new() -> Self {
        Self(AtomicU8::new(0))
    }

    /// What it says, for who holds the zone's lock or looks at no entry because of it.
    #[inline]
    pub fn state(&self) -> State {
        State(self.0.load(Relaxed))
    }

    /// What it says, for whoever then looks at an entry without the zone's lock: entries that it calls valid
    /// were written before.
    #[inline]
    pub(super) fn published(&self) -> State {
        State(self.0.load(Acquire))
    }

    /// Says something else, of entries that are written already; the zone's lock is held.
    #[inline]
    pub(super) fn set(&self, state: State) {
        self.0.store(state.0, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::gfp::Gfp;

    #[test]
    fn a_zeroed_byte_knows_nothing() {
        let state = Pageblock::new().state();
        assert!(!state.is_touched() && !state.knows(Pfn::new(0)));
    }

    #[test]
    fn a_touched_pageblock_knows_its_head_and_an_open_one_all() {
        let state = State::touched(2, MigrateType::Cma);
        assert!(state.knows(Pfn::new(512)) && !state.knows(Pfn::new(513)));
        let state = state.with_entries();
        assert!(state.knows(Pfn::new(513)));
        assert_eq!((state.class(), state.migrate_type()), (2, MigrateType::Cma));
    }

    #[test]
    fn an_isolated_pageblock_remembers_for_whom_it_was() {
        for former in &MigrateType::ALL[..4] {
            let state = State::touched(1, *former).isolated();
            assert_eq!(state.migrate_type(), MigrateType::Isolated);
            assert_eq!(state.former_type(), *former);
        }
    }

    #[test]
    fn types_survive_their_bits_and_groups_name_them() {
        for migrate in MigrateType::ALL {
            let state = State::touched(0, MigrateType::Isolated).with_type(migrate);
            assert_eq!(state.migrate_type(), migrate);
            assert_eq!(migrate.is_ordinary(), migrate.index() < 3);
        }
        for (gfp, migrate) in [
            (Gfp::KERNEL, MigrateType::Unmovable),
            (Gfp::DMA | Gfp::MOVABLE, MigrateType::Movable),
            (Gfp::RECLAIMABLE, MigrateType::Reclaimable),
        ] {
            assert_eq!(MigrateType::of_group(gfp.group()), migrate);
        }
    }
}
