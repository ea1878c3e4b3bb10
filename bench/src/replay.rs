//! Replays a recorded trace and checks, event by event, that the allocator keeps its promises.
//!
//! Every object is stamped when it is allocated and verified when it is freed or reallocated;
//! alignment, and zeros where they were asked for, are verified at once. None of that lies inside the
//! timed window, which is [`Heap`]'s.
//!
//! # Invariants
//!
//! 1. An entry that is not empty holds a block which the heap returned and has not got back.

use crate::stamp::Stamp;
use core::fmt;
use wire::trace::{Event, Op, Trace};

/// An object as the trace asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Bytes, at least 1.
    pub size: u32,
    /// Alignment as a power of two; 0 if the trace names none.
    pub align_log2: u8,
}

/// What a trace is replayed against. Allocating, reallocating and freeing are timed by the
/// implementation.
pub trait Heap {
    /// Allocates; the address of the object.
    fn alloc(&mut self, request: Request, zeroed: bool) -> Option<u64>;
    /// Changes the size of `object`, allocated for `request`, to `size`; its new address.
    fn realloc(&mut self, object: u64, request: Request, size: u32) -> Option<u64>;
    /// Frees `object`, allocated for `request`; whether the allocator took it.
    fn free(&mut self, object: u64, request: Request) -> bool;
    /// Allocates 2^`order` page frames; the number of the first.
    fn alloc_pages(&mut self, order: u8) -> Option<u64>;
    /// Frees the 2^`order` page frames from number `first`; whether the allocator took them.
    fn free_pages(&mut self, first: u64, order: u8) -> bool;
    /// The bytes of a live object.
    fn object(&mut self, object: u64, request: Request) -> &mut [u8];
    /// The bytes of live page frames.
    fn pages(&mut self, first: u64, order: u8) -> &mut [u8];
    /// Bytes that the allocators under test have taken from the machine's free page frames.
    fn held_bytes(&self) -> u64;
    /// From here on operations are no samples.
    fn stop_recording(&mut self);
}

/// One slot of the trace.
#[derive(Clone, Copy, Debug, Default)]
pub enum Entry {
    /// Nothing lives in it.
    #[default]
    Empty,
    /// An object.
    Object {
        /// Its address.
        address: u64,
        /// What was asked for.
        request: Request,
        /// The event that stamped it.
        stamped_by: u32,
    },
    /// Page frames.
    Pages {
        /// The first one's number.
        first: u64,
        /// Their order.
        order: u8,
        /// The event that stamped them.
        stamped_by: u32,
    },
}

/// How memory stands between two events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Events so far.
    pub events: u32,
    /// Bytes that the trace had asked for and not freed, page frames included.
    pub asked_bytes: u64,
    /// Bytes that the allocators held for it.
    pub held_bytes: u64,
}

/// Points of a replay, evenly spaced, and as many again at most.
pub const POINTS: u32 = 200;

/// What a replay adds up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Most bytes that the trace had asked for and not freed, page frames included.
    pub peak_asked_bytes: u64,
    /// Most bytes that the allocators held for it.
    pub peak_held_bytes: u64,
}

/// Why a replay stopped, and at which event (from 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayError {
    /// The event's number.
    pub event: u32,
    /// What was wrong.
    pub kind: ErrorKind,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No memory for this many bytes.
    OutOfMemory {
        /// Bytes asked for.
        bytes: u64,
    },
    /// An object at an address that its alignment forbids.
    Misaligned {
        /// Its address.
        address: u64,
        /// The alignment promised, in bytes.
        align_bytes: u64,
    },
    /// A zeroed object that holds something else.
    NotZeroed {
        /// Offset of the first byte that is not zero.
        offset: usize,
    },
    /// Contents that changed while the object lived.
    Overwritten {
        /// The slot it lives in.
        slot: u32,
    },
    /// A free that the allocator refused.
    FreeRefused {
        /// The slot.
        slot: u32,
    },
    /// An event that its slot's state forbids: the trace was not checked.
    Malformed {
        /// The slot.
        slot: u32,
    },
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {}: ", self.event)?;
        match self.kind {
            ErrorKind::OutOfMemory { bytes } => write!(f, "no memory for {bytes} bytes"),
            ErrorKind::Misaligned {
                address,
                align_bytes,
            } => write!(f, "{address:#x} is not aligned to {align_bytes} bytes"),
            ErrorKind::NotZeroed { offset } => {
                write!(f, "asked for zeros, byte {offset} is something else")
            }
            ErrorKind::Overwritten { slot } => {
                write!(f, "the contents of slot {slot} changed while it was live")
            }
            ErrorKind::FreeRefused { slot } => write!(f, "freeing slot {slot} was refused"),
            ErrorKind::Malformed { slot } => {
                write!(f, "the trace uses slot {slot} in a way its state forbids")
            }
        }
    }
}

