//! Memory by the byte: kmalloc and its kin, on slab caches and, above 8 KiB, on whole blocks.
//!
//! # Shape
//!
//! ```text
//!        0           dangling, nothing is held
//!        1 … 8 KiB   the size class's cache
//!    8 KiB … 4 MiB   a buddy block of its own          also every request for DMA or DMA32 memory
//! ```
//!
//! An address alone says what it is: its frame's entry names the cache, or says that it starts a
//! block.
//!
//! # Invariants
//!
//! 1. The head of a block that kmalloc handed out is [`Kind::Large`]; of several contexts that free it
//!    one succeeds in making it [`Kind::Allocated`], and gives it back.
//!
//! # Cost
//!
//! That of the cache, a size class by arithmetic, and one look at a frame's entry in `kfree`.
#![allow(
    unsafe_code,
    reason = "takes memory back from callers, who promise that it is theirs, and copies it"
)]

use super::addr::{Order, PAGE_BYTES, VirtAddr};
use super::call_sites::{self, Call};
use super::frame::{Frame, Kind};
use super::gfp::Gfp;
use super::magazine::Block;
use super::size_class;
use super::slab::{Misuse, MisuseKind, SLAB, SlabAllocator, die};
use core::{fmt, ptr::NonNull};

/// What a request for no bytes gets: never null, aligned to 16, and faults when it is used.
pub const ZERO_SIZE: NonNull<u8> =
    NonNull::without_provenance(core::num::NonZero::new(16).unwrap());

/// Flags that the caches do not heed.
const SPECIAL: Gfp = Gfp::ZERO.union(ZONES);
const ZONES: Gfp = Gfp::DMA.union(Gfp::DMA32);

/// Why there is no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AllocError {
    /// No free block was large enough. Free something, or do with less.
    OutOfMemory {
        /// Bytes asked for; for a cache, those of an object.
        bytes: usize,
        /// Frames that were free, in blocks too small or in zones that the flags exclude.
        free_frames: u32,
    },
    /// No memory of this size is ever to be had: the limit is 4 MiB.
    TooLarge {
        /// Bytes asked for.
        bytes: usize,
    },
    /// The object's cache could not be created, since there are too many.
    NoCache {
        /// Bytes asked for.
        bytes: usize,
    },
    /// The kernel has no memory yet.
    NotReady {
        /// Bytes asked for.
        bytes: usize,
    },
}

impl fmt::Display for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory { bytes, free_frames } => {
                let free_kib = u64::from(*free_frames) * PAGE_BYTES / 1024;
                write!(
                    f,
                    "out of memory: {bytes} bytes asked for, {free_kib} KiB free"
                )
            }
            Self::TooLarge { bytes } => write!(f, "{bytes} bytes in one piece are never to be had"),
            Self::NoCache { bytes } => write!(f, "no cache could be made for {bytes} bytes"),
            Self::NotReady { bytes } => write!(f, "{bytes} bytes asked for before there is memory"),
        }
    }
}

impl core::error::Error for AllocError {}

/// An [`AllocError`] without the size: it fits a register, so that fast paths need no memory for it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal {
    OutOfMemory { free_frames: u32 },
    TooLarge,
    NotReady,
}

impl Refusal {
    #[inline(always)]
    pub(super) const fn error(self, bytes: usize) -> AllocError {
        match self {
            Self::OutOfMemory { free_frames } => AllocError::OutOfMemory { bytes, free_frames },
            Self::TooLarge => AllocError::TooLarge { bytes },
            Self::NotReady => AllocError::NotReady { bytes },
        }
    }
}

