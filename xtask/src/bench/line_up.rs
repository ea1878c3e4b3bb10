//! The tables that compare allocators: objects, page frames, traces; a line for each allocator.

use super::peers::FRONT;
use super::report::{Excluded, Report, Row};
use std::fmt::Write;

/// Headings, and a line for each allocator that has a figure in it, or should have.
type Table = Vec<Vec<String>>;

/// What stands where nothing was measured.
const NOTHING: &str = "–";

/// A column: its heading, and what it shows of one allocator.
struct Column {
    heading: &'static str,
    family: &'static str,
    shown: Shown,
}

/// What a column shows of a family.
enum Shown {
    /// A figure of its allocations, and the same of its frees.
    Both(fn(&Row) -> String),
    /// A value.
    Value(&'static str, fn(u64) -> String),
    /// A value, and what it would be at best.
    Of(&'static str, &'static str),
}

const fn both(heading: &'static str, family: &'static str, figure: fn(&Row) -> String) -> Column {
    Column {
        heading,
        family,
        shown: Shown::Both(figure),
    }
}

const OBJECTS: [Column; 12] = [
    both("hot 64", "hot-64", mean),
    both("hot 4096", "hot-4096", mean),
    both("64 fifo", "batch-64/fifo", mean),
    both("64 lifo", "batch-64/lifo", mean),
    both("64 random", "batch-64/random", mean),
    both("toggle", "mixed/toggle", mean),
    both("toggle p99", "mixed/toggle", p99),
    both("toggle max", "mixed/toggle", max),
    both("replace", "mixed/replace-1024", mean),
    both("fragmented", "mixed/fragmented", mean),
    Column {
        heading: "of 64 MiB",
        family: "used-of-64MiB",
        shown: Shown::Value("ratio", percent),
    },
    Column {
        heading: "lost KiB",
        family: "metadata",
        shown: Shown::Value("lost", kibibytes),
    },
];

const FRAMES: [Column; 10] = [
    both("hot o0", "pages/0", mean),
    both("hot o9", "pages/9", mean),
    both("512 lifo", "pages/lifo-512", mean),
    both("mix", "pages/mix", mean),
    both("mix max", "pages/mix", max),
    both("churn 62 %", "pages/churn62", mean),
    both("churn max", "pages/churn62", max),
    Column {
        heading: "2 MiB after",
        family: "pages/churn62",
        shown: Shown::Of("recovered", "ideal"),
    },
    Column {
        heading: "after o0",
        family: "pages/churn-order0",
        shown: Shown::Of("recovered", "ideal"),
    },
    Column {
        heading: "lost KiB",
        family: "pages/metadata",
        shown: Shown::Value("lost", kibibytes),
    },
];

fn mean(row: &Row) -> String {
    format!("{:.0}", row.mean)
}

fn p99(row: &Row) -> String {
    row.p99.to_string()
}

fn max(row: &Row) -> String {
    row.max.to_string()
}

fn percent(per_mille: u64) -> String {
    format!("{}.{} %", per_mille / 10, per_mille % 10)
}

fn kibibytes(bytes: u64) -> String {
    bytes.div_ceil(1024).to_string()
}

/// The allocators of the line-up in `report`, in the order measured, and those that were left out behind.
pub fn allocators(report: &Report) -> Vec<&str> {
    let names = report.rows.iter().map(|row| row.name.as_str());
    let names = names.chain(report.values.iter().map(|value| value.name.as_str()));
    let names = names.chain(report.excluded.iter().map(|left| left.name.as_str()));
    let mut found: Vec<&str> = Vec::new();
    for name in names.filter_map(of_whom) {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// The allocator that the row `name` is of.
fn of_whom(name: &str) -> Option<&str> {
    let rest = name.strip_prefix(FRONT)?.strip_prefix('/')?;
    rest.split('/').next()
}

/// The tables that are not empty. Pairs are alloc/free, in instructions, the mean unless the heading says
/// otherwise.
pub fn tables(report: &Report) -> Vec<Table> {
    let allocators = allocators(report);
    let of = |what: &str, columns: &[Column]| -> Table {
        let headings = columns.iter().map(|column| column.heading.to_owned());
        let line = |allocator: &&str| {
            let cells = columns.iter().map(|column| cell(report, allocator, column));
            line(allocator, cells)
        };
        with_headings(what, headings, allocators.iter().filter_map(line))
    };
    let tables = [
        of("alloc/free", &OBJECTS),
        of("page frames", &FRAMES),
        traces(report, &allocators),
    ];
    tables.into_iter().filter(|table| table.len() > 1).collect()
}

fn with_headings(
    what: &str,
    headings: impl Iterator<Item = String>,
    lines: impl Iterator<Item = Vec<String>>,
) -> Table {
    let headings = std::iter::once(what.to_owned()).chain(headings);
    std::iter::once(headings.collect()).chain(lines).collect()
}

/// A line of an allocator; `None` if nothing stands in it.
fn line(allocator: &str, cells: impl Iterator<Item = String>) -> Option<Vec<String>> {
    let cells = std::iter::once(allocator.to_owned()).chain(cells);
    let cells: Vec<String> = cells.collect();
    let is_nothing = |cell: &String| cell.split('/').all(|part| part == NOTHING);
    (!cells[1..].iter().all(is_nothing)).then_some(cells)
}

fn cell(report: &Report, allocator: &str, column: &Column) -> String {
    let family = format!("{FRONT}/{allocator}/{}", column.family);
    let value = |figure: &str| {
        let name = format!("{family}/{figure}");
        let value = report.values.iter().find(|value| value.name == name);
        value.map(|value| value.value)
    };
    let shown = match column.shown {
        Shown::Both(figure) => {
            let of = |operation: &str| {
                let name = format!("{family}/{operation}");
                let row = report.rows.iter().find(|row| row.name == name);
                row.map_or_else(|| NOTHING.to_owned(), figure)
            };
            Some(format!("{}/{}", of("alloc"), of("free")))
        }
        Shown::Value(figure, written) => value(figure).map(written),
        Shown::Of(figure, best) => {
            let both = value(figure).zip(value(best));
            both.map(|(found, best)| format!("{found}/{best}"))
        }
    };
    left_out(report, &family)
        .map(str::to_owned)
        .or(shown)
        .unwrap_or_else(|| NOTHING.to_owned())
}

/// Why `family` was left out, in a word or two, if it was. An allocator that was left out as a whole was one
/// of objects: what else it would have been is not known.
fn left_out(report: &Report, family: &str) -> Option<&'static str> {
    let is_of_objects = !matches!(family.split('/').nth(2), Some("pages" | "trace"));
    let is_whole = |left: &&Excluded| left.name.matches('/').count() == 1;
    let mut covering = report.excluded.iter().filter(|left| left.covers(family));
    let excluded = covering.find(|left| is_of_objects || !is_whole(left))?;
    Some(
        if excluded.why.starts_with("out of memory") || excluded.why.contains("no memory") {
            "no memory"
        } else {
            "failed"
        },
    )
}

/// The mean of an event, over all kinds of them, for each trace.
fn traces(report: &Report, allocators: &[&str]) -> Table {
    let mut names: Vec<&str> = Vec::new();
    let rows = report.rows.iter().map(|row| row.name.as_str());
    for name in rows.filter_map(trace_of) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let line = |allocator: &&str| {
        let cell = |trace: &&str| {
            let family = format!("{FRONT}/{allocator}/trace/{trace}");
            let of_it = |row: &&Row| {
                let rest = row.name.strip_prefix(&family);
                rest.is_some_and(|rest| rest.starts_with('/'))
            };
            let (mut n, mut sum) = (0, 0);
            for row in report.rows.iter().filter(of_it) {
                n += row.n;
                sum += row.paths.iter().map(|path| path.sum).sum::<u64>();
            }
            let mean = (sum + n / 2).checked_div(n).map(|mean| mean.to_string());
            let left_out = left_out(report, &family).map(str::to_owned);
            left_out.or(mean).unwrap_or_else(|| NOTHING.to_owned())
        };
        line(allocator, names.iter().map(cell))
    };
    let headings = names.iter().map(|name| (*name).to_owned());
    with_headings("an event of", headings, allocators.iter().filter_map(line))
}

/// The trace that the row `name` of the line-up is of.
fn trace_of(name: &str) -> Option<&str> {
    let words: Vec<&str> = name.split('/').collect();
    match words[..] {
        [FRONT, _, "trace", trace, _] => Some(trace),
        _ => None,
    }
}

/// The tables for a document.
pub fn markdown(report: &Report) -> String {
    let tables = tables(report);
    let tables: Vec<String> = tables.iter().map(|table| of_markdown(table)).collect();
    tables.join("\n")
}

/// A table for a document.
pub(super) fn of_markdown(table: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (line, cells) in table.iter().enumerate() {
        let _ = writeln!(text, "| {} |", cells.join(" | "));
        if line == 0 {
            let _ = writeln!(text, "|{}", "---|".repeat(cells.len()));
        }
    }
    text
}

/// The tables as aligned text.
pub fn text(report: &Report) -> String {
    let tables = tables(report);
    let tables: Vec<String> = tables.iter().map(|table| aligned(table)).collect();
    tables.join("\n")
}

/// A table as aligned text.
pub(super) fn aligned(table: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = table.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let mut text = String::new();
    for line in table {
        for (column, cell) in line.iter().enumerate() {
            let _ = match column {
                0 => write!(text, "{cell:width$}", width = width(0)),
                _ => write!(text, "  {cell:>width$}", width = width(column)),
            };
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::report::{Path, Value};
    use super::*;

    fn row(name: &str, n: u64, sum: u64) -> Row {
        let path = Path {
            n,
            sum,
            ..Path::default()
        };
        Row {
            name: name.to_owned(),
            n,
            mean: 21.4,
            max: 99,
            paths: vec![path],
            ..Row::default()
        }
    }

    fn value(name: &str, value: u64) -> Value {
        Value {
            name: name.to_owned(),
            value,
            unit: "any".to_owned(),
        }
    }

    #[test]
    fn what_was_left_out_says_so_and_what_has_nothing_has_no_line() {
        let left = |name: &str, why: &str| Excluded {
            name: name.to_owned(),
            why: why.to_owned(),
        };
        let report = Report {
            rows: vec![
                row("peer/talc/hot-64/alloc", 1, 21),
                row("peer/talc/trace/redis/alloc", 3, 60),
                row("peer/talc/trace/redis/free", 1, 41),
                row("peer/bits/pages/0/free", 1, 5),
            ],
            values: vec![
                value("peer/talc/used-of-64MiB/ratio", 974),
                value("peer/bits/pages/churn62/recovered", 45),
                value("peer/bits/pages/churn62/ideal", 49),
            ],
            excluded: vec![
                left("peer/talc/mixed/replace-1024", "out of memory: operation 3"),
                left("peer/wild", "failed its check: overlaps"),
            ],
            ..Report::default()
        };
        let tables = tables(&report);
        let [objects, frames, traces] = &tables[..] else {
            panic!("{tables:?}")
        };
        let names: Vec<&str> = objects.iter().map(|line| line[0].as_str()).collect();
        assert_eq!(names, ["alloc/free", "talc", "wild"]);
        let talc = &objects[1];
        assert_eq!(
            (&*talc[1], &*talc[9], &*talc[11]),
            ("21/–", "no memory", "97.4 %")
        );
        assert!(objects[2][1..].iter().all(|cell| cell == "failed"));
        assert_eq!(frames[1][0], "bits");
        assert_eq!((&*frames[1][1], &*frames[1][8]), ("–/21", "45/49"));
        assert_eq!(traces[..2], [["an event of", "redis"], ["talc", "25"]]);
        let document = markdown(&report);
        assert!(document.contains("\n| talc | 25 |\n"), "{document}");
        assert_eq!(text(&report).matches("\n\n").count(), 2);
    }
}
