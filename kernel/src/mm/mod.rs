//! Memory management: from the device tree's banks to `Box`.
//!
//! ```text
//!    boot                                     run time
//!
//!    memblock ── boot_heap          heap (GlobalAlloc)   kmalloc, kfree, krealloc, ksize
//!       │  banks, reservations              │ Layout         │ bytes → size_class
//!       │                                   ▼                ▼
//!       │                           slab: each core's lists ─► cache's slabs     > 8 KiB
//!       │ free ranges, once                                        │ blocks        │
//!       ▼                                                          ▼               ▼
//!    frames ─────────────► zone (DMA, DMA32, Normal) ─► buddy ─► frame table (16 bytes a frame)
//! ```
//!
//! | file | what | unsafe |
//! |---|---|---|
//! | [`addr`], [`gfp`] | addresses, frame numbers, orders; what a request allows | |
//! | [`memblock`] | which memory there is, before anything allocates | |
//! | [`boot_heap`] | a heap for boot alone | yes |
//! | [`frame`], [`pageblock`] | the frame table and lists through it; whom each 2 MiB are for | |
//! | [`buddy`], [`zone`] | blocks of frames; where they may come from | |
//! | [`frames`], [`frame_error`] | the frame allocator; the kernel's own; why it refused | yes |
//! | [`reclaim`] | memory back from caches and apps, when a request finds none | |
//! | [`compaction`] | movable blocks go elsewhere, so that larger ones become free | |
//! | [`contig`] | exact ranges beyond the largest block | |
//! | `page_lists` | each context's lists of small blocks of frames | yes |
//! | `zeroing` | memory and table entries made zero by cache lines | yes |
//! | [`frame_map`] | what blocks of memory hold, for reports that draw it | |
//! | [`path`] | which slow steps an operation took, for the bench | |
//! | [`failures`], `warnings` | which requests failed; which of those the log tells | |
//! | [`fault_injection`] | chosen failures, for tests | |
//! | [`size_class`] | which object size a request gets | |
//! | [`slab`] | caches of objects | links and edges |
//! | [`kmalloc`], [`heap`] | memory by the byte, for C-like and for Rust callers | yes |
//! | [`allocator`], [`pool`] | memory for collections by name; values that need no memory later | yes |
//! | [`report`] | meminfo, buddyinfo, slabinfo and their kin | |
//!
//! Everything works on instances over a [`LinearMap`](addr::LinearMap), so that host tests run many
//! side by side, each on an arena of garbage; the kernel's own instances are statics.
//!
//! # Order of locks
//!
//! 1. the lock under which a [`Cache`](slab::Cache) is created
//! 2. a cache's slabs, one cache at a time
//! 3. a zone, one zone at a time
//!
//! All mask interrupts while they are held, so every function here may be called from an interrupt
//! handler, with [`Gfp::ATOMIC`](gfp::Gfp::ATOMIC). A core's lists have no lock: interrupts are masked
//! for the few instructions that touch them.
//!
//! # Garbage
//!
//! A board's memory is not zero, whatever QEMU's is. No path assumes it; test arenas are filled first.

pub mod addr;
pub mod allocator;
#[cfg(not(target_os = "none"))]
pub mod arena;
pub mod boot_heap;
pub mod buddy;
pub mod call_sites;
pub mod compaction;
pub mod contig;
pub mod failures;
pub mod fault_injection;
pub mod frame;
pub mod frame_error;
pub mod frame_map;
pub mod frames;
pub mod gfp;
pub mod heap;
pub mod kmalloc;
pub mod local;
pub mod magazine;
pub mod memblock;
mod page_lists;
pub mod pageblock;
pub mod path;
pub mod pool;
pub mod reclaim;
pub mod report;
pub mod size_class;
pub mod slab;
mod warnings;
mod zeroing;
pub mod zone;
