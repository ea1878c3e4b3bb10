//! What is left of large blocks after long use: the two churns that allocators are compared by.
//!
//! Both run on the zone's buddy allocator alone, without cores' lists, as the peers did.

use super::*;

/// xorshift64*.
struct Random(u64);

impl Random {
    const SEED: u64 = 0xD1B5_4A32_D192_ED03;

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
    fn below(&mut self, limit: u64) -> usize {
        usize::try_from(((self.next() >> 32) * limit) >> 32).unwrap()
    }
}

const FRAMES: u32 = 1 << 16;

/// How many blocks of 2 MiB can be had.
fn blocks_to_be_had(buddy: &mut Buddy<'_>) -> u32 {
    let order = pageblock::ORDER;
    let blocks = (0..).map_while(|_| buddy.alloc(order, MigrateType::Unmovable, 0));
    u32::try_from(blocks.count()).unwrap()
}

/// Takes and gives back blocks of orders up to 3 for `migrate`, until 62 % of memory is in use; returns those
/// that are out.
pub(in crate::mm) fn churn_mixed(
    buddy: &mut Buddy<'_>,
    migrate: MigrateType,
) -> Vec<Option<(Pfn, Order)>> {
    let mut random = Random(Random::SEED);
    let mut slots = std::vec![None; 32_768];
    for _ in 0..1_050_000 {
        let slot = random.below(32_768);
        if let Some((pfn, order)) = slots[slot].take() {
            buddy.free(pfn, order).unwrap();
        } else {
            let order = (random.next() >> 11).trailing_zeros().min(3);
            let order = Order::new(u8::try_from(order).unwrap()).unwrap();
            let block = buddy.alloc(order, migrate, 0);
            slots[slot] = block.map(|pfn| (pfn, order));
        }
    }
    slots
}

#[test]
fn large_blocks_survive_churn_at_62_percent() {
    let mut arena = Arena::new(FIRST, FRAMES);
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[pfns(0, FRAMES)]);
    let mut buddy = frames.zone_of(FIRST).unwrap().lock();
    churn_mixed(&mut buddy, MigrateType::Unmovable);
    let ideal = buddy.free_frames() / 512;
    let had = blocks_to_be_had(&mut buddy);
    assert!(had >= 45, "{had} of {ideal}");
}

#[test]
fn large_blocks_survive_churn_of_single_frames() {
    let mut arena = Arena::new(FIRST, FRAMES);
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[pfns(0, FRAMES)]);
    let mut buddy = frames.zone_of(FIRST).unwrap().lock();
    let mut random = Random(Random::SEED);
    let half = FRAMES as usize / 2;
    let mut live = Vec::new();
    for round in 0..=100 {
        if round > 0 {
            for _ in 0..half / 10 {
                let index = random.below(live.len() as u64);
                buddy.free(live.swap_remove(index), Order::ZERO).unwrap();
            }
        }
        while live.len() < half {
            let pfn = buddy.alloc(Order::ZERO, MigrateType::Unmovable, 0);
            live.push(pfn.unwrap());
        }
    }
    assert_eq!(blocks_to_be_had(&mut buddy), 64);
}
