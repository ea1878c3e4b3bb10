//! Memory while traces were replayed, and physical memory before and after churn.

use super::axis::Axis;
use super::percent;
use super::plot::{Colour, HEIGHT, Plot, Shape};
use crate::bench::format::grouped;
use crate::bench::report::{Map, Report, Timeline};
use anyhow::Result;
use maud::{Markup, html};
use wire::bench::{Holder, MIGRATE_TYPES};

/// Bytes of a page frame.
const FRAME: u64 = 4096;
/// Blocks in a line of a map.
const COLUMNS: usize = 64;
/// Units of a chart's height that a line of blocks takes: 8 for them, 2 for their types, 1 for nothing.
const LINE: u32 = 11;
/// Where the blocks end, and where their types do, below the line's beginning.
const ENDS: [f64; 2] = [8.0 / LINE as f64, 10.0 / LINE as f64];
/// What the axis of scattered memory reaches at least, in per cent: less is next to nothing.
const LEAST_SHARE: f64 = 10.0;
/// Lines of a map between two addresses.
const ADDRESS_EACH: usize = 4;
/// Shades of a block: how much of it is held, in quarters.
const SHADES: u32 = 4;

/// Every replay: live bytes, and how scattered free memory is.
///
/// # Errors
///
/// As from the library that draws.
pub(super) fn timelines(report: &Report) -> Result<Option<Markup>> {
    let charts = report.timelines.iter().map(timeline);
    let charts = charts.collect::<Result<Vec<_>>>()?;
    let body = html! {
        p.note {
            "Asked for is what the program had allocated and not freed; held is the page frames that the "
            "allocators had for it. Free memory counts as scattered where it lies in blocks below 2 MiB."
        }
        div.charts.pairs { @for chart in &charts { (chart) } }
    };
    Ok((!charts.is_empty()).then_some(body))
}

fn timeline(timeline: &Timeline) -> Result<Markup> {
    let Timeline { name, points } = timeline;
    let events = points.iter().map(|point| point.0).max().unwrap_or(1);
    let most = points
        .iter()
        .map(|point| point.1.max(point.2))
        .max()
        .unwrap_or(1);
    let (unit, bytes) = if most < 4 << 20 {
        ("KiB", 1 << 10)
    } else {
        ("MiB", 1 << 20)
    };
    let scale = f64::from(bytes);
    let x = Axis::linear(events as f64, 1.04);
    let scattered_most = points.iter().map(|point| point.3 as f64 / 10.0);
    let scattered_most = scattered_most.fold(0.0, f64::max);
    let live = Plot {
        height: HEIGHT,
        x: x.clone(),
        x_name: "events of the trace".to_owned(),
        y: Axis::linear(most as f64 / scale, 1.04),
        y_name: unit.to_owned(),
        label: format!("{name}: bytes asked for and held over the trace, {unit}"),
    };
    let scattered = Plot {
        height: HEIGHT,
        x,
        x_name: "events of the trace".to_owned(),
        y: Axis::linear(scattered_most.max(LEAST_SHARE), 1.04),
        y_name: "% of free memory".to_owned(),
        label: format!("{name}: share of free memory in blocks below 2 MiB over the trace"),
    };
    let line = |plot: &Plot, of: fn(&(u64, u64, u64, u64)) -> u64, scale: f64| {
        let points = points
            .iter()
            .map(|point| (point.0 as f64, of(point) as f64 / scale));
        points.map(|point| plot.snap(point)).collect::<Vec<_>>()
    };
    let series = [
        ("asked for", line(&live, |point| point.1, scale)),
        ("held", line(&live, |point| point.2, scale)),
    ];
    let first = live.draw(|canvas| {
        for (index, (_, points)) in series.iter().enumerate() {
            canvas.line(points.clone(), Colour::of(index))?;
            if let Some(end) = points.last() {
                canvas.mark(*end, Shape::of(index), Colour::of(index))?;
            }
        }
        Ok(())
    })?;
    // Thousandths as parts of a hundred.
    let second = scattered
        .draw(|canvas| canvas.line(line(&scattered, |point| point.3, 10.0), Colour::of(2)))?;
    let peak =
        |of: fn(&(u64, u64, u64, u64)) -> u64| grouped(points.iter().map(of).max().unwrap_or(0));
    Ok(html! {
        figure {
            figcaption {
                code { (name) } ": live bytes, "
                @for (index, (what, _)) in series.iter().enumerate() {
                    span.mark.(Colour::of(index).class()) { (Shape::of(index).sign()) } (what) " "
                }
                "(at most " (peak(|point| point.1)) " and " (peak(|point| point.2)) " bytes)"
            }
            (first)
        }
        figure {
            figcaption { code { (name) } ": share of free memory that is scattered" }
            (second)
        }
    })
}

