//! Migrate types, fallbacks and watermarks.

use super::*;
use crate::mm::zone::Watermarks;

const MOVABLE: Gfp = Gfp::KERNEL.union(Gfp::MOVABLE);
const RECLAIMABLE: Gfp = Gfp::KERNEL.union(Gfp::RECLAIMABLE);

fn pageblock_of(pfn: Pfn) -> u32 {
    pfn.get() / pageblock::FRAMES
}

fn take(frames: &Frames<'_>, gfp: Gfp) -> Pfn {
    frames.alloc(Order::ZERO, gfp).unwrap()
}

#[test]
fn types_keep_to_pageblocks_of_their_own() {
    let mut arena = Arena::new(FIRST, 4096);
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[pfns(0, 4096)]);
    let mut owners = BTreeMap::new();
    for round in 0..1200 {
        let gfp = [Gfp::KERNEL, MOVABLE, RECLAIMABLE][round % 3];
        let pfn = take(&frames, gfp);
        let owner = owners.entry(pageblock_of(pfn)).or_insert(gfp);
        assert_eq!(*owner, gfp, "frame {pfn:#x}");
    }
    assert_eq!(frames.validate(), Ok(()));
}

#[test]
fn a_claimed_pageblock_changes_hands_by_its_byte_and_its_chunks_follow() {
    let mut arena = Arena::new(FIRST, 1024);
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[pfns(0, 1024)]);
    let mut buddy = frames.zone_of(FIRST).unwrap().lock();
    let take = |buddy: &mut Buddy<'_>, migrate| buddy.alloc(Order::ZERO, migrate, 0).unwrap();
    let (movable, unmovable) = (MigrateType::Movable, MigrateType::Unmovable);
    let mut live: Vec<_> = (0..1024).map(|_| take(&mut buddy, movable)).collect();
    // Both pageblocks are movable; the second gets half of itself back, and a chunk.
    let comes_back = |pfn: Pfn| matches!(pfn.get() % 1024, 515 | 768..);
    for pfn in live.iter().copied().filter(|pfn| comes_back(*pfn)) {
        buddy.free(pfn, Order::ZERO).unwrap();
    }
    live.retain(|pfn| !comes_back(*pfn));
    let claimer = take(&mut buddy, unmovable);
    assert_eq!((buddy.claimed_pageblocks(), buddy.validate()), (1, Ok(())));
    assert!(comes_back(claimer));
    let on_lists = |buddy: &Buddy<'_>, migrate| buddy.free_blocks(migrate).iter().sum::<u32>();
    assert_eq!(
        (on_lists(&buddy, movable), on_lists(&buddy, unmovable)),
        (1, 8)
    );
    // The next movable request comes upon the chunk, moves it, and then takes what is smallest.
    live.extend([claimer, take(&mut buddy, movable)]);
    assert_eq!(on_lists(&buddy, movable), 0);
    assert_eq!(buddy.validate(), Ok(()));
    for pfn in live {
        buddy.free(pfn, Order::ZERO).unwrap();
    }
    assert_eq!((buddy.validate(), buddy.free_frames()), (Ok(()), 1024));
    assert_eq!(buddy.free_blocks(movable)[10], 1, "anybody's again");
}

#[test]
fn cma_memory_is_lent_to_movable_requests_alone() {
    let mut arena = Arena::new(FIRST, 2048);
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[pfns(0, 1024)]);
    frames.add_cma(pfns(1024, 2048));
    assert_eq!((frames.validate(), frames.free_frames()), (Ok(()), 2048));
    let kernel: Vec<_> = (0..1024).map(|_| take(&frames, Gfp::KERNEL)).collect();
    assert!(frames.alloc(Order::ZERO, Gfp::KERNEL).is_err());
    let movable: Vec<_> = (0..1024).map(|_| take(&frames, MOVABLE)).collect();
    assert!(movable.iter().all(|pfn| *pfn >= FIRST.offset(1024)));
    assert!(frames.alloc(Order::ZERO, MOVABLE).is_err());
    for pfn in movable.into_iter().chain(kernel) {
        frames.free(pfn, Order::ZERO).unwrap();
    }
    frames.drain_lists();
    assert_eq!(frames.validate(), Ok(()));
    let zone = frames.zones().find(|zone| zone.managed_frames > 0).unwrap();
    assert_eq!(zone.free_frames, 2048);
}

#[test]
fn the_reserve_is_opened_as_far_as_the_flags_say() {
    let mut arena = Arena::new(FIRST, 16384);
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[pfns(0, 16384)]);
    let min = Watermarks::of(16384).min;
    for (gfp, left) in [
        (Gfp::KERNEL, min),
        (Gfp::KERNEL | Gfp::HIGH, min / 2),
        (Gfp::ATOMIC, min / 4),
    ] {
        while frames.alloc(Order::ZERO, gfp).is_ok() {}
        assert_eq!(frames.free_frames(), left, "{gfp:?}");
    }
    assert!(min > 0);
}

#[test]
fn a_zone_below_its_low_mark_is_spared_while_another_has_plenty() {
    let limits = ZoneLimits {
        dma_end: FIRST.offset(16384),
        dma32_end: FIRST.offset(16384),
    };
    let mut arena = Arena::new(FIRST, 32768);
    let frames = arena.frames(&limits, &[pfns(0, 32768)]);
    let marks = Watermarks::of(16384);
    let taken = (0..).map_while(|_| frames.alloc(Order::ZERO, Gfp::KERNEL).ok());
    let normal: Vec<bool> = taken.map(|pfn| pfn >= FIRST.offset(16384)).collect();
    let changes: Vec<_> = (1..normal.len())
        .filter(|&i| normal[i] != normal[i - 1])
        .collect();
    // Normal down to low, DMA down to low, then each down to min.
    let above_low = (16384 - marks.low) as usize;
    let below_low = (marks.low - marks.min) as usize;
    assert_eq!(
        changes,
        [above_low, 2 * above_low, 2 * above_low + below_low]
    );
    assert_eq!(normal.len(), 2 * (16384 - marks.min) as usize);
}
