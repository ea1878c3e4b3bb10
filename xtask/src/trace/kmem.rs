//! `cargo xtask trace import --linux-kmem`: Linux's text traces of its own allocators.
//!
//! What ftrace's `trace` file and `trace-cmd report` print of the kmem tracepoints
//! (`include/trace/events/kmem.h`), one event a line:
//!
//! ```text
//!   bash-1234  [001] ..... 12.345678: kmalloc: call_site=f+0x1/0x2 ptr=00000000a1b2c3d4 bytes_req=96 …
//!   TASK-PID   CPU   FLAGS TIME       EVENT    FIELDS
//! ```
//!
//! A page that is freed as part of a batch is told twice, of which `mm_page_free` counts. Lines of other
//! events say nothing.

use super::addresses::{Addresses, New, Place, Summary};
use super::event::ORDER_MAX;
use super::read::{self, Located};
use super::write::{self, Writer};
use super::{ErrorKind, TraceError};
use crate::console;
use anyhow::{Result, ensure};
use std::io::BufRead;
use std::path::PathBuf;

/// What to import.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// A text trace of Linux's kmem tracepoints, plain or compressed by gzip
    #[arg(long, value_name = "FILE")]
    pub linux_kmem: PathBuf,
    /// Write the trace to this file, compressed if it ends in .gz
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Say which CPU did what, as threads, so that the trace can be replayed on several cores
    #[arg(long)]
    pub threads: bool,
}

const AFTER_HELP: &str = "\
Record on the Linux machine, for example:
  trace-cmd record -e kmem:kmalloc -e kmem:kfree -e kmem:kmem_cache_alloc -e kmem:kmem_cache_free \\
    -e kmem:mm_page_alloc -e kmem:mm_page_free COMMAND
  trace-cmd report > kmem.txt
or read /sys/kernel/tracing/trace with these events enabled. Frees of what nobody saw allocated are left
out and counted, and so is what Linux says it has lost. Leave the mm_page events away to replay objects
alone: Linux's own slabs are page allocations too.";

/// Imports; returns the exit status.
///
/// # Errors
///
/// If the file cannot be read, or has none of these events; or the trace cannot be written.
pub fn command(args: &Args) -> Result<u8> {
    write::check_folder(&args.output)?;
    let located = |(line, kind): Located| TraceError {
        file: args.linux_kmem.clone(),
        line,
        kind,
    };
    let input = read::open(&args.linux_kmem);
    let input = input.map_err(|error| located((None, ErrorKind::Io(error))))?;
    let writer = Writer::create(&args.output, "allocations of a Linux kernel")?;
    let mut import = Import::new(Addresses::new(writer), args.threads);
    import.read(input).map_err(located)?;
    ensure!(
        import.events > 0,
        "{}: no event of kmem in it (kmalloc, kfree, kmem_cache_alloc, kmem_cache_free, mm_page_alloc, \
         mm_page_free)",
        args.linux_kmem.display()
    );
    let summary = import.finish()?;
    console::say(format_args!("{}: {summary}", args.output.display()));
    Ok(0)
}

/// An import so far.
struct Import {
    addresses: Addresses,
    with_threads: bool,
    events: u64,
    /// Events that Linux says it has lost or overwritten.
    lost: u64,
    /// Events without a pointer, a size or an order that can be used.
    unusable: u64,
}

impl Import {
    const fn new(addresses: Addresses, with_threads: bool) -> Self {
        Self {
            addresses,
            with_threads,
            events: 0,
            lost: 0,
            unusable: 0,
        }
    }

    fn read(&mut self, input: impl BufRead) -> Result<(), Located> {
        read::every_line(input, |line| {
            self.lost += lost(line);
            match Entry::parse(line) {
                Some(entry) => self.take(&entry),
                None => Ok(()),
            }
        })
    }

    fn take(&mut self, entry: &Entry<'_>) -> Result<(), ErrorKind> {
        self.events += 1;
        let thread = if self.with_threads { entry.cpu } else { 0 };
        let Some((place, new)) = entry.what() else {
            self.unusable += 1;
            return Ok(());
        };
        let taken = match new {
            Some(new) => self.addresses.made(thread, place, new),
            None => self.addresses.freed(thread, place),
        };
        taken.map_err(|error| error.kind)
    }

