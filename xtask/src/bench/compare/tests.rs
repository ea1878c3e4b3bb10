//! Which changes are told, which of them are worse, and which path is named.

use super::*;
use crate::bench::report::{Path, Value};

fn path(name: &str, n: u64, sum: u64) -> Path {
    Path {
        path: name.into(),
        n,
        sum,
        ..Path::default()
    }
}

fn row(name: &str, p50: u64, max: u64, paths: Vec<Path>) -> Row {
    Row {
        name: name.into(),
        n: 200,
        p50,
        max,
        paths,
        ..Row::default()
    }
}

fn report(rows: Vec<Row>) -> Report {
    let mut report = Report {
        rows,
        ..Report::default()
    };
    report.provenance.rustc = "rustc 1.95.0".into();
    report.provenance.qemu = "10.0.2".into();
    report
}

fn compared(before: &Report, after: &Report) -> Comparison {
    Comparison::new("base", before, after, "*", &Limits::default())
}

#[test]
fn equal_reports_have_nothing_to_tell() {
    let one = report(vec![row("kmalloc/64/alloc", 20, 30, Vec::new())]);
    let comparison = compared(&one, &one);
    assert_eq!(comparison.verdict(), Verdict::Same);
    assert_eq!(
        (comparison.unchanged, comparison.text()),
        (1, String::new())
    );
}

#[test]
fn one_instruction_more_is_a_regression_and_its_path_is_named() {
    let paths = |each: u64| vec![path("hit", 199, 199 * each), path("refill", 1, 400)];
    let before = report(vec![row("kmalloc/64/alloc", 20, 400, paths(20))]);
    let after = report(vec![row("kmalloc/64/alloc", 21, 400, paths(21))]);
    let comparison = compared(&before, &after);
    assert_eq!(comparison.verdict(), Verdict::Regressed);
    let [changed] = &comparison.changed[..] else {
        panic!("{comparison:?}");
    };
    assert_eq!(changed.figures.len(), 1);
    assert_eq!(changed.grown.as_ref().unwrap().path, "hit");
    let text = comparison.text();
    assert!(
        text.contains("kmalloc/64/alloc  p50         20     21  +1 (+5.0 %)  WORSE  hit: 19.90 -> 20.89, 199 -> 199 samples"),
        "{text}"
    );
    assert_eq!(compared(&after, &before).verdict(), Verdict::Improved);
}

#[test]
fn figures_that_changed_alike_share_a_line() {
    let row = |cost| Row {
        p90: cost,
        p99: cost,
        ..row("a", cost, 30, Vec::new())
    };
    let text = compared(&report(vec![row(20)]), &report(vec![row(21)])).text();
    assert!(text.contains("a    p50 p90 p99      20     21"), "{text}");
}

#[test]
fn a_path_that_more_samples_take_has_grown() {
    let paths = |refills| {
        vec![
            path("hit", 200 - refills, (200 - refills) * 20),
            path("refill", refills, refills * 400),
        ]
    };
    let before = row("a", 20, 400, paths(2));
    let after = row("a", 20, 400, paths(3));
    let grown = grown(&before, &after).unwrap();
    assert_eq!((grown.path.as_str(), grown.n), ("refill", (2, 3)));
    assert_eq!(grown.part, (4.0, 6.0));
    assert_eq!(super::grown(&before, &before), None);
}

#[test]
fn another_compiler_gets_no_verdict_and_a_newer_minor_qemu_does() {
    let before = report(vec![row("a", 20, 30, Vec::new())]);
    let mut after = report(vec![row("a", 25, 30, Vec::new())]);
    after.provenance.qemu = "10.1.0".into();
    assert_eq!(compared(&before, &after).verdict(), Verdict::Regressed);
    after.provenance.rustc = "rustc 1.96.0".into();
    let comparison = compared(&before, &after);
    assert_eq!(comparison.verdict(), Verdict::Incomparable);
    assert_eq!(
        comparison.headline(),
        "not comparable with base: the compiler is rustc 1.96.0, was rustc 1.95.0"
    );
}

#[test]
fn rows_that_come_and_go_are_named_as_far_as_they_were_asked_for() {
    let names = |names: &[&str]| {
        let rows = names.iter().map(|name| row(name, 20, 30, Vec::new()));
        report(rows.collect())
    };
    let before = names(&["a/alloc", "b/alloc", "b/free"]);
    let after = names(&["a/alloc", "c/alloc"]);
    let text = compared(&before, &after).text();
    assert_eq!(text, "not measured any more: b (2)\nnew: c (1)\n");
    let of_a = Comparison::new("base", &before, &after, "a", &Limits::default());
    assert_eq!((of_a.unchanged, of_a.text()), (1, String::new()));
}

#[test]
fn figures_that_are_no_latencies_are_compared() {
    let with = |value| Report {
        values: vec![Value {
            name: "held/65536/ratio".into(),
            value,
            unit: "per mille".into(),
        }],
        ..report(Vec::new())
    };
    let comparison = compared(&with(1100), &with(1101));
    assert_eq!(comparison.verdict(), Verdict::Regressed);
    assert!(
        comparison
            .markdown()
            .starts_with("**regressed against base")
    );
    assert!(
        comparison
            .markdown()
            .contains("| held/65536/ratio | value | 1,100 | 1,101 |")
    );
}
