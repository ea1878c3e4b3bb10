//! Ours beside others: the allocators of the line-up, and Linux's published figures.
//!
//! A chart has a line for each allocator, or operation, and marks for what it cost. Allocators are in the
//! order of their means, so that a glance finds the best, and ours has a colour of its own.

use super::anchor;
use super::axis::{self, Axis};
use super::distribution::{FAST, LEAN};
use super::plot::{Colour, Plot, Shape};
use super::tables;
use crate::bench::format::grouped;
use crate::bench::line_up;
use crate::bench::peers::OURS;
use crate::bench::reference::{self, Reference};
use crate::bench::report::{Report, Row, Value};
use anyhow::Result;
use maud::{Markup, html};

/// How the names of the line-up's rows begin.
const FRONT: &str = "peer/";
/// How the names of allocators end that are behind the kernel's lock.
const LOCKED: &str = "+irq";
/// Families that are unfolded.
const OPEN: usize = 2;
/// Ours, and everybody else.
const OUR_COLOUR: Colour = Colour::SERIES[1];
const THEIR_COLOUR: Colour = Colour::SERIES[0];

/// One line of a chart.
struct Line {
    name: String,
    colour: Colour,
    /// A cost each.
    marks: Vec<(f64, Shape)>,
}

/// A chart of `lines`, of costs in `unit`.
fn chart(lines: &[Line], unit: &str, label: String) -> Result<Markup> {
    let costs = lines.iter().flat_map(|line| &line.marks);
    let costs: Vec<f64> = costs.map(|(cost, _)| *cost).collect();
    let least = costs.iter().copied().fold(f64::INFINITY, f64::min);
    let most = costs.iter().copied().fold(1.0, f64::max);
    let plot = Plot {
        height: 46 + 18 * u32::try_from(lines.len())?,
        x: Axis::log(least.min(most), most),
        x_name: format!("cost, {unit}"),
        y: Axis::names(lines.iter().map(|line| line.name.as_str())),
        y_name: String::new(),
        label,
    };
    plot.draw(|canvas| {
        for (index, line) in lines.iter().enumerate() {
            let at = |cost: f64| (axis::log(cost), -(index as f64));
            let costs = || line.marks.iter().map(|(cost, _)| *cost);
            let ends = (
                costs().fold(f64::INFINITY, f64::min),
                costs().fold(0.0, f64::max),
            );
            if ends.0 < ends.1 {
                canvas.line(vec![at(ends.0), at(ends.1)], Colour::REST)?;
            }
            for &(cost, shape) in &line.marks {
                canvas.mark(at(cost), shape, line.colour)?;
            }
        }
        Ok(())
    })
}

/// Rows of one workload and operation, by allocator.
type Workload<'r> = (&'r str, Vec<(&'r str, &'r Row)>);

/// The rows of the line-up by what follows the allocator's name, in the order measured.
fn workloads(report: &Report) -> Vec<Workload<'_>> {
    let mut workloads: Vec<Workload<'_>> = Vec::new();
    for row in &report.rows {
        let rest = row.name.strip_prefix(FRONT);
        let Some((allocator, workload)) = rest.and_then(|rest| rest.split_once('/')) else {
            continue;
        };
        match workloads.iter_mut().find(|(other, _)| *other == workload) {
            Some((_, rows)) => rows.push((allocator, row)),
            None => workloads.push((workload, vec![(allocator, row)])),
        }
    }
    workloads
}

/// A line for each allocator: its mean behind its own lock, behind ours, and its maximum.
fn lines(rows: &[(&str, &Row)]) -> Vec<Line> {
    let mut lines: Vec<(f64, Line)> = Vec::new();
    for (allocator, row) in rows {
        let (name, is_locked) = match allocator.strip_suffix(LOCKED) {
            Some(name) => (name, true),
            None => (*allocator, false),
        };
        let index = lines.iter().position(|(_, line)| line.name == name);
        let index = index.unwrap_or_else(|| {
            let colour = if name == OURS {
                OUR_COLOUR
            } else {
                THEIR_COLOUR
            };
            let (name, marks) = (name.to_owned(), Vec::new());
            lines.push((
                row.mean,
                Line {
                    name,
                    colour,
                    marks,
                },
            ));
            lines.len() - 1
        });
        let (by, line) = &mut lines[index];
        if is_locked {
            line.marks.push((row.mean, Shape::Ring));
        } else {
            *by = row.mean;
            line.marks.push((row.mean, Shape::Disc));
            line.marks.push((row.max as f64, Shape::Triangle));
        }
    }
    lines.sort_by(|(a, line), (b, other)| a.total_cmp(b).then_with(|| line.name.cmp(&other.name)));
    lines.into_iter().map(|(_, line)| line).collect()
}

/// What the line-up shows of one workload.
struct Family<'r> {
    name: &'r str,
    about: &'r str,
    charts: Vec<Markup>,
}

/// What has been measured of the allocators besides latencies: a name, a unit, and theirs.
type Measure<'r> = (&'r str, &'r str, Vec<(&'r str, u64)>);

