//! `cargo xtask trace stat`: what is in a trace.

mod text;

use super::error::TraceError;
use super::event::{Action, Event};
use super::ledger::{Change, Ledger, Shape};
use super::{pack, read};
use crate::bench::json;
use crate::console;
use anyhow::{Context, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Version of the JSON layout.
const SCHEMA: u32 = 1;
/// Points of the course of live bytes, at most twice as many.
const POINTS: usize = 200;

/// What to look at.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The trace, plain or compressed by gzip
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// How to write it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// How statistics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Tables, for people
    Text,
    /// One object, for programs
    Json,
}

/// Writes the statistics to standard output; returns the exit status.
///
/// # Errors
///
/// If the trace is malformed.
pub fn command(args: &Args) -> Result<u8> {
    let statistics = Statistics::read(&args.file)?;
    let text = match args.format {
        Format::Text => text::write(&statistics),
        Format::Json => json::write(&statistics)?,
    };
    console::result(text).context("cannot write the statistics")?;
    Ok(0)
}

/// What is in a trace. Field order is the JSON's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Statistics {
    schema: u32,
    name: String,
    events: Events,
    /// Events by thread.
    threads: Vec<u64>,
    /// Frees and reallocations of what another thread allocated.
    by_other_threads: u64,
    /// Bytes asked for in all, reallocations by their new size.
    asked_bytes: u64,
    peak: Peak,
    /// What is live behind the last event.
    left: Live,
    /// Objects by size when they were allocated, by powers of two.
    sizes: Vec<Octave>,
    /// Blocks of page frames by order.
    orders: Vec<u64>,
    /// Objects by the alignment that they ask for; 1 where none is named.
    alignments: Vec<Alignment>,
    /// Events between allocation and free.
    lifetimes: Lifetimes,
    /// The course of live bytes.
    live: Vec<Point>,
}

/// Events by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Events {
    all: u64,
    alloc: u64,
    zeroed: u64,
    realloc: u64,
    free: u64,
    pages_alloc: u64,
    pages_free: u64,
}

/// The most bytes that were live at once, and when that was first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Peak {
    bytes: u64,
    event: u64,
}

/// What is live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Live {
    objects: u64,
    page_blocks: u64,
    bytes: u64,
}

/// Objects of sizes from one power of two up to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Octave {
    from: u64,
    below: u64,
    objects: u64,
    bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Alignment {
    bytes: u64,
    objects: u64,
}

/// Of what was freed, nearest ranks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Lifetimes {
    freed: u64,
    never_freed: u64,
    p50: u64,
    p90: u64,
    p99: u64,
    max: u64,
}

/// How much is live after so many events: page frames included in the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Point {
    events: u64,
    live: u64,
    bytes: u64,
}

impl Statistics {
    fn read(file: &Path) -> Result<Self, TraceError> {
        let mut counts = Counts::default();
        let ledger = read::file(file, |event, change| counts.take(event, change))?;
        Ok(counts.finish(pack::name_of(file), &ledger))
    }
}

/// Statistics in the making.
#[derive(Debug, Default)]
struct Counts {
    events: Events,
    threads: Vec<u64>,
    /// Who allocated it, and before how many events, by id.
    begun: Vec<(u16, u64)>,
    by_other_threads: u64,
    asked_bytes: u64,
    peak: Peak,
    live: u64,
    live_bytes: u64,
    sizes: BTreeMap<u32, (u64, u64)>,
    orders: Vec<u64>,
    alignments: BTreeMap<u8, u64>,
    lifetimes: Vec<u64>,
    course: Course,
}

impl Counts {
    fn take(&mut self, event: &Event, change: Change) {
        let now = self.events.all;
        self.count(event);
        let id = event.action.id() as usize;
        match change {
            Change::Made(shape) => {
                self.begun.push((event.thread, now));
                self.asked_bytes += shape.bytes();
                self.live += 1;
                self.live_bytes += shape.bytes();
                self.shape(shape);
            }
            Change::Resized { from, to } => {
                self.asked_bytes += to.bytes();
                self.live_bytes = self.live_bytes - from.bytes() + to.bytes();
            }
            Change::Freed(shape) => {
                self.live -= 1;
                self.live_bytes -= shape.bytes();
                self.lifetimes.push(now - self.begun[id].1);
            }
        }
        self.by_other_threads += u64::from(self.begun[id].0 != event.thread);
        if self.live_bytes > self.peak.bytes {
            self.peak = Peak {
                bytes: self.live_bytes,
                event: now,
            };
        }
        self.course.take(Point {
            events: self.events.all,
            live: self.live,
            bytes: self.live_bytes,
        });
    }

