//! The line-up's allocators as operations that the meter can call.

use super::{FrameAllocator, ObjectAllocator};
use crate::meter::{Op, VoidOp};
use crate::ops::Ops;
use crate::workload::fill;
use core::alloc::Layout;
use core::ptr::NonNull;

/// The operations of an allocator of objects, which keeps `kept_bytes` outside of its arena.
pub(super) fn objects<A: ObjectAllocator>(allocator: &mut A, kept_bytes: u64) -> Ops<'_> {
    let count = if A::SEARCHES {
        fill::FRAGMENT_LIST
    } else {
        fill::FRAGMENT
    };
    Ops::of(allocator, alloc_op::<A>, free_op::<A>, count).keeping(kept_bytes)
}

/// Its allocation: bytes, the allocator, the alignment in bytes.
pub(super) fn alloc<A: ObjectAllocator>() -> Op {
    alloc_op::<A>
}

/// The same, zeroed.
pub(super) fn zeroed<A: ObjectAllocator>() -> Op {
    zeroed_op::<A>
}

/// Its free: the object, bytes, the allocator, the alignment in bytes.
pub(super) fn free<A: ObjectAllocator>() -> VoidOp {
    free_op::<A>
}

/// Its reallocation: the object, the allocator, its bytes with its alignment in bytes in the upper half,
/// and its bytes later.
pub(super) fn realloc<A: ObjectAllocator>() -> Op {
    realloc_op::<A>
}

/// The operations of an allocator of page frames, which keeps `kept_bytes` outside of its arena.
pub(super) fn frames<A: FrameAllocator>(allocator: &mut A, kept_bytes: u64) -> Ops<'_> {
    let ops = Ops::of(
        allocator,
        alloc_frames::<A>,
        free_frames::<A>,
        fill::FRAGMENT,
    );
    ops.keeping(kept_bytes)
}

unsafe extern "C" fn alloc_frames<A: FrameAllocator>(
    order: u64,
    context: u64,
    _: u64,
    _: u64,
) -> u64 {
    // SAFETY: the context of these operations is an `A`, borrowed for as long as they live.
    let allocator = unsafe { allocator_at::<A>(context) };
    allocator.alloc(narrow(order)).unwrap_or(0)
}

unsafe extern "C" fn free_frames<A: FrameAllocator>(block: u64, order: u64, context: u64, _: u64) {
    // SAFETY: as above.
    let allocator = unsafe { allocator_at::<A>(context) };
    // SAFETY: the block is live and has this order.
    unsafe { allocator.free(block, narrow(order)) };
}

#[expect(clippy::cast_possible_truncation, reason = "an order is at most 10")]
const fn narrow(order: u64) -> u32 {
    order as u32
}

unsafe extern "C" fn zeroed_op<A: ObjectAllocator>(
    bytes: u64,
    context: u64,
    align_bytes: u64,
    _: u64,
) -> u64 {
    // SAFETY: as for `alloc_op`.
    let layout = unsafe { layout(bytes, align_bytes) };
    // SAFETY: as above.
    let object = unsafe { allocator_at::<A>(context) }.alloc_zeroed(layout);
    object.map_or(0, |object| object.as_ptr().expose_provenance() as u64)
}

unsafe extern "C" fn realloc_op<A: ObjectAllocator>(
    object: u64,
    context: u64,
    shape: u64,
    later: u64,
) -> u64 {
    // SAFETY: as for `free_op`.
    let layout = unsafe { layout(shape & u64::from(u32::MAX), shape >> 32) };
    #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits here")]
    let (object, later) = (
        core::ptr::with_exposed_provenance_mut(object as usize),
        later as usize,
    );
    // SAFETY: as for `free_op`.
    let object = unsafe { NonNull::new_unchecked(object) };
    // SAFETY: as above.
    let allocator = unsafe { allocator_at::<A>(context) };
    // SAFETY: the object is live and was allocated for this layout; sizes of traces are not 0.
    let moved = unsafe { allocator.realloc(object, layout, later) };
    moved.map_or(0, |object| object.as_ptr().expose_provenance() as u64)
}

unsafe extern "C" fn alloc_op<A: ObjectAllocator>(
    bytes: u64,
    context: u64,
    align_bytes: u64,
    _: u64,
) -> u64 {
    // SAFETY: the meter's caller passes a size and an alignment that make a layout.
    let layout = unsafe { layout(bytes, align_bytes) };
    // SAFETY: the context of these operations is an `A`, borrowed for as long as they live.
    let object = unsafe { allocator_at::<A>(context) }.alloc(layout);
    object.map_or(0, |object| object.as_ptr().expose_provenance() as u64)
}

unsafe extern "C" fn free_op<A: ObjectAllocator>(
    object: u64,
    bytes: u64,
    context: u64,
    align_bytes: u64,
) {
    // SAFETY: the meter's caller passes a size and an alignment that make a layout.
    let layout = unsafe { layout(bytes, align_bytes) };
    #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits here")]
    let object = core::ptr::with_exposed_provenance_mut(object as usize);
    // SAFETY: it passes an object that the allocator returned, which was not null.
    let object = unsafe { NonNull::new_unchecked(object) };
    // SAFETY: as in `alloc_op`.
    let allocator = unsafe { allocator_at::<A>(context) };
    // SAFETY: the object is live and was allocated for this layout.
    unsafe { allocator.dealloc(object, layout) };
}

/// # Safety
///
/// They make a layout.
#[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits here")]
unsafe fn layout(bytes: u64, align_bytes: u64) -> Layout {
    // SAFETY: the caller's promise.
    unsafe { Layout::from_size_align_unchecked(bytes as usize, align_bytes as usize) }
}

/// # Safety
///
/// `context` is the address of an `A` that is borrowed mutably for `'c`.
unsafe fn allocator_at<'c, A>(context: u64) -> &'c mut A {
    #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits here")]
    let allocator = core::ptr::with_exposed_provenance_mut::<A>(context as usize);
    // SAFETY: the caller's promise.
    unsafe { &mut *allocator }
}
