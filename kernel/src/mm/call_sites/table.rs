//! The tables of call sites and of the objects that lead back to them.

use super::Call;
use core::panic::Location;
use wire::report::{Address, CALLERS, CallSite};

/// Sites that there is room for.
pub(super) const SITES: usize = 1 << 9;
/// Live objects that are followed.
const OBJECTS: usize = 1 << 15;
/// Places behind its hash that an entry may lie in.
const PROBES: usize = 16;
/// Most bytes of a file's name that are told, its end: a path from a registry is long.
const FILE_BYTES: usize = 120;

/// Where a call came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// From this line.
    Source(&'static Location<'static>),
    /// From the first of these return addresses that is an app's.
    Code([u64; CALLERS]),
}

impl Place {
    fn hash(&self) -> usize {
        match self {
            Self::Source(at) => hash(u64::from(at.line()) << 16 | u64::from(at.column())),
            Self::Code(callers) => {
                hash(callers.iter().fold(0, |all, one| all.rotate_left(7) ^ one))
            }
        }
    }
}

/// Fibonacci hashing: the product's high bits depend on all of the key's.
const fn hash(key: u64) -> usize {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
}

/// A call site's figures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site {
    place: Place,
    call: Call,
    allocations: u64,
    allocated_bytes: u64,
    live_objects: u64,
    live_bytes: u64,
}

impl Site {
    pub(super) fn row(&self) -> CallSite<'static> {
        let (file, line, column, callers) = match self.place {
            Place::Source(at) => (end_of(at.file()), at.line(), at.column(), [0; CALLERS]),
            Place::Code(callers) => ("", 0, 0, callers),
        };
        CallSite {
            file,
            line,
            column,
            call: match self.call {
                Call::Kmalloc => "kmalloc",
                Call::Cache => "cache",
                Call::Heap => "heap",
                Call::Frames => "frames",
                Call::Vmalloc => "vmalloc",
            },
            callers: callers.map(Address),
            allocations: self.allocations,
            allocated_bytes: self.allocated_bytes,
            live_objects: self.live_objects,
            live_bytes: self.live_bytes,
        }
    }
}

/// The end of a path, cut between characters.
fn end_of(path: &'static str) -> &'static str {
    let from = path.len().saturating_sub(FILE_BYTES);
    (from..=path.len())
        .find_map(|from| path.get(from..))
        .unwrap_or_default()
}

/// A live object. Bytes and site share a word: 48 bits and 16.
#[derive(Clone, Copy, Debug)]
struct Object {
    /// 0 where there is none.
    address: u64,
    bytes_and_site: u64,
}

/// Both tables.
#[derive(Debug)]
pub(super) struct Table {
    sites: [Option<Site>; SITES],
    objects: [Object; OBJECTS],
    /// Allocations whose site found no room.
    pub(super) unlisted_allocations: u64,
    /// Objects that found none.
    pub(super) unfollowed_objects: u64,
}

fn places(hash: usize, size: usize) -> impl Iterator<Item = usize> {
    (hash..hash + PROBES).map(move |place| place % size)
}

impl Table {
    pub(super) const fn new() -> Self {
        let none = Object {
            address: 0,
            bytes_and_site: 0,
        };
        Self {
            sites: [None; SITES],
            objects: [none; OBJECTS],
            unlisted_allocations: 0,
            unfollowed_objects: 0,
        }
    }

    pub(super) fn allocated(&mut self, (place, call): (Place, Call), address: u64, bytes: u64) {
        let is_its = |site: &Site| (site.place, site.call) == (place, call);
        let mut candidates = places(place.hash(), SITES);
        let Some(index) =
            candidates.find(|&index| self.sites[index].is_none_or(|site| is_its(&site)))
        else {
            self.unlisted_allocations += 1;
            return;
        };
        let site = self.sites[index].get_or_insert(Site {
            place,
            call,
            allocations: 0,
            allocated_bytes: 0,
            live_objects: 0,
            live_bytes: 0,
        });
        site.allocations += 1;
        site.allocated_bytes += bytes;
        // Whoever had the address before gave it back by a way that is not noted.
        let free = places(hash(address), OBJECTS).find(|&object| self.objects[object].address == 0);
        let Some(object) = free else {
            self.unfollowed_objects += 1;
            return;
        };
        site.live_objects += 1;
        site.live_bytes += bytes;
        self.objects[object] = Object {
            address,
            bytes_and_site: bytes << 16 | index as u64,
        };
    }

    pub(super) fn freed(&mut self, address: u64) {
        let mut candidates = places(hash(address), OBJECTS);
        let Some(index) = candidates.find(|&object| self.objects[object].address == address) else {
            return;
        };
        let object = &mut self.objects[index];
        object.address = 0;
        let (bytes, site) = (object.bytes_and_site >> 16, object.bytes_and_site & 0xffff);
        if let Some(site) = self
            .sites
            .get_mut(usize::try_from(site).unwrap_or(SITES))
            .and_then(Option::as_mut)
        {
            site.live_objects -= 1;
            site.live_bytes -= bytes;
        }
    }

    /// The site at `index`, below [`SITES`], if there is one.
    pub(super) const fn site(&self, index: usize) -> Option<Site> {
        self.sites[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{boxed::Box, vec::Vec};

    fn code(address: u64) -> (Place, Call) {
        let mut callers = [0; CALLERS];
        callers[0] = address;
        (Place::Code(callers), Call::Heap)
    }

    fn rows(table: &Table) -> Vec<CallSite<'static>> {
        (0..SITES)
            .filter_map(|index| table.site(index))
            .map(|site| site.row())
            .collect()
    }

    #[test]
    fn a_free_finds_the_site_of_its_object() {
        let mut table = Box::new(Table::new());
        let here = (Place::Source(Location::caller()), Call::Kmalloc);
        table.allocated(here, 0x1000, 100);
        table.allocated(here, 0x2000, 50);
        table.allocated(code(7), 0x3000, 8);
        table.freed(0x1000);
        table.freed(0x1000);
        table.freed(0x9000);
        let rows = rows(&table);
        let kmalloc = rows.iter().find(|row| row.call == "kmalloc").unwrap();
        assert_eq!((kmalloc.allocations, kmalloc.allocated_bytes), (2, 150));
        assert_eq!((kmalloc.live_objects, kmalloc.live_bytes), (1, 50));
        assert!(kmalloc.file.ends_with("table.rs"));
        let heap = rows.iter().find(|row| row.call == "heap").unwrap();
        assert_eq!((heap.live_objects, heap.callers[0]), (1, Address(7)));
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let mut table = Box::new(Table::new());
        let many = SITES as u64 * 4;
        for site in 0..many {
            table.allocated(code(site), 0, 1);
        }
        let listed: u64 = rows(&table).iter().map(|row| row.allocations).sum();
        assert!(listed > SITES as u64 / 2);
        assert_eq!(listed + table.unlisted_allocations, many);

        let mut table = Box::new(Table::new());
        let many = OBJECTS as u64 * 2;
        for object in 1..=many {
            table.allocated(code(1), object * 64, 1);
        }
        let row = rows(&table)[0];
        assert_eq!(row.allocations, many);
        assert_eq!(row.live_objects + table.unfollowed_objects, many);
        for object in 1..=many {
            table.freed(object * 64);
        }
        assert_eq!(
            (rows(&table)[0].live_objects, rows(&table)[0].live_bytes),
            (0, 0)
        );
    }
}
