//! Real threads on one heap of the host's, in whatever order they come.
#![allow(unsafe_code, reason = "uses the host's allocator by address")]

use super::*;
use proptest::prelude::*;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use wire::trace::{Op, Totals};

/// The host's heap, as one core sees it.
struct Host<'a> {
    live: &'a AtomicU64,
    most_live: &'a AtomicU64,
    operations: u32,
    /// Operations until there is no more memory.
    left: u32,
}

fn layout(request: Request) -> Layout {
    Layout::from_size_align(request.size as usize, 1 << request.align_log2.max(3)).unwrap()
}

fn block(order: u8) -> Layout {
    Layout::from_size_align(4096 << order, 4096 << order).unwrap()
}

impl Host<'_> {
    fn take(&mut self, layout: Layout) -> Option<u64> {
        self.operations += 1;
        self.left = self.left.checked_sub(1)?;
        let live = self.live.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_live.fetch_max(live, Ordering::Relaxed);
        // SAFETY: no layout here is of no bytes.
        Some(unsafe { alloc_zeroed(layout) }.expose_provenance() as u64)
    }

    fn give(&mut self, object: u64, layout: Layout) -> bool {
        self.operations += 1;
        self.live.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: a replay frees what it has from `take`, once, as it asked for it.
        unsafe { dealloc(pointer(object), layout) };
        true
    }
}

fn pointer(address: u64) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(usize::try_from(address).unwrap())
}

impl Heap for Host<'_> {
    fn alloc(&mut self, request: Request, _zeroed: bool) -> Option<u64> {
        self.take(layout(request))
    }

    fn realloc(&mut self, object: u64, request: Request, size: u32) -> Option<u64> {
        let later = self.take(layout(Request { size, ..request }))?;
        let kept = request.size.min(size) as usize;
        // SAFETY: both hold so many bytes, and one is not part of the other.
        unsafe { std::ptr::copy_nonoverlapping(pointer(object), pointer(later), kept) };
        self.give(object, layout(request));
        self.operations -= 1;
        Some(later)
    }

    fn free(&mut self, object: u64, request: Request) -> bool {
        self.give(object, layout(request))
    }

    fn alloc_pages(&mut self, order: u8) -> Option<u64> {
        self.take(block(order)).map(|address| address >> 12)
    }

    fn free_pages(&mut self, first: u64, order: u8) -> bool {
        self.give(first << 12, block(order))
    }

    fn object(&mut self, object: u64, request: Request) -> &mut [u8] {
        // SAFETY: a replay asks for live objects, and nobody else has this one (invariant 1).
        unsafe { std::slice::from_raw_parts_mut(pointer(object), request.size as usize) }
    }

    fn pages(&mut self, first: u64, order: u8) -> &mut [u8] {
        // SAFETY: as for objects.
        unsafe { std::slice::from_raw_parts_mut(pointer(first << 12), 4096 << order) }
    }

    fn held_bytes(&self) -> u64 {
        0
    }

    fn stop_recording(&mut self) {}
}

/// What a replay of `events` on `cores` cores of which each has memory for `left` allocations gives: its
/// result, operations, and the most that was live at once. What is still live afterwards is freed.
fn run(events: &[Event], cores: usize, left: u32) -> (Result<(), ReplayError>, u32, u64) {
    let totals = Totals {
        events: u32::try_from(events.len()).unwrap(),
        slots: 1 + events.iter().map(|event| event.slot).max().unwrap(),
        threads: 1 << 16,
        ..Totals::default()
    };
    let mut bytes = totals.header().to_vec();
    bytes.extend(events.iter().flat_map(|event| event.to_bytes()));
    let trace = Trace::parse(&bytes).unwrap();
    let slots = totals.slots as usize;
    let (mut last, mut previous) = (vec![0; slots], vec![0; events.len()]);
    find_previous(&trace, &mut last, &mut previous);
    let places: Vec<Place> = (0..slots).map(|_| Place::new()).collect();
    let next: Vec<AtomicU32> = (0..cores).map(|_| AtomicU32::new(0)).collect();
    let together = Together {
        trace,
        previous: &previous,
        places: &places,
        next: &next,
        stop: AtomicBool::new(false),
        pause: std::thread::yield_now,
    };
    let (live, most_live) = (AtomicU64::new(0), AtomicU64::new(0));
    let heap = || Host {
        live: &live,
        most_live: &most_live,
        operations: 0,
        left,
    };
    let parts: Vec<_> = std::thread::scope(|scope| {
        let part = |core| {
            let (together, mut heap) = (&together, heap());
            scope.spawn(move || (together.part(core, &mut heap), heap.operations))
        };
        let parts: Vec<_> = (0..cores).map(part).collect();
        parts.into_iter().map(|part| part.join().unwrap()).collect()
    });
    let cleared = together.clear(&mut heap());
    assert_eq!(live.into_inner(), 0, "everything was freed");
    let operations = parts.iter().map(|(_, operations)| operations).sum();
    let result = parts.into_iter().map(|(result, _)| result);
    let result = result.chain([cleared]).find(Result::is_err);
    (result.unwrap_or(Ok(())), operations, most_live.into_inner())
}

