//! Other allocators of objects, measured in the same image, on the same machine, by the same workloads.
//!
//! An allocator joins by one trait, [`ObjectAllocator`], and a line in [`visit`]. Each crate stands
//! behind a feature of its own, so that an image holds those that were asked for and nothing else.
//!
//! # What is compared
//!
//! Every allocator gets the same arena of [`ARENA_BYTES`], aligned to its size, and starts anew for
//! each family of rows. Size and alignment come in registers, and a sample is what the callee executes
//! through its return. Each is measured as its crate offers it to a caller that has it alone: without a
//! lock unless it brings its own. The kernel's heap, `tessera`, is in the line-up by the same calls; it
//! is safe against interrupts and other cores, and takes its memory from the page frames.
#![allow(
    unsafe_code,
    reason = "hands memory to other crates' allocators, and objects back to them"
)]

#[cfg(feature = "peer-ax-allocator")]
mod ax_allocator;
#[cfg(feature = "peer-buddy-system-allocator")]
mod buddy_system_allocator;
pub mod check;
#[cfg(feature = "peer-embedded-alloc")]
mod embedded_alloc;
#[cfg(target_os = "none")]
pub mod line_up;
#[cfg(feature = "peer-linked-list-allocator")]
mod linked_list_allocator;
#[cfg(feature = "peer-rlsf")]
mod rlsf;
#[cfg(feature = "peer-talc")]
mod talc;
#[cfg(target_os = "none")]
mod tessera;

use core::alloc::Layout;
use core::ptr::NonNull;

/// Bytes of an allocator's memory: 64 MiB.
pub const ARENA_BYTES: usize = 64 << 20;

/// An allocator of objects that one caller at a time uses: `&mut self` stands for whatever keeps others
/// away, so that it can be measured bare, behind the lock it ships with, or behind another.
pub trait ObjectAllocator: Sized {
    /// What it is called: the crate, and which of its allocators if it has several.
    const NAME: &'static str;
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
    visitor.visit::<ax_allocator::Slab>();
    #[cfg(feature = "peer-buddy-system-allocator")]
    visitor.visit::<buddy_system_allocator::Buddy>();
    #[cfg(feature = "peer-embedded-alloc")]
    visitor.visit::<embedded_alloc::Tlsf>();
    #[cfg(feature = "peer-embedded-alloc")]
    visitor.visit::<embedded_alloc::LinkedList>();
    #[cfg(feature = "peer-linked-list-allocator")]
    visitor.visit::<linked_list_allocator::LinkedList>();
    #[cfg(feature = "peer-rlsf")]
    visitor.visit::<rlsf::Tlsf>();
    #[cfg(feature = "peer-talc")]
    visitor.visit::<talc::Talc>();
    // On the host there may be none at all.
    let _ = visitor;
}
