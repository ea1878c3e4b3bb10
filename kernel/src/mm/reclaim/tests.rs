//! Requests that find nothing, and what they get back from shrinkers.

use super::*;
use crate::mm::{
    arena::Arena,
    frame_error::FrameError,
    zone::{Watermarks, ZoneLimits},
};
use std::{string::ToString, sync::Mutex, vec::Vec};

const FIRST: Pfn = Pfn::new(0x4_0000);
const FRAMES: u32 = 16384;

/// Holds frames, and gives back at most so many a call.
struct Hoard {
    frames: Mutex<Vec<Pfn>>,
    generosity: usize,
    calls: AtomicU64,
    /// Asks for memory of its own while it is asked.
    greedy: bool,
}

impl Hoard {
    fn new(generosity: usize) -> Self {
        Self {
            frames: Mutex::new(Vec::new()),
            generosity,
            calls: AtomicU64::new(0),
            greedy: false,
        }
    }

    fn fill(&self, frames: &Frames<'_>, count: usize) {
        let take = || frames.alloc(Order::ZERO, Gfp::KERNEL).unwrap();
        self.frames
            .lock()
            .unwrap()
            .extend((0..count).map(|_| take()));
    }
}

impl Shrinker for Hoard {
    fn name(&self) -> &'static str {
        "hoard"
    }
    fn reclaimable_frames(&self) -> u32 {
        u32::try_from(self.frames.lock().unwrap().len()).unwrap()
    }
    fn shrink(&self, frames: &Frames<'_>, wanted: u32) -> u32 {
        self.calls.fetch_add(1, Relaxed);
        if self.greedy {
            let error = frames.alloc(Order::MAX, Gfp::KERNEL | Gfp::NOWARN);
            assert!(error.is_err(), "reclaim does not enter itself");
        }
        let mut held = self.frames.lock().unwrap();
        let count = self.generosity.min(wanted as usize).min(held.len());
        let rest = held.len() - count;
        for pfn in held.split_off(rest) {
            frames.free(pfn, Order::ZERO).unwrap();
        }
        u32::try_from(count).unwrap()
    }
}

/// Takes all that a request with these flags can have.
fn exhaust(frames: &Frames<'_>, gfp: Gfp) -> Vec<Pfn> {
    core::iter::from_fn(|| frames.alloc(Order::ZERO, gfp).ok()).collect()
}

fn whole(arena: &mut Arena) -> Frames<'_> {
    let span = arena.span();
    arena.frames(&ZoneLimits::FOUR_GIB, &[span])
}

#[test]
fn a_request_that_may_wait_gets_what_shrinkers_give_back_and_the_zone_is_filled_up() {
    let hoard = Hoard::new(usize::MAX);
    let mut arena = Arena::new(FIRST, FRAMES);
    let frames = whole(&mut arena);
    hoard.fill(&frames, 1000);
    frames.register_shrinker(&hoard).unwrap();
    let taken = exhaust(&frames, Gfp::NOWAIT);
    assert_eq!(
        hoard.reclaimable_frames(),
        1000,
        "who cannot wait asks nobody"
    );
    assert!(frames.alloc(Order::ZERO, Gfp::ATOMIC).is_ok());
    assert!(frames.alloc(Order::ZERO, Gfp::KERNEL).is_ok());
    let high = Watermarks::of(FRAMES).high;
    assert!(
        frames.free_frames() + 1 >= high,
        "{} of {high}",
        frames.free_frames()
    );
    let reclaimed = frames.reclaim_statistics();
    assert_eq!((reclaimed.runs, reclaimed.rescued), (1, 1));
    assert_eq!(
        reclaimed.frames,
        1000 - u64::from(frames.reclaimable_frames())
    );
    drop(taken);
}

#[test]
fn how_often_shrinkers_are_asked_is_what_the_flags_say() {
    let hoard = Hoard::new(1);
    let mut arena = Arena::new(FIRST, FRAMES);
    let frames = whole(&mut arena);
    hoard.fill(&frames, 1000);
    let _taken = exhaust(&frames, Gfp::NOWAIT);
    let id = frames.register_shrinker(&hoard).unwrap();
    let order = Order::new(8).unwrap();
    let quiet = Gfp::KERNEL | Gfp::NOWARN;
    for (gfp, rounds) in [
        (Gfp::NOWAIT, 0),
        (quiet | Gfp::NORETRY, 1),
        (quiet, 4),
        (quiet | Gfp::RETRY_MAYFAIL, 16),
    ] {
        let before = hoard.calls.load(Relaxed);
        assert!(frames.alloc(order, gfp).is_err());
        assert_eq!(hoard.calls.load(Relaxed) - before, rounds, "{gfp:?}");
    }
    frames.unregister_shrinker(id);
    let before = hoard.calls.load(Relaxed);
    assert!(frames.alloc(order, quiet).is_err());
    assert_eq!(hoard.calls.load(Relaxed), before);
}

