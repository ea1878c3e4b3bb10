//! A heap for the time before there is an allocator: `embedded-alloc`'s, as a value.
//!
//! # Shape
//!
//! ```text
//! memblock range ─► BootHeap ─► BootVec, BootVec, …      each borrows the heap
//!                       └─ finish() ─► the range again ─► the frame allocator
//! ```
//!
//! It never stands behind `GlobalAlloc`, and what it hands out cannot outlive it: so no boot pointer can
//! reach a slab's list, and when the heap is finished its memory is free again, all of it.
//!
//! # Locking
//!
//! `embedded-alloc` works inside `critical-section`s, which this file provides: interrupts masked on this
//! core, and one lock for all cores, which its holder may take again.
#![allow(
    unsafe_code,
    reason = "hands memory to embedded-alloc, and implements its critical section"
)]

use super::addr::{LinearMap, PhysAddr};
use crate::sync::{irq, percpu};
use core::{
    alloc::{GlobalAlloc, Layout},
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut, Range},
    ptr::NonNull,
    slice,
    sync::atomic::{
        AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
    },
};
use embedded_alloc::LlffHeap;

/// The boot heap has no room for so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootHeapFull {
    /// Bytes asked for.
    pub bytes: usize,
    /// Bytes free, perhaps in pieces.
    pub free_bytes: usize,
}

impl fmt::Display for BootHeapFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, free_bytes } = self;
        write!(f, "no {bytes} bytes in the boot heap, {free_bytes} free")
    }
}

impl core::error::Error for BootHeapFull {}

/// A first-fit heap over a range of memory.
pub struct BootHeap {
    heap: LlffHeap,
    range: Range<PhysAddr>,
}

impl BootHeap {
    /// A heap in `range`, which has at least 64 bytes and starts 16-aligned.
    ///
    /// # Safety
    ///
    /// `linear` maps the range writable, and nobody uses it until [`finish`](Self::finish) returns it.
    pub unsafe fn new(linear: LinearMap, range: Range<PhysAddr>) -> Self {
        let heap = LlffHeap::empty();
        let start = linear.to_virt(range.start).as_mut_ptr::<u8>().addr();
        let bytes = range.end.get() - range.start.get();
        #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits")]
        // SAFETY: the caller promises the memory; the heap is new.
        unsafe {
            heap.init(start, bytes as usize);
        }
        Self { heap, range }
    }

    /// Bytes handed out, the allocator's own overhead included.
    pub fn used_bytes(&self) -> usize {
        self.heap.used()
    }

    /// An empty vector with room for `capacity` elements.
    ///
    /// # Errors
    ///
    /// [`BootHeapFull`].
    pub fn vec<T: Copy>(&self, capacity: usize) -> Result<BootVec<'_, T>, BootHeapFull> {
        let bytes = capacity.saturating_mul(size_of::<T>());
        let full = BootHeapFull {
            bytes,
            free_bytes: self.heap.free(),
        };
        let layout = Layout::array::<T>(capacity).map_err(|_| full)?;
        let start = if layout.size() == 0 {
            NonNull::dangling()
        } else {
            // SAFETY: the layout has a size.
            NonNull::new(unsafe { self.heap.alloc(layout) })
                .ok_or(full)?
                .cast()
        };
        Ok(BootVec {
            heap: self,
            start,
            len: 0,
            capacity,
            owns: PhantomData,
        })
    }

    /// Ends the heap; nothing that it handed out is left. Returns its memory.
    pub fn finish(self) -> Range<PhysAddr> {
        self.range
    }
}

impl fmt::Debug for BootHeap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "BootHeap({:?}, {} bytes used)",
            self.range,
            self.used_bytes()
        )
    }
}

/// A growing array in the boot heap.
///
/// Invariant: `start` has room for `capacity` elements, of which the first `len` are written.
pub struct BootVec<'h, T: Copy> {
    heap: &'h BootHeap,
    start: NonNull<T>,
    len: usize,
    capacity: usize,
    owns: PhantomData<T>,
}

impl<T: Copy> BootVec<'_, T> {
    /// Appends `value`, moving everything to twice the room if there is none left.
    ///
    /// # Errors
    ///
    /// [`BootHeapFull`]; nothing was appended.
    pub fn push(&mut self, value: T) -> Result<(), BootHeapFull> {
        if self.len == self.capacity {
            let mut larger = self.heap.vec::<T>(self.capacity.max(4) * 2)?;
            for value in self.iter() {
                larger.push(*value)?;
            }
            core::mem::swap(self, &mut larger);
        }
        // SAFETY: by the invariant there is room behind the first `len`.
        let end = unsafe { self.start.add(self.len) };
        // SAFETY: as above.
        unsafe { end.write(value) };
        self.len += 1;
        Ok(())
    }
}

