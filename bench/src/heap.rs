//! The kernel's allocators as a trace's heap, timed or not.
//!
//! Which allocator serves an object follows from what the trace asks:
//!
//! | object | served by |
//! |---|---|
//! | no alignment named, or at most 8 bytes | `kmalloc` |
//! | alignment named | the global allocator |
//! | more than 4 MiB, or aligned to more than that | vmalloc, as in Linux's `kvmalloc` |
//!
//! A reallocation that changes from one to another is an allocation, a copy and a free, timed as one.
#![allow(
    unsafe_code,
    reason = "reads and writes the objects of a trace by address"
)]

use crate::meter::{self, Callee, Meter, Op, VoidOp};
use crate::ops;
use crate::plan::Operation;
use crate::replay::{Heap, Request};
use crate::samples::{Observed, Samples};
use core::ptr;
use kernel::mm::addr::{LinearMap, Order, PAGE_BYTES, PAGE_SHIFT, VirtAddr};
use kernel::mm::frames;

/// Bytes of a page frame.
const FRAME_BYTES: usize = 1 << PAGE_SHIFT;
/// Objects above this, or aligned to more, come from vmalloc: the largest buddy block.
const LARGEST_BLOCK: u64 = Order::MAX.bytes();
/// Alignments up to this one every allocator keeps anyway, as a power of two.
const NATURAL_ALIGN_LOG2: u64 = 3;

/// Who serves an object, by its operations. All take an object's bytes and its alignment as a power of
/// two, behind its address where there is one already.
struct Server {
    alloc: Op,
    zeroed: Op,
    free: VoidOp,
    masked: bool,
}

static KMALLOC: Server = Server {
    alloc: ops::KMALLOC.alloc,
    zeroed: ops::ZEROED,
    free: ops::KMALLOC.free,
    masked: true,
};
static GLOBAL: Server = Server {
    alloc: ops::LAYOUT_ALLOC,
    zeroed: ops::LAYOUT_ZEROED,
    free: ops::LAYOUT_FREE,
    masked: true,
};
static LARGE: Server = Server {
    alloc: ops::LARGE_ALLOC,
    zeroed: ops::LARGE_ZEROED,
    free: ops::LARGE_FREE,
    masked: false,
};

impl Server {
    const fn of(bytes: u64, align_log2: u64) -> &'static Self {
        if bytes > LARGEST_BLOCK || 1 << align_log2 > LARGEST_BLOCK {
            &LARGE
        } else if align_log2 > NATURAL_ALIGN_LOG2 {
            &GLOBAL
        } else {
            &KMALLOC
        }
    }
}

/// The kernel's heap.
#[derive(Debug)]
pub struct KernelHeap<'a>(Option<Timing<'a>>);

/// What times operations, and where that goes.
#[derive(Debug)]
struct Timing<'a> {
    meter: &'a Meter,
    sink: Sink<'a>,
}

#[derive(Debug)]
enum Sink<'a> {
    /// At once into the rows.
    Samples(&'a mut [Samples; Operation::ALL.len()]),
    /// Noted, one behind the other, for a row that several cores make together.
    Costs(core::slice::IterMut<'a, Cost>),
}

/// What one operation gave.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    operation: Operation,
    observed: Observed,
}

impl Cost {
    /// None yet.
    pub fn none() -> Self {
        Self {
            operation: Operation::Alloc,
            observed: Observed::default(),
        }
    }

    /// Makes a sample of it.
    pub fn tell(&self, samples: &mut [Samples; Operation::ALL.len()]) {
        samples[self.operation.index()].take(self.observed, true);
    }
}

impl<'a> KernelHeap<'a> {
    /// A heap that times what it does into `samples`, until it stops recording.
    pub const fn timed(meter: &'a Meter, samples: &'a mut [Samples; Operation::ALL.len()]) -> Self {
        let sink = Sink::Samples(samples);
        Self(Some(Timing { meter, sink }))
    }

    /// A heap that notes what its operations cost in `costs`, one behind the other, until it stops
    /// recording or they are full.
    pub fn noted(meter: &'a Meter, costs: &'a mut [Cost]) -> Self {
        let sink = Sink::Costs(costs.iter_mut());
        Self(Some(Timing { meter, sink }))
    }

    /// A heap that only does it, and holds 0 bytes as far as it tells: counting all memory's free frames
    /// takes locks that cores would meet at.
    pub const fn untimed() -> Self {
        Self(None)
    }

    /// Does `op` to `amount`, timed with interrupts masked where it may be called so; returns its
    /// result.
    fn perform(
        &mut self,
        operation: Operation,
        masked: bool,
        op: impl Callee,
        amount: u64,
        arguments: [u64; 4],
    ) -> u64 {
        let Some(Timing { meter, sink }) = &mut self.0 else {
            // SAFETY: replay passes live objects only, as they were asked for (its invariant 1).
            return unsafe { op.call(arguments) };
        };
        if let Sink::Samples(samples) = sink
            && samples[operation.index()].is_watched()
        {
            meter::watched(op);
        }
        let sample = if masked {
            // SAFETY: as above.
            unsafe { meter.masked(op, arguments) }
        } else {
            // SAFETY: as above.
            unsafe { meter.open(op, arguments) }
        };
        let cost = Cost {
            operation,
            observed: sample.observed(amount),
        };
        match sink {
            Sink::Samples(samples) => cost.tell(samples),
            Sink::Costs(costs) => {
                if let Some(place) = costs.next() {
                    *place = cost;
                }
            }
        }
        sample.result
    }
}

