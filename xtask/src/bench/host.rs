//! `cargo xtask bench --host`: the kernel's own code with real threads on this machine, beside the
//! allocators of its programs.
//!
//! Nanoseconds, and so the noisy kind: two runs differ, and a figure alone says little. So every round
//! measures every allocator once, a figure is the median over the rounds with the middle half beside
//! it, and what is compared is its ratio to the best of its row.

use super::format::Format;
use super::peers::{self, Peer};
use super::provenance;
use crate::{image, workspace};
use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use std::fmt::Write;
use std::process::{Command, Stdio};

/// Version of the JSON layout.
const SCHEMA: u32 = 1;
/// The crates beside ours.
const CRATES: [&str; 4] = [
    "buddy_system_allocator",
    "mimalloc",
    "snmalloc-rs",
    "tikv-jemallocator",
];

/// A finished run. Field order is the JSON's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HostReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What is measured.
    pub unit: &'static str,
    /// That two runs differ.
    pub noisy: bool,
    /// Rounds that the medians are over.
    pub rounds: usize,
    /// Processors of this machine.
    pub processors: usize,
    /// The compiler.
    pub rustc: String,
    /// The commit, `-dirty` behind it if files differ from it.
    pub commit: String,
    /// The crates beside ours.
    pub peers: Vec<Peer>,
    /// The rows, in the order measured.
    pub rows: Vec<HostRow>,
}

/// What one allocator took for one row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HostRow {
    /// `objects/…` for objects of 64 bytes, `frames/…` for single page frames.
    pub name: String,
    /// Threads that did it at once.
    pub threads: usize,
    /// Who was measured.
    pub allocator: String,
    /// Nanoseconds per pair of an allocation and a free, of a thread: the median over the rounds.
    pub median: f64,
    /// A quarter of the rounds took this or less.
    pub lower_quartile: f64,
    /// A quarter of the rounds took this or more.
    pub upper_quartile: f64,
    /// The median over the best one of the same name and threads.
    pub ratio: f64,
}

/// Builds the program, runs it, and returns the report as text.
///
/// # Errors
///
/// If it does not build, which may be for want of a C or C++ compiler or of make; or if it fails.
pub fn measure(filter: &str, format: Format) -> Result<String> {
    let program =
        build().context("--host builds C and C++ allocators: it needs cc, c++ and make")?;
    let mut command = Command::new(program);
    command.arg(filter);
    let printed = crate::process::output(&mut command)?;
    ensure!(
        !printed.is_empty(),
        "no row of the host is called `{filter}`"
    );
    let rows = rows(&printed)?;
    let report = HostReport {
        schema: SCHEMA,
        unit: "nanoseconds per pair",
        noisy: true,
        rounds: rounds(&printed),
        processors: std::thread::available_parallelism()?.get(),
        rustc: provenance::rustc()?,
        commit: provenance::commit(),
        peers: peers::locked(&CRATES)?,
        rows,
    };
    Ok(match format {
        Format::Text => text(&report),
        Format::Json => serde_json::to_string_pretty(&report)? + "\n",
        Format::Csv => csv(&report),
        Format::Md => markdown(&report),
        Format::Bmf => super::bmf::of_host(&report)?,
    })
}

