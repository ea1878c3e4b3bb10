//! Slab caches: objects of one size, from a magazine that each context of each core has for itself.
//!
//! # Shape
//!
//! ```text
//! alloc ◄── pop ──┐                               ┌── push ◄── free        any core, any context
//!             [magazine: ≤ 31 objects, by address]                         no lock, no masking
//!                ≤ 12 ▲ ▼ 12
//!             [depot: ≤ 48 objects of up to 128 bytes]                     cache lock
//!                 ≤ 6 ▲ ▼ ≤ 6
//!             [partial slabs of the cache]
//!       grow:  ▲ one slab  │  one slab ▼ release
//!             [page frames]                                                zone lock
//! ```
//!
//! The caches of [`kmalloc`](super::kmalloc) are the first; a static [`Cache`] adds one, a [`TypedCache`] one
//! for values of a type. A cache is a number, an index into fixed tables, so that the entry of an object's
//! frame can name it. A cache that is destroyed leaves its number to others.
//!
//! # Misuse
//!
//! A wrong free is a bug of the caller and panics, naming cache, address and kind. When it is
//! noticed depends on the tier:
//!
//! | misuse | default | `hardened` |
//! |---|---|---|
//! | free of what is free, in a magazine or a depot | when it leaves there | that call |
//! | free of what is free, in its slab | when it leaves the slab | that call |
//! | write to the first word of what is free | when it leaves | when it leaves |
//! | address outside memory, or not of a slab, given to kfree | that call | that call |
//! | not the start of an object, never handed out, of another cache | when it reaches its slab | that call |
//!
//! No object is ever handed out twice at once. What that costs, and what naming more of it at once
//! would, is in `kernel/decisions/0006-magazines-and-two-contexts.md`.
//!
//! # Invariants
//!
//! 1. Every object in a magazine or the depot is counted as in use by its slab, so its slab exists.
//! 2. An object of a cache that has a constructor was constructed once since its slab was made, before it
//!    was first handed out. While it is free the allocator writes behind it only.
//!
//! # Cost
//!
//! The fast paths touch one line of the magazines, one of slots, and the object's first word. Slow paths
//! move at most twelve objects, run at most one constructor, and make one slab or release two. What
//! other cores list can only be [asked for](SlabAllocator::shrink).
//!
//! # Locking
//!
//! A magazine: none, see [`magazine`](super::magazine). A cache's depot and slabs: its lock. A zone's lock
//! may be taken inside a cache's; two caches' locks never are held together. Frames for a new slab are
//! got, and constructors run, with no lock held.

mod bulk;
mod cache;
mod context;
mod depot;
mod drain;
mod geometry;
mod handle;
mod kernel;
mod link;
mod misuse;
mod options;
mod registry;
mod shrinker;
mod slabs;
#[cfg(test)]
mod tests;
mod typed;

pub(super) use kernel::drain_by_request;
pub(super) use misuse::die;

pub use cache::SlabAllocator;
pub use context::Constructor;
pub use drain::{DestroyError, SlabViolation};
pub use geometry::{Geometry, LARGEST_ALIGN_BYTES, LARGEST_OBJECT_BYTES};
pub use handle::{CacheHandle, CacheStatistics};
pub use kernel::{Cache, SLAB, init, shrink};
pub use misuse::{Misuse, MisuseKind};
pub use options::CacheOptions;
pub use registry::{CacheError, MAX_CACHES};
pub use slabs::CacheEvents;
pub use typed::{CacheBox, ConstructedCache, TypedCache};