    fn finish(self) -> Result<Summary, TraceError> {
        self.addresses.finish(&[
            ("failed or unreadable events, left out", self.unusable),
            ("events that Linux lost", self.lost),
        ])
    }
}

/// The tracepoints, and what they are about.
const EVENTS: [(&str, Kind); 8] = [
    ("kmalloc", Kind::Alloc),
    ("kmalloc_node", Kind::Alloc),
    ("kmem_cache_alloc", Kind::Alloc),
    ("kmem_cache_alloc_node", Kind::Alloc),
    ("kfree", Kind::Free),
    ("kmem_cache_free", Kind::Free),
    ("mm_page_alloc", Kind::Pages),
    ("mm_page_free", Kind::FreePages),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Alloc,
    Free,
    Pages,
    FreePages,
}

/// A line that tells of an event.
struct Entry<'a> {
    kind: Kind,
    cpu: u32,
    fields: &'a str,
}

impl<'a> Entry<'a> {
    /// The event of a line, if it is one of these.
    fn parse(line: &'a str) -> Option<Self> {
        // The name is the first word that ends with a colon behind the one of the time, which does too.
        let (before, behind) = line.split_once(": ")?;
        let (name, fields) = behind.split_once(':')?;
        let (_, kind) = EVENTS.iter().find(|(event, _)| *event == name.trim())?;
        // A task's name may have brackets of its own.
        let cpu = before.split_ascii_whitespace().rev().find_map(|word| {
            let digits = word.strip_prefix('[')?.strip_suffix(']')?;
            digits.parse().ok()
        });
        Some(Self {
            kind: *kind,
            cpu: cpu.unwrap_or(0),
            fields,
        })
    }

    fn field(&self, name: &str) -> Option<&'a str> {
        self.fields
            .split_ascii_whitespace()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    /// Where it happens, and what is allocated there; `None` where it says neither.
    fn what(&self) -> Option<(Place, Option<New>)> {
        let place = match self.kind {
            Kind::Alloc | Kind::Free => Place::Object(pointer(self.field("ptr")?)?),
            Kind::Pages | Kind::FreePages => {
                if let Some(page) = self.field("page") {
                    pointer(page)?;
                }
                Place::Pages(number(self.field("pfn")?)?)
            }
        };
        let new = match self.kind {
            Kind::Alloc => {
                let size = number(self.field("bytes_req")?)?;
                let flags = self.field("gfp_flags").unwrap_or_default();
                Some(New::Object {
                    size: u32::try_from(size.max(1)).ok()?,
                    align_log2: 0,
                    zeroed: flags.split('|').any(|flag| flag == "__GFP_ZERO"),
                })
            }
            Kind::Pages => {
                let order = u32::try_from(number(self.field("order")?)?).ok()?;
                Some(New::Pages {
                    order: Some(order).filter(|order| *order <= ORDER_MAX)?,
                })
            }
            Kind::Free | Kind::FreePages => None,
        };
        Some((place, new))
    }
}

/// A pointer as `%p` prints it, hashed or not; `None` for null and for what is none.
fn pointer(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let pointer = u64::from_str_radix(digits, 16).ok();
    pointer.filter(|pointer| *pointer != 0)
}

/// A number, decimal or hexadecimal with its prefix.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Events that a line says are missing: `[LOST 12 EVENTS]`, `[12 EVENTS DROPPED]`, or the header's
/// `entries-in-buffer/entries-written: 205/4000`.
fn lost(line: &str) -> u64 {
    if let Some((_, counts)) = line.split_once("entries-written:") {
        let counts = counts.split_ascii_whitespace().next().unwrap_or_default();
        let (kept, written) = counts.split_once('/').unwrap_or_default();
        let parse = |text: &str| text.parse::<u64>().unwrap_or(0);
        return parse(written).saturating_sub(parse(kept));
    }
    let bracket = line
        .rsplit_once('[')
        .and_then(|(_, text)| text.split_once(']'));
    let Some((inside, _)) = bracket else { return 0 };
    if !(inside.contains("EVENTS") && (inside.contains("LOST") || inside.contains("DROPPED"))) {
        return 0;
    }
    // Some that nobody counted are one at least.
    let mut words = inside.split_ascii_whitespace();
    words.find_map(|word| word.parse().ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests;
