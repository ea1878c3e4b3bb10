//! What rows must reach and what they aim at, and whether a report's do.
//!
//! The goals stand in `bench/reference/goals.json`, one line a figure. They are for one machine and one
//! build: a report of another has none.

use super::report::{Report, Row};
use serde::{Deserialize, Serialize};
use std::fmt;
use wire::glob;

const GOALS: &str = include_str!("../../../bench/reference/goals.json");

/// The file.
#[derive(Deserialize)]
struct Goals {
    goals: Vec<Goal>,
}

/// What one figure must reach.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Goal {
    name: String,
    figure: Figure,
    must: f64,
    aim: Option<f64>,
    /// Whether more is better.
    #[serde(default)]
    at_least: bool,
}

/// Which figure of a row, or of what else has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Figure {
    /// The mean.
    Mean,
    /// 99 % of samples.
    P99,
    /// 99.9 % of samples.
    P999,
    /// The largest sample.
    Max,
    /// The means of a family's `alloc` and `free` together.
    Pair,
    /// A figure that is no latency.
    Value,
}

/// How far a figure got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reached {
    /// Not what it must.
    Nothing,
    /// What it must.
    Must,
    /// What it aims at.
    Aim,
}

/// A goal and what was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The row, family or value.
    pub name: String,
    /// Its figure.
    pub figure: Figure,
    /// What was found; absent if that was asked for and not measured.
    pub found: Option<f64>,
    /// What it must reach: at most this, unless `at_least`.
    pub must: f64,
    /// What it aims at.
    pub aim: Option<f64>,
    /// Whether more is better.
    pub at_least: bool,
    /// How far it got.
    pub reached: Reached,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mean => "mean",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
            Self::Max => "max",
            Self::Pair => "pair",
            Self::Value => "value",
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name, figure, must, ..
        } = self;
        let most = if self.at_least { "at least" } else { "at most" };
        match self.found {
            Some(found) => write!(f, "{name}, {figure}: {found}, must be {most} {must}"),
            None => write!(f, "{name}, {figure}: not measured, must be {most} {must}"),
        }
    }
}

/// How the goals fare in `report`, as far as `filter` selects their rows; none if it is of a machine or
/// build that they are not for.
///
/// # Errors
///
/// If the file of goals is malformed, which a test rules out.
pub(super) fn of(report: &Report, filter: &str) -> serde_json::Result<Vec<Outcome>> {
    let at = &report.provenance;
    let is_theirs = at.cpu == "cortex-a72" && at.smp == 1 && at.tier == "default" && at.seed == 0;
    if !is_theirs {
        return Ok(Vec::new());
    }
    let goals: Goals = serde_json::from_str(GOALS)?;
    let selected = goals.goals.into_iter().filter(|goal| goal.is_in(filter));
    Ok(selected.map(|goal| goal.in_report(report)).collect())
}

impl Goal {
    /// Whether `filter` selects what it needs.
    fn is_in(&self, filter: &str) -> bool {
        let selected = |name: &str| glob::selects(filter, name);
        match self.figure {
            Figure::Pair => ["alloc", "free"]
                .map(|of| format!("{}/{of}", self.name))
                .iter()
                .all(|row| selected(row)),
            _ => selected(&self.name),
        }
    }

    fn in_report(self, report: &Report) -> Outcome {
        let found = self.found(report);
        let meets = |goal: f64| {
            found.is_some_and(|found| {
                if self.at_least {
                    found >= goal
                } else {
                    found <= goal
                }
            })
        };
        let reached = if !meets(self.must) {
            Reached::Nothing
        } else if self.aim.is_some_and(meets) {
            Reached::Aim
        } else {
            Reached::Must
        };
        let Self {
            name,
            figure,
            must,
            aim,
            at_least,
        } = self;
        Outcome {
            name,
            figure,
            found,
            must,
            aim,
            at_least,
            reached,
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "what is measured is far below 2^53"
    )]
    fn found(&self, report: &Report) -> Option<f64> {
        let row = |name: &str| report.rows.iter().find(|row| row.name == name);
        let of = |figure: fn(&Row) -> f64| row(&self.name).map(figure);
        match self.figure {
            Figure::Mean => of(|row| row.mean),
            Figure::P99 => of(|row| row.p99 as f64),
            Figure::P999 => of(|row| row.p999 as f64),
            Figure::Max => of(|row| row.max as f64),
            Figure::Pair => {
                let mean = |of| Some(row(&format!("{}/{of}", self.name))?.mean);
                // To the hundredth, as means are.
                Some(((mean("alloc")? + mean("free")?) * 100.0).round() / 100.0)
            }
            Figure::Value => {
                let value = report.values.iter().find(|value| value.name == self.name)?;
                Some(value.value as f64)
            }
        }
    }
}

