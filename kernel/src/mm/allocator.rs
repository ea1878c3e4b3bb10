//! The kernel's memory by name: the stable mirror of the standard library's `Allocator`, which
//! collections of many crates take as a parameter.
//!
//! ```no_run
//! use allocator_api2::alloc::Allocator;
//! use core::alloc::Layout;
//! use kernel::mm::allocator::Kmalloc;
//! let memory = Kmalloc.allocate(Layout::new::<[u32; 9]>()).expect("memory");
//! assert!(memory.len() >= 36, "what the size class has");
//! ```
//!
//! Unlike `alloc::` types on the global allocator, they are told what their size class or block has, so
//! that they grow into it before they move.
#![allow(
    unsafe_code,
    reason = "Allocator is an unsafe trait: its callers promise that layouts fit"
)]

use super::heap::{self, Heap};
use allocator_api2::alloc::{AllocError, Allocator};
use core::{
    alloc::{GlobalAlloc, Layout},
    ptr::NonNull,
};

/// The kernel's heap, as a value of no size.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kmalloc;

/// All that the owner of an object of `layout` may use.
fn whole(object: NonNull<u8>, layout: Layout) -> NonNull<[u8]> {
    NonNull::slice_from_raw_parts(object, heap::usable_bytes(layout))
}

impl Heap<'_, '_> {
    /// Changes the layout of an object, in place if that may be.
    ///
    /// # Safety
    ///
    /// `object` is one of this heap that fits `old`, and is given up if this succeeds.
    unsafe fn change(
        &self,
        object: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if old.size() > 0 && new.size() > 0 && heap::is_same_place(old, new) {
            return Ok(whole(object, new));
        }
        let moved = self.allocate(new)?;
        let bytes = old.size().min(new.size());
        // SAFETY: both have that many bytes, and the new one is ours alone.
        unsafe { moved.cast().copy_from_nonoverlapping(object, bytes) };
        // SAFETY: the caller gives it up.
        unsafe { self.deallocate(object, old) };
        Ok(moved)
    }
}

// SAFETY: as for `GlobalAlloc`: no object is handed out twice, and a class or block that fits a layout
// fits all between it and its own size. The heap is a reference, so copies of it are the same.
unsafe impl Allocator for Heap<'_, '_> {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            let nothing = NonNull::without_provenance(layout.dangling_ptr().addr());
            return Ok(NonNull::slice_from_raw_parts(nothing, 0));
        }
        // SAFETY: the layout has a size.
        let object = NonNull::new(unsafe { self.alloc(layout) }).ok_or(AllocError)?;
        Ok(whole(object, layout))
    }

    #[inline]
    unsafe fn deallocate(&self, object: NonNull<u8>, layout: Layout) {
        if layout.size() > 0 {
            // SAFETY: the caller promises that it is one of this heap that fits the layout.
            unsafe { self.dealloc(object.as_ptr(), layout) };
        }
    }

    unsafe fn grow(
        &self,
        object: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller promises the same.
        unsafe { self.change(object, old, new) }
    }

    unsafe fn shrink(
        &self,
        object: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller promises the same.
        unsafe { self.change(object, old, new) }
    }
}

// SAFETY: it is the kernel's heap, which lasts for ever.
unsafe impl Allocator for Kmalloc {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        heap::global().allocate(layout)
    }

    #[inline]
    unsafe fn deallocate(&self, object: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller promises the same.
        unsafe { heap::global().deallocate(object, layout) }
    }

    unsafe fn grow(
        &self,
        object: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller promises the same.
        unsafe { heap::global().grow(object, old, new) }
    }

    unsafe fn shrink(
        &self,
        object: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller promises the same.
        unsafe { heap::global().shrink(object, old, new) }
    }
}

#[cfg(test)]
mod tests;
