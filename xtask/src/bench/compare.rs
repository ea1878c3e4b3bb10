//! Two reports side by side: which figures changed, which way, and which path is to blame.
//!
//! Under icount a figure that differs has a cause in the sources, so nothing here is statistics. What
//! cannot be compared (another compiler, another machine) gets no verdict.

pub mod text;

use super::limits::Limits;
use super::report::{Report, Row};
use serde::Serialize;
use wire::glob;

/// What [`Comparison::verdict`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The reports are of different compilers, machines or kinds of runs.
    Incomparable,
    /// A figure is worse by more than its limit.
    Regressed,
    /// Some figure is better, and none is worse by more than its limit.
    Improved,
    /// Nothing changed but what limits allow.
    Same,
}

/// How one figure changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The figure, by the name that a table has for it.
    pub figure: &'static str,
    /// In the baseline.
    pub before: f64,
    /// Now.
    pub after: f64,
    /// What that is.
    pub kind: Kind,
}

/// What a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Worse by more than the limit.
    Worse,
    /// Worse, and the limit allows it.
    Allowed,
    /// Better.
    Better,
    /// Neither: another number of samples.
    Other,
}

/// The path whose part of a row's mean grew the most.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Grown {
    /// The path.
    pub path: String,
    /// What it added to each sample of the row on average, before and now.
    pub part: (f64, f64),
    /// How many samples took it, before and now.
    pub n: (u64, u64),
}

/// A row, or a figure that is no latency, that changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Changed {
    /// Its name.
    pub name: String,
    /// Its figures that changed.
    pub figures: Vec<Change>,
    /// The path to blame; none for figures without paths, and where none grew.
    pub grown: Option<Grown>,
}

impl Changed {
    /// The worst that happened to it.
    pub fn kind(&self) -> Kind {
        let kinds = self.figures.iter().map(|change| change.kind);
        kinds.min().unwrap_or(Kind::Other)
    }
}

/// Two reports, compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// What the baseline is called.
    pub baseline: String,
    /// Why there is no verdict: `the compiler is …, was …`.
    pub incomparable: Vec<String>,
    /// What changed.
    pub changed: Vec<Changed>,
    /// How much is as it was.
    pub unchanged: usize,
    /// What the baseline has and the other has not.
    pub vanished: Vec<String>,
    /// What the baseline has not.
    pub new: Vec<String>,
}

impl Comparison {
    /// Compares `after` with `before`, which is called `baseline`, as far as `filter` selects.
    pub fn new(
        baseline: &str,
        before: &Report,
        after: &Report,
        filter: &str,
        limits: &Limits,
    ) -> Self {
        let mut comparison = Self {
            baseline: baseline.to_owned(),
            incomparable: incomparable(before, after),
            ..Self::default()
        };
        let wanted = |name: &str| glob::selects(filter, name);
        for row in before.rows.iter().filter(|row| wanted(&row.name)) {
            let found = after.rows.iter().find(|other| other.name == row.name);
            let changed = found.map(|after| Changed {
                name: row.name.clone(),
                figures: figures(row, after, limits),
                grown: grown(row, after),
            });
            comparison.note(&row.name, changed);
        }
        for value in before.values.iter().filter(|value| wanted(&value.name)) {
            let found = after.values.iter().find(|other| other.name == value.name);
            let changed = found.map(|after| {
                let pair = (whole(value.value), whole(after.value));
                let change = limits.change(&value.name, VALUE, pair);
                Changed {
                    name: value.name.clone(),
                    figures: change.into_iter().collect(),
                    grown: None,
                }
            });
            comparison.note(&value.name, changed);
        }
        let known = before.rows.iter().map(|row| &row.name);
        let known = known.chain(before.values.iter().map(|value| &value.name));
        let known: std::collections::HashSet<&String> = known.collect();
        let names = after.rows.iter().map(|row| &row.name);
        let names = names.chain(after.values.iter().map(|value| &value.name));
        let new = names.filter(|name| wanted(name) && !known.contains(name));
        comparison.new = new.cloned().collect();
        comparison
    }

    fn note(&mut self, name: &str, changed: Option<Changed>) {
        match changed {
            None => self.vanished.push(name.to_owned()),
            Some(changed) if changed.figures.is_empty() => self.unchanged += 1,
            Some(changed) => self.changed.push(changed),
        }
    }

