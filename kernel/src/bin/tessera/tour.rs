//! The tour: each stop uses one part of the system for real, checks what it got, and says so in a line.
#![allow(unsafe_code, reason = "frees what it allocated, and looks into it")]

use crate::devices;
use alloc::{collections::BTreeMap, format, string::String, vec::Vec};
use core::{
    fmt::Display,
    sync::atomic::{AtomicU32, Ordering},
};
use kernel::{
    ExitCode,
    arch::timer,
    boot, interrupt, machine,
    mm::{
        addr::{LinearMap, Order},
        frames,
        gfp::Gfp,
        kmalloc::{kfree, kmalloc, krealloc, ksize},
        slab::Cache,
    },
    println,
    report::{Report, ReportKind, Size},
    user::{
        self, Outcome,
        programs::{self, HELLO_CODE},
    },
    vm::vmalloc::{vfree, vmalloc},
};

/// What a stop has to say, or why it failed.
pub(crate) type Stop = Result<String, String>;

/// A stop and its name.
type Named = (&'static str, fn() -> Stop);

pub(crate) fn app() -> ExitCode {
    layout();
    let stops: [Named; 9] = [
        ("frames", page_frames),
        ("kmalloc", objects),
        ("cache", cache),
        ("alloc", collections),
        ("vmalloc", virtual_areas),
        ("timer", interrupts),
        ("user", programs_run),
        ("dma", devices::dma),
        ("disk", devices::disk),
    ];
    println!("Tour:");
    let failed = stops
        .into_iter()
        .filter(|(name, stop)| !take(name, *stop))
        .count();
    reports();
    costs();
    println!("{} stops, {failed} failed", stops.len());
    ExitCode::from(u32::try_from(failed).unwrap_or(u32::MAX))
}

fn reports() {
    println!();
    for kind in [
        ReportKind::Meminfo,
        ReportKind::Buddyinfo,
        ReportKind::Slabinfo,
        ReportKind::Vmallocinfo,
    ] {
        println!("{}", Report(kind));
    }
}

fn layout() {
    let machine = machine();
    println!(
        "Tessera on {}, entered at EL{}, {} of memory, {} core(s) described\n",
        machine.board.model,
        machine.entry_el,
        Size(machine.memory_bytes),
        machine.board.cpus.len()
    );
    println!(
        "Virtual kernel memory layout:\n{}",
        Report(ReportKind::Layout)
    );
    println!("Physical memory:\n{}", Report(ReportKind::Iomem));
}

fn take(name: &str, stop: fn() -> Stop) -> bool {
    let result = stop();
    match &result {
        Ok(words) => println!("  ok      {name:<8} {words}"),
        Err(why) => println!("  FAILED  {name:<8} {why}"),
    }
    result.is_ok()
}

fn costs() {
    let unit = if kernel::arch::pmu::is_present() {
        "cycles"
    } else {
        "no PMU"
    };
    println!("Boot by phase ({unit}; instructions under icount):");
    for (name, cost) in boot::phases() {
        println!("  {name:<12} {cost:>12}");
    }
}

/// Turns an error of any kind into a reason.
pub(crate) fn because<T, E: Display>(what: &str, result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| format!("{what}: {error}"))
}

fn check(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(String::from(otherwise))
    }
}

fn page_frames() -> Stop {
    let allocator = frames::global().ok_or("no frame allocator")?;
    let before = allocator.free_frames();
    let mut blocks = Vec::new();
    for order in Order::all() {
        let block = because("a block", frames::alloc(order, Gfp::KERNEL | Gfp::ZERO))?;
        let first = LinearMap::kernel()
            .to_virt(block.address())
            .as_mut_ptr::<u64>();
        // SAFETY: the block is ours, and the linear map covers it.
        check(unsafe { first.read() } == 0, "a zeroed block is not zero")?;
        blocks.push((block, order));
    }
    let during = allocator.free_frames();
    for (block, order) in blocks {
        because("giving a block back", frames::free(block, order))?;
    }
    check(before - during >= 2047, "the blocks were not taken")?;
    Ok(format!(
        "orders 0 to 10 taken, zeroed and given back, {before} frames free"
    ))
}

