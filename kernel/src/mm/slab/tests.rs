//! Slab caches and kmalloc, and a naive allocator beside them, against a map of who owns what.
#![allow(unsafe_code, reason = "frees memory and looks into it")]

mod held;
mod lifecycle;
mod misuse;
mod typed;

use super::*;
use crate::mm::addr::{Order, Pfn, VirtAddr};
use crate::mm::arena::Arena;
use crate::mm::frames::Frames;
use crate::mm::gfp::Gfp;
use crate::mm::kmalloc::{AllocError, ZERO_SIZE};
use crate::mm::size_class::SizeClass;
use crate::mm::zone::ZoneLimits;
use bolero::{
    check,
    generator::{OneOfExt, TypeGenerator, ValueGenerator, produce},
};
use core::{alloc::Layout, cell::RefCell, ptr::NonNull};
use std::{boxed::Box, collections::BTreeMap, vec::Vec};

const FIRST: Pfn = Pfn::new(0x8_0000);

/// Runs `body` on caches over `frames` frames of their own, and checks that no memory was lost.
fn with_slab(frames: u32, body: impl FnOnce(&SlabAllocator<'_>, &Frames<'_>)) {
    let mut arena = Arena::new(FIRST, frames);
    let span = arena.span();
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[span]);
    let slab = Box::new(SlabAllocator::new());
    slab.init(&frames);
    body(&slab, &frames);
    slab.shrink();
    assert_eq!(slab.validate(), Ok(()));
    assert_eq!(
        slab.held_bytes(),
        0,
        "{:?}",
        slab.statistics().collect::<Vec<_>>()
    );
    assert_eq!(frames.free_frames(), frames.managed_frames());
    assert_eq!(frames.validate(), Ok(()));
}

/// What the suite asks of an allocator of bytes.
trait Allocator {
    fn alloc(&self, bytes: usize) -> Option<NonNull<u8>>;
    fn free(&self, memory: NonNull<u8>);
    fn realloc(&self, memory: NonNull<u8>, bytes: usize) -> Option<NonNull<u8>>;
    fn validate(&self);
}

impl Allocator for SlabAllocator<'_> {
    fn alloc(&self, bytes: usize) -> Option<NonNull<u8>> {
        self.kmalloc(bytes, Gfp::KERNEL).ok()
    }
    fn free(&self, memory: NonNull<u8>) {
        // SAFETY: the suite frees what it owns.
        unsafe { self.kfree(memory) }
    }
    fn realloc(&self, memory: NonNull<u8>, bytes: usize) -> Option<NonNull<u8>> {
        // SAFETY: the suite owns it.
        unsafe { self.krealloc(Some(memory), bytes, Gfp::KERNEL).ok() }
    }
    fn validate(&self) {
        assert_eq!(SlabAllocator::validate(self), Ok(()));
    }
}

/// The first gap that fits, aligned to 16: slow, and easily seen to be right.
struct Naive {
    memory: NonNull<u8>,
    bytes: usize,
    used: RefCell<BTreeMap<usize, usize>>,
}

impl Naive {
    fn new(bytes: usize) -> Self {
        let memory = std::vec![0_u128; bytes / 16].into_boxed_slice();
        Self {
            memory: NonNull::from(Box::leak(memory)).cast(),
            bytes,
            used: RefCell::default(),
        }
    }
}

impl Drop for Naive {
    fn drop(&mut self) {
        let words = core::ptr::slice_from_raw_parts_mut(
            self.memory.as_ptr().cast::<u128>(),
            self.bytes / 16,
        );
        // SAFETY: leaked by `new`, and nobody uses it any more.
        drop(unsafe { Box::from_raw(words) });
    }
}