    fn count(&mut self, event: &Event) {
        let events = &mut self.events;
        events.all += 1;
        *match event.action {
            Action::Alloc { zeroed: false, .. } => &mut events.alloc,
            Action::Alloc { zeroed: true, .. } => &mut events.zeroed,
            Action::Realloc { .. } => &mut events.realloc,
            Action::Free { .. } => &mut events.free,
            Action::Pages { .. } => &mut events.pages_alloc,
            Action::FreePages { .. } => &mut events.pages_free,
        } += 1;
        *place(&mut self.threads, event.thread.into()) += 1;
    }

    fn shape(&mut self, shape: Shape) {
        match shape {
            Shape::Object { size, align_log2 } => {
                let (objects, bytes) = self.sizes.entry(size.ilog2()).or_default();
                *objects += 1;
                *bytes += u64::from(size);
                *self.alignments.entry(align_log2).or_default() += 1;
            }
            Shape::Pages { order } => *place(&mut self.orders, order as usize) += 1,
        }
    }

    fn finish(mut self, name: String, ledger: &Ledger) -> Statistics {
        self.lifetimes.sort_unstable();
        let mut left = Live {
            bytes: self.live_bytes,
            ..Live::default()
        };
        for (_, shape) in ledger.live() {
            *match shape {
                Shape::Object { .. } => &mut left.objects,
                Shape::Pages { .. } => &mut left.page_blocks,
            } += 1;
        }
        self.threads.resize(ledger.threads() as usize, 0);
        let octave = |(log2, (objects, bytes)): (u32, (u64, u64))| Octave {
            from: 1 << log2,
            below: 2 << log2,
            objects,
            bytes,
        };
        let alignment = |(log2, objects): (u8, u64)| Alignment {
            bytes: 1 << log2,
            objects,
        };
        Statistics {
            schema: SCHEMA,
            name,
            events: self.events,
            threads: self.threads,
            by_other_threads: self.by_other_threads,
            asked_bytes: self.asked_bytes,
            peak: self.peak,
            left,
            sizes: self.sizes.into_iter().map(octave).collect(),
            orders: self.orders,
            alignments: self.alignments.into_iter().map(alignment).collect(),
            lifetimes: Lifetimes {
                freed: self.lifetimes.len() as u64,
                never_freed: self.live,
                p50: rank(&self.lifetimes, 50),
                p90: rank(&self.lifetimes, 90),
                p99: rank(&self.lifetimes, 99),
                max: self.lifetimes.last().copied().unwrap_or(0),
            },
            live: self.course.finish(),
        }
    }
}

/// The `percent`-th percentile of sorted numbers, by nearest rank; 0 of none.
fn rank(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

/// The count at `index`, which is made if there is none.
fn place(counts: &mut Vec<u64>, index: usize) -> &mut u64 {
    if counts.len() <= index {
        counts.resize(index + 1, 0);
    }
    &mut counts[index]
}

/// A course whose length is not known before: one point of each of many equal stretches, that at which
/// most bytes were live. Whenever there are too many, two stretches become one.
#[derive(Debug)]
struct Course {
    points: Vec<Point>,
    stride: u64,
    most: Option<Point>,
}

impl Default for Course {
    fn default() -> Self {
        Self {
            points: Vec::new(),
            stride: 1,
            most: None,
        }
    }
}

impl Course {
    fn take(&mut self, point: Point) {
        let most = self.most.get_or_insert(point);
        if point.bytes > most.bytes {
            *most = point;
        }
        if point.events.is_multiple_of(self.stride) {
            self.points.extend(self.most.take());
            if self.points.len() >= 2 * POINTS {
                let pairs = self.points.chunks_exact(2);
                let higher = pairs.map(|pair| match pair[0].bytes > pair[1].bytes {
                    true => pair[0],
                    false => pair[1],
                });
                self.points = higher.collect();
                self.stride *= 2;
            }
        }
    }

    fn finish(mut self) -> Vec<Point> {
        self.points.extend(self.most);
        self.points
    }
}

#[cfg(test)]
mod tests;
