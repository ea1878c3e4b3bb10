//! Axes: costs and counts on logarithmic scales, shares on linear ones, percentiles by their nines.
//!
//! The plotting library asks an axis where a value lies and which values deserve a label. Here the
//! values are positions already (a logarithm where the scale is logarithmic), and the labels are chosen
//! by hand, so that a narrow range has as many as a wide one.

use plotters::coord::ranged1d::{
    KeyPointHint, KeyPointWeight, NoDefaultFormatting, Ranged, ValueFormatter,
};
use std::ops::Range;

/// Most labels of a linear part of an axis.
const LABELS: f64 = 5.0;
/// Decades from which powers of ten are enough.
const WIDE: f64 = 2.5;
/// Decades from which 1, 2 and 5 of each are enough.
const MIDDLE: f64 = 0.95;

/// One axis.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    range: Range<f64>,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// A logarithmic one for values from `least` to `most`, with some room on both sides.
    pub(super) fn log(least: f64, most: f64) -> Self {
        let (low, high) = (log(least), log(most));
        let room = ((high - low) * 0.04).max(0.02);
        let range = low - room..high + room;
        let (from, to) = (10_f64.powf(range.start), 10_f64.powf(range.end));
        let decades = high - low;
        let ticks = if decades < MIDDLE {
            nice(from, to)
        } else if decades < WIDE {
            decimal(&[1.0, 2.0, 5.0], from, to)
        } else {
            decimal(&[1.0], from, to)
        };
        let ticks = ticks.into_iter().map(|at| (at.log10(), short(at)));
        Self {
            ticks: ticks.collect(),
            range,
        }
    }

    /// A logarithmic one for counts up to `most`, that gives one sample a height.
    pub(super) fn counts(most: u64) -> Self {
        let most = (most as f64).max(10.0);
        let powers = decimal(&[1.0], 1.0, most);
        let ticks = powers.into_iter().map(|at| (at.log10(), short(at)));
        Self {
            ticks: ticks.collect(),
            range: -0.3..log(most) + 0.1,
        }
    }

    /// A linear one from 0 to `most`, and on to `room` times that.
    pub(super) fn linear(most: f64, room: f64) -> Self {
        let most = most.max(f64::MIN_POSITIVE);
        let ticks = nice(0.0, most).into_iter().map(|at| (at, short(at)));
        Self {
            ticks: ticks.collect(),
            range: 0.0..most * room,
        }
    }

    /// Shares, 0 to 100 %.
    pub(super) fn shares() -> Self {
        let ticks = [0.0, 25.0, 50.0, 75.0, 100.0].map(|at| (at, format!("{at} %")));
        Self {
            ticks: ticks.into(),
            range: 0.0..100.0,
        }
    }

    /// Percentiles of up to `n` samples, each further nine as wide as the one before: [`nines`].
    pub(super) fn percentiles(n: u64) -> Self {
        let last = nines(n.saturating_sub(1), n).max(1.0);
        let names = [
            (0, 1, "0"),
            (1, 2, "p50"),
            (9, 10, "p90"),
            (99, 100, "p99"),
            (999, 1000, "p99.9"),
            (9999, 10_000, "p99.99"),
            (99_999, 100_000, "p99.999"),
        ];
        let ticks = names.map(|(below, of, name)| (nines(below, of), name.to_owned()));
        let ticks = ticks.into_iter().filter(|(at, _)| *at < last + 1e-9);
        Self {
            ticks: ticks.collect(),
            range: 0.0..last + 0.35,
        }
    }

    /// One line for each of `names`, the first on top.
    pub(super) fn names<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> Self {
        let count = names.len();
        let ticks = names.enumerate();
        let ticks = ticks.map(|(index, name)| (-(index as f64), name.to_owned()));
        Self {
            ticks: ticks.collect(),
            range: 0.5 - count as f64..0.5,
        }
    }

    /// A linear one with labels of the caller's.
    pub(super) fn places(ticks: Vec<(f64, String)>, range: Range<f64>) -> Self {
        Self { range, ticks }
    }

    /// Where the axis begins and ends.
    pub(super) fn ends(&self) -> (f64, f64) {
        (self.range.start, self.range.end)
    }

    /// `at` moved to the nearest of `steps` places, so that points that nobody could tell apart are one.
    pub(super) fn snap(&self, at: f64, steps: f64) -> f64 {
        let (start, end) = self.ends();
        let step = (end - start) / steps;
        start + ((at - start) / step).round() * step
    }

    /// The widest label, in characters.
    pub(super) fn label_width(&self) -> usize {
        let widths = self.ticks.iter().map(|(_, label)| label.chars().count());
        widths.max().unwrap_or(0)
    }
}

