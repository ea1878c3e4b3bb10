//! What is measured: allocators of 64-byte objects, and allocators of single page frames.
#![allow(
    unsafe_code,
    reason = "calls GlobalAlloc, as the compiler does for a program"
)]

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

/// Allocates and frees blocks of one size, on any thread.
pub(crate) trait Subject: Sync {
    /// What names a block.
    type Block: Copy + Send;
    /// Allocates one.
    fn alloc(&self) -> Self::Block;
    /// Frees one that was allocated and is live.
    fn free(&self, block: Self::Block);
}

/// What is done with each subject.
pub(crate) trait Visitor {
    /// Does it.
    fn visit<S: Subject>(&mut self, allocator: &'static str, subject: &S);
}

/// Shows `visitor` every allocator of objects.
pub(crate) fn objects(visitor: &mut impl Visitor) {
    visitor.visit("tessera", &Objects(tessera().1));
    #[cfg(feature = "peers")]
    {
        visitor.visit("mimalloc", &Objects(&mimalloc::MiMalloc));
        visitor.visit("snmalloc", &Objects(&snmalloc_rs::SnMalloc));
        visitor.visit("jemalloc", &Objects(&tikv_jemallocator::Jemalloc));
    }
    visitor.visit("system", &Objects(&System));
}

/// Shows `visitor` every allocator of page frames.
pub(crate) fn frames(visitor: &mut impl Visitor) {
    visitor.visit("tessera", tessera().0);
    #[cfg(feature = "peers")]
    visitor.visit("buddy_system_allocator+lock", locked_buddy::get());
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

/// Objects of 64 bytes, the layout a constant as in most programs.
struct Objects<'a, G>(&'a G);

const LAYOUT: Layout = Layout::new::<[u64; 8]>();

impl<G: GlobalAlloc + Sync> Subject for Objects<'_, G> {
    type Block = usize;

    #[inline]
    fn alloc(&self) -> usize {
        // SAFETY: the layout's size is not 0.
        let object = unsafe { self.0.alloc(LAYOUT) };
        assert!(!object.is_null(), "out of memory");
        object.expose_provenance()
    }

    #[inline]
    fn free(&self, object: usize) {
        // SAFETY: workloads free each object once, and all have the one layout.
        unsafe {
            self.0
                .dealloc(std::ptr::with_exposed_provenance_mut(object), LAYOUT);
        }
    }
}

impl Subject for Frames<'_> {
    type Block = Pfn;

    #[inline]
    fn alloc(&self) -> Pfn {
        Frames::alloc(self, Order::ZERO, Gfp::KERNEL).expect("most frames are free")
    }

    #[inline]
    fn free(&self, frame: Pfn) {
        Frames::free(self, frame, Order::ZERO).expect("workloads free what they allocated");
    }
}

#[cfg(feature = "peers")]
mod locked_buddy {
    //! `buddy_system_allocator`'s frames behind a lock.

    use super::{FIRST, FRAMES, Subject};
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

    impl Subject for Locked {
        type Block = usize;

        fn alloc(&self) -> usize {
            let mut frames = self.0.lock().expect("no thread has panicked");
            frames.alloc(1).expect("most frames are free")
        }

        fn free(&self, frame: usize) {
            let mut frames = self.0.lock().expect("no thread has panicked");
            frames.dealloc(frame, 1);
        }
    }
}
