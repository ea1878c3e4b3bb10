//! Every frame allocation fails once, in areas, mappings and user programs: nothing is lost.
//!
//! Only an image that is built for it can have allocations fail (feature `fault-injection`).
#![allow(unsafe_code, reason = "frees what it allocated")]

use kernel::{
    mm::{
        addr::{Order, Pfn},
        frames::{self, Frames},
        gfp::Gfp,
        slab::{self, SLAB},
    },
    user::{self, programs},
    vm::{
        descriptor::Attributes,
        vmalloc::{purge, vfree, vmalloc, vmap, vunmap},
    },
};

crate::table::tests! {
    any_frame_of_an_area_may_fail if nothing_fails,
    any_frame_of_a_mapping_may_fail if nothing_fails,
    any_frame_of_a_user_program_may_fail if nothing_fails,
    any_frame_of_the_heap_may_fail if nothing_fails,
}

fn nothing_fails() -> Option<&'static str> {
    (!cfg!(feature = "fault-injection")).then_some("the feature fault-injection")
}

fn all_frames() -> &'static Frames<'static> {
    frames::global().expect("up since boot")
}

/// Has everything given back that nobody uses; returns how many frames are free.
fn settle() -> u32 {
    purge();
    slab::shrink();
    all_frames().drain_lists();
    assert_eq!(SLAB.validate(), Ok(()));
    assert_eq!(all_frames().validate(), Ok(()));
    all_frames().free_frames()
}

#[cfg(feature = "fault-injection")]
fn walk(script: fn()) {
    // What is kept from then on: page tables, notes of areas.
    script();
    let before = settle();
    let ways: [fn(&Frames<'_>, u64); 2] = [
        |frames, requests| frames.faults().fail_after(requests),
        |frames, requests| frames.faults().fail_one_after(requests),
    ];
    for choose in ways {
        for requests in 0.. {
            choose(all_frames(), requests);
            script();
            let struck = all_frames().faults().stop();
            assert_eq!(settle(), before, "{requests} requests, {struck} failed");
            if struck == 0 {
                assert!(requests > 0, "the script takes no frames");
                break;
            }
        }
    }
}

#[cfg(not(feature = "fault-injection"))]
fn walk(_script: fn()) {
    settle();
}

fn any_frame_of_an_area_may_fail() {
    walk(|| {
        let areas = [1, 5 << 12, 1 << 16, 3 << 20].map(|bytes| vmalloc(bytes).ok());
        for area in areas.into_iter().flatten() {
            // SAFETY: allocated above, freed once.
            unsafe { vfree(area) }.expect("no interrupt is handled here");
        }
    });
}

fn any_frame_of_a_mapping_may_fail() {
    walk(|| {
        let frames: [Option<Pfn>; 4] =
            [(); 4].map(|()| frames::alloc(Order::ZERO, Gfp::KERNEL).ok());
        let all = frames.iter().flatten().count();
        let first = frames.iter().flatten().copied().next();
        let mut given = [first.unwrap_or(Pfn::new(0)); 4];
        for (place, frame) in given.iter_mut().zip(frames.into_iter().flatten()) {
            *place = frame;
        }
        if let Ok(area) = vmap(&given[..all], Attributes::KERNEL_DATA) {
            vunmap(area).expect("no interrupt is handled here");
        }
        for &frame in &given[..all] {
            frames::free(frame, Order::ZERO).expect("allocated above");
        }
    });
}

fn any_frame_of_a_user_program_may_fail() {
    walk(|| {
        // It may be refused, or be killed for want of memory; it ends in any case.
        let _outcome = user::run(&programs::hello());
    });
}

fn any_frame_of_the_heap_may_fail() {
    walk(|| {
        let mut lists = [const { alloc::vec::Vec::<u64>::new() }; 12];
        for (shift, list) in lists.iter_mut().enumerate() {
            // Refused or not: what it had stays.
            let _refused = list.try_reserve(8 << shift);
            let _refused = list.try_reserve(64 << shift);
        }
    });
}
