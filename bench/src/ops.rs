//! The operations, each behind one signature that the meter can call.
//!
//! A wrapper turns register arguments into the call and the result into one number, 0 for failure; the
//! allocator's fast path is inlined into it where it inlines. Wrappers are what is measured, so they
//! hold nothing else. Allocations carry the flags of ordinary use although the meter masks interrupts:
//! what is asked is what they cost in an ordinary context. `GlobalAlloc` takes no flags and looks at the
//! context itself, once a core's list is empty: there its rows are ATOMIC.
#![allow(
    unsafe_code,
    reason = "frees by address, as the functions under measurement do"
)]

extern crate alloc;

use crate::meter::{Callee, Meter, Op, Sample, VoidOp};
use crate::workload::{Count, fill};
use alloc::alloc::{alloc, alloc_zeroed, dealloc, realloc};
use core::alloc::Layout;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU32, Ordering};
use kernel::dma::{self, Buffer, Cpu, Device};
use kernel::mm::{
    addr::Order, addr::PAGE_BYTES, addr::Pfn, frames, gfp::Gfp, kmalloc, slab::Cache,
};
use kernel::vm::vmalloc;

/// A way to allocate and the way to free what it gave.
#[derive(Clone, Copy, Debug)]
pub struct Ops<'c> {
    /// Takes an amount (bytes, or an order), the context and the alignment; returns a block, not 0, or
    /// 0 for failure.
    pub alloc: Op,
    /// The same without a word when memory runs out.
    pub quietly: Op,
    /// Takes a block, its amount, the context and the alignment; a refusal is counted.
    pub free: VoidOp,
    /// Whether both may be called with interrupts masked.
    pub masked: bool,
    /// What both work on, by address; 0 for the kernel's own allocators.
    pub context: u64,
    /// The alignment of every block, for allocators that ask.
    pub align_bytes: u64,
    /// How many operations fragment its memory.
    pub fragment: Count,
    /// Bytes that the allocator keeps outside of the memory that it hands out.
    pub kept_bytes: u64,
    works_on: PhantomData<&'c mut ()>,
}

impl Ops<'static> {
    const fn new(alloc: Op, free: VoidOp) -> Self {
        Self {
            alloc,
            quietly: alloc,
            free,
            masked: true,
            context: 0,
            align_bytes: 8,
            fragment: fill::FRAGMENT,
            kept_bytes: 0,
            works_on: PhantomData,
        }
    }
}

/// `kmalloc` and `kfree`.
pub const KMALLOC: Ops<'static> = Ops {
    quietly: kmalloc_quietly,
    ..Ops::new(kmalloc_op, kfree_op)
};
/// A cache of 64-byte objects; the amount does not matter.
pub const CACHE_64: Ops<'static> = Ops::new(cache_alloc, cache_free);
/// Page frames; a block is its first frame's number.
pub const PAGES: Ops<'static> = Ops {
    quietly: pages_quietly,
    ..Ops::new(pages_alloc, pages_free)
};
/// `vmalloc` and `vfree`, which may wait and so are not for masked interrupts.
pub const VMALLOC: Ops<'static> = Ops {
    masked: false,
    ..Ops::new(vmalloc_op, vfree_op)
};

impl<'c> Ops<'c> {
    /// Operations on `context`, whose address both are passed.
    pub fn of<A>(context: &'c mut A, alloc: Op, free: VoidOp, fragment: Count) -> Self {
        Self {
            context: ptr::from_mut(context).expose_provenance() as u64,
            fragment,
            ..Ops::new(alloc, free)
        }
    }
}

