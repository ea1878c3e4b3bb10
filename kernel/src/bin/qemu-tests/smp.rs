//! Several cores: they start, run what they are given, log without mixing, and share the allocators.
#![allow(unsafe_code, reason = "frees what it allocated, and looks into it")]

use core::{
    ptr::NonNull,
    sync::atomic::{AtomicPtr, AtomicU32, Ordering},
};
use kernel::{
    arch::cpu,
    machine,
    mm::{
        gfp::Gfp,
        kmalloc::{kfree, kmalloc},
    },
    smp::{self, StartError},
    sync::percpu::MAX_CPUS,
};

crate::table::tests! {
    every_core_starts_and_runs_what_it_is_given if one_core,
    a_running_core_is_not_started_again if one_core,
    cores_log_at_once_and_nothing_mixes if one_core,
    cores_allocate_at_once_and_free_each_other_s_objects if one_core,
}

pub(crate) fn one_core() -> Option<&'static str> {
    (cores() < 2).then_some("a second core")
}

fn cores() -> usize {
    machine().board.cpus.len().min(MAX_CPUS)
}

/// Starts every core that does not run yet, gives all of them `work`, and waits for them.
fn on_every_core(work: fn()) {
    for core in 1..cores() {
        match smp::start(core) {
            Ok(()) | Err(StartError::Running(_)) => {}
            Err(error) => panic!("core {core}: {error}"),
        }
    }
    for core in 1..cores() {
        smp::on(core, work).expect("started above");
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
