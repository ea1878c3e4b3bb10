//! Compaction over owners that only take notes, in memory full of garbage.

use super::*;
use crate::mm::{
    arena::Arena, frame::Kind, frames::tests::churn::churn_mixed, pageblock, zone::ZoneLimits,
};
use std::{collections::BTreeMap, ops::Range, sync::Mutex, vec::Vec};

const FIRST: Pfn = Pfn::new(0x4_0000);
const MOVABLE: Gfp = Gfp::MOVABLE.union(Gfp::DIRECT_RECLAIM);
const SINGLE: Order = Order::ZERO;

/// Notes where its blocks are.
#[derive(Default)]
struct Notes {
    blocks: Mutex<BTreeMap<u64, Pfn>>,
    /// Keys that it will not move.
    pinned: Mutex<Vec<u64>>,
}

impl MovableOwner for Notes {
    fn name(&self) -> &'static str {
        "notes"
    }
    fn migrate(
        &self,
        key: u64,
        from: Pfn,
        to: Pfn,
        copy: &mut dyn FnMut(),
    ) -> Result<(), Immovable> {
        if self.pinned.lock().unwrap().contains(&key) {
            return Err(Immovable);
        }
        let mut blocks = self.blocks.try_lock().map_err(|_| Immovable)?;
        let block = blocks.get_mut(&key).ok_or(Immovable)?;
        assert_eq!(*block, from, "the key is another block's");
        *block = to;
        copy();
        Ok(())
    }
}

impl Notes {
    fn take(&self, frames: &Frames<'_>, id: OwnerId, order: Order, key: u64) -> Option<Pfn> {
        let block = frames.alloc(order, MOVABLE).ok()?;
        self.note(frames, id, order, key, block);
        Some(block)
    }
    fn note(&self, frames: &Frames<'_>, id: OwnerId, order: Order, key: u64, block: Pfn) {
        let former = self.blocks.lock().unwrap().insert(key, block);
        assert_eq!(former, None);
        frames.own(block, order, id, key);
    }
    fn give(&self, frames: &Frames<'_>, id: OwnerId, order: Order, key: u64) {
        let block = self.blocks.lock().unwrap().remove(&key).unwrap();
        assert!(frames.disown(block, order, id, key));
        frames.free(block, order).unwrap();
    }
    fn block(&self, key: u64) -> Pfn {
        self.blocks.lock().unwrap()[&key]
    }
}

fn pfns(start: u32, end: u32) -> Range<Pfn> {
    FIRST.offset(start)..FIRST.offset(end)
}

fn blocks_to_be_had(frames: &Frames<'_>, order: Order) -> u32 {
    let take = || frames.alloc(order, Gfp::NOWAIT).ok();
    let blocks: Vec<_> = core::iter::from_fn(take).collect();
    for &block in &blocks {
        frames.free(block, order).unwrap();
    }
    u32::try_from(blocks.len()).unwrap()
}

#[test]
fn what_is_scattered_gathers_and_keeps_its_keys() {
    let notes = Notes::default();
    let mut arena = Arena::new(FIRST, 8192);
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[pfns(0, 8192)]);
    let id = frames.register_owner(&notes).unwrap();
    for key in 0..8000 {
        notes.take(&frames, id, SINGLE, key).unwrap();
    }
    for key in (0..8000).filter(|key| key % 8 != 0) {
        notes.give(&frames, id, SINGLE, key);
    }
    frames.drain_lists();
    let before = blocks_to_be_had(&frames, pageblock::ORDER);
    let done = frames.compact(pageblock::ORDER);
    assert_eq!(
        (frames.validate(), frames.free_frames()),
        (Ok(()), 8192 - 1000)
    );
    let after = blocks_to_be_had(&frames, pageblock::ORDER);
    // A thousand frames need two pageblocks.
    assert!(
        before <= 1 && after == 14,
        "{before}, then {after}: {done:?}"
    );
    assert_eq!((done.cleared, done.refused), (after - before, 0));
    assert!(done.moved >= 800);
    for key in (0..8000).filter(|key| key % 8 == 0) {
        notes.give(&frames, id, SINGLE, key);
    }
    assert_eq!((frames.validate(), frames.free_frames()), (Ok(()), 8192));
}

#[test]
fn a_block_that_is_pinned_or_has_no_owner_keeps_its_place_and_its_chunk() {
    let notes = Notes::default();
    let mut arena = Arena::new(FIRST, 4096);
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[pfns(0, 4096)]);
    let id = frames.register_owner(&notes).unwrap();
    for key in 0..4000 {
        notes.take(&frames, id, SINGLE, key).unwrap();
    }
    let chunk_of = |pfn: Pfn| pfn.get() / pageblock::FRAMES;
    let owned = notes.block(0);
    let pinned = notes.block(2000);
    assert!(frames.disown(owned, SINGLE, id, 0), "its owner lets it go");
    notes.pinned.lock().unwrap().push(2000);
    for key in (1..4000).filter(|key| key % 16 != 0) {
        notes.give(&frames, id, SINGLE, key);
    }
    let done = frames.compact(pageblock::ORDER);
    assert_eq!(notes.block(2000), pinned);
    let kind = |pfn| frames.table().find(pfn).unwrap().kind();
    assert_eq!(
        (kind(owned), kind(pinned)),
        (Kind::Allocated, Kind::Movable)
    );
    assert!(done.refused >= 1 && done.left >= 1, "{done:?}");
    assert_ne!(chunk_of(owned), chunk_of(pinned));
    assert_eq!(frames.validate(), Ok(()));
    frames.free(owned, SINGLE).unwrap();
}

