//! Other crates' allocators, measured in the same image, on the same machine, by the same workloads.
//!
//! An allocator joins by one trait, [`ObjectAllocator`] or [`FrameAllocator`], and a line in [`visit`].
//! Each crate stands behind a feature of its own, so that an image holds those that were asked for and
//! nothing else.
//!
//! # What is compared
//!
//! Every allocator of objects gets the same arena of [`ARENA_BYTES`], every one of page frames the same of
//! [`FRAMES_BYTES`], both aligned to their size, and starts anew for each family of rows. Size and
//! alignment, or the order, come in registers, and a sample is what the callee executes through its
//! return. The kernel's own, `tessera`, are in the line-up by the same calls; they are safe against
//! interrupts and other cores, and objects take their memory from the page frames.
//!
//! # Two disciplines
//!
//! Each is measured as its crate ships it, behind the lock that it brings or bare if it brings none; and
//! once more, as `NAME+irq`, bare behind the kernel's lock, which masks interrupts ([`Irq`]): what it
//! would cost in a kernel whose handlers allocate. What is interrupt-safe as it ships has no second one.
#![allow(
    unsafe_code,
    reason = "hands memory to other crates' allocators, and objects back to them"
)]
#![allow(
    clippy::declare_interior_mutable_const,
    reason = "an empty allocator is a constant, since a fresh one is made of it again and again"
)]

#[cfg(feature = "peer-ax-allocator")]
mod ax_allocator;
#[cfg(feature = "peer-buddy-alloc")]
mod buddy_alloc;
#[cfg(feature = "peer-buddy-slab-allocator")]
mod buddy_slab_allocator;
#[cfg(feature = "peer-buddy-system-allocator")]
mod buddy_system_allocator;
#[cfg(target_os = "none")]
mod calls;
pub mod check;
mod claims;
#[cfg(feature = "peer-dlmalloc")]
mod dlmalloc;
#[cfg(feature = "peer-embedded-alloc")]
mod embedded_alloc;
pub mod global;
#[cfg(feature = "peer-good-memory-allocator")]
mod good_memory_allocator;
#[cfg(target_os = "none")]
pub mod hunting;
mod irq;
#[cfg(target_os = "none")]
pub mod line_up;
#[cfg(feature = "peer-linked-list-allocator")]
mod linked_list_allocator;
#[cfg(target_os = "none")]
mod memory;
#[cfg(feature = "own")]
mod own;
#[cfg(feature = "peer-rlsf")]
mod rlsf;
#[cfg(feature = "peer-slab-allocator-rs")]
mod slab_allocator_rs;
#[cfg(feature = "peer-talc")]
mod talc;
#[cfg(target_os = "none")]
mod tessera;
#[cfg(target_os = "none")]
mod traces;

pub use global::Global;
pub use irq::Irq;

use core::alloc::Layout;
use core::ptr::NonNull;

/// Bytes of memory for objects: 64 MiB.
pub const ARENA_BYTES: usize = 64 << 20;
/// Bytes of page frames: 256 MiB.
pub const FRAMES_BYTES: usize = 256 << 20;
/// Bytes of a page frame as a power of two.
pub const FRAME_LOG2: u32 = 12;

/// An allocator of objects that one caller at a time uses: `&mut self` stands for whatever keeps others
/// away, so that it can be measured bare, behind the lock it ships with, or behind another.
pub trait ObjectAllocator: Sized {
    /// What it is called: the crate, and which of its allocators if it has several.
    const NAME: &'static str;
    /// What stands behind the name in the rows' names: the discipline, if it is not the crate's own.
    const SUFFIX: &'static str = "";
    /// Whether an allocation searches a list, so that the longest workload is cut for it.
    const SEARCHES: bool = false;
    /// Whether its objects lie in the arena.
    const IN_ARENA: bool = true;
    /// The allocator without memory. A constant, since some are larger than the stack.
    const EMPTY: Self;

    /// Gives it `arena`, all the memory that it will have; called once.
    ///
    /// # Safety
    ///
    /// The arena is writable memory that nobody else uses while the allocator or its objects live; it
    /// is aligned to 4 KiB, and the allocator is not moved any more.
    unsafe fn add(&mut self, arena: NonNull<[u8]>);

    /// An object for `layout`, whose size is not 0; `None` if there is no memory.
    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>>;

    /// Takes an object back.
    ///
    /// # Safety
    ///
    /// It came from [`alloc`](Self::alloc) with this layout, and nobody uses it any more.
    unsafe fn dealloc(&mut self, object: NonNull<u8>, layout: Layout);

    /// An object for `layout` that holds zeros; as `GlobalAlloc` has it unless the crate does better.
    fn alloc_zeroed(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let object = self.alloc(layout)?;
        // SAFETY: it was allocated with this many bytes just now.
        unsafe { object.write_bytes(0, layout.size()) };
        Some(object)
    }

    /// Changes the size of an object to `bytes`, not 0, and keeps what fits; as `GlobalAlloc` has it unless
    /// the crate does better. `None` if there is no memory: then the object is as it was.
    ///
    /// # Safety
    ///
    /// As for [`dealloc`](Self::dealloc), if it returns an object; and `bytes` makes a layout with the
    /// alignment of `layout`.
    unsafe fn realloc(
        &mut self,
        object: NonNull<u8>,
        layout: Layout,
        bytes: usize,
    ) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise.
        let later = unsafe { Layout::from_size_align_unchecked(bytes, layout.align()) };
        let moved = self.alloc(later)?;
        // SAFETY: both have this many bytes, and the new one is no part of the old.
        unsafe { moved.copy_from_nonoverlapping(object, bytes.min(layout.size())) };
        // SAFETY: the caller's promise.
        unsafe { self.dealloc(object, layout) };
        Some(moved)
    }
}