/// Where `value` lies on a logarithmic axis; 0 where 1 does.
pub(super) fn log(value: f64) -> f64 {
    value.max(1.0).log10()
}

/// Where the percentile that `below` of `n` samples make lies: 90 % at 1, 99 % at 2. All of them is one
/// half of a sample short of infinity.
pub(super) fn nines(below: u64, n: u64) -> f64 {
    let above = (n.saturating_sub(below) as f64).max(0.5);
    (n.max(1) as f64 / above).log10()
}

/// Multiples of `digits` by powers of ten in a range.
fn decimal(digits: &[f64], from: f64, to: f64) -> Vec<f64> {
    let powers = (0..20).map(|power| 10_f64.powi(power));
    let all = powers.flat_map(|power| digits.iter().map(move |digit| digit * power));
    all.filter(|at| (from..=to).contains(at)).collect()
}

/// Round numbers in a range at equal distances.
fn nice(from: f64, to: f64) -> Vec<f64> {
    let rough = (to - from) / LABELS;
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power);
    let step = steps.into_iter().find(|step| *step >= rough);
    // Half an instruction is none.
    let step = step.unwrap_or(power).max(1.0);
    let first = (from / step).ceil();
    let all = (0..20).map(|index| (first + f64::from(index)) * step);
    all.take_while(|at| *at <= to).collect()
}

/// A number in few characters: 20, 1.5k, 100k, 2M.
fn short(number: f64) -> String {
    let units = [(1e9, "G"), (1e6, "M"), (1e3, "k")];
    let unit = units.into_iter().find(|(unit, _)| number >= *unit);
    let (unit, name) = unit.unwrap_or((1.0, ""));
    // A thousandth is shown, what is none is not.
    let digits = (number / unit * 1000.0).round() / 1000.0;
    format!("{digits}{name}")
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    #[expect(clippy::cast_possible_truncation, reason = "pixels of a chart are few")]
    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let (start, end) = self.ends();
        let share = (value - start) / (end - start);
        from + (f64::from(to - from) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match hint.weight() {
            KeyPointWeight::Bold => self.ticks.iter().map(|(at, _)| *at).collect(),
            // There are no lighter lines between.
            KeyPointWeight::Any => Vec::new(),
        }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        let tick = self.ticks.iter().find(|(at, _)| at == value);
        tick.map(|(_, label)| label.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn narrow_and_wide_ranges_have_labels() {
        assert_eq!(labels(&Axis::log(17.0, 20.0)), ["17", "18", "19", "20"]);
        assert_eq!(
            labels(&Axis::log(20.0, 800.0)),
            ["20", "50", "100", "200", "500"]
        );
        let wide = ["100", "1k", "10k", "100k"];
        assert_eq!(labels(&Axis::log(20.0, 127_879.0)), wide);
        assert!(!labels(&Axis::log(7.0, 7.0)).is_empty());
        assert_eq!(labels(&Axis::linear(1_129_501.0, 1.0)), ["0", "500k", "1M"]);
    }

    #[test]
    fn each_nine_is_as_wide_as_the_one_before() {
        assert!((nines(90, 100) - 1.0).abs() < 1e-12);
        assert!((nines(999, 1000) - 3.0).abs() < 1e-12);
        let labels_of_a_thousand = ["0", "p50", "p90", "p99", "p99.9"];
        assert_eq!(labels(&Axis::percentiles(1000)), labels_of_a_thousand);
    }

    #[test]
    fn a_value_lies_where_its_share_of_the_range_is() {
        let axis = Axis::places(Vec::new(), 0.0..10.0);
        assert_eq!(axis.map(&2.5, (100, 300)), 150);
        assert_eq!(axis.map(&2.5, (300, 100)), 250);
        assert!((axis.snap(2.6, 10.0) - 3.0).abs() < 1e-12);
    }
}
