//! Rows about caches of objects.

use core::fmt;
use serde::{Deserialize, Serialize};

/// A cache that holds memory.
///
/// In the text, live objects count as active, and what lies on cores' lists does not. The tunables are a
/// list's limit and batch; the shared factor, which is of Linux's former allocator, is 0. That allocator's
/// `globalstat` (here with the most slabs in place of the most objects) and `cpustat` stand behind: how
/// often cores' lists served a caller, and how often not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache<'a> {
    /// Its name.
    pub name: &'a str,
    /// Bytes from one object to the next.
    pub object_bytes: u32,
    /// Objects that a slab holds.
    pub objects_per_slab: u32,
    /// Frames of a slab.
    pub slab_frames: u32,
    /// Slabs.
    pub slabs: u32,
    /// Objects that callers have.
    pub live_objects: u32,
    /// Objects on cores' lists or on their way between them, ready to be handed out.
    pub listed_objects: u32,
    /// Most objects that a core's list keeps.
    pub list_limit_objects: u32,
    /// Most objects that move between a core's list and elsewhere at once.
    pub batch_objects: u32,
    /// Allocations that succeeded.
    pub allocations: u64,
    /// The most slabs that there were at once.
    pub peak_slabs: u32,
    /// Slabs ever made.
    pub slabs_made: u64,
    /// Allocations that found no memory.
    pub failures: u64,
    /// Allocations that a core's list served.
    pub alloc_hits: u64,
    /// Allocations for which it had nothing.
    pub alloc_misses: u64,
    /// Frees that a core's list took.
    pub free_hits: u64,
    /// Frees for which it had no room.
    pub free_misses: u64,
}

impl Cache<'_> {
    /// Objects in its slabs, used or not.
    pub const fn objects(&self) -> u64 {
        self.slabs as u64 * self.objects_per_slab as u64
    }
}

pub(super) const HEADING: &str = "slabinfo - version: 2.1 (statistics)\n\
    # name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : \
    tunables <limit> <batchcount> <sharedfactor> : \
    slabdata <active_slabs> <num_slabs> <sharedavail> : \
    globalstat <allocs> <maxslabs> <grown> <errors> : \
    cpustat <allochit> <allocmiss> <freehit> <freemiss>\n";

impl fmt::Display for Cache<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<17} {:>6} {:>6} {:>6} {:>4} {:>4}",
            self.name,
            self.live_objects,
            self.objects(),
            self.object_bytes,
            self.objects_per_slab,
            self.slab_frames,
        )?;
        let (limit, batch) = (self.list_limit_objects, self.batch_objects);
        write!(f, " : tunables {limit:>4} {batch:>4} {:>4}", 0)?;
        let slabs = self.slabs;
        write!(f, " : slabdata {slabs:>6} {slabs:>6} {:>6}", 0)?;
        write!(
            f,
            " : globalstat {:>7} {:>6} {:>5} {:>4}",
            self.allocations, self.peak_slabs, self.slabs_made, self.failures
        )?;
        writeln!(
            f,
            " : cpustat {:>6} {:>6} {:>6} {:>6}",
            self.alloc_hits, self.alloc_misses, self.free_hits, self.free_misses
        )
    }
}
