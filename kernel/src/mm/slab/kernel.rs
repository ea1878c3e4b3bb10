//! The kernel's own caches, and caches as statics.
#![allow(
    unsafe_code,
    reason = "takes objects back from callers, who promise that they are theirs"
)]

use super::cache::{HARDENED, SlabAllocator};
use super::drain::DestroyError;
use super::handle::CacheHandle;
use super::misuse::{Misuse, MisuseKind, die};
use super::options::CacheOptions;
use crate::mm::addr::VirtAddr;
use crate::mm::call_sites::{self, Call};
use crate::mm::frame::CacheId;
use crate::mm::frames::Frames;
use crate::mm::gfp::Gfp;
use crate::mm::kmalloc::AllocError;
use crate::mm::magazine::Block;
use crate::sync::{IrqMasked, Rank, SpinLock};
use core::{
    alloc::Layout,
    ptr::NonNull,
    sync::atomic::{
        AtomicU8,
        Ordering::{Acquire, Relaxed, Release},
    },
};

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

/// Honours what other cores ask of this one, with no list of its thread in its hands.
pub(in crate::mm) fn drain_by_request(masked: &IrqMasked) {
    SLAB.drain_this_core(masked);
}

/// A cache of the kernel's, created when it is first used; as a static, it lasts for ever. When another
/// is dropped it is destroyed, or, if objects of it are still in use, left behind for good.
///
/// ```no_run
/// use kernel::mm::{gfp::Gfp, slab::Cache};
/// static INODES: Cache = Cache::new("inode", 200, 8);
/// let inode = INODES.alloc(Gfp::KERNEL);
/// ```
#[derive(Debug)]
pub struct Cache {
    options: CacheOptions,
    mark_offset: u16,
    id: AtomicU8,
    birth: SpinLock<()>,
}

/// The number of a cache that does not exist yet: its magazine, which is nobody's, has and takes nothing.
const UNBORN: u8 = 0;

impl Cache {
    /// A cache for objects of `bytes`, 1 to 8,192, aligned to `align_bytes`, a power of two up to
    /// 4,096. Panics, in a constant at compile time, if there is no such cache.
    pub const fn new(name: &'static str, bytes: usize, align_bytes: usize) -> Self {
        let Ok(layout) = Layout::from_size_align(bytes, align_bytes) else {
            panic!("the alignment is no power of two");
        };
        Self::with(CacheOptions::new(name, layout))
    }

    /// A cache with these properties. Panics, in a constant at compile time, if there is none.
    pub const fn with(options: CacheOptions) -> Self {
        let geometry = options.geometry().expect("objects are empty or too large");
        Self {
            options,
            mark_offset: geometry.mark_offset,
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
    pub fn alloc(&self, gfp: Gfp) -> Result<NonNull<u8>, AllocError> {
        // A cache that does not exist yet has a magazine too: one that never has anything.
        let popped = match gfp.contains(Gfp::ZERO) {
            false => SLAB.local().magazine(self.id.load(Relaxed)).pop(),
            true => Err(0),
        };
        let object = match popped {
            Ok(block) => Some(block.start(self.mark_offset)),
            Err(pops) => self.alloc_slowly(gfp, pops),
        };
        let object = object.ok_or_else(|| self.why_not());
        call_sites::noted(Call::Cache, self.options.layout.size(), object)
    }

    #[inline(never)]
    fn alloc_slowly(&self, gfp: Gfp, pops: u64) -> Option<NonNull<u8>> {
        let was_born = self.id.load(Relaxed) != UNBORN;
        let handle = self.handle()?;
        let pops = if was_born { pops } else { handle.pops() };
        handle.alloc_slowly(gfp, pops)
    }

    /// Why there was no object just now.
    #[cold]
    #[inline(never)]
    fn why_not(&self) -> AllocError {
        let bytes = self.options.layout.size();
        match self.handle() {
            Some(handle) => handle.why_not(),
            None => AllocError::NoCache { bytes },
        }
    }

    /// Gives an object back; see [`CacheHandle::free`].
    ///
    /// # Safety
    ///
    /// `object` came from this cache's [`alloc`](Self::alloc), and nobody uses it any more.
    #[inline]
    pub unsafe fn free(&self, object: NonNull<u8>) {
        call_sites::freed(object.addr().get() as u64);
        // SAFETY: the caller gives up an object of this cache, which has a word there.
        let block = unsafe { Block::at(object, self.mark_offset) };
        let id = self.id.load(Relaxed);
        let pushed = match HARDENED {
            false => SLAB.local().magazine(id).push(block),
            true => Err(block),
        };
        if let Err(block) = pushed {
            self.free_slowly(block);
        }
    }

    #[inline(never)]
    fn free_slowly(&self, block: Block) {
        let id = self.id.load(Acquire);
        if id == UNBORN {
            // It is freed before the cache had any.
            die(&Misuse {
                cache: self.options.name,
                kind: MisuseKind::InvalidFree,
                address: VirtAddr::from_ptr(block.start(self.mark_offset).as_ptr()),
            });
        }
        SlabAllocator::free_slowly(block, &SLAB, CacheId(id));
    }

    /// The cache itself; `None` if there are too many.
    #[inline]
    pub fn handle(&self) -> Option<CacheHandle<'_, 'static>> {
        match self.id.load(Acquire) {
            UNBORN => self.create(),
            id => Some(self.handle_of(id)),
        }
    }

    #[inline]
    const fn handle_of(&self, id: u8) -> CacheHandle<'_, 'static> {
        CacheHandle::new(&SLAB, CacheId(id), self.mark_offset)
    }

    #[cold]
    fn create(&self) -> Option<CacheHandle<'_, 'static>> {
        // The lock masks interrupts, so that no handler can wait for what it interrupted.
        let _birth = self.birth.lock();
        if self.id.load(Acquire) == UNBORN {
            let handle = SLAB.create(&self.options).ok()?;
            self.id.store(handle.id.0, Release);
        }
        Some(self.handle_of(self.id.load(Acquire)))
    }

    /// Gives everything back, as [`CacheHandle::destroy`] does. If the cache is used again, it is created
    /// anew.
    ///
    /// # Errors
    ///
    /// [`DestroyError`].
    pub fn destroy(&mut self) -> Result<(), DestroyError> {
        let id = self.id.get_mut();
        if *id != UNBORN {
            // Nobody else can reach the cache but by its objects, and those are counted.
            SLAB.destroy(CacheId(*id))?;
            *id = UNBORN;
        }
        Ok(())
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        if let Err(DestroyError::LiveObjects { cache, objects }) = self.destroy() {
            crate::log::warn!(
                "cache {=str} is dropped with {=u32} objects in use",
                cache,
                objects
            );
        }
    }
}
