//! Reports that later runs are compared with: the committed one, and those that a user saves.
//!
//! The committed one is `bench/baseline.json`, what CI compares with. It lacks what only explains or
//! draws (histograms, sentences, memory over time, goals), so that a change of a figure is a change of a
//! line that can be read. Others are whole, and lie in `target/tessera/baselines`.

use super::compare::{Comparison, Verdict};
use super::limits::Limits;
use super::report::{BootCost, Path as Taken, Report, Row};
use super::{diff, json, saved};
use crate::{console, workspace};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};

/// The name of the committed one.
pub const COMMITTED: &str = "committed";
/// The status for a regression.
const REGRESSION: u8 = 3;

/// What a run is compared with, and kept as.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct BaselineArgs {
    /// Compare with a baseline saved before, or with a report's file; `committed` is what CI compares
    /// with. What is worse by more than bench/limits.toml allows is named, and the status is 3
    #[arg(long, value_name = "NAME|FILE", conflicts_with_all = ["host", "list", "at_max"])]
    pub baseline: Option<String>,
    /// Keep the figures as a baseline of this name; `committed` writes bench/baseline.json
    #[arg(long, value_name = "NAME", conflicts_with_all = ["host", "list", "at_max"])]
    pub save_baseline: Option<String>,
    /// Build another revision beside this one, let it measure the same, and compare with that
    #[arg(long, value_name = "REV", conflicts_with_all = ["host", "list", "at_max", "baseline"])]
    pub diff: Option<String>,
}

impl BaselineArgs {
    /// What to compare with, if anything.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or the other revision cannot be measured.
    pub fn find(&self) -> Result<Option<Baseline>> {
        match (&self.baseline, &self.diff) {
            (Some(name), _) => Baseline::read(name).map(Some),
            (None, Some(rev)) => diff::measure(rev).map(Some),
            (None, None) => Ok(None),
        }
    }
}

/// A baseline that was read.
#[derive(Clone, Debug)]
pub struct Baseline {
    /// What it is called.
    name: String,
    /// What it says.
    pub report: Report,
    limits: Limits,
}

impl Baseline {
    /// The one that is called `name`, or is the file of that name.
    ///
    /// # Errors
    ///
    /// If there is neither, it is no report, or the limits are malformed.
    pub fn read(name: &str) -> Result<Self> {
        let path = path(name);
        if !path.is_file() {
            bail!(
                "--baseline {name}: no such baseline; {}",
                match &known()[..] {
                    [] => format!("`--save-baseline {name}` saves one"),
                    known => format!("there are {}, or a report's file", known.join(", ")),
                }
            );
        }
        Self::of_file(&path)
    }

    /// The report in the file at `path`.
    ///
    /// # Errors
    ///
    /// If it is none, or the limits are malformed.
    pub fn of_file(path: &Path) -> Result<Self> {
        Ok(Self {
            name: shown(path),
            report: saved::read(path)?,
            limits: Limits::read(&limits())?,
        })
    }

    /// The same under another name.
    pub fn called(self, name: &str) -> Self {
        let name = name.to_owned();
        Self { name, ..self }
    }

    /// How `report` compares with it, as far as `filter` selects.
    pub fn compare(&self, report: &Report, filter: &str) -> Comparison {
        Comparison::new(&self.name, &self.report, report, filter, &self.limits)
    }
}

/// Says what a comparison comes to and what to do about it; returns the exit status.
///
/// What cannot be compared is no failure: the first run with a newer compiler must not fail for it.
pub fn conclude(comparison: &Comparison) -> u8 {
    console::say(comparison.headline());
    let renew = format!("cargo xtask bench --save-baseline {COMMITTED}");
    let is_committed = comparison.baseline == shown(&committed());
    match comparison.verdict() {
        Verdict::Regressed => {
            if is_committed {
                console::say(format_args!(
                    "if that is meant, `{renew}`, and say in the commit why"
                ));
            }
            return REGRESSION;
        }
        Verdict::Improved if is_committed => {
            console::say(format_args!("commit what is better: `{renew}`"));
        }
        Verdict::Incomparable if is_committed => console::say(format_args!(
            "NOTHING WAS GATED. `{renew}` with what the baseline is to be for renews it"
        )),
        _ => {}
    }
    0
}

/// Keeps `report` as the baseline `name`.
///
/// # Errors
///
/// If the file cannot be written.
pub fn save(name: &str, report: &Report) -> Result<()> {
    let path = path(name);
    let report = if name == COMMITTED {
        stripped(report)
    } else {
        report.clone()
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot write to {}", folder.display()))?;
    }
    saved::write(Some(&path), &json::write(&report)?)?;
    console::say(format_args!("saved {}", shown(&path)));
    Ok(())
}

