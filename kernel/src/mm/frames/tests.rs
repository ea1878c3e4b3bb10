//! The frame allocator, and a naive one beside it, against a map of who owns what.

use super::*;
use crate::mm::arena::Arena;
use bolero::{
    check,
    generator::{OneOfExt, TypeGenerator, produce},
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    vec::Vec,
};

/// What the suite asks of an allocator of frames.
trait Allocator {
    fn alloc(&self, order: Order, gfp: Gfp) -> Option<Pfn>;
    fn free(&self, pfn: Pfn, order: Order);
    fn free_frames(&self) -> u32;
    fn validate(&self);
}

impl Allocator for Frames<'_> {
    fn alloc(&self, order: Order, gfp: Gfp) -> Option<Pfn> {
        Frames::alloc(self, order, gfp).ok()
    }
    fn free(&self, pfn: Pfn, order: Order) {
        Frames::free(self, pfn, order).unwrap();
    }
    fn free_frames(&self) -> u32 {
        Frames::free_frames(self)
    }
    fn validate(&self) {
        assert_eq!(Frames::validate(self), Ok(()));
    }
}

/// Takes the first run that fits: slow, and easily seen to be right.
struct Naive {
    first: Pfn,
    used: std::cell::RefCell<Vec<bool>>,
    limits: ZoneLimits,
}

impl Naive {
    fn new(arena: &Range<Pfn>, ranges: &[Range<Pfn>], limits: ZoneLimits) -> Self {
        let owned = |pfn: u32| ranges.iter().any(|r| r.contains(&Pfn::new(pfn)));
        let used = (arena.start.get()..arena.end.get()).map(|pfn| !owned(pfn));
        Self {
            first: arena.start,
            used: used.collect::<Vec<_>>().into(),
            limits,
        }
    }
}

impl Allocator for Naive {
    fn alloc(&self, order: Order, gfp: Gfp) -> Option<Pfn> {
        let mut used = self.used.borrow_mut();
        let frames = order.frames() as usize;
        let end = zone_end(&self.limits, gfp);
        let start = (0..used.len()).step_by(frames).find(|&at| {
            let fits = used
                .get(at..at + frames)
                .is_some_and(|run| !run.contains(&true));
            fits && self.first.get() as usize + at + frames <= end as usize
        })?;
        used[start..start + frames].fill(true);
        Some(self.first.offset(u32::try_from(start).unwrap()))
    }
    fn free(&self, pfn: Pfn, order: Order) {
        let start = (pfn.get() - self.first.get()) as usize;
        self.used.borrow_mut()[start..start + order.frames() as usize].fill(false);
    }
    fn free_frames(&self) -> u32 {
        u32::try_from(self.used.borrow().iter().filter(|used| !**used).count()).unwrap()
    }
    fn validate(&self) {}
}

fn zone_end(limits: &ZoneLimits, gfp: Gfp) -> u32 {
    match ZoneKind::highest_for(gfp) {
        ZoneKind::Dma => limits.dma_end.get(),
        ZoneKind::Dma32 => limits.dma32_end.get(),
        ZoneKind::Normal => u32::MAX,
    }
}

#[derive(Clone, Debug, TypeGenerator)]
enum Op {
    Alloc {
        #[generator((0..=3_u8, 0..=10_u8).one_of())]
        order: u8,
        #[generator(0..GFP.len())]
        gfp: usize,
    },
    Free(u16),
}

/// What an operation asks for.
const GFP: [Gfp; 4] = [
    Gfp::KERNEL,
    Gfp::KERNEL,
    Gfp::DMA32.union(Gfp::ZERO),
    Gfp::DMA,
];

const FIRST: Pfn = Pfn::new(0x4_0000);
const LIMITS: ZoneLimits = ZoneLimits {
    dma_end: Pfn::new(0x4_0000 + 1024),
    dma32_end: Pfn::new(0x4_0000 + 2048),
};

fn pfns(start: u32, end: u32) -> Range<Pfn> {
    FIRST.offset(start)..FIRST.offset(end)
}

/// Two banks with a hole, and a hole of one frame.
fn banks() -> [Range<Pfn>; 3] {
    [pfns(3, 600), pfns(601, 1400), pfns(1450, 8192)]
}

