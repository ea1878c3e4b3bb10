//! By how much a figure may become worse before that is a regression: `bench/limits.toml`.
//!
//! Nothing, unless the file says otherwise: instructions are exact.

use super::compare::{Change, FIGURES, Kind, VALUE};
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::path::Path;
use wire::glob;

/// The file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Figures, by their names, of which more is better.
    #[serde(default)]
    more_is_better: Vec<String>,
    /// What may grow; of several that select a figure, the first counts.
    #[serde(default, rename = "limit")]
    limits: Vec<Limit>,
}

/// What some figures may grow by.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    /// Which rows, as `--filter` takes them.
    rows: String,
    /// Which of their figures; all if it is absent.
    figures: Option<Vec<String>>,
    /// So many instructions (or what the unit of a value is) ...
    #[serde(default)]
    instructions: f64,
    /// ... or such a part of what it was, if that is more.
    #[serde(default)]
    per_cent: f64,
}

impl Limits {
    /// Reads the file at `path`.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or holds what no limit has.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let limits: Self = toml::from_str(text)?;
        for limit in &limits.limits {
            let rows = &limit.rows;
            for figure in limit.figures.iter().flatten() {
                if figure != VALUE && !FIGURES.contains(&figure.as_str()) {
                    bail!(
                        "`{rows}`: no figure is called `{figure}`; there are {}, {VALUE}",
                        FIGURES.join(", ")
                    );
                }
            }
            let sound = |number: f64| number.is_finite() && number >= 0.0;
            ensure!(
                sound(limit.instructions) && sound(limit.per_cent),
                "`{rows}`: a limit is a number from 0"
            );
        }
        Ok(limits)
    }

    /// How `figure` of `name` changed from the first to the second of `pair`; `None` if it did not.
    pub fn change(&self, name: &str, figure: &'static str, pair: (f64, f64)) -> Option<Change> {
        let (before, after) = pair;
        #[expect(clippy::float_cmp, reason = "equal runs give equal figures")]
        if before == after {
            return None;
        }
        let more_is_better = self
            .more_is_better
            .iter()
            .any(|pattern| glob::selects(pattern, name));
        let worse_by = if more_is_better {
            before - after
        } else {
            after - before
        };
        let kind = if worse_by < 0.0 {
            Kind::Better
        } else if worse_by <= self.allowed(name, figure, before) {
            Kind::Allowed
        } else {
            Kind::Worse
        };
        Some(Change {
            figure,
            before,
            after,
            kind,
        })
    }

    fn allowed(&self, name: &str, figure: &str, before: f64) -> f64 {
        let selects = |limit: &&Limit| {
            let figures = limit.figures.as_ref();
            glob::selects(&limit.rows, name)
                && figures.is_none_or(|figures| figures.iter().any(|other| other == figure))
        };
        let limit = self.limits.iter().find(selects);
        limit.map_or(0.0, |limit| {
            limit.instructions.max(before * limit.per_cent / 100.0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(limits: &Limits, name: &str, figure: &'static str, pair: (f64, f64)) -> Option<Kind> {
        limits.change(name, figure, pair).map(|change| change.kind)
    }

    #[test]
    fn nothing_may_grow_but_what_a_limit_allows() {
        let text = "more_is_better = [\"*/recovered\"]\n\
                    [[limit]]\nrows = \"boot\"\nper_cent = 2.0\n\
                    [[limit]]\nrows = \"pages/*\"\nfigures = [\"max\"]\ninstructions = 5\n";
        let limits = Limits::parse(text).unwrap();
        let of = |name, figure, pair| kind(&limits, name, figure, pair);
        assert_eq!(of("kmalloc/64/alloc", "p50", (20.0, 20.0)), None);
        assert_eq!(
            of("kmalloc/64/alloc", "p50", (20.0, 21.0)),
            Some(Kind::Worse)
        );
        assert_eq!(
            of("kmalloc/64/alloc", "p50", (20.0, 19.0)),
            Some(Kind::Better)
        );
        assert_eq!(
            of("boot/total", "max", (1000.0, 1020.0)),
            Some(Kind::Allowed)
        );
        assert_eq!(of("boot/total", "max", (1000.0, 1021.0)), Some(Kind::Worse));
        assert_eq!(of("pages/0/free", "max", (20.0, 25.0)), Some(Kind::Allowed));
        assert_eq!(of("pages/0/free", "p99", (20.0, 25.0)), Some(Kind::Worse));
        let recovered = "pages/churn62/recovered";
        assert_eq!(of(recovered, VALUE, (44.0, 43.0)), Some(Kind::Worse));
        assert_eq!(of(recovered, VALUE, (44.0, 45.0)), Some(Kind::Better));
    }

    #[test]
    fn a_limit_that_means_nothing_is_refused() {
        let figure = "[[limit]]\nrows = \"boot\"\nfigures = [\"p98\"]\n";
        let error = Limits::parse(figure).unwrap_err().to_string();
        assert!(error.contains("no figure is called `p98`"), "{error}");
        assert!(Limits::parse("[[limit]]\nrows = \"boot\"\nper_cent = -1.0\n").is_err());
        assert!(Limits::parse("[[limit]]\nrow = \"boot\"\n").is_err());
    }

    #[test]
    fn the_projects_own_limits_are_sound() {
        let path = crate::workspace::root().join("bench/limits.toml");
        assert!(!Limits::read(&path).unwrap().limits.is_empty());
    }
}
