//! Memory that moves while it is used: what is in it stays, and who looks at it meanwhile waits.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use kernel::{
    mm::{
        addr::{Order, Pfn},
        frame::Kind,
        frames::{self, Frames},
        gfp::Gfp,
        pageblock,
    },
    smp,
    sync::irq,
    user::{self, Outcome, programs},
    vm::movable::MovableVmap,
};

crate::table::tests! {
    scattered_pages_gather_and_keep_their_content,
    a_large_block_is_had_from_pages_that_can_move,
    an_exact_range_is_had_where_movable_pages_are,
    pages_move_while_another_core_writes_them if crate::smp::one_core,
    programs_run_on_while_their_pages_move if crate::smp::one_core,
    nothing_is_moved_with_interrupts_masked,
}

const PAGE: usize = 4096;

fn global() -> &'static Frames<'static> {
    frames::global().expect("up since boot")
}

/// A word in each page that says which page of which area it is.
fn stamp(area: &mut MovableVmap, number: u64) {
    for (page, bytes) in (0_u64..).zip(area.chunks_exact_mut(PAGE)) {
        let word = number << 32 | page;
        bytes.as_chunks_mut().0.fill(word.to_le_bytes());
    }
}

fn check(area: &MovableVmap, number: u64) {
    for (page, bytes) in (0_u64..).zip(area.chunks_exact(PAGE)) {
        let word = (number << 32 | page).to_le_bytes();
        let words: &[[u8; 8]] = bytes.as_chunks().0;
        assert!(
            words.iter().all(|found| *found == word),
            "page {page} of area {number}"
        );
    }
}

/// Stamped areas in many pageblocks, with as many holes between them.
fn scattered() -> Vec<(u64, MovableVmap)> {
    let areas = (0..400).map(|number| {
        let mut area = MovableVmap::new(7 * PAGE).expect("memory");
        stamp(&mut area, number);
        (number, area)
    });
    let mut areas: Vec<_> = areas.collect();
    areas.retain(|(number, _)| number % 2 == 0);
    kernel::vm::vmalloc::purge();
    areas
}

fn scattered_pages_gather_and_keep_their_content() {
    let areas = scattered();
    let done = global().compact(pageblock::ORDER);
    assert!(done.cleared > 0 && done.moved > 0, "{done:?}");
    assert_eq!(global().validate(), Ok(()));
    for (number, area) in &areas {
        check(area, *number);
    }
}

fn a_large_block_is_had_from_pages_that_can_move() {
    let areas = scattered();
    let mut blocks = Vec::new();
    // Whole blocks first, then those that are made.
    let before = global().compaction_statistics().cleared;
    while global().compaction_statistics().cleared == before {
        let block = frames::alloc(Order::MAX, Gfp::KERNEL | Gfp::NOWARN);
        blocks.push(block.expect("movable pages make way"));
    }
    for (number, area) in &areas {
        check(area, *number);
    }
    for block in blocks {
        frames::free(block, Order::MAX).expect("allocated above");
    }
    assert_eq!(global().validate(), Ok(()));
}

/// Moves the block at `pfn` if it is movable; whether it was.
fn move_frame(pfn: Pfn) -> bool {
    let is_movable = || {
        let entry = global().table().find(pfn);
        entry.is_some_and(|entry| entry.kind() == Kind::Movable)
    };
    let range = pfn..pfn.offset(1);
    if !is_movable() || global().alloc_contig_range(range.clone()).is_err() {
        return false;
    }
    global().free_contig(range).expect("just taken");
    true
}

/// Moves every movable page there is, once; returns how many.
fn move_everything() -> u32 {
    let span = global().table().span();
    let all = (span.start.get()..span.end.get()).map(Pfn::new);
    let known = all.filter(|&pfn| global().table().find(pfn).is_some());
    known.map(|pfn| u32::from(move_frame(pfn))).sum()
}

fn an_exact_range_is_had_where_movable_pages_are() {
    let mut area = MovableVmap::new(40 * PAGE).expect("memory");
    stamp(&mut area, 77);
    assert!(move_everything() >= 40);
    check(&area, 77);
    assert_eq!(global().validate(), Ok(()));
}

static STOP: AtomicBool = AtomicBool::new(false);
static DONE: AtomicU64 = AtomicU64::new(0);

/// Moves everything until `enough` was done by the other cores, and a while at least.
fn move_until(enough: u64) -> u32 {
    let mut moved = 0;
    while moved < 200 || DONE.load(Ordering::Relaxed) < enough {
        moved += move_everything();
    }
    STOP.store(true, Ordering::Release);
    moved
}

fn pages_move_while_another_core_writes_them() {
    const PAGES: usize = 24;
    STOP.store(false, Ordering::Relaxed);
    DONE.store(0, Ordering::Relaxed);
    smp::on(1, || {
        let mut area = MovableVmap::new(PAGES * PAGE).expect("memory");
        let mut rounds = 0_u64;
        while !STOP.load(Ordering::Acquire) {
            rounds += 1;
            for word in area.as_chunks_mut::<8>().0 {
                let value = u64::from_le_bytes(*word);
                assert_eq!(value + 1, rounds, "a write was lost");
                *word = rounds.to_le_bytes();
            }
            DONE.fetch_add(1, Ordering::Relaxed);
        }
    })
    .expect("boot started it");
    move_until(20);
    smp::wait(1);
    assert_eq!(global().validate(), Ok(()));
}

fn programs_run_on_while_their_pages_move() {
    STOP.store(false, Ordering::Relaxed);
    DONE.store(0, Ordering::Relaxed);
    let others = 1..smp::online().count_ones() as usize;
    for core in others.clone() {
        smp::on(core, || {
            while !STOP.load(Ordering::Acquire) {
                let outcome = user::run(&programs::hello());
                assert_eq!(outcome, Ok(Outcome::Exited(programs::HELLO_CODE)));
                DONE.fetch_add(1, Ordering::Relaxed);
            }
        })
        .expect("boot started it");
    }
    move_until(20);
    others.for_each(smp::wait);
    assert_eq!(global().validate(), Ok(()));
}

fn nothing_is_moved_with_interrupts_masked() {
    let _areas = scattered();
    let masked = irq::mask();
    assert_eq!(global().compact(pageblock::ORDER).moved, 0);
    drop(masked);
}
