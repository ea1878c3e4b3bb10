//! `bench --tiers`: what each checking tier costs, row by row, in extra instructions.
//!
//! The same rows are measured in an image of each tier that exists. A row that one of them leaves out has
//! no price.

use super::collect::CollectError;
use super::format::{Format, grouped};
use super::report::{Provenance, Report, Row};
use super::{Args, FAILED, build, load_traces, measure};
use crate::{console, setup};
use anyhow::{Result, bail, ensure};
use serde::Serialize;
use std::fmt::Write;

/// A tier: its name, and what makes it.
struct Tier {
    name: &'static str,
    hardened: bool,
    uncounted: bool,
}

/// The tiers, that one first which the others are compared with.
const TIERS: [Tier; 3] = [
    Tier {
        name: "default",
        hardened: false,
        uncounted: false,
    },
    Tier {
        name: "hardened",
        hardened: true,
        uncounted: false,
    },
    Tier {
        name: "uncounted",
        hardened: false,
        uncounted: true,
    },
];

/// Headings of the figures.
const FIGURES: [&str; 6] = ["p50", "p90", "p99", "p99.9", "max", "mean"];

/// What every tier costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PriceList {
    /// Version of this layout.
    pub schema: u32,
    /// What the counter counts.
    pub unit: String,
    /// Where the default tier was measured; the others differ in the tier alone.
    #[serde(flatten)]
    pub provenance: Provenance,
    /// The rows that all tiers have.
    pub rows: Vec<Prices>,
}

/// A row's figures in the default tier, and what others add.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prices {
    /// The row.
    pub name: String,
    /// What it costs in the default tier.
    pub default: Figures<u64>,
    /// What it costs more in each other one.
    pub extra: Vec<Extra>,
}

/// What a tier adds to a row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Extra {
    /// The tier.
    pub tier: String,
    /// What it adds; less than nothing where it saves.
    #[serde(flatten)]
    pub figures: Figures<i64>,
}

/// The figures of a row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures<N> {
    /// Half of the samples; and so on.
    pub p50: N,
    /// 90 %.
    pub p90: N,
    /// 99 %.
    pub p99: N,
    /// 99.9 %.
    pub p999: N,
    /// The largest sample.
    pub max: N,
    /// The mean, to the hundredth.
    pub mean: f64,
}

impl Figures<u64> {
    const fn of(row: &Row) -> Self {
        Self {
            p50: row.p50,
            p90: row.p90,
            p99: row.p99,
            p999: row.p999,
            max: row.max,
            mean: row.mean,
        }
    }

    fn cells(&self) -> [String; 6] {
        let [p50, p90, p99, p999, max] =
            [self.p50, self.p90, self.p99, self.p999, self.max].map(grouped);
        [p50, p90, p99, p999, max, format!("{:.2}", self.mean)]
    }
}

impl Figures<i64> {
    /// What `row` costs more than `default`.
    fn between(default: &Row, row: &Row) -> Self {
        let extra = |of: fn(&Row) -> u64| of(row).cast_signed() - of(default).cast_signed();
        let hundredths = |row: &Row| (row.mean * 100.0).round();
        Self {
            p50: extra(|row| row.p50),
            p90: extra(|row| row.p90),
            p99: extra(|row| row.p99),
            p999: extra(|row| row.p999),
            max: extra(|row| row.max),
            mean: (hundredths(row) - hundredths(default)) / 100.0,
        }
    }

    fn cells(&self) -> [String; 6] {
        let signed = |extra: i64| match extra {
            0 => "0".to_owned(),
            1.. => format!("+{}", grouped(extra.unsigned_abs())),
            _ => format!("−{}", grouped(extra.unsigned_abs())),
        };
        let [p50, p90, p99, p999, max] =
            [self.p50, self.p90, self.p99, self.p999, self.max].map(signed);
        let sign = match self.mean {
            mean if mean > 0.0 => "+",
            mean if mean < 0.0 => "−",
            _ => "",
        };
        [
            p50,
            p90,
            p99,
            p999,
            max,
            format!("{sign}{:.2}", self.mean.abs()),
        ]
    }
}

impl PriceList {
    /// The prices of what `others` measured, beside `default`.
    fn new(default: &Report, others: &[(&str, Report)]) -> Self {
        let rows = default.rows.iter().filter_map(|row| {
            let extra = others.iter().map(|(tier, report)| {
                let found = report.rows.iter().find(|other| other.name == row.name)?;
                Some(Extra {
                    tier: (*tier).to_owned(),
                    figures: Figures::between(row, found),
                })
            });
            Some(Prices {
                name: row.name.clone(),
                default: Figures::of(row),
                extra: extra.collect::<Option<_>>()?,
            })
        });
        Self {
            schema: 1,
            unit: default.unit.clone(),
            provenance: default.provenance.clone(),
            rows: rows.collect(),
        }
    }

    fn write(&self, format: Format) -> Result<String> {
        Ok(match format {
            Format::Text => self.text(),
            Format::Md => self.markdown(),
            Format::Json => serde_json::to_string_pretty(self)? + "\n",
            _ => bail!("--tiers writes --format text, md or json"),
        })
    }

