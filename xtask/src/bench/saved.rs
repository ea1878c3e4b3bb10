//! `cargo xtask report`: draws and compares runs that were saved with `bench --format json`.

use super::baseline::{self, Baseline};
use super::compare::{Comparison, Verdict};
use super::format::Format;
use super::html::{self, Compared};
use super::merge;
use super::report::{Report, SCHEMA};
use crate::console;
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What to draw.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Reports of `cargo xtask bench --format json`; one is drawn, and of several each is compared with
    /// the first
    #[arg(value_name = "FILE", required_unless_present = "merge")]
    pub files: Vec<PathBuf>,
    /// Draw the run whose parts (`bench --shard K/N`) are the files *.json of this folder
    #[arg(long, value_name = "DIR", conflicts_with = "files")]
    pub merge: Option<PathBuf>,
    /// How to write it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Write it to a file instead of standard output
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Draw the report, the last of several, as one self-contained page too, with what changed
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Rows to compare, as `bench --filter` takes them
    #[arg(
        long,
        value_name = "GLOB",
        default_value = "*",
        hide_default_value = true
    )]
    pub filter: String,
    /// Compare one report with a baseline saved by `bench --save-baseline`, or with `committed`
    #[arg(long, value_name = "NAME|FILE")]
    pub baseline: Option<String>,
    /// Break the tail of every row down by the path that its operations took (text and md)
    #[arg(long)]
    pub explain: bool,
}

const AFTER_HELP: &str = "\
Of several reports text, md, csv and json tell what changed; bmf takes one. The status is 3 if one is
worse by more than bench/limits.toml allows, 0 if they cannot be compared (another compiler, machine, …),
2 if a file is no report.";

/// Draws or compares; returns the exit status.
///
/// # Errors
///
/// If a file is no report of this version, or the result cannot be written.
pub fn command(args: &Args) -> Result<u8> {
    let comparisons: Vec<Compared> = if let Some(report) = single(args)? {
        let baseline = args.baseline.as_deref().map(Baseline::read).transpose()?;
        let comparison = baseline.map(|baseline| baseline.compare(&report, &args.filter));
        let text = drawn(args.format, &report, args.explain, comparison.as_ref())?;
        write(args.output.as_deref(), &text)?;
        let comparisons: Vec<Compared> = comparison
            .into_iter()
            .map(|found| (String::new(), found))
            .collect();
        draw(args, &report, &comparisons)?;
        comparisons
    } else {
        ensure!(
            args.baseline.is_none(),
            "--baseline is for one report: of several the first is the baseline"
        );
        let (first, others) = args.files.split_first().context("no report")?;
        let baseline = Baseline::of_file(first)?;
        let reports = others.iter().map(|file| read(file));
        let reports = reports.collect::<Result<Vec<_>>>()?;
        let pairs = others.iter().zip(&reports);
        let compare = |(file, report): (&PathBuf, &Report)| {
            let comparison = baseline.compare(report, &args.filter);
            (file.display().to_string(), comparison)
        };
        let comparisons: Vec<Compared> = pairs.map(compare).collect();
        write(
            args.output.as_deref(),
            &compared(args.format, &comparisons)?,
        )?;
        if let Some(last) = reports.last() {
            draw(args, last, &comparisons)?;
        }
        comparisons
    };
    let codes = comparisons
        .iter()
        .map(|(_, found)| baseline::conclude(found));
    Ok(codes.max().unwrap_or(0))
}

/// The report to draw, if there is one alone.
fn single(args: &Args) -> Result<Option<Report>> {
    match (&args.merge, &args.files[..]) {
        (Some(folder), _) => merge::folder(folder).map(Some),
        (None, [file]) => read(file).map(Some),
        _ => Ok(None),
    }
}

/// Draws the page, if one was asked for.
fn draw(args: &Args, report: &Report, comparisons: &[Compared]) -> Result<()> {
    let Some(file) = &args.html else {
        return Ok(());
    };
    write(Some(file), &html::page(report, comparisons)?)
}

