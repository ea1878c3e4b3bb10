//! Exact ranges, beside blocks that others hold.

use super::*;
use crate::mm::{
    arena::Arena,
    pageblock::{MigrateType, Pageblock},
    zone::{ZoneLimits, ZoneStatistics},
};
use proptest::prelude::*;
use std::vec::Vec;

const FIRST: Pfn = Pfn::new(0x4_0000);
const FRAMES: u32 = 8192;

fn pfns(start: u32, end: u32) -> Range<Pfn> {
    FIRST.offset(start)..FIRST.offset(end)
}

fn zone(frames: &Frames<'_>) -> ZoneStatistics {
    let mut zones = frames.zones();
    zones.find(|zone| zone.managed_frames > 0).unwrap()
}

#[test]
fn a_range_larger_than_any_block_is_taken_and_given_back_whole() {
    let mut arena = Arena::new(FIRST, FRAMES);
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[pfns(0, FRAMES)]);
    let before = zone(&frames).free_blocks;
    let start = frames.alloc_contig(5000, 64, Gfp::KERNEL).unwrap();
    assert!(start.get().is_multiple_of(64));
    assert_eq!(frames.free_frames(), FRAMES - 5000);
    assert_eq!(frames.validate(), Ok(()));
    frames.free_contig(start..start.offset(5000)).unwrap();
    assert_eq!(
        (frames.validate(), zone(&frames).free_blocks),
        (Ok(()), before)
    );
}

#[test]
fn a_frame_in_use_is_named_and_nothing_has_changed() {
    let mut arena = Arena::new(FIRST, FRAMES);
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[pfns(0, FRAMES)]);
    let used = frames
        .alloc(Order::new(2).unwrap(), Gfp::RECLAIMABLE)
        .unwrap();
    let before = zone(&frames);
    let range = Pfn::new(used.get() - 2100)..used.offset(3);
    assert_eq!(
        frames.alloc_contig_range(range),
        Err(ContigError::Busy(used))
    );
    // From inside the block it is the first frame asked for.
    let inside = used.offset(1)..used.offset(9);
    assert_eq!(
        frames.alloc_contig_range(inside),
        Err(ContigError::Busy(used.offset(1)))
    );
    assert_eq!(
        (frames.validate(), frames.free_frames()),
        (Ok(()), before.free_frames)
    );
    assert_eq!(
        zone(&frames).free_blocks_by_type,
        before.free_blocks_by_type
    );
    // A place beside it is found.
    let start = frames.alloc_contig(7168, 1, Gfp::KERNEL);
    assert_eq!(start, Ok(FIRST), "the block was taken at the end");
}

#[test]
fn what_no_zone_has_is_refused_with_what_was_asked() {
    let mut arena = Arena::new(FIRST, FRAMES);
    // A hole in the middle.
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[pfns(0, 3000), pfns(5000, FRAMES)]);
    let free_frames = frames.free_frames();
    let refused = |asked| ContigError::OutOfMemory {
        frames: asked,
        free_frames,
    };
    assert_eq!(
        frames.alloc_contig(3500, 1, Gfp::KERNEL),
        Err(refused(3500))
    );
    assert_eq!(
        frames.alloc_contig(1, 3, Gfp::KERNEL),
        Err(ContigError::Alignment(3))
    );
    assert_eq!(
        frames.alloc_contig(1, 1 << 31, Gfp::KERNEL),
        Err(refused(1))
    );
    assert_eq!(frames.alloc_contig(0, 1, Gfp::KERNEL), Err(refused(0)));
    let into_the_hole = frames.alloc_contig_range(pfns(2990, 3010));
    assert_eq!(into_the_hole, Err(ContigError::Busy(FIRST.offset(3000))));
    for range in [pfns(5, 5), pfns(8000, 9000), Pfn::new(0)..Pfn::new(9)] {
        let outside = frames.alloc_contig_range(range.clone());
        assert_eq!(outside, Err(ContigError::NotInZone(range)));
    }
    assert_eq!(
        (frames.validate(), frames.free_frames()),
        (Ok(()), free_frames)
    );
}

