//! Caches as their users hold them.
#![allow(
    unsafe_code,
    reason = "takes objects back from callers, who promise that they are theirs"
)]

use super::cache::{Misuse, MisuseKind, SlabAllocator, die};
use super::geometry::Geometry;
use super::registry::Description;
use super::slabs::CacheEvents;
use crate::mm::addr::{Order, VirtAddr};
use crate::mm::call_sites::{self, Call};
use crate::mm::frame::CacheId;
use crate::mm::frames::Frames;
use crate::mm::gfp::Gfp;
use crate::mm::kmalloc::AllocError;
use crate::mm::magazine::Block;
use crate::sync::{Rank, SpinLock};
use core::{
    alloc::Layout,
    ptr::NonNull,
    sync::atomic::{
        AtomicU8,
        Ordering::{Acquire, Release},
    },
};

/// A cache's figures at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheStatistics {
    /// Its name.
    pub name: &'static str,
    /// Bytes from one object to the next.
    pub object_bytes: u16,
    /// Objects that callers have.
    pub live_objects: u32,
    /// Objects in magazines and in the depot, ready to be handed out.
    pub cached_objects: u32,
    /// Objects that a slab holds.
    pub objects_per_slab: u16,
    /// Size of a slab.
    pub slab_order: Order,
    /// Slabs.
    pub slabs: u32,
    /// Objects that move between a magazine and the slabs at once.
    pub batch: u16,
    /// Most objects that a magazine keeps.
    pub limit: u16,
    /// Allocations that succeeded.
    pub allocations: u64,
    /// How often the slow paths ran, and what for.
    pub events: CacheEvents,
}

impl CacheStatistics {
    /// Bytes in its slabs, used or not.
    pub const fn held_bytes(&self) -> u64 {
        self.slabs as u64 * self.slab_order.bytes()
    }
    /// Bytes in objects that callers have.
    pub const fn live_bytes(&self) -> u64 {
        self.live_objects as u64 * self.object_bytes as u64
    }
}

/// A cache; copies are the same cache. It lasts as long as its allocator.
#[derive(Clone, Copy, Debug)]
pub struct CacheHandle<'s, 'f> {
    slab: &'s SlabAllocator<'f>,
    id: CacheId,
}

impl<'s, 'f> CacheHandle<'s, 'f> {
    pub(super) const fn new(slab: &'s SlabAllocator<'f>, id: CacheId) -> Self {
        Self { slab, id }
    }

    /// Takes an object. Its content is garbage without [`Gfp::ZERO`]; zone flags have no effect here,
    /// they are the cache's.
    ///
    /// # Errors
    ///
    /// [`AllocError`].
    #[inline]
    pub fn alloc(&self, gfp: Gfp) -> Result<NonNull<u8>, AllocError> {
        let popped = match gfp.contains(Gfp::ZERO) {
            false => self.slab.local().magazine(self.id.0).pop(),
            true => Err(0),
        };
        let object = match popped {
            Ok(block) => Some(block.into_raw()),
            Err(pops) => self.alloc_slowly(gfp, pops),
        };
        object.ok_or_else(|| {
            let bytes = self.object_bytes();
            self.slab.why_not(bytes).error(bytes)
        })
    }

    #[inline(never)]
    fn alloc_slowly(&self, gfp: Gfp, pops: u64) -> Option<NonNull<u8>> {
        let object = if gfp.contains(Gfp::ZERO) {
            let object = self.slab.alloc_object(self.id, gfp);
            object.map(|object| self.zeroed(object))
        } else {
            self.slab.alloc_slowly(self.id, gfp, pops)
        };
        if object.is_none() {
            self.slab.warn(self.object_bytes(), gfp);
        }
        object
    }

    fn zeroed(&self, object: NonNull<u8>) -> NonNull<u8> {
        // SAFETY: the object is ours until it is returned, and has that many bytes.
        unsafe { object.write_bytes(0, self.object_bytes()) };
        object
    }

    /// Gives an object back. Panics when that is noticed to be wrong; see [`slab`](super).
    ///
    /// # Safety
    ///
    /// `object` came from this cache's [`alloc`](Self::alloc), and nobody uses it any more.
    #[inline]
    pub unsafe fn free(&self, object: NonNull<u8>) {
        // SAFETY: the caller gives up an object of this cache, which has 8 bytes at least.
        let block = unsafe { Block::new(object) };
        self.slab.free_object(self.id, block);
    }

    /// Bytes that a caller may use of each object.
    pub fn object_bytes(&self) -> usize {
        self.slab.object_bytes(self.id)
    }

