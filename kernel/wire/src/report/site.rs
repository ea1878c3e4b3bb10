//! Rows about who has what: allocations by call site, and what an app did not give back.

use super::Address;
use core::fmt;
use serde::{Deserialize, Serialize};

/// Return addresses that are kept of a call.
pub const CALLERS: usize = 6;

/// The table of call sites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallSites {
    /// Sites that the table has room for.
    pub capacity_sites: u32,
    /// Allocations whose site found no room in it.
    pub unlisted_allocations: u64,
    /// Objects whose site could not be noted: their free counts nowhere, and they are live nowhere.
    pub unfollowed_objects: u64,
}

impl fmt::Display for CallSites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "room for {} sites; {} allocations at others; {} objects not followed",
            self.capacity_sites, self.unlisted_allocations, self.unfollowed_objects
        )
    }
}

/// A place in the source that allocates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallSite<'a> {
    /// The file.
    pub file: &'a str,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
    /// What is called there.
    pub call: &'a str,
    /// Return addresses on the stack, innermost first, where the call came by way of a collection: the
    /// host looks up file and line. 0 where there are none.
    pub callers: [Address; CALLERS],
    /// Allocations that succeeded.
    pub allocations: u64,
    /// Bytes asked for in them.
    pub allocated_bytes: u64,
    /// Of these, the ones that were not freed.
    pub live_objects: u64,
    /// Bytes asked for in those.
    pub live_bytes: u64,
}

pub(super) const HEADING_OF_SITES: &str =
    "  live_bytes       live        bytes     allocs  call and site\n";

impl fmt::Display for CallSite<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>12} {:>10} {:>12} {:>10}  {}",
            self.live_bytes, self.live_objects, self.allocated_bytes, self.allocations, self.call,
        )?;
        if !self.file.is_empty() {
            return writeln!(f, " at {}:{}:{}", self.file, self.line, self.column);
        }
        let mut callers = self.callers.iter().filter(|caller| caller.0 != 0);
        callers.try_for_each(|caller| write!(f, " {caller:#x}"))?;
        writeln!(f)
    }
}

/// What is in use at the app's end and at its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaks {
    /// Frames that were in use when the app began, slabs included.
    pub start_frames: u64,
    /// Frames that are in use now.
    pub end_frames: u64,
    /// Frames in slabs when the app began.
    pub start_slab_frames: u64,
    /// Frames in slabs now: caches keep some for later.
    pub end_slab_frames: u64,
}

impl fmt::Display for Leaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let change = |start: u64, end: u64| i128::from(end) - i128::from(start);
        let others = change(
            self.start_frames.saturating_sub(self.start_slab_frames),
            self.end_frames.saturating_sub(self.end_slab_frames),
        );
        writeln!(
            f,
            "pages in slabs:  {:+}",
            change(self.start_slab_frames, self.end_slab_frames)
        )?;
        writeln!(f, "pages elsewhere: {others:+}")
    }
}

/// A cache whose live objects are other in number than when the app began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leak<'a> {
    /// The cache.
    pub name: &'a str,
    /// Bytes from one object to the next.
    pub object_bytes: u32,
    /// Live objects when the app began.
    pub start_objects: u32,
    /// Live objects now.
    pub end_objects: u32,
}

pub(super) const HEADING_OF_LEAKS: &str = "# name             <objects>    <bytes>\n";

impl fmt::Display for Leak<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let objects = i64::from(self.end_objects) - i64::from(self.start_objects);
        let bytes = objects * i64::from(self.object_bytes);
        writeln!(f, "{:<17} {objects:>+11} {bytes:>+10}", self.name)
    }
}