#[test]
fn no_request_of_a_shrinker_reclaims() {
    let mut hoard = Hoard::new(usize::MAX);
    hoard.greedy = true;
    let mut arena = Arena::new(FIRST, FRAMES);
    let frames = whole(&mut arena);
    hoard.fill(&frames, 100);
    frames.register_shrinker(&hoard).unwrap();
    let _taken = exhaust(&frames, Gfp::NOWAIT);
    assert!(frames.alloc(Order::ZERO, Gfp::KERNEL).is_ok());
    assert_eq!(hoard.calls.load(Relaxed), 1);
}

#[test]
fn a_request_that_never_fails_outlasts_meanness_and_takes_the_reserve_at_last() {
    let hoard = Hoard::new(1);
    let mut arena = Arena::new(FIRST, FRAMES);
    let frames = whole(&mut arena);
    hoard.fill(&frames, 500);
    frames.register_shrinker(&hoard).unwrap();
    let mut taken = exhaust(&frames, Gfp::ATOMIC);
    let must = Gfp::KERNEL | Gfp::NOFAIL;
    let left = frames.free_frames();
    for _ in 0..500 + left - Watermarks::of(FRAMES).min {
        taken.push(frames.alloc(Order::ZERO, must).unwrap());
    }
    while frames.free_frames() > 0 {
        taken.push(frames.alloc(Order::ZERO, must).unwrap());
    }
    assert_eq!(hoard.reclaimable_frames(), 0);
    for pfn in taken {
        frames.free(pfn, Order::ZERO).unwrap();
    }
    assert_eq!((frames.validate(), frames.free_frames()), (Ok(()), FRAMES));
}

#[test]
#[should_panic(expected = "out of memory: 4 frames")]
fn a_request_that_must_not_fail_and_does_panics_with_the_account() {
    let mut arena = Arena::new(FIRST, 1024);
    let frames = whole(&mut arena);
    let _taken = exhaust(&frames, Gfp::NOWAIT);
    let _ = frames.alloc(Order::new(2).unwrap(), Gfp::KERNEL | Gfp::NOFAIL);
}

#[test]
fn the_account_names_zones_blocks_failures_and_shrinkers() {
    let hoard = Hoard::new(1);
    let mut arena = Arena::new(FIRST, FRAMES);
    let frames = whole(&mut arena);
    hoard.fill(&frames, 7);
    frames.register_shrinker(&hoard).unwrap();
    let _taken = exhaust(&frames, Gfp::NOWAIT);
    let account = Account::new(&frames, Order::ZERO, Gfp::KERNEL).to_string();
    for part in [
        "out of memory: 1 frames with flags 0x40\n",
        "Node 0, zone    DMA32",
        "min      32",
        "NOWARN",
        "shrinker hoard: 7 frames\n",
        "reclaimed 0 times",
    ] {
        assert!(account.contains(part), "no {part:?} in:\n{account}");
    }
}

#[test]
fn what_no_zone_could_ever_give_fails_at_once_even_if_it_must_not() {
    let hoard = Hoard::new(usize::MAX);
    let mut arena = Arena::new(FIRST, 512);
    let frames = whole(&mut arena);
    frames.register_shrinker(&hoard).unwrap();
    let error = frames.alloc(Order::MAX, Gfp::KERNEL | Gfp::NOFAIL);
    let expected = FrameError::Impossible {
        order: Order::MAX,
        managed_frames: 512,
    };
    assert_eq!((error, hoard.calls.load(Relaxed)), (Err(expected), 0));
    assert_eq!(
        expected.to_string(),
        "no block of 1024 frames can ever be had of 512 frames"
    );
}

#[test]
fn all_places_can_be_taken_and_are_free_again() {
    let hoard = Hoard::new(1);
    let mut arena = Arena::new(FIRST, 1024);
    let frames = whole(&mut arena);
    let ids: Vec<_> = (0..SHRINKERS)
        .map(|_| frames.register_shrinker(&hoard).unwrap())
        .collect();
    assert_eq!(frames.register_shrinker(&hoard), Err(ShrinkersFull));
    frames.unregister_shrinker(ids[3]);
    assert_eq!(frames.register_shrinker(&hoard), Ok(ids[3]));
}

#[test]
fn a_caller_may_have_room_made_before_it_tries_again() {
    let hoard = Hoard::new(usize::MAX);
    let mut arena = Arena::new(FIRST, FRAMES);
    let frames = whole(&mut arena);
    hoard.fill(&frames, 100);
    frames.register_shrinker(&hoard).unwrap();
    let _taken = exhaust(&frames, Gfp::NOWAIT);
    assert!(!frames.reclaim(Order::ZERO, Gfp::NOWAIT));
    assert!(frames.alloc(Order::ZERO, Gfp::NOWAIT).is_err());
    assert!(frames.reclaim(Order::ZERO, Gfp::KERNEL));
    assert!(frames.alloc(Order::ZERO, Gfp::NOWAIT).is_ok());
}