fn objects() -> Stop {
    let mut largest = 0;
    for shift in 3..=22 {
        let bytes: usize = 1 << shift;
        let object = because("kmalloc", kmalloc(bytes, Gfp::KERNEL))?;
        // SAFETY: allocated just now, that long.
        unsafe { object.write_bytes(0x5a, bytes) };
        // SAFETY: live.
        largest = unsafe { ksize(object) };
        // SAFETY: live, and given up for what is returned.
        let object = unsafe { krealloc(Some(object), bytes / 2 + 1, Gfp::KERNEL) };
        let object = because("krealloc", object)?;
        // SAFETY: inside the object.
        let last = unsafe { object.add(bytes / 2) };
        // SAFETY: written before it was reallocated.
        let kept = unsafe { last.read() } == 0x5a;
        // SAFETY: live, freed once.
        unsafe { kfree(object) };
        check(kept, "krealloc lost the contents")?;
    }
    Ok(format!(
        "8 B to {} KiB, each reallocated, contents kept",
        largest >> 10
    ))
}

static TOUR_CACHE: Cache = Cache::new("tour-200", 200, 8);

fn cache() -> Stop {
    let mut taken = Vec::new();
    for _ in 0..100 {
        taken.push(because("an object", TOUR_CACHE.alloc(Gfp::KERNEL))?);
    }
    let distinct = taken
        .iter()
        .collect::<alloc::collections::BTreeSet<_>>()
        .len();
    for object in taken {
        // SAFETY: came from this cache, freed once.
        unsafe { TOUR_CACHE.free(object) };
    }
    check(distinct == 100, "an object was handed out twice")?;
    Ok(String::from(
        "100 objects of 200 bytes, all different, given back",
    ))
}

fn collections() -> Stop {
    let words: BTreeMap<usize, String> =
        (0..500).map(|key| (key, format!("value {key}"))).collect();
    let bytes: usize = words.values().map(String::len).sum();
    check(
        bytes == 4_390 && words[&77] == "value 77",
        "a collection lost something",
    )?;
    Ok(format!(
        "a BTreeMap of {} strings, {bytes} bytes",
        words.len()
    ))
}

fn virtual_areas() -> Stop {
    let length = 1 << 20;
    let area = because("vmalloc", vmalloc(length as u64))?;
    // SAFETY: the area is ours, and that long.
    let bytes = unsafe { core::slice::from_raw_parts_mut(area.as_ptr(), length) };
    bytes
        .iter_mut()
        .zip((0_u8..=250).cycle())
        .for_each(|(byte, value)| *byte = value);
    let kept = bytes
        .iter()
        .zip((0_u8..=250).cycle())
        .all(|(&byte, value)| byte == value);
    // SAFETY: allocated above, freed once.
    because("vfree", unsafe { vfree(area) })?;
    check(kept, "the area lost its contents")?;
    Ok(format!("1 MiB of scattered frames at {area:p}"))
}

static SHOTS: AtomicU32 = AtomicU32::new(0);

fn shot() {
    if SHOTS.fetch_add(1, Ordering::Relaxed) < 2 {
        timer::arm(timer::ticks() + timer::frequency_hz() / 1000);
    }
}

fn interrupts() -> Stop {
    check(
        interrupt::on_timer(shot),
        "the controller has no timer interrupt",
    )?;
    timer::arm(timer::ticks() + timer::frequency_hz() / 1000);
    let deadline = timer::ticks() + timer::frequency_hz() * 5;
    while SHOTS.load(Ordering::Relaxed) < 3 && timer::ticks() < deadline {
        kernel::arch::cpu::yield_now();
    }
    check(
        SHOTS.load(Ordering::Relaxed) == 3,
        "no interrupt within five seconds",
    )?;
    let khz = timer::frequency_hz() / 1000;
    Ok(format!(
        "3 interrupts a millisecond apart, timer at {khz} kHz"
    ))
}

fn programs_run() -> Stop {
    let hello = because("hello", user::run(&programs::hello()))?;
    check(
        hello == Outcome::Exited(HELLO_CODE),
        &format!("hello {hello}"),
    )?;
    let probe = because("probe", user::run(&programs::probe()))?;
    check(
        matches!(probe, Outcome::Killed(_)),
        &format!("probe {probe}"),
    )?;
    Ok(format!("hello {hello}; probe {probe}"))
}
