//! Memory of the line-up: the arenas, and what an allocator itself lies in.

use core::ptr::NonNull;
use kernel::mm::slab::{self, SLAB};
use kernel::vm::vmalloc::{self, VmallocError};

/// A vmalloc area of our own, freed when dropped.
struct Area(NonNull<u8>);

impl Area {
    fn new(bytes: u64) -> Result<Self, VmallocError> {
        vmalloc::vmalloc(bytes).map(Self)
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: the area is ours, and what was in it is gone.
        let freed = unsafe { vmalloc::vfree(self.0) };
        debug_assert!(freed.is_ok(), "an area is kept: {freed:?}");
    }
}

/// Memory that starts where it was asked to, freed when dropped.
pub(super) struct Arena {
    _area: Area,
    bytes: NonNull<[u8]>,
}

impl Arena {
    /// An arena of `bytes` that starts a multiple of `align_bytes`, with `front_bytes` in front of it.
    ///
    /// # Errors
    ///
    /// As `vmalloc`.
    pub(super) fn new(
        bytes: usize,
        align_bytes: usize,
        front_bytes: usize,
    ) -> Result<Self, VmallocError> {
        // So much more that the arena starts somewhere in it.
        let area = Area::new((bytes + align_bytes + front_bytes) as u64)?;
        let start = area
            .0
            .as_ptr()
            .map_addr(|start| (start + front_bytes).next_multiple_of(align_bytes));
        // SAFETY: the area is not null, and neither is what is further up in it.
        let start = unsafe { NonNull::new_unchecked(start) };
        Ok(Self {
            _area: area,
            bytes: NonNull::slice_from_raw_parts(start, bytes),
        })
    }

    /// All of it.
    pub(super) const fn bytes(&self) -> NonNull<[u8]> {
        self.bytes
    }
}

/// A fresh allocator in an area of its own, since some are larger than the stack.
pub(super) struct Fresh<A> {
    area: Area,
    allocator: NonNull<A>,
    kept_bytes: u64,
}

impl<A> Fresh<A> {
    /// Puts `empty` in its place and has `add` give it memory.
    ///
    /// # Errors
    ///
    /// As `vmalloc`.
    pub(super) fn new(empty: A, add: impl FnOnce(&mut A)) -> Result<Self, VmallocError> {
        let area = Area::new(size_of::<A>().max(1) as u64)?;
        let mut allocator = area.0.cast::<A>();
        // SAFETY: the area is ours, starts a page, and is large enough.
        unsafe { allocator.write(empty) };
        slab::shrink();
        let before = SLAB.held_bytes();
        // SAFETY: it was written above, and nothing else refers to it.
        add(unsafe { allocator.as_mut() });
        let heap_bytes = SLAB.held_bytes().saturating_sub(before);
        Ok(Self {
            area,
            allocator,
            kept_bytes: size_of::<A>() as u64 + heap_bytes,
        })
    }

    /// It.
    pub(super) const fn allocator(&mut self) -> &mut A {
        // SAFETY: `new` wrote it, it is ours, and it is borrowed as we are.
        unsafe { self.allocator.as_mut() }
    }

    /// Bytes of itself and of what it took from the kernel's heap while it was given its memory.
    pub(super) const fn kept_bytes(&self) -> u64 {
        self.kept_bytes
    }
}

impl<A> Drop for Fresh<A> {
    fn drop(&mut self) {
        // SAFETY: `new` wrote it, and it is not used after this; its area is freed behind it.
        unsafe { self.allocator.drop_in_place() };
        let _ = &self.area;
    }
}
