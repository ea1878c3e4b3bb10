//! What is measured: allocators of objects, and allocators of page frames.
#![allow(
    unsafe_code,
    reason = "calls GlobalAlloc, as the compiler does for a program"
)]

use crate::workloads::Workload;
use bench::generator::{Draws, Orders, XorshiftStar};
use kernel::mm::addr::{Order, Pfn};
use kernel::mm::arena::Arena;
use kernel::mm::frames::Frames;
use kernel::mm::gfp::Gfp;
use kernel::mm::heap::Heap;
use kernel::mm::slab::SlabAllocator;
use kernel::mm::zone::ZoneLimits;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::OnceLock;

/// Page frames of the kernel's arena, and of the peers': 256 MiB.
const FRAMES: u32 = 1 << 16;
/// The first one's number: a block of the largest order starts there.
const FIRST: Pfn = Pfn::new(1 << 18);

/// Allocates and frees blocks, on any thread. A block is an address, or the number of a page frame.
pub(crate) trait Subject: Sync {
    /// Allocates one of the usual size: 64 bytes, or a page frame.
    fn alloc(&self) -> u64;
    /// Frees one that [`alloc`](Self::alloc) returned and that is live.
    fn free(&self, block: u64);
    /// Allocates `amount`: bytes or, for page frames, the order.
    fn alloc_of(&self, amount: u32) -> u64;
    /// Frees one that [`alloc_of`](Self::alloc_of) returned for `amount` and that is live.
    fn free_of(&self, block: u64, amount: u32);
    /// What a mixed workload draws its amounts with: sizes, or orders.
    fn draws(random: XorshiftStar) -> impl Draws;
}

/// An allocator, and how long a pair takes it with a workload and so many threads, in nanoseconds.
pub(crate) struct Allocator {
    pub(crate) name: &'static str,
    pub(crate) measure: Box<dyn Fn(Workload, usize) -> f64>,
}

impl Allocator {
    fn new(name: &'static str, subject: impl Subject + 'static) -> Self {
        Self {
            name,
            measure: Box::new(move |workload, threads| workload.nanoseconds(threads, &subject)),
        }
    }
}

/// Every allocator of objects.
pub(crate) fn objects() -> Vec<Allocator> {
    vec![
        Allocator::new("tessera", Objects(tessera().1)),
        #[cfg(feature = "peers")]
        Allocator::new("mimalloc", Objects(&mimalloc::MiMalloc)),
        #[cfg(feature = "peers")]
        Allocator::new("snmalloc", Objects(&snmalloc_rs::SnMalloc)),
        #[cfg(feature = "peers")]
        Allocator::new("jemalloc", Objects(&tikv_jemallocator::Jemalloc)),
        Allocator::new("system", Objects(&System)),
    ]
}

/// Every allocator of page frames.
pub(crate) fn frames() -> Vec<Allocator> {
    vec![
        Allocator::new("tessera", tessera().0),
        #[cfg(feature = "peers")]
        Allocator::new("buddy_system_allocator+lock", locked_buddy::get()),
    ]
}

/// The kernel's frames and heap, on memory of their own.
fn tessera() -> (&'static Frames<'static>, &'static Heap<'static, 'static>) {
    static TESSERA: OnceLock<(&Frames<'_>, Heap<'_, '_>)> = OnceLock::new();
    let (frames, heap) = TESSERA.get_or_init(|| {
        let arena = Box::leak(Box::new(Arena::new(FIRST, FRAMES)));
        let limits = ZoneLimits {
            dma_end: Pfn::new(0),
            dma32_end: Pfn::new(1 << 20),
        };
        let span = arena.span();
        let frames: &Frames<'_> = Box::leak(Box::new(arena.frames(&limits, &[span])));
        let slab: &SlabAllocator<'_> = Box::leak(Box::new(SlabAllocator::new()));
        slab.init(frames);
        (frames, Heap::new(slab))
    });
    (frames, heap)
}

/// Objects, those of 64 bytes with a layout that is a constant as in most programs.
struct Objects<'a, G>(&'a G);

const LAYOUT: Layout = Layout::new::<[u64; 8]>();
/// Alignment of objects of other sizes, in bytes.
const ALIGN: usize = 8;