impl core::error::Error for ReplayError {}

/// Replays `trace` with `entries` as its slots, all empty and at least as many as it uses, and shows
/// `points` how memory stands every so often. What is still live at the end (or at an error) is freed,
/// unrecorded.
///
/// # Errors
///
/// [`ReplayError`] at the first event that goes wrong.
pub fn replay(
    heap: &mut impl Heap,
    trace: &Trace<'_>,
    entries: &mut [Entry],
    mut points: impl FnMut(Point),
) -> Result<Totals, ReplayError> {
    let held_before = heap.held_bytes();
    let mut run = Run::new(heap);
    let mut totals = Totals::default();
    let stride = (trace.totals.events / POINTS).max(1);
    let mut number = 0;
    let mut result = Ok(());
    for event in trace.events() {
        let slot = event.slot;
        result = entries
            .get_mut(slot as usize)
            .ok_or(ErrorKind::Malformed { slot })
            .and_then(|entry| run.event(entry, event, number));
        if result.is_err() {
            break;
        }
        number += 1;
        let held_bytes = run.heap.held_bytes().saturating_sub(held_before);
        totals.peak_asked_bytes = totals.peak_asked_bytes.max(run.asked_bytes);
        totals.peak_held_bytes = totals.peak_held_bytes.max(held_bytes);
        if number % stride == 0 {
            points(Point {
                events: number,
                asked_bytes: run.asked_bytes,
                held_bytes,
            });
        }
    }
    run.heap.stop_recording();
    for (slot, entry) in (0..).zip(entries) {
        // The first error is the one to tell; after it contents are no longer to be relied on.
        result = result.and(run.release(entry, slot));
    }
    let failed = |kind| ReplayError {
        event: number,
        kind,
    };
    result.map(|()| totals).map_err(failed)
}

/// Events on a heap, each checked.
#[derive(Debug)]
pub(crate) struct Run<'a, H> {
    heap: &'a mut H,
    /// Meant modulo 2^64: one of several runs may free what another one allocated.
    asked_bytes: u64,
}

impl<'a, H: Heap> Run<'a, H> {
    /// Events on `heap`, none so far.
    pub(crate) const fn new(heap: &'a mut H) -> Self {
        Self {
            heap,
            asked_bytes: 0,
        }
    }

    /// Does the event `number` to what is in `entry`, its slot's.
    pub(crate) fn event(
        &mut self,
        entry: &mut Entry,
        event: Event,
        number: u32,
    ) -> Result<(), ErrorKind> {
        let slot = event.slot;
        let malformed = ErrorKind::Malformed { slot };
        let request = Request {
            size: event.size,
            align_log2: event.align_log2,
        };
        match (event.op, &*entry) {
            (Op::Alloc, Entry::Empty) => self.alloc(entry, request, false, number, slot),
            (Op::Zeroed, Entry::Empty) => self.alloc(entry, request, true, number, slot),
            (Op::Pages, Entry::Empty) => {
                let order = u8::try_from(event.size).map_err(|_| malformed)?;
                self.alloc_pages(entry, order, number, slot)
            }
            (Op::Realloc, Entry::Object { .. }) => self.realloc(entry, event.size, number, slot),
            (Op::Free, Entry::Object { .. }) | (Op::FreePages, Entry::Pages { .. }) => {
                self.release(entry, slot)
            }
            _ => Err(malformed),
        }
    }

    fn alloc(
        &mut self,
        entry: &mut Entry,
        request: Request,
        zeroed: bool,
        number: u32,
        slot: u32,
    ) -> Result<(), ErrorKind> {
        let bytes = u64::from(request.size);
        let address = self.heap.alloc(request, zeroed);
        let address = address.ok_or(ErrorKind::OutOfMemory { bytes })?;
        self.asked_bytes = self.asked_bytes.wrapping_add(bytes);
        *entry = Entry::Object {
            address,
            request,
            stamped_by: number,
        };
        aligned(address, request)?;
        let object = self.heap.object(address, request);
        if zeroed && let Some(offset) = first_nonzero(object) {
            return Err(ErrorKind::NotZeroed { offset });
        }
        Stamp::new(slot, number).write(object);
        Ok(())
    }

