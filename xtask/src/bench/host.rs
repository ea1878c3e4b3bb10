//! `cargo xtask bench --host`: the kernel's own code with real threads on this machine, beside the
//! allocators of its programs.
//!
//! Nanoseconds, and so the noisy kind: two runs differ, and a figure alone says little. So every round
//! measures every allocator once, and what is compared is the ratio of two figures of one round, which
//! what disturbs the machine disturbs alike: the median ratio to ours, with its 95 % interval.

use super::format::Format;
use super::interval::{CONFIDENCE, Interval};
use super::peers::{self, Peer};
use super::provenance;
use crate::{image, workspace};
use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use std::fmt::Write;
use std::process::{Command, Stdio};

/// Version of the JSON layout.
const SCHEMA: u32 = 2;
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
    /// How often the intervals hold the true median ratio, at least.
    pub confidence: f64,
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
    /// Its figures over ours of the same round: above 1 is slower than ours. `None` for ours, and with
    /// too few rounds.
    pub ratio: Option<Interval>,
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
        confidence: CONFIDENCE,
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

/// What the program printed of one allocator and row.
struct Line {
    name: String,
    threads: usize,
    allocator: String,
    /// Nanoseconds per pair, a figure a round.
    rounds: Vec<f64>,
}

/// The rows in what the program printed: `ROW THREADS ALLOCATOR NS …`.
fn rows(printed: &str) -> Result<Vec<HostRow>> {
    let lines = printed.lines().map(line).collect::<Result<Vec<Line>>>()?;
    ensure!(!lines.is_empty(), "the program printed nothing");
    let mut rows: Vec<HostRow> = lines.iter().map(|line| row(line, &lines)).collect();
    // By row, then by what they took.
    rows.sort_by(|one, other| {
        let key = |row: &HostRow| (row.name.clone(), row.threads);
        key(one)
            .cmp(&key(other))
            .then(one.median.total_cmp(&other.median))
    });
    Ok(rows)
}

fn line(line: &str) -> Result<Line> {
    let words: Vec<&str> = line.split(' ').collect();
    let [name, threads, allocator, figures @ ..] = words.as_slice() else {
        bail!("the program printed `{line}`");
    };
    let figures = figures
        .iter()
        .map(|figure| figure.parse())
        .collect::<Result<Vec<f64>, _>>();
    let rounds = figures.with_context(|| format!("the program printed `{line}`"))?;
    let timed = !rounds.is_empty() && rounds.iter().all(|&figure| figure > 0.0);
    ensure!(timed, "no time in `{line}`");
    Ok(Line {
        name: (*name).to_owned(),
        threads: threads.parse()?,
        allocator: (*allocator).to_owned(),
        rounds,
    })
}

fn row(line: &Line, lines: &[Line]) -> HostRow {
    let ours = lines.iter().find(|other| {
        (&other.name, other.threads) == (&line.name, line.threads) && other.allocator == peers::OURS
    });
    let ratios = ours
        .filter(|_| line.allocator != peers::OURS)
        .map(|ours| line.rounds.iter().zip(&ours.rounds));
    let ratios = ratios.map(|pairs| pairs.map(|(one, our)| one / our).collect::<Vec<f64>>());
    let ratio = ratios.and_then(|ratios| Interval::of_median(&ratios));
    let mut figures = line.rounds.clone();
    figures.sort_by(f64::total_cmp);
    let at = |quarter: usize| figures[(figures.len() - 1) * quarter / 4];
    HostRow {
        name: line.name.clone(),
        threads: line.threads,
        allocator: line.allocator.clone(),
        median: at(2),
        lower_quartile: at(1),
        upper_quartile: at(3),
        ratio: ratio.map(|ratio| Interval {
            median: thousandths(ratio.median),
            low: thousandths(ratio.low),
            high: thousandths(ratio.high),
        }),
    }
}