impl<G: GlobalAlloc> Objects<'_, G> {
    #[inline]
    fn take(&self, layout: Layout) -> u64 {
        // SAFETY: the layout's size is not 0: a constant, or what a generator of sizes from 16 draws.
        let object = unsafe { self.0.alloc(layout) };
        assert!(!object.is_null(), "out of memory");
        object.expose_provenance() as u64
    }

    #[inline]
    fn give(&self, object: u64, layout: Layout) {
        let object = std::ptr::with_exposed_provenance_mut(address(object));
        // SAFETY: workloads free each object once, with the layout that it was allocated with.
        unsafe { self.0.dealloc(object, layout) };
    }
}

/// What was made of a `usize`.
fn address(block: u64) -> usize {
    usize::try_from(block).expect("made of a usize")
}

fn layout(bytes: u32) -> Layout {
    Layout::from_size_align(bytes as usize, ALIGN).expect("a size of a few KiB")
}

impl<G: GlobalAlloc + Sync> Subject for Objects<'_, G> {
    #[inline]
    fn alloc(&self) -> u64 {
        self.take(LAYOUT)
    }

    #[inline]
    fn free(&self, object: u64) {
        self.give(object, LAYOUT);
    }

    #[inline]
    fn alloc_of(&self, bytes: u32) -> u64 {
        self.take(layout(bytes))
    }

    #[inline]
    fn free_of(&self, object: u64, bytes: u32) {
        self.give(object, layout(bytes));
    }

    fn draws(random: XorshiftStar) -> impl Draws {
        random
    }
}

/// The largest order of a mixed workload.
const LARGEST_ORDER: u32 = 3;

fn order_of(order: u32) -> Order {
    let order = u8::try_from(order).ok().and_then(Order::new);
    order.expect("LARGEST_ORDER at most")
}

impl Subject for &Frames<'_> {
    #[inline]
    fn alloc(&self) -> u64 {
        self.alloc_of(0)
    }

    #[inline]
    fn free(&self, frame: u64) {
        self.free_of(frame, 0);
    }

    #[inline]
    fn alloc_of(&self, order: u32) -> u64 {
        let frame = Frames::alloc(self, order_of(order), Gfp::KERNEL);
        frame.expect("most frames are free").get().into()
    }

    #[inline]
    fn free_of(&self, frame: u64, order: u32) {
        let frame = Pfn::new(u32::try_from(frame).expect("made of a frame's number"));
        Frames::free(self, frame, order_of(order)).expect("workloads free what they allocated");
    }

    fn draws(random: XorshiftStar) -> impl Draws {
        Orders(random, LARGEST_ORDER)
    }
}

#[cfg(feature = "peers")]
mod locked_buddy {
    //! `buddy_system_allocator`'s frames behind a lock.

    use super::{FIRST, FRAMES, LARGEST_ORDER, Subject, address};
    use bench::generator::{Draws, Orders, XorshiftStar};
    use buddy_system_allocator::FrameAllocator;
    use std::sync::{Mutex, OnceLock};

    pub(super) struct Locked(Mutex<FrameAllocator>);

    pub(super) fn get() -> &'static Locked {
        static LOCKED: OnceLock<Locked> = OnceLock::new();
        LOCKED.get_or_init(|| {
            let mut frames = FrameAllocator::new();
            let first = FIRST.get() as usize;
            frames.add_frame(first, first + FRAMES as usize);
            Locked(Mutex::new(frames))
        })
    }

    impl Subject for &Locked {
        fn alloc(&self) -> u64 {
            self.alloc_of(0)
        }

        fn free(&self, frame: u64) {
            self.free_of(frame, 0);
        }

        fn alloc_of(&self, order: u32) -> u64 {
            let mut frames = self.0.lock().expect("no thread has panicked");
            frames.alloc(1 << order).expect("most frames are free") as u64
        }

        fn free_of(&self, frame: u64, order: u32) {
            let mut frames = self.0.lock().expect("no thread has panicked");
            frames.dealloc(address(frame), 1 << order);
        }

        fn draws(random: XorshiftStar) -> impl Draws {
            Orders(random, LARGEST_ORDER)
        }
    }
}