impl SlabAllocator<'_> {
    /// Takes `bytes`, at least 8-byte aligned, and naturally aligned if a power of two. The content is
    /// garbage without [`Gfp::ZERO`]. For 0 bytes it returns [`ZERO_SIZE`], which may be freed.
    ///
    /// With [`Gfp::DMA`] or [`Gfp::DMA32`] it takes whole pages; for many small objects in such memory
    /// [create](Self::create) a cache there.
    ///
    /// # Errors
    ///
    /// [`AllocError`]; nothing was changed.
    #[inline]
    pub fn kmalloc(&self, bytes: usize, gfp: Gfp) -> Result<NonNull<u8>, AllocError> {
        slow_down();
        // One way out of the fast path, so that it needs no stack frame.
        let popped = match size_class::of(bytes) {
            Some(class) if !gfp.intersects(SPECIAL) => self.local().magazine(class.cache().0).pop(),
            _ => Err(0),
        };
        let memory = match popped {
            Ok(block) => Some(block.into_raw()),
            Err(pops) => self.kmalloc_slowly(bytes, gfp, pops),
        };
        memory.ok_or_else(|| self.why_not(bytes).error(bytes))
    }

    #[inline(never)]
    fn kmalloc_slowly(&self, bytes: usize, gfp: Gfp, pops: u64) -> Option<NonNull<u8>> {
        let memory = match size_class::of(bytes) {
            Some(class) if !gfp.intersects(SPECIAL) => self.alloc_slowly(class.cache(), gfp, pops),
            _ => self.kmalloc_specially(bytes, gfp),
        };
        if memory.is_none() {
            self.warn(bytes, gfp);
        }
        memory
    }

    /// Takes what no class has, or what flags ask for.
    fn kmalloc_specially(&self, bytes: usize, gfp: Gfp) -> Option<NonNull<u8>> {
        match size_class::of(bytes) {
            Some(class) if !gfp.intersects(ZONES) => {
                let object = self.alloc_object(class.cache(), gfp);
                if let Some(object) = object.filter(|_| gfp.contains(Gfp::ZERO)) {
                    // SAFETY: the object has the class's bytes, and is ours until it is returned.
                    unsafe { object.write_bytes(0, bytes) };
                }
                object
            }
            None if bytes == 0 => self.frames.get().map(|_| ZERO_SIZE),
            _ => self.alloc_block(bytes, gfp),
        }
    }

    /// Takes a block for `bytes`, at least 1, aligned to its own size.
    pub(super) fn alloc_block(&self, bytes: usize, gfp: Gfp) -> Option<NonNull<u8>> {
        let order = Order::holding(bytes as u64)?;
        let frames = self.frames.get()?;
        let quietly = gfp | Gfp::NOWARN;
        let mut block = frames.alloc(order, quietly);
        if block.is_err() && gfp.contains(Gfp::DIRECT_RECLAIM) && self.shrink() > 0 {
            block = frames.alloc(order, quietly);
        }
        let pfn = block.ok()?;
        frames.table().at(pfn).set_head(Kind::Large, order);
        NonNull::new(frames.linear().to_virt(pfn.address()).as_mut_ptr())
    }

    /// Tells the log that `bytes` were not to be had.
    #[cold]
    #[inline(never)]
    pub(super) fn warn(&self, bytes: usize, gfp: Gfp) {
        if self.warnings.is_due(gfp) {
            crate::log::warn!(
                "no {=usize} bytes with flags {=u32:#x}: {=u32} frames are free",
                bytes,
                gfp.bits(),
                self.frames.get().map_or(0, |frames| frames.free_frames())
            );
        }
    }

    /// Why `bytes` were not to be had just now.
    #[cold]
    #[inline(never)]
    pub(super) fn why_not(&self, bytes: usize) -> Refusal {
        match self.frames.get() {
            _ if Order::holding(bytes as u64).is_none() => Refusal::TooLarge,
            None => Refusal::NotReady,
            Some(frames) => Refusal::OutOfMemory {
                free_frames: frames.free_frames(),
            },
        }
    }

    /// Gives memory back. Panics when that is noticed to be wrong; see [`slab`](super::slab).
    ///
    /// # Safety
    ///
    /// `memory` came from this allocator, and nobody uses it any more.
    #[inline]
    pub unsafe fn kfree(&self, memory: NonNull<u8>) {
        // SAFETY: the caller gives it up; what is no object comes back untouched.
        let block = unsafe { Block::new(memory) };
        if let Err((block, number)) = self.push_object(block) {
            self.kfree_slowly(block, number);
        }
    }

    /// Takes back what the magazine numbered `number` refused, or what has none.
    #[inline(never)]
    fn kfree_slowly(&self, block: Block, number: u8) {
        if let Some(cache) = Self::cache_numbered(number) {
            return Self::free_slowly(block, self, cache);
        }
        if let Some(frames) = self.frames.get() {
            self.local().learn(frames);
        }
        let entry = self
            .frames
            .get()
            .and_then(|frames| frames.frame_at(VirtAddr::new(block.address())));
        match entry.and_then(Frame::slab_cache) {
            Some(cache) => self.free_by_start(cache, block),
            None => self.free_block(block.into_raw()),
        }
    }

    /// Gives back what is no slab object.
    pub(super) fn free_block(&self, memory: NonNull<u8>) {
        if memory == ZERO_SIZE {
            return;
        }
        let address = VirtAddr::from_ptr(memory.as_ptr());
        let misuse = |kind| Misuse {
            cache: "kmalloc",
            kind,
            address,
        };
        let entry = self.entry(memory);
        let (Some(frames), Some(frame)) = (self.frames.get(), entry) else {
            die(&misuse(MisuseKind::InvalidFree));
        };
        let pfn = frames.linear().to_phys(address).frame();
        let order = frame.order();
        let starts = address.is_aligned_to(PAGE_BYTES);
        if !starts || !frame.claim(order, Kind::Large, Kind::Allocated) {
            die(&misuse(if frames.is_free(pfn) {
                MisuseKind::DoubleFree
            } else {
                MisuseKind::InvalidFree
            }));
        }
        if let Err(error) = frames.free(pfn, order) {
            unreachable!("a block that was claimed cannot be freed: {error}");
        }
    }

    /// Changes the size of `memory`, in place if its size class or block allows, else by copying. For
    /// 0 bytes it frees, and returns [`ZERO_SIZE`]. Bytes that are added are garbage.
    ///
    /// # Errors
    ///
    /// [`AllocError`]; `memory` stays as it was.
    ///
    /// # Safety
    ///
    /// `memory` came from this allocator, and nobody uses it any more if this succeeds.
    pub unsafe fn krealloc(
        &self,
        memory: Option<NonNull<u8>>,
        new_bytes: usize,
        gfp: Gfp,
    ) -> Result<NonNull<u8>, AllocError> {
        let Some(memory) = memory else {
            return self.kmalloc(new_bytes, gfp);
        };
        // SAFETY: the caller promises that it came from here.
        let old_bytes = unsafe { self.ksize(memory) };
        if new_bytes > 0 && size_of_request(new_bytes) == Some(old_bytes) {
            return Ok(memory);
        }
        let new = self.kmalloc(new_bytes, gfp)?;
        // SAFETY: both have that many bytes, the new one is ours alone, so they do not overlap.
        unsafe { new.copy_from_nonoverlapping(memory, old_bytes.min(new_bytes)) };
        // SAFETY: the caller gives it up.
        unsafe { self.kfree(memory) };
        Ok(new)
    }

    /// Bytes that the owner of `memory` may use: as many as were asked for, or more.
    ///
    /// # Safety
    ///
    /// `memory` came from this allocator and was not given back.
    pub unsafe fn ksize(&self, memory: NonNull<u8>) -> usize {
        if memory == ZERO_SIZE {
            return 0;
        }
        let frame = self.entry(memory);
        match frame.map(|frame| (frame.slab_cache(), frame.kind(), frame.order())) {
            Some((Some(cache), ..)) => self.object_bytes(cache),
            Some((None, Kind::Large, order)) => bytes_of(order),
            _ => die(&Misuse {
                cache: "kmalloc",
                kind: MisuseKind::InvalidFree,
                address: VirtAddr::from_ptr(memory.as_ptr()),
            }),
        }
    }

    fn entry(&self, memory: NonNull<u8>) -> Option<&Frame> {
        let frames = self.frames.get()?;
        frames.frame_at(VirtAddr::from_ptr(memory.as_ptr()))
    }
}

