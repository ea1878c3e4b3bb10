//! Statistics as tables and a line that rises and falls.

use super::{Point, Statistics};
use crate::bench::format::grouped;
use std::fmt::Write;

/// Columns of the course of live bytes.
const COLUMNS: usize = 64;
/// Heights of a column.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The longest bar of a table.
const BAR: u64 = 32;
/// Threads that are told one by one.
const THREADS: usize = 16;

/// The statistics, for people.
pub(super) fn write(statistics: &Statistics) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = head(&mut out, statistics);
    let _ = sizes(&mut out, statistics);
    let _ = rest(&mut out, statistics);
    let _ = course(&mut out, statistics);
    out
}

fn head(out: &mut String, statistics: &Statistics) -> std::fmt::Result {
    let Statistics {
        name,
        events,
        threads,
        ..
    } = statistics;
    let plural = if threads.len() == 1 { "" } else { "s" };
    let all = grouped(events.all);
    writeln!(
        out,
        "{name}: {all} events of {} thread{plural}\n",
        threads.len()
    )?;
    for (kind, count) in [
        ("allocations", events.alloc),
        ("allocations of zeros", events.zeroed),
        ("reallocations", events.realloc),
        ("frees", events.free),
        ("allocations of page frames", events.pages_alloc),
        ("frees of page frames", events.pages_free),
    ] {
        if count > 0 {
            let share = share(count, events.all);
            writeln!(out, "{kind:26} {:>13} {share:>8}", grouped(count))?;
        }
    }
    if threads.len() > 1 {
        writeln!(out)?;
        for (thread, count) in threads.iter().enumerate().take(THREADS) {
            let label = format!("by thread {thread}");
            let share = share(*count, events.all);
            writeln!(out, "{label:26} {:>13} {share:>8}", grouped(*count))?;
        }
        let others: u64 = threads.iter().skip(THREADS).sum();
        if others > 0 {
            writeln!(out, "{:26} {:>13}", "by others", grouped(others))?;
        }
        let label = "on another thread's object";
        writeln!(
            out,
            "{label:26} {:>13}",
            grouped(statistics.by_other_threads)
        )?;
    }
    Ok(())
}

fn sizes(out: &mut String, statistics: &Statistics) -> std::fmt::Result {
    if !statistics.sizes.is_empty() {
        writeln!(out, "\n{:>23} {:>13} {:>16}", "size", "objects", "bytes")?;
        let most = statistics.sizes.iter().map(|octave| octave.objects).max();
        for octave in &statistics.sizes {
            let range = format!("{} to {}", grouped(octave.from), grouped(octave.below - 1));
            let (objects, bytes) = (grouped(octave.objects), grouped(octave.bytes));
            let bar = bar(octave.objects, most);
            writeln!(out, "{range:>23} {objects:>13} {bytes:>16}  {bar}")?;
        }
    }
    let most = statistics.orders.iter().copied().max();
    if most.is_some() {
        writeln!(out, "\n{:>23} {:>13}", "order", "blocks")?;
    }
    for (order, &count) in statistics.orders.iter().enumerate() {
        let bar = bar(count, most);
        writeln!(out, "{order:>23} {:>13} {:16}  {bar}", grouped(count), "")?;
    }
    let named = statistics.alignments.iter().filter(|named| named.bytes > 1);
    for (index, named) in named.enumerate() {
        if index == 0 {
            writeln!(out, "\n{:>23} {:>13}", "aligned to", "objects")?;
        }
        let (bytes, objects) = (grouped(named.bytes), grouped(named.objects));
        writeln!(out, "{bytes:>23} {objects:>13}")?;
    }
    Ok(())
}

fn rest(out: &mut String, statistics: &Statistics) -> std::fmt::Result {
    let Statistics {
        peak,
        left,
        lifetimes,
        asked_bytes,
        ..
    } = statistics;
    writeln!(
        out,
        "\nlifetime in events: p50 {}, p90 {}, p99 {}, max {}; {} of {} never freed",
        grouped(lifetimes.p50),
        grouped(lifetimes.p90),
        grouped(lifetimes.p99),
        grouped(lifetimes.max),
        grouped(lifetimes.never_freed),
        grouped(lifetimes.never_freed + lifetimes.freed),
    )?;
    writeln!(
        out,
        "asked for {} bytes in all; at most {} live at once, at event {}; {} live at the end",
        grouped(*asked_bytes),
        grouped(peak.bytes),
        grouped(peak.event),
        grouped(left.bytes),
    )
}

fn course(out: &mut String, statistics: &Statistics) -> std::fmt::Result {
    let most = statistics.peak.bytes;
    let columns = columns(&statistics.live, statistics.events.all);
    let line: String = columns
        .iter()
        .map(|&bytes| LEVELS[level(bytes, most)])
        .collect();
    writeln!(
        out,
        "\nlive bytes over the events, up to {}\n{line}",
        grouped(most)
    )
}

/// The most bytes that were live in each of as many stretches as there are columns, or points.
fn columns(points: &[Point], events: u64) -> Vec<u64> {
    let mut columns = vec![0; COLUMNS.min(points.len())];
    let count = columns.len() as u64;
    for point in points {
        let at = (point.events - 1) * count / events.max(1);
        if let Some(column) = usize::try_from(at).ok().and_then(|at| columns.get_mut(at)) {
            *column = point.bytes.max(*column);
        }
    }
    columns
}

/// The height of a column: the top one for the peak alone.
fn level(bytes: u64, most: u64) -> usize {
    let steps = LEVELS.len() as u64 - 1;
    usize::try_from(bytes * steps / most.max(1)).unwrap_or(0)
}

fn bar(count: u64, most: Option<u64>) -> String {
    let length = (count * BAR).div_ceil(most.unwrap_or(0).max(1));
    "▪".repeat(usize::try_from(length).unwrap_or(0))
}

fn share(count: u64, all: u64) -> String {
    let per_mille = (count * 1000 + all / 2) / all.max(1);
    format!("{}.{} %", per_mille / 10, per_mille % 10)
}
