//! Who can move blocks, and how a block is theirs.

use super::{Compacted, CompactionStatistics};
use crate::mm::{
    addr::{Order, Pfn},
    frame::{Frame, Kind},
    frames::Frames,
};
use crate::sync::{Rank, SpinLock, irq, wait};
use core::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// Most owners.
const OWNERS: usize = 8;

/// The block cannot be moved at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Immovable;

/// Somebody who knows all that refers to a movable block, and can make it refer to another one.
pub trait MovableOwner: Sync {
    /// What it is called in reports.
    fn name(&self) -> &'static str;

    /// Has everybody use the block `to` instead of `from`, both of one order. `key` is what the block is to
    /// the owner. In this order: takes `from` from all who could write it (break before make), calls `copy`,
    /// and gives them `to`.
    ///
    /// Runs with interrupts masked. It may only try locks: whoever holds one may be waiting for the block.
    ///
    /// # Errors
    ///
    /// [`Immovable`], and nothing has changed.
    fn migrate(
        &self,
        key: u64,
        from: Pfn,
        to: Pfn,
        copy: &mut dyn FnMut(),
    ) -> Result<(), Immovable>;
}

/// A registered owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerId(u8);

/// All places are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnersFull;

impl fmt::Display for OwnersFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{OWNERS} owners of movable blocks are registered already"
        )
    }
}

impl core::error::Error for OwnersFull {}

/// What a frame allocator has for compaction.
pub(in crate::mm) struct Owners<'t> {
    table: SpinLock<[Option<&'t dyn MovableOwner>; OWNERS]>,
    runs: AtomicU64,
    cleared: AtomicU64,
    left: AtomicU64,
    moved: AtomicU64,
    refused: AtomicU64,
}

impl fmt::Debug for Owners<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owners")
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}

impl Owners<'_> {
    pub(in crate::mm) const fn new() -> Self {
        Self {
            table: SpinLock::new(Rank::Figures, [None; OWNERS]),
            runs: AtomicU64::new(0),
            cleared: AtomicU64::new(0),
            left: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    pub(super) fn note(&self, done: &Compacted) {
        self.runs.fetch_add(1, Relaxed);
        self.cleared.fetch_add(done.cleared.into(), Relaxed);
        self.left.fetch_add(done.left.into(), Relaxed);
        self.moved.fetch_add(done.moved.into(), Relaxed);
        self.refused.fetch_add(done.refused.into(), Relaxed);
    }

    pub(super) fn statistics(&self) -> CompactionStatistics {
        CompactionStatistics {
            runs: self.runs.load(Relaxed),
            cleared: self.cleared.load(Relaxed),
            left: self.left.load(Relaxed),
            moved: self.moved.load(Relaxed),
            refused: self.refused.load(Relaxed),
        }
    }
}

impl<'t> Frames<'t> {
    /// Lets `owner` own movable blocks, for good.
    ///
    /// # Errors
    ///
    /// [`OwnersFull`].
    pub fn register_owner(&self, owner: &'t dyn MovableOwner) -> Result<OwnerId, OwnersFull> {
        let mut table = self.owners.table.lock();
        let place = table.iter().position(Option::is_none).ok_or(OwnersFull)?;
        table[place] = Some(owner);
        u8::try_from(place).map(OwnerId).map_err(|_| OwnersFull)
    }

    /// Says that `owner` can move the block, which the caller allocated with this order and
    /// [`Gfp::MOVABLE`](crate::mm::gfp::Gfp::MOVABLE). To the owner it is `key`, of 56 bits, wherever it goes.
    /// It cannot be freed until it is [taken back](Self::disown).
    pub fn own(&self, block: Pfn, order: Order, owner: OwnerId, key: u64) {
        let entry = self.table().at(block);
        entry.set_owner(owner.0, key);
        entry.publish_head(Kind::Movable, order);
    }

    /// Makes the block, which is `key` to `owner`, an ordinary one again, to be freed or to stay where it is.
    /// Waits while it is being moved; returns false if it is no longer that: it was moved, and the caller
    /// must look where to.
    #[must_use]
    pub fn disown(&self, block: Pfn, order: Order, owner: OwnerId, key: u64) -> bool {
        let entry = self.table().at(block);
        loop {
            if let Some(is_same) = Self::try_disown(entry, order, (owner.0, key)) {
                return is_same;
            }
            // Movable again, perhaps: who moved it refused, between the attempt and this look.
            let is_movable = matches!(entry.kind(), Kind::Movable | Kind::Moving);
            if !is_movable || entry.order() != order {
                return false;
            }
            wait::pause();
        }
    }

    /// One attempt: `None` if the block is no movable one at this moment, else whether it was that one.
    fn try_disown(entry: &Frame, order: Order, expected: (u8, u64)) -> Option<bool> {
        // By invariant 2: an interrupt handler that met the block half-way would wait for ever.
        let _masked = irq::mask();
        if !entry.claim(order, Kind::Movable, Kind::Moving) {
            return None;
        }
        let is_same = entry.owner() == expected;
        let kind = if is_same {
            Kind::Allocated
        } else {
            Kind::Movable
        };
        entry.publish_head(kind, order);
        Some(is_same)
    }

    /// Has the owner of the movable block `from` move it to `to`, an allocated block of the same order that
    /// nobody uses; then `from` is allocated, and nobody's.
    pub(in crate::mm) fn migrate(&self, from: Pfn, to: Pfn, order: Order) -> Result<(), Immovable> {
        let (source, target) = (self.table().at(from), self.table().at(to));
        let _masked = irq::mask();
        if !source.claim(order, Kind::Movable, Kind::Moving) {
            return Err(Immovable);
        }
        let (number, key) = source.owner();
        target.set_owner(number, key);
        target.publish_head(Kind::Moving, order);
        let owner = self.owners.table.lock().get(usize::from(number)).copied();
        let owner = owner.flatten().ok_or(Immovable);
        let mut copy = || self.copy(from, to, order);
        let moved = owner.and_then(|owner| owner.migrate(key, from, to, &mut copy));
        let (source_kind, target_kind) = match moved {
            Ok(()) => (Kind::Allocated, Kind::Movable),
            Err(Immovable) => (Kind::Movable, Kind::Allocated),
        };
        source.publish_head(source_kind, order);
        target.publish_head(target_kind, order);
        moved
    }
}
