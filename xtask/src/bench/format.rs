//! A report as text for people, as JSON and as CSV for programs; `markdown` has it for documents.

use super::reference::Reference;
use super::report::{Report, Row};
use super::{bmf, events, goals, json, line_up, markdown, tail};
use std::fmt::Write;

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table for people
    #[default]
    Text,
    /// One object with header, rows and values
    Json,
    /// One line a row; figures that are no latencies are in the others
    Csv,
    /// Tables for a document, beside Linux's figures
    Md,
    /// Bencher Metric Format, for services that track figures
    Bmf,
}

impl Format {
    /// The report in this format, its last line ended. Tails are explained if `explain`, or if there are
    /// few rows.
    ///
    /// # Errors
    ///
    /// If JSON cannot be made of it, which a report never causes.
    pub fn write(self, report: &Report, explain: bool) -> serde_json::Result<String> {
        Ok(match self {
            Self::Text => text(report, explain),
            Self::Json => json::write(report)?,
            Self::Csv => csv(report),
            Self::Md => markdown::write(report, explain)?,
            Self::Bmf => bmf::write(report)?,
        })
    }
}

/// Headings of the figures behind a row's name.
pub(super) const FIGURES: [&str; 9] = [
    "n", "cold", "min", "p50", "p90", "p99", "p99.9", "max", "mean",
];

/// Rows up to which each one's tail is explained unasked.
const FEW_ROWS: usize = 8;

fn text(report: &Report, explain: bool) -> String {
    let mut text = header(report);
    let names = report.rows.iter().map(|row| row.name.len());
    let width = names.max().unwrap_or(0).max(report.unit.len());
    let lines: Vec<[String; 9]> = report.rows.iter().map(figures).collect();
    let widths: [usize; 9] = std::array::from_fn(|column| {
        let cells = lines.iter().map(|line| line[column].len());
        cells.max().unwrap_or(0).max(FIGURES[column].len())
    });
    let mut line = |name: &str, cells: &[String; 9]| {
        let _ = write!(text, "{name:width$}");
        for (cell, width) in cells.iter().zip(widths) {
            let _ = write!(text, "  {cell:>width$}");
        }
        text.push('\n');
    };
    line(&report.unit, &FIGURES.map(str::to_owned));
    let mut group = "";
    for (row, cells) in report.rows.iter().zip(&lines) {
        if group != group_of(&row.name) {
            group = group_of(&row.name);
            line("", &[const { String::new() }; 9]);
        }
        line(&row.name, cells);
    }
    // Blank lines hold nothing but the padding.
    let mut text: String = text
        .lines()
        .flat_map(|line| [line.trim_end(), "\n"])
        .collect();
    if explain || report.rows.len() <= FEW_ROWS {
        text.push_str(&tail::text(report));
    }
    text.push_str(&events::text(report));
    values(report, &mut text);
    text.push_str(&beside_linux(report));
    let line_up = line_up::text(report);
    if !line_up.is_empty() {
        let names: Vec<String> = report.peers.iter().map(ToString::to_string).collect();
        let _ = write!(text, "\nbeside {}:\n{line_up}", names.join(", "));
    }
    goals(report, &mut text);
    if !report.excluded.is_empty() {
        text.push('\n');
    }
    for excluded in &report.excluded {
        let _ = writeln!(text, "{}: left out: {}", excluded.name, excluded.why);
    }
    text.push_str(FOOTER);
    text.push_str(match report.unit.as_str() {
        "instructions" => OF_INSTRUCTIONS,
        _ => OF_CYCLES,
    });
    text
}

/// Ours beside Linux's, if rows of the same workloads were measured.
fn beside_linux(report: &Report) -> String {
    let reference = Reference::linux().ok();
    let shown = reference.and_then(|reference| {
        let mut table = reference.beside(report);
        for line in &mut table {
            line[0] = line[0].replace('`', "");
        }
        let lines = line_up::aligned(&table);
        (!table.is_empty()).then(|| format!("\n{lines}{}\n", reference.note()))
    });
    shown.unwrap_or_default()
}