/// Every map, those of one workload side by side, with what they show in figures.
///
/// # Errors
///
/// As from the library that draws.
pub(super) fn maps(report: &Report) -> Result<Option<Markup>> {
    let family = |map: &Map| {
        map.name
            .rsplit_once('/')
            .map(|(family, _)| family.to_owned())
    };
    let mut groups = Vec::new();
    for maps in report.maps.chunk_by(|a, b| family(a) == family(b)) {
        let drawn = maps.iter().map(map).collect::<Result<Vec<_>>>()?;
        groups.push((maps, drawn));
    }
    let body = html! {
        p.note {
            "Physical memory from the lowest address, line by line. A block's colour is who has the most of "
            "it, its strength how much of it is held; the line below it is its pageblock's migrate type. "
            "What the harness takes away, so that a row has its own memory alone, counts as pages."
        }
        p.legend {
            @for holder in Holder::ALL {
                span { span.letter.(holder_colour(holder).class()) { (initial(holder.name())) } (holder.name()) }
            }
            @for (index, name) in MIGRATE_TYPES.iter().enumerate() {
                span { span.letter.strip.(type_colour(index).class()) {} (name) }
            }
        }
        @for (maps, drawn) in &groups {
            div.charts.pairs.maps { @for map in drawn { (map) } }
            (summary(maps))
        }
    };
    Ok((!report.maps.is_empty()).then_some(body))
}

fn initial(name: &str) -> String {
    name.chars().take(1).flat_map(char::to_uppercase).collect()
}

fn holder_colour(holder: Holder) -> Colour {
    match holder {
        Holder::Reserved => Colour::REST,
        Holder::Free => Colour::GRID,
        Holder::Pages => Colour::of(0),
        Holder::Slab => Colour::of(1),
    }
}

/// The colour of the migrate type number `index`.
fn type_colour(index: usize) -> Colour {
    [Colour::of(4), Colour::of(2), Colour::of(3), Colour::of(6)]
        .get(index)
        .copied()
        .unwrap_or(Colour::REST)
}

/// One map.
fn map(map: &Map) -> Result<Markup> {
    let Map {
        name,
        first,
        frames,
        blocks,
    } = map;
    let lines = blocks.len().div_ceil(COLUMNS);
    let line_bytes = u64::from(*frames) * FRAME * COLUMNS as u64;
    let addresses = (0..lines).step_by(ADDRESS_EACH).map(|line| {
        let address = first * FRAME + line as u64 * line_bytes;
        (-(line as f64), format!("{} MiB", address >> 20))
    });
    let plot = Plot {
        height: 10 + LINE * u32::try_from(lines)?,
        x: Axis::places(Vec::new(), 0.0..COLUMNS as f64),
        x_name: String::new(),
        y: Axis::places(addresses.collect(), 0.5 - lines as f64..0.5),
        y_name: String::new(),
        label: format!(
            "{name}: map of physical memory, {} blocks of {frames} frames",
            blocks.len()
        ),
    };
    let svg = plot.draw(|canvas| {
        for (line, blocks) in blocks.chunks(COLUMNS).enumerate() {
            let top = 0.5 - line as f64;
            runs(
                blocks,
                |block| shade(block, *frames),
                |from, to, (holder, strength)| {
                    let corners = [(from, top), (to, top - ENDS[0])];
                    canvas.shade(corners, holder_colour(holder), strength)
                },
            )?;
            runs(
                blocks,
                |block| block.1,
                |from, to, kind| {
                    let corners = [(from, top - ENDS[0]), (to, top - ENDS[1])];
                    canvas.area(corners, type_colour(usize::from(kind)))
                },
            )?;
        }
        Ok(())
    })?;
    let (of, when) = name.rsplit_once('/').unwrap_or((name, ""));
    Ok(html! {
        figure {
            figcaption { code { (of) }  @if !when.is_empty() { ", " b { (when) } } ": blocks of " ((u64::from(*frames) * FRAME) >> 10) " KiB, " (line_bytes >> 20) " MiB a line" }
            (svg)
        }
    })
}

