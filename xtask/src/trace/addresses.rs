//! What a log of addresses amounts to: ids, and frees where the log has none.
//!
//! Logs begin when something lives already, and lose events. What lies at an address that is allocated
//! anew was freed just before, though nobody saw it; a free of what nobody saw allocated is left out. Both
//! are counted.

use super::TraceError;
use super::event::Action;
use super::ledger::Ledger;
use super::write::Writer;
use crate::bench::format::grouped;
use std::collections::HashMap;
use std::fmt;

/// Where something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// An object, by its address.
    Object(u64),
    /// Page frames, by the number of the first.
    Pages(u64),
}

/// What is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum New {
    /// An object.
    Object {
        /// Its bytes, at least 1.
        size: u32,
        /// Its alignment as a power of two; 0 where none is named.
        align_log2: u8,
        /// Whether it is all zero.
        zeroed: bool,
    },
    /// Page frames.
    Pages {
        /// There are 2^order of them.
        order: u32,
    },
}

impl New {
    const fn action(self, id: u32) -> Action {
        match self {
            Self::Object {
                size,
                align_log2,
                zeroed,
            } => Action::Alloc {
                id,
                size,
                align_log2,
                zeroed,
            },
            Self::Pages { order } => Action::Pages { id, order },
        }
    }
}

/// Writes a trace of what happens at addresses.
#[derive(Debug)]
pub struct Addresses {
    writer: Writer,
    live: HashMap<Place, u32>,
    unknown_frees: u64,
    unseen_frees: u64,
}

impl Addresses {
    /// Nothing yet.
    pub fn new(writer: Writer) -> Self {
        Self {
            writer,
            live: HashMap::new(),
            unknown_frees: 0,
            unseen_frees: 0,
        }
    }

    /// `thread` gets `new` at `place`.
    ///
    /// # Errors
    ///
    /// As the writer, here and below.
    pub fn made(&mut self, thread: u32, place: Place, new: New) -> Result<(), TraceError> {
        self.settle(thread, place)?;
        // The writer refuses more than there are numbers for.
        let id = u32::try_from(self.writer.ledger().ids()).unwrap_or(u32::MAX);
        self.live.insert(place, id);
        self.writer.event(thread, new.action(id)).map(|_| ())
    }

    /// `thread` frees what is at `place`.
    pub fn freed(&mut self, thread: u32, place: Place) -> Result<(), TraceError> {
        if let Some(id) = self.take(place) {
            return self.free(thread, place, id);
        }
        self.unknown_frees += 1;
        Ok(())
    }

    /// What is at `place` leaves it, and lives on.
    pub fn take(&mut self, place: Place) -> Option<u32> {
        self.live.remove(&place)
    }

    /// The object `id`, taken before, is at `place`, as it was.
    pub fn put(&mut self, place: Place, id: u32) {
        self.live.insert(place, id);
    }

    /// `thread` has reallocated the object `id`, taken before, which has `size` bytes at `place` now.
    pub fn resized(
        &mut self,
        thread: u32,
        place: Place,
        id: u32,
        size: u32,
    ) -> Result<(), TraceError> {
        self.settle(thread, place)?;
        self.live.insert(place, id);
        let resize = Action::Realloc { id, size };
        self.writer.event(thread, resize).map(|_| ())
    }

    /// `thread` frees `id`, taken from `place` before.
    pub fn free(&mut self, thread: u32, place: Place, id: u32) -> Result<(), TraceError> {
        let free = match place {
            Place::Object(_) => Action::Free { id },
            Place::Pages(_) => Action::FreePages { id },
        };
        self.writer.event(thread, free).map(|_| ())
    }

    /// Frees what is at a place that is allocated anew.
    fn settle(&mut self, thread: u32, place: Place) -> Result<(), TraceError> {
        match self.take(place) {
            Some(id) => {
                self.unseen_frees += 1;
                self.free(thread, place, id)
            }
            None => Ok(()),
        }
    }

    /// Ends the trace; `notes` are counts of what else there is to tell.
    pub fn finish(self, notes: &[(&'static str, u64)]) -> Result<Summary, TraceError> {
        let mut summary = Summary::new(&self.writer.finish()?);
        summary.notes = vec![
            (
                "frees of what nobody saw allocated, left out",
                self.unknown_frees,
            ),
            ("frees that nobody saw, added", self.unseen_frees),
        ];
        summary.notes.extend(notes);
        Ok(summary)
    }
}

/// A trace that was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Its events.
    pub events: u32,
    /// Threads in it.
    pub threads: u32,
    /// What is live at its end.
    pub live: usize,
    /// Most bytes that were asked for and live at once.
    pub peak_bytes: u64,
    /// What else is to be told, counted; nothing of it where the count is 0.
    pub notes: Vec<(&'static str, u64)>,
}

impl Summary {
    /// Of a trace that leaves `ledger`.
    pub fn new(ledger: &Ledger) -> Self {
        Self {
            events: ledger.events(),
            threads: ledger.threads(),
            live: ledger.live().count(),
            peak_bytes: ledger.peak_bytes(),
            notes: Vec::new(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: u64| if count == 1 { "" } else { "s" };
        let (events, threads) = (self.events.into(), self.threads.into());
        write!(
            f,
            "{} event{} of {threads} thread{}, at most {} bytes at once, {} live at the end",
            grouped(events),
            plural(events),
            plural(threads),
            grouped(self.peak_bytes),
            grouped(self.live as u64),
        )?;
        for (what, count) in self.notes.iter().filter(|(_, count)| *count > 0) {
            write!(f, "; {what}: {}", grouped(*count))?;
        }
        Ok(())
    }
}
