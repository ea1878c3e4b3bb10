//! Slab caches: objects of one size, from a list that each core has for itself.
//!
//! # Shape
//!
//! ```text
//! alloc ◄── pop ──┐                          ┌── push ◄── free         any core, any context
//!             [core's list: ≤ 4 batches + 1]                           interrupts masked
//!      refill: ▲ one batch │ one batch ▼ relief
//!             [partial slabs of the cache]                             cache lock
//!       grow:  ▲ one slab  │  one slab ▼ release
//!             [buddy allocator]                                        zone lock
//! ```
//!
//! The caches of [`kmalloc`](super::kmalloc) are the first; a static [`Cache`] adds one. A cache is a number, an
//! index into fixed tables, so that the entry of an object's frame can name it.
//!
//! # Misuse
//!
//! A wrong free is a bug of the caller and panics, naming cache, address and kind. When it is
//! noticed depends on the tier:
//!
//! | misuse | default | `hardened` |
//! |---|---|---|
//! | free of what is free: on any core's list, or in its slab | that call | that call |
//! | … and both words of its link were overwritten in between | when it leaves a list | when it leaves a list |
//! | address outside memory, or not of a slab, given to kfree | that call | that call |
//! | not the start of an object, never handed out, of another cache | when it leaves the core's list | that call |
//!
//! "Leaves the list" is to the next caller or to the slab, whichever is first; so no object is ever
//! handed out twice, and none that is not one.
//!
//! # Invariants
//!
//! 1. Every object on a core's list is counted as in use by its slab, so its slab exists.
//! 2. Objects that leave a core's list were sealed with that list's key, start an object that was
//!    carved, and belong to the list's cache.
//!
//! # Cost
//!
//! The fast paths touch one line of the core's and the object; the check on leaving adds the frame's
//! entry. Slow paths move at most eight objects, and make at most one slab.
//!
//! # Locking
//!
//! A core's list: interrupts masked. A cache's slabs: its lock. A zone's lock may be taken inside a
//! cache's; two caches' locks never are held together.

mod cache;
mod free_list;
mod geometry;
mod handle;
mod memory;
mod registry;
mod slabs;
#[cfg(test)]
mod tests;

pub(super) use cache::die;
pub(super) use free_list::Object;

pub use cache::{Misuse, MisuseKind, SlabAllocator, SlabViolation};
pub use geometry::{Geometry, LARGEST_ALIGN_BYTES, LARGEST_OBJECT_BYTES};
pub use handle::{Cache, CacheHandle, CacheStatistics, SLAB, init, shrink};
pub use registry::{CacheError, MAX_CACHES};
