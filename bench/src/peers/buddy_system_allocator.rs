//! `buddy_system_allocator`'s heap, for objects and for page frames, and its allocator of page frames,
//! each with its lock and without.

use super::global::Shipped;
use super::{FRAME_LOG2, FrameAllocator, ObjectAllocator};
use ::buddy_system_allocator::{FrameAllocator as Buddies, Heap, LockedFrameAllocator, LockedHeap};
use core::alloc::Layout;
use core::ptr::NonNull;

/// Orders of the heap, as in the crate's examples.
const ORDERS: usize = 32;

/// Powers of two.
pub(super) struct Buddy(Heap<ORDERS>);

impl ObjectAllocator for Buddy {
    const NAME: &'static str = "buddy_system_allocator";
    const EMPTY: Self = Self(Heap::new());

    unsafe fn add(&mut self, arena: NonNull<[u8]>) {
        let start = arena.as_ptr().cast::<u8>().expose_provenance();
        // SAFETY: the caller's promise.
        unsafe { self.0.init(start, arena.len()) }
    }

    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.0.alloc(layout).ok()
    }

    #[inline(always)]
    unsafe fn dealloc(&mut self, object: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.dealloc(object, layout) }
    }
}

/// The same behind the crate's spin lock.
pub(super) struct Locked;

impl Shipped for Locked {
    type Heap = LockedHeap<ORDERS>;
    const NAME: &'static str = "buddy_system_allocator";
    const EMPTY: Self::Heap = LockedHeap::new();

    unsafe fn add(heap: &mut Self::Heap, arena: NonNull<[u8]>) {
        let start = arena.as_ptr().cast::<u8>().expose_provenance();
        // SAFETY: the caller's promise.
        unsafe { heap.lock().init(start, arena.len()) }
    }
}

/// The layout of 2^`order` frames.
///
/// # Safety
///
/// It is an order of the line-up, 0 to 10.
#[inline(always)]
unsafe fn block(order: u32) -> Layout {
    let bytes = 1 << (FRAME_LOG2 + order);
    // SAFETY: a power of two is an alignment, and this one is far below the limit.
    unsafe { Layout::from_size_align_unchecked(bytes, bytes) }
}

#[inline(always)]
fn object(block: u64) -> NonNull<u8> {
    // SAFETY: blocks are never 0.
    unsafe { NonNull::new_unchecked(<Buddy as FrameAllocator>::start(block)) }
}

#[inline(always)]
fn name(object: NonNull<u8>) -> u64 {
    object.as_ptr().expose_provenance() as u64
}

impl FrameAllocator for Buddy {
    const NAME: &'static str = <Self as ObjectAllocator>::NAME;
    const EMPTY: Self = <Self as ObjectAllocator>::EMPTY;

    unsafe fn add(&mut self, arena: NonNull<[u8]>) {
        // SAFETY: the caller's promise.
        unsafe { ObjectAllocator::add(self, arena) }
    }

    #[inline(always)]
    fn alloc(&mut self, order: u32) -> Option<u64> {
        // SAFETY: the line-up asks for orders only.
        let layout = unsafe { block(order) };
        self.0.alloc(layout).ok().map(name)
    }

    #[inline(always)]
    unsafe fn free(&mut self, first: u64, order: u32) {
        // SAFETY: as above.
        let layout = unsafe { block(order) };
        // SAFETY: the caller's promise.
        unsafe { self.0.dealloc(object(first), layout) }
    }
}

/// The heap behind the crate's spin lock, for page frames.
pub(super) struct LockedPages(LockedHeap<ORDERS>);

impl FrameAllocator for LockedPages {
    const NAME: &'static str = <Buddy as FrameAllocator>::NAME;
    const EMPTY: Self = Self(Locked::EMPTY);

    unsafe fn add(&mut self, arena: NonNull<[u8]>) {
        // SAFETY: the caller's promise.
        unsafe { Locked::add(&mut self.0, arena) }
    }

    #[inline(always)]
    fn alloc(&mut self, order: u32) -> Option<u64> {
        // SAFETY: the line-up asks for orders only.
        let layout = unsafe { block(order) };
        self.0.lock().alloc(layout).ok().map(name)
    }

    #[inline(always)]
    unsafe fn free(&mut self, first: u64, order: u32) {
        // SAFETY: as above.
        let layout = unsafe { block(order) };
        // SAFETY: the caller's promise.
        unsafe { self.0.lock().dealloc(object(first), layout) }
    }
}

/// Ordered sets of frame numbers, whose nodes come from the kernel's heap.
pub(super) struct Frames(Buddies);

/// The same behind the crate's spin lock.
pub(super) struct LockedFrames(LockedFrameAllocator);

macro_rules! frames {
    ($allocator:ty, $empty:expr, |$this:ident| $buddies:expr) => {
        impl FrameAllocator for $allocator {
            const NAME: &'static str = "buddy_system_allocator-frames";
            const EMPTY: Self = Self($empty);

            unsafe fn add(&mut self, arena: NonNull<[u8]>) {
                let first = arena.as_ptr().cast::<u8>().expose_provenance() >> FRAME_LOG2;
                let $this = self;
                $buddies.add_frame(first, first + (arena.len() >> FRAME_LOG2));
            }

            #[inline(always)]
            fn alloc(&mut self, order: u32) -> Option<u64> {
                let $this = self;
                $buddies.alloc(1 << order).map(|first| first as u64)
            }

            #[inline(always)]
            unsafe fn free(&mut self, block: u64, order: u32) {
                let $this = self;
                #[expect(clippy::cast_possible_truncation, reason = "it came from an address")]
                $buddies.dealloc(block as usize, 1 << order);
            }

            fn start(block: u64) -> *mut u8 {
                <Buddy as FrameAllocator>::start(block << FRAME_LOG2)
            }
        }
    };
}
frames!(Frames, Buddies::new(), |this| this.0);
frames!(LockedFrames, LockedFrameAllocator::new(), |this| this
    .0
    .lock());