fn measures(report: &Report) -> Vec<Measure<'_>> {
    let mut measures: Vec<Measure<'_>> = Vec::new();
    for value in &report.values {
        let rest = value.name.strip_prefix(FRONT);
        let Some((allocator, name)) = rest.and_then(|rest| rest.split_once('/')) else {
            continue;
        };
        match measures.iter_mut().find(|(other, _, _)| *other == name) {
            Some((_, _, of)) => of.push((allocator, value.value)),
            None => measures.push((name, &value.unit, vec![(allocator, value.value)])),
        }
    }
    for (name, _, of) in &mut measures {
        // Of ours some are measured on page frames, not in an arena, under a name without a front.
        let ours = |value: &&Value| value.name == *name;
        if !of.iter().any(|(allocator, _)| *allocator == OURS)
            && let Some(value) = report.values.iter().find(ours)
        {
            of.push((OURS, value.value));
        }
    }
    measures
}

/// The line-up.
///
/// # Errors
///
/// As from the library that draws.
pub(super) fn line_up(report: &Report) -> Result<Option<Markup>> {
    let workloads = workloads(report);
    if workloads.is_empty() {
        return Ok(None);
    }
    let mut families: Vec<Family<'_>> = Vec::new();
    for (workload, rows) in &workloads {
        let name = workload
            .rsplit_once('/')
            .map_or(*workload, |(family, _)| family);
        let chart = latency(workload, rows, &report.unit)?;
        match families.iter_mut().find(|family| family.name == name) {
            Some(family) => family.charts.push(chart),
            None => families.push(Family {
                name,
                about: &rows[0].1.about,
                charts: vec![chart],
            }),
        }
    }
    let failed = report
        .excluded
        .iter()
        .filter(|left| left.name.starts_with(FRONT));
    let failed: Vec<_> = failed.collect();
    let measures = measures(report);
    let measures = measures.iter().filter(|(_, _, of)| of.len() > 1);
    let measures = measures.map(measure).collect::<Result<Vec<_>>>()?;
    Ok(Some(html! {
        p.note {
            "Each workload on every allocator, in the order of their means. "
            span.mark.(THEIR_COLOUR.class()) { (Shape::Disc.sign()) } "mean behind the lock that it ships with, or bare; "
            span.mark.(THEIR_COLOUR.class()) { (Shape::Ring.sign()) } "mean behind the kernel's interrupt-safe lock; "
            span.mark.(THEIR_COLOUR.class()) { (Shape::Triangle.sign()) } "largest sample. "
            span.mark.(OUR_COLOUR.class()) { (Shape::Disc.sign()) } (OURS) " is ours."
        }
        @for (index, Family { name, about, charts }) in families.iter().enumerate() {
            details.family open[index < OPEN] data-row={ (FRONT) (name) } {
                summary { code { (name) } }
                div id={ "beside-" (anchor(name)) } {
                    @if !about.is_empty() { p { (about) } }
                    div.charts.pairs { @for chart in charts { (chart) } }
                }
            }
        }
        @if !failed.is_empty() {
            h3 { "Failed, or left out" }
            dl.facts.long { @for left in &failed { div { dt { code { (left.name) } } dd { (left.why) } } } }
        }
        @for table in line_up::tables(report) { (tables::plain(&table)) }
        @if !measures.is_empty() { div.charts.pairs { @for measure in &measures { (measure) } } }
    }))
}

fn latency(workload: &str, rows: &[(&str, &Row)], unit: &str) -> Result<Markup> {
    let lines = lines(rows);
    let label = format!("{workload}: mean and largest cost by allocator, {unit}");
    let svg = chart(&lines, unit, label)?;
    Ok(html! {
        figure {
            figcaption { code { (workload) } }
            (svg)
        }
    })
}

/// Bars of a figure that is no latency.
fn measure((name, unit, of): &Measure<'_>) -> Result<Markup> {
    let mut of = of.clone();
    of.sort_by(|(name, a), (other, b)| b.cmp(a).then(name.cmp(other)));
    let most = of.first().map_or(0, |(_, value)| *value);
    let plot = Plot {
        height: 46 + 18 * u32::try_from(of.len())?,
        x: Axis::linear(most as f64, 1.3),
        x_name: (*unit).to_owned(),
        y: Axis::names(of.iter().map(|(allocator, _)| *allocator)),
        y_name: String::new(),
        label: format!("{name} by allocator, {unit}"),
    };
    let svg = plot.draw(|canvas| {
        for (index, (allocator, value)) in of.iter().enumerate() {
            let (value, middle) = (*value as f64, -(index as f64));
            let colour = if *allocator == OURS {
                OUR_COLOUR
            } else {
                THEIR_COLOUR
            };
            canvas.area([(0.0, middle + 0.32), (value, middle - 0.32)], colour)?;
            canvas.note((value, middle), grouped(of[index].1))?;
        }
        Ok(())
    })?;
    Ok(html! { figure { figcaption { code { (name) } ", " (unit) } (svg) } })
}