impl Allocator for Naive {
    fn alloc(&self, bytes: usize) -> Option<NonNull<u8>> {
        let (mut used, mut at) = (self.used.borrow_mut(), 0);
        for (start, len) in used.iter() {
            if start - at >= bytes {
                break;
            }
            at = (start + len).next_multiple_of(16);
        }
        let natural = if bytes.is_power_of_two() {
            bytes.min(16)
        } else {
            8
        };
        let fits = at + bytes <= self.bytes && at % natural == 0;
        // SAFETY: inside the leaked memory.
        fits.then(|| unsafe { self.memory.add(at) }).inspect(|_| {
            used.insert(at, bytes);
        })
    }
    fn free(&self, memory: NonNull<u8>) {
        let at = memory.addr().get() - self.memory.addr().get();
        self.used.borrow_mut().remove(&at).unwrap();
    }
    fn realloc(&self, memory: NonNull<u8>, bytes: usize) -> Option<NonNull<u8>> {
        let at = memory.addr().get() - self.memory.addr().get();
        let old = self.used.borrow()[&at];
        let new = self.alloc(bytes)?;
        // SAFETY: both are inside the leaked memory, and do not overlap.
        unsafe { new.copy_from_nonoverlapping(memory, old.min(bytes)) };
        self.free(memory);
        Some(new)
    }
    fn validate(&self) {}
}