fn run(allocator: &impl Allocator, banks: &[Range<Pfn>], ops: &[Op]) {
    let all = allocator.free_frames();
    let mut owned: BTreeMap<u32, Order> = BTreeMap::new();
    for (at, op) in ops.iter().enumerate() {
        match op {
            Op::Alloc { order, gfp } => {
                let (order, gfp) = (Order::new(*order).unwrap(), GFP[*gfp]);
                let Some(pfn) = allocator.alloc(order, gfp) else {
                    let empty = gfp == Gfp::KERNEL && allocator.free_frames() == 0;
                    assert!(order > Order::ZERO || gfp != Gfp::KERNEL || empty);
                    continue;
                };
                let end = pfn.get() + order.frames();
                assert!(pfn.is_aligned_to(order) && end <= zone_end(&LIMITS, gfp));
                assert!(banks.iter().any(|b| b.start <= pfn && end <= b.end.get()));
                let below = owned.range(..end).next_back();
                assert!(below.is_none_or(|(at, o)| at + o.frames() <= pfn.get()));
                owned.insert(pfn.get(), order);
            }
            Op::Free(_) if owned.is_empty() => {}
            Op::Free(index) => {
                let nth = usize::from(*index) % owned.len();
                let (&pfn, &order) = owned.iter().nth(nth).unwrap();
                owned.remove(&pfn);
                allocator.free(Pfn::new(pfn), order);
            }
        }
        // That looks at every frame.
        if at % 4 == 0 {
            allocator.validate();
        }
        let used: u32 = owned.values().map(|order| order.frames()).sum();
        assert_eq!(allocator.free_frames() + used, all);
    }
    for (pfn, order) in owned {
        allocator.free(Pfn::new(pfn), order);
    }
    allocator.validate();
    assert_eq!(allocator.free_frames(), all);
}

#[test]
fn blocks_never_overlap_and_all_come_back() {
    let ops = produce::<Vec<Op>>().with().len(1..120_usize);
    // One for all runs, since clearing it takes longest; a run that failed leaves it in any state.
    let arena = Mutex::new(Arena::new(FIRST, 8192));
    let test = |ops: &Vec<Op>| {
        let mut arena = arena.lock().unwrap_or_else(PoisonError::into_inner);
        let naive = Naive::new(&arena.span(), &banks(), LIMITS);
        run(&naive, &banks(), ops);
        let frames = arena.frames(&LIMITS, &banks());
        let before: Vec<_> = frames.zones().map(|zone| zone.free_blocks).collect();
        run(&frames, &banks(), ops);
        frames.drain_lists();
        assert_eq!(frames.validate(), Ok(()));
        let after: Vec<_> = frames.zones().map(|zone| zone.free_blocks).collect();
        assert_eq!(before, after);
    };
    check!()
        .with_iterations(128)
        .with_generator(ops)
        .for_each(test);
}

#[test]
fn requests_fall_back_downward_and_never_upward() {
    let mut arena = Arena::new(FIRST, 8192);
    let frames = arena.frames(&LIMITS, &banks());
    let zone_of = |pfn: Pfn| {
        let found = ZoneKind::ALL.into_iter().find(|kind| {
            let span = LIMITS.span(*kind, &pfns(0, 8192));
            span.contains(&pfn)
        });
        found.unwrap()
    };
    let mut seen = Vec::new();
    while let Ok(pfn) = frames.alloc(Order::ZERO, Gfp::KERNEL) {
        seen.push(zone_of(pfn));
    }
    assert!(seen.is_sorted_by(|a, b| a >= b), "highest first");
    assert_eq!(seen.len(), 597 + 799 + 6742);
    let managed: Vec<_> = frames.zones().map(|zone| zone.managed_frames).collect();
    assert_eq!(managed, [597 + 423, 376 + 598, 6144]);
    for zone in frames.zones() {
        assert_eq!(
            (zone.free_frames, zone.peak_used_frames),
            (0, zone.managed_frames)
        );
    }

    let normal = FIRST.offset(3000);
    frames.free(normal, Order::ZERO).unwrap();
    assert!(frames.alloc(Order::ZERO, Gfp::DMA32).is_err());
    assert_eq!(frames.alloc(Order::ZERO, Gfp::KERNEL), Ok(normal));
}

#[test]
fn every_order_runs_out_with_an_error_that_says_what_was_left() {
    let mut arena = Arena::new(FIRST, 8192);
    let frames = arena.frames(&LIMITS, &banks());
    for order in Order::all() {
        let mut blocks = Vec::new();
        let error = loop {
            match frames.alloc(order, Gfp::KERNEL) {
                Ok(pfn) => blocks.push(pfn),
                Err(error) => break error,
            }
        };
        let free_frames = frames.free_frames();
        assert_eq!(error, FrameError::OutOfMemory { order, free_frames });
        assert!(!blocks.is_empty());
        for pfn in blocks {
            frames.free(pfn, order).unwrap();
        }
        assert_eq!(frames.validate(), Ok(()));
    }
    assert_eq!(frames.failures().total(), Order::COUNT as u64);
}

