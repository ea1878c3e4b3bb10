//! The map against what was taken and given back.

use super::*;
use crate::mm::addr::Order;
use crate::mm::arena::Arena;
use crate::mm::gfp::Gfp;
use crate::mm::zone::ZoneLimits;
use std::vec::Vec;

const FIRST: Pfn = Pfn::new(0x4_0000);
const FRAMES: u32 = 8192;

fn map(frames: &Frames<'_>, block_frames: u32) -> Vec<Holding> {
    let mut blocks = Vec::new();
    frames.map(block_frames, &mut |holding| blocks.push(holding));
    blocks
}

fn sums(blocks: &[Holding]) -> (u32, u32) {
    let sum = |part: fn(&Holding) -> u32| blocks.iter().map(part).sum();
    (sum(|block| block.free), sum(|block| block.pages))
}

#[test]
fn every_frame_that_is_managed_is_on_the_map_once() {
    let mut arena = Arena::new(FIRST, FRAMES);
    let limits = ZoneLimits {
        dma_end: FIRST.offset(1024),
        dma32_end: FIRST.offset(2048),
    };
    let banks = [
        FIRST.offset(3)..FIRST.offset(600),
        FIRST.offset(1450)..FIRST.offset(FRAMES),
    ];
    let frames = arena.frames(&limits, &banks);
    let managed = frames.managed_frames();
    for block_frames in [1, 64, 100, 4096] {
        let blocks = map(&frames, block_frames);
        let expected = FRAMES.div_ceil(block_frames);
        assert_eq!(u32::try_from(blocks.len()), Ok(expected));
        assert_eq!(sums(&blocks), (managed, 0), "{block_frames}");
    }
    let mut taken = Vec::new();
    for order in [0, 3, 6, 9, 10] {
        let order = Order::new(order).unwrap();
        taken.push((frames.alloc(order, Gfp::KERNEL).unwrap(), order));
    }
    frames.drain_lists();
    let used: u32 = taken.iter().map(|(_, order)| order.frames()).sum();
    assert_eq!(sums(&map(&frames, 64)), (managed - used, used));
    let single = map(&frames, 1);
    for (pfn, order) in taken {
        let first = (pfn.get() - FIRST.get()) as usize;
        let block = &single[first..][..order.frames() as usize];
        assert!(block.iter().all(|frame| frame.pages == 1), "{pfn:?}");
        frames.free(pfn, order).unwrap();
    }
    frames.drain_lists();
    assert_eq!(sums(&map(&frames, 64)), (managed, 0));
}