/// A block as the map holds it.
type Block = (u8, u8, u8);

/// Who has a block, and how much of it is held, in quarters.
fn shade(&(holder, _, free): &Block, frames: u32) -> (Holder, u32) {
    let holder = Holder::ALL
        .get(usize::from(holder))
        .copied()
        .unwrap_or(Holder::Reserved);
    let held = frames.saturating_sub(u32::from(free));
    let strength = match holder {
        Holder::Reserved | Holder::Free => SHADES,
        _ => (held * SHADES).div_ceil(frames.max(1)).clamp(1, SHADES),
    };
    (holder, strength)
}

/// Draws neighbours that look the same as one.
fn runs<T: PartialEq>(
    blocks: &[Block],
    look: impl Fn(&Block) -> T,
    mut draw: impl FnMut(f64, f64, T) -> Result<()>,
) -> Result<()> {
    let mut from = 0;
    for run in blocks.chunk_by(|a, b| look(a) == look(b)) {
        let to = from + run.len();
        draw(from as f64, to as f64, look(&run[0]))?;
        from = to;
    }
    Ok(())
}

/// What the maps of one workload show, in figures.
fn summary(maps: &[Map]) -> Markup {
    let of = |map: &Map, wanted: &dyn Fn(&Block) -> bool| {
        map.blocks.iter().filter(|block| wanted(block)).count() as u64
    };
    let free = |map: &Map| -> u64 { map.blocks.iter().map(|block| u64::from(block.2)).sum() };
    html! {
        div.scroll { table.values {
            thead { tr {
                th { "blocks" }
                @for holder in Holder::ALL { th { (holder.name()) } }
                @for name in MIGRATE_TYPES { th { (name) } }
                th { "frames free" } th { "of all" }
            } }
            tbody { @for map in maps {
                tr {
                    th scope="row" { (map.name) }
                    @for holder in Holder::ALL { td { (grouped(of(map, &|block| block.0 == holder as u8))) } }
                    @for kind in 0..MIGRATE_TYPES.len() { td { (grouped(of(map, &|block| usize::from(block.1) == kind))) } }
                    td { (grouped(free(map))) }
                    td { (percent(free(map) as f64 / (u64::from(map.frames) * map.blocks.len().max(1) as u64) as f64)) }
                }
            } }
        } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_neighbours_are_one_area_and_strength_is_what_is_held() {
        let blocks = [(2, 0, 0), (2, 1, 0), (2, 1, 48), (1, 1, 64), (3, 0, 63)];
        let mut found = Vec::new();
        let look = |block: &Block| shade(block, 64);
        runs(&blocks, look, |from, to, look| {
            found.push((from, to, look));
            Ok(())
        })
        .unwrap();
        let expected = [
            (0.0, 2.0, (Holder::Pages, 4)),
            (2.0, 3.0, (Holder::Pages, 1)),
            (3.0, 4.0, (Holder::Free, 4)),
            (4.0, 5.0, (Holder::Slab, 1)),
        ];
        assert_eq!(found, expected);
    }
}
