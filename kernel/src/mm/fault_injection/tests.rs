//! Every frame allocation of a script fails once, in every way, and nothing is lost.
#![allow(unsafe_code, reason = "frees what the script allocated")]

use crate::mm::addr::{Order, Pfn};
use crate::mm::arena::Arena;
use crate::mm::frames::Frames;
use crate::mm::gfp::Gfp;
use crate::mm::heap::Heap;
use crate::mm::slab::{CacheHandle, CacheOptions, SlabAllocator};
use crate::mm::zone::ZoneLimits;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use std::{boxed::Box, vec::Vec};

const FRAMES: u32 = 2048;

/// What the script holds.
enum Held {
    Kmalloc(NonNull<u8>),
    Heap(NonNull<u8>, Layout),
    Object(NonNull<u8>),
    Block(Pfn, Order),
    Range(Pfn, u32),
}

struct Script<'s, 'f> {
    frames: &'s Frames<'f>,
    slab: &'s SlabAllocator<'f>,
    cache: CacheHandle<'s, 'f>,
    held: Vec<Held>,
}

impl Script<'_, '_> {
    /// Objects of every class and beyond, some of them moved.
    fn objects(&mut self) {
        for bytes in (0..60).map(|step| 16 + step * 370) {
            for gfp in [Gfp::ATOMIC, Gfp::KERNEL | Gfp::ZERO] {
                let memory = self.slab.kmalloc(bytes, gfp);
                self.held.extend(memory.map(Held::Kmalloc));
            }
            if let Some(Held::Kmalloc(memory)) = self.held.pop_if(is_kmalloc) {
                // SAFETY: the script's; replaced by what comes back, or kept.
                let moved = unsafe { self.slab.krealloc(Some(memory), bytes * 2, Gfp::KERNEL) };
                self.held.push(Held::Kmalloc(moved.unwrap_or(memory)));
            }
        }
    }

    fn heap(&mut self) {
        let heap = Heap::new(self.slab);
        for (bytes, align) in [
            (24, 8),
            (100, 64),
            (5000, 4096),
            (9000, 8),
            (60_000, 16_384),
        ] {
            let layout = Layout::from_size_align(bytes, align).unwrap();
            let larger = Layout::from_size_align(2 * bytes, align).unwrap();
            for _ in 0..3 {
                // SAFETY: the layout has a size.
                let Some(memory) = NonNull::new(unsafe { heap.alloc_zeroed(layout) }) else {
                    continue;
                };
                // SAFETY: allocated just now with this layout.
                let moved = unsafe { heap.realloc(memory.as_ptr(), layout, larger.size()) };
                self.held.push(match NonNull::new(moved) {
                    Some(moved) => Held::Heap(moved, larger),
                    None => Held::Heap(memory, layout),
                });
            }
        }
    }

    fn cache(&mut self) {
        for _ in 0..200 {
            self.held
                .extend(self.cache.alloc(Gfp::KERNEL).map(Held::Object));
        }
        let mut objects = [NonNull::dangling(); 100];
        if self.cache.alloc_bulk(Gfp::KERNEL, &mut objects).is_ok() {
            self.held.extend(objects.map(Held::Object));
        }
    }

    fn blocks(&mut self) {
        for order in Order::all() {
            for gfp in [
                Gfp::KERNEL | Gfp::ZERO,
                Gfp::ATOMIC | Gfp::MOVABLE,
                Gfp::DMA32,
            ] {
                let block = self.frames.alloc(order, gfp);
                self.held.extend(block.map(|pfn| Held::Block(pfn, order)));
            }
        }
        let order = Order::new(5).unwrap();
        if let Ok(block) = self.frames.alloc(order, Gfp::KERNEL) {
            self.frames.split_page(block, order).unwrap();
            let frame = |at| Held::Block(block.offset(at), Order::ZERO);
            self.held.extend((0..order.frames()).map(frame));
        }
        if let Ok(range) = self.frames.alloc_contig(700, 1, Gfp::KERNEL) {
            self.held.push(Held::Range(range, 700));
        }
    }

    /// Frees every second block first, then the others.
    fn free_all(&mut self) {
        let held = core::mem::take(&mut self.held);
        let (even, odd): (Vec<_>, Vec<_>) = held
            .into_iter()
            .enumerate()
            .partition(|(at, _)| at % 2 == 0);
        for (_, block) in even.into_iter().chain(odd) {
            match block {
                // SAFETY: each was allocated so, and is freed once; here and below.
                Held::Kmalloc(memory) => unsafe { self.slab.kfree(memory) },
                // SAFETY: as above.
                Held::Heap(memory, layout) => unsafe {
                    Heap::new(self.slab).dealloc(memory.as_ptr(), layout);
                },
                // SAFETY: as above.
                Held::Object(object) => unsafe { self.cache.free(object) },
                Held::Block(pfn, order) => self.frames.free(pfn, order).unwrap(),
                Held::Range(first, frames) => {
                    self.frames
                        .free_contig(first..first.offset(frames))
                        .unwrap();
                }
            }
        }
    }
}

fn is_kmalloc(held: &mut Held) -> bool {
    matches!(held, Held::Kmalloc(_))
}

/// Runs the script with `choose` having its say about which requests fail; returns how many did.
fn run(choose: impl FnOnce(&Frames<'_>)) -> u64 {
    let mut arena = Arena::new(Pfn::new(0x8_0000), FRAMES);
    let span = arena.span();
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[span]);
    let slab = Box::new(SlabAllocator::new());
    slab.init(&frames);
    let layout = Layout::from_size_align(300, 64).unwrap();
    let cache = slab.create(&CacheOptions::new("script", layout)).unwrap();
    let mut script = Script {
        frames: &frames,
        slab: &slab,
        cache,
        held: Vec::new(),
    };
    choose(&frames);
    script.objects();
    script.heap();
    script.cache();
    script.blocks();
    let struck = frames.faults().stop();
    assert_eq!((slab.validate(), frames.validate()), (Ok(()), Ok(())));
    script.free_all();
    slab.shrink();
    frames.drain_lists();
    assert_eq!((slab.validate(), frames.validate()), (Ok(()), Ok(())));
    assert_eq!(slab.held_bytes(), 0);
    assert_eq!(frames.free_frames(), frames.managed_frames());
    struck
}

/// Walks until no request is left to fail; returns how many there are.
fn walk(fail: impl Fn(&Frames<'_>, u64)) -> u64 {
    (0..)
        .find(|&requests| run(|frames| fail(frames, requests)) == 0)
        .unwrap()
}

#[test]
fn any_frame_allocation_and_all_after_it_may_fail() {
    let requests = walk(|frames, requests| frames.faults().fail_after(requests));
    assert!(requests > 200, "{requests}");
}

#[test]
fn any_one_frame_allocation_may_fail() {
    let requests = walk(|frames, requests| frames.faults().fail_one_after(requests));
    assert!(requests > 200, "{requests}");
}