/// One instruction, where a test wants to see it found (feature `slowed`); else nothing.
#[inline(always)]
fn slow_down() {
    #[cfg(all(feature = "slowed", target_os = "none"))]
    aarch64_cpu::asm::nop();
}

/// Bytes that a request for `bytes` is given; `None` if it is refused.
fn size_of_request(bytes: usize) -> Option<usize> {
    match size_class::of(bytes) {
        Some(class) => Some(class.bytes()),
        None => Order::holding(bytes as u64).map(bytes_of),
    }
}

fn bytes_of(order: Order) -> usize {
    usize::try_from(order.bytes()).expect("at most 4 MiB")
}

/// Takes `bytes` of the kernel's memory; see [`SlabAllocator::kmalloc`].
///
/// # Errors
///
/// [`AllocError`].
#[inline]
#[cfg_attr(feature = "call-sites", track_caller)]
pub fn kmalloc(bytes: usize, gfp: Gfp) -> Result<NonNull<u8>, AllocError> {
    call_sites::noted(Call::Kmalloc, bytes, SLAB.kmalloc(bytes, gfp))
}

/// Gives memory back to the kernel; see [`SlabAllocator::kfree`].
///
/// # Safety
///
/// `memory` came from [`kmalloc`] or [`krealloc`], and nobody uses it any more.
#[inline]
pub unsafe fn kfree(memory: NonNull<u8>) {
    call_sites::freed(memory.addr().get() as u64);
    // SAFETY: the caller promises the same.
    unsafe { SLAB.kfree(memory) }
}

/// Changes the size of `memory`; see [`SlabAllocator::krealloc`].
///
/// # Errors
///
/// [`AllocError`]; `memory` stays as it was.
///
/// # Safety
///
/// `memory` came from [`kmalloc`] or [`krealloc`], and nobody uses it any more if this succeeds.
#[cfg_attr(feature = "call-sites", track_caller)]
pub unsafe fn krealloc(
    memory: Option<NonNull<u8>>,
    new_bytes: usize,
    gfp: Gfp,
) -> Result<NonNull<u8>, AllocError> {
    // SAFETY: the caller promises the same.
    let moved = unsafe { SLAB.krealloc(memory, new_bytes, gfp) };
    if let (Some(former), Ok(_)) = (memory, moved) {
        call_sites::freed(former.addr().get() as u64);
    }
    call_sites::noted(Call::Kmalloc, new_bytes, moved)
}

/// Bytes that the owner of `memory` may use; see [`SlabAllocator::ksize`].
///
/// # Safety
///
/// `memory` came from [`kmalloc`] or [`krealloc`], and was not given back.
pub unsafe fn ksize(memory: NonNull<u8>) -> usize {
    // SAFETY: the caller promises the same.
    unsafe { SLAB.ksize(memory) }
}
