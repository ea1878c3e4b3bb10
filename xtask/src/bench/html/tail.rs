//! The tail by path: of the samples between two percentiles, which path took how many.
//!
//! Samples are ranked by their cost. Those of one bucket cannot be ranked among themselves; where a
//! percentile falls inside of one, its paths are on both sides in equal shares.

use super::axis::Axis;
use super::percent;
use super::plot::{Colour, Plot};
use crate::bench::report::{Path, Row};
use anyhow::Result;
use maud::{Markup, html};
use std::collections::BTreeMap;

/// What lies between two percentiles: a name, and the end in thousandths.
const BANDS: [(&str, u64); 5] = [
    ("to p50", 500),
    ("to p90", 900),
    ("to p99", 990),
    ("to p99.9", 999),
    ("to max", 1000),
];
/// What a segment must have of the width to bear a letter.
const LETTERED: f64 = 0.06;
/// Paths that have a colour and a letter of their own; the others share one.
const SHOWN: usize = 7;
/// The letters.
const LETTERS: &str = "ABCDEFG";

/// Samples of a path by band.
type Bands = [f64; BANDS.len()];

/// The samples of each of a row's paths by band, in the order of the paths.
fn bands(paths: &[Path]) -> Vec<Bands> {
    let mut buckets: BTreeMap<u64, Vec<(usize, u64)>> = BTreeMap::new();
    for (index, path) in paths.iter().enumerate() {
        for &(lowest, count) in &path.histogram {
            buckets.entry(lowest).or_default().push((index, count));
        }
    }
    let n: u64 = paths.iter().map(|path| path.n).sum();
    let ends = BANDS.map(|(_, per_mille)| (n * per_mille).div_ceil(1000));
    let mut found = vec![[0.0; BANDS.len()]; paths.len()];
    let mut below = 0;
    for counts in buckets.values() {
        let all: u64 = counts.iter().map(|(_, count)| count).sum();
        let mut start = 0;
        for (band, &end) in ends.iter().enumerate() {
            let inside = end.min(below + all).saturating_sub(start.max(below));
            for &(path, count) in counts {
                found[path][band] += inside as f64 * count as f64 / all as f64;
            }
            start = end;
        }
        below += all;
    }
    found
}

/// One line of the key: its letter and colour, a path, and its samples by band.
struct Part {
    letter: String,
    colour: Colour,
    name: String,
    n: u64,
    bands: Bands,
}

/// The paths that are shown, those that have most of the far tail first, and the others together.
fn parts(row: &Row) -> Vec<Part> {
    let mut all: Vec<(&Path, Bands)> = row.paths.iter().zip(bands(&row.paths)).collect();
    let totals: Bands = std::array::from_fn(|band| all.iter().map(|(_, of)| of[band]).sum());
    // A path counts by the most that it has of any band: the hits have the first, others the last.
    let weight = |of: &Bands| {
        let shares = of.iter().zip(totals);
        shares.fold(0.0, |most: f64, (of, total)| most.max(of / total.max(1.0)))
    };
    all.sort_by(|(a, x), (b, y)| {
        let by_weight = weight(y).total_cmp(&weight(x));
        by_weight.then(b.n.cmp(&a.n)).then(a.path.cmp(&b.path))
    });
    let rest = all.split_off(all.len().min(SHOWN));
    let letters = LETTERS.chars().enumerate();
    let parts = all.into_iter().zip(letters);
    let mut parts: Vec<Part> = parts
        .map(|((path, bands), (index, letter))| Part {
            letter: letter.to_string(),
            colour: Colour::of(index),
            name: path.path.clone(),
            n: path.n,
            bands,
        })
        .collect();
    if !rest.is_empty() {
        parts.push(Part {
            letter: "…".to_owned(),
            colour: Colour::REST,
            name: format!("{} other paths", rest.len()),
            n: rest.iter().map(|(path, _)| path.n).sum(),
            bands: std::array::from_fn(|band| rest.iter().map(|(_, of)| of[band]).sum()),
        });
    }
    parts
}

