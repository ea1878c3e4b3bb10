//! All allocators on all cores at once, with interrupts, for as long as the host asks.
//!
//! `cmd=stress seconds=N seed=N`. In a round each core allocates, resizes and frees blocks of every kind
//! in its thread and in interrupts, sends some to others, and has lists drained, caches shrunk and memory
//! compacted meanwhile. Every fourth round has hardly any memory. Every block is full of words that say whose it
//! is, and is looked at when it is freed.
//!
//! After each round everything is freed, all invariants are checked, and every frame must be back. One
//! that is not ends the run, and so does whatever the allocators themselves notice.
//!
//! What each core asks for, in which order, follows from the seed; how that falls together does not.

#![allow(unsafe_code, reason = "frees the areas that it made")]

mod block;
mod random;
mod ring;
mod worker;

use alloc::vec::Vec;
use kernel::{
    ExitCode,
    arch::timer,
    mm::{
        addr::{Order, Pfn},
        frames::{self, Frames},
        gfp::Gfp,
        slab::{self, SLAB},
    },
    params, smp,
    sync::request::{self, Request},
    vm::vmalloc::{purge, vfree, vmalloc},
};

/// Rounds before all that is made once, and kept, has been made: notes and tables of areas.
const WARM_UP: u64 = 2;
/// Frames that may stay in use since, for what reached further than ever before.
const KEPT_FRAMES: u32 = 32;
/// Rounds from one that has hardly any memory to the next, and what that has, in frames.
const SCARCE: u64 = 4;
const SCARCE_FRAMES: u32 = 3000;
const MICROS_PER_SECOND: u64 = 1_000_000;

fn all_frames() -> &'static Frames<'static> {
    frames::global().expect("up since boot")
}

/// Gives every core `work`, and waits for all.
fn on_every_core(work: fn()) {
    let cores = smp::online().count_ones() as usize;
    for core in 1..cores {
        smp::on(core, work).expect("it runs");
    }
    work();
    (1..cores).for_each(smp::wait);
}

/// Runs rounds until the time is up.
pub(crate) fn run() -> ExitCode {
    let seed = params().number("seed").unwrap_or(1);
    let seconds = params().number("seconds").unwrap_or(10);
    let begun = timer::micros();
    let passed = || (timer::micros() - begun) / MICROS_PER_SECOND;
    touch_addresses();
    let mut free_at_first = 0;
    for round in 0.. {
        if round > WARM_UP && passed() >= seconds {
            break;
        }
        worker::seed(seed ^ round << 32);
        let hoard = hoard(round % SCARCE == SCARCE - 1);
        on_every_core(worker::work);
        give_back(hoard);
        let free = settle(round);
        free_at_first = if round < WARM_UP { free } else { free_at_first };
        assert!(
            free + KEPT_FRAMES >= free_at_first,
            "round {round}: {} frames were lost",
            free_at_first - free
        );
        let counts = worker::counts();
        kernel::println!(
            "round {round}, {} s: {} blocks, {} passed on, {} refused, {} moved, {} interrupts, \
             {free} frames free",
            passed(),
            counts.taken,
            counts.received,
            counts.refused,
            all_frames().compaction_statistics().moved,
            counts.interrupts
        );
    }
    ExitCode::SUCCESS
}

/// Has areas at more addresses than all rounds will use, so that their page tables are there.
fn touch_addresses() {
    let mut areas = Vec::new();
    for (count, bytes) in [(400, 60 << 10), (200, 512 << 10), (16, 4 << 20)] {
        areas.extend((0..count).map_while(|_| vmalloc(bytes).ok()));
    }
    for area in areas {
        // SAFETY: allocated above, freed once.
        unsafe { vfree(area) }.expect("no interrupt is handled here");
    }
    purge();
}

/// If `all`, takes nearly all memory.
fn hoard(all: bool) -> Vec<Pfn> {
    let mut hoard = Vec::new();
    while all && all_frames().free_frames() > SCARCE_FRAMES {
        match frames::alloc(Order::MAX, Gfp::KERNEL | Gfp::NOWARN) {
            Ok(block) => hoard.push(block),
            Err(_) => break,
        }
    }
    hoard
}

fn give_back(hoard: Vec<Pfn>) {
    for block in hoard {
        frames::free(block, Order::MAX).expect("taken by `hoard`");
    }
}

/// Frees everything and has all of it given back; returns how many frames are free.
fn settle(round: u64) -> u32 {
    on_every_core(worker::give_up);
    purge();
    let online = smp::online();
    for request in [Request::DrainObjects, Request::DrainFrames] {
        request::ask(online, request);
    }
    on_every_core(|| {
        slab::shrink();
        request::honour();
    });
    assert_eq!(SLAB.validate(), Ok(()), "round {round}");
    assert_eq!(all_frames().validate(), Ok(()), "round {round}");
    all_frames().free_frames()
}
