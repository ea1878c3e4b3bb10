//! That each does what its sentence says, on a model that only counts.

use super::*;
use crate::generator::CRATES_SEED;
use std::collections::BTreeMap;

/// Remembers what is live; blocks are numbers that are never used twice.
#[derive(Default)]
struct Model {
    live: BTreeMap<u64, u32>,
    blocks: u64,
    recorded: [u32; 2],
    failures: u32,
    /// Sizes in the order in which they were asked for.
    asked: Vec<u32>,
    most_live: usize,
    limit: Option<u64>,
}

impl Model {
    fn live_amount(&self) -> u64 {
        self.live.values().map(|&amount| u64::from(amount)).sum()
    }
}

impl Subject for Model {
    fn alloc(&mut self, amount: u32, recorded: bool) -> Option<u64> {
        self.recorded[0] += u32::from(recorded);
        self.asked.push(amount);
        let after = self.live_amount() + u64::from(amount);
        if self.limit.is_some_and(|limit| after > limit) {
            self.failures += 1;
            return None;
        }
        self.blocks += 1;
        self.live.insert(self.blocks, amount);
        self.most_live = self.most_live.max(self.live.len());
        Some(self.blocks)
    }

    fn free(&mut self, block: u64, amount: u32, recorded: bool) {
        assert_eq!(self.live.remove(&block), Some(amount));
        self.recorded[1] += u32::from(recorded);
    }
}

fn ran(pathology: Pathology, limit: Option<u64>) -> Model {
    let mut model = Model {
        limit,
        ..Model::default()
    };
    let mut slots = vec![None; 6000];
    let mut random = XorshiftStar::new(CRATES_SEED);
    pathology.run(&mut model, &mut random, &mut slots).unwrap();
    clear(&mut model, &mut slots);
    assert!(model.live.is_empty());
    model
}

#[test]
fn growth_holds_half_of_what_it_took() {
    let model = ran(Pathology::LifoGrowth, None);
    assert_eq!(model.recorded, [8 * 1024; 2]);
    assert_eq!(model.most_live, 7 * 512 + 1024);
}

#[test]
fn at_high_fill_a_tenth_is_free() {
    let model = ran(Pathology::HighFill, Some(ARENA_BYTES as u64));
    let (allocs, frees) = (model.recorded[0], model.recorded[1]);
    assert_eq!(allocs, REPLACED);
    assert!(model.failures < 20 && frees > 2 * allocs, "{frees}");
    assert_eq!(ran(Pathology::HighFill, Some(0)).recorded, [0, 0]);
}

#[test]
fn both_sides_of_each_border_are_asked_for_in_turn() {
    let model = ran(Pathology::ClassBorder, None);
    assert_eq!(model.asked[..4], [16, 17, 16, 17]);
    assert_eq!(model.asked.last(), Some(&2049));
    assert_eq!((model.recorded, model.most_live), ([4096; 2], 128));
}

#[test]
fn at_every_fill_one_comes_and_goes_and_at_some_forty() {
    let model = ran(Pathology::SlabBorder, None);
    let swings = 64 * 40 + (1024 - 64);
    assert_eq!(model.recorded, [1024 + swings, swings]);
    assert_eq!(model.most_live, 1008 + 1 + 40);
}

#[test]
fn the_saw_reaches_the_end_of_memory_with_each_tooth() {
    let model = ran(Pathology::Sawtooth, Some(ARENA_BYTES as u64));
    assert_eq!(model.failures, TEETH);
    assert!(u64::from(model.recorded[0]) > 2 * model.most_live as u64);
    // A memory that never ends is no reason to go on.
    assert_eq!(ran(Pathology::Sawtooth, None).failures, 0);
}

#[test]
fn only_requests_for_large_blocks_are_samples() {
    let mut model = Model::default();
    let mut random = XorshiftStar::new(CRATES_SEED);
    let mut slots = vec![None; 100];
    let granted = hunger(&mut model, &mut random, &mut slots).unwrap();
    assert_eq!(granted, u64::from(CHURNED / HUNGER_EVERY));
    assert_eq!(model.recorded, [CHURNED / HUNGER_EVERY; 2]);
    assert_eq!(model.live.len(), 100);
    assert!(model.live.values().all(|&order| order == 0));
}