impl Ops<'_> {
    /// The same, of an allocator that keeps `bytes` outside of the memory that it hands out.
    pub const fn keeping(self, bytes: u64) -> Self {
        Self {
            kept_bytes: bytes,
            ..self
        }
    }

    /// The same, without a word when memory runs out.
    pub const fn quiet(self) -> Self {
        Self {
            alloc: self.quietly,
            ..self
        }
    }

    /// Allocates `amount`, timed; the result is the block, or 0.
    pub fn alloc(&self, meter: &Meter, amount: u32) -> Sample {
        let arguments = [u64::from(amount), self.context, self.align_bytes, 0];
        // SAFETY: the operation takes any amount that the plan names.
        unsafe { self.timed(meter, self.alloc, arguments) }
    }

    /// Frees what [`alloc`](Self::alloc) gave for `amount`, timed.
    pub fn free(&self, meter: &Meter, block: u64, amount: u32) -> Sample {
        let arguments = [block, u64::from(amount), self.context, self.align_bytes];
        // SAFETY: workloads free each block once, with the amount it was allocated for.
        unsafe { self.timed(meter, self.free, arguments) }
    }

    /// # Safety
    ///
    /// Calling `op` with `arguments` is sound.
    unsafe fn timed(&self, meter: &Meter, op: impl Callee, arguments: [u64; 4]) -> Sample {
        if self.masked {
            // SAFETY: the caller's promise.
            unsafe { meter.masked(op, arguments) }
        } else {
            // SAFETY: as above.
            unsafe { meter.open(op, arguments) }
        }
    }
}

/// Bytes of the frame table of `blocks` of the largest order.
pub fn table_bytes(blocks: u32) -> u64 {
    frames::table_bytes(&(Pfn::new(0)..Pfn::new(blocks * Order::MAX.frames())))
}

/// Page frames of orders that have to be made by compaction, which waits and so is not for masked
/// interrupts.
pub const PAGES_BY_COMPACTION: Ops<'static> = Ops {
    masked: false,
    ..PAGES.quiet()
};

/// Compacts all memory for blocks of `order`, timed: blocks that were moved in the upper half of the
/// result, those that became free in the lower.
pub fn compact(meter: &Meter, order: u64) -> Sample {
    // SAFETY: every order is one to the operation, which changes nothing that anybody has.
    unsafe { meter.open(compact_op as Op, [order.min(10), 0, 0, 0]) }
}

unsafe extern "C" fn compact_op(order: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the caller passes an order.
    let order = unsafe { block_order(order) };
    let done = frames::global().map(|frames| frames.compact(order));
    done.map_or(0, |done| {
        u64::from(done.moved) << 32 | u64::from(done.cleared)
    })
}

/// Frees that were refused.
static REFUSED: AtomicU32 = AtomicU32::new(0);

#[cold]
#[inline(never)]
fn refuse() {
    REFUSED.fetch_add(1, Ordering::Relaxed);
}

/// How many frees were refused since this was asked last; there should be none.
pub fn take_refusals() -> u32 {
    REFUSED.swap(0, Ordering::Relaxed)
}

/// A device and its one buffer.
#[derive(Debug)]
pub struct DmaUser {
    device: Device,
    buffer: Option<Buffer<Cpu>>,
}

impl DmaUser {
    /// A coherent device that reaches all memory, without a buffer.
    pub const fn new() -> Self {
        Self {
            device: Device {
                name: "bench",
                mask: u64::MAX,
                bus_offset: 0,
                coherent: true,
            },
            buffer: None,
        }
    }
}

impl Default for DmaUser {
    fn default() -> Self {
        Self::new()
    }
}

/// The one buffer of `user`.
pub fn dma(user: &mut DmaUser) -> Ops<'_> {
    Ops::of(user, dma_alloc, dma_free, fill::FRAGMENT)
}

/// `kmalloc` that asks for zeros.
pub const ZEROED: Op = kzalloc_op;
/// `krealloc`: a block and its new size.
pub const REALLOC: Op = krealloc_op;
/// The global allocator with a `Layout` known at run time: bytes and alignment as a power of two.
pub const LAYOUT_ALLOC: Op = layout_alloc;
/// The same, zeroed.
pub const LAYOUT_ZEROED: Op = layout_zeroed;
/// Its `dealloc`: a block, bytes and alignment as a power of two.
pub const LAYOUT_FREE: VoidOp = layout_free;
/// Its `realloc`: a block, bytes, alignment as a power of two, new bytes.
pub const LAYOUT_REALLOC: Op = layout_realloc;