fn build() -> Result<std::path::PathBuf> {
    let mut command = Command::new(image::cargo());
    command
        .current_dir(workspace::root())
        .args([
            "build",
            "--profile",
            "host",
            "-p",
            "host-bench",
            "--features",
            "peers",
        ])
        .args(["--message-format", "json-render-diagnostics"])
        .env_remove("DEFMT_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let built = image::executables(&mut command)?;
    let program = built.into_iter().find(|built| built.name == "host-bench");
    Ok(program
        .context("Cargo made no program called host-bench")?
        .path)
}

/// Rounds in what the program printed.
fn rounds(printed: &str) -> usize {
    let line = printed.lines().next().unwrap_or_default();
    line.split(' ').count().saturating_sub(3)
}

/// The rows in what the program printed: `ROW THREADS ALLOCATOR NS …`.
fn rows(printed: &str) -> Result<Vec<HostRow>> {
    let mut rows = printed.lines().map(row).collect::<Result<Vec<HostRow>>>()?;
    ensure!(!rows.is_empty(), "the program printed nothing");
    let best = |name: &str, threads, rows: &[HostRow]| {
        let same = rows
            .iter()
            .filter(|row| row.name == name && row.threads == threads);
        same.map(|row| row.median).fold(f64::INFINITY, f64::min)
    };
    let bests: Vec<f64> = rows
        .iter()
        .map(|row| best(&row.name, row.threads, &rows))
        .collect();
    for (row, best) in rows.iter_mut().zip(bests) {
        row.ratio = hundredths(row.median / best);
    }
    // By row, then by what they took.
    rows.sort_by(|one, other| {
        let key = |row: &HostRow| (row.name.clone(), row.threads);
        key(one)
            .cmp(&key(other))
            .then(one.median.total_cmp(&other.median))
    });
    Ok(rows)
}

fn row(line: &str) -> Result<HostRow> {
    let words: Vec<&str> = line.split(' ').collect();
    let [name, threads, allocator, figures @ ..] = words.as_slice() else {
        bail!("the program printed `{line}`");
    };
    let figures = figures
        .iter()
        .map(|figure| figure.parse())
        .collect::<Result<Vec<f64>, _>>();
    let mut figures = figures.with_context(|| format!("the program printed `{line}`"))?;
    ensure!(!figures.is_empty(), "no round in `{line}`");
    figures.sort_by(f64::total_cmp);
    let at = |quarter: usize| figures[(figures.len() - 1) * quarter / 4];
    Ok(HostRow {
        name: (*name).to_owned(),
        threads: threads.parse()?,
        allocator: (*allocator).to_owned(),
        median: at(2),
        lower_quartile: at(1),
        upper_quartile: at(3),
        ratio: 1.0,
    })
}

fn hundredths(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

fn text(report: &HostReport) -> String {
    let crates: Vec<String> = report.peers.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "commit   {}\nrustc    {}\nmachine  this one, {} processors, {} rounds\nbeside   {}\n\
         noisy    wall-clock time of threads; run it again before you believe a difference\n",
        report.commit,
        report.rustc,
        report.processors,
        report.rounds,
        crates.join(", ")
    );
    let mut last = "";
    let mut threads = 0;
    for row in &report.rows {
        if (last, threads) != (row.name.as_str(), row.threads) {
            (last, threads) = (&row.name, row.threads);
            let each = if threads == 1 { "thread" } else { "threads" };
            let _ = writeln!(
                text,
                "\n{last}, {threads} {each}: ns per pair, middle half, ratio to the best"
            );
        }
        let _ = writeln!(
            text,
            "  {:28} {:9.2}  {:>9.2} … {:<9.2} {:7.2}",
            row.allocator, row.median, row.lower_quartile, row.upper_quartile, row.ratio
        );
    }
    text
}

fn csv(report: &HostReport) -> String {
    let mut text = "name,threads,allocator,median,lower_quartile,upper_quartile,ratio\n".to_owned();
    for row in &report.rows {
        let _ = writeln!(
            text,
            "{},{},{},{},{},{},{}",
            row.name,
            row.threads,
            row.allocator,
            row.median,
            row.lower_quartile,
            row.upper_quartile,
            row.ratio
        );
    }
    text
}

/// Ratios: a line for each row, a column for each allocator.
fn markdown(report: &HostReport) -> String {
    let mut allocators: Vec<&str> = Vec::new();
    let mut lines: Vec<(&str, usize)> = Vec::new();
    for row in &report.rows {
        if !allocators.contains(&row.allocator.as_str()) {
            allocators.push(&row.allocator);
        }
        if !lines.contains(&(&row.name, row.threads)) {
            lines.push((&row.name, row.threads));
        }
    }
    allocators.sort_unstable_by_key(|name| (*name != peers::OURS, *name));
    let mut text = format!("| ns per pair | {} |\n|---|", allocators.join(" | "));
    text.push_str(&"---|".repeat(allocators.len()));
    text.push('\n');
    for (name, threads) in lines {
        let cell = |allocator: &&str| {
            let is_it = |row: &&HostRow| {
                row.name == name && row.threads == threads && row.allocator == **allocator
            };
            let row = report.rows.iter().find(is_it);
            row.map_or_else(
                || "–".to_owned(),
                |row| format!("{:.1} (×{:.2})", row.median, row.ratio),
            )
        };
        let cells: Vec<String> = allocators.iter().map(cell).collect();
        let _ = writeln!(text, "| `{name}`, {threads} thr. | {} |", cells.join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "objects/pair 1 tessera 4.00 2.00 3.00 9.00 5.00\n\
                           objects/pair 2 tessera 1.00 1.00 1.00 1.00 1.00\n\
                           objects/pair 1 other 2.00 2.00 2.00 2.00 2.00\n";

    #[test]
    fn a_figure_is_the_median_and_its_ratio_to_the_best_of_its_row() {
        let rows = rows(PRINTED).unwrap();
        assert_eq!(rounds(PRINTED), 5);
        assert_eq!(rows[0].allocator, "other");
        let ours = &rows[1];
        assert_eq!(
            (ours.median, ours.lower_quartile, ours.upper_quartile),
            (4.0, 3.0, 5.0)
        );
        assert_eq!((ours.ratio, rows[0].ratio, rows[2].ratio), (2.0, 1.0, 1.0));
        assert_eq!(rows[2].threads, 2);
    }

    #[test]
    fn what_is_no_row_is_refused() {
        for printed in [
            "",
            "objects/pair 1 tessera\n",
            "a b c d\n",
            "objects/pair 1 x 1.0 two\n",
        ] {
            assert!(rows(printed).is_err(), "{printed:?}");
        }
    }

    #[test]
    fn every_format_has_every_row() {
        let report = HostReport {
            schema: SCHEMA,
            unit: "nanoseconds per pair",
            noisy: true,
            rounds: 5,
            processors: 2,
            rustc: "rustc".into(),
            commit: "x".into(),
            peers: Vec::new(),
            rows: rows(PRINTED).unwrap(),
        };
        let text = text(&report);
        assert!(
            text.contains("objects/pair, 1 thread:") && text.contains("2.00 …"),
            "{text}"
        );
        assert_eq!(csv(&report).lines().count(), 4);
        let markdown = markdown(&report);
        assert!(
            markdown.contains("| `objects/pair`, 1 thr. | 4.0 (×2.00) | 2.0 (×1.00) |"),
            "{markdown}"
        );
        assert!(
            markdown.contains("| `objects/pair`, 2 thr. | 1.0 (×1.00) | – |"),
            "{markdown}"
        );
    }
}