    /// Its figures.
    pub fn statistics(&self) -> CacheStatistics {
        let Description { name, geometry, .. } = self.slab.describe(self.id);
        let slabs = self.slab.slot(self.id).slabs.lock();
        let mut cached_objects = slabs.depot.len(geometry.half());
        let mut allocations = 0;
        for local in self.slab.locals.all() {
            cached_objects += u32::from(local.len(self.id.0, geometry.limit()));
            allocations += local.pops(self.id.0);
        }
        CacheStatistics {
            name,
            object_bytes: geometry.object_bytes,
            live_objects: slabs.out().saturating_sub(cached_objects),
            cached_objects,
            objects_per_slab: geometry.capacity,
            slab_order: geometry.order,
            slabs: slabs.slabs(),
            batch: geometry.batch,
            limit: geometry.limit(),
            allocations,
            events: slabs.events,
        }
    }
}

/// The kernel's caches.
pub static SLAB: SlabAllocator<'static> = SlabAllocator::new();

/// Gives the kernel's caches the frames to live on, once.
pub fn init(frames: &'static Frames<'static>) {
    SLAB.init(frames);
}

/// Gives back what the kernel's caches hold and nobody uses; see [`SlabAllocator::shrink`].
pub fn shrink() -> u32 {
    SLAB.shrink()
}

/// A cache of the kernel's, as a static: created when it is first used.
///
/// ```no_run
/// use kernel::mm::{gfp::Gfp, slab::Cache};
/// static INODES: Cache = Cache::new("inode", 200, 8);
/// let inode = INODES.alloc(Gfp::KERNEL);
/// ```
#[derive(Debug)]
pub struct Cache {
    name: &'static str,
    layout: Layout,
    zone: Gfp,
    id: AtomicU8,
    birth: SpinLock<()>,
}

/// The number of a cache that does not exist yet.
const UNBORN: u8 = u8::MAX;

impl Cache {
    /// A cache for objects of `bytes`, 1 to 8,192, aligned to `align_bytes`, a power of two up to
    /// 4,096. Panics, in a constant at compile time, if there is no such cache.
    pub const fn new(name: &'static str, bytes: usize, align_bytes: usize) -> Self {
        Self::in_zone(name, bytes, align_bytes, Gfp::empty())
    }

    /// The same, with slabs from the highest zone that `zone` allows.
    pub const fn in_zone(name: &'static str, bytes: usize, align_bytes: usize, zone: Gfp) -> Self {
        let Ok(layout) = Layout::from_size_align(bytes, align_bytes) else {
            panic!("the alignment is no power of two");
        };
        assert!(
            Geometry::new(bytes, align_bytes).is_some(),
            "objects too large"
        );
        Self {
            name,
            layout,
            zone,
            id: AtomicU8::new(UNBORN),
            birth: SpinLock::new(Rank::CacheBirth, ()),
        }
    }

    /// Takes an object; see [`CacheHandle::alloc`].
    ///
    /// # Errors
    ///
    /// [`AllocError`].
    #[inline]
    #[cfg_attr(feature = "call-sites", track_caller)]
    pub fn alloc(&'static self, gfp: Gfp) -> Result<NonNull<u8>, AllocError> {
        let bytes = self.layout.size();
        let handle = self.handle().ok_or(AllocError::NoCache { bytes })?;
        call_sites::noted(Call::Cache, bytes, handle.alloc(gfp))
    }

    /// Gives an object back; see [`CacheHandle::free`].
    ///
    /// # Safety
    ///
    /// `object` came from this cache's [`alloc`](Self::alloc), and nobody uses it any more.
    #[inline]
    pub unsafe fn free(&'static self, object: NonNull<u8>) {
        call_sites::freed(object.addr().get() as u64);
        let id = self.id.load(Acquire);
        if id == UNBORN {
            self.die(object);
        }
        // SAFETY: the caller promises the same.
        unsafe { CacheHandle::new(&SLAB, CacheId(id)).free(object) }
    }

    /// Ends because `object` is freed before the cache had any.
    #[cold]
    #[inline(never)]
    fn die(&self, object: NonNull<u8>) -> ! {
        die(&Misuse {
            cache: self.name,
            kind: MisuseKind::InvalidFree,
            address: VirtAddr::from_ptr(object.as_ptr()),
        })
    }

    /// The cache itself; `None` if there are too many.
    #[inline]
    pub fn handle(&'static self) -> Option<CacheHandle<'static, 'static>> {
        match self.id.load(Acquire) {
            UNBORN => self.create(),
            id => Some(CacheHandle::new(&SLAB, CacheId(id))),
        }
    }

    #[cold]
    fn create(&'static self) -> Option<CacheHandle<'static, 'static>> {
        // The lock masks interrupts, so that no handler can wait for what it interrupted.
        let _birth = self.birth.lock();
        if self.id.load(Acquire) == UNBORN {
            let handle = SLAB.create(self.name, self.layout, self.zone).ok()?;
            self.id.store(handle.id.0, Release);
        }
        Some(CacheHandle::new(&SLAB, CacheId(self.id.load(Acquire))))
    }
}
