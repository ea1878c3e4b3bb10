//! What hunts found, for people and for programs.

use super::super::format::{Format, grouped};
use super::super::report::Provenance;
use super::bounds::Bound;
use serde::Serialize;
use std::fmt::Write;
use std::path::PathBuf;

/// What a hunt found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// Version of this layout.
    pub schema: u32,
    /// What the counter counts.
    pub unit: &'static str,
    /// Where it took place.
    #[serde(flatten)]
    pub provenance: Provenance,
    /// The row.
    pub row: String,
    /// What the costliest operation cost when the trace was run once more.
    pub cost: u64,
    /// The path that it took.
    pub path: String,
    /// What it must not exceed, where that is documented.
    pub bound: Option<Bound>,
    /// Sequences that were tried.
    pub evaluations: u32,
    /// Operations of the trace, of which the last is the costliest.
    pub events: usize,
    /// Whether the hunt ended by itself.
    pub whole: bool,
    /// Where the trace is.
    pub trace: PathBuf,
}

impl Found {
    /// Whether a documented bound does not hold.
    pub fn is_above_bound(&self) -> bool {
        let bound = self.bound.as_ref();
        bound.is_some_and(|bound| self.cost > bound.instructions)
    }

    /// It in one of the two formats, text or JSON.
    pub(super) fn write(&self, format: Format) -> serde_json::Result<String> {
        Ok(match format {
            Format::Json => serde_json::to_string_pretty(self)? + "\n",
            _ => self.text(),
        })
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{}: {} {} in one operation ({})\n",
            self.row,
            grouped(self.cost),
            self.unit,
            self.path
        );
        let _ = match &self.bound {
            Some(bound) if self.is_above_bound() => {
                writeln!(text, "above its bound of {bound}")
            }
            Some(bound) => writeln!(text, "bound {bound}"),
            None => writeln!(text, "no bound is documented"),
        };
        let _ = writeln!(
            text,
            "seed {}, {} sequences tried{}",
            self.provenance.seed,
            grouped(self.evaluations.into()),
            if self.whole { "" } else { ", interrupted" }
        );
        let _ = writeln!(
            text,
            "{}: {} operations, of which the last is the one",
            self.trace.display(),
            grouped(self.events as u64)
        );
        text
    }
}

/// What several hunts found: a table, or a list in JSON.
pub(super) fn write_all(all: &[Found], format: Format) -> serde_json::Result<String> {
    if format == Format::Json {
        return Ok(serde_json::to_string_pretty(all)? + "\n");
    }
    let headings = [
        "row",
        "instructions",
        "bound",
        "tried",
        "operations",
        "path",
    ]
    .map(str::to_owned);
    let cells = |found: &Found| {
        let bound = found.bound.as_ref();
        [
            found.row.clone(),
            grouped(found.cost),
            bound.map_or_else(|| "–".to_owned(), |bound| grouped(bound.instructions)),
            grouped(found.evaluations.into()),
            grouped(found.events as u64),
            found.path.clone(),
        ]
    };
    let lines: Vec<[String; 6]> = std::iter::once(headings)
        .chain(all.iter().map(cells))
        .collect();
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let mut text = String::new();
    for [row, numbers @ .., path] in &lines {
        let _ = write!(text, "{row:width$}", width = width(0));
        for (column, number) in (1..).zip(numbers) {
            let _ = write!(text, "  {number:>width$}", width = width(column));
        }
        let _ = writeln!(text, "  {path}");
    }
    Ok(text)
}