/// The chart and its key, which has the figures; nothing where all samples took the same path.
///
/// # Errors
///
/// As from the library that draws.
pub(super) fn draw(row: &Row) -> Result<Option<Markup>> {
    if row.paths.len() < 2 {
        return Ok(None);
    }
    let parts = parts(row);
    let totals: Bands = std::array::from_fn(|band| parts.iter().map(|part| part.bands[band]).sum());
    let plot = Plot {
        height: 150,
        x: Axis::shares(),
        x_name: String::new(),
        y: Axis::names(BANDS.iter().map(|(name, _)| *name)),
        y_name: String::new(),
        label: format!("{}: share of each path between percentiles", row.name),
    };
    let chart = plot.draw(|canvas| {
        for (band, total) in totals.into_iter().enumerate() {
            let mut from = 0.0;
            for part in parts.iter().filter(|part| part.bands[band] > 0.0) {
                let share = part.bands[band] / total;
                let (left, right) = (from * 100.0, (from + share) * 100.0);
                let middle = -(band as f64);
                canvas.area([(left, middle + 0.36), (right, middle - 0.36)], part.colour)?;
                if share >= LETTERED {
                    canvas.word(
                        (f64::midpoint(left, right), middle),
                        part.letter.clone(),
                        part.colour,
                    )?;
                }
                from += share;
            }
        }
        Ok(())
    })?;
    Ok(Some(html! {
        figure.wide {
            figcaption { "Tail of " code { (row.name) } " by path: share of the samples between percentiles" }
            (chart)
            (key(&parts, &totals))
        }
    }))
}

fn key(parts: &[Part], totals: &Bands) -> Markup {
    html! {
        div.scroll {
            table.key {
                thead { tr {
                    th { "path" }
                    th { "samples" }
                    @for (name, _) in BANDS { th { (name) } }
                } }
                tbody {
                    @for part in parts {
                        tr {
                            th scope="row" {
                                span.letter.(part.colour.class()) { (part.letter) }
                                (part.name)
                            }
                            td { (crate::bench::format::grouped(part.n)) }
                            @for (of, total) in part.bands.iter().zip(totals) {
                                td { @if *of > 0.0 { (percent(of / total)) } @else { "–" } }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str, histogram: &[(u64, u64)]) -> Path {
        Path {
            path: name.into(),
            n: histogram.iter().map(|(_, count)| count).sum(),
            histogram: histogram.to_vec(),
            ..Path::default()
        }
    }

    #[test]
    fn samples_fall_between_the_percentiles_of_their_rank() {
        let paths = [
            path("hit", &[(20, 980)]),
            path("refill", &[(400, 19), (900, 1)]),
        ];
        let found = bands(&paths);
        assert_eq!(found[0], [500.0, 400.0, 80.0, 0.0, 0.0]);
        assert_eq!(found[1], [0.0, 0.0, 10.0, 9.0, 1.0]);
    }

    #[test]
    fn a_bucket_across_a_percentile_is_on_both_sides() {
        let found = bands(&[path("a", &[(20, 75)]), path("b", &[(20, 25)])]);
        assert_eq!(found[0][..3], [37.5, 30.0, 6.75]);
        assert_eq!(found[1][..3], [12.5, 10.0, 2.25]);
    }

    #[test]
    fn many_paths_keep_those_of_the_far_tail() {
        let names: Vec<String> = (0..12).map(|index| format!("path {index}")).collect();
        let mut paths: Vec<Path> = vec![path("hit", &[(20, 100_000)])];
        let rare = |(index, name): (usize, &String)| path(name, &[(100 + index as u64, 2)]);
        paths.extend(names.iter().enumerate().map(rare));
        paths.push(path("worst", &[(900, 300)]));
        let row = Row {
            paths,
            ..Row::default()
        };
        let parts = parts(&row);
        assert_eq!(parts.len(), SHOWN + 1);
        let names: Vec<&str> = parts[..2].iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names, ["hit", "worst"]);
        assert_eq!(parts[SHOWN].name, "7 other paths");
        let all: f64 = parts.iter().flat_map(|part| part.bands).sum();
        assert!((all - 100_324.0).abs() < 1e-6);
    }
}
