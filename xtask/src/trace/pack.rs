//! Turns a sound trace into what the image replays: slots, used again when they are free, instead of
//! ids.

use super::error::TraceError;
use super::event::{Action, Event};
use super::ledger::{Change, Shape};
use super::memory::{Ahead, Footprint};
use super::read;
use std::path::Path;
use wire::trace::{self, Op, Totals};

/// A trace that was read and found sound.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its name in rows: the file's, without the suffixes.
    pub name: String,
    /// What the image replays: a [`trace::Trace`].
    pub bytes: Vec<u8>,
    /// What it needs of a machine.
    pub footprint: Footprint,
    /// Threads that did it, at least 1.
    pub threads: u32,
}

/// Reads the trace `file`, plain or compressed by gzip.
///
/// # Errors
///
/// [`TraceError`], which names file, line and reason.
pub fn load(file: &Path) -> Result<Loaded, TraceError> {
    let mut packer = Packer::default();
    let ledger = read::file(file, |event, change| packer.take(event, change))?;
    Ok(packer.finish(name_of(file), ledger.threads()))
}

/// A trace's name: the file's up to the first dot, of characters that a row's name may have.
pub(super) fn name_of(file: &Path) -> String {
    /// Names above this would not fit a row's.
    const LONGEST: usize = 40;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let stem = name
        .split('.')
        .find(|part| !part.is_empty())
        .unwrap_or("trace");
    let allowed = |letter: char| {
        if letter.is_ascii_alphanumeric() {
            letter
        } else {
            '-'
        }
    };
    stem.chars().map(allowed).take(LONGEST).collect()
}

/// The events so far, and what is live after them.
#[derive(Default)]
struct Packer {
    totals: Totals,
    /// The slot of every id so far.
    slots: Vec<u32>,
    /// Slots that were used and are free; the last one is used again first.
    free_slots: Vec<u32>,
    asked_bytes: u64,
    frames: u64,
    footprint: Footprint,
    ahead: Ahead,
    records: Vec<u8>,
}

impl Packer {
    fn take(&mut self, event: &Event, change: Change) {
        let id = event.action.id() as usize;
        let (op, align_log2, size) = match event.action {
            Action::Alloc {
                size,
                align_log2,
                zeroed,
                ..
            } => (
                if zeroed { Op::Zeroed } else { Op::Alloc },
                align_log2,
                size,
            ),
            Action::Realloc { size, .. } => (Op::Realloc, 0, size),
            Action::Free { .. } => (Op::Free, 0, 0),
            Action::Pages { order, .. } => (Op::Pages, 0, order),
            Action::FreePages { .. } => (Op::FreePages, 0, 0),
        };
        self.ahead.take(match change {
            Change::Made(shape) | Change::Resized { to: shape, .. } => Some(shape),
            Change::Freed(_) => None,
        });
        match change {
            Change::Made(shape) => {
                let slot = self.free_slots.pop().unwrap_or_else(|| {
                    self.totals.slots += 1;
                    self.totals.slots - 1
                });
                self.slots.push(slot);
                self.add(shape);
            }
            // Both are live while one is copied to the other, but what was asked for is one of them.
            Change::Resized { from, to } => {
                self.footprint.add(to);
                self.footprint.remove(from);
                self.asked_bytes = self.asked_bytes - from.bytes() + to.bytes();
            }
            Change::Freed(shape) => {
                self.free_slots.push(self.slots[id]);
                self.remove(shape);
            }
        }
        let event = trace::Event {
            op,
            align_log2,
            thread: event.thread,
            slot: self.slots[id],
            size,
        };
        self.records.extend(event.to_bytes());
        let totals = &mut self.totals;
        totals.events += 1;
        totals.peak_bytes = totals.peak_bytes.max(self.asked_bytes);
        totals.peak_frames = totals.peak_frames.max(self.frames);
    }

    fn add(&mut self, shape: Shape) {
        self.footprint.add(shape);
        match shape {
            Shape::Object { .. } => self.asked_bytes += shape.bytes(),
            Shape::Pages { order } => self.frames += 1 << order,
        }
    }

    fn remove(&mut self, shape: Shape) {
        self.footprint.remove(shape);
        match shape {
            Shape::Object { .. } => self.asked_bytes -= shape.bytes(),
            Shape::Pages { order } => self.frames -= 1 << order,
        }
    }

    fn finish(mut self, name: String, threads: u32) -> Loaded {
        self.totals.threads = threads;
        let bytes = [&self.totals.header()[..], &self.records].concat();
        self.footprint
            .set_table(&self.totals, self.ahead.peak_bytes(), bytes.len());
        Loaded {
            name,
            bytes,
            footprint: self.footprint,
            threads,
        }
    }
}

#[cfg(test)]
mod tests;
