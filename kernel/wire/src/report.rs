//! Reports on memory, in Linux's manner: what an image knows of itself, one record a frame.
//!
//! A report is a [`Record::Begin`], its rows in the order of the text, and a [`Record::End`] that counts
//! them: nothing counts as reported before that has come. A row is plain data whose field names, with
//! their units, are the keys of the JSON, and whose `Display` is its line of the text. So there is one
//! rendering, whether an image prints a report itself or sends it to the host: [`Text`].

mod memory;
mod site;
mod slab;
mod space;
#[cfg(test)]
mod tests;

pub use memory::{
    Counter, Failure, FreeBlocks, FreeOfType, Meminfo, ORDERS, PageBlocks, PageTypes, Pageset, Zone,
};
pub use site::{CALLERS, CallSite, CallSites, Leak, Leaks};
pub use slab::Cache;
pub use space::{Access, Area, Mapping, Region, Resource, Size};

use core::fmt::{self, Write};
use serde::{Deserialize, Serialize, Serializer};

/// Which report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// Regions of virtual addresses, and the image's sections in them.
    Layout,
    /// Physical memory and who reserved it, as `/proc/iomem`.
    Iomem,
    /// Totals, as `/proc/meminfo`.
    Meminfo,
    /// Counters of what happened, as `/proc/vmstat`.
    Vmstat,
    /// Free blocks by zone and order, as `/proc/buddyinfo`.
    Buddyinfo,
    /// Free blocks by zone, migrate type and order, as `/proc/pagetypeinfo`.
    Pagetypeinfo,
    /// Zones with watermarks and each core's page lists, as `/proc/zoneinfo`.
    Zoneinfo,
    /// Caches of objects, as `/proc/slabinfo`.
    Slabinfo,
    /// Areas of vmalloc and ioremap, as `/proc/vmallocinfo`.
    Vmallocinfo,
    /// The kernel's translation tables, as `/sys/kernel/debug/kernel_page_tables`.
    Ptdump,
    /// Requests that failed, by what was asked.
    Failures,
    /// What the app holds at its end that it did not hold at its start.
    Leaks,
    /// Allocations by the place in the source that asked, in images built for it.
    Callsites,
}

impl Kind {
    /// Every report, in the order in which an image sends them.
    pub const ALL: [Self; 13] = [
        Self::Layout,
        Self::Iomem,
        Self::Meminfo,
        Self::Vmstat,
        Self::Buddyinfo,
        Self::Pagetypeinfo,
        Self::Zoneinfo,
        Self::Slabinfo,
        Self::Vmallocinfo,
        Self::Ptdump,
        Self::Failures,
        Self::Leaks,
        Self::Callsites,
    ];

    /// Its name: on the command line, in the run parameters, and as a key of the JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Layout => "layout",
            Self::Iomem => "iomem",
            Self::Meminfo => "meminfo",
            Self::Vmstat => "vmstat",
            Self::Buddyinfo => "buddyinfo",
            Self::Pagetypeinfo => "pagetypeinfo",
            Self::Zoneinfo => "zoneinfo",
            Self::Slabinfo => "slabinfo",
            Self::Vmallocinfo => "vmallocinfo",
            Self::Ptdump => "ptdump",
            Self::Failures => "failures",
            Self::Leaks => "leaks",
            Self::Callsites => "callsites",
        }
    }

    /// The report called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// An address: a number on the wire, and `"0x…"` in JSON, whose numbers end at 2⁵³.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Address(pub u64);

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(&format_args!("{:#x}", self.0))
        } else {
            serializer.serialize_newtype_struct("Address", &self.0)
        }
    }
}

