//! `cargo xtask trace synth`: a trace that is like another one and has nothing of it but distributions.
//!
//! The other one is read as lives: what was asked for, by which thread, how often it was reallocated and
//! after how many events it was freed and by whom. The new trace draws lives from these, at random and
//! each as likely as any other; it begins one whenever no life that has begun is due. So sizes,
//! alignments, lifetimes, threads, and how these go together are as they were; what followed what is not.
//!
//! A life that the other trace does not end never ends.

use super::addresses::Summary;
use super::event::{Action, Event};
use super::ledger::Change;
use super::write::{self, Writer};
use super::{TraceError, read};
use crate::console;
use anyhow::Result;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::PathBuf;

/// What to make.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The trace to be like, plain or compressed by gzip
    #[arg(long, value_name = "FILE")]
    pub like: PathBuf,
    /// Events of the new trace
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub events: u32,
    /// Seed: the same one gives the same trace
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
    /// Write it to this file, compressed if it ends in .gz
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

const AFTER_HELP: &str = "\
Sizes, alignments, lifetimes (in events), reallocations and the mix of threads are those of the other
trace; the order of events is not, so that it can be shown where the other one cannot.";

/// Makes one; returns the exit status.
///
/// # Errors
///
/// If the other trace is malformed, or the new one cannot be written.
pub fn command(args: &Args) -> Result<u8> {
    write::check_folder(&args.output)?;
    let mut lives = Lives::default();
    read::file(&args.like, |event, change| lives.take(event, change))?;
    let comment = format!("made up, seed {}", args.seed);
    let writer = Writer::create(&args.output, &comment)?;
    let summary = lives.synthesise(writer, args.events, args.seed)?;
    console::say(format_args!("{}: {summary}", args.output.display()));
    Ok(0)
}

/// From when something is allocated on.
#[derive(Debug)]
struct Life {
    thread: u16,
    /// How it is allocated; the id means nothing.
    first: Action,
    /// What happens to it then: events after the first, the thread, and what it does.
    later: Vec<(u32, u16, Action)>,
}

/// All lives of a trace, in the order in which they begin: by id.
#[derive(Debug, Default)]
struct Lives {
    lives: Vec<Life>,
    begun: Vec<u32>,
    events: u32,
}

impl Lives {
    fn take(&mut self, event: &Event, change: Change) {
        let Event { thread, action } = *event;
        let id = action.id() as usize;
        if let Change::Made(_) = change {
            self.lives.push(Life {
                thread,
                first: action,
                later: Vec::new(),
            });
            self.begun.push(self.events);
        } else {
            let after = self.events - self.begun[id];
            self.lives[id].later.push((after, thread, action));
        }
        self.events += 1;
    }

    fn synthesise(
        &self,
        mut writer: Writer,
        events: u32,
        seed: u64,
    ) -> Result<Summary, TraceError> {
        let mut random = Random::new(seed);
        // What is due next: when, whose, the number of the life and of the step in it.
        let mut due: BinaryHeap<Reverse<(u32, u32, usize, usize)>> = BinaryHeap::new();
        let mut begun: Vec<u32> = Vec::new();
        for now in 0..events {
            let next = due
                .peek()
                .filter(|Reverse((when, ..))| *when <= now)
                .copied();
            let (id, life, step) = if let Some(Reverse((_, id, life, step))) = next {
                due.pop();
                let (_, thread, action) = self.lives[life].later[step];
                writer.event(thread.into(), action.on(id))?;
                (id, life, step + 1)
            } else {
                let life = random.below(self.lives.len());
                let id = u32::try_from(begun.len()).unwrap_or(u32::MAX);
                begun.push(now);
                let Life { thread, first, .. } = self.lives[life];
                writer.event(thread.into(), first.on(id))?;
                (id, life, 0)
            };
            if let Some((after, ..)) = self.lives[life].later.get(step) {
                let when = begun[id as usize].saturating_add(*after);
                due.push(Reverse((when, id, life, step)));
            }
        }
        Ok(Summary::new(&writer.finish()?))
    }
}

/// Random numbers: xorshift64*, begun by one step of SplitMix64, so that any seed will do.
struct Random(u64);

impl Random {
    const fn new(seed: u64) -> Self {
        let mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let mixed = mixed ^ (mixed >> 31);
        Self(if mixed == 0 { 1 } else { mixed })
    }

    /// A number below `limit`, which is at most 2^32.
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        usize::try_from((drawn * limit as u64) >> 32).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
