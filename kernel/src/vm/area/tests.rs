//! The set against a model: areas that were given, and the gaps between them.

use super::*;
use bolero::{
    check,
    generator::{OneOfExt, TypeGenerator, produce},
};
use std::{collections::BTreeMap, vec::Vec};

const START: u64 = 0xffff_8000_0000_0000;
const PAGES: u64 = 64;

fn set_of(pages: u64, granule_shift: u32) -> AreaSet<u32> {
    let start = VirtAddr::new(START);
    AreaSet::new(start..start.offset(pages * PAGE_BYTES), granule_shift)
}

fn set() -> AreaSet<u32> {
    set_of(PAGES, 12)
}

/// Panics unless the invariants hold.
fn validate(set: &AreaSet<u32>) {
    let Some(mut at) = (!set.nodes.is_empty()).then_some(Id(0)) else {
        return;
    };
    while let Some(below) = set.nodes.at(at).below.some() {
        at = below;
    }
    let (mut end, mut free, mut indexed, mut areas) = (0, 0, 0, 0);
    let (mut below, mut was_free) = (Id::NONE, false);
    loop {
        let node = set.nodes.at(at);
        assert_eq!((node.first, node.below), (end, below));
        assert!(node.granules > 0);
        assert!(!(was_free && node.is_free()), "two free neighbours");
        was_free = node.is_free();
        if was_free {
            free += 1;
            assert_eq!(set.index.at(node.first), None);
        } else {
            indexed += 1;
            assert_eq!(set.index.at(node.first), Some(at));
        }
        if node.value.is_some() {
            areas += 1;
            let bytes = u64::from(node.granules) << set.granule_shift;
            assert!((u64::from(node.pages) + 1) * PAGE_BYTES <= bytes);
        }
        end = node.end();
        below = at;
        match node.above.some() {
            Some(above) => at = above,
            None => break,
        }
    }
    let bounds = set.bounds.end.get() - set.bounds.start.get();
    assert_eq!(u64::from(end) << set.granule_shift, bounds);
    assert_eq!(set.bins.validate(&set.nodes), free);
    assert_eq!(areas, set.len());
    assert_eq!(indexed, areas + set.kept_ranges as usize);
}

#[test]
fn areas_are_cut_from_the_start_and_a_range_that_was_given_back_is_used_first() {
    let mut set = set();
    let pages = |start: VirtAddr| (start.get() - START) / PAGE_BYTES;
    let mut reserve = |bytes| set.reserve(bytes, 0).map(pages);
    assert_eq!(reserve(1), Ok(0));
    assert_eq!(reserve(3 * PAGE_BYTES), Ok(2));
    assert_eq!(reserve(PAGE_BYTES + 1), Ok(6));
    assert!(set.remove(VirtAddr::new(START + 2 * PAGE_BYTES)).is_some());
    let again = set.reserve(3 * PAGE_BYTES, 0).unwrap();
    assert_eq!(again.get(), START + 2 * PAGE_BYTES);
    validate(&set);
}

#[test]
fn areas_start_at_multiples_of_the_granule() {
    let mut set = set_of(1024, 16);
    let first = set.reserve(PAGE_BYTES, 0).unwrap();
    let second = set.reserve(16 * PAGE_BYTES, 0).unwrap();
    let third = set.reserve(15 * PAGE_BYTES, 0).unwrap();
    assert_eq!(second.get() - first.get(), 1 << 16);
    assert_eq!(third.get() - second.get(), 2 << 16, "64 KiB and a guard");
    validate(&set);
}

#[test]
fn what_cannot_fit_is_refused_and_changes_nothing() {
    let mut set = set();
    for bytes in [PAGES * PAGE_BYTES, u64::MAX, u64::MAX - PAGE_BYTES] {
        assert_eq!(set.reserve(bytes, 0), Err(AreaError::NoSpace(bytes)));
    }
    assert_eq!(set.reserve(0, 0), Err(AreaError::Empty));
    assert!(set.is_empty());
    assert!(set.reserve((PAGES - 1) * PAGE_BYTES, 0).is_ok());
}

#[test]
fn what_is_kept_is_merged_before_anything_is_refused() {
    let mut set = set();
    let areas: Vec<_> = (0..32).map(|_| set.reserve(1, 0).unwrap()).collect();
    assert_eq!(set.reserve(1, 0), Err(AreaError::NoSpace(1)));
    for area in areas {
        set.remove(area).unwrap();
    }
    assert_eq!(set.kept_ranges, 32);
    assert!(set.reserve((PAGES - 1) * PAGE_BYTES, 0).is_ok());
    validate(&set);
}

