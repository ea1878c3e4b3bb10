//! A report as one page: the tables, and what only a drawing shows.
//!
//! The page is a single file that loads nothing, follows the reader's light or dark scheme, and is as
//! readable on a telephone as on a desk. Figures are text; charts are SVG that [`plotters`] lays out, so
//! that their labels can be selected and searched as well. What is long is folded. The one script
//! filters rows by name and is not needed for anything else.

mod axis;
mod beside;
mod boot;
pub mod browser;
mod distribution;
mod memory;
mod plot;
mod tables;
mod tail;
mod verdict;

use super::format;
use super::reference::Reference;
use super::report::{Report, Row};
use anyhow::Result;
pub use verdict::Compared;

use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("filter.js");
/// Nothing is loaded, whatever a name in the report may hold.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// One part of the page.
struct Section {
    /// Where links lead.
    id: &'static str,
    title: &'static str,
    body: Markup,
}

/// The page of a report, and how it compares with others.
///
/// # Errors
///
/// As from the library that draws.
pub fn page(report: &Report, comparisons: &[Compared]) -> Result<String> {
    let sections: Vec<Section> = sections(report, comparisons)?
        .into_iter()
        .flatten()
        .collect();
    let title = format!("Tessera: {} on {}", report.unit, report.provenance.cpu);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header { (tables::header(report)) }
                div.layout {
                    nav aria-label="Contents" {
                        ol { @for part in &sections { li { a href={ "#" (part.id) } { (part.title) } } } }
                        p #filter hidden {
                            label for="words" { "Filter rows" }
                            input #words type="search" placeholder="mixed alloc" autocomplete="off";
                        }
                    }
                    main {
                        @for part in &sections {
                            section id=(part.id) { h2 { (part.title) } (part.body) }
                        }
                        footer { (tables::footer(report)) }
                    }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    let mut text = page.into_string();
    text.push('\n');
    Ok(text)
}

/// The parts of the page; those that a report has nothing for are missing.
fn sections(report: &Report, comparisons: &[Compared]) -> Result<Vec<Option<Section>>> {
    let section = |id, title| move |body| Section { id, title, body };
    Ok(vec![
        verdict::draw(comparisons).map(section("verdict", "Verdict")),
        tables::percentiles(report).map(section("percentiles", "Percentiles")),
        beside::line_up(report)?.map(section("line-up", "Beside other allocators")),
        beside::linux(report)?.map(section("linux", "Beside Linux")),
        distributions(report)?.map(section("distributions", "Distributions and tails")),
        tables::events(report).map(section("events", "Events of the PMU")),
        memory::timelines(report)?.map(section("live", "Live bytes over time")),
        memory::maps(report)?.map(section("memory", "Physical memory")),
        boot::draw(report)?.map(section("boot", "Boot by phase")),
        tables::values(report).map(section("figures", "Other figures")),
        tables::goals(report).map(section("goals", "Goals")),
        tables::excluded(report).map(section("left-out", "Left out")),
    ])
}

/// Every family of rows, folded.
fn distributions(report: &Report) -> Result<Option<Markup>> {
    if report.rows.is_empty() {
        return Ok(None);
    }
    let linux = Reference::linux()?;
    let mut families: Vec<(&str, Vec<&Row>)> = Vec::new();
    for row in &report.rows {
        let name = family_of(&row.name);
        match families.iter_mut().find(|(other, _)| *other == name) {
            Some((_, rows)) => rows.push(row),
            None => families.push((name, vec![row])),
        }
    }
    let draw = |(name, rows): &(&str, Vec<&Row>)| {
        let line = linux.rows.iter().find(|line| line.family == *name);
        distribution::family(name, rows, line, &report.unit)
    };
    let drawn = families.iter().map(draw).collect::<Result<Vec<_>>>()?;
    let groups = families.iter().map(|(name, _)| format::group_of(name));
    let families: Vec<(&str, Markup)> = groups.zip(drawn).collect();
    Ok(Some(html! {
        p.note {
            "Each family of rows unfolds into its histograms, its percentiles (each nine as wide as the "
            "one before), and the paths that its tail took. Axes of costs and counts are logarithmic."
        }
        @for group in families.chunk_by(|a, b| a.0 == b.0) {
            h3 { code { (group[0].0) } }
            @for (_, body) in group { (body) }
        }
    }))
}

/// The family that a row belongs to: its name without the operation.
fn family_of(row: &str) -> &str {
    let operations = [
        "alloc",
        "free",
        "zeroed",
        "realloc",
        "pages-alloc",
        "pages-free",
    ];
    match row.rsplit_once('/') {
        Some((family, last)) if operations.contains(&last) => family,
        _ => row,
    }
}

/// The last word of a row's name.
fn operation(row: &str) -> &str {
    row.rsplit_once('/').map_or(row, |(_, last)| last)
}

/// The address of a family within the page.
fn anchor(family: &str) -> String {
    format!("row-{family}")
}

/// A share with as many digits as it needs to be told from none and from all.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        _ if percent >= 99.95 && share < 1.0 => "> 99.9 %".to_owned(),
        _ if percent >= 9.95 => format!("{percent:.0} %"),
        _ if percent >= 0.05 => format!("{percent:.1} %"),
        _ => "< 0.1 %".to_owned(),
    }
}

#[cfg(test)]
mod tests;
