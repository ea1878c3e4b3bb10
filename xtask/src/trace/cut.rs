//! `cargo xtask trace cut`: a part of a trace that is a sound trace of its own.
//!
//! What lives where the part begins is allocated first, in the order in which it was, with the sizes that
//! it has by then: so the part finds the heap as full as it was, and none of its events is lost.

use super::addresses::Summary;
use super::event::Action;
use super::ledger::{Change, Shape};
use super::write::{self, Writer};
use super::{TraceError, read};
use crate::bench::format::grouped;
use crate::console;
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What to cut.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The trace, plain or compressed by gzip
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The first event of the part, counted from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub from: u32,
    /// Events of the part, or as many as there are behind its start
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u32).range(1..))]
    pub events: u32,
    /// Write the part to this file, compressed if it ends in .gz
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

const AFTER_HELP: &str = "\
What is live where the part begins is allocated first, in the order in which it was, so that the part has
more events than M by as many.";

/// Cuts; returns the exit status.
///
/// # Errors
///
/// If the trace is malformed, has no such part, or the part cannot be written.
pub fn command(args: &Args) -> Result<u8> {
    write::check_folder(&args.output)?;
    let cut = Cut::read(args)?;
    let comment = format!(
        "events {} to {}",
        args.from,
        args.from.saturating_add(args.events)
    );
    let writer = Writer::create(&args.output, &comment)?;
    let (made, events) = (cut.live.len(), cut.events.len());
    let summary = cut.write(writer)?;
    console::say(format_args!("{}: {summary}", args.output.display()));
    console::say(format_args!(
        "{} events, and before them {} that allocate what was live",
        grouped(events as u64),
        grouped(made as u64)
    ));
    Ok(0)
}

/// A part of a trace.
#[derive(Debug, Default)]
struct Cut {
    /// What is live where it begins, and who allocated it, by its id in the whole.
    live: BTreeMap<u32, (u16, Shape)>,
    /// Its events, with the ids of the whole.
    events: Vec<(u16, Action)>,
}

impl Cut {
    fn read(args: &Args) -> Result<Self> {
        let mut cut = Self::default();
        let end = args.from.saturating_add(args.events);
        let mut number = 0;
        read::file(&args.file, |event, change| {
            if number < args.from {
                cut.skip(event.thread, event.action.id(), change);
            } else if number < end {
                cut.events.push((event.thread, event.action));
            }
            number += 1;
        })?;
        if cut.events.is_empty() {
            let all = grouped(number.into());
            bail!(
                "--from {}: {} has {all} events",
                args.from,
                args.file.display()
            );
        }
        Ok(cut)
    }

    fn skip(&mut self, thread: u16, id: u32, change: Change) {
        match change {
            Change::Made(shape) => {
                self.live.insert(id, (thread, shape));
            }
            Change::Resized { to, .. } => {
                if let Some((_, shape)) = self.live.get_mut(&id) {
                    *shape = to;
                }
            }
            Change::Freed(_) => {
                self.live.remove(&id);
            }
        }
    }

    fn write(self, mut writer: Writer) -> Result<Summary, TraceError> {
        let mut ids = BTreeMap::new();
        let mut put = |thread: u16, action: Action| {
            let next = u32::try_from(ids.len()).unwrap_or(u32::MAX);
            let id = *ids.entry(action.id()).or_insert(next);
            writer.event(thread.into(), action.on(id))
        };
        for (id, (thread, shape)) in self.live {
            put(thread, shape.allocate(id))?;
        }
        for (thread, action) in self.events {
            put(thread, action)?;
        }
        Ok(Summary::new(&writer.finish()?))
    }
}

#[cfg(test)]
mod tests;
