//! `buddy-slab-allocator`: slabs of a core over buddies, each behind the crate's lock.
//!
//! The crate asks its integrator for the slabs of the cores, for the lock word, and for physical
//! addresses. There is one core here, and the lock is the plainest: a test and set.

use super::global::Shipped;
use super::{FRAME_LOG2, FRAMES_BYTES, FrameAllocator};
use ::buddy_slab_allocator::interface::BuddySlabIf;
use ::buddy_slab_allocator::slab::PerCpuSlab;
use ::buddy_slab_allocator::{BuddyAllocator, GlobalAllocator, SlabPoolTrait, SlabTrait};
use ax_sync::interface::{AcquireResult, ContextState, LockMetadata, SpinOps};
use core::panic::Location;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};

/// Slabs for what has at most 2,048 bytes, buddies for the rest.
pub(super) struct BuddySlab;

impl Shipped for BuddySlab {
    type Heap = GlobalAllocator;
    const NAME: &'static str = "buddy-slab-allocator";
    const EMPTY: Self::Heap = GlobalAllocator::new();

    unsafe fn add(heap: &mut Self::Heap, mut arena: NonNull<[u8]>) {
        SLAB.reset();
        // SAFETY: the arena is the allocator's alone, by the caller's promise.
        let arena = unsafe { arena.as_mut() };
        // SAFETY: as above.
        let added = unsafe { heap.init(arena) };
        assert!(
            added.is_ok(),
            "one such allocator lives at a time: {added:?}"
        );
    }
}

/// The slabs of the one core.
static SLAB: PerCpuSlab = PerCpuSlab::new(0);

struct OneCore;

static ONE_CORE: OneCore = OneCore;

impl SlabPoolTrait for OneCore {
    fn current_slab(&self) -> &dyn SlabTrait {
        &SLAB
    }

    fn owner_slab(&self, _: usize) -> &dyn SlabTrait {
        &SLAB
    }
}

#[ax_crate_interface::impl_interface]
impl BuddySlabIf for OneCore {
    fn virt_to_phys(vaddr: usize) -> usize {
        vaddr
    }

    fn slab_pool() -> &'static dyn SlabPoolTrait {
        &ONE_CORE
    }
}

/// The lock.
struct TestAndSet;

#[ax_crate_interface::impl_interface]
impl SpinOps for TestAndSet {
    fn acquire(
        locked: &AtomicBool,
        _metadata: &LockMetadata,
        _lock_addr: usize,
        _context: u8,
        _subclass: u32,
        _caller: &'static Location<'static>,
    ) -> ContextState {
        while locked.swap(true, Ordering::Acquire) {
            core::hint::spin_loop();
        }
        ContextState::new(0, 0)
    }

    fn try_acquire(
        locked: &AtomicBool,
        _metadata: &LockMetadata,
        _lock_addr: usize,
        _context: u8,
        _subclass: u32,
        _caller: &'static Location<'static>,
    ) -> AcquireResult {
        let acquired = !locked.swap(true, Ordering::Acquire);
        AcquireResult::new(acquired, ContextState::new(0, 0))
    }

    fn release(locked: &AtomicBool, _lock_addr: usize, _context: u8, _state: ContextState) {
        locked.store(false, Ordering::Release);
    }

    fn force_release(locked: &AtomicBool, _lock_addr: usize, _context: u8) {
        locked.store(false, Ordering::Release);
    }

    fn is_locked(locked: &AtomicBool) -> bool {
        locked.load(Ordering::Relaxed)
    }
}

/// The buddies alone, without a lock.
pub(super) struct Pages(BuddyAllocator);

impl FrameAllocator for Pages {
    const NAME: &'static str = "buddy-slab-allocator-pages";
    const EMPTY: Self = Self(BuddyAllocator::new());
    // Records of all frames, and a page for what heads them.
    const FRONT_BYTES: usize = {
        let records = BuddyAllocator::<PAGE_BYTES>::required_meta_size(FRAMES_BYTES);
        records.next_multiple_of(PAGE_BYTES) + PAGE_BYTES
    };

    unsafe fn add(&mut self, arena: NonNull<[u8]>) {
        // SAFETY: the caller's promise: this much in front of the arena is the allocator's.
        let front = unsafe { arena.cast::<u8>().sub(Self::FRONT_BYTES) };
        let mut region = NonNull::slice_from_raw_parts(front, Self::FRONT_BYTES + arena.len());
        // SAFETY: as above, and so is the arena.
        let region = unsafe { region.as_mut() };
        // SAFETY: as above.
        let added = unsafe { self.0.init(region) };
        assert!(added.is_ok(), "{added:?}");
        assert!(
            self.0.total_pages() == FRAMES_BYTES >> FRAME_LOG2,
            "all frames are managed"
        );
    }

    #[inline(always)]
    fn alloc(&mut self, order: u32) -> Option<u64> {
        let address = self.0.alloc_pages(1 << order, PAGE_BYTES << order);
        address.ok().map(|address| address as u64)
    }

    #[inline(always)]
    unsafe fn free(&mut self, block: u64, order: u32) {
        #[expect(clippy::cast_possible_truncation, reason = "it came from an address")]
        self.0.dealloc_pages(block as usize, 1 << order);
    }
}

const PAGE_BYTES: usize = 1 << FRAME_LOG2;