/// An allocator of page frames, in blocks of 2^order of them that start a multiple of their size.
pub trait FrameAllocator: Sized {
    /// As [`ObjectAllocator::NAME`]; the same where one type allocates both.
    const NAME: &'static str;
    /// As [`ObjectAllocator::SUFFIX`].
    const SUFFIX: &'static str = "";
    /// Whether its frames lie in the arena.
    const IN_ARENA: bool = true;
    /// As [`ObjectAllocator::EMPTY`].
    const EMPTY: Self;
    /// Bytes that it wants in front of the arena for its records; a multiple of a page.
    const FRONT_BYTES: usize = 0;

    /// Gives it the frames of `arena`, and of what is in front of them [`FRONT_BYTES`](Self::FRONT_BYTES);
    /// called once.
    ///
    /// # Safety
    ///
    /// As for [`ObjectAllocator::add`].
    unsafe fn add(&mut self, arena: NonNull<[u8]>);

    /// A block of 2^`order` frames as the allocator names it, never 0; `None` if there is none.
    fn alloc(&mut self, order: u32) -> Option<u64>;

    /// Takes a block back.
    ///
    /// # Safety
    ///
    /// It came from [`alloc`](Self::alloc) with this order, and nobody uses it any more.
    unsafe fn free(&mut self, block: u64, order: u32);

    /// Where a block starts: the name itself, if that is an address.
    fn start(block: u64) -> *mut u8 {
        #[expect(clippy::cast_possible_truncation, reason = "it came from an address")]
        let address = block as usize;
        core::ptr::with_exposed_provenance_mut(address)
    }
}

/// What is done with each allocator of the line-up.
pub trait Visitor {
    /// Does it with an allocator of objects.
    fn objects<A: ObjectAllocator>(&mut self);
    /// Does it with one of page frames.
    fn frames<A: FrameAllocator>(&mut self);
}

/// Shows `visitor` every allocator that this image holds.
pub fn visit(visitor: &mut impl Visitor) {
    #[cfg(target_os = "none")]
    {
        visitor.objects::<tessera::Tessera>();
        visitor.frames::<tessera::Tessera>();
    }
    #[cfg(feature = "own")]
    {
        visitor.objects::<Global<own::Own>>();
        visitor.objects::<Irq<Global<own::Own>>>();
    }
    #[cfg(feature = "peer-ax-allocator")]
    {
        visitor.objects::<ax_allocator::Slab>();
        visitor.objects::<Irq<ax_allocator::Slab>>();
        visitor.objects::<ax_allocator::Tlsf>();
        visitor.objects::<Irq<ax_allocator::Tlsf>>();
        visitor.frames::<ax_allocator::Bitmap>();
        visitor.frames::<Irq<ax_allocator::Bitmap>>();
    }
    #[cfg(feature = "peer-buddy-alloc")]
    {
        visitor.objects::<Global<buddy_alloc::FastAndBuddy>>();
        visitor.objects::<Irq<Global<buddy_alloc::FastAndBuddy>>>();
    }
    #[cfg(feature = "peer-buddy-slab-allocator")]
    {
        visitor.objects::<Global<buddy_slab_allocator::BuddySlab>>();
        visitor.objects::<Irq<Global<buddy_slab_allocator::BuddySlab>>>();
        visitor.frames::<buddy_slab_allocator::Pages>();
        visitor.frames::<Irq<buddy_slab_allocator::Pages>>();
    }
    #[cfg(feature = "peer-buddy-system-allocator")]
    {
        visitor.objects::<Global<buddy_system_allocator::Locked>>();
        visitor.objects::<Irq<buddy_system_allocator::Buddy>>();
        visitor.frames::<buddy_system_allocator::LockedPages>();
        visitor.frames::<Irq<buddy_system_allocator::Buddy>>();
        visitor.frames::<buddy_system_allocator::LockedFrames>();
        visitor.frames::<Irq<buddy_system_allocator::Frames>>();
    }
    #[cfg(feature = "peer-dlmalloc")]
    {
        visitor.objects::<dlmalloc::Malloc>();
        visitor.objects::<Irq<dlmalloc::Malloc>>();
    }
    #[cfg(feature = "peer-embedded-alloc")]
    {
        visitor.objects::<Global<embedded_alloc::Tlsf>>();
        visitor.objects::<Global<embedded_alloc::LinkedList>>();
    }
    #[cfg(feature = "peer-good-memory-allocator")]
    {
        visitor.objects::<Global<good_memory_allocator::Locked>>();
        visitor.objects::<Irq<good_memory_allocator::Galloc>>();
    }
    #[cfg(feature = "peer-linked-list-allocator")]
    {
        visitor.objects::<Global<linked_list_allocator::Locked>>();
        visitor.objects::<Irq<linked_list_allocator::LinkedList>>();
    }
    #[cfg(feature = "peer-rlsf")]
    {
        visitor.objects::<rlsf::Tlsf>();
        visitor.objects::<Irq<rlsf::Tlsf>>();
    }
    #[cfg(feature = "peer-slab-allocator-rs")]
    {
        visitor.objects::<slab_allocator_rs::Locked>();
        visitor.objects::<Irq<slab_allocator_rs::Slabs>>();
    }
    #[cfg(feature = "peer-talc")]
    {
        visitor.objects::<Global<talc::Locked>>();
        visitor.objects::<Irq<talc::Talc>>();
    }
    // On the host there may be none at all.
    let _ = visitor;
}