#[derive(Clone, Debug, TypeGenerator)]
enum Op {
    Alloc(#[generator(bytes())] usize),
    Free(u16),
    Realloc(u16, #[generator(bytes())] usize),
}

fn bytes() -> impl ValueGenerator<Output = usize> {
    (
        1..600_usize,
        1..600_usize,
        1..9000_usize,
        9000..70_000_usize,
    )
        .one_of()
}

/// What the suite owns: bytes and the stamp that all of them carry.
type Owned = BTreeMap<usize, (usize, u8)>;

fn fill(memory: NonNull<u8>, bytes: usize, stamp: u8) {
    // SAFETY: the suite owns that many bytes.
    unsafe { memory.write_bytes(stamp, bytes) };
}

fn check(memory: NonNull<u8>, bytes: usize, stamp: u8) {
    // SAFETY: the suite owns that many bytes and wrote them.
    let content = unsafe { core::slice::from_raw_parts(memory.as_ptr(), bytes) };
    assert!(content.iter().all(|byte| *byte == stamp), "content changed");
}

fn enter(owned: &mut Owned, memory: NonNull<u8>, bytes: usize, stamp: u8) {
    let at = memory.addr().get();
    assert_eq!(at % 8, 0);
    let below = owned.range(..at + bytes).next_back();
    assert!(
        below.is_none_or(|(start, (len, _))| start + len <= at),
        "overlap"
    );
    fill(memory, bytes, stamp);
    owned.insert(at, (bytes, stamp));
}

fn nth(owned: &Owned, index: u16) -> Option<(NonNull<u8>, usize, u8)> {
    let nth = owned.iter().nth(usize::from(index) % owned.len().max(1));
    nth.map(|(at, (bytes, stamp))| {
        let memory = NonNull::with_exposed_provenance((*at).try_into().unwrap());
        (memory, *bytes, *stamp)
    })
}

fn run(allocator: &impl Allocator, ops: &[Op]) {
    let mut owned = Owned::new();
    for (stamp, op) in (0..=u8::MAX).cycle().zip(ops) {
        match *op {
            Op::Alloc(bytes) => {
                if let Some(memory) = allocator.alloc(bytes) {
                    enter(&mut owned, memory, bytes, stamp);
                }
            }
            Op::Free(index) => {
                if let Some((memory, bytes, stamp)) = nth(&owned, index) {
                    check(memory, bytes, stamp);
                    owned.remove(&memory.addr().get());
                    allocator.free(memory);
                }
            }
            Op::Realloc(index, new_bytes) => {
                if let Some((memory, bytes, old_stamp)) = nth(&owned, index)
                    && let Some(moved) = allocator.realloc(memory, new_bytes)
                {
                    check(moved, bytes.min(new_bytes), old_stamp);
                    owned.remove(&memory.addr().get());
                    enter(&mut owned, moved, new_bytes, stamp);
                }
            }
        }
        allocator.validate();
    }
    for (at, (bytes, stamp)) in owned {
        let memory = NonNull::with_exposed_provenance(at.try_into().unwrap());
        check(memory, bytes, stamp);
        allocator.free(memory);
    }
    allocator.validate();
}

#[test]
fn objects_never_overlap_keep_their_content_and_all_come_back() {
    let ops = produce::<Vec<Op>>().with().len(1..200_usize);
    check!()
        .with_iterations(32)
        .with_generator(ops)
        .for_each(|ops: &Vec<Op>| {
            let naive = Naive::new(1 << 20);
            let _exposed = naive.memory.as_ptr().expose_provenance();
            run(&naive, ops);
            assert!(naive.used.borrow().is_empty());
            with_slab(1024, |slab, _| run(slab, ops));
        });
}

fn kmalloc(slab: &SlabAllocator<'_>, bytes: usize) -> NonNull<u8> {
    slab.kmalloc(bytes, Gfp::KERNEL).unwrap()
}

fn kfree(slab: &SlabAllocator<'_>, memory: NonNull<u8>) {
    // SAFETY: the tests know what they do, rightly or wrongly; the memory is an arena's.
    unsafe { slab.kfree(memory) }
}

#[test]
fn every_size_is_aligned_and_as_large_as_it_says() {
    with_slab(4096, |slab, _| {
        for bytes in (1..8300).chain([10_000, 1 << 16, 4 << 20]) {
            let memory = kmalloc(slab, bytes);
            // SAFETY: it was allocated just now.
            let usable = unsafe { slab.ksize(memory) };
            assert!(usable >= bytes);
            let natural = if bytes.is_power_of_two() { bytes } else { 8 };
            assert_eq!(memory.addr().get() % natural, 0, "{bytes}");
            fill(memory, usable, 0xee);
            kfree(slab, memory);
        }
    });
}

#[test]
fn nothing_and_too_much_are_answered_without_memory() {
    with_slab(1024, |slab, _| {
        assert_eq!(slab.kmalloc(0, Gfp::KERNEL), Ok(ZERO_SIZE));
        // SAFETY: `ZERO_SIZE` may be asked and freed.
        assert_eq!(unsafe { slab.ksize(ZERO_SIZE) }, 0);
        kfree(slab, ZERO_SIZE);
        let bytes = (4 << 20) + 1;
        assert_eq!(
            slab.kmalloc(bytes, Gfp::KERNEL),
            Err(AllocError::TooLarge { bytes })
        );
        let object = kmalloc(slab, 100);
        // SAFETY: the object is ours, and given up.
        let nothing = unsafe { slab.krealloc(Some(object), 0, Gfp::KERNEL) };
        assert_eq!(nothing, Ok(ZERO_SIZE));
    });
    let unready = Box::new(SlabAllocator::new());
    assert_eq!(
        unready.kmalloc(64, Gfp::KERNEL),
        Err(AllocError::NotReady { bytes: 64 })
    );
}

#[test]
fn zeroed_memory_is_zero_however_often_it_was_used() {
    with_slab(1024, |slab, _| {
        for bytes in [1, 16, 100, 4096, 8192, 20_000] {
            for _ in 0..50 {
                let memory = slab.kmalloc(bytes, Gfp::KERNEL | Gfp::ZERO).unwrap();
                check(memory, bytes, 0);
                fill(memory, bytes, 0xff);
                kfree(slab, memory);
            }
        }
    });
}

#[test]
fn every_size_runs_out_with_an_error_and_all_of_it_comes_back() {
    with_slab(1024, |slab, frames| {
        let sizes = SizeClass::all().map(SizeClass::bytes);
        let blocks = Order::all()
            .skip(2)
            .map(|order| usize::try_from(order.bytes()).unwrap());
        for bytes in sizes.chain(blocks) {
            let mut taken = Vec::new();
            let error = loop {
                match slab.kmalloc(bytes, Gfp::ATOMIC | Gfp::NOWARN) {
                    Ok(memory) => taken.push(memory),
                    Err(error) => break error,
                }
            };
            let free_frames = frames.free_frames();
            assert_eq!(error, AllocError::OutOfMemory { bytes, free_frames });
            // At most the last blocks that are too small, and a fifth of each slab, are not used.
            assert!(
                taken.len() * bytes >= (4 << 20) / 5 * 3,
                "{bytes}: {}",
                taken.len()
            );
            for memory in taken {
                kfree(slab, memory);
            }
            slab.shrink();
            assert_eq!(frames.free_frames(), 1024, "{bytes}");
        }
    });
}

#[test]
fn reclaim_takes_what_caches_keep_before_a_request_fails() {
    with_slab(1024, |slab, frames| {
        let objects: Vec<_> = (0..1000).map(|_| kmalloc(slab, 64)).collect();
        for object in objects {
            kfree(slab, object);
        }
        assert!(slab.held_bytes() > 0);
        let mut taken = Vec::new();
        while let Ok(pfn) = frames.alloc(Order::ZERO, Gfp::KERNEL) {
            taken.push(pfn);
        }
        assert!(slab.kmalloc(128, Gfp::ATOMIC).is_err());
        let object = kmalloc(slab, 128);
        kfree(slab, object);
        for pfn in taken {
            frames.free(pfn, Order::ZERO).unwrap();
        }
    });
}

#[test]
fn statistics_tell_what_is_live_and_what_is_held() {
    with_slab(1024, |slab, _| {
        let of_64 = || {
            slab.statistics()
                .find(|cache| cache.name == "kmalloc-64")
                .unwrap()
        };
        let objects: Vec<_> = (0..100).map(|_| kmalloc(slab, 60)).collect();
        let full = of_64();
        assert_eq!((full.live_objects, full.live_bytes()), (100, 6400));
        assert_eq!(
            (full.slabs, full.held_bytes(), full.objects_per_slab),
            (2, 8192, 64)
        );
        for object in objects {
            kfree(slab, object);
        }
        let empty = of_64();
        assert_eq!(empty.live_objects, 0);
        assert!((1..=100).contains(&empty.cached_objects), "{empty:?}");
        assert_eq!((empty.allocations, empty.events.slabs_made), (100, 2));
        assert_eq!(empty.events.peak_slabs, 2);
    });
}

#[test]
fn caches_have_their_own_size_alignment_and_zone() {
    let limits = ZoneLimits {
        dma_end: FIRST.offset(1024),
        dma32_end: FIRST.offset(1024),
    };
    let mut arena = Arena::new(FIRST, 2048);
    let span = arena.span();
    let frames = arena.frames(&limits, &[span]);
    let slab = Box::new(SlabAllocator::new());
    slab.init(&frames);
    let layout = |bytes, align| Layout::from_size_align(bytes, align).unwrap();
    let cache = slab
        .create(&CacheOptions::new("dma-100", layout(100, 64)).zone(Gfp::DMA))
        .unwrap();
    assert_eq!(cache.object_bytes(), 128);
    let object = cache.alloc(Gfp::KERNEL | Gfp::ZERO).unwrap();
    check(object, 128, 0);
    assert_eq!(object.addr().get() % 64, 0);
    let pfn = frames
        .linear()
        .to_phys(VirtAddr::from_ptr(object.as_ptr()))
        .frame();
    assert!(pfn < limits.dma_end);
    // SAFETY: it came from the cache.
    unsafe { cache.free(object) };

    let block = slab.kmalloc(64, Gfp::DMA).unwrap();
    let pfn = frames
        .linear()
        .to_phys(VirtAddr::from_ptr(block.as_ptr()))
        .frame();
    assert!(pfn < limits.dma_end);
    kfree(&slab, block);

    let too_large = layout(8193, 8);
    assert_eq!(
        slab.create(&CacheOptions::new("too-large", too_large))
            .err(),
        Some(CacheError::BadLayout(too_large))
    );
    let more = (0..).map_while(|_| slab.create(&CacheOptions::new("more", layout(8, 8))).ok());
    assert_eq!(more.count() + 2 + crate::mm::size_class::COUNT, MAX_CACHES);
}

#[test]
fn objects_freed_on_another_core_come_back_too() {
    with_slab(1024, |slab, _| {
        let (sender, receiver) = std::sync::mpsc::sync_channel::<usize>(64);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for at in receiver {
                    kfree(
                        slab,
                        NonNull::with_exposed_provenance(at.try_into().unwrap()),
                    );
                }
                slab.shrink();
            });
            for seed in 0..2 {
                let sender = sender.clone();
                scope.spawn(move || {
                    for round in 0..20_000 {
                        let bytes = 16 + (round * 7 + seed) % 500;
                        let memory = kmalloc(slab, bytes);
                        fill(memory, bytes, 0x5a);
                        check(memory, bytes, 0x5a);
                        if round % 3 == 0 {
                            kfree(slab, memory);
                        } else {
                            sender.send(memory.as_ptr().expose_provenance()).unwrap();
                        }
                    }
                    slab.shrink();
                });
            }
            drop(sender);
        });
        let live: u32 = slab.statistics().map(|cache| cache.live_objects).sum();
        assert_eq!(live, 0);
    });
}
