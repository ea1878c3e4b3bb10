//! A comparison in words: for a terminal, and for a comment on a change.

use super::{Change, Changed, Comparison, Grown, Kind, Verdict};
use crate::bench::format::grouped;
use std::fmt::{self, Write};

/// Families that are named when rows come or go; the others are counted.
const MOST_NAMES: usize = 8;
/// Headings of the table.
const HEADINGS: [&str; 7] = [
    "row",
    "figure",
    "before",
    "after",
    "by",
    "",
    "the path that grew, and what it adds to a sample",
];

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Incomparable => "not comparable",
            Self::Regressed => "regressed",
            Self::Improved => "improved",
            Self::Same => "unchanged",
        })
    }
}

impl Kind {
    /// What stands in the table.
    const fn word(self) -> &'static str {
        match self {
            Self::Worse => "WORSE",
            Self::Allowed => "allowed",
            Self::Better => "better",
            Self::Other => "",
        }
    }
}

impl Comparison {
    /// The verdict in a line.
    pub fn headline(&self) -> String {
        let verdict = self.verdict();
        let baseline = &self.baseline;
        if verdict == Verdict::Incomparable {
            return format!(
                "{verdict} with {baseline}: {}",
                self.incomparable.join("; ")
            );
        }
        let rows = |count: usize, what: &str| (count > 0).then(|| format!("{count} {what}"));
        let better = [Kind::Better, Kind::Allowed, Kind::Other];
        let [better, allowed, other] = better.map(|kind| self.of(kind).count());
        let parts = [
            rows(self.of(Kind::Worse).count(), "worse"),
            rows(better, "better"),
            rows(allowed, "within their limits"),
            rows(other, "of other numbers of samples"),
            rows(self.vanished.len(), "gone"),
            rows(self.new.len(), "new"),
            rows(self.unchanged, "as they were"),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        format!(
            "{verdict} against {baseline}: of rows and figures {}",
            parts.join(", ")
        )
    }

    /// The table of what changed, aligned, and what came and went. Empty if nothing did.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let lines = self.lines();
        let width = |column: usize| {
            let cells = lines.iter().map(|line| line[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
        for line in &lines {
            let mut row = String::new();
            for (column, (cell, &width)) in line.iter().zip(&widths).enumerate() {
                let _ = match column {
                    2..=4 => write!(row, "{cell:>width$}  "),
                    _ => write!(row, "{cell:width$}  "),
                };
            }
            let _ = writeln!(text, "{}", row.trim_end());
        }
        for (what, names) in self.comings_and_goings() {
            let _ = writeln!(text, "{what}: {names}");
        }
        text
    }

    /// The verdict, and the table of what changed, for a document.
    pub fn markdown(&self) -> String {
        let mut text = format!("**{}**\n", self.headline());
        let lines = self.lines();
        for (number, line) in lines.iter().enumerate() {
            if number == 0 {
                text.push('\n');
            }
            let _ = writeln!(text, "| {} |", line.join(" | "));
            if number == 0 {
                text.push_str("|---|---|--:|--:|--:|---|---|\n");
            }
        }
        let notes = self.comings_and_goings();
        if !notes.is_empty() {
            text.push('\n');
        }
        for (what, names) in notes {
            let _ = writeln!(text, "- {what}: {names}");
        }
        text
    }

    /// Headings, and a line for each figure that changed, the worst first.
    pub(in crate::bench) fn lines(&self) -> Vec<[String; HEADINGS.len()]> {
        let mut changed: Vec<&Changed> = self.changed.iter().collect();
        changed.sort_by_key(|changed| changed.kind());
        let lines: Vec<_> = changed.into_iter().flat_map(lines).collect();
        if lines.is_empty() {
            return lines;
        }
        let headings = HEADINGS.map(str::to_owned);
        std::iter::once(headings).chain(lines).collect()
    }

    /// What came and what went, in few words each.
    pub(in crate::bench) fn comings_and_goings(&self) -> Vec<(&'static str, String)> {
        [
            ("not measured any more", &self.vanished),
            ("new", &self.new),
        ]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| (what, families(names)))
        .collect()
    }
}

/// The lines of one row, the path that grew in the first. Figures that changed alike share one.
fn lines(changed: &Changed) -> impl Iterator<Item = [String; HEADINGS.len()]> + '_ {
    let mut figures: Vec<(String, &Change)> = Vec::new();
    for change in &changed.figures {
        let is_alike = |other: &Change| {
            (other.kind, other.before, other.after) == (change.kind, change.before, change.after)
        };
        match figures.iter_mut().find(|(_, other)| is_alike(other)) {
            Some((names, _)) => *names = format!("{names} {}", change.figure),
            None => figures.push((change.figure.to_owned(), change)),
        }
    }
    figures.sort_by_key(|(_, change)| change.kind);
    let grown = changed.grown.as_ref().map(Grown::to_string);
    let mut grown = grown.unwrap_or_default();
    figures.into_iter().map(move |(names, change)| {
        [
            changed.name.clone(),
            names,
            number(change.before),
            number(change.after),
            difference(change.before, change.after),
            change.kind.word().to_owned(),
            std::mem::take(&mut grown),
        ]
    })
}

impl fmt::Display for Grown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, part, n } = self;
        write!(
            f,
            "{path}: {:.2} -> {:.2}, {} -> {} samples",
            part.0,
            part.1,
            grouped(n.0),
            grouped(n.1)
        )
    }
}

/// A figure: whole, or to the hundredth as means are.
fn number(number: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "what is measured is positive, and far below 2^53"
    )]
    let whole = number.trunc() as u64;
    let hundredths = (number.fract() * 100.0).round();
    match hundredths {
        0.0 => grouped(whole),
        _ => format!("{}.{hundredths:02}", grouped(whole)),
    }
}

fn difference(before: f64, after: f64) -> String {
    let by = after - before;
    let sign = if by < 0.0 { '-' } else { '+' };
    let part = match before {
        0.0 => String::new(),
        _ => format!(" ({:+.1} %)", by / before * 100.0),
    };
    format!("{sign}{}{part}", number(by.abs()))
}

/// The families of `names`, the first few by name.
fn families(names: &[String]) -> String {
    let mut families: Vec<(&str, usize)> = Vec::new();
    for name in names {
        let family = name
            .rsplit_once('/')
            .map_or(name.as_str(), |(front, _)| front);
        match families.last_mut() {
            Some((last, count)) if *last == family => *count += 1,
            _ => families.push((family, 1)),
        }
    }
    let named: Vec<String> = families
        .iter()
        .take(MOST_NAMES)
        .map(|(family, count)| format!("{family} ({count})"))
        .collect();
    let rest = families.len().saturating_sub(MOST_NAMES);
    let rest = if rest > 0 {
        format!(" and {rest} families more")
    } else {
        String::new()
    };
    format!("{}{rest}", named.join(", "))
}

/// Several comparisons, a line for each figure that changed.
pub fn csv(reports: &[(String, Comparison)]) -> String {
    let mut text = "report,name,figure,before,after,change,path\n".to_owned();
    for (report, comparison) in reports {
        for changed in &comparison.changed {
            let path = changed.grown.as_ref().map_or("", |grown| &grown.path);
            for change in &changed.figures {
                let _ = writeln!(
                    text,
                    "{report},{},{},{},{},{},{path}",
                    changed.name,
                    change.figure,
                    change.before,
                    change.after,
                    change.kind.word()
                );
            }
        }
    }
    text
}