impl fmt::LowerHex for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record<'a> {
    /// The rows of this report follow.
    Begin(Kind),
    /// Of [`Kind::Layout`].
    #[serde(borrow)]
    Region(Region<'a>),
    /// Of [`Kind::Iomem`].
    Resource(Resource<'a>),
    /// Of [`Kind::Meminfo`].
    Meminfo(Meminfo),
    /// Of [`Kind::Vmstat`].
    Counter(Counter<'a>),
    /// Of [`Kind::Buddyinfo`].
    FreeBlocks(FreeBlocks<'a>),
    /// Of [`Kind::Pagetypeinfo`].
    PageTypes(PageTypes),
    /// Of [`Kind::Pagetypeinfo`].
    FreeOfType(FreeOfType<'a>),
    /// Of [`Kind::Pagetypeinfo`].
    PageBlocks(PageBlocks<'a>),
    /// Of [`Kind::Zoneinfo`].
    Zone(Zone<'a>),
    /// Of [`Kind::Zoneinfo`], after its zone.
    Pageset(Pageset<'a>),
    /// Of [`Kind::Slabinfo`].
    Cache(Cache<'a>),
    /// Of [`Kind::Vmallocinfo`].
    Area(Area<'a>),
    /// Of [`Kind::Ptdump`]: the mappings up to the next one lie in this region.
    Mapped(Region<'a>),
    /// Of [`Kind::Ptdump`].
    Mapping(Mapping<'a>),
    /// Of [`Kind::Failures`].
    Failure(Failure<'a>),
    /// Of [`Kind::Leaks`].
    Leaks(Leaks),
    /// Of [`Kind::Leaks`].
    Leak(Leak<'a>),
    /// Of [`Kind::Callsites`].
    CallSites(CallSites),
    /// Of [`Kind::Callsites`].
    CallSite(CallSite<'a>),
    /// The report is whole.
    End {
        /// Which one.
        report: Kind,
        /// How many rows it has.
        rows: u32,
    },
}

/// Where a row stands in its report's JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Its fields are the report's own; of a counter, its name and its count.
    Fields,
    /// The report is a list of such rows.
    Item,
    /// The report has a list of such rows, called so.
    ItemOf(&'static str),
}

impl Record<'_> {
    /// The report that the row belongs to, and where it stands in it; `None` for what is no row.
    pub const fn place(&self) -> Option<(Kind, Place)> {
        Some(match self {
            Self::Begin(_) | Self::End { .. } => return None,
            Self::Region(_) => (Kind::Layout, Place::Item),
            Self::Resource(_) => (Kind::Iomem, Place::Item),
            Self::Meminfo(_) => (Kind::Meminfo, Place::Fields),
            Self::Counter(_) => (Kind::Vmstat, Place::Fields),
            Self::FreeBlocks(_) => (Kind::Buddyinfo, Place::Item),
            Self::PageTypes(_) => (Kind::Pagetypeinfo, Place::Fields),
            Self::FreeOfType(_) => (Kind::Pagetypeinfo, Place::ItemOf("free")),
            Self::PageBlocks(_) => (Kind::Pagetypeinfo, Place::ItemOf("pageblocks")),
            Self::Zone(_) => (Kind::Zoneinfo, Place::ItemOf("zones")),
            Self::Pageset(_) => (Kind::Zoneinfo, Place::ItemOf("pagesets")),
            Self::Cache(_) => (Kind::Slabinfo, Place::Item),
            Self::Area(_) => (Kind::Vmallocinfo, Place::Item),
            Self::Mapped(_) => (Kind::Ptdump, Place::ItemOf("regions")),
            Self::Mapping(_) => (Kind::Ptdump, Place::ItemOf("mappings")),
            Self::Failure(_) => (Kind::Failures, Place::Item),
            Self::Leaks(_) => (Kind::Leaks, Place::Fields),
            Self::Leak(_) => (Kind::Leaks, Place::ItemOf("caches")),
            Self::CallSites(_) => (Kind::Callsites, Place::Fields),
            Self::CallSite(_) => (Kind::Callsites, Place::ItemOf("sites")),
        })
    }
}

impl Kind {
    /// The lists that the report's JSON has even when they are empty; none if it is a list itself.
    pub const fn lists(self) -> &'static [&'static str] {
        match self {
            Self::Pagetypeinfo => &["free", "pageblocks"],
            Self::Zoneinfo => &["zones", "pagesets"],
            Self::Ptdump => &["regions", "mappings"],
            Self::Leaks => &["caches"],
            Self::Callsites => &["sites"],
            _ => &[],
        }
    }

    /// Whether the report's JSON is a list of its rows.
    pub const fn is_list(self) -> bool {
        self.lists().is_empty() && !matches!(self, Self::Meminfo | Self::Vmstat)
    }
}

/// A row's line or lines; nothing for what is no row.
impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin(_) | Self::End { .. } => Ok(()),
            Self::Region(row) => row.fmt(f),
            Self::Resource(row) => row.fmt(f),
            Self::Meminfo(row) => row.fmt(f),
            Self::Counter(row) => row.fmt(f),
            Self::FreeBlocks(row) => row.fmt(f),
            Self::PageTypes(row) => row.fmt(f),
            Self::FreeOfType(row) => row.fmt(f),
            Self::PageBlocks(row) => row.fmt(f),
            Self::Zone(row) => row.fmt(f),
            Self::Pageset(row) => row.fmt(f),
            Self::Cache(row) => row.fmt(f),
            Self::Area(row) => row.fmt(f),
            Self::Mapped(row) => writeln!(f, "---[ {} ]---", row.name),
            Self::Mapping(row) => row.fmt(f),
            Self::Failure(row) => row.fmt(f),
            Self::Leaks(row) => row.fmt(f),
            Self::Leak(row) => row.fmt(f),
            Self::CallSites(row) => row.fmt(f),
            Self::CallSite(row) => row.fmt(f),
        }
    }
}

/// Reports as text: the rows' lines, and the headings above them.
#[derive(Debug)]
pub struct Text<W> {
    out: W,
    above: Option<(Kind, Place)>,
}

impl<W: Write> Text<W> {
    /// Text that goes to `out`.
    pub const fn new(out: W) -> Self {
        Self { out, above: None }
    }

    /// Writes the next record.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn record(&mut self, record: &Record<'_>) -> fmt::Result {
        let place = record.place();
        if place != self.above {
            self.above = place;
            self.heading(record)?;
        }
        write!(self.out, "{record}")
    }

    /// Writes what stands above the first row of its kind.
    fn heading(&mut self, record: &Record<'_>) -> fmt::Result {
        let out = &mut self.out;
        match record {
            Record::FreeOfType(_) => memory::heading_of_free(out),
            Record::PageBlocks(_) => memory::heading_of_blocks(out),
            Record::Cache(_) => out.write_str(slab::HEADING),
            Record::Failure(_) => out.write_str(memory::HEADING_OF_FAILURES),
            Record::Leak(_) => out.write_str(site::HEADING_OF_LEAKS),
            Record::CallSite(_) => out.write_str(site::HEADING_OF_SITES),
            _ => Ok(()),
        }
    }

    /// Where the text goes.
    pub const fn as_inner(&self) -> &W {
        &self.out
    }
}

/// Most bytes of an encoded record: the names in it are cut by whoever makes them.
pub const MOST_BYTES: usize = 512;

/// Writes `record` into `buffer`; returns the part used.
///
/// # Errors
///
/// `postcard::Error::SerializeBufferFull` if it does not fit.
pub fn encode<'b>(record: &Record<'_>, buffer: &'b mut [u8]) -> Result<&'b [u8], postcard::Error> {
    postcard::to_slice(record, buffer).map(|used| &*used)
}

/// Reads one record.
///
/// # Errors
///
/// `postcard`'s, for bytes that are none.
pub fn decode(bytes: &[u8]) -> Result<Record<'_>, postcard::Error> {
    postcard::from_bytes(bytes)
}
