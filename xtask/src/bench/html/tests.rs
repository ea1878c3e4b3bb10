//! That a page holds what its report does, is sound HTML, and loads nothing.

use super::*;
use crate::bench::compare::Comparison;
use crate::bench::limits::Limits;
use crate::bench::report::{
    Excluded, Map, Path, Provenance, Row, SCHEMA, Slowest, Timeline, Totals, Value,
};
use scraper::{Html, Selector};

/// A row of one path with these buckets.
pub(super) fn row(name: &str, histogram: &[(u64, u64)]) -> Row {
    row_of(name, &[("hit", histogram)])
}

/// A row of several paths.
fn row_of(name: &str, paths: &[(&str, &[(u64, u64)])]) -> Row {
    let path = |(path, histogram): &(&str, &[(u64, u64)])| Path {
        path: (*path).to_owned(),
        n: histogram.iter().map(|(_, count)| count).sum(),
        sum: histogram.iter().map(|(lowest, count)| lowest * count).sum(),
        min: histogram
            .iter()
            .map(|(lowest, _)| *lowest)
            .min()
            .unwrap_or(0),
        max: histogram
            .iter()
            .map(|(lowest, _)| *lowest)
            .max()
            .unwrap_or(0),
        histogram: histogram.to_vec(),
    };
    let paths: Vec<Path> = paths.iter().map(path).collect();
    let totals = Totals {
        n: paths.iter().map(|path| path.n).sum(),
        cold: 779,
        min: paths.iter().map(|path| path.min).min().unwrap_or(0),
        max: paths.iter().map(|path| path.max).max().unwrap_or(0),
        sum: paths.iter().map(|path| path.sum).sum(),
    };
    let mut row = Row::new(name, &totals, paths, Slowest::default());
    row.about = "A sentence with <markup> & more.".to_owned();
    row
}

/// A report with something of everything.
fn report() -> Report {
    let value = |name: &str, value| Value {
        name: name.into(),
        value,
        unit: "bytes".into(),
    };
    Report {
        schema: SCHEMA,
        unit: "instructions".into(),
        provenance: Provenance {
            commit: "\"><script>alert(1)</script>".into(),
            smp: 1,
            ..Provenance::default()
        },
        rows: vec![
            row("boot/total", &[(1_129_501, 1)]),
            row("kmalloc/64/alloc", &[(20, 200)]),
            row("kmalloc/64/free", &[(17, 200)]),
            row_of(
                "mixed/toggle/alloc",
                &[
                    ("hit", &[(20, 49_491)]),
                    ("refill", &[(244, 400), (400, 54)]),
                    ("refill + slab made", &[(388, 30), (791, 2)]),
                ],
            ),
            row("mixed/toggle/free", &[(17, 49_000), (477, 1000)]),
            row("peer/talc/mixed/toggle/alloc", &[(33, 100), (127_879, 3)]),
            row("peer/talc+irq/mixed/toggle/free", &[(43, 7)]),
            // Of a family that others stand between.
            row("kmalloc/64/realloc", &[(33, 2), (44, 1)]),
            row("peer/talc/mixed/toggle/free", &[(43, 7)]),
            // Not the one of `mixed/toggle`.
            row("mixed-toggle/alloc", &[(33, 2)]),
        ],
        values: vec![
            value("trace/x/peak-held", 4096),
            value("held/1/asked", 1_234_567),
        ],
        excluded: vec![
            Excluded {
                name: "pages/mix".into(),
                why: "too small & <sad>".into(),
            },
            Excluded {
                name: "peer/buddy-alloc".into(),
                why: "hands out what is taken".into(),
            },
        ],
        timelines: vec![Timeline {
            name: "trace/x".into(),
            points: vec![(1, 4096, 8192, 0), (2, 9_000_000, 12_000_000, 15)],
        }],
        maps: ["pages/mix/before", "pages/mix/after"]
            .map(|name| Map {
                name: name.into(),
                first: 262_144,
                frames: 64,
                blocks: vec![
                    (0, 0, 0),
                    (1, 1, 64),
                    (2, 1, 10),
                    (3, 200, 0),
                    (200, 1, 255),
                ],
            })
            .into(),
        ..Report::default()
    }
}

fn texts(page: &Html, selector: &str) -> Vec<String> {
    let selector = Selector::parse(selector).unwrap();
    let found = page.select(&selector);
    found.map(|element| element.text().collect()).collect()
}