const FOOTER: &str = "
cold is a row's first operation, before any warm-up. Percentiles are nearest ranks, exact below 1,024
and less than 1 % low above; min, max and mean are exact. A maximum is the worst case observed, not a
bound.";
const OF_INSTRUCTIONS: &str =
    " Instructions are not time: QEMU models no cache, no TLB and no pipeline.\n";
const OF_CYCLES: &str = " Cycles are those of this core in this state: another run differs.\n";

fn header(report: &Report) -> String {
    let at = &report.provenance;
    // A board is not held to what QEMU is, and boots by itself.
    let (qemu, checked) = match at.qemu.as_str() {
        "" => (String::new(), ""),
        version => (
            format!("qemu     {version}: {}\n", at.qemu_command),
            "; two equal runs were equal",
        ),
    };
    format!(
        "commit   {}\nrustc    {} (core {})\nflags    {}\n{qemu}\
         machine  {}, {} (MIDR {}), {} core{}, {}, entered at EL{}\n\
         kernel   tier {}, seed {}\nmeter    {} {} of an empty measurement, subtracted; a lone return \
         reads {}, 100 nops and a return {}{checked}\n\n",
        at.commit,
        at.rustc,
        at.core,
        at.flags,
        at.machine,
        at.cpu,
        at.midr,
        at.smp,
        if at.smp == 1 { "" } else { "s" },
        at.mem,
        at.el,
        at.tier,
        at.seed,
        report.overhead,
        report.unit,
        report.empty,
        report.nops,
    )
}

/// Rows with the same front stand together; each trace and each peer is a group of its own.
pub(super) fn group_of(name: &str) -> &str {
    let words = if name.starts_with("trace/") || name.starts_with("peer/") {
        2
    } else {
        1
    };
    let end = name
        .match_indices('/')
        .nth(words - 1)
        .map_or(name.len(), |(at, _)| at);
    &name[..end]
}

fn values(report: &Report, text: &mut String) {
    let name = report
        .values
        .iter()
        .map(|value| value.name.len())
        .max()
        .unwrap_or(0);
    let figures = report.values.iter().map(|value| grouped(value.value).len());
    let figure = figures.max().unwrap_or(0);
    let mut group = "";
    for value in &report.values {
        let front = value.name.rsplit_once('/').map_or("", |(front, _)| front);
        if front != group {
            group = front;
            text.push('\n');
        }
        let number = grouped(value.value);
        let _ = writeln!(
            text,
            "{:name$}  {number:>figure$} {}",
            value.name, value.unit
        );
    }
}

/// What rows must reach, in columns.
fn goals(report: &Report, text: &mut String) {
    if report.goals.is_empty() {
        return;
    }
    let table = goals::table(&report.goals);
    let widths: [usize; 5] = std::array::from_fn(|column| {
        let cells = table.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or(0)
    });
    text.push('\n');
    for [what, found, must, aim, reached] in table {
        let [first, second, third, fourth, _] = widths;
        let _ = writeln!(
            text,
            "{what:first$}  {found:>second$}  {must:>third$}  {aim:>fourth$}  {reached}"
        );
    }
}

pub(super) fn figures(row: &Row) -> [String; 9] {
    let mean = format!("{:.2}", row.mean);
    let (whole, hundredths) = mean.split_once('.').unwrap_or((&mean, "00"));
    let whole = whole.parse().map_or_else(|_| whole.to_owned(), grouped);
    [
        grouped(row.n),
        grouped(row.cold),
        grouped(row.min),
        grouped(row.p50),
        grouped(row.p90),
        grouped(row.p99),
        grouped(row.p999),
        grouped(row.max),
        format!("{whole}.{hundredths}"),
    ]
}