#[test]
fn wrong_frees_are_named_and_change_nothing() {
    let mut arena = Arena::new(FIRST, 8192);
    let frames = arena.frames(&LIMITS, &banks());
    let order = |raw| Order::new(raw).unwrap();
    let block = frames.alloc(order(3), Gfp::KERNEL).unwrap();
    let other = frames.alloc(order(3), Gfp::KERNEL).unwrap();
    let free = frames.free_frames();
    let inside = block.offset(4);
    for (pfn, given, error) in [
        (
            block,
            2,
            FrameError::WrongOrder {
                pfn: block,
                given: order(2),
                actual: order(3),
            },
        ),
        (
            inside,
            2,
            FrameError::NotAHead {
                pfn: inside,
                block: order(3),
            },
        ),
        (
            inside,
            3,
            FrameError::Misaligned {
                pfn: inside,
                order: order(3),
            },
        ),
        (
            FIRST.offset(600),
            0,
            FrameError::NotManaged(FIRST.offset(600)),
        ),
        (FIRST.offset(1), 0, FrameError::NotManaged(FIRST.offset(1))),
        (Pfn::new(1), 0, FrameError::NotManaged(Pfn::new(1))),
        (
            FIRST.offset(9000),
            0,
            FrameError::NotManaged(FIRST.offset(9000)),
        ),
        // Never touched: its entry is garbage.
        (
            FIRST.offset(3001),
            0,
            FrameError::DoubleFree(FIRST.offset(3001)),
        ),
    ] {
        assert_eq!(frames.free(pfn, order(given)), Err(error), "{error}");
        assert_eq!((frames.validate(), frames.free_frames()), (Ok(()), free));
    }
    frames.free(block, order(3)).unwrap();
    frames.free(other, order(3)).unwrap();
    // Freed twice: while it is a block of its own, and once it is inside a larger one.
    let block = frames.alloc(order(4), Gfp::KERNEL).unwrap();
    let other = frames.alloc(order(4), Gfp::KERNEL).unwrap();
    for freed in [block, other] {
        frames.free(freed, order(4)).unwrap();
        for twice in [freed, block] {
            let error = Err(FrameError::DoubleFree(twice));
            assert_eq!(frames.free(twice, order(4)), error);
        }
    }
    assert_eq!(frames.validate(), Ok(()));
    assert_eq!(frames.free_frames(), frames.managed_frames());
}

#[test]
fn zeroed_blocks_are_zero_and_their_neighbours_are_not() {
    let mut arena = Arena::new(FIRST, 1024);
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[pfns(0, 1024)]);
    let order = Order::new(1).unwrap();
    let pfn = frames.alloc(order, Gfp::KERNEL | Gfp::ZERO).unwrap();
    let byte = |address: PhysAddr| {
        let pointer = frames.linear().to_virt(address).as_mut_ptr::<u8>();
        // SAFETY: the address is inside the arena, which nobody writes to meanwhile.
        unsafe { pointer.read() }
    };
    for offset in 0..order.bytes() {
        assert_eq!(byte(pfn.address().offset(offset)), 0);
    }
    assert_ne!(byte(pfn.address().offset(order.bytes())), 0);
}

#[test]
fn a_chosen_request_fails() {
    let mut arena = Arena::new(FIRST, 1024);
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[pfns(0, 1024)]);
    frames.faults().fail_after(2);
    let got: Vec<_> = (0..4)
        .map(|_| frames.alloc(Order::ZERO, Gfp::KERNEL).is_ok())
        .collect();
    assert_eq!(got, [true, true, false, false]);
    frames.faults().stop();
    assert!(frames.alloc(Order::ZERO, Gfp::KERNEL).is_ok());
}

#[test]
fn a_table_is_made_of_garbage_memory_and_only_its_pageblocks_are_written() {
    let memory = pfns(5, 1030);
    assert_eq!(table_bytes(&memory), 2048 * 16 + 4);
    let mut place = std::vec![u128::MAX; 2048 + 1];
    // SAFETY: the vector has room for the table, and is leaked below.
    let table = unsafe { make_table(VirtAddr::from_ptr(place.as_mut_ptr()), &memory) };
    assert_eq!(table.span(), pfns(0, 2048));
    for pfn in [0, 511, 512, 2047] {
        assert!(table.find(FIRST.offset(pfn)).is_none());
        assert!(!table.state(FIRST.offset(pfn)).unwrap().is_touched());
    }
    assert_eq!(place[2047], u128::MAX);
    assert_eq!(place[2048], u128::MAX << 32);
    std::mem::forget(place);
}