#[test]
fn cma_memory_stays_cma() {
    let mut arena = Arena::new(FIRST, 2048);
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[pfns(0, 1024)]);
    frames.add_cma(pfns(1024, 2048));
    frames.alloc_contig_range(pfns(1100, 2000)).unwrap();
    assert_eq!((frames.validate(), zone(&frames).cma_frames), (Ok(()), 124));
    frames.free_contig(pfns(1100, 2000)).unwrap();
    assert_eq!(
        (frames.validate(), zone(&frames).cma_frames),
        (Ok(()), 1024)
    );
    let types = [1023, 1024, 2047].map(|pfn| frames.table().state(FIRST.offset(pfn)));
    let types = types.map(|state| state.map(|state| state.migrate_type()));
    assert_eq!(types[1..], [Some(MigrateType::Cma); 2]);
    assert_ne!(types[0], Some(MigrateType::Cma));
    assert_eq!(
        size_of::<Pageblock>(),
        1,
        "the former type is kept in the byte"
    );
}

/// What the model does.
#[derive(Clone, Debug)]
enum Op {
    Block { order: u8, group: u8 },
    Range { start: u32, frames: u32 },
    Search { frames: u32, align_log2: u8 },
    Free(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..=10_u8, 0..3_u8).prop_map(|(order, group)| Op::Block { order, group }),
        2 => (0..FRAMES, 1..3000_u32).prop_map(|(start, frames)| Op::Range { start, frames }),
        1 => (1..3000_u32, 0..12_u8).prop_map(|(frames, align_log2)| Op::Search { frames, align_log2 }),
        3 => any::<usize>().prop_map(Op::Free),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn ranges_and_blocks_never_overlap_and_all_comes_back(ops in prop::collection::vec(op(), 1..60)) {
        let mut arena = Arena::new(FIRST, FRAMES);
        let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[pfns(0, 2500), pfns(2600, FRAMES)]);
        let (before, mut live) = (zone(&frames).free_blocks, Vec::<Range<Pfn>>::new());
        for op in ops {
            let taken = match op {
                Op::Block { order, group } => {
                    let gfp = [Gfp::KERNEL, Gfp::MOVABLE, Gfp::RECLAIMABLE][usize::from(group)];
                    let order = Order::new(order).unwrap();
                    let block = frames.alloc(order, gfp).ok();
                    block.map(|block| block..block.offset(order.frames()))
                }
                Op::Range { start, frames: count } => {
                    let range = pfns(start, start + count);
                    let is_free = range.end <= FIRST.offset(FRAMES)
                        && (range.end <= FIRST.offset(2500) || range.start >= FIRST.offset(2600))
                        && !live.iter().any(|other| overlap(other, &range));
                    let result = frames.alloc_contig_range(range.clone());
                    prop_assert_eq!(result.is_ok(), is_free, "{:?}", result);
                    is_free.then_some(range)
                }
                Op::Search { frames: count, align_log2 } => {
                    let start = frames.alloc_contig(count, 1 << align_log2, Gfp::KERNEL).ok();
                    start.map(|start| start..start.offset(count))
                }
                Op::Free(index) => {
                    if !live.is_empty() {
                        let range = live.swap_remove(index % live.len());
                        prop_assert_eq!(frames.free_contig(range), Ok(()));
                    }
                    None
                }
            };
            if let Some(range) = taken {
                prop_assert!(!live.iter().any(|other| overlap(other, &range)));
                live.push(range);
            }
            prop_assert_eq!(frames.validate(), Ok(()));
        }
        for range in live {
            prop_assert_eq!(frames.free_contig(range), Ok(()));
        }
        frames.drain_lists();
        prop_assert_eq!((frames.validate(), zone(&frames).free_blocks), (Ok(()), before));
    }
}

fn overlap(one: &Range<Pfn>, other: &Range<Pfn>) -> bool {
    one.start < other.end && other.start < one.end
}
