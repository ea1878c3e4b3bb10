//! One lock for all: any allocator behind the kernel's, which masks interrupts while it is held.

use super::{FrameAllocator, ObjectAllocator};
use core::alloc::Layout;
use core::ptr::NonNull;
use kernel::sync::{Rank, SpinLock};

/// An allocator behind the kernel's lock.
pub struct Irq<A>(SpinLock<A>);

/// What stands behind the names.
const SUFFIX: &str = "+irq";

impl<A: ObjectAllocator> ObjectAllocator for Irq<A> {
    const NAME: &'static str = A::NAME;
    const SUFFIX: &'static str = SUFFIX;
    const SEARCHES: bool = A::SEARCHES;
    const IN_ARENA: bool = A::IN_ARENA;
    const EMPTY: Self = Self(SpinLock::new(Rank::App, A::EMPTY));

    unsafe fn add(&mut self, arena: NonNull<[u8]>) {
        // SAFETY: the caller's promise; the allocator stays in the lock, which stays where it is.
        unsafe { self.0.lock().add(arena) }
    }

    #[inline(always)]
    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.0.lock().alloc(layout)
    }

    #[inline(always)]
    unsafe fn dealloc(&mut self, object: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.lock().dealloc(object, layout) }
    }

    #[inline(always)]
    fn alloc_zeroed(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.0.lock().alloc_zeroed(layout)
    }

    #[inline(always)]
    unsafe fn realloc(
        &mut self,
        object: NonNull<u8>,
        layout: Layout,
        bytes: usize,
    ) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise.
        unsafe { self.0.lock().realloc(object, layout, bytes) }
    }
}

impl<A: FrameAllocator> FrameAllocator for Irq<A> {
    const NAME: &'static str = A::NAME;
    const SUFFIX: &'static str = SUFFIX;
    const IN_ARENA: bool = A::IN_ARENA;
    const EMPTY: Self = Self(SpinLock::new(Rank::App, A::EMPTY));
    const FRONT_BYTES: usize = A::FRONT_BYTES;

    unsafe fn add(&mut self, arena: NonNull<[u8]>) {
        // SAFETY: the caller's promise; the allocator stays in the lock, which stays where it is.
        unsafe { self.0.lock().add(arena) }
    }

    #[inline(always)]
    fn alloc(&mut self, order: u32) -> Option<u64> {
        self.0.lock().alloc(order)
    }

    #[inline(always)]
    unsafe fn free(&mut self, block: u64, order: u32) {
        // SAFETY: the caller's promise.
        unsafe { self.0.lock().free(block, order) }
    }

    fn start(block: u64) -> *mut u8 {
        A::start(block)
    }
}
