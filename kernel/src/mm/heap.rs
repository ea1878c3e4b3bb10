//! `alloc::` types on the kernel's caches: the `GlobalAlloc`.
//!
//! # Cost
//!
//! A `Layout` known at compile time is a known size class, so that `alloc` and `dealloc` are the
//! cache's fast paths and nothing else: no table, no branch on the size, and no look at the frame's
//! entry to free. The context is asked for only when the core's list is empty.
//!
//! # Context
//!
//! With interrupts masked (in a handler, under a lock) it allocates as [`Gfp::ATOMIC`], otherwise as
//! [`Gfp::KERNEL`]. Running out is null, as `GlobalAlloc` has it.
#![allow(
    unsafe_code,
    reason = "GlobalAlloc is an unsafe trait: its callers promise that layouts are right"
)]

use super::addr::Order;
use super::gfp::Gfp;
use super::magazine::Block;
use super::size_class::{self, SizeClass};
use super::slab::{SLAB, SlabAllocator};
use crate::sync::{
    irq,
    request::{self, Request},
};
use core::{
    alloc::{GlobalAlloc, Layout},
    ptr::{self, NonNull},
};

#[cfg_attr(all(target_os = "none", not(feature = "call-sites")), global_allocator)]
static HEAP: Heap<'static, 'static> = Heap::new(&SLAB);

#[cfg(all(target_os = "none", feature = "call-sites"))]
#[global_allocator]
static NOTED: super::call_sites::heap::Noted<Heap<'static, 'static>> =
    super::call_sites::heap::Noted(&HEAP);

/// Sets up the kernel's caches and heap over its frames; before that every allocation fails.
/// Panics if [`frames`](super::frames::init) are not set up.
pub fn init() {
    let frames = super::frames::global().expect("frames are set up before the heap");
    super::slab::init(frames);
    let registered = frames.register_shrinker(&SLAB);
    debug_assert!(registered.is_ok(), "it is the first");
    #[cfg(target_os = "none")]
    if super::local::provide_slots(frames, crate::sync::percpu::cpu()).is_err() {
        crate::log::warn!("no memory for this core's magazines");
    }
    request::handle(Request::DrainObjects, super::slab::drain_by_request);
}

/// The kernel's heap.
pub const fn global() -> &'static Heap<'static, 'static> {
    &HEAP
}

/// A slab allocator as a `GlobalAlloc`.
#[derive(Clone, Copy, Debug)]
pub struct Heap<'s, 'f>(&'s SlabAllocator<'f>);

impl<'s, 'f> Heap<'s, 'f> {
    /// A heap on `slab`.
    pub const fn new(slab: &'s SlabAllocator<'f>) -> Self {
        Self(slab)
    }

    /// Takes an object whose magazine had none, or what no class holds.
    #[inline(never)]
    fn alloc_slowly(&self, layout: Layout, pops: u64) -> *mut u8 {
        let Some(class) = class_of(layout) else {
            return self.alloc_block(layout, Gfp::empty());
        };
        let gfp = context();
        let object = self.0.alloc_slowly(class.cache(), gfp, pops);
        self.or_null(object, class.bytes(), gfp)
    }

    fn alloc_block(&self, layout: Layout, flags: Gfp) -> *mut u8 {
        let (bytes, gfp) = (block_bytes(layout), context() | flags);
        self.or_null(self.0.alloc_block(bytes, gfp), bytes, gfp)
    }

    fn or_null(&self, memory: Option<NonNull<u8>>, bytes: usize, gfp: Gfp) -> *mut u8 {
        if memory.is_none() {
            // `GlobalAlloc` has no errors; the log hears of it.
            self.0.warn(bytes, gfp);
        }
        memory.map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    /// Moves an object whose class or block changes.
    ///
    /// # Safety
    ///
    /// As `GlobalAlloc::realloc`.
    #[inline(never)]
    unsafe fn relocate(&self, object: NonNull<u8>, old: Layout, new: Layout) -> *mut u8 {
        // SAFETY: `realloc`'s caller promises that the new size is not 0.
        let Some(moved) = NonNull::new(unsafe { self.alloc(new) }) else {
            return ptr::null_mut();
        };
        // SAFETY: both have that many bytes, and the new one is ours alone.
        unsafe { moved.copy_from_nonoverlapping(object, old.size().min(new.size())) };
        // SAFETY: the caller gives it up.
        unsafe { self.dealloc(object.as_ptr(), old) };
        moved.as_ptr()
    }
}

/// What the present context may do to get memory.
fn context() -> Gfp {
    if irq::is_masked() {
        Gfp::ATOMIC
    } else {
        Gfp::KERNEL
    }
}

#[inline]
fn class_of(layout: Layout) -> Option<SizeClass> {
    size_class::of_layout(layout.size(), layout.align())
}

/// Whether an object of the one layout may become one of the other where it is.
#[inline]
pub(super) fn is_same_place(old: Layout, new: Layout) -> bool {
    match (class_of(old), class_of(new)) {
        (Some(old), Some(new)) => old == new,
        (None, None) => order_of(old) == order_of(new),
        _ => false,
    }
}

/// Bytes that the owner of an object of `layout` may use.
pub(super) fn usable_bytes(layout: Layout) -> usize {
    let block = || order_of(layout).and_then(|order| usize::try_from(order.bytes()).ok());
    let class = class_of(layout).map(SizeClass::bytes);
    class.or_else(block).unwrap_or(layout.size())
}

/// The order of the block for a layout that no class holds.
fn order_of(layout: Layout) -> Option<Order> {
    Order::holding(block_bytes(layout) as u64)
}

/// Bytes of the block for a layout that no class holds: blocks are aligned to their size.
fn block_bytes(layout: Layout) -> usize {
    layout.size().max(layout.align())
}

// SAFETY: objects and blocks come from the slab allocator, which hands out none twice, with the size
// and alignment of their class or order, and does not unwind but for a kernel bug.
unsafe impl GlobalAlloc for Heap<'_, '_> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // One way out of the fast path, so that it needs no stack frame.
        let popped = match class_of(layout) {
            Some(class) => self.0.local().magazine(class.cache().0).pop(),
            None => Err(0),
        };
        match popped {
            Ok(block) => block.into_raw().as_ptr(),
            Err(pops) => self.alloc_slowly(layout, pops),
        }
    }

    #[inline]
    unsafe fn dealloc(&self, object: *mut u8, layout: Layout) {
        // SAFETY: the caller got it from `alloc`, which it told from null.
        let object = unsafe { NonNull::new_unchecked(object) };
        match class_of(layout) {
            Some(class) => {
                // SAFETY: the caller gives up an object that `alloc` took from this class.
                let block = unsafe { Block::new(object) };
                self.0.free_object(class.cache(), block);
            }
            None => self.0.free_block(object),
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if class_of(layout).is_none() {
            return self.alloc_block(layout, Gfp::ZERO);
        }
        // SAFETY: the caller promises the same.
        let object = unsafe { self.alloc(layout) };
        if !object.is_null() {
            // SAFETY: it has that many bytes, and is ours until it is returned.
            unsafe { object.write_bytes(0, layout.size()) };
        }
        object
    }

    #[inline]
    unsafe fn realloc(&self, object: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the size, rounded up to the alignment, is no overflow.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        let in_place = is_same_place(layout, new);
        match NonNull::new(object) {
            Some(_) if in_place => object,
            // SAFETY: the caller promises the same.
            Some(object) => unsafe { self.relocate(object, layout, new) },
            None => object,
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