    /// The lines of the table: a name and its cells, the headings first.
    fn lines(&self) -> Vec<(String, [String; 6])> {
        let mut lines = vec![(self.unit.clone(), FIGURES.map(str::to_owned))];
        for row in &self.rows {
            lines.push((row.name.clone(), row.default.cells()));
            let extra = row.extra.iter();
            lines.extend(extra.map(|extra| (format!("  {}", extra.tier), extra.figures.cells())));
        }
        lines
    }

    fn text(&self) -> String {
        let at = &self.provenance;
        let lines = self.lines();
        let width = lines.iter().map(|(name, _)| name.chars().count()).max();
        let width = width.unwrap_or(0);
        let widths: [usize; 6] = std::array::from_fn(|column| {
            let cells = lines.iter().map(|(_, cells)| cells[column].chars().count());
            cells.max().unwrap_or(0)
        });
        let mut text = format!(
            "commit   {}\nmachine  {}, {}, seed {}\n\n",
            at.commit, at.machine, at.cpu, at.seed
        );
        for (name, cells) in &lines {
            let _ = write!(text, "{name:width$}");
            for (cell, width) in cells.iter().zip(widths) {
                let _ = write!(text, "  {cell:>width$}");
            }
            text.push('\n');
        }
        text.push_str("\nBelow each row: what it costs more in a tier than in the default one.\n");
        text
    }

    fn markdown(&self) -> String {
        let mut text = String::new();
        for (line, (name, cells)) in self.lines().iter().enumerate() {
            let name = match name.trim_start() {
                tier if tier.len() < name.len() => format!("– {tier}"),
                row => row.to_owned(),
            };
            let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
            if line == 0 {
                let _ = writeln!(text, "|---|{}", "---:|".repeat(cells.len()));
            }
        }
        text
    }
}

/// Measures the rows in every tier and writes what each costs more; returns the exit status.
///
/// # Errors
///
/// As for a run of one tier.
pub fn command(args: &Args) -> Result<u8> {
    ensure!(
        matches!(args.format, Format::Text | Format::Md | Format::Json),
        "--tiers writes --format text, md or json"
    );
    let traces = load_traces(args)?;
    setup::ensure(args.machine.yes)?;
    let mut reports = Vec::new();
    for tier in &TIERS {
        let args = Args {
            hardened: tier.hardened,
            uncounted: tier.uncounted,
            ..args.clone()
        };
        console::say(format_args!("tier {}", tier.name));
        match measure::measure(&args, &build(&args)?, &traces) {
            Ok(report) => reports.push((tier.name, report)),
            Err(error) if error.is::<CollectError>() => {
                console::say(format_args!("error: tier {}: {error}", tier.name));
                return Ok(FAILED);
            }
            Err(error) => return Err(error),
        }
    }
    let [(_, default), others @ ..] = &reports[..] else {
        bail!("there is no tier");
    };
    let prices = PriceList::new(default, others);
    ensure!(!prices.rows.is_empty(), "no tier has a row of these");
    super::write(args, &prices.write(args.format)?)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(rows: &[(&str, u64, f64)]) -> Report {
        let row = |&(name, max, mean): &(&str, u64, f64)| Row {
            name: name.to_owned(),
            p50: 20,
            max,
            mean,
            ..Row::default()
        };
        Report {
            unit: "instructions".to_owned(),
            rows: rows.iter().map(row).collect(),
            ..Report::default()
        }
    }

    fn prices() -> PriceList {
        let default = report(&[("a", 1200, 20.25), ("b", 7, 7.0), ("c", 9, 9.0)]);
        let hardened = report(&[("a", 3300, 51.75), ("c", 9, 9.0)]);
        let uncounted = report(&[("a", 1199, 18.0), ("b", 7, 7.0), ("c", 9, 9.0)]);
        PriceList::new(
            &default,
            &[("hardened", hardened), ("uncounted", uncounted)],
        )
    }

    #[test]
    fn a_price_is_what_a_tier_adds() {
        let prices = prices();
        let names: Vec<&str> = prices.rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["a", "c"], "b is not in every tier");
        let text = prices.text();
        let line = |number: usize| {
            let line = text.lines().skip(3).nth(number).unwrap();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line(0), "instructions p50 p90 p99 p99.9 max mean");
        assert_eq!(line(1), "a 20 0 0 0 1,200 20.25");
        assert_eq!(line(2), "hardened 0 0 0 0 +2,100 +31.50");
        assert_eq!(line(3), "uncounted 0 0 0 0 −1 −2.25");
        assert_eq!(line(5), "hardened 0 0 0 0 0 0.00");
    }

    #[test]
    fn the_list_is_a_table_and_data_too() {
        let markdown = prices().write(Format::Md).unwrap();
        assert!(markdown.contains("| – hardened | 0 | 0 | 0 | 0 | +2,100 | +31.50 |\n"));
        let json = prices().write(Format::Json).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["rows"][0]["extra"][1]["max"], -1);
        assert_eq!(json["rows"][0]["default"]["mean"], 20.25);
        assert!(prices().write(Format::Csv).is_err());
    }

    #[test]
    fn every_tier_is_another_one_and_the_first_is_the_default() {
        let made = TIERS.map(|tier| (tier.hardened, tier.uncounted));
        assert_eq!(made, [(false, false), (true, false), (false, true)]);
    }
}