/// Checks, before anything is measured, that a baseline may be called `name`; `is_whole` if all rows that
/// there are without asking will be measured, and no others.
///
/// # Errors
///
/// If it may not.
pub fn check_name(name: &str, is_whole: bool) -> Result<()> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
    ensure!(
        !name.is_empty() && !name.starts_with('.') && name.bytes().all(word),
        "--save-baseline {name}: a name has letters, digits, `-`, `_`, `.` and `+`"
    );
    ensure!(
        name != COMMITTED || is_whole,
        "--save-baseline {name} takes the rows of a plain `cargo xtask bench`"
    );
    Ok(())
}

/// What each boot executed when the committed one was saved; nothing if there is none.
///
/// # Errors
///
/// If it is no report.
pub fn committed_costs() -> Result<Vec<BootCost>> {
    let path = committed();
    if !path.is_file() {
        return Ok(Vec::new());
    }
    Ok(saved::read(&path)?.boots)
}

/// Where the baseline `name` is; a name that is a path, or of a file that is there, is that.
fn path(name: &str) -> PathBuf {
    if name == COMMITTED {
        return committed();
    }
    if name.contains('/') || Path::new(name).is_file() {
        return name.into();
    }
    folder().join(format!("{name}.json"))
}

fn committed() -> PathBuf {
    workspace::root().join("bench/baseline.json")
}

fn limits() -> PathBuf {
    workspace::root().join("bench/limits.toml")
}

fn folder() -> PathBuf {
    workspace::artifacts().join("baselines")
}

/// The names of those that there are.
fn known() -> Vec<String> {
    let saved = std::fs::read_dir(folder()).into_iter().flatten().flatten();
    let saved = saved.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some(name.strip_suffix(".json")?.to_owned())
    });
    let mut names: Vec<String> = saved.collect();
    names.sort();
    let committed = committed().is_file().then(|| COMMITTED.to_owned());
    committed.into_iter().chain(names).collect()
}

/// A file as the user knows it.
fn shown(path: &Path) -> String {
    let root = workspace::root();
    let inside = path.strip_prefix(root).unwrap_or(path);
    inside.display().to_string()
}

/// What a comparison needs of `report`, and nothing else.
fn stripped(report: &Report) -> Report {
    let path = |path: &Taken| Taken {
        histogram: Vec::new(),
        ..path.clone()
    };
    let row = |row: &Row| Row {
        about: String::new(),
        paths: row.paths.iter().map(path).collect(),
        ..row.clone()
    };
    Report {
        rows: report.rows.iter().map(row).collect(),
        goals: Vec::new(),
        timelines: Vec::new(),
        maps: Vec::new(),
        ..report.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_word_and_the_committed_baseline_has_all_rows() {
        assert!(check_name("before-1.2", false).is_ok());
        assert!(check_name(COMMITTED, true).is_ok());
        for (name, whole) in [("../x", true), ("", true), (".x", true), (COMMITTED, false)] {
            assert!(check_name(name, whole).is_err(), "{name}");
        }
    }

    #[test]
    fn a_baseline_is_found_by_its_name_or_by_its_file() {
        assert!(path(COMMITTED).ends_with("bench/baseline.json"));
        assert!(path("mine").ends_with("tessera/baselines/mine.json"));
        assert_eq!(path("runs/a.json"), Path::new("runs/a.json"));
        let error = Baseline::read("there-is-none").unwrap_err().to_string();
        assert!(error.contains("no such baseline"), "{error}");
    }

    #[test]
    fn what_is_committed_compares_as_the_whole_does() {
        let mut taken = Taken {
            path: "hit".into(),
            n: 200,
            sum: 4000,
            ..Taken::default()
        };
        taken.histogram = vec![(20, 200)];
        let row = Row {
            name: "a".into(),
            about: "About.".into(),
            n: 200,
            paths: vec![taken],
            ..Row::default()
        };
        let report = Report {
            rows: vec![row],
            ..Report::default()
        };
        let stripped = stripped(&report);
        assert!(stripped.rows[0].paths[0].histogram.is_empty());
        let limits = Limits::default();
        let comparison = Comparison::new("base", &stripped, &report, "*", &limits);
        assert_eq!(
            (comparison.verdict(), comparison.unchanged),
            (Verdict::Same, 1)
        );
    }
}
