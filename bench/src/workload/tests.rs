//! Expected counts and sums were computed by another program from the published definitions.
use super::*;
use crate::generator::{CHURN_SEED, CRATES_SEED, FILL_SEED, LINUX_SEED, Orders, Xorshift};
use std::collections::BTreeMap;

/// Remembers what it was asked; blocks are numbers that are never used twice.
#[derive(Default)]
struct Model {
    live: BTreeMap<u64, u32>,
    allocs: u64,
    frees: Vec<u64>,
    recorded: [u32; 2],
    asked: u64,
    most_live_bytes: u64,
    limit: Option<u64>,
}

impl Model {
    fn live_bytes(&self) -> u64 {
        self.live.values().map(|&size| u64::from(size)).sum()
    }
}

impl Subject for Model {
    fn alloc(&mut self, amount: u32, recorded: bool) -> Option<u64> {
        if self.limit == Some(self.allocs) {
            return None;
        }
        self.allocs += 1;
        self.recorded[0] += u32::from(recorded);
        self.asked += u64::from(amount);
        self.live.insert(self.allocs, amount);
        Some(self.allocs)
    }

    fn free(&mut self, block: u64, amount: u32, recorded: bool) {
        assert_eq!(self.live.remove(&block), Some(amount));
        self.recorded[1] += u32::from(recorded);
        self.frees.push(block);
    }
}

/// Counts the most live bytes, which costs too much to do always.
struct Peak(Model);

impl Subject for Peak {
    fn alloc(&mut self, amount: u32, recorded: bool) -> Option<u64> {
        let block = self.0.alloc(amount, recorded);
        self.0.most_live_bytes = self.0.most_live_bytes.max(self.0.live_bytes());
        block
    }
    fn free(&mut self, block: u64, amount: u32, recorded: bool) {
        self.0.free(block, amount, recorded);
    }
}

#[test]
fn toggle_is_the_published_sequence_of_the_crates() {
    let mut peak = Peak(Model::default());
    let mut slots = [None; MIXED_SLOTS];
    let mut draws = XorshiftStar::new(CRATES_SEED);
    toggle(&mut peak, &mut draws, MIXED, &mut slots).unwrap();
    assert_eq!(peak.0.recorded.iter().sum::<u32>(), MIXED.recorded);
    clear(&mut peak, &mut slots);
    let model = peak.0;
    assert_eq!((model.allocs, model.asked), (60_255, 46_406_367));
    assert_eq!(model.most_live_bytes, 486_085);
    assert!(model.live.is_empty());
}

#[test]
fn toggle_is_the_published_sequence_of_linux() {
    let (mut model, mut slots) = (Model::default(), [None; MIXED_SLOTS]);
    let mut draws = Xorshift::new(LINUX_SEED);
    toggle(&mut model, &mut draws, MIXED_LINUX, &mut slots).unwrap();
    assert_eq!(model.recorded, [50_243, 49_757]);
    assert_eq!(model.asked, 36_805_958);
}

#[test]
fn replace_is_the_published_sequence() {
    let mut model = Model::default();
    let mut slots = [None; MIXED_SLOTS];
    let mut draws = Xorshift::new(LINUX_SEED);
    replace(&mut model, &mut draws, MIXED_LINUX, &mut slots).unwrap();
    assert_eq!(model.recorded, [100_000, 98_976]);
    assert_eq!(model.asked, 73_765_371);
    assert_eq!(
        (live_amount(&slots), model.live.len()),
        (772_858, MIXED_SLOTS)
    );
}

#[test]
fn hot_pairs_warm_up_unrecorded() {
    let mut model = Model::default();
    hot(&mut model, 64).unwrap();
    assert_eq!((model.allocs, model.recorded), (264, [200, 200]));
}

#[test]
fn only_what_follows_a_preparation_is_recorded() {
    let (mut model, mut prepared) = (Model::default(), 0);
    super::prepared(&mut model, 64, || prepared += 1).unwrap();
    assert_eq!(
        (prepared, model.allocs, model.recorded),
        (264, 264, [200, 0])
    );
    let (mut model, mut prepared) = (Model::default(), 0);
    last_free(&mut model, 0, &mut [None; 4], || prepared += 1).unwrap();
    assert_eq!(
        (prepared, model.allocs, model.recorded),
        (264, 4 * 264, [0, 200])
    );
    assert_eq!(model.frees[..4], [1, 2, 3, 4]);
}

#[test]
fn batches_are_freed_in_the_order_asked_for() {
    let freed = |order| {
        let mut model = Model::default();
        let memory = (&mut [None; BATCH], &mut [0; BATCH]);
        let mut random = XorshiftStar::new(CRATES_SEED);
        batch(&mut model, 64, order, &mut random, memory).unwrap();
        assert_eq!(model.recorded, [1000, 1000]);
        model.frees
    };
    assert_eq!(freed(FreeOrder::Fifo)[..3], [1, 2, 3]);
    assert_eq!(freed(FreeOrder::Lifo)[..3], [1000, 999, 998]);
    assert_eq!(freed(FreeOrder::Random)[..3], [7, 195, 819]);
}

