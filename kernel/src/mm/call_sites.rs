//! Who allocates: live and total counts and bytes by call site, in images built with `call-sites`.
//!
//! The functions that callers use note the place they were called from, which `#[track_caller]` tells
//! them; `GlobalAlloc`, which lies behind the standard library's collections, notes the return addresses
//! on the stack, and the host finds the first that is an app's. Without the feature both functions here
//! are empty and inlined, and no table is in the image.
//!
//! # Shape
//!
//! ```text
//! sites    [ place, call, totals, live ]      found by a hash of the place
//! objects  [ address, bytes, site ]           found by a hash of the address: whose a freed object was
//! ```
//!
//! # Invariants
//!
//! 1. An entry lies within `PROBES` (16, in `table`) places behind its hash, so that finding it, and finding that it is
//!    not there, looks at so many. What finds no room is counted and otherwise forgotten.
//! 2. A site's live objects are those in `objects` that name it.
//!
//! # Locking
//!
//! A lock of its own, under which nothing else is taken.

use core::ptr::NonNull;

/// What was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `kmalloc` or `krealloc`.
    Kmalloc,
    /// A cache's `alloc`.
    Cache,
    /// The global allocator, by a collection or a box.
    Heap,
    /// `frames::alloc`.
    Frames,
    /// `vmalloc` and its kin.
    Vmalloc,
}

#[cfg(feature = "call-sites")]
pub use noting::{allocated, allocated_by_collection, freed, rows};

#[cfg(feature = "call-sites")]
pub mod heap;

/// Notes that `bytes` at `address` were handed out to the caller's caller.
#[cfg(not(feature = "call-sites"))]
#[inline(always)]
pub const fn allocated(_call: Call, _address: u64, _bytes: u64) {}

/// Notes what `result` hands out to the caller's caller, if anything; returns it.
#[inline(always)]
#[cfg_attr(feature = "call-sites", track_caller)]
pub fn noted<E>(
    call: Call,
    bytes: usize,
    result: Result<NonNull<u8>, E>,
) -> Result<NonNull<u8>, E> {
    if let Ok(memory) = &result {
        allocated(call, memory.addr().get() as u64, bytes as u64);
    }
    result
}

/// Notes that what was at `address` was given back.
#[cfg(not(feature = "call-sites"))]
#[inline(always)]
pub const fn freed(_address: u64) {}

#[cfg(feature = "call-sites")]
mod noting {
    use super::Call;
    use super::table::{Place, Table};
    use crate::mm::report::Rows;
    use crate::sync::{Rank, SpinLock};
    use core::panic::Location;
    use wire::report::{CallSites, Record};

    static TABLE: SpinLock<Table> = SpinLock::new(Rank::Figures, Table::new());

    /// Notes that `bytes` at `address` were handed out to the caller's caller.
    #[track_caller]
    pub fn allocated(call: Call, address: u64, bytes: u64) {
        let place = Place::Source(Location::caller());
        TABLE.lock().allocated((place, call), address, bytes);
    }

    /// Notes that `bytes` at `address` were handed out, to whoever is found on the stack.
    #[inline(always)]
    pub fn allocated_by_collection(address: u64, bytes: u64) {
        #[cfg(target_os = "none")]
        let callers = crate::arch::callers::callers();
        #[cfg(not(target_os = "none"))]
        let callers = [0; wire::report::CALLERS];
        let place = Place::Code(callers);
        TABLE.lock().allocated((place, Call::Heap), address, bytes);
    }

    /// Notes that what was at `address` was given back.
    pub fn freed(address: u64) {
        TABLE.lock().freed(address);
    }

    /// The rows of the report. What the sites do meanwhile may be missed.
    pub fn rows(rows: &mut Rows<'_>) {
        let all = {
            let table = TABLE.lock();
            CallSites {
                capacity_sites: u32::try_from(super::table::SITES).unwrap_or(u32::MAX),
                unlisted_allocations: table.unlisted_allocations,
                unfollowed_objects: table.unfollowed_objects,
            }
        };
        rows(&Record::CallSites(all));
        for index in 0..super::table::SITES {
            let site = TABLE.lock().site(index);
            if let Some(site) = site {
                rows(&Record::CallSite(site.row()));
            }
        }
    }
}

#[cfg(any(test, feature = "call-sites"))]
mod table;