/// A number with a comma between each three digits.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Names hold letters, digits, `-` and `/` alone, so nothing needs quoting.
fn csv(report: &Report) -> String {
    let headings = "name,n,cold,min,p50,p90,p99,p999,max,mean";
    let mut text = format!("{headings}{}\n", events::csv_headings(report));
    for row in &report.rows {
        let Row {
            name,
            n,
            cold,
            min,
            p50,
            p90,
            p99,
            p999,
            max,
            mean,
            ..
        } = row;
        let _ = writeln!(
            text,
            "{name},{n},{cold},{min},{p50},{p90},{p99},{p999},{max},{mean}{}",
            events::csv_cells(row)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::report::{Provenance, SCHEMA, Value};
    use super::*;

    fn report() -> Report {
        let row = |name: &str, max, mean| Row {
            name: name.to_owned(),
            n: 200,
            cold: 1234,
            min: 20,
            p50: 21,
            p90: 22,
            p99: 23,
            p999: 24,
            max,
            mean,
            ..Row::default()
        };
        let value = Value {
            name: "trace/x/peak-held".into(),
            value: 4096,
            unit: "bytes".into(),
        };
        Report {
            schema: SCHEMA,
            unit: "instructions".into(),
            provenance: Provenance {
                machine: "virt".into(),
                smp: 1,
                ..Provenance::default()
            },
            overhead: 5,
            rows: vec![
                row("kmalloc/8/alloc", 25, 21.0),
                row("mixed/toggle/free", 1_234_567, 1021.5),
            ],
            values: vec![value],
            excluded: vec![super::super::report::Excluded {
                name: "pages/mix".into(),
                why: "too small".into(),
            }],
            ..Report::default()
        }
    }

    #[test]
    fn the_table_is_aligned_and_grouped() {
        let text = Format::Text.write(&report(), false).unwrap();
        let line = |front: &str| text.lines().find(|line| line.starts_with(front)).unwrap();
        let (first, second) = (line("kmalloc/8/alloc"), line("mixed/toggle/free"));
        assert_eq!(first.len(), second.len());
        assert_eq!(line("instructions").len(), first.len());
        assert!(second.ends_with("24  1,234,567  1,021.50"), "{second}");
        assert!(text.contains("\n\nmixed/toggle/free"), "{text}");
        assert!(
            text.contains("\ntrace/x/peak-held  4,096 bytes\n"),
            "{text}"
        );
        assert!(text.contains("1 core,"), "{text}");
        assert!(
            text.contains("\npages/mix: left out: too small\n"),
            "{text}"
        );
    }

    #[test]
    fn json_has_the_documented_fields_in_their_order() {
        let json = Format::Json.write(&report(), false).unwrap();
        let fields = [
            "schema",
            "unit",
            "machine",
            "cpu",
            "mem",
            "smp",
            "seed",
            "rustc",
            "flags",
            "qemu",
            "qemu_command",
            "commit",
            "overhead",
            "peers",
            "rows",
            "name",
            "n",
            "cold",
            "min",
            "p50",
            "p90",
            "p99",
            "p999",
            "max",
            "mean",
            "paths",
            "slowest",
            "values",
            "name",
            "value",
            "unit",
            "excluded",
            "name",
            "why",
        ];
        let mut rest = json.as_str();
        for field in fields {
            let (_, behind) = rest.split_once(&format!("\"{field}\":")).expect(field);
            rest = behind;
        }
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["rows"][1]["mean"], 1021.5);
        assert_eq!(read["schema"], 2);
    }

    #[test]
    fn csv_has_a_line_a_row() {
        let csv = Format::Csv.write(&report(), false).unwrap();
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(
            lines[2],
            "mixed/toggle/free,200,1234,20,21,22,23,24,1234567,1021.5"
        );
    }

    #[test]
    fn digits_are_grouped_by_threes() {
        let groups = [0, 999, 1000, 123_456, 1_234_567].map(grouped);
        assert_eq!(groups, ["0", "999", "1,000", "123,456", "1,234,567"]);
    }
}
