//! How a family's costs are distributed: a histogram of each operation, the percentiles of all, and the
//! tail by path.

use super::axis::{self, Axis};
use super::plot::{Colour, HEIGHT, Plot, Shape};
use super::{anchor, operation, tail};
use crate::bench::format::grouped;
use crate::bench::reference::{Costs, Figures, Line};
use crate::bench::report::Row;
use crate::bench::tail::amount;
use anyhow::Result;
use maud::{Markup, html};
use std::collections::BTreeMap;

/// What marks Linux at its best.
pub(super) const LEAN: Shape = Shape::Ring;
/// What marks Linux as Debian builds it.
pub(super) const FAST: Shape = Shape::Cross;
/// Bars of a histogram at most.
const BARS: f64 = 64.0;

/// One family: what a summary shows, and its charts.
///
/// # Errors
///
/// As from the library that draws.
pub(super) fn family(
    name: &str,
    rows: &[&Row],
    linux: Option<&Line>,
    unit: &str,
) -> Result<Markup> {
    let varied: Vec<&Row> = rows
        .iter()
        .copied()
        .filter(|row| row.min < row.max)
        .collect();
    let histograms = varied.iter().map(|row| histogram(row, unit));
    let histograms = histograms.collect::<Result<Vec<_>>>()?;
    let tails = varied.iter().map(|row| tail::draw(row));
    let tails = tails.collect::<Result<Vec<_>>>()?;
    let about = rows.first().map_or("", |row| row.about.as_str());
    Ok(html! {
        details.family data-row=(name) {
            summary {
                code { (name) }
                @for row in rows {
                    span.fact { (operation(&row.name)) " " b { (grouped(row.p50)) } " to " b { (grouped(row.max)) } }
                }
            }
            // Inside, so that a link to it unfolds what is around it.
            div id=(anchor(name)) {
                @if !about.is_empty() { p { (about) } }
                ul.facts { @for row in rows { li { (slowest(row, unit)) } } }
                @if !varied.is_empty() {
                    div.charts {
                        @for histogram in &histograms { (histogram) }
                        (percentiles(name, &varied, linux, unit)?)
                        @for tail in tails.iter().flatten() { (tail) }
                    }
                }
            }
        }
    })
}

/// A row's range in a sentence.
fn slowest(row: &Row, unit: &str) -> Markup {
    let Row {
        n,
        min,
        max,
        slowest,
        ..
    } = row;
    html! {
        code { (operation(&row.name)) } ": "
        @if min == max {
            @if *n == 1 { "one sample, " } @else { "all " (grouped(*n)) " samples " }
            "cost " b { (grouped(*max)) } " " (unit)
            @if let [path] = row.paths.as_slice() { @if *n > 1 || path.path != "hit" { ", by " em { (path.path) } } }
            "."
        } @else {
            (grouped(*n)) " samples from " b { (grouped(*min)) } " to " b { (grouped(*max)) } " " (unit)
            "; the slowest is operation " (grouped(slowest.operation))
            " (" (amount(row)) "), by " em { (slowest.path) } "."
        }
    }
}

/// Samples by cost, both on logarithmic axes.
fn histogram(row: &Row, unit: &str) -> Result<Markup> {
    let x = Axis::log(row.min as f64, row.max as f64);
    let mut bars: BTreeMap<i64, (f64, u64)> = BTreeMap::new();
    let (start, end) = x.ends();
    let width = (end - start) / BARS;
    for (lowest, count) in row.histogram().buckets() {
        let bar = x.snap(axis::log(lowest as f64), BARS);
        #[expect(clippy::cast_possible_truncation, reason = "one of few bars")]
        let index = ((bar - start) / width).round() as i64;
        bars.entry(index).or_insert((bar, 0)).1 += count;
    }
    let most = bars.values().map(|(_, count)| *count).max().unwrap_or(0);
    let plot = Plot {
        height: HEIGHT,
        y: Axis::counts(most),
        y_name: "samples".to_owned(),
        x,
        x_name: format!("cost, {unit}"),
        label: format!(
            "{}: histogram of {} samples from {} to {} {unit}",
            row.name,
            grouped(row.n),
            grouped(row.min),
            grouped(row.max)
        ),
    };
    let floor = plot.y.ends().0;
    let chart = plot.draw(|canvas| {
        for &(at, count) in bars.values() {
            let corners = [
                (at - width / 2.0, axis::log(count as f64)),
                (at + width / 2.0, floor),
            ];
            canvas.area(corners, Colour::of(0))?;
        }
        Ok(())
    })?;
    Ok(html! {
        figure {
            figcaption { "Histogram of " code { (row.name) } }
            (chart)
        }
    })
}

