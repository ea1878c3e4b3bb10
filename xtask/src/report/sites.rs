//! Call sites: where a collection's caller stands in the source, and the list in order.

use crate::workspace;
use addr2line::Loader;
use std::path::Path;
use wire::report::{Address, CALLERS, CallSite, Record};

/// Where code that allocates for others lies, as debug information names it: the heap itself and the
/// standard library's collections.
const NOT_CALLERS: [&str; 3] = ["/library/", "kernel/src/mm/", "kernel/src/arch/"];

/// A row of the report, with its strings.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Site {
    file: String,
    line: u32,
    column: u32,
    call: String,
    callers: [Address; CALLERS],
    allocations: u64,
    allocated_bytes: u64,
    live_objects: u64,
    live_bytes: u64,
}

/// The sites that have arrived.
#[derive(Default)]
pub(super) struct Sites {
    symbols: Option<Loader>,
    sites: Vec<Site>,
}

impl std::fmt::Debug for Sites {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.sites).finish()
    }
}

impl Sites {
    /// Looks addresses up in the image at `elf`.
    pub(super) fn look_up_in(&mut self, elf: &Path) {
        // Without debug information the addresses are shown.
        self.symbols = Loader::new(elf).ok();
    }

    /// Takes one row. Rows of one place become one.
    pub(super) fn add(&mut self, row: &CallSite<'_>) {
        let mut site = Site {
            file: workspace::shown(row.file),
            line: row.line,
            column: row.column,
            call: row.call.to_owned(),
            callers: row.callers,
            allocations: row.allocations,
            allocated_bytes: row.allocated_bytes,
            live_objects: row.live_objects,
            live_bytes: row.live_bytes,
        };
        if row.file.is_empty()
            && let Some((file, line, column)) = self.caller(&row.callers)
        {
            (site.file, site.line, site.column) = (workspace::shown(&file), line, column);
        }
        let place = |site: &Site| (site.file.clone(), site.line, site.column, site.call.clone());
        let known = self.sites.iter_mut();
        match known
            .filter(|_| !site.file.is_empty())
            .find(|known| place(known) == place(&site))
        {
            Some(known) => {
                known.allocations += site.allocations;
                known.allocated_bytes += site.allocated_bytes;
                known.live_objects += site.live_objects;
                known.live_bytes += site.live_bytes;
            }
            None => self.sites.push(site),
        }
    }

    /// The innermost of `callers` that allocates for itself.
    fn caller(&self, callers: &[Address]) -> Option<(String, u32, u32)> {
        let symbols = self.symbols.as_ref()?;
        let called = callers.iter().filter(|caller| caller.0 != 0);
        // The call is the instruction before the one that it returns to.
        called
            .filter_map(|caller| symbols.find_frames(caller.0 - 1).ok())
            .find_map(|mut frames| {
                while let Ok(Some(frame)) = frames.next() {
                    let location = frame
                        .location
                        .and_then(|at| Some((at.file?, at.line?, at.column)));
                    if let Some((file, line, column)) = location
                        && !NOT_CALLERS.iter().any(|part| file.contains(part))
                    {
                        return Some((file.to_owned(), line, column.unwrap_or(1)));
                    }
                }
                None
            })
    }

    /// Hands out all rows, those that hold most first.
    pub(super) fn drain(&mut self, mut row: impl FnMut(&Record<'_>)) {
        let mut sites = std::mem::take(&mut self.sites);
        sites.sort_by(|one, other| {
            let weight = |site: &Site| (site.live_bytes, site.allocated_bytes);
            let place = |site: &Site| (site.file.clone(), site.line, site.column);
            weight(other)
                .cmp(&weight(one))
                .then(place(one).cmp(&place(other)))
        });
        for site in &sites {
            row(&Record::CallSite(CallSite {
                file: &site.file,
                line: site.line,
                column: site.column,
                call: &site.call,
                callers: site.callers,
                allocations: site.allocations,
                allocated_bytes: site.allocated_bytes,
                live_objects: site.live_objects,
                live_bytes: site.live_bytes,
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_of_one_place_are_one_and_what_holds_most_comes_first() {
        let row = CallSite {
            file: "kernel/src/app.rs",
            line: 1,
            column: 2,
            call: "kmalloc",
            callers: [Address(0); CALLERS],
            allocations: 1,
            allocated_bytes: 10,
            live_objects: 1,
            live_bytes: 10,
        };
        let unknown = CallSite {
            file: "",
            call: "heap",
            callers: [Address(4); CALLERS],
            ..row
        };
        let larger = CallSite {
            line: 9,
            live_bytes: 100,
            ..row
        };
        let mut sites = Sites::default();
        for row in [row, unknown, unknown, row, larger] {
            sites.add(&row);
        }
        let mut seen = Vec::new();
        sites.drain(|record| match record {
            Record::CallSite(row) => seen.push((row.line, row.call.to_owned(), row.live_bytes)),
            other => panic!("{other:?}"),
        });
        assert_eq!((seen[0].0, seen[0].2), (9, 100));
        assert_eq!((seen[1].0, seen[1].2), (1, 20));
        assert_eq!(seen.len(), 4, "what is not known is not merged");
    }
}