/// Headings, and a line for each goal: what, found, must, aim, how far it got.
pub(super) fn table(goals: &[Outcome]) -> Vec<[String; 5]> {
    let headings = ["goal", "found", "must", "aim", "reached"].map(str::to_owned);
    let number = |number: Option<f64>| number.map_or_else(|| "–".to_owned(), |n| n.to_string());
    let line = |goal: &Outcome| {
        let sign = if goal.at_least { "≥ " } else { "" };
        [
            format!("{}, {}", goal.name, goal.figure),
            number(goal.found),
            format!("{sign}{}", goal.must),
            number(goal.aim),
            match goal.reached {
                Reached::Nothing => "missed",
                Reached::Must => "must",
                Reached::Aim => "aim",
            }
            .to_owned(),
        ]
    };
    [headings]
        .into_iter()
        .chain(goals.iter().map(line))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::report::Value;
    use super::*;

    fn row(name: &str, mean: f64) -> Row {
        Row {
            name: name.to_owned(),
            n: 1,
            max: 900,
            mean,
            ..Row::default()
        }
    }

    fn report() -> Report {
        let mut report = Report::default();
        report.provenance.cpu = "cortex-a72".into();
        report.provenance.tier = "default".into();
        report.provenance.smp = 1;
        report.rows = vec![
            row("layout/64/alloc", 12.0),
            row("layout/64/free", 12.01),
            row("vmalloc/4K/alloc", 100.1),
            row("vmalloc/4K/free", 250.2),
        ];
        report.values = vec![Value {
            name: "pages/churn62/recovered".into(),
            value: 47,
            unit: String::new(),
        }];
        report
    }

    #[test]
    fn a_figure_is_held_to_its_own_goal() {
        let outcomes = of(&report(), "*").unwrap();
        let reached = |name: &str| {
            let outcome = outcomes.iter().find(|outcome| outcome.name == name);
            outcome.map(|outcome| (outcome.found, outcome.reached))
        };
        assert_eq!(
            reached("layout/64/alloc"),
            Some((Some(12.0), Reached::Must))
        );
        assert_eq!(
            reached("layout/64/free"),
            Some((Some(12.01), Reached::Nothing))
        );
        assert_eq!(reached("vmalloc/4K"), Some((Some(350.3), Reached::Aim)));
        // More is better here.
        let recovered = reached("pages/churn62/recovered");
        assert_eq!(recovered, Some((Some(47.0), Reached::Must)));
        // What was to be measured and was not is missed.
        assert_eq!(reached("boot/growth"), Some((None, Reached::Nothing)));
    }

    #[test]
    fn only_what_the_filter_selects_is_held_to_anything() {
        let outcomes = of(&report(), "vmalloc/4K").unwrap();
        assert_eq!(outcomes.len(), 1, "{outcomes:?}");
        assert_eq!(of(&report(), "vmalloc/4K/alloc").unwrap(), []);
    }

    #[test]
    fn another_machine_has_no_goals() {
        let mut report = report();
        report.provenance.smp = 4;
        assert_eq!(of(&report, "*").unwrap(), []);
    }

    #[test]
    fn an_aim_is_no_less_than_the_must() {
        let goals: Goals = serde_json::from_str(GOALS).unwrap();
        for Goal {
            name,
            must,
            aim,
            at_least,
            ..
        } in goals.goals
        {
            let aim = aim.unwrap_or(must);
            assert!(if at_least { aim >= must } else { aim <= must }, "{name}");
        }
    }
}