#[test]
fn an_owned_block_cannot_be_freed_and_only_its_owner_takes_it_back() {
    let notes = Notes::default();
    let mut arena = Arena::new(FIRST, 1024);
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[pfns(0, 1024)]);
    let id = frames.register_owner(&notes).unwrap();
    let block = notes.take(&frames, id, SINGLE, 7).unwrap();
    assert!(frames.free(block, SINGLE).is_err());
    assert!(!frames.disown(block, SINGLE, id, 8), "another key");
    assert!(!frames.disown(block, Order::MAX, id, 7), "another order");
    assert!(frames.disown(block, SINGLE, id, 7));
    assert!(!frames.disown(block, SINGLE, id, 7));
    frames.free(block, SINGLE).unwrap();
    assert_eq!((frames.validate(), frames.free_frames()), (Ok(()), 1024));
}

#[test]
fn a_request_for_a_large_block_has_one_cleared_unless_it_may_not_wait() {
    let notes = Notes::default();
    let mut arena = Arena::new(FIRST, 16384);
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[pfns(0, 16384)]);
    let id = frames.register_owner(&notes).unwrap();
    let mut count = 0;
    while notes.take(&frames, id, SINGLE, count).is_some() {
        count += 1;
    }
    for key in (0..count).filter(|key| key % 4 != 0) {
        notes.give(&frames, id, SINGLE, key);
    }
    frames.drain_lists();
    let quiet = |gfp: Gfp| gfp | Gfp::NOWARN;
    for gfp in [
        Gfp::NOWAIT,
        quiet(Gfp::ATOMIC),
        quiet(Gfp::KERNEL | Gfp::NORETRY),
    ] {
        assert!(frames.alloc(Order::MAX, gfp).is_err(), "{gfp:?}");
    }
    for order in [3, 9, 10, 10] {
        let order = Order::new(order).unwrap();
        frames.alloc(order, quiet(Gfp::KERNEL)).unwrap();
        assert_eq!(frames.validate(), Ok(()));
    }
    let compacted = frames.compaction_statistics();
    assert!(
        compacted.cleared >= 3 && compacted.moved <= 3000,
        "{compacted:?}"
    );
}

#[test]
fn movable_blocks_make_way_for_an_exact_range() {
    let notes = Notes::default();
    let mut arena = Arena::new(FIRST, 8192);
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[pfns(0, 8192)]);
    let id = frames.register_owner(&notes).unwrap();
    for key in 0..1000 {
        notes.take(&frames, id, SINGLE, key).unwrap();
    }
    let block = notes.block(500);
    let range = Pfn::new(block.get() - 100)..block.offset(101);
    assert_eq!(frames.alloc_contig_range(range.clone()), Ok(()));
    assert!((0..1000).all(|key| !range.contains(&notes.block(key))));
    assert_eq!(
        (frames.validate(), frames.free_frames()),
        (Ok(()), 8192 - 1201)
    );
    frames.free_contig(range).unwrap();
    assert_eq!(
        (frames.validate(), frames.free_frames()),
        (Ok(()), 8192 - 1000)
    );
}

#[test]
fn compaction_recovers_large_blocks_after_churn_at_62_percent() {
    let notes = Notes::default();
    let mut arena = Arena::new(FIRST, 1 << 16);
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[pfns(0, 1 << 16)]);
    let id = frames.register_owner(&notes).unwrap();
    let mut zone = frames.zone_of(FIRST).unwrap().lock();
    let slots = churn_mixed(&mut zone, pageblock::MigrateType::Movable);
    drop(zone);
    for (key, slot) in (0..).zip(&slots) {
        if let Some((pfn, order)) = *slot {
            notes.note(&frames, id, order, key, pfn);
        }
    }
    let ideal = frames.free_frames() / pageblock::FRAMES;
    let done = frames.compact(pageblock::ORDER);
    assert_eq!(frames.validate(), Ok(()));
    let mut zone = frames.zone_of(FIRST).unwrap().lock();
    let order = pageblock::ORDER;
    let had = core::iter::from_fn(|| zone.alloc(order, pageblock::MigrateType::Unmovable, 0));
    let had = u32::try_from(had.count()).unwrap();
    assert!(had + 1 >= ideal, "{had} of {ideal}: {done:?}");
}
