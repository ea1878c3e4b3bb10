//! Memblock against a map of bytes.
#![expect(
    clippy::cast_possible_truncation,
    reason = "addresses here are below 256"
)]

use super::*;
use bolero::{
    check,
    generator::{TypeGenerator, produce},
};
use std::vec::Vec;

fn range(start: u64, end: u64) -> Range<PhysAddr> {
    PhysAddr::new(start)..PhysAddr::new(end)
}

fn numbers(ranges: Ranges<'_>) -> Vec<(u64, u64)> {
    ranges.map(|r| (r.start.get(), r.end.get())).collect()
}

#[test]
fn banks_that_touch_are_one_and_holes_stay() {
    let mut memblock = Memblock::new();
    for bank in [
        range(0x4000, 0x8000),
        range(0, 0x4000),
        range(0x9000, 0xa000),
    ] {
        memblock.add(bank, "System RAM").unwrap();
    }
    assert_eq!(
        numbers(memblock.free_ranges()),
        [(0, 0x8000), (0x9000, 0xa000)]
    );
    assert_eq!(memblock.memory_bytes(), 0x9000);
    assert_eq!(memblock.span(), Some(range(0, 0xa000)));
}

#[test]
fn a_nomap_reservation_wins_over_what_was_there() {
    let mut memblock = Memblock::new();
    memblock.add(range(0, 0x10000), "System RAM").unwrap();
    memblock
        .reserve(range(0x1000, 0x5000), "image", false)
        .unwrap();
    memblock
        .reserve(range(0x4000, 0x6000), "dtb", false)
        .unwrap();
    memblock
        .reserve(range(0x2000, 0x3000), "firmware", true)
        .unwrap();
    let names: Vec<_> = memblock
        .reserved()
        .iter()
        .map(|r| (r.start.get(), r.name))
        .collect();
    assert_eq!(
        names,
        [
            (0x1000, "image"),
            (0x2000, "firmware"),
            (0x3000, "image"),
            (0x5000, "dtb")
        ]
    );
    assert_eq!(
        numbers(memblock.mappable_ranges()),
        [(0, 0x2000), (0x3000, 0x10000)]
    );
    assert_eq!(
        memblock.overlaps(&range(0x2fff, 0x3001)).unwrap().name,
        "firmware"
    );
    assert_eq!(memblock.overlaps(&range(0x6000, 0x7000)), None);
}

#[test]
fn allocation_takes_the_highest_fit_below_the_limit() {
    let mut memblock = Memblock::new();
    memblock.add(range(0x1000, 0x9000), "System RAM").unwrap();
    let mut alloc = |bytes, align, below| {
        memblock
            .alloc(bytes, align, PhysAddr::new(below), "boot")
            .map(PhysAddr::get)
    };
    assert_eq!(alloc(0x1000, 0x1000, 0x8800), Ok(0x7000));
    assert_eq!(alloc(0x1000, 0x4000, 0xffff_ffff), Ok(0x8000));
    assert_eq!(alloc(0x1000, 0x4000, 0xffff_ffff), Ok(0x4000));
    assert_eq!(
        alloc(0x4000, 1, 0x9000),
        Err(MemblockError::OutOfMemory {
            bytes: 0x4000,
            align_bytes: 1,
            below: PhysAddr::new(0x9000)
        })
    );
}

#[test]
fn a_full_table_is_an_error_and_changes_nothing() {
    let mut memblock = Memblock::new();
    let mut entered = 0;
    let error = loop {
        let start = entered * 0x2000;
        match memblock.reserve(range(start, start + 0x1000), "spot", false) {
            Ok(()) => entered += 1,
            Err(error) => break error,
        }
    };
    assert!(entered >= CAPACITY as u64 - 1, "{entered}");
    assert_eq!(error, MemblockError::Full(PhysAddr::new(entered * 0x2000)));
    assert_eq!(memblock.reserved().len() as u64, entered);
}

