//! Tests of the areas, against a model of one flag a page.

#![expect(clippy::cast_possible_truncation, reason = "page numbers are small")]

use super::*;
use proptest::prelude::*;

const PAGES: u64 = 48;
const HEAP: u64 = 8;

fn page(number: u64) -> VirtAddr {
    VirtAddr::new(number * PAGE_BYTES)
}

fn set() -> VmaSet {
    VmaSet::new(page(1)..page(PAGES), page(HEAP))
}

fn vma(pages: Range<u64>) -> Vma {
    Vma {
        range: page(pages.start)..page(pages.end),
        rights: Rights::ReadWrite,
        kind: Kind::Anonymous,
    }
}

#[test]
fn an_area_is_found_by_every_address_in_it() {
    let mut set = set();
    set.insert(vma(3..5)).unwrap();
    assert!(set.find(page(3)).is_some());
    assert!(set.find(VirtAddr::new(page(5).get() - 1)).is_some());
    assert!(set.find(page(5)).is_none());
    assert!(set.find(VirtAddr::new(page(3).get() - 1)).is_none());
}

#[test]
fn what_overlaps_or_leaves_the_region_is_refused() {
    let mut set = set();
    set.insert(vma(3..5)).unwrap();
    assert_eq!(set.insert(vma(4..6)), Err(VmaError::Overlap(page(4))));
    assert_eq!(set.insert(vma(2..4)), Err(VmaError::Overlap(page(3))));
    assert_eq!(set.insert(vma(0..1)), Err(VmaError::Outside(page(0))));
    assert_eq!(
        set.insert(vma(PAGES - 1..PAGES + 1)),
        Err(VmaError::Outside(page(PAGES - 1)))
    );
    assert_eq!(set.insert(vma(7..7)), Err(VmaError::Misaligned(page(7))));
}

#[test]
fn a_hole_in_the_middle_makes_two_areas() {
    let mut set = set();
    set.insert(vma(10..20)).unwrap();
    set.remove(&(page(13)..page(15))).unwrap();
    let ranges: Vec<_> = set.iter().map(|vma| vma.range.clone()).collect();
    assert_eq!(ranges, [page(10)..page(13), page(15)..page(20)]);
}

#[test]
fn the_heap_grows_to_the_byte_and_shrinks_by_pages() {
    let mut set = set();
    let byte = |number: u64, byte| VirtAddr::new(page(number).get() + byte);
    assert_eq!(set.set_break(byte(HEAP, 1)), Ok(page(HEAP)..page(HEAP)));
    assert_eq!(set.find(page(HEAP)).map(|vma| vma.kind), Some(Kind::Heap));
    assert!(set.set_break(byte(HEAP + 3, 0)).unwrap().is_empty());
    assert_eq!(
        set.set_break(byte(HEAP, 5)),
        Ok(page(HEAP + 1)..page(HEAP + 3))
    );
    assert_eq!(set.heap_break(), byte(HEAP, 5));
    assert_eq!(
        set.set_break(page(HEAP - 1)),
        Err(VmaError::Outside(page(HEAP - 1)))
    );
    assert_eq!(set.set_break(page(HEAP)), Ok(page(HEAP)..page(HEAP + 1)));
    assert!(set.find(page(HEAP)).is_none());
}

#[test]
fn the_heap_stops_at_its_neighbour() {
    let mut set = set();
    set.insert(vma(HEAP + 2..HEAP + 3)).unwrap();
    assert!(set.set_break(page(HEAP + 2)).is_ok());
    let past = page(HEAP + 3);
    assert_eq!(set.set_break(past), Err(VmaError::Overlap(page(HEAP + 2))));
    assert_eq!(set.heap_break(), page(HEAP + 2));
}

#[test]
fn gaps_are_found_from_the_top_with_a_free_page_around() {
    let mut set = set();
    assert_eq!(set.gap(PAGE_BYTES, page(20)), Ok(page(18)..page(19)));
    set.insert(vma(16..19)).unwrap();
    assert_eq!(set.gap(PAGE_BYTES, page(20)), Ok(page(14)..page(15)));
    assert_eq!(
        set.gap(7 * PAGE_BYTES, page(20)),
        Err(VmaError::NoSpace(7 * PAGE_BYTES))
    );
    assert_eq!(set.gap(0, page(20)), Err(VmaError::NoSpace(0)));
    assert_eq!(
        set.gap(u64::MAX, page(20)),
        Err(VmaError::NoSpace(u64::MAX))
    );
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u64, u64),
    Remove(u64, u64),
    Break(u64),
    Gap(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0..PAGES, 1u64..8).prop_map(|(start, pages)| Op::Insert(start, pages)),
        (0..PAGES, 1u64..16).prop_map(|(start, pages)| Op::Remove(start, pages)),
        (HEAP * PAGE_BYTES - 10..PAGES * PAGE_BYTES + 10).prop_map(Op::Break),
        (1u64..20).prop_map(Op::Gap),
    ]
}

proptest! {
    #[test]
    fn the_areas_are_the_pages_of_the_model(ops in prop::collection::vec(op(), 1..60)) {
        let mut set = set();
        let mut model = [false; PAGES as usize];
        let index = |address: VirtAddr| (address.get() / PAGE_BYTES) as usize;
        for op in ops {
            match op {
                Op::Insert(start, pages) => {
                    let end = start + pages;
                    let fits = start >= 1 && end <= PAGES
                        && !model[start as usize..end as usize].iter().any(|used| *used);
                    prop_assert_eq!(set.insert(vma(start..end)).is_ok(), fits);
                    if fits {
                        model[start as usize..end as usize].fill(true);
                    }
                }
                Op::Remove(start, pages) => {
                    let end = start + pages;
                    let fits = start >= 1 && end <= PAGES;
                    prop_assert_eq!(set.remove(&(page(start)..page(end))).is_ok(), fits);
                    if fits {
                        model[start as usize..end as usize].fill(false);
                    }
                }
                Op::Break(address) => {
                    let old = set.heap_break();
                    if let Ok(gone) = set.set_break(VirtAddr::new(address)) {
                        model[index(gone.start)..index(gone.end)].fill(false);
                        let end = VirtAddr::new(address.next_multiple_of(PAGE_BYTES));
                        let old_end = VirtAddr::new(old.get().next_multiple_of(PAGE_BYTES));
                        if end > old_end {
                            let new = &mut model[index(old_end)..index(end)];
                            prop_assert!(!new.contains(&true));
                            new.fill(true);
                        }
                    } else {
                        prop_assert_eq!(set.heap_break(), old);
                    }
                }
                Op::Gap(pages) => {
                    if let Ok(gap) = set.gap(pages * PAGE_BYTES, page(PAGES)) {
                        prop_assert_eq!(gap.end.get() - gap.start.get(), pages * PAGE_BYTES);
                        prop_assert!(!model[index(gap.start)..index(gap.end)].contains(&true));
                    }
                }
            }
            set.validate();
            for (number, used) in (0..).zip(model) {
                prop_assert_eq!(set.find(page(number)).is_some(), used, "page {}", number);
            }
        }
    }
}
