//! Why a row's tail is what it is: which paths its samples took, in all and beyond each percentile.

use super::format::grouped;
use super::report::{Report, Row};
use std::fmt::Write;

/// Headings of the columns behind a path; the third to the sixth are percentiles and what lies beyond.
const HEADINGS: [&str; 8] = ["n", "share", ">p50", ">p90", ">p99", ">p99.9", "min", "max"];

/// The samples of one path, against all of their row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part<'a> {
    /// The path.
    path: &'a str,
    /// Samples that took it.
    n: u64,
    /// Of the samples beyond p50, p90, p99 and p99.9, those that took it, and all.
    beyond: [(u64, u64); 4],
    /// The smallest.
    min: u64,
    /// The largest.
    max: u64,
}

/// The parts of `row`, the most frequent path first.
fn parts<'a>(row: &'a Row) -> Vec<Part<'a>> {
    let beyond = |histogram: &[(u64, u64)], value: u64| {
        let slower = histogram.iter().filter(|(lowest, _)| *lowest > value);
        slower.map(|(_, count)| count).sum::<u64>()
    };
    let values = [row.p50, row.p90, row.p99, row.p999];
    let all = values.map(|value| {
        let paths = row.paths.iter();
        paths.map(|path| beyond(&path.histogram, value)).sum()
    });
    let part = |path: &'a super::report::Path| Part {
        path: &path.path,
        n: path.n,
        beyond: std::array::from_fn(|at| (beyond(&path.histogram, values[at]), all[at])),
        min: path.min,
        max: path.max,
    };
    row.paths.iter().map(part).collect()
}

/// A share in per cent, to the tenth.
fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let per_mille = (part * 1000 + whole / 2) / whole;
    match per_mille {
        0 if part > 0 => "<0.1 %".to_owned(),
        _ => format!("{}.{} %", per_mille / 10, per_mille % 10),
    }
}

/// What the slowest sample was, and how to look closer.
fn slowest(row: &Row) -> String {
    let slowest = &row.slowest;
    // One that several cores made is not followed.
    let closer = match row.name.contains("/smp/") {
        true => String::new(),
        false => format!("; --at-max {} shows its instructions", row.name),
    };
    format!(
        "slowest: operation {} ({}), {}{closer}",
        grouped(slowest.operation),
        amount(row),
        slowest.path,
    )
}

/// What the slowest operation was given, with its unit.
pub fn amount(row: &Row) -> String {
    let amount = row.slowest.amount;
    let is_order = ["pages", "percpu", "compact"]
        .iter()
        .any(|word| row.name.split('/').any(|part| part.starts_with(word)));
    if is_order {
        format!("order {amount}")
    } else {
        format!("{} bytes", grouped(amount))
    }
}

/// A line a path, for every row of `report` that has more than one, below the row's name.
pub fn text(report: &Report) -> String {
    let rows: Vec<&Row> = report
        .rows
        .iter()
        .filter(|row| row.paths.len() > 1)
        .collect();
    let paths = rows.iter().flat_map(|row| &row.paths);
    let width = paths.map(|path| path.path.len() + 2).max().unwrap_or(0);
    let lines: Vec<(&Row, Vec<[String; 8]>)> = rows
        .iter()
        .map(|row| {
            (
                *row,
                parts(row).iter().map(|part| cells(part, row.n)).collect(),
            )
        })
        .collect();
    let widths: [usize; 8] = std::array::from_fn(|column| {
        let cells = lines.iter().flat_map(|(_, lines)| lines);
        let cells = cells.map(|cells| cells[column].chars().count());
        cells.max().unwrap_or(0).max(HEADINGS[column].len())
    });
    let mut text = String::new();
    for (row, lines) in lines {
        let line = |text: &mut String, front: &str, cells: &[String; 8]| {
            let _ = write!(text, "{front:width$}");
            for (cell, width) in cells.iter().zip(widths) {
                let _ = write!(text, "  {cell:>width$}");
            }
            text.push('\n');
        };
        text.push('\n');
        line(&mut text, &row.name, &HEADINGS.map(str::to_owned));
        for (path, cells) in row.paths.iter().zip(&lines) {
            line(&mut text, &format!("  {}", path.path), cells);
        }
        let _ = writeln!(text, "  {}", slowest(row));
    }
    text
}

/// As [`text`], for a document.
pub fn markdown(report: &Report) -> String {
    let mut text = String::new();
    for row in report.rows.iter().filter(|row| row.paths.len() > 1) {
        let _ = writeln!(text, "\n| `{}` | {} |", row.name, HEADINGS.join(" | "));
        let _ = writeln!(text, "|---|{}", "--:|".repeat(HEADINGS.len()));
        for part in parts(row) {
            let _ = writeln!(
                text,
                "| {} | {} |",
                part.path,
                cells(&part, row.n).join(" | ")
            );
        }
        let _ = writeln!(text, "\n{}", slowest(row));
    }
    text
}

fn cells(part: &Part<'_>, n: u64) -> [String; 8] {
    let [p50, p90, p99, p999] = part.beyond.map(|(part, whole)| share(part, whole));
    [
        grouped(part.n),
        share(part.n, n),
        p50,
        p90,
        p99,
        p999,
        grouped(part.min),
        grouped(part.max),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::report::{Path, Slowest};
    use super::*;

    fn row() -> Row {
        let path = |path: &str, histogram: &[(u64, u64)]| Path {
            path: path.to_owned(),
            n: histogram.iter().map(|(_, count)| count).sum(),
            sum: 0,
            min: histogram[0].0,
            max: histogram[histogram.len() - 1].0,
            histogram: histogram.to_vec(),
        };
        Row {
            name: "mixed/x/alloc".into(),
            n: 1_000,
            p50: 20,
            p90: 20,
            p99: 400,
            p999: 450,
            max: 790,
            paths: vec![
                path("hit", &[(20, 985)]),
                path("refill", &[(400, 10), (450, 4)]),
                path("refill + slab made", &[(790, 1)]),
            ],
            slowest: Slowest {
                operation: 12_345,
                amount: 2_808,
                path: "refill + slab made".into(),
            },
            ..Row::default()
        }
    }

    #[test]
    fn what_lies_beyond_a_percentile_is_told_by_path() {
        let row = row();
        let parts = parts(&row);
        assert_eq!(parts[0].beyond, [(0, 15), (0, 15), (0, 5), (0, 1)]);
        assert_eq!(parts[1].beyond, [(14, 15), (14, 15), (4, 5), (0, 1)]);
        assert_eq!(parts[2].beyond, [(1, 15), (1, 15), (1, 5), (1, 1)]);
    }

    #[test]
    fn a_row_of_several_paths_has_a_line_for_each() {
        let report = Report {
            rows: vec![row()],
            ..Report::default()
        };
        let text = text(&report);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 6, "{text}");
        assert!(
            lines[3].starts_with("  refill  ") && lines[3].ends_with("400  450"),
            "{text}"
        );
        assert!(lines[3].contains("80.0 %"), "{text}");
        assert!(
            lines[5].contains("operation 12,345 (2,808 bytes), refill + slab made"),
            "{text}"
        );
        let markdown = markdown(&report);
        assert!(
            markdown.contains("| refill | 14 | 1.4 % | 93.3 % |"),
            "{markdown}"
        );
    }

    #[test]
    fn shares_are_rounded_and_never_look_like_nothing() {
        assert_eq!(share(1, 3), "33.3 %");
        assert_eq!(share(1, 100_000), "<0.1 %");
        assert_eq!((share(0, 5), share(0, 0)), ("0.0 %".into(), "–".into()));
    }
}