/// vmalloc for objects that no block holds: bytes and alignment as a power of two.
pub const LARGE_ALLOC: Op = large_alloc;
/// The same, zeroed.
pub const LARGE_ZEROED: Op = large_zeroed;
/// Frees such an object: its address, bytes and alignment as a power of two.
pub const LARGE_FREE: VoidOp = large_free;

/// The global allocator with a constant `Layout` of `bytes`, for the powers of two from 8 to 4,096.
pub const fn constant_layout(bytes: u32) -> Option<Ops<'static>> {
    const fn of<const BYTES: usize>() -> Ops<'static> {
        Ops::new(constant_alloc::<BYTES>, constant_free::<BYTES>)
    }
    Some(match bytes {
        8 => of::<8>(),
        16 => of::<16>(),
        32 => of::<32>(),
        64 => of::<64>(),
        128 => of::<128>(),
        256 => of::<256>(),
        512 => of::<512>(),
        1024 => of::<1024>(),
        2048 => of::<2048>(),
        4096 => of::<4096>(),
        _ => return None,
    })
}

fn number<E>(block: Result<NonNull<u8>, E>) -> u64 {
    block.map_or(0, |block| block.as_ptr().expose_provenance() as u64)
}

#[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits here")]
const fn size(bytes: u64) -> usize {
    bytes as usize
}

/// # Safety
///
/// `block` is an address that an allocator returned.
unsafe fn pointer(block: u64) -> NonNull<u8> {
    // SAFETY: allocators return no null.
    unsafe { NonNull::new_unchecked(ptr::with_exposed_provenance_mut(size(block))) }
}

/// # Safety
///
/// `bytes` is a size and `align_log2` an alignment below 2^63 that make a `Layout`.
unsafe fn layout(bytes: u64, align_log2: u64) -> Layout {
    // SAFETY: the caller's promise.
    unsafe { Layout::from_size_align_unchecked(size(bytes), 1 << align_log2) }
}

unsafe extern "C" fn kmalloc_op(bytes: u64, _: u64, _: u64, _: u64) -> u64 {
    number(kmalloc::kmalloc(size(bytes), Gfp::KERNEL))
}

unsafe extern "C" fn kmalloc_quietly(bytes: u64, _: u64, _: u64, _: u64) -> u64 {
    number(kmalloc::kmalloc(size(bytes), Gfp::KERNEL | Gfp::NOWARN))
}

unsafe extern "C" fn kzalloc_op(bytes: u64, _: u64, _: u64, _: u64) -> u64 {
    number(kmalloc::kmalloc(size(bytes), Gfp::KERNEL | Gfp::ZERO))
}

unsafe extern "C" fn kfree_op(block: u64, _: u64, _: u64, _: u64) {
    // SAFETY: the meter's caller passes a block that an allocator returned.
    let block = unsafe { pointer(block) };
    // SAFETY: it is kmalloc's and live.
    unsafe { kmalloc::kfree(block) }
}

unsafe extern "C" fn krealloc_op(block: u64, bytes: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the meter's caller passes a block that an allocator returned.
    let block = unsafe { pointer(block) };
    // SAFETY: it is kmalloc's and live.
    number(unsafe { kmalloc::krealloc(Some(block), size(bytes), Gfp::KERNEL) })
}

unsafe extern "C" fn constant_alloc<const BYTES: usize>(_: u64, _: u64, _: u64, _: u64) -> u64 {
    let layout = const { constant::<BYTES>() };
    // SAFETY: the layout's size is not 0.
    unsafe { alloc(layout) }.expose_provenance() as u64
}