impl<T: Copy> Deref for BootVec<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: by the invariant.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Copy> DerefMut for BootVec<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: by the invariant, and the vector is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: Copy + fmt::Debug> fmt::Debug for BootVec<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: Copy> Drop for BootVec<'_, T> {
    fn drop(&mut self) {
        if let Ok(layout) = Layout::array::<T>(self.capacity)
            && layout.size() > 0
        {
            // SAFETY: `vec` took it from this heap with this layout.
            unsafe { self.heap.heap.dealloc(self.start.as_ptr().cast(), layout) };
        }
    }
}

struct CriticalSection;
critical_section::set_impl!(CriticalSection);

/// The core that is in a critical section, plus 1; 0 while none is.
static HOLDER: AtomicUsize = AtomicUsize::new(0);
/// In a restore state: this section is inside another one of the same core.
const NESTED: u64 = 1;
/// In a restore state: interrupts were not masked.
const UNMASK: u64 = 2;

// SAFETY: `acquire` masks interrupts on this core and waits until no other core is inside; `release`
// undoes both in the opposite order, but for a section inside another one.
unsafe impl critical_section::Impl for CriticalSection {
    unsafe fn acquire() -> u64 {
        let state = if irq::is_masked() { 0 } else { UNMASK };
        #[cfg(target_os = "none")]
        crate::arch::irq::mask();
        let me = percpu::cpu() + 1;
        if HOLDER.load(Relaxed) == me {
            return state | NESTED;
        }
        while HOLDER
            .compare_exchange_weak(0, me, Acquire, Relaxed)
            .is_err()
        {
            crate::sync::wait::pause();
        }
        state
    }

    unsafe fn release(state: u64) {
        if state & NESTED == 0 {
            HOLDER.store(0, Release);
        }
        #[cfg(target_os = "none")]
        if state & UNMASK != 0 {
            crate::arch::irq::unmask();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::addr::{Pfn, VirtAddr};
    use crate::mm::arena::Arena;
    use crate::mm::zone::ZoneLimits;
    use std::vec::Vec;

    fn with_heap(body: impl FnOnce(&BootHeap)) {
        let first = Pfn::new(0x400);
        let mut arena = Arena::new(first, 1024);
        let linear = arena.frames(&ZoneLimits::FOUR_GIB, &[]).linear();
        let range = first.address()..first.address().offset(8192);
        // SAFETY: the arena's first frames, which nobody uses, for as long as the heap lives.
        let heap = unsafe { BootHeap::new(linear, range.clone()) };
        body(&heap);
        assert_eq!(heap.used_bytes(), 0);
        assert_eq!(heap.finish(), range);
    }

    #[test]
    fn vectors_grow_side_by_side_and_keep_their_content() {
        with_heap(|heap| {
            let mut numbers = heap.vec(0).unwrap();
            let mut addresses = heap.vec(1).unwrap();
            for number in 0..100_u64 {
                numbers.push(number).unwrap();
                addresses.push(VirtAddr::new(number)).unwrap();
            }
            assert!(numbers.iter().copied().eq(0..100));
            assert!(addresses.iter().map(|at| at.get()).eq(0..100));
            numbers[7] = 70;
            assert_eq!(numbers[7], 70);
        });
    }

    #[test]
    fn a_full_heap_says_so_and_gives_back_what_is_dropped() {
        with_heap(|heap| {
            for _ in 0..10 {
                let mut vectors = Vec::new();
                let error = loop {
                    match heap.vec::<u64>(100) {
                        Ok(vector) => vectors.push(vector),
                        Err(error) => break error,
                    }
                };
                assert_eq!(error.bytes, 800);
                assert_eq!(vectors.len(), 10);
            }
            assert!(heap.vec::<u64>(usize::MAX).is_err());
        });
    }

    #[test]
    fn critical_sections_nest_and_exclude_each_other() {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let add = || {
            for _ in 0..2000 {
                critical_section::with(|_| {
                    let before = COUNT.load(Relaxed);
                    critical_section::with(|_| std::thread::yield_now());
                    COUNT.store(before + 1, Relaxed);
                });
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(add);
            scope.spawn(add);
        });
        assert_eq!(COUNT.load(Relaxed), 4000);
    }
}