    /// The changes of `kind`.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Changed> {
        self.changed
            .iter()
            .filter(move |changed| changed.kind() == kind)
    }

    /// What it comes to.
    pub fn verdict(&self) -> Verdict {
        if !self.incomparable.is_empty() {
            return Verdict::Incomparable;
        }
        let better = |changed: &Changed| {
            let mut figures = changed.figures.iter();
            figures.any(|change| change.kind == Kind::Better)
        };
        if self.of(Kind::Worse).next().is_some() {
            Verdict::Regressed
        } else if self.changed.iter().any(better) {
            Verdict::Improved
        } else {
            Verdict::Same
        }
    }
}

/// What figures that are no latencies are called in a table.
pub const VALUE: &str = "value";
/// What the number of samples is called in a table.
pub const SAMPLES: &str = "n";
/// The figures of a row in a table, but for the number of samples.
pub const FIGURES: [&str; 8] = ["cold", "min", "p50", "p90", "p99", "p99.9", "max", "mean"];

/// Counts of what was measured, and bytes, are far below 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "what is measured is far below 2^53"
)]
const fn whole(number: u64) -> f64 {
    number as f64
}

fn figures(before: &Row, after: &Row, limits: &Limits) -> Vec<Change> {
    let of = |row: &Row| {
        let whole = [
            row.cold, row.min, row.p50, row.p90, row.p99, row.p999, row.max,
        ]
        .map(whole);
        let [cold, min, p50, p90, p99, p999, max] = whole;
        [cold, min, p50, p90, p99, p999, max, row.mean]
    };
    let pairs = of(before).into_iter().zip(of(after));
    let costs = FIGURES.into_iter().zip(pairs);
    let costs = costs.filter_map(|(figure, pair)| limits.change(&before.name, figure, pair));
    let samples = (before.n != after.n).then_some(Change {
        figure: SAMPLES,
        before: whole(before.n),
        after: whole(after.n),
        kind: Kind::Other,
    });
    samples.into_iter().chain(costs).collect()
}

/// The path that adds the most to a sample of `after` beyond what it added to one of `before`.
fn grown(before: &Row, after: &Row) -> Option<Grown> {
    let of = |row: &Row, path: &str| {
        let path = row.paths.iter().find(|other| other.path == path);
        let (sum, n) = path.map_or((0, 0), |path| (path.sum, path.n));
        (whole(sum) / whole(row.n.max(1)), n)
    };
    let paths = after.paths.iter().map(|path| {
        let ((part, n), (before, before_n)) = (of(after, &path.path), of(before, &path.path));
        Grown {
            path: path.path.clone(),
            part: (before, part),
            n: (before_n, n),
        }
    });
    let growth = |grown: &Grown| grown.part.1 - grown.part.0;
    let most = paths.max_by(|a, b| growth(a).total_cmp(&growth(b)));
    most.filter(|most| growth(most) > 0.0)
}

/// What must be equal before figures can be compared, and is not.
fn incomparable(before: &Report, after: &Report) -> Vec<String> {
    let (was, is) = (&before.provenance, &after.provenance);
    let major = |version: &str| version.split('.').next().unwrap_or_default().to_owned();
    let pairs = [
        ("the unit", before.unit.clone(), after.unit.clone()),
        ("the compiler", was.rustc.clone(), is.rustc.clone()),
        ("core's checksum", was.core.clone(), is.core.clone()),
        ("the set of flags", was.flags.clone(), is.flags.clone()),
        ("QEMU", major(&was.qemu), major(&is.qemu)),
        ("the machine", was.machine.clone(), is.machine.clone()),
        ("the CPU", was.cpu.clone(), is.cpu.clone()),
        ("MIDR", was.midr.clone(), is.midr.clone()),
        ("the exception level", was.el.to_string(), is.el.to_string()),
        ("memory", was.mem.clone(), is.mem.clone()),
        (
            "the number of cores",
            was.smp.to_string(),
            is.smp.to_string(),
        ),
        ("the tier", was.tier.clone(), is.tier.clone()),
        ("the seed", was.seed.to_string(), is.seed.to_string()),
    ];
    let differing = pairs.into_iter().filter(|(_, was, is)| was != is);
    differing
        .map(|(what, was, is)| format!("{what} is {is}, was {was}"))
        .collect()
}

#[cfg(test)]
mod tests;
