//! Other crates' allocators, measured in the same image, on the same machine, by the same workloads.
//!
//! An allocator joins by one trait, [`ObjectAllocator`], and a line in [`visit`]. Each crate stands
//! behind a feature of its own, so that an image holds those that were asked for and nothing else.
//!
//! # What is compared
//!
//! Every allocator gets the same arena of [`ARENA_BYTES`], aligned to its size, and starts anew for
//! each family of rows. Size and alignment come in registers, and a sample is what the callee executes
//! through its return. The kernel's heap, `tessera`, is in the line-up by the same calls; it is safe
//! against interrupts and other cores, and takes its memory from the page frames.
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
pub mod check;
mod claims;
#[cfg(feature = "peer-dlmalloc")]
mod dlmalloc;
#[cfg(feature = "peer-embedded-alloc")]
mod embedded_alloc;
pub mod global;
#[cfg(feature = "peer-good-memory-allocator")]
mod good_memory_allocator;
mod irq;
#[cfg(target_os = "none")]
pub mod line_up;
#[cfg(feature = "peer-linked-list-allocator")]
mod linked_list_allocator;
#[cfg(feature = "peer-rlsf")]
mod rlsf;
#[cfg(feature = "peer-slab-allocator-rs")]
mod slab_allocator_rs;
#[cfg(feature = "peer-talc")]
mod talc;
#[cfg(target_os = "none")]
mod tessera;

pub use global::Global;
pub use irq::Irq;

use core::alloc::Layout;
use core::ptr::NonNull;

/// Bytes of an allocator's memory: 64 MiB.
pub const ARENA_BYTES: usize = 64 << 20;

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

/// What is done with each allocator of the line-up.
pub trait Visitor {
    /// Does it.
    fn visit<A: ObjectAllocator>(&mut self);
}

/// Shows `visitor` every allocator that this image holds.
pub fn visit(visitor: &mut impl Visitor) {
    #[cfg(target_os = "none")]
    visitor.visit::<tessera::Tessera>();
    #[cfg(feature = "peer-ax-allocator")]
    {
        visitor.visit::<ax_allocator::Slab>();
        visitor.visit::<Irq<ax_allocator::Slab>>();
        visitor.visit::<ax_allocator::Tlsf>();
        visitor.visit::<Irq<ax_allocator::Tlsf>>();
    }
    #[cfg(feature = "peer-buddy-alloc")]
    {
        visitor.visit::<Global<buddy_alloc::FastAndBuddy>>();
        visitor.visit::<Irq<Global<buddy_alloc::FastAndBuddy>>>();
    }
    #[cfg(feature = "peer-buddy-slab-allocator")]
    {
        visitor.visit::<Global<buddy_slab_allocator::BuddySlab>>();
        visitor.visit::<Irq<Global<buddy_slab_allocator::BuddySlab>>>();
    }
    #[cfg(feature = "peer-buddy-system-allocator")]
    {
        visitor.visit::<Global<buddy_system_allocator::Locked>>();
        visitor.visit::<Irq<buddy_system_allocator::Buddy>>();
    }
    #[cfg(feature = "peer-dlmalloc")]
    {
        visitor.visit::<dlmalloc::Malloc>();
        visitor.visit::<Irq<dlmalloc::Malloc>>();
    }
    #[cfg(feature = "peer-embedded-alloc")]
    {
        visitor.visit::<Global<embedded_alloc::Tlsf>>();
        visitor.visit::<Global<embedded_alloc::LinkedList>>();
    }
    #[cfg(feature = "peer-good-memory-allocator")]
    {
        visitor.visit::<Global<good_memory_allocator::Locked>>();
        visitor.visit::<Irq<good_memory_allocator::Galloc>>();
    }
    #[cfg(feature = "peer-linked-list-allocator")]
    {
        visitor.visit::<Global<linked_list_allocator::Locked>>();
        visitor.visit::<Irq<linked_list_allocator::LinkedList>>();
    }
    #[cfg(feature = "peer-rlsf")]
    {
        visitor.visit::<rlsf::Tlsf>();
        visitor.visit::<Irq<rlsf::Tlsf>>();
    }
    #[cfg(feature = "peer-slab-allocator-rs")]
    {
        visitor.visit::<slab_allocator_rs::Locked>();
        visitor.visit::<Irq<slab_allocator_rs::Slabs>>();
    }
    #[cfg(feature = "peer-talc")]
    {
        visitor.visit::<Global<talc::Locked>>();
        visitor.visit::<Irq<talc::Talc>>();
    }
    // On the host there may be none at all.
    let _ = visitor;
}