#[test]
fn whole_pageblocks_leave_the_table_untouched() {
    let mut arena = Arena::new(FIRST, 8192);
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[pfns(0, 8192)]);
    for raw in [10, 9] {
        let order = Order::new(raw).unwrap();
        let block = frames.alloc(order, Gfp::KERNEL).unwrap();
        let known = |pfn: Pfn| frames.table().find(pfn).is_some();
        assert!(known(block) && !known(block.offset(1)) && !known(block.offset(511)));
        assert_eq!(frames.validate(), Ok(()));
        frames.free(block, order).unwrap();
    }
    let frame = frames.alloc(Order::ZERO, Gfp::KERNEL).unwrap();
    assert!(frames.table().find(frame.offset(511)).is_some());
    assert!(frames.table().find(frame.offset(512)).is_some());
    assert!(frames.table().find(frame.offset(513)).is_none());
    assert_eq!(frames.validate(), Ok(()));
}

#[test]
fn a_listed_block_that_is_freed_twice_is_named_at_the_latest_when_it_leaves_the_list() {
    let mut arena = Arena::new(FIRST, 1024);
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[pfns(0, 1024)]);
    let pfn = frames.alloc(Order::ZERO, Gfp::KERNEL).unwrap();
    frames.free(pfn, Order::ZERO).unwrap();
    assert!(frames.is_free(pfn));
    let twice = frames.free(pfn, Order::ZERO);
    if cfg!(feature = "hardened") {
        return assert_eq!(twice, Err(FrameError::DoubleFree(pfn)));
    }
    let drain = std::panic::AssertUnwindSafe(|| frames.drain_lists());
    let panic = std::panic::catch_unwind(drain).unwrap_err();
    let message = panic.downcast_ref::<std::string::String>().unwrap();
    assert!(message.starts_with("double free of frame"), "{message}");
}

#[test]
fn lists_are_refilled_and_drained_a_few_at_a_time() {
    let mut arena = Arena::new(FIRST, 4096);
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[pfns(0, 4096)]);
    for raw in 0..=3 {
        let order = Order::new(raw).unwrap();
        let listed = || frames.listed_frames() / order.frames();
        let in_zones = || frames.zones().map(|zone| zone.free_frames).sum::<u32>();
        let mut blocks = Vec::new();
        for _ in 0..50 {
            let before = in_zones();
            blocks.push(frames.alloc(order, Gfp::KERNEL).unwrap());
            assert!(before - in_zones() <= 4 * order.frames());
        }
        for pfn in blocks {
            let before = in_zones();
            frames.free(pfn, order).unwrap();
            assert!(in_zones() - before <= 4 * order.frames());
        }
        assert!((1..=31).contains(&listed()), "{}", listed());
        frames.drain_lists();
        assert_eq!((listed(), frames.free_frames()), (0, 4096));
        assert_eq!(frames.validate(), Ok(()));
    }
}

#[test]
fn what_another_thread_has_listed_it_gives_back_when_it_is_asked() {
    let mut arena = Arena::new(FIRST, 1024);
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[pfns(0, 1024)]);
    let (to_other, from_main) = std::sync::mpsc::channel::<()>();
    let (to_main, from_other) = std::sync::mpsc::channel::<()>();
    let frames = &frames;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let pfn = frames.alloc(Order::ZERO, Gfp::KERNEL).unwrap();
            frames.free(pfn, Order::ZERO).unwrap();
            to_main.send(()).unwrap();
            from_main.recv().unwrap();
            frames.follow_drains();
            to_main.send(()).unwrap();
            // Its context lives until it is dropped: the main thread looks at it.
            let _ended = from_main.recv();
        });
        from_other.recv().unwrap();
        frames.drain_lists();
        assert!(frames.listed_frames() > 0);
        to_other.send(()).unwrap();
        from_other.recv().unwrap();
        assert_eq!((frames.listed_frames(), frames.validate()), (0, Ok(())));
        drop(to_other);
    });
}

#[test]
fn a_split_block_is_freed_frame_by_frame() {
    let mut arena = Arena::new(FIRST, 2048);
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[pfns(0, 2048)]);
    for raw in [0, 3, 9, 10] {
        let order = Order::new(raw).unwrap();
        let block = frames.alloc(order, Gfp::KERNEL).unwrap();
        frames.split_page(block, order).unwrap();
        if let Some(smaller) = order.smaller() {
            assert!(frames.free(block, order).is_err());
            assert!(frames.split_page(block, smaller).is_err() || raw == 1);
        }
        for frame in 0..order.frames() {
            frames.free(block.offset(frame), Order::ZERO).unwrap();
        }
        assert_eq!((frames.validate(), frames.free_frames()), (Ok(()), 2048));
    }
}

pub(in crate::mm) mod churn;
mod types;