/// Linux's figures beside ours.
///
/// # Errors
///
/// If the reference is malformed, or as from the library that draws.
pub(super) fn linux(report: &Report) -> Result<Option<Markup>> {
    let linux = Reference::linux()?;
    let row = |family: &str, of: &str| {
        let name = format!("{family}/{of}");
        report.rows.iter().find(|row| row.name == name)
    };
    let mut pairs = Vec::new();
    for line in &linux.rows {
        if let (Some(alloc), Some(free)) = (row(&line.family, "alloc"), row(&line.family, "free")) {
            pairs.push((line, alloc, free));
        }
    }
    if pairs.is_empty() {
        return Ok(None);
    }
    let (mut means, mut maxima) = (Vec::new(), Vec::new());
    for (line, alloc, free) in &pairs {
        for (ours, lean, fast) in [
            (alloc, line.lean.alloc, line.fast.alloc),
            (free, line.lean.free, line.fast.free),
        ] {
            means.extend(compared(
                &ours.name,
                ours.mean,
                [lean, fast].map(|of| of.mean),
            ));
            maxima.extend(compared(
                &ours.name,
                ours.max as f64,
                [lean, fast].map(|of| of.max),
            ));
        }
        let both = format!("{} pair", line.family);
        means.extend(compared(
            &both,
            alloc.mean + free.mean,
            [line.lean.pair, line.fast.pair],
        ));
    }
    let charts = [("Means", means), ("Largest samples", maxima)];
    let charts = charts
        .iter()
        .filter(|(_, lines)| !lines.is_empty())
        .map(|(what, lines)| {
            let label = format!("{what} beside Linux's, {}", report.unit);
            Ok(html! { figure { figcaption { (what) } (chart(lines, &report.unit, label)?) } })
        });
    let charts = charts.collect::<Result<Vec<_>>>()?;
    Ok(Some(html! {
        p.note {
            b { "Reference, not rerun: " } (linux.kernel) ". "
            span.mark.(OUR_COLOUR.class()) { (Shape::Disc.sign()) } "ours; "
            span.mark.(OUR_COLOUR.class()) { (LEAN.sign()) } "Linux lean: " (linux.lean) "; "
            span.mark.(OUR_COLOUR.class()) { (FAST.sign()) } "Linux fast: " (linux.fast) ". "
            "Linux's figures include " (linux.includes) "."
        }
        div.charts.pairs { @for chart in &charts { (chart) } }
        div.scroll { table.values {
            thead { tr {
                th { "row, alloc / free" } th { "ours, mean" } th { "p99" } th { "max" }
                th { "Linux fast" } th { "Linux lean" }
            } }
            tbody { @for (line, alloc, free) in &pairs {
                tr {
                    th scope="row" { a href={ "#" (anchor(&line.family)) } { (line.family) } span.fact { " " (line.about.replace('`', "")) } }
                    td { (reference::mean(alloc)) " / " (reference::mean(free)) }
                    td { (grouped(alloc.p99)) " / " (grouped(free.p99)) }
                    td { (grouped(alloc.max)) " / " (grouped(free.max)) }
                    td { (line.fast.text()) }
                    td { (line.lean.text()) }
                }
            } }
        } }
    }))
}

/// Ours and Linux's, if there are any of the latter.
fn compared(name: &str, ours: f64, linux: [Option<u64>; 2]) -> Option<Line> {
    let shapes = [LEAN, FAST];
    let theirs = linux.into_iter().zip(shapes);
    let theirs = theirs.filter_map(|(cost, shape)| Some((cost? as f64, shape)));
    let marks: Vec<_> = theirs.chain([(ours, Shape::Disc)]).collect();
    let name = name.to_owned();
    let colour = OUR_COLOUR;
    (marks.len() > 1).then_some(Line {
        name,
        colour,
        marks,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::*;

    #[test]
    fn allocators_are_ranked_and_their_locks_share_a_line() {
        let rows = [
            row("peer/talc/hot-64/alloc", &[(70, 1)]),
            row("peer/talc+irq/hot-64/alloc", &[(80, 1)]),
            row("peer/tessera/hot-64/alloc", &[(20, 9), (500, 1)]),
        ];
        let report = Report {
            rows: rows.to_vec(),
            ..Report::default()
        };
        let workloads = workloads(&report);
        assert_eq!(workloads.len(), 1);
        let lines = lines(&workloads[0].1);
        let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
        assert_eq!(names, ["tessera", "talc"]);
        assert_eq!(
            lines[0].marks,
            [(68.0, Shape::Disc), (500.0, Shape::Triangle)]
        );
        assert_eq!(lines[1].marks.last(), Some(&(80.0, Shape::Ring)));
        assert_ne!(lines[0].colour, lines[1].colour);
    }

    #[test]
    fn a_figure_of_ours_is_found_without_a_front() {
        let value = |name: &str, value| Value {
            name: name.into(),
            value,
            unit: "per mille".into(),
        };
        let report = Report {
            values: vec![value("used/ratio", 909), value("peer/talc/used/ratio", 970)],
            ..Report::default()
        };
        let expected = vec![("talc", 970), (OURS, 909)];
        assert_eq!(measures(&report), [("used/ratio", "per mille", expected)]);
    }
}
