//! `--events`: what the performance monitors count beside the cycles, and how it is shown.
//!
//! A core has few event counters, so events come in groups of which one is counted in a run. What the
//! PMU does not implement is named, and never shown as a zero.

use super::report::{Report, Row};
use std::fmt::Write;
use wire::event::Group;

/// A group of events, as it is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Events {
    /// None
    #[default]
    None,
    /// Instructions, branch misses, and refills of L1, L2 and the TLB of data
    Summary,
    /// Accesses and refills of both levels of data caches, and TLB refills
    Cache,
    /// Branches and their misses, instructions retired and speculated, fetching
    Branch,
}

impl Events {
    /// The group by its name on the wire.
    pub const fn group(self) -> Group {
        match self {
            Self::None => Group::None,
            Self::Summary => Group::Summary,
            Self::Cache => Group::Cache,
            Self::Branch => Group::Branch,
        }
    }
}

/// How often events happened a call, as a table of strings: headings first, then a line a row. Nothing
/// unless some were counted.
pub(super) fn table(report: &Report) -> Vec<Vec<String>> {
    let counted = report.events.iter().filter(|event| event.counted);
    let names: Vec<&str> = counted.map(|event| event.event.as_str()).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let line = |row: &Row| {
        let mean = |name: &&str| {
            let found = row.events.iter().find(|counted| counted.event == **name);
            found.map_or_else(|| "–".to_owned(), |counted| format!("{:.2}", counted.mean))
        };
        let means = names.iter().map(mean);
        std::iter::once(row.name.clone()).chain(means).collect()
    };
    let headings = std::iter::once("events a call").chain(names.iter().copied());
    let headings: Vec<String> = headings.map(str::to_owned).collect();
    std::iter::once(headings)
        .chain(report.rows.iter().map(line))
        .collect()
}

/// The events that were asked for and that this PMU does not count; nothing if it counts all.
pub(super) fn missing(report: &Report) -> Option<String> {
    let missing = report.events.iter().filter(|event| !event.counted);
    let missing: Vec<String> = missing
        .map(|event| format!("{} ({:#04x})", event.event, event.number))
        .collect();
    let names = missing.join(", ");
    (!missing.is_empty()).then(|| format!("not counted by this CPU's PMU: {names}"))
}

/// Columns for people; nothing unless events were asked for.
pub(super) fn text(report: &Report) -> String {
    let mut text = String::new();
    let table = table(report);
    let cells = table.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..cells)
        .map(|column| {
            let cells = table.iter().map(|line| line[column].chars().count());
            cells.max().unwrap_or(0)
        })
        .collect();
    for line in &table {
        for (place, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let _ = match place {
                0 => write!(text, "\n{cell:width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    if let Some(missing) = missing(report) {
        let _ = writeln!(text, "\n{missing}");
    }
    text
}

/// A table for documents; `None` unless events were asked for.
pub(super) fn markdown(report: &Report) -> Option<String> {
    let mut text = String::new();
    for (number, line) in table(report).iter().enumerate() {
        let _ = writeln!(text, "| {} |", line.join(" | "));
        if number == 0 {
            let _ = writeln!(text, "|---|{}", "---:|".repeat(line.len() - 1));
        }
    }
    if let Some(missing) = missing(report) {
        let between = if text.is_empty() { "" } else { "\n" };
        let _ = writeln!(text, "{between}{missing}");
    }
    (!text.is_empty()).then_some(text)
}

/// Headings of a CSV's further columns, each with a comma before it.
pub(super) fn csv_headings(report: &Report) -> String {
    let counted = report.events.iter().filter(|event| event.counted);
    counted.map(|event| format!(",{}", event.event)).collect()
}

/// A row's cells under those headings.
pub(super) fn csv_cells(row: &Row) -> String {
    let cells = row.events.iter();
    cells.map(|counted| format!(",{}", counted.mean)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::report::{Counted, Event};
    use super::*;
    use clap::ValueEnum;

    fn report() -> Report {
        let event = |name: &str, number, counted| Event {
            event: name.to_owned(),
            number,
            counted,
        };
        let row = |name: &str, sum| Row {
            name: name.to_owned(),
            events: vec![Counted::new("INST_RETIRED", sum, 200)],
            ..Row::default()
        };
        Report {
            events: vec![
                event("INST_RETIRED", 8, true),
                event("BR_MIS_PRED", 16, false),
            ],
            rows: vec![row("kmalloc/8/alloc", 3400), row("x", 1)],
            ..Report::default()
        }
    }

    #[test]
    fn groups_are_called_the_same_on_both_sides() {
        for events in Events::value_variants() {
            let name = events.to_possible_value().unwrap();
            assert_eq!(name.get_name(), events.group().name());
        }
        assert_eq!(Events::value_variants().len(), Group::ALL.len());
    }

    #[test]
    fn what_is_counted_is_a_column_and_what_is_not_is_named() {
        let text = text(&report());
        let expected = "
events a call    INST_RETIRED
kmalloc/8/alloc         17.00
x                        0.01

not counted by this CPU's PMU: BR_MIS_PRED (0x10)
";
        assert_eq!(text, expected);
        let markdown = markdown(&report()).unwrap();
        let expected = "| events a call | INST_RETIRED |\n|---|---:|\n| kmalloc/8/alloc | 17.00 |\n\
                        | x | 0.01 |\n\nnot counted by this CPU's PMU: BR_MIS_PRED (0x10)\n";
        assert_eq!(markdown, expected);
        assert_eq!(csv_headings(&report()), ",INST_RETIRED");
        assert_eq!(csv_cells(&report().rows[0]), ",17");
    }

    #[test]
    fn nothing_is_said_of_events_that_nobody_asked_for() {
        assert_eq!(text(&Report::default()), "");
        assert_eq!(markdown(&Report::default()), None);
    }
}