unsafe extern "C" fn constant_free<const BYTES: usize>(block: u64, _: u64, _: u64, _: u64) {
    let layout = const { constant::<BYTES>() };
    // SAFETY: the meter's caller passes a block that an allocator returned.
    let block = unsafe { pointer(block) };
    // SAFETY: it is live and was allocated for this layout.
    unsafe { dealloc(block.as_ptr(), layout) }
}

/// `BYTES` aligned to 8, as most types are.
const fn constant<const BYTES: usize>() -> Layout {
    match Layout::from_size_align(BYTES, 8) {
        Ok(layout) => layout,
        Err(_) => panic!("no layout"),
    }
}

unsafe extern "C" fn layout_alloc(bytes: u64, align_log2: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the meter's caller passes bytes and an alignment that make a layout.
    let layout = unsafe { layout(bytes, align_log2) };
    // SAFETY: its size is not 0.
    unsafe { alloc(layout) }.expose_provenance() as u64
}

unsafe extern "C" fn layout_zeroed(bytes: u64, align_log2: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the meter's caller passes bytes and an alignment that make a layout.
    let layout = unsafe { layout(bytes, align_log2) };
    // SAFETY: its size is not 0.
    unsafe { alloc_zeroed(layout) }.expose_provenance() as u64
}

unsafe extern "C" fn layout_free(block: u64, bytes: u64, align_log2: u64, _: u64) {
    // SAFETY: the meter's caller passes a block that an allocator returned.
    let block = unsafe { pointer(block) };
    // SAFETY: the meter's caller passes bytes and an alignment that make a layout.
    let layout = unsafe { layout(bytes, align_log2) };
    // SAFETY: the block is live and was allocated for this layout.
    unsafe { dealloc(block.as_ptr(), layout) }
}

unsafe extern "C" fn layout_realloc(block: u64, bytes: u64, align_log2: u64, later: u64) -> u64 {
    // SAFETY: the meter's caller passes a block that an allocator returned.
    let block = unsafe { pointer(block) };
    // SAFETY: the meter's caller passes bytes and an alignment that make a layout.
    let layout = unsafe { layout(bytes, align_log2) };
    // SAFETY: the block is live and was allocated for this layout, and the new size is not 0.
    unsafe { realloc(block.as_ptr(), layout, size(later)) }.expose_provenance() as u64
}

/// Each object is a cache line on the cores that we know.
static CACHE: Cache = Cache::new("bench-64", 64, 64);

unsafe extern "C" fn cache_alloc(_: u64, _: u64, _: u64, _: u64) -> u64 {
    number(CACHE.alloc(Gfp::KERNEL))
}

unsafe extern "C" fn cache_free(block: u64, _: u64, _: u64, _: u64) {
    // SAFETY: the meter's caller passes a block that an allocator returned.
    let block = unsafe { pointer(block) };
    // SAFETY: it is a live object of this cache.
    unsafe { CACHE.free(block) }
}

unsafe extern "C" fn dma_alloc(bytes: u64, context: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the context of these operations is a user, borrowed for as long as they live.
    let user = unsafe { user_at(context) };
    user.buffer = dma::alloc(&user.device, bytes).ok();
    u64::from(user.buffer.is_some())
}

unsafe extern "C" fn dma_free(_: u64, _: u64, context: u64, _: u64) {
    // SAFETY: as above.
    unsafe { user_at(context) }.buffer = None;
}

/// # Safety
///
/// `context` is the address of a user that is borrowed mutably for `'c`.
unsafe fn user_at<'c>(context: u64) -> &'c mut DmaUser {
    // SAFETY: the caller's promise.
    unsafe { &mut *ptr::with_exposed_provenance_mut(size(context)) }
}

unsafe extern "C" fn pages_alloc(order: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the meter's caller passes an order.
    let order = unsafe { block_order(order) };
    frame_number(frames::alloc(order, Gfp::KERNEL))
}