    fn realloc(
        &mut self,
        entry: &mut Entry,
        size: u32,
        number: u32,
        slot: u32,
    ) -> Result<(), ErrorKind> {
        let Entry::Object {
            address,
            request,
            stamped_by,
        } = *entry
        else {
            return Err(ErrorKind::Malformed { slot });
        };
        let former = Stamp::new(slot, stamped_by);
        let former_bytes = request.size as usize;
        if !former.is_in(self.heap.object(address, request), former_bytes) {
            return Err(ErrorKind::Overwritten { slot });
        }
        let bytes = u64::from(size);
        let address = self.heap.realloc(address, request, size);
        let address = address.ok_or(ErrorKind::OutOfMemory { bytes })?;
        let more = bytes.wrapping_sub(request.size.into());
        self.asked_bytes = self.asked_bytes.wrapping_add(more);
        let request = Request { size, ..request };
        *entry = Entry::Object {
            address,
            request,
            stamped_by: number,
        };
        aligned(address, request)?;
        let object = self.heap.object(address, request);
        if !former.is_in(object, former_bytes) {
            return Err(ErrorKind::Overwritten { slot });
        }
        Stamp::new(slot, number).write(object);
        Ok(())
    }

    fn alloc_pages(
        &mut self,
        entry: &mut Entry,
        order: u8,
        number: u32,
        slot: u32,
    ) -> Result<(), ErrorKind> {
        let bytes = block_bytes(order);
        let first = self.heap.alloc_pages(order);
        let first = first.ok_or(ErrorKind::OutOfMemory { bytes })?;
        self.asked_bytes = self.asked_bytes.wrapping_add(bytes);
        *entry = Entry::Pages {
            first,
            order,
            stamped_by: number,
        };
        if !first.is_multiple_of(1 << order) {
            return Err(ErrorKind::Misaligned {
                address: first << FRAME_SHIFT,
                align_bytes: bytes,
            });
        }
        Stamp::new(slot, number).write(self.heap.pages(first, order));
        Ok(())
    }

    /// Verifies and frees what is in `entry`, if anything.
    pub(crate) fn release(&mut self, entry: &mut Entry, slot: u32) -> Result<(), ErrorKind> {
        let (sound, freed) = match core::mem::take(entry) {
            Entry::Empty => (true, true),
            Entry::Object {
                address,
                request,
                stamped_by,
            } => {
                let object = self.heap.object(address, request);
                let sound = Stamp::new(slot, stamped_by).is_in(object, object.len());
                self.asked_bytes = self.asked_bytes.wrapping_sub(request.size.into());
                (sound, self.heap.free(address, request))
            }
            Entry::Pages {
                first,
                order,
                stamped_by,
            } => {
                let pages = self.heap.pages(first, order);
                let sound = Stamp::new(slot, stamped_by).is_in(pages, pages.len());
                self.asked_bytes = self.asked_bytes.wrapping_sub(block_bytes(order));
                (sound, self.heap.free_pages(first, order))
            }
        };
        match (sound, freed) {
            (true, true) => Ok(()),
            (true, false) => Err(ErrorKind::FreeRefused { slot }),
            (false, _) => Err(ErrorKind::Overwritten { slot }),
        }
    }
}

/// Bytes of a page frame as a power of two.
const FRAME_SHIFT: u32 = 12;

const fn block_bytes(order: u8) -> u64 {
    1 << (FRAME_SHIFT + order as u32)
}

/// Least alignment of any object, as a power of two: 8 bytes.
const LEAST_ALIGN_LOG2: u8 = 3;

/// Whether `address` keeps the alignment that `request` names, and the least one.
fn aligned(address: u64, request: Request) -> Result<(), ErrorKind> {
    let align_bytes = 1 << request.align_log2.max(LEAST_ALIGN_LOG2);
    if address.is_multiple_of(align_bytes) {
        Ok(())
    } else {
        Err(ErrorKind::Misaligned {
            address,
            align_bytes,
        })
    }
}

fn first_nonzero(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&byte| byte != 0)
}

#[cfg(test)]
mod tests;
