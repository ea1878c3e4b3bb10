//! Several cores: they start, run what they are given, interrupt each other, log without mixing, and
//! share the allocators.
#![allow(unsafe_code, reason = "frees what it allocated, and looks into it")]

use alloc::vec::Vec;
use core::{
    ptr::NonNull,
    sync::atomic::{AtomicPtr, AtomicU32, Ordering},
};
use kernel::{
    arch::{cpu, timer},
    interrupt, machine,
    mm::{
        addr::{Order, Pfn},
        frames,
        gfp::Gfp,
        kmalloc::{kfree, kmalloc},
        slab::{SLAB, TypedCache},
    },
    smp::{self, CallError, StartError},
    sync::{
        irq,
        percpu::MAX_CPUS,
        request::{self, Request},
    },
};

crate::table::tests! {
    every_core_starts_and_runs_what_it_is_given if one_core,
    a_running_core_is_not_started_again if one_core,
    boot_starts_every_core,
    a_core_runs_what_it_is_given_with_interrupts_on if one_core,
    every_core_has_a_timer if one_core,
    a_call_runs_in_interrupt_context_while_the_caller_waits if one_core,
    cores_that_call_each_other_all_get_through,
    a_call_with_interrupts_masked_is_refused,
    a_request_reaches_an_idle_core if one_core,
    cores_log_at_once_and_nothing_mixes if one_core,
    cores_allocate_at_once_and_free_each_other_s_objects if one_core,
    frames_that_an_idle_core_has_listed_are_had_before_memory_runs_out if one_core,
    shrinking_empties_the_lists_of_idle_cores if one_core,
}

pub(crate) fn one_core() -> Option<&'static str> {
    (cores() < 2).then_some("a second core")
}

fn cores() -> usize {
    machine().board.cpus.len().min(MAX_CPUS)
}

/// Gives every core `work`, and waits for all.
fn on_every_core(work: fn()) {
    for core in 1..cores() {
        smp::on(core, work).expect("boot started it");
    }
    work();
    (1..cores()).for_each(smp::wait);
}

static RAN: AtomicU32 = AtomicU32::new(0);

fn every_core_starts_and_runs_what_it_is_given() {
    on_every_core(|| {
        RAN.fetch_or(1 << cpu::id(), Ordering::Relaxed);
    });
    assert_eq!(RAN.load(Ordering::Relaxed), (1 << cores()) - 1);
}

fn a_running_core_is_not_started_again() {
    on_every_core(|| {});
    assert!(matches!(smp::start(1), Err(StartError::Running(1))));
    assert!(matches!(smp::start(0), Err(StartError::NoCore(0))));
    assert!(matches!(smp::start(99), Err(StartError::NoCore(99))));
}

fn boot_starts_every_core() {
    assert_eq!(machine().cpus as usize, cores());
    assert_eq!(smp::online(), (1 << cores()) - 1);
}

fn a_core_runs_what_it_is_given_with_interrupts_on() {
    on_every_core(|| assert!(!irq::is_masked()));
}

/// Shots of each core's timer.
static SHOTS: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(0) }; MAX_CPUS];

fn every_core_has_a_timer() {
    on_every_core(|| {
        let shots = &SHOTS[cpu::id()];
        let count = || _ = SHOTS[cpu::id()].fetch_add(1, Ordering::Relaxed);
        assert!(interrupt::on_timer(count), "no timer interrupt");
        for shot in 1..=3 {
            timer::arm(timer::ticks() + timer::frequency_hz() / 2000);
            let deadline = timer::ticks() + timer::frequency_hz() * 5;
            while shots.load(Ordering::Relaxed) < shot {
                assert!(timer::ticks() < deadline, "no interrupt");
                cpu::yield_now();
            }
        }
    });
    let shots = SHOTS[..cores()].iter();
    assert!(
        shots
            .map(|shots| shots.load(Ordering::Relaxed))
            .all(|shots| shots == 3)
    );
}

/// Who was called, as a set; and with interrupts unmasked, which none must be.
static CALLED: AtomicU32 = AtomicU32::new(0);
static CALLED_OPEN: AtomicU32 = AtomicU32::new(0);

fn note_call() {
    CALLED.fetch_add(1 << (4 * cpu::id()), Ordering::Relaxed);
    if !irq::is_masked() {
        CALLED_OPEN.fetch_or(1 << cpu::id(), Ordering::Relaxed);
    }
}

fn a_call_runs_in_interrupt_context_while_the_caller_waits() {
    CALLED.store(0, Ordering::Relaxed);
    smp::call(1, note_call).expect("core 1 runs");
    assert_eq!(CALLED.load(Ordering::Relaxed), 0x10, "core 1 alone, once");
    smp::broadcast(note_call).expect("interrupts are on");
    let once_each = (0..cores()).fold(0x10, |calls, core| calls + (1 << (4 * core)));
    assert_eq!(CALLED.load(Ordering::Relaxed), once_each);
    assert_eq!(CALLED_OPEN.load(Ordering::Relaxed), 0);
    assert_eq!(smp::call(99, note_call), Err(CallError::NoCore(1 << 31)));
}

