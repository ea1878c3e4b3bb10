//! Entries and lists of frames.

use super::*;
use std::vec::Vec;

#[test]
fn a_zeroed_entry_is_a_frame_of_nobody() {
    let frame = Frame::default();
    assert_eq!(frame.kind(), Kind::None);
    assert_eq!(frame.slab_cache(), None);
    assert_eq!(frame.carved(slab_tag(CacheId(0), Order::ZERO, 0)), None);
}

#[test]
fn a_slab_head_holds_all_its_fields_at_their_limits() {
    let frame = Frame::default();
    let order = Order::new(3).unwrap();
    let tag = slab_tag(CacheId(u8::MAX), order, 7);
    frame.set_slab(tag);
    let full = SlabState {
        free: NO_OBJECT,
        carved: NO_OBJECT,
        in_use: NO_OBJECT,
    };
    frame.update_slab(full);
    assert_eq!((frame.kind(), frame.order()), (Kind::Slab, order));
    assert_eq!(frame.slab_cache(), Some(CacheId(u8::MAX)));
    assert_eq!(frame.carved(tag), Some(NO_OBJECT));
    assert_eq!(frame.carved(slab_tag(CacheId(1), order, 7)), None);
    assert_eq!(frame.slab(), full);
    frame.update_slab(SlabState { carved: 0, ..full });
    assert_eq!(frame.slab(), SlabState { carved: 0, ..full });
}

#[test]
fn one_claim_succeeds() {
    let frame = Frame::default();
    frame.set_head(Kind::Large, Order::MAX);
    assert!(!frame.claim(Order::ZERO, Kind::Large, Kind::Allocated));
    assert!(frame.claim(Order::MAX, Kind::Large, Kind::Allocated));
    assert!(!frame.claim(Order::MAX, Kind::Large, Kind::Allocated));
    assert_eq!((frame.kind(), frame.order()), (Kind::Allocated, Order::MAX));
}

#[test]
fn a_list_keeps_its_order_when_heads_leave_from_anywhere() {
    let frames: Vec<Frame> = (0..1024).map(|_| Frame::default()).collect();
    let pageblocks = [Pageblock::new(), Pageblock::new()];
    let table = Table::new(&frames, &pageblocks, Pfn::new(0));
    let mut list = List::new();
    let numbers = |list: &List| list.iter(&table).map(Pfn::get).collect::<Vec<_>>();
    for (pfn, front) in [
        (102, true),
        (101, true),
        (103, false),
        (104, false),
        (100, true),
    ] {
        let pfn = Pfn::new(pfn);
        if front {
            list.push_front(&table, pfn);
        } else {
            list.push_back(&table, pfn);
        }
    }
    assert_eq!(numbers(&list), [100, 101, 102, 103, 104]);
    for (gone, left) in [(102, 4), (100, 3), (104, 2)] {
        list.remove(&table, Pfn::new(gone));
        assert_eq!(numbers(&list).len(), left);
    }
    assert_eq!(numbers(&list), [101, 103]);
    list.remove(&table, Pfn::new(101));
    list.remove(&table, Pfn::new(103));
    assert_eq!(list.first(), None);
    list.push_back(&table, Pfn::new(104));
    assert_eq!(numbers(&list), [104]);
}

#[test]
fn an_entry_is_found_once_its_pageblock_says_that_it_is_there() {
    let frames: Vec<Frame> = (0..1024).map(|_| Frame::default()).collect();
    let pageblocks = [Pageblock::new(), Pageblock::new()];
    let table = Table::new(&frames, &pageblocks, Pfn::new(2048));
    let known = |pfn| table.find(Pfn::new(pfn)).is_some();
    assert!(!known(2047) && !known(2048) && !known(3072));
    let state = State::touched(0, MigrateType::Movable);
    pageblocks[1].set(state);
    assert!(known(2560) && !known(2561) && !known(2048));
    pageblocks[1].set(state.with_entries());
    assert!(known(2561) && known(3071) && !known(2048));
}
