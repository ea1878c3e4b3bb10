//! What of a report is text: where it comes from, the percentiles, figures, goals, what is left out.

use super::{anchor, family_of, format};
use crate::bench::events;
use crate::bench::format::{FIGURES, figures, grouped};
use crate::bench::goals::{self, Reached};
use crate::bench::report::{Report, Row, Value};
use maud::{Markup, html};

/// Where the run took place, and that the instrument is sound.
pub(super) fn header(report: &Report) -> Markup {
    let at = &report.provenance;
    let met = report
        .goals
        .iter()
        .filter(|goal| goal.reached != Reached::Nothing)
        .count();
    let cores = if at.smp == 1 { "core" } else { "cores" };
    let machine = format!(
        "{}, {} (MIDR {}), {} {cores}, {}, entered at EL{}",
        at.machine, at.cpu, at.midr, at.smp, at.mem, at.el
    );
    let check = format!(
        "an empty operation reads {}, a hundred nops {}; the overhead of {} {} is subtracted everywhere",
        report.empty, report.nops, report.overhead, report.unit
    );
    let peers: Vec<String> = report.peers.iter().map(ToString::to_string).collect();
    let part = report.shard.as_ref();
    let part = part.map(|part| {
        format!(
            "{} of {}: the other rows are elsewhere",
            part.number, part.of
        )
    });
    let facts = [
        ("commit", at.commit.clone()),
        ("machine", machine),
        ("kernel", format!("tier {}, seed {}", at.tier, at.seed)),
        ("compiler", format!("{} (core {})", at.rustc, at.core)),
        ("QEMU", at.qemu.clone()),
        ("self-check", check),
        ("beside", peers.join(", ")),
        ("part", part.unwrap_or_default()),
    ];
    let exactly = [
        ("flags", at.flags.clone()),
        ("started as", at.qemu_command.clone()),
    ];
    html! {
        p.kicker { "Tessera · cargo xtask bench" }
        h1 { "What an allocation costs, in " (report.unit) }
        ul.tiles {
            li { b { (grouped(count(report.rows.len()))) } " rows" }
            @if !report.goals.is_empty() {
                li { b { (met) " of " (report.goals.len()) } " goals met" }
            }
            @if !report.peers.is_empty() { li { b { (report.peers.len()) } " crates beside ours" } }
            @if !report.excluded.is_empty() { li { b { (report.excluded.len()) } " left out" } }
        }
        (facts_of(&facts))
        details.more { summary { "How it was built and started" } (facts_of(&exactly)) }
    }
}

/// Names and facts, those without a fact left out.
fn facts_of(facts: &[(&str, String)]) -> Markup {
    html! {
        dl.facts {
            @for (name, fact) in facts.iter().filter(|(_, fact)| !fact.is_empty()) {
                div { dt { (name) } dd { (fact) } }
            }
        }
    }
}

fn count(length: usize) -> u64 {
    length as u64
}

/// Every row: one table a group, those of other allocators folded.
pub(super) fn percentiles(report: &Report) -> Option<Markup> {
    let groups = report
        .rows
        .chunk_by(|a, b| format::group_of(&a.name) == format::group_of(&b.name));
    let groups: Vec<&[Row]> = groups.collect();
    let body = html! {
        p.note {
            "In " (report.unit) "; " code { "n" } " counts samples, " code { "cold" } " is the first operation. "
            "A maximum is the worst that was observed, not a bound."
        }
        @for rows in groups {
            @let name = format::group_of(&rows[0].name);
            details.group open[!name.starts_with("peer/")] data-group {
                summary { code { (name) } span.fact { (rows.len()) @if rows.len() == 1 { " row" } @else { " rows" } } }
                div.scroll { (table(rows)) }
            }
        }
    };
    (!report.rows.is_empty()).then_some(body)
}

fn table(rows: &[Row]) -> Markup {
    html! {
        table.rows {
            thead { tr {
                th scope="col" { "row" }
                @for figure in FIGURES { th scope="col" { (figure) } }
            } }
            tbody {
                @for row in rows {
                    tr data-row=(row.name) {
                        th scope="row" { a href={ "#" (anchor(family_of(&row.name))) } { (row.name) } }
                        @for figure in figures(row) { td { (figure) } }
                    }
                }
            }
        }
    }
}

/// A table of text whose first line is its headings.
pub(super) fn plain(table: &[Vec<String>]) -> Markup {
    let (headings, lines) = table
        .split_first()
        .map_or((&[][..], &[][..]), |(first, rest)| (first, rest));
    html! {
        div.scroll { table {
            thead { tr { @for heading in headings { th scope="col" { (heading) } } } }
            tbody { @for line in lines {
                @if let Some((name, cells)) = line.split_first() {
                    tr { th scope="row" { (name) } @for cell in cells { td { (cell) } } }
                }
            } }
        } }
    }
}

/// How often events happened, where some were counted.
pub(super) fn events(report: &Report) -> Option<Markup> {
    let table = events::table(report);
    let missing = events::missing(report);
    let body = html! {
        @if let Some(missing) = &missing { p.note { (missing) } }
        @if !table.is_empty() { (plain(&table)) }
    };
    (missing.is_some() || !table.is_empty()).then_some(body)
}

/// Figures that are no latencies.
pub(super) fn values(report: &Report) -> Option<Markup> {
    let front = |value: &Value| {
        value
            .name
            .rsplit_once('/')
            .map(|(front, _)| front.to_owned())
    };
    let body = html! {
        div.scroll { table.values {
            thead { tr { th { "figure" } th { "value" } th { "unit" } } }
            @for group in report.values.chunk_by(|a, b| front(a) == front(b)) {
                tbody { @for value in group {
                    tr data-value=(value.name) {
                        th scope="row" { (value.name) }
                        td { (grouped(value.value)) }
                        td.unit { (value.unit) }
                    }
                } }
            }
        } }
    };
    (!report.values.is_empty()).then_some(body)
}

/// What rows must reach.
pub(super) fn goals(report: &Report) -> Option<Markup> {
    let table = goals::table(&report.goals);
    let (headings, lines) = table.split_first()?;
    let body = html! {
        div.scroll { table.goals {
            thead { tr { @for heading in headings { th { (heading) } } } }
            tbody { @for (line, goal) in lines.iter().zip(&report.goals) {
                @let (class, sign) = match goal.reached {
                    Reached::Nothing => ("bad", "✕ "),
                    Reached::Must => ("fair", "✓ "),
                    Reached::Aim => ("good", "✓✓ "),
                };
                tr {
                    th scope="row" { (line[0]) }
                    @for cell in &line[1..4] { td { (cell) } }
                    td.(class) { (sign) (line[4]) }
                }
            } }
        } }
    };
    (!lines.is_empty()).then_some(body)
}

/// What was not measured, and why.
pub(super) fn excluded(report: &Report) -> Option<Markup> {
    let body = html! {
        dl.facts {
            @for excluded in &report.excluded {
                div { dt { code { (excluded.name) } } dd { (excluded.why) } }
            }
        }
    };
    (!report.excluded.is_empty()).then_some(body)
}

/// How to read it.
pub(super) fn footer(report: &Report) -> Markup {
    html! {
        p {
            "Percentiles are nearest ranks, exact below 1,024 and less than 1 % low above; min, max and mean "
            "are exact. "
            @if report.unit == "instructions" {
                "Instructions are not time: QEMU models no cache, no TLB and no pipeline. "
            }
            "Equal reports give the same page, byte for byte."
        }
    }
}