fn thousandths(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// The ratio as text, and whether it says anything.
fn compared(row: &HostRow) -> String {
    match &row.ratio {
        Some(ratio) => {
            let Interval { median, low, high } = ratio;
            let words = if ratio.excludes(1.0) {
                ""
            } else {
                "  not distinguishable"
            };
            format!("{median:7.2} [{low:.2}, {high:.2}]{words}")
        }
        None if row.allocator == peers::OURS => format!("{:7.2}", 1.0),
        None => "      –".to_owned(),
    }
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
                "\n{last}, {threads} {each}: ns per pair, middle half, times ours [95 %]"
            );
        }
        let _ = writeln!(
            text,
            "  {:28} {:9.2}  {:>9.2} … {:<9.2} {}",
            row.allocator,
            row.median,
            row.lower_quartile,
            row.upper_quartile,
            compared(row)
        );
    }
    text
}

fn csv(report: &HostReport) -> String {
    let mut text = "name,threads,allocator,median,lower_quartile,upper_quartile,\
                    ratio,ratio_low,ratio_high\n"
        .to_owned();
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
            row.ratio.map_or_else(
                || ",,".to_owned(),
                |ratio| format!("{},{},{}", ratio.median, ratio.low, ratio.high)
            )
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
                |row| format!("{:.1}{}", row.median, times(row)),
            )
        };
        let cells: Vec<String> = allocators.iter().map(cell).collect();
        let _ = writeln!(text, "| `{name}`, {threads} thr. | {} |", cells.join(" | "));
    }
    text
}

/// The ratio in a cell: `≈` in front where the interval holds 1.
fn times(row: &HostRow) -> String {
    row.ratio.map_or_else(String::new, |ratio| {
        let Interval { median, low, high } = ratio;
        let sign = if ratio.excludes(1.0) { "×" } else { "≈" };
        format!(" ({sign}{median:.2}, {low:.2} … {high:.2})")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "objects/pair 1 tessera 4.00 2.00 3.00 9.00 5.00 6.00\n\
                           objects/pair 2 tessera 1.00 1.00 1.00 1.00 1.00 1.00\n\
                           objects/pair 1 other 8.00 4.00 6.00 18.00 10.00 15.00\n\
                           objects/pair 2 other 1.50 0.50 1.00 1.00 1.20 1.00\n";

    #[test]
    fn what_is_compared_are_figures_of_one_round() {
        let rows = rows(PRINTED).unwrap();
        assert_eq!(rounds(PRINTED), 6);
        let names: Vec<&str> = rows.iter().map(|row| row.allocator.as_str()).collect();
        assert_eq!(names, ["tessera", "other", "tessera", "other"]);
        let ours = &rows[0];
        assert_eq!(
            (ours.median, ours.lower_quartile, ours.upper_quartile),
            (4.0, 3.0, 5.0)
        );
        assert_eq!(ours.ratio, None);
        // Far apart from round to round, and twice ours in each.
        let other = rows[1].ratio.unwrap();
        assert_eq!((other.median, other.low, other.high), (2.0, 2.0, 2.5));
        assert!(!rows[3].ratio.unwrap().excludes(1.0));
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
            rounds: 6,
            confidence: CONFIDENCE,
            processors: 2,
            rustc: "rustc".into(),
            commit: "x".into(),
            peers: Vec::new(),
            rows: rows(PRINTED).unwrap(),
        };
        let text = text(&report);
        assert!(
            text.contains("objects/pair, 1 thread:") && text.contains("2.00 [2.00, 2.50]\n"),
            "{text}"
        );
        assert!(
            text.contains("1.00 [0.50, 1.50]  not distinguishable\n"),
            "{text}"
        );
        let csv = csv(&report);
        assert_eq!(csv.lines().count(), 5);
        assert!(csv.contains(",other,8,6,10,2,2,2.5\n"), "{csv}");
        let markdown = markdown(&report);
        assert!(
            markdown.contains("| `objects/pair`, 1 thr. | 4.0 | 8.0 (×2.00, 2.00 … 2.50) |"),
            "{markdown}"
        );
        assert!(
            markdown.contains("| `objects/pair`, 2 thr. | 1.0 | 1.0 (≈1.00, 0.50 … 1.50) |"),
            "{markdown}"
        );
    }
}