static ANSWERS: AtomicU32 = AtomicU32::new(0);

fn cores_that_call_each_other_all_get_through() {
    const ROUNDS: usize = 200;
    ANSWERS.store(0, Ordering::Relaxed);
    on_every_core(|| {
        for _ in 0..ROUNDS {
            let answer = || _ = ANSWERS.fetch_add(1, Ordering::Relaxed);
            smp::broadcast(answer).expect("interrupts are on");
        }
    });
    let answers = ANSWERS.load(Ordering::Relaxed) as usize;
    assert_eq!(answers, ROUNDS * cores() * cores());
}

fn a_call_with_interrupts_masked_is_refused() {
    let _masked = irq::mask();
    assert_eq!(smp::broadcast(|| {}), Err(CallError::Masked));
}

fn a_request_reaches_an_idle_core() {
    let others = smp::online() & !1;
    request::ask(others, Request::DrainObjects);
    let deadline = timer::ticks() + timer::frequency_hz() * 5;
    while request::outstanding(others, Request::DrainObjects) != 0 {
        assert!(timer::ticks() < deadline, "nobody honours it");
        cpu::yield_now();
    }
    assert!(!request::is_asked(), "nobody asks itself");
}

fn cores_log_at_once_and_nothing_mixes() {
    on_every_core(|| {
        for line in 0..100_u32 {
            kernel::info!("core {=usize}, line {=u32}", cpu::id(), line);
            kernel::println!("text of core {}, line {line}", cpu::id());
        }
    });
}

/// One object of every core, for the next one to free.
static HANDED_OVER: [AtomicPtr<u8>; MAX_CPUS] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_CPUS];

fn churn() {
    let me = cpu::id();
    let stamp = u8::try_from(me).expect("at most eight cores");
    for round in 0..5_000_usize {
        let size = 8 << (round % 10);
        let object = kmalloc(size, Gfp::ATOMIC).expect("memory");
        // SAFETY: `size` bytes were just allocated; the object is then given to whoever swaps it out.
        unsafe { object.write_bytes(stamp, size) };
        let given = HANDED_OVER[me].swap(object.as_ptr(), Ordering::AcqRel);
        let next = &HANDED_OVER[(me + 1) % cores()];
        let taken = next.swap(core::ptr::null_mut(), Ordering::AcqRel);
        for object in [given, taken].into_iter().filter_map(NonNull::new) {
            // SAFETY: at least eight bytes, written by its allocator before it was handed over.
            let bytes = unsafe { object.cast::<[u8; 8]>().read() };
            assert!(
                bytes.iter().all(|&byte| byte == bytes[0]),
                "an object has two owners"
            );
            // SAFETY: swapped out, so it is this core's alone; freed once.
            unsafe { kfree(object) };
        }
    }
}

fn cores_allocate_at_once_and_free_each_other_s_objects() {
    on_every_core(churn);
    for object in HANDED_OVER
        .iter()
        .filter_map(|slot| NonNull::new(slot.swap(core::ptr::null_mut(), Ordering::AcqRel)))
    {
        // SAFETY: the last object of a core, which nobody took.
        unsafe { kfree(object) };
    }
}

fn shrinking_empties_the_lists_of_idle_cores() {
    static CACHE: TypedCache<[u64; 20]> = TypedCache::new("test-idle");
    on_every_core(|| {
        // Dropped at once: the core keeps the objects listed.
        drop([(); 20].map(|()| CACHE.alloc(Gfp::KERNEL, || [1; 20]).expect("memory")));
    });
    let slabs = || {
        let cache = CACHE.handle().expect("it was used");
        cache.statistics().slabs
    };
    assert!(slabs() > 0);
    SLAB.shrink();
    let deadline = timer::ticks() + timer::frequency_hz() * 5;
    while slabs() > 0 {
        assert!(timer::ticks() < deadline, "somebody keeps its objects");
        cpu::yield_now();
    }
    assert_eq!(SLAB.validate(), Ok(()));
}

fn frames_that_an_idle_core_has_listed_are_had_before_memory_runs_out() {
    let global = frames::global().expect("up since boot");
    let order = Order::new(3).expect("an order");
    smp::on(1, || {
        let order = Order::new(3).expect("an order");
        let blocks = [(); 6].map(|()| frames::alloc(order, Gfp::KERNEL).expect("memory"));
        for block in blocks {
            frames::free(block, order).expect("just allocated");
        }
    })
    .expect("boot started it");
    smp::wait(1);
    assert!(global.listed_frames() >= 6 * order.frames());
    let most = (global.managed_frames() / order.frames()) as usize;
    let mut taken: Vec<Pfn> = Vec::with_capacity(most);
    // A request waits a moment for the other cores; where the host runs them late, one of the next has what
    // they gave back.
    let deadline = timer::ticks() + timer::frequency_hz() * 5;
    loop {
        while let Ok(block) = frames::alloc(order, Gfp::KERNEL | Gfp::NOWARN) {
            taken.push(block);
        }
        if global.listed_frames() == 0 {
            break;
        }
        assert!(timer::ticks() < deadline, "left on lists");
    }
    for block in taken {
        frames::free(block, order).expect("allocated above");
    }
}
