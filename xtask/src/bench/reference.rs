//! What Linux took for the same operations: figures that were measured once and are not rerun.
//!
//! They stand in `bench/reference/linux-6.12.json`, with the kernels that they are of. A report that has
//! rows of the same workloads shows both.

use super::format::grouped;
use super::report::{Report, Row};
use serde::Deserialize;

const LINUX: &str = include_str!("../../../bench/reference/linux-6.12.json");

/// Headings of both side by side.
const HEADINGS: [&str; 6] = [
    "row, alloc / free",
    "Tessera, mean",
    "p99",
    "max",
    "Linux fast",
    "Linux lean",
];

/// The file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reference {
    /// Which Linux, and how it was measured.
    pub(super) kernel: String,
    /// What `fast` is.
    pub(super) fast: String,
    /// What `lean` is.
    pub(super) lean: String,
    /// What a figure has in it that ours have not.
    pub(super) includes: String,
    /// The families.
    pub(super) rows: Vec<Line>,
}

/// One family of rows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    /// Ours of the same workload.
    pub(super) family: String,
    /// What it does, in few words.
    pub(super) about: String,
    /// As Debian builds it.
    #[serde(default)]
    pub(super) fast: Figures,
    /// At its best.
    #[serde(default)]
    pub(super) lean: Figures,
}

/// What one kernel took.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Figures {
    /// For an allocation.
    pub(super) alloc: Costs,
    /// For a free.
    pub(super) free: Costs,
    /// For both together, the mean, where they were not told apart.
    pub(super) pair: Option<u64>,
    /// How the workload differed.
    note: Option<String>,
}

/// One operation's costs, in instructions, as far as they were published.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Costs {
    p50: Option<u64>,
    p90: Option<u64>,
    p99: Option<u64>,
    p999: Option<u64>,
    /// The largest.
    pub(super) max: Option<u64>,
    /// The mean.
    pub(super) mean: Option<u64>,
}

impl Reference {
    /// Linux's figures.
    ///
    /// # Errors
    ///
    /// If the file is malformed, which a test rules out.
    pub(super) fn linux() -> serde_json::Result<Self> {
        serde_json::from_str(LINUX)
    }

    /// A line for each family that both were measured with, headings first; empty if there is none.
    pub(super) fn beside(&self, report: &Report) -> Vec<Vec<String>> {
        let lines = self.rows.iter().filter_map(|line| line.beside(report));
        let lines: Vec<Vec<String>> = lines.collect();
        if lines.is_empty() {
            return lines;
        }
        let headings = HEADINGS.map(str::to_owned).to_vec();
        std::iter::once(headings).chain(lines).collect()
    }

    /// Which Linux it is, and what to know of its figures.
    pub(super) fn note(&self) -> String {
        let Self {
            kernel,
            fast,
            lean,
            includes,
            ..
        } = self;
        format!(
            "Linux is a reference and was not rerun: {kernel}. fast: {fast}. lean: {lean}. Its figures \
             include {includes}."
        )
    }
}

impl Line {
    /// A line of ours beside Linux's; `None` if it was not measured.
    fn beside(&self, report: &Report) -> Option<Vec<String>> {
        let Self { family, about, .. } = self;
        let of = |operation: &str| {
            let name = format!("{family}/{operation}");
            report.rows.iter().find(|row| row.name == name)
        };
        let (alloc, free) = (of("alloc")?, of("free")?);
        let both = |figure: fn(&Row) -> String| format!("{} / {}", figure(alloc), figure(free));
        Some(vec![
            format!("`{family}`, {about}"),
            both(mean),
            both(|row| grouped(row.p99)),
            both(|row| grouped(row.max)),
            self.fast.text(),
            self.lean.text(),
        ])
    }
}

/// The mean to the tenth, and whole where it is whole.
pub(super) fn mean(row: &Row) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cost is positive, and far below 2^63"
    )]
    let tenths = (row.mean * 10.0).round() as u64;
    match tenths % 10 {
        0 => grouped(tenths / 10),
        tenth => format!("{}.{tenth}", grouped(tenths / 10)),
    }
}

impl Figures {
    /// In a few words: the means of allocation and free, their maxima, what was different.
    pub(super) fn text(&self) -> String {
        let both = |of: fn(&Costs) -> Option<u64>| match (of(&self.alloc), of(&self.free)) {
            (None, None) => None,
            (alloc, None) => alloc.map(grouped),
            (alloc, Some(free)) => {
                let alloc = alloc.map_or_else(|| "–".to_owned(), grouped);
                Some(format!("{alloc} / {}", grouped(free)))
            }
        };
        let parts = [
            both(|costs| costs.mean),
            both(|costs| costs.max).map(|max| format!("max {max}")),
            self.pair.map(|pair| format!("{} the pair", grouped(pair))),
            self.note.clone(),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        match parts.is_empty() {
            true => "–".to_owned(),
            false => parts.join(", "),
        }
    }
}

impl Costs {
    /// The percentiles that are known, in thousandths of the samples; the largest is all of them.
    pub(super) fn percentiles(self) -> impl Iterator<Item = (u64, u64)> {
        let all = [
            (500, self.p50),
            (900, self.p90),
            (990, self.p99),
            (999, self.p999),
            (1000, self.max),
        ];
        all.into_iter()
            .filter_map(|(per_mille, figure)| Some((per_mille, figure?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_sound() {
        let linux = Reference::linux().unwrap();
        assert!(linux.rows.len() > 15);
        for line in &linux.rows {
            for costs in [
                line.fast.alloc,
                line.fast.free,
                line.lean.alloc,
                line.lean.free,
            ] {
                let rising: Vec<u64> = costs.percentiles().map(|(_, figure)| figure).collect();
                assert!(rising.is_sorted(), "{}: {rising:?}", line.family);
            }
        }
    }

    #[test]
    fn figures_are_put_in_few_words() {
        let text = |json: &str| serde_json::from_str::<Figures>(json).unwrap().text();
        assert_eq!(
            text(r#"{"alloc": {"mean": 111}, "free": {"mean": 103}}"#),
            "111 / 103"
        );
        let both = r#"{"alloc": {"mean": 140, "max": 6717}, "free": {"mean": 201, "max": 2032}}"#;
        assert_eq!(text(both), "140 / 201, max 6,717 / 2,032");
        let most = r#"{"alloc": {"max": 127879}, "note": "512 frames"}"#;
        assert_eq!(text(most), "max 127,879, 512 frames");
        assert_eq!(text(r#"{"pair": 4687}"#), "4,687 the pair");
        assert_eq!(text("{}"), "–");
    }
}
