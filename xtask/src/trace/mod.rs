//! `cargo xtask trace`: records, imports and looks at allocation sequences.
//!
//! The text format is `bench/traces/README.md`'s. What reads it believes nothing unchecked, and what
//! writes it checks itself by the same rules:
//!
//! ```text
//!   read   a line ── event ──> Event ── ledger ──> Change, or what is wrong
//!   write  Event ── ledger ──> a line
//!
//!   record ── recording ──┐
//!   import ── kmem ───────┼──> write          read ──> pack: what an image replays
//!   cut, synth ───────────┘                        ──> stat, cut, synth
//! ```

pub mod addresses;
pub mod cut;
pub mod error;
pub mod event;
pub mod kmem;
pub mod ledger;
pub mod memory;
pub mod pack;
pub mod read;
pub mod record;
pub mod recording;
#[cfg(test)]
mod sound;
pub mod stat;
pub mod synth;
pub mod write;

pub use error::{ErrorKind, TraceError};
pub use pack::{Loaded, load};

use anyhow::Result;

/// What to do with traces.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Record the malloc calls of a Linux program
    Record(record::Args),
    /// Make a trace of what another tracer wrote
    Import(kmem::Args),
    /// Show a trace's sizes, lifetimes, threads, and live bytes over time
    Stat(stat::Args),
    /// Cut a part out of a trace
    Cut(cut::Args),
    /// Make up a trace that is like another one
    Synth(synth::Args),
}

/// Does what was asked; returns the exit status.
///
/// # Errors
///
/// If a file is malformed, cannot be read or cannot be written.
pub fn command(args: &Args) -> Result<u8> {
    match &args.command {
        Command::Record(args) => record::command(args),
        Command::Import(args) => kmem::command(args),
        Command::Stat(args) => stat::command(args),
        Command::Cut(args) => cut::command(args),
        Command::Synth(args) => synth::command(args),
    }
}
