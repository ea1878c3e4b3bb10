//! A pool of values for code that may not fail after it was set up.
//!
//! # Shape
//!
//! ```text
//! places  [ value │ next: 4 │ value │ value │ next: end │ never used … ]     one object of the allocator
//!             first: 1 ─────────►┘               carved: 5 ►┘
//! ```
//!
//! # Invariants
//!
//! 1. Places below `carved` hold a value that a box owns, or are on the list from `first` on, once.
//! 2. `used` places hold values; `used` never exceeds the capacity.
//!
//! # Cost
//!
//! Making one reserves its memory and touches none of it. Taking and giving back are a lock and a few
//! instructions, whatever the capacity; the allocators are not asked again.
//!
//! # Locking
//!
//! One lock, under which nothing else is taken; so boxes may come and go in interrupt handlers.
#![allow(
    unsafe_code,
    reason = "keeps values and a list in the same places, by the invariants above"
)]

use super::allocator::Kmalloc;
use crate::sync::{Rank, SpinLock};
use allocator_api2::alloc::{AllocError, Allocator};
use core::{
    alloc::Layout,
    fmt,
    marker::PhantomData,
    mem::ManuallyDrop,
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

/// The end of the list.
const END: u32 = u32::MAX;

/// Where a value is, or what is free after it.
#[repr(C)]
union Place<T> {
    value: ManuallyDrop<T>,
    next: u32,
}

#[derive(Debug)]
struct Free {
    first: u32,
    carved: u32,
    used: u32,
}

/// Room for a fixed number of values of type `T`.
pub struct Pool<T, A: Allocator = Kmalloc> {
    places: NonNull<Place<T>>,
    capacity: u32,
    free: SpinLock<Free>,
    allocator: A,
    values: PhantomData<T>,
}

// SAFETY: the pool hands values out to one owner each, under its lock.
unsafe impl<T: Send, A: Allocator + Send> Send for Pool<T, A> {}
// SAFETY: as above; of a shared pool only the lock, and places that are the caller's, are touched.
unsafe impl<T: Send, A: Allocator + Sync> Sync for Pool<T, A> {}

impl<T, A: Allocator> fmt::Debug for Pool<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let capacity = self.capacity;
        f.debug_struct("Pool")
            .field("capacity", &capacity)
            .finish_non_exhaustive()
    }
}

impl<T> Pool<T> {
    /// Room for `capacity` values in the kernel's memory, at most 4 MiB.
    ///
    /// # Errors
    ///
    /// There is not so much memory in one piece.
    pub fn new(capacity: u32) -> Result<Self, AllocError> {
        Self::new_in(capacity, Kmalloc)
    }
}

impl<T, A: Allocator> Pool<T, A> {
    /// The same, in memory of `allocator`.
    ///
    /// # Errors
    ///
    /// The allocator has not so much.
    pub fn new_in(capacity: u32, allocator: A) -> Result<Self, AllocError> {
        let places = allocator.allocate(Self::layout(capacity).ok_or(AllocError)?)?;
        Ok(Self {
            places: places.cast(),
            capacity,
            free: SpinLock::new(
                Rank::Pool,
                Free {
                    first: END,
                    carved: 0,
                    used: 0,
                },
            ),
            allocator,
            values: PhantomData,
        })
    }

    fn layout(capacity: u32) -> Option<Layout> {
        Layout::array::<Place<T>>(usize::try_from(capacity).ok()?).ok()
    }

    /// Values that it has room for.
    pub const fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Values that boxes own, at about this moment.
    pub fn used(&self) -> u32 {
        self.free.lock().used
    }

    /// Takes a place for `value`. Below the capacity this cannot fail.
    ///
    /// # Errors
    ///
    /// Gives the value back if all places are taken.
    pub fn take(&self, value: T) -> Result<PoolBox<'_, T, A>, T> {
        let Some(place) = self.take_place() else {
            return Err(value);
        };
        // SAFETY: the place was free, and is ours from here on (invariant 1).
        unsafe {
            place.write(Place {
                value: ManuallyDrop::new(value),
            });
        }
        Ok(PoolBox { pool: self, place })
    }

    fn take_place(&self) -> Option<NonNull<Place<T>>> {
        let mut free = self.free.lock();
        let index = if free.first != END {
            let index = free.first;
            // SAFETY: a place on the list holds the next one's index.
            free.first = unsafe { self.place(index).as_ref().next };
            index
        } else if free.carved < self.capacity {
            free.carved += 1;
            free.carved - 1
        } else {
            return None;
        };
        free.used += 1;
        Some(self.place(index))
    }

    fn give_place(&self, place: NonNull<Place<T>>) {
        // SAFETY: a place is one of the array's, so it lies behind its start.
        let index = unsafe { place.offset_from(self.places) };
        let mut free = self.free.lock();
        // SAFETY: the box that owned the place gave it up.
        unsafe { place.write(Place { next: free.first }) };
        free.first = u32::try_from(index).expect("below the capacity");
        free.used -= 1;
    }

    /// The place numbered `index`, below the capacity.
    const fn place(&self, index: u32) -> NonNull<Place<T>> {
        // SAFETY: in the array.
        unsafe { self.places.add(index as usize) }
    }
}

impl<T, A: Allocator> Drop for Pool<T, A> {
    fn drop(&mut self) {
        // Boxes borrow the pool: none is left but those that were forgotten, whose values are leaked.
        if let Some(layout) = Self::layout(self.capacity) {
            // SAFETY: it came from there, with this layout.
            unsafe { self.allocator.deallocate(self.places.cast(), layout) };
        }
    }
}

/// A value in a place of its pool, which is free again when the box is dropped.
pub struct PoolBox<'p, T, A: Allocator = Kmalloc> {
    pool: &'p Pool<T, A>,
    /// Invariant: a place that holds a value and is the box's alone.
    place: NonNull<Place<T>>,
}

// SAFETY: the box owns its value, and a pool takes places back on any core.
unsafe impl<T: Send, A: Allocator + Sync> Send for PoolBox<'_, T, A> {}
// SAFETY: a shared box gives shared access to the value alone.
unsafe impl<T: Sync, A: Allocator + Sync> Sync for PoolBox<'_, T, A> {}

impl<T, A: Allocator> Deref for PoolBox<'_, T, A> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: by the box's invariant.
        unsafe { self.place.cast().as_ref() }
    }
}

impl<T, A: Allocator> DerefMut for PoolBox<'_, T, A> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: by the box's invariant.
        unsafe { self.place.cast().as_mut() }
    }
}

impl<T, A: Allocator> Drop for PoolBox<'_, T, A> {
    fn drop(&mut self) {
        // SAFETY: by the box's invariant; nobody uses the value after this.
        unsafe { self.place.cast::<T>().drop_in_place() };
        self.pool.give_place(self.place);
    }
}

impl<T: fmt::Debug, A: Allocator> fmt::Debug for PoolBox<'_, T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
pub(in crate::mm) mod tests;
