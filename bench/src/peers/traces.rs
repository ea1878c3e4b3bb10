//! Traces replayed on an allocator of the line-up, by the calls of `GlobalAlloc`; page frames are objects
//! of their size that are aligned to it.

use super::line_up::Unfit;
use super::{FRAME_LOG2, ObjectAllocator, calls};
use crate::meter::{Callee, Meter};
use crate::name::Name;
use crate::plan::Operation;
use crate::replay::{self, Entry, Heap, Request};
use crate::report::Reporter;
use crate::rows::Rows;
use crate::samples::Samples;
use crate::scratch::Scratch;
use crate::table::Table;
use crate::traces as recorded;
use wire::bench::Record;
use wire::trace::Trace;

/// What their rows measure.
const ABOUT: &str =
    "A recorded trace by the calls of GlobalAlloc, every object stamped and verified.";
/// Alignments up to this one every object has, in bytes.
const LEAST_ALIGN_BYTES: u64 = 8;

/// A trace of which rows are wanted.
pub(super) struct Wanted {
    /// What its rows' names begin with.
    pub(super) family: Name,
    trace: Trace<'static>,
}

impl Wanted {
    /// Bytes of the arena that it is replayed in.
    pub(super) fn arena_bytes(&self) -> usize {
        usize::try_from(self.trace.totals.arena_bytes()).unwrap_or(usize::MAX / 4)
    }
}

/// The traces behind the image, for the allocator `peer`.
fn all(peer: &Name) -> impl Iterator<Item = Wanted> {
    let traces = recorded::all().filter_map(|(name, bytes)| Some((name, Trace::parse(bytes)?)));
    traces.map(move |(name, trace)| Wanted {
        family: Name::new(format_args!("peer/{}/trace/{name}", &**peer)),
        trace,
    })
}

/// Sends their rows as the plan.
pub(super) fn plan(peer: &Name, reporter: &Reporter) {
    for Wanted { family, trace } in all(peer) {
        for operation in recorded::operations(&trace) {
            reporter.plan(&family, &[operation], ABOUT);
        }
    }
}

/// Those of which some row was asked for.
pub(super) fn wanted(peer: &Name, reporter: &Reporter) -> impl Iterator<Item = Wanted> {
    all(peer).filter(move |Wanted { family, trace }| {
        recorded::operations(trace).any(|operation| reporter.wants_any(family, &[operation]))
    })
}

/// Replays a trace on `allocator` and sends its rows.
pub(super) fn replay<A: ObjectAllocator>(
    Wanted { family, trace }: &Wanted,
    allocator: &mut A,
    rows: Rows<'_>,
    scratch: &mut Scratch,
) -> Result<(), Unfit> {
    rows.reporter.send(&Record::Begin { name: family });
    scratch.begin(family);
    let mut entries = Table::new(trace.totals.slots, Entry::Empty)?;
    let mut heap = PeerHeap {
        allocator,
        meter: rows.meter,
        samples: &mut scratch.samples,
        recording: true,
    };
    replay::replay(&mut heap, trace, &mut entries, |_| {})?;
    for operation in recorded::operations(trace) {
        rows.reporter.family(family, &[operation], &scratch.samples);
    }
    Ok(())
}

/// An allocator as a trace's heap.
struct PeerHeap<'a, A> {
    allocator: &'a mut A,
    meter: &'a Meter,
    samples: &'a mut [Samples; Operation::ALL.len()],
    recording: bool,
}

impl<A: ObjectAllocator> PeerHeap<'_, A> {
    fn perform(
        &mut self,
        operation: Operation,
        op: impl Callee,
        amount: u64,
        arguments: [u64; 4],
    ) -> u64 {
        // SAFETY: replay passes live objects only, as they were asked for (its invariant 1).
        let sample = unsafe { self.meter.masked(op, arguments) };
        let observed = sample.observed(amount);
        self.samples[operation.index()].take(observed, self.recording);
        sample.result
    }

    fn context(&mut self) -> u64 {
        core::ptr::from_mut(self.allocator).expose_provenance() as u64
    }

    fn take(&mut self, operation: Operation, (bytes, align_bytes): (u64, u64)) -> Option<u64> {
        let arguments = [bytes, self.context(), align_bytes, 0];
        let object = if operation == Operation::Zeroed {
            self.perform(operation, calls::zeroed::<A>(), bytes, arguments)
        } else {
            self.perform(operation, calls::alloc::<A>(), bytes, arguments)
        };
        (object != 0).then_some(object)
    }

    fn give(&mut self, operation: Operation, object: u64, (bytes, align_bytes): (u64, u64)) {
        let arguments = [object, bytes, self.context(), align_bytes];
        self.perform(operation, calls::free::<A>(), bytes, arguments);
    }
}

/// The bytes and the alignment of a request.
fn shape(request: Request) -> (u64, u64) {
    let align_bytes = (1 << request.align_log2).max(LEAST_ALIGN_BYTES);
    (u64::from(request.size), align_bytes)
}

/// Those of a block of page frames.
fn block(order: u8) -> (u64, u64) {
    let bytes = 1 << (FRAME_LOG2 + u32::from(order));
    (bytes, bytes)
}

impl<A: ObjectAllocator> Heap for PeerHeap<'_, A> {
    fn alloc(&mut self, request: Request, zeroed: bool) -> Option<u64> {
        let operation = if zeroed {
            Operation::Zeroed
        } else {
            Operation::Alloc
        };
        self.take(operation, shape(request))
    }

    fn realloc(&mut self, object: u64, request: Request, size: u32) -> Option<u64> {
        let (bytes, align_bytes) = shape(request);
        let later = u64::from(size);
        let arguments = [object, self.context(), align_bytes << 32 | bytes, later];
        let op = calls::realloc::<A>();
        let moved = self.perform(Operation::Realloc, op, later, arguments);
        (moved != 0).then_some(moved)
    }

    fn free(&mut self, object: u64, request: Request) -> bool {
        self.give(Operation::Free, object, shape(request));
        true
    }

    fn alloc_pages(&mut self, order: u8) -> Option<u64> {
        let start = self.take(Operation::PagesAlloc, block(order))?;
        Some(start >> FRAME_LOG2)
    }

    fn free_pages(&mut self, first: u64, order: u8) -> bool {
        self.give(Operation::PagesFree, first << FRAME_LOG2, block(order));
        true
    }

    fn object(&mut self, object: u64, request: Request) -> &mut [u8] {
        // SAFETY: replay asks for live objects only (its invariant 1), and nothing else uses them; the
        // slice borrows the heap, so that it ends before the object can.
        unsafe { core::slice::from_raw_parts_mut(start(object), request.size as usize) }
    }

    fn pages(&mut self, first: u64, order: u8) -> &mut [u8] {
        let start = start(first << FRAME_LOG2);
        // SAFETY: as for objects.
        unsafe { core::slice::from_raw_parts_mut(start, 1 << (FRAME_LOG2 + u32::from(order))) }
    }

    fn held_bytes(&self) -> u64 {
        // An arena is taken as a whole.
        0
    }

    fn stop_recording(&mut self) {
        self.recording = false;
    }
}

#[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits here")]
const fn start(object: u64) -> *mut u8 {
    core::ptr::with_exposed_provenance_mut(object as usize)
}
