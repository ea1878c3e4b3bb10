//! The timer interrupt at every instruction of the allocators' paths, with a handler that allocates and
//! frees.
//!
//! ```text
//! counter   now ── arm(deadline) ── 0 to 15 nops ── start ── the window's instructions ── end
//! shot        ▲ first                                        ▲ one instruction later each time   ▲ last
//! ```
//!
//! Where instructions are counted, time follows them: a tick of the timer is a fixed number of
//! instructions. So the deadline and the nops before the window put the shot at any one of its
//! instructions, and a walk from before its first to behind its last leaves none out. An interrupt that
//! comes while they are masked is taken when they no longer are.
#![allow(unsafe_code, reason = "frees what it allocated, and looks into it")]

use alloc::boxed::Box;
use core::{
    arch::asm,
    hint::black_box,
    ptr::{self, NonNull},
    sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering::Relaxed},
};
use kernel::{
    arch::{pmu, timer},
    interrupt,
    mm::{
        addr::{LinearMap, Order, Pfn},
        frames,
        gfp::Gfp,
        kmalloc::{kfree, kmalloc},
        slab::{self, Cache, SLAB},
    },
    params,
    vm::vmalloc::{VmallocError, purge, vfree, vmalloc},
};

crate::table::tests! {
    every_instruction_of_kmalloc_and_kfree_may_be_interrupted if not_counting,
    every_instruction_of_a_constant_layout_may_be_interrupted if not_counting,
    every_instruction_of_a_cache_may_be_interrupted if not_counting,
    every_instruction_of_frames_may_be_interrupted if not_counting,
    every_instruction_of_refills_and_reliefs_may_be_interrupted if not_counting,
    every_instruction_of_page_lists_refills_and_reliefs_may_be_interrupted if not_counting,
}

fn not_counting() -> Option<&'static str> {
    let counts = params().value("unit") == Some("instructions");
    (!counts).then_some("counted instructions")
}

/// Words of the objects that thread and handler hand each other, and bytes.
const WORDS: usize = 8;
const BYTES: usize = 8 * WORDS;
/// What the thread's objects hold, and the handler's.
const THREADS: u64 = 0x1111_1111_1111_1111;
const HANDLERS: u64 = 0x2222_2222_2222_2222;
/// Shots behind the window's end before the walk is over.
const BEYOND: u32 = 16;
/// Most shots of one walk.
const MOST_SHOTS: u64 = 50_000;

/// Orders of blocks: cores have lists of all but order 4.
fn orders() -> [Order; 4] {
    [0, 3, 4, 9].map(|order| Order::new(order).expect("an order"))
}

static CACHE: Cache = Cache::new("walk-64", BYTES, 8);

/// What the thread gives the handler to free, and the handler the thread.
static FOR_HANDLER: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
static FOR_THREAD: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
static SHOTS: AtomicU32 = AtomicU32::new(0);
/// The counter when the handler began.
static SHOT_AT: AtomicU64 = AtomicU64::new(0);

fn object(stamp: u64, gfp: Gfp) -> NonNull<u8> {
    let object = kmalloc(BYTES, gfp).expect("memory");
    // SAFETY: that many words were allocated just now.
    unsafe { object.cast().write([stamp; WORDS]) };
    object
}

fn check(object: NonNull<u8>, stamp: u64) {
    // SAFETY: an object of that many words, which its holder shows.
    let words = unsafe { object.cast::<[u64; WORDS]>().read() };
    assert_eq!(words, [stamp; WORDS], "an object has two owners");
}

fn free(object: NonNull<u8>, stamp: u64) {
    check(object, stamp);
    // SAFETY: allocated by `object`, and freed once.
    unsafe { kfree(object) };
}

/// Two blocks of frames, stamped, looked at and given back.
fn frames_come_and_go(order: Order, stamp: u64, gfp: Gfp) {
    let start = |block: Pfn| {
        let start = LinearMap::kernel().to_virt(block.address()).as_mut_ptr();
        NonNull::new(start).expect("the linear map is not at 0")
    };
    let blocks = [(); 2].map(|()| {
        let block = frames::alloc(order, gfp).expect("memory");
        // SAFETY: the block is ours, and the linear map covers it.
        unsafe { start(block).cast().write([stamp; WORDS]) };
        block
    });
    for block in blocks {
        check(start(block), stamp);
        frames::free(block, order).expect("allocated above");
    }
}

/// Allocates and frees whatever an interrupt may, and leaves an object for the thread.
fn shoot() {
    SHOT_AT.store(pmu::cycles(), Relaxed);
    if let Some(handed) = NonNull::new(FOR_HANDLER.swap(ptr::null_mut(), Relaxed)) {
        free(handed, THREADS);
    }
    FOR_THREAD.store(object(HANDLERS, Gfp::ATOMIC).as_ptr(), Relaxed);
    free(object(HANDLERS, Gfp::ATOMIC), HANDLERS);
    // Freed in the order they came: lists that the thread were in the middle of would not be as before.
    for cached in [(); 2].map(|()| CACHE.alloc(Gfp::ATOMIC).expect("memory")) {
        // SAFETY: allocated just now, freed once.
        unsafe { CACHE.free(cached) };
    }
    drop(black_box(Box::new([HANDLERS; WORDS])));
    for order in orders() {
        frames_come_and_go(order, HANDLERS, Gfp::ATOMIC);
    }
    assert_eq!(vmalloc(1), Err(VmallocError::WouldSleep));
    // SAFETY: nothing is freed here, as the result says.
    let refused = unsafe { vfree(NonNull::dangling()) };
    assert_eq!(refused, Err(VmallocError::WouldSleep));
    assert_eq!(purge(), 0);
    SHOTS.fetch_add(1, Relaxed);
}