/// `report` in `format`, with how it compares where that format has room for it: first in a document,
/// last on a terminal.
///
/// # Errors
///
/// As [`Format::write`].
pub fn drawn(
    format: Format,
    report: &Report,
    explain: bool,
    comparison: Option<&Comparison>,
) -> Result<String> {
    let text = format.write(report, explain)?;
    Ok(match (format, comparison) {
        (Format::Md, Some(found)) => format!("{}\n{text}", found.markdown()),
        (Format::Text, Some(found)) => {
            format!("{text}\n{}\n\n{}", found.headline(), found.text())
        }
        _ => text,
    })
}

/// A report and how it compares, as JSON has it.
#[derive(Serialize)]
struct Against<'a> {
    report: &'a str,
    verdict: Verdict,
    #[serde(flatten)]
    comparison: &'a Comparison,
}

/// How several reports, each with its name, compare with the first.
fn compared(format: Format, others: &[Compared]) -> Result<String> {
    Ok(match format {
        Format::Text => {
            let parts = others.iter().map(|(name, found)| {
                let (headline, table) = (found.headline(), found.text());
                format!("{name}: {headline}\n\n{table}")
            });
            parts.collect::<Vec<_>>().join("\n")
        }
        Format::Md => {
            let parts = others.iter().map(|(name, found)| {
                let text = found.markdown();
                format!("### {name}\n\n{text}")
            });
            parts.collect::<Vec<_>>().join("\n")
        }
        Format::Csv => super::compare::text::csv(others),
        Format::Json => {
            let comparisons = others.iter().map(|(report, comparison)| Against {
                report,
                verdict: comparison.verdict(),
                comparison,
            });
            let comparisons: Vec<Against<'_>> = comparisons.collect();
            super::json::write(&comparisons)?
        }
        Format::Bmf => bail!("--format bmf takes one report"),
    })
}

/// Writes `text` to `file`, or to standard output.
///
/// # Errors
///
/// As from the system.
pub fn write(file: Option<&Path>, text: &str) -> Result<()> {
    match file {
        Some(file) => {
            std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
        }
        None => console::result(text).context("cannot write the report"),
    }
}

/// What is looked at before a file is believed to be a report.
#[derive(Deserialize)]
struct Layout {
    schema: u32,
    #[serde(default)]
    noisy: bool,
}

/// The report in the file at `path`.
///
/// # Errors
///
/// If it cannot be read, is no report, or has another schema.
pub fn read(path: &Path) -> Result<Report> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    let is_none = || format!("{shown} is no report of `cargo xtask bench --format json`");
    let layout: Layout = serde_json::from_str(&text).with_context(is_none)?;
    ensure!(
        !layout.noisy,
        "{shown} is of `--host`: nanoseconds are not compared"
    );
    let schema = layout.schema;
    ensure!(
        schema == SCHEMA,
        "{shown} has schema {schema}, this reads {SCHEMA}: measure again with `--format json`"
    );
    serde_json::from_str(&text).with_context(is_none)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Report> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read(file.path())
    }

    #[test]
    fn what_is_no_report_is_refused() {
        let refused = |text: &str| format!("{:#}", read_text(text).unwrap_err());
        assert!(refused("name,n\n").contains("is no report of `cargo xtask bench"));
        assert!(refused("{\"schema\": 1}").contains("has schema 1, this reads 2"));
        assert!(refused("{\"schema\": 2}").contains("is no report"));
        assert!(refused("{\"schema\": 1, \"noisy\": true}").contains("is of `--host`"));
    }

    #[test]
    fn a_saved_report_is_read_as_it_was() {
        let report = Report {
            schema: SCHEMA,
            ..Report::default()
        };
        let text = Format::Json.write(&report, false).unwrap();
        assert_eq!(read_text(&text).unwrap(), report);
    }
}