const fn event(thread: u16, op: Op, slot: u32, size: u32) -> Event {
    Event {
        op,
        align_log2: 0,
        thread,
        slot,
        size,
    }
}

/// Sound events of up to five threads, each chosen by three numbers.
fn events() -> impl Strategy<Value = Vec<Event>> {
    let choice = (0_u16..5, 0_u32..8, 1_u32..2000);
    prop::collection::vec(choice, 1..2000).prop_map(|choices| {
        let mut filled = [None; 8];
        let event = |(thread, slot, size): (u16, u32, u32)| {
            let op = match filled[slot as usize] {
                None if size % 7 == 0 => Op::Pages,
                None => Op::Alloc,
                Some(Op::Pages) => Op::FreePages,
                Some(_) if size % 3 == 0 => Op::Realloc,
                Some(_) => Op::Free,
            };
            filled[slot as usize] = match op {
                Op::Free | Op::FreePages => None,
                op => Some(op),
            };
            let size = if op == Op::Pages { size % 4 } else { size };
            event(thread, op, slot, size)
        };
        choices.into_iter().map(event).collect()
    })
}

proptest! {
    #[test]
    fn every_event_happens_once_and_no_object_is_touched_out_of_turn(
        events in events(),
        cores in 1_usize..5,
    ) {
        let (result, operations, _) = run(&events, cores, u32::MAX);
        prop_assert_eq!(result, Ok(()));
        prop_assert_eq!(operations as usize, events.len());
    }
}

#[test]
fn a_place_gives_back_what_was_put_there() {
    let place = Place::new();
    let request = Request {
        size: u32::MAX,
        align_log2: 31,
    };
    for entry in [
        Entry::Empty,
        Entry::Object {
            address: u64::MAX,
            request,
            stamped_by: 7,
        },
        Entry::Pages {
            first: 1 << 40,
            order: 10,
            stamped_by: u32::MAX - 1,
        },
    ] {
        place.store(entry);
        assert_eq!(format!("{:?}", place.load()), format!("{entry:?}"));
    }
}

#[test]
fn no_core_is_further_ahead_than_a_thousand_events_and_none_waits_forever() {
    // One core allocates and another one frees, with a third that comes at the very end.
    let slots = 0..20_000;
    let mut events: Vec<Event> = slots
        .clone()
        .flat_map(|slot| [event(0, Op::Alloc, slot, 64), event(1, Op::Free, slot, 0)])
        .collect();
    events.push(event(2, Op::Alloc, 0, 64));
    let (result, operations, most_live) = run(&events, 3, u32::MAX);
    assert_eq!((result, operations as usize), (Ok(()), events.len()));
    assert!(most_live <= u64::from(AHEAD_EVENTS) / 2 + 2, "{most_live}");
}

#[test]
fn when_one_core_fails_the_others_end() {
    let events: Vec<Event> = (0..10_000)
        .flat_map(|slot| [event(0, Op::Alloc, slot, 64), event(1, Op::Free, slot, 0)])
        .collect();
    let (result, operations, _) = run(&events, 2, 300);
    let error = result.unwrap_err();
    assert_eq!(error.event, 600);
    assert_eq!(error.kind, ErrorKind::OutOfMemory { bytes: 64 });
    assert!(operations < 1000, "{operations}");
}