#[test]
fn running_out_names_the_operation_and_frees_a_batch() {
    let out_of = |limit, amount| {
        let mut model = Model {
            limit: Some(limit),
            ..Model::default()
        };
        let memory = (&mut [None; BATCH], &mut [0; BATCH]);
        let mut random = XorshiftStar::new(CRATES_SEED);
        let result = batch(&mut model, amount, FreeOrder::Fifo, &mut random, memory);
        assert!(model.live.is_empty());
        result
    };
    let expected = OutOfMemory {
        amount: 64,
        operation: 10,
    };
    assert_eq!(out_of(10, 64), Err(expected));
    let mut model = Model {
        limit: Some(500),
        ..Model::default()
    };
    let mut draws = Xorshift::new(LINUX_SEED);
    let mut slots = [None; MIXED_SLOTS];
    let failed = replace(&mut model, &mut draws, MIXED_LINUX, &mut slots).unwrap_err();
    assert_eq!((failed.operation, model.live.len()), (500, 500));
    clear(&mut model, &mut slots);
    assert!(model.live.is_empty());
}

/// Remembers nothing but how many frames are live.
#[derive(Default)]
struct Frames {
    next: u64,
    live: u64,
    most: u64,
    freed: u64,
}

impl Subject for Frames {
    fn alloc(&mut self, amount: u32, _: bool) -> Option<u64> {
        self.next += 1;
        self.live += 1 << amount;
        self.most = self.most.max(self.live);
        Some(self.next)
    }
    fn free(&mut self, _: u64, amount: u32, _: bool) {
        self.live -= 1 << amount;
        self.freed += 1;
    }
}

#[test]
fn the_page_workloads_are_the_published_sequences() {
    let (mut frames, mut slots) = (Frames::default(), vec![None; pages::CHURN_SLOTS]);
    let mut orders = Orders(XorshiftStar::new(CRATES_SEED), pages::MIX_ORDER);
    toggle(
        &mut frames,
        &mut orders,
        pages::MIX,
        &mut slots[..pages::MIX_SLOTS],
    )
    .unwrap();
    let seen = (frames.next, frames.live, frames.most);
    assert_eq!(seen, (61_031, 14_647, 17_077));
    clear(&mut frames, &mut slots);

    let mut frames = Frames::default();
    let mut orders = Orders(XorshiftStar::new(CHURN_SEED), pages::CHURN_ORDER);
    toggle(&mut frames, &mut orders, pages::CHURN, &mut slots).unwrap();
    let seen = (frames.next, frames.live, frames.most);
    assert_eq!(seen, (533_060, 40_124, 42_156));
    assert_eq!(u64::from(pages::live_frames(&slots)), frames.live);
    // What is free makes the 49 blocks of 2 MiB that the published figures are out of.
    assert_eq!((65_536 - frames.live) / 512, 49);
}

#[test]
fn churn_of_single_frames_replaces_a_tenth_a_hundred_times() {
    let (mut frames, mut slots) = (Frames::default(), vec![None; 1000]);
    let mut random = XorshiftStar::new(CHURN_SEED);
    pages::churn_single(&mut frames, &mut random, &mut slots).unwrap();
    assert_eq!(
        (frames.next, frames.live, frames.most),
        (11_000, 1000, 1000)
    );
    // Each number is live once: nothing was lost and nothing doubled.
    let live: std::collections::BTreeSet<u64> = slots.iter().flatten().map(|l| l.block).collect();
    assert_eq!(live.len(), 1000);
}

#[test]
fn growth_takes_every_slot_three_times() {
    let (mut frames, mut slots) = (Frames::default(), vec![None; 100]);
    let mut random = XorshiftStar::new(CHURN_SEED);
    pages::grow(&mut frames, &mut random, &mut slots).unwrap();
    assert_eq!((frames.next, frames.freed, frames.most), (300, 300, 100));
}

#[test]
fn fragmenting_leaves_every_second_object() {
    let (mut model, mut slots) = (Model::default(), vec![None; fill::FRAGMENT_SLOTS]);
    let mut draws = XorshiftStar::new(CHURN_SEED);
    let mut before = slots.clone();
    let mut same = Model::default();
    let mut again = XorshiftStar::new(CHURN_SEED);
    fill::fragment(&mut model, &mut draws, fill::FRAGMENT_LIST, &mut slots).unwrap();
    toggle(&mut same, &mut again, fill::FRAGMENT_LIST, &mut before).unwrap();
    let live = before.iter().flatten().count();
    assert_eq!(slots.iter().flatten().count(), live / 2);
    assert_eq!(model.recorded, [0, 0]);
}

#[test]
fn filling_ends_with_the_memory_or_with_the_slots() {
    let mut model = Model {
        limit: Some(10),
        ..Model::default()
    };
    let mut slots = [None; 20];
    let mut draws = XorshiftStar::new(FILL_SEED);
    assert!(fill::fill(&mut model, &mut draws, &mut slots));
    assert_eq!(live_amount(&slots), model.asked);
    assert!(!fill::fill(&mut Model::default(), &mut draws, &mut slots));
    assert_eq!(fill::blocks(&mut Model::default(), 9, &mut slots), 20);
}