#[test]
fn every_row_and_figure_of_a_report_is_on_its_page() {
    let report = report();
    let page = Html::parse_document(&page(&report, &[]).unwrap());
    for row in &report.rows {
        let cells = texts(
            &page,
            &format!("table.rows tr[data-row=\"{}\"] > *", row.name),
        );
        let mut expected = vec![row.name.clone()];
        expected.extend(format::figures(row));
        assert_eq!(cells, expected);
        let family = format!("details[data-row=\"{}\"]", family_of(&row.name));
        assert_eq!(texts(&page, &family).len(), 1, "{family}");
    }
    let values = texts(&page, "tr[data-value]");
    assert_eq!(
        values,
        ["trace/x/peak-held4,096bytes", "held/1/asked1,234,567bytes"]
    );
    let left_out = ["too small & <sad>", "hands out what is taken"];
    assert_eq!(texts(&page, "#left-out dd"), left_out);
    assert_eq!(texts(&page, "#line-up dl dd"), left_out[1..]);
}

#[test]
fn a_page_is_sound_html_and_text_stays_text() {
    let text = page(&report(), &[]).unwrap();
    let parsed = Html::parse_document(&text);
    assert!(parsed.errors.is_empty(), "{:?}", parsed.errors);
    assert_eq!(texts(&parsed, "script").len(), 1);
    assert!(texts(&parsed, "header dd")[0].contains("<script>"));
    assert!(
        texts(&parsed, "p")
            .iter()
            .any(|p| p.contains("<markup> & more"))
    );
}

#[test]
fn a_page_names_nothing_to_load() {
    let text = page(&report(), &[]).unwrap();
    for loads in ["http:", "https:", "src=", "@import", "url(", "<link", "//"] {
        let found = text
            .find(loads)
            .map(|at| &text[at..text.len().min(at + 60)]);
        // The script's own comment is one.
        assert!(
            found.is_none_or(|found| found.starts_with("// Hides")),
            "{found:?}"
        );
    }
}

#[test]
fn every_link_leads_somewhere_and_every_id_is_there_once() {
    let text = page(&report(), &[]).unwrap();
    let parsed = Html::parse_document(&text);
    let attributes = |selector: &str, name: &str| -> Vec<String> {
        let selector = Selector::parse(selector).unwrap();
        let found = parsed.select(&selector);
        found
            .filter_map(|element| element.attr(name))
            .map(str::to_owned)
            .collect()
    };
    let ids = attributes("[id]", "id");
    let unique: std::collections::BTreeSet<&String> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len());
    for link in attributes("a", "href") {
        let id = link.strip_prefix('#').unwrap().to_owned();
        assert!(ids.contains(&id), "{link}");
    }
}

#[test]
fn every_chart_says_what_it_shows() {
    let text = page(&report(), &[]).unwrap();
    let parsed = Html::parse_document(&text);
    let charts = texts(&parsed, "svg[role=img] > title");
    assert_eq!(charts.len(), text.matches("<svg").count());
    let tail = "mixed/toggle/alloc: share of each path between percentiles";
    assert!(charts.iter().any(|chart| chart == tail), "{charts:?}");
}

#[test]
fn a_verdict_comes_first_with_every_figure_that_changed() {
    let (before, mut after) = (report(), report());
    after.rows[3] = row("mixed/toggle/alloc", &[(20, 49_000), (900, 977)]);
    let limits = Limits::default();
    let comparison = Comparison::new("main <1>", &before, &after, "*", &limits);
    let expected = comparison.lines();
    let text = page(&after, &[("new.json".to_owned(), comparison)]).unwrap();
    let parsed = Html::parse_document(&text);
    assert!(parsed.errors.is_empty(), "{:?}", parsed.errors);
    assert_eq!(texts(&parsed, "main h2")[0], "Verdict");
    let verdict = &texts(&parsed, ".verdict.bad")[0];
    assert!(
        verdict.starts_with("new.json✕ regressed against ") && verdict.contains("main <1>"),
        "{verdict}"
    );
    let lines = texts(&parsed, "table.changes tbody tr");
    let expected: Vec<String> = expected[1..].iter().map(|line| line.concat()).collect();
    assert_eq!(lines, expected);
    assert!(lines.len() > 3 && lines[0].contains("WORSE"), "{lines:?}");
}

#[test]
fn the_same_report_gives_the_same_page() {
    assert_eq!(page(&report(), &[]).unwrap(), page(&report(), &[]).unwrap());
}

#[test]
fn shares_are_told_from_none_and_from_all() {
    let shares = [0.0001, 0.004, 0.123, 0.9999, 1.0].map(percent);
    assert_eq!(shares, ["< 0.1 %", "0.4 %", "12 %", "> 99.9 %", "100 %"]);
}

#[test]
fn a_report_of_nothing_is_a_page_without_sections() {
    let text = page(&Report::default(), &[]).unwrap();
    let parsed = Html::parse_document(&text);
    assert!(parsed.errors.is_empty(), "{:?}", parsed.errors);
    assert_eq!(texts(&parsed, "main h2"), [""; 0]);
    assert_eq!(texts(&parsed, "h1").len(), 1);
}
