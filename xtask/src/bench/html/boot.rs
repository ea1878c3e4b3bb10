//! Boot by phase: one bar a phase, for each size of machine that was booted.

use super::axis::Axis;
use super::plot::{Colour, Plot};
use crate::bench::format::grouped;
use crate::bench::report::{Report, Row};
use anyhow::Result;
use maud::{Markup, html};

/// How the names of the rows begin.
const FRONT: &str = "boot/";
/// The row that is the sum of the others.
const TOTAL: &str = "total";

/// A machine's size, if others were booted too, and its rows' phases.
type Boot<'r> = (&'r str, Vec<(&'r str, &'r Row)>);

/// The boots in `report`, each with its phases in their order.
fn boots(report: &Report) -> Vec<Boot<'_>> {
    let mut boots: Vec<Boot<'_>> = Vec::new();
    for row in &report.rows {
        let Some(rest) = row.name.strip_prefix(FRONT) else {
            continue;
        };
        let (size, phase) = rest.rsplit_once('/').unwrap_or(("", rest));
        match boots.iter_mut().find(|(other, _)| *other == size) {
            Some((_, phases)) => phases.push((phase, row)),
            None => boots.push((size, vec![(phase, row)])),
        }
    }
    boots
}

/// The bars of every boot.
///
/// # Errors
///
/// As from the library that draws.
pub(super) fn draw(report: &Report) -> Result<Option<Markup>> {
    let boots = boots(report);
    if boots.is_empty() {
        return Ok(None);
    }
    let charts = boots.iter().map(|boot| chart(boot, &report.unit));
    let charts = charts.collect::<Result<Vec<_>>>()?;
    Ok(Some(
        html! { div.charts { @for chart in charts { (chart) } } },
    ))
}

fn chart((size, rows): &Boot<'_>, unit: &str) -> Result<Markup> {
    let total = rows.iter().find(|(phase, _)| *phase == TOTAL);
    let phases: Vec<_> = rows.iter().filter(|(phase, _)| *phase != TOTAL).collect();
    let phases = if phases.is_empty() {
        rows.iter().collect()
    } else {
        phases
    };
    let most = phases.iter().map(|(_, row)| row.max).max().unwrap_or(0);
    let on = if size.is_empty() {
        String::new()
    } else {
        format!(" with {size}")
    };
    let plot = Plot {
        height: 46 + 22 * u32::try_from(phases.len())?,
        // Behind the longest bar stands its figure.
        x: Axis::linear(most as f64, 1.3),
        x_name: unit.to_owned(),
        y: Axis::names(phases.iter().map(|(phase, _)| *phase)),
        y_name: String::new(),
        label: format!("Boot{on} by phase, {unit}"),
    };
    let svg = plot.draw(|canvas| {
        for (index, (_, row)) in phases.iter().enumerate() {
            let (cost, middle) = (row.max as f64, -(index as f64));
            canvas.area([(0.0, middle + 0.32), (cost, middle - 0.32)], Colour::of(0))?;
            canvas.note((cost, middle), grouped(row.max))?;
        }
        Ok(())
    })?;
    Ok(html! {
        figure {
            figcaption {
                "Boot" (on)
                @if let Some((_, row)) = total { ": " b { (grouped(row.max)) } " " (unit) " in all" }
            }
            (svg)
        }
    })
}