/// What an allocation returned, an address or a frame's number: 0 stands for failure.
fn block(address: u64) -> Option<u64> {
    (address != 0).then_some(address)
}

impl Heap for KernelHeap<'_> {
    fn alloc(&mut self, request: Request, zeroed: bool) -> Option<u64> {
        let (bytes, align_log2) = numbers(request);
        let server = Server::of(bytes, align_log2);
        let (operation, op) = if zeroed {
            (Operation::Zeroed, server.zeroed)
        } else {
            (Operation::Alloc, server.alloc)
        };
        block(self.perform(
            operation,
            server.masked,
            op,
            bytes,
            [bytes, align_log2, 0, 0],
        ))
    }

    fn realloc(&mut self, object: u64, request: Request, size: u32) -> Option<u64> {
        let (bytes, align_log2) = numbers(request);
        let later = u64::from(size);
        let (from, to) = (Server::of(bytes, align_log2), Server::of(later, align_log2));
        let (op, arguments): (Op, _) = if !ptr::eq(from, to) || ptr::eq(to, &raw const LARGE) {
            (moved, [object, bytes, align_log2, later])
        } else if ptr::eq(to, &raw const GLOBAL) {
            (ops::LAYOUT_REALLOC, [object, bytes, align_log2, later])
        } else {
            (ops::REALLOC, [object, later, 0, 0])
        };
        let masked = from.masked && to.masked;
        block(self.perform(Operation::Realloc, masked, op, later, arguments))
    }

    fn free(&mut self, object: u64, request: Request) -> bool {
        let (bytes, align_log2) = numbers(request);
        let server = Server::of(bytes, align_log2);
        let arguments = [object, bytes, align_log2, 0];
        self.perform(
            Operation::Free,
            server.masked,
            server.free,
            bytes,
            arguments,
        );
        ops::take_refusals() == 0
    }

    fn alloc_pages(&mut self, order: u8) -> Option<u64> {
        let arguments = [u64::from(order), 0, 0, 0];
        block(self.perform(
            Operation::PagesAlloc,
            true,
            ops::PAGES.alloc,
            order.into(),
            arguments,
        ))
    }

    fn free_pages(&mut self, first: u64, order: u8) -> bool {
        let arguments = [first, u64::from(order), 0, 0];
        self.perform(
            Operation::PagesFree,
            true,
            ops::PAGES.free,
            order.into(),
            arguments,
        );
        ops::take_refusals() == 0
    }

    fn object(&mut self, object: u64, request: Request) -> &mut [u8] {
        let start = VirtAddr::new(object).as_mut_ptr();
        // SAFETY: replay asks for live objects only (its invariant 1), and nothing else uses them; the
        // slice borrows the heap, so that it ends before the object can.
        unsafe { core::slice::from_raw_parts_mut(start, request.size as usize) }
    }

    fn pages(&mut self, first: u64, order: u8) -> &mut [u8] {
        let start = LinearMap::kernel().to_virt(ops::first_frame(first).address());
        // SAFETY: as for objects; frames from the allocator are mapped in the linear map.
        unsafe { core::slice::from_raw_parts_mut(start.as_mut_ptr(), FRAME_BYTES << order) }
    }

    fn held_bytes(&self) -> u64 {
        if self.0.is_none() {
            return 0;
        }
        let taken = frames::global().map_or(0, |all| all.managed_frames() - all.free_frames());
        u64::from(taken) * PAGE_BYTES
    }

    fn stop_recording(&mut self) {
        self.0 = None;
    }
}

fn numbers(request: Request) -> (u64, u64) {
    (u64::from(request.size), u64::from(request.align_log2))
}

/// Allocates `later` bytes, copies what both hold, frees `object`; 0, and nothing changed, if there is
/// no memory.
unsafe extern "C" fn moved(object: u64, bytes: u64, align_log2: u64, later: u64) -> u64 {
    let (from, to) = (Server::of(bytes, align_log2), Server::of(later, align_log2));
    // SAFETY: sizes are at least 1.
    let target = unsafe { (to.alloc)(later, align_log2, 0, 0) };
    if target == 0 {
        return 0;
    }
    #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits here")]
    let kept = bytes.min(later) as usize;
    let (source, copy) = (VirtAddr::new(object), VirtAddr::new(target));
    // SAFETY: both are live objects of at least `kept` bytes, and the new one is no part of the old.
    unsafe {
        ptr::copy_nonoverlapping(source.as_mut_ptr::<u8>(), copy.as_mut_ptr(), kept);
    }
    // SAFETY: the meter's caller passes a live object as it was asked for.
    unsafe { (from.free)(object, bytes, align_log2, 0) };
    target
}