#[test]
fn ranges_that_no_frame_number_reaches_are_refused() {
    let mut memblock = Memblock::new();
    for bad in [
        range(0, (1 << 44) + 1),
        Range {
            start: PhysAddr::new(2),
            end: PhysAddr::new(1),
        },
    ] {
        let error = MemblockError::BadRange(bad.start, bad.end);
        assert_eq!(memblock.add(bad, "bank"), Err(error));
    }
}

/// Where the operations' ranges are.
const BYTES: usize = 256;

#[derive(Clone, Debug, TypeGenerator)]
struct Place(
    #[generator(0..BYTES as u64)] u64,
    #[generator(0..40_u64)] u64,
);

impl Place {
    fn bounds(&self) -> (u64, u64) {
        (self.0, (self.0 + self.1).min(BYTES as u64))
    }
}

#[derive(Clone, Debug, TypeGenerator)]
enum Op {
    Add(Place),
    Reserve(Place, bool),
    Free(Place),
    Alloc {
        #[generator(1..20_u64)]
        bytes: u64,
        #[generator(0..5_u32)]
        align: u32,
        #[generator(0..BYTES as u64)]
        below: u64,
    },
}

fn validate(memblock: &Memblock) {
    for list in [memblock.memory(), memblock.reserved()] {
        assert!(
            list.iter().all(|r| r.start < r.end),
            "invariant 1: {list:?}"
        );
        for pair in list.windows(2) {
            assert!(pair[0].end <= pair[1].start, "invariant 1: {pair:?}");
            assert!(!pair[0].continues(&pair[1]), "invariant 2: {pair:?}");
        }
    }
}

#[test]
fn every_byte_is_what_a_map_of_bytes_says() {
    let ops = produce::<Vec<Op>>().with().len(1..40_usize);
    let test = |ops: &Vec<Op>| {
        let mut memblock = Memblock::new();
        let (mut memory, mut reserved) = ([false; BYTES], [false; BYTES]);
        let mut nomap = [false; BYTES];
        let span = |start: u64, end: u64| start as usize..end as usize;
        for op in ops {
            match op {
                Op::Add(place) => {
                    let (start, end) = place.bounds();
                    memblock.add(range(start, end), "bank").unwrap();
                    memory[span(start, end)].fill(true);
                }
                Op::Reserve(place, unmapped) => {
                    let (start, end) = place.bounds();
                    memblock
                        .reserve(range(start, end), "spot", *unmapped)
                        .unwrap();
                    reserved[span(start, end)].fill(true);
                    if *unmapped {
                        nomap[span(start, end)].fill(true);
                    }
                }
                Op::Free(place) => {
                    let (start, end) = place.bounds();
                    memblock.free(range(start, end)).unwrap();
                    reserved[span(start, end)].fill(false);
                    nomap[span(start, end)].fill(false);
                }
                &Op::Alloc {
                    bytes,
                    align,
                    below,
                } => {
                    let free = |at: &u64| {
                        (*at..*at + bytes).all(|b| memory[b as usize] && !reserved[b as usize])
                    };
                    let expected = (0..below.saturating_sub(bytes - 1))
                        .filter(|at| at % (1 << align) == 0)
                        .rfind(free);
                    let got = memblock.alloc(bytes, 1 << align, PhysAddr::new(below), "boot");
                    assert_eq!(got.ok().map(PhysAddr::get), expected);
                    if let Some(at) = expected {
                        reserved[span(at, at + bytes)].fill(true);
                    }
                }
            }
            validate(&memblock);
            let mut free = [false; BYTES];
            for found in memblock.free_ranges() {
                free[span(found.start.get(), found.end.get())].fill(true);
            }
            let mut mappable = [false; BYTES];
            for found in memblock.mappable_ranges() {
                mappable[span(found.start.get(), found.end.get())].fill(true);
            }
            for byte in 0..BYTES {
                assert_eq!(free[byte], memory[byte] && !reserved[byte], "byte {}", byte);
                assert_eq!(
                    mappable[byte],
                    memory[byte] && !nomap[byte],
                    "byte {}",
                    byte
                );
            }
        }
    };
    check!()
        .with_iterations(256)
        .with_generator(ops)
        .for_each(test);
}