unsafe extern "C" fn pages_quietly(order: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the meter's caller passes an order.
    let order = unsafe { block_order(order) };
    frame_number(frames::alloc(order, Gfp::KERNEL | Gfp::NOWARN))
}

unsafe extern "C" fn pages_free(block: u64, order: u64, _: u64, _: u64) {
    // SAFETY: the meter's caller passes an order.
    let order = unsafe { block_order(order) };
    if frames::free(first_frame(block), order).is_err() {
        refuse();
    }
}

/// The first frame's number: frame 0 is never handed out, so that 0 stands for failure.
fn frame_number<E>(block: Result<Pfn, E>) -> u64 {
    block.map_or(0, |first| u64::from(first.get()))
}

/// The order that travels as a number. A check would be in the figures.
///
/// # Safety
///
/// `order` is one, 0 to 10.
unsafe fn block_order(order: u64) -> Order {
    let order = u8::try_from(order).ok().and_then(Order::new);
    // SAFETY: the caller's promise.
    unsafe { order.unwrap_unchecked() }
}

/// The first frame of a block of [`PAGES`].
#[expect(
    clippy::cast_possible_truncation,
    reason = "frame numbers have 32 bits"
)]
pub const fn first_frame(block: u64) -> Pfn {
    Pfn::new(block as u32)
}

unsafe extern "C" fn vmalloc_op(bytes: u64, _: u64, _: u64, _: u64) -> u64 {
    number(vmalloc::vmalloc(bytes))
}

unsafe extern "C" fn vfree_op(block: u64, _: u64, _: u64, _: u64) {
    // SAFETY: the meter's caller passes a block that an allocator returned.
    let block = unsafe { pointer(block) };
    // SAFETY: it is a live area.
    if unsafe { vmalloc::vfree(block) }.is_err() {
        refuse();
    }
}

/// A vmalloc area starts a page. For more, it is taken larger by the alignment, and the word before the
/// object says where it starts.
unsafe extern "C" fn large_alloc(bytes: u64, align_log2: u64, _: u64, _: u64) -> u64 {
    let align_bytes = 1 << align_log2;
    if align_bytes <= PAGE_BYTES {
        return number(vmalloc::vmalloc(bytes));
    }
    let area = number(vmalloc::vmalloc(bytes + align_bytes));
    if area == 0 {
        return 0;
    }
    let object = (area + align_bytes) & !(align_bytes - 1);
    // SAFETY: `object` lies at least a page and at most `align_bytes` behind the start of the area.
    unsafe { area_of(object).write(area) };
    object
}

unsafe extern "C" fn large_zeroed(bytes: u64, align_log2: u64, _: u64, _: u64) -> u64 {
    // SAFETY: as for this function itself.
    let object = unsafe { large_alloc(bytes, align_log2, 0, 0) };
    if object != 0 {
        // SAFETY: it is not null.
        let start = unsafe { pointer(object) };
        // SAFETY: the object was just allocated with this many bytes.
        unsafe { start.write_bytes(0, size(bytes)) };
    }
    object
}

unsafe extern "C" fn large_free(object: u64, _: u64, align_log2: u64, _: u64) {
    let area = if 1 << align_log2 <= PAGE_BYTES {
        object
    } else {
        // SAFETY: the meter's caller passes a live object with the alignment it was allocated for, so
        // the word before it is the one that was written then.
        unsafe { area_of(object).read() }
    };
    // SAFETY: it is where an area starts, so not null.
    let area = unsafe { pointer(area) };
    // SAFETY: the area is live, as the object is.
    if unsafe { vmalloc::vfree(area) }.is_err() {
        refuse();
    }
}

/// Where the start of the area of an object is kept that is aligned to more than a page.
const fn area_of(object: u64) -> *mut u64 {
    ptr::with_exposed_provenance_mut(size(object - 8))
}