/// Cost by percentile of each row, each nine as wide as the one before.
fn percentiles(name: &str, rows: &[&Row], linux: Option<&Line>, unit: &str) -> Result<Markup> {
    let theirs = linux.map_or_else(Vec::new, |line| {
        let rows = rows.iter().enumerate();
        rows.flat_map(|(index, row)| published(line, row, index))
            .collect()
    });
    let costs = rows.iter().flat_map(|row| [row.min, row.max]);
    let costs = costs
        .map(|cost| axis::log(cost as f64))
        .chain(theirs.iter().map(|mark| mark.0.1));
    let costs: Vec<f64> = costs.map(|cost| 10_f64.powf(cost)).collect();
    let least = costs.iter().copied().fold(f64::INFINITY, f64::min);
    let most = costs.iter().copied().fold(1.0, f64::max);
    let n = rows.iter().map(|row| row.n).max().unwrap_or(1);
    let plot = Plot {
        height: HEIGHT,
        x: Axis::percentiles(n),
        x_name: "percentile".to_owned(),
        y: Axis::log(least, most),
        y_name: format!("cost, {unit}"),
        label: format!("{name}: cost by percentile, {unit}"),
    };
    let chart = plot.draw(|canvas| {
        for (index, row) in rows.iter().enumerate() {
            canvas.line(curve(row, &plot), Colour::of(index))?;
            let end = (axis::nines(row.n, row.n), axis::log(row.max as f64));
            canvas.mark(end, Shape::of(index), Colour::of(index))?;
        }
        for &(at, shape, colour) in &theirs {
            canvas.mark(at, shape, colour)?;
        }
        Ok(())
    })?;
    Ok(html! {
        figure {
            figcaption {
                "Percentiles of " code { (name) } ": "
                @for (index, row) in rows.iter().enumerate() {
                    span.mark.(Colour::of(index).class()) { (Shape::of(index).sign()) }
                    (operation(&row.name)) " "
                }
                @if !theirs.is_empty() {
                    "; reference, not rerun: "
                    span.mark { (LEAN.sign()) } "Linux lean " span.mark { (FAST.sign()) } "Linux fast"
                }
            }
            (chart)
        }
    })
}

/// A mark of the reference: where, its shape, its colour.
type Mark = ((f64, f64), Shape, Colour);

/// Linux's percentiles of the operation that `row` has, which is drawn as the one at `index`.
fn published(line: &Line, row: &Row, index: usize) -> Vec<Mark> {
    let of = |figures: &Figures| match operation(&row.name) {
        "alloc" => figures.alloc,
        "free" => figures.free,
        _ => Costs::default(),
    };
    let kernels = [(of(&line.lean), LEAN), (of(&line.fast), FAST)];
    let marks = kernels.into_iter().flat_map(|(costs, shape)| {
        let marks = costs.percentiles();
        marks.map(move |(per_mille, cost)| {
            let below = (row.n * per_mille).div_ceil(1000);
            let at = (axis::nines(below, row.n), axis::log(cost as f64));
            (at, shape, Colour::of(index))
        })
    });
    marks.collect()
}

/// The steps of a row's percentiles, points that fall on the same pixel once.
fn curve(row: &Row, plot: &Plot) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    let mut below = 0;
    for (lowest, count) in row.histogram().buckets() {
        // A bucket's lowest value may lie below the smallest sample in it.
        let cost = axis::log(lowest.clamp(row.min, row.max) as f64);
        for through in [below, below + count] {
            let (x, y) = plot.snap((axis::nines(through, row.n), cost));
            // What goes on in the same direction needs one point only.
            let goes_on =
                |a: (f64, f64), b: (f64, f64)| (a.0 == b.0 && b.0 == x) || (a.1 == b.1 && b.1 == y);
            if let [.., a, b] = points[..]
                && goes_on(a, b)
            {
                points.pop();
            }
            points.push((x, y));
        }
        below += count;
    }
    points
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::*;

    #[test]
    fn a_curve_begins_at_the_smallest_and_ends_at_the_largest_sample() {
        let row = row("x/alloc", &[(20, 980), (400, 19), (900, 1)]);
        let plot = Plot {
            height: HEIGHT,
            x: Axis::percentiles(row.n),
            x_name: String::new(),
            y: Axis::log(row.min as f64, row.max as f64),
            y_name: String::new(),
            label: String::new(),
        };
        let points = curve(&row, &plot);
        let near = |a: f64, b: f64| (a - b).abs() < 0.02;
        let (first, last) = (points[0], points[points.len() - 1]);
        assert!(
            near(first.0, 0.0) && near(first.1, axis::log(20.0)),
            "{points:?}"
        );
        assert!(near(last.0, axis::nines(1000, 1000)) && near(last.1, axis::log(900.0)));
        assert_eq!(points.len(), 6, "{points:?}");
    }

    #[test]
    fn a_row_of_one_cost_is_a_sentence_and_no_chart() {
        let row = row("kmalloc/64/alloc", &[(20, 200)]);
        let text = family("kmalloc/64", &[&row], None, "instructions")
            .unwrap()
            .into_string();
        assert!(
            text.contains("all 200 samples cost <b>20</b> instructions"),
            "{text}"
        );
        assert!(!text.contains("<svg"));
    }
}