#[test]
fn an_address_is_found_in_its_area_and_in_the_guard_behind_it() {
    let mut set = set_of(1 << 18, 12);
    let start = set.reserve(2 * PAGE_BYTES, 7).unwrap();
    let large = set.reserve(1000 * PAGE_BYTES, 8).unwrap();
    let found = |bytes| set.find(start.offset(bytes)).map(|area| area.value);
    assert_eq!(found(0), Some(7));
    assert_eq!(found(3 * PAGE_BYTES - 1), Some(7));
    assert_eq!(found(3 * PAGE_BYTES), Some(8));
    let in_large = |page| set.find(large.offset(page * PAGE_BYTES));
    assert_eq!(in_large(999).map(|area| area.value), Some(8));
    assert_eq!(in_large(1000).map(|area| area.value), Some(8));
    assert_eq!(in_large(1001), None);
    assert_eq!(set.find(VirtAddr::new(START - 1)), None);
    set.remove(start).unwrap();
    assert_eq!(set.find(start), None);
}

#[test]
fn many_areas_are_all_found_and_all_given_back() {
    let mut set = set_of(1 << 20, 12);
    let areas: Vec<_> = (0..3000)
        .map(|index| set.reserve((index % 50 + 1) * PAGE_BYTES, 1).unwrap())
        .collect();
    for (index, &area) in (0..).zip(&areas) {
        assert_eq!(set.at(area).unwrap().bytes, (index % 50 + 1) * PAGE_BYTES);
    }
    for area in areas
        .iter()
        .step_by(2)
        .chain(areas.iter().skip(1).step_by(2))
    {
        set.remove(*area).unwrap();
    }
    validate(&set);
    assert!(set.reserve(((1 << 20) - 1) * PAGE_BYTES, 0).is_ok());
}

#[derive(Clone, Debug, TypeGenerator)]
enum Op {
    Reserve {
        #[generator((1..9 * PAGE_BYTES, 1..200 * PAGE_BYTES).one_of())]
        bytes: u64,
    },
    Remove {
        which: u16,
    },
    Look {
        #[generator(0..1024_u64)]
        page: u64,
    },
}

/// Granules of the largest gap between the model's areas.
fn largest_gap(live: &BTreeMap<u64, u64>, end: u64) -> u64 {
    let starts = live.keys().copied().chain([end]);
    let ends = [START]
        .into_iter()
        .chain(live.iter().map(|(at, size)| at + size));
    ends.zip(starts).map(|(from, to)| to - from).max().unwrap()
}

#[test]
fn areas_never_overlap_and_one_is_refused_only_if_hardly_any_gap_fits() {
    let ops = (produce::<Vec<Op>>().with().len(1..120_usize), 12..15_u32);
    let test = |(ops, granule_shift): &(Vec<Op>, u32)| {
        let granule_shift = *granule_shift;
        let pages = 1024;
        let end = START + pages * PAGE_BYTES;
        let mut set = set_of(pages, granule_shift);
        let mut live = BTreeMap::new();
        for op in ops {
            match *op {
                Op::Reserve { bytes } => {
                    let needed = (bytes.next_multiple_of(PAGE_BYTES) + PAGE_BYTES)
                        .next_multiple_of(1 << granule_shift);
                    match set.reserve(bytes, 7) {
                        Ok(start) => {
                            let start = start.get();
                            assert!(start >= START && start + needed <= end);
                            assert_eq!(start % (1 << granule_shift), 0);
                            let below = live.range(..start + needed).next_back();
                            assert!(below.is_none_or(|(at, size)| at + size <= start));
                            live.insert(start, needed);
                        }
                        Err(error) => {
                            assert_eq!(error, AreaError::NoSpace(bytes));
                            assert!(largest_gap(&live, end) < needed + needed / 8);
                        }
                    }
                }
                Op::Remove { which } if !live.is_empty() => {
                    let start = *live.keys().nth(usize::from(which) % live.len()).unwrap();
                    live.remove(&start);
                    assert!(set.remove(VirtAddr::new(start)).is_some());
                    assert!(set.remove(VirtAddr::new(start)).is_none());
                    assert!(set.at(VirtAddr::new(start)).is_none());
                }
                Op::Remove { .. } => {}
                Op::Look { page } => {
                    let address = START + page * PAGE_BYTES;
                    let below = live.range(..=address).next_back();
                    let found = set
                        .find(VirtAddr::new(address))
                        .map(|area| area.start.get());
                    // The model's sizes are whole granules, the set's whole pages.
                    if let Some(found) = found {
                        assert_eq!(Some(&found), below.map(|(start, _)| start));
                    } else {
                        let slack = 1 << granule_shift;
                        assert!(below.is_none_or(|(at, size)| at + size < address + slack));
                    }
                    let next = set
                        .next(VirtAddr::new(address))
                        .map(|area| area.start.get());
                    assert_eq!(
                        next.as_ref(),
                        live.range(address..).next().map(|(at, _)| at)
                    );
                }
            }
            validate(&set);
            assert_eq!(set.len(), live.len());
        }
    };
    check!()
        .with_iterations(256)
        .with_generator(ops)
        .for_each(test);
}