/// As many nops, at most 15.
fn nops(count: u64) {
    // SAFETY: jumps into a row of nops.
    unsafe {
        asm!(
            "adr {place}, 2f",
            "sub {place}, {place}, {count}, lsl #2",
            "br {place}",
            ".rept 15", "nop", ".endr",
            "2:",
            place = out(reg) _,
            count = in(reg) count,
            options(nomem, nostack, preserves_flags),
        );
    }
}

/// One shot: the counter where the window began, where the shot fell, and where the window ended.
#[inline(never)]
fn shot(window: fn(), aim: u64, ticks_to_instructions: u64) -> [u64; 3] {
    SHOTS.store(0, Relaxed);
    let goal = aim + pmu::cycles();
    let deadline = goal.div_ceil(ticks_to_instructions);
    timer::arm(deadline);
    nops(deadline * ticks_to_instructions - goal);
    let start = pmu::cycles();
    window();
    let end = pmu::cycles();
    let patience = timer::ticks() + timer::frequency_hz();
    while SHOTS.load(Relaxed) == 0 {
        assert!(timer::ticks() < patience, "no interrupt");
    }
    [start, SHOT_AT.load(Relaxed), end]
}

/// Walks the shot through `window`, and looks after every `pace` shots whether all invariants hold.
fn walk(window: fn(), pace: u64) {
    assert!(interrupt::on_timer(shoot), "no timer interrupt");
    let tick = 1_000_000_000 / timer::frequency_hz();
    // Everything is there that is made once.
    window();
    shot(window, 0, tick);
    settle();
    let free_before = frames::global().expect("up since boot").free_frames();
    let begun = timer::ticks() * tick - pmu::cycles();
    let (mut inside, mut beyond, mut length) = (0_u64, 0, u64::MAX);
    for step in 0..MOST_SHOTS {
        let kept = object(THREADS, Gfp::KERNEL);
        FOR_HANDLER.store(object(THREADS, Gfp::KERNEL).as_ptr(), Relaxed);
        let [start, at, end] = shot(window, begun + step, tick);
        check(kept, THREADS);
        free(kept, THREADS);
        settle();
        if step % pace == 0 {
            assert_eq!(SLAB.validate(), Ok(()), "shot {step}");
            let frames = frames::global().expect("up since boot");
            assert_eq!(frames.validate(), Ok(()), "shot {step}");
        }
        if at > end {
            length = length.min(end - start);
            beyond += 1;
        } else {
            inside += u64::from(at > start);
        }
        if beyond == BEYOND {
            break;
        }
    }
    assert_eq!(beyond, BEYOND, "the walk came to no end");
    assert!(
        inside >= length,
        "{inside} shots into {length} instructions"
    );
    kernel::println!("{inside} shots into {length} instructions");
    slab::shrink();
    assert_eq!(SLAB.validate(), Ok(()));
    let frames = frames::global().expect("up since boot");
    assert!(frames.free_frames() >= free_before, "frames were lost");
}

/// Takes what the handler left.
fn settle() {
    let left = NonNull::new(FOR_THREAD.swap(ptr::null_mut(), Relaxed));
    free(left.expect("the handler leaves one"), HANDLERS);
    assert!(FOR_HANDLER.load(Relaxed).is_null(), "the handler takes it");
}

fn every_instruction_of_kmalloc_and_kfree_may_be_interrupted() {
    walk(
        || {
            let object = kmalloc(black_box(BYTES), Gfp::KERNEL).expect("memory");
            // SAFETY: allocated just now, freed once.
            unsafe { kfree(black_box(object)) };
        },
        1,
    );
}

fn every_instruction_of_a_constant_layout_may_be_interrupted() {
    walk(|| drop(black_box(Box::new([THREADS; WORDS]))), 1);
}

fn every_instruction_of_a_cache_may_be_interrupted() {
    walk(
        || {
            let object = CACHE.alloc(Gfp::KERNEL).expect("memory");
            // SAFETY: allocated just now, freed once.
            unsafe { CACHE.free(black_box(object)) };
        },
        1,
    );
}

fn every_instruction_of_frames_may_be_interrupted() {
    walk(
        || {
            for order in orders() {
                frames_come_and_go(order, THREADS, Gfp::KERNEL);
            }
        },
        64,
    );
}

/// Objects, or frames, that no magazine holds all of.
const MANY: usize = 40;

fn every_instruction_of_refills_and_reliefs_may_be_interrupted() {
    walk(
        || {
            let take = || kmalloc(black_box(BYTES), Gfp::KERNEL).expect("memory");
            for object in [(); MANY].map(|()| take()) {
                // SAFETY: allocated above, freed once.
                unsafe { kfree(object) };
            }
        },
        64,
    );
}

fn every_instruction_of_page_lists_refills_and_reliefs_may_be_interrupted() {
    walk(
        || {
            let take = || frames::alloc(Order::ZERO, Gfp::KERNEL).expect("memory");
            for frame in [(); MANY].map(|()| take()) {
                frames::free(frame, Order::ZERO).expect("allocated above");
            }
        },
        64,
    );
}
