//! A report as tables for a document: ours beside Linux's, what memory is good for, the line-up.
//!
//! Linux's figures are references, kept in `bench/reference`, and are not rerun. The README's tables are
//! what this prints, so that no figure there was copied by hand.

use super::format::grouped;
use super::reference::Reference;
use super::report::Report;
use super::{events, goals, line_up, tail};
use std::fmt::Write;

/// The tables, those without lines left out.
///
/// # Errors
///
/// If the reference is malformed, which a test rules out.
pub(super) fn write(report: &Report, explain: bool) -> serde_json::Result<String> {
    let reference = Reference::linux()?;
    let mut tables: Vec<String> = Vec::new();
    let beside = reference.beside(report);
    if !beside.is_empty() {
        let note = reference.note();
        tables.push(format!("{}\n{note}\n", line_up::of_markdown(&beside)));
    }
    tables.extend(events::markdown(report));
    tables.extend(boot_sizes(report));
    tables.extend(figures(report));
    tables.extend(goals(report));
    let line_up = line_up::markdown(report);
    if !line_up.is_empty() {
        tables.push(line_up);
    }
    if explain {
        tables.push(tail::markdown(report));
    }
    Ok(tables.join("\n"))
}

/// What is no latency and belongs to no trace and to no peer.
fn figures(report: &Report) -> Option<String> {
    let ours = report.values.iter().filter(|value| {
        let front = value.name.split('/').next();
        front != Some("trace") && front != Some("peer")
    });
    let mut table = String::new();
    for value in ours {
        let (name, number, unit) = (&value.name, grouped(value.value), &value.unit);
        let _ = writeln!(table, "| `{name}` | {number} {unit} |");
    }
    (!table.is_empty()).then(|| format!("| figure | |\n|---|---|\n{table}"))
}

/// What boot costs on machines of several sizes: a line for each phase.
fn boot_sizes(report: &Report) -> Option<String> {
    let boots = report.rows.iter().filter_map(|row| {
        let (size, phase) = row.name.strip_prefix("boot/")?.split_once('/')?;
        Some((size, phase, row.max))
    });
    let boots: Vec<(&str, &str, u64)> = boots.collect();
    let (mut sizes, mut phases) = (Vec::new(), Vec::new());
    for (size, phase, _) in &boots {
        if !sizes.contains(size) {
            sizes.push(*size);
        }
        if !phases.contains(phase) {
            phases.push(*phase);
        }
    }
    let mut table = format!(
        "| boot, on | {} |\n|---|{}\n",
        sizes.join(" | "),
        "---|".repeat(sizes.len())
    );
    for phase in phases {
        let _ = write!(table, "| `{phase}` |");
        let costs = boots.iter().filter(|(_, other, _)| *other == phase);
        for (_, _, cost) in costs {
            let _ = write!(table, " {} |", grouped(*cost));
        }
        table.push('\n');
    }
    (!boots.is_empty()).then_some(table)
}

/// What rows must reach.
fn goals(report: &Report) -> Option<String> {
    let table = goals::table(&report.goals);
    let lines = table
        .iter()
        .map(|cells| format!("| {} |\n", cells.join(" | ")));
    let (headings, lines): (String, String) =
        (lines.clone().take(1).collect(), lines.skip(1).collect());
    (!lines.is_empty()).then(|| format!("{headings}|---|---|---|---|---|\n{lines}"))
}

#[cfg(test)]
mod tests {
    use super::super::report::{Row, SCHEMA, Value};
    use super::*;

    fn report(names: &[&str]) -> Report {
        let row = |name: &&str| Row {
            name: (*name).to_owned(),
            n: 1,
            cold: 1,
            min: 1,
            p50: 1,
            p90: 1,
            p99: 1250,
            p999: 1,
            max: 1_300,
            mean: 1249.96,
            ..Row::default()
        };
        let value = Value {
            name: "used-of-64MiB/ratio".into(),
            value: 915,
            unit: "per mille".into(),
        };
        Report {
            schema: SCHEMA,
            unit: "instructions".into(),
            rows: names.iter().map(row).collect(),
            values: vec![value],
            ..Report::default()
        }
    }

    #[test]
    fn a_line_has_ours_and_linuxs() {
        let text = write(
            &report(&["pages/0/alloc", "pages/0/free", "dma/4K/alloc"]),
            false,
        )
        .unwrap();
        let line = "| `pages/0`, hot pair | 1,250 / 1,250 | 1,250 / 1,250 | 1,300 / 1,300 | 558 / 271 \
                    | 238 / 200 |\n";
        assert!(text.contains(line), "{text}");
        // Half a row makes no line.
        assert!(!text.contains("dma"), "{text}");
        assert!(
            text.ends_with("\n| `used-of-64MiB/ratio` | 915 per mille |\n"),
            "{text}"
        );
    }

    #[test]
    fn boots_on_machines_of_several_sizes_stand_side_by_side() {
        let names = [
            "boot/total",
            "boot/1G/entry",
            "boot/1G/total",
            "boot/64G/entry",
            "boot/64G/total",
        ];
        let text = write(&report(&names), false).unwrap();
        let table = "| boot, on | 1G | 64G |\n|---|---|---|\n| `entry` | 1,300 | 1,300 |\n\
                     | `total` | 1,300 | 1,300 |\n";
        assert!(text.starts_with(table), "{text}");
    }

    #[test]
    fn the_line_up_is_a_table() {
        let text = write(
            &report(&["peer/talc/hot-64/alloc", "peer/talc/hot-64/free"]),
            false,
        )
        .unwrap();
        assert!(text.contains("| talc | 1250/1250 | –/– |"), "{text}");
        assert!(!text.contains("Linux"), "{text}");
    }
}
