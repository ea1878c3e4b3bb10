//! Other allocators beside ours: which there are, and the table that compares them.

use super::report::{Report, Row};
use crate::workspace;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write};

/// The crates, by the names that `--peers` takes; each has a feature `peer-NAME` in `bench`.
const CRATES: [(&str, &str); 11] = [
    ("ax-allocator", "ax-allocator"),
    ("buddy-alloc", "buddy-alloc"),
    ("buddy-slab-allocator", "buddy-slab-allocator"),
    ("buddy-system-allocator", "buddy_system_allocator"),
    ("dlmalloc", "dlmalloc"),
    ("embedded-alloc", "embedded-alloc"),
    ("good-memory-allocator", "good_memory_allocator"),
    ("linked-list-allocator", "linked_list_allocator"),
    ("rlsf", "rlsf"),
    ("slab-allocator-rs", "slab_allocator_rs"),
    ("talc", "talc"),
];
/// What stands for all of them.
const ALL: &str = "all";
/// The feature of `bench` that stands for all of theirs.
const EVERY_FEATURE: &str = "peers";
/// How the names of their rows begin.
const FRONT: &str = "peer/";

/// What the kernel's own allocator is called among them.
pub const OURS: &str = "tessera";

/// A crate that was measured beside ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The crate.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// The features of `bench` that the peers called `names` need.
///
/// # Errors
///
/// If one has no such name.
pub fn features(names: &[String]) -> Result<Vec<String>> {
    for name in names {
        if name != ALL && CRATES.iter().all(|(known, _)| known != name) {
            let known: Vec<&str> = CRATES.iter().map(|(known, _)| *known).collect();
            bail!("--peers {name}: there are {ALL}, {}", known.join(", "));
        }
    }
    if names.iter().any(|name| name == ALL) {
        return Ok(vec![EVERY_FEATURE.to_owned()]);
    }
    let wanted = CRATES
        .iter()
        .filter(|(name, _)| names.iter().any(|asked| asked == name));
    Ok(wanted.map(|(name, _)| format!("peer-{name}")).collect())
}

/// The crates behind `features`, with the versions in the lock file.
///
/// # Errors
///
/// If it cannot be read or names none of them.
pub fn of(features: &[String]) -> Result<Vec<Peer>> {
    let has = |feature: &str| features.iter().any(|other| other == feature);
    let crates = CRATES
        .iter()
        .filter(|(name, _)| has(&format!("peer-{name}")) || has(EVERY_FEATURE));
    let crates: Vec<&str> = crates.map(|(_, name)| *name).collect();
    locked(&crates)
}

/// `crates` with the versions in the lock file.
///
/// # Errors
///
/// If it cannot be read or names none of them.
pub fn locked(crates: &[&str]) -> Result<Vec<Peer>> {
    let path = workspace::root().join("Cargo.lock");
    let lock = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let peer = |name: &&str| {
        let version = version_in(&lock, name).with_context(|| format!("{name} is not locked"))?;
        let name = (*name).to_owned();
        Ok(Peer { name, version })
    };
    crates.iter().map(peer).collect()
}

/// The newest version of the package `name` in a lock file.
fn version_in(lock: &str, name: &str) -> Option<String> {
    let package = format!("name = \"{name}\"\nversion = \"");
    let versions = lock.split(&package).skip(1);
    let versions = versions.filter_map(|rest| rest.split_once('"'));
    let numbers = |version: &str| -> Vec<u32> {
        let parts = version.split('.');
        parts.map(|part| part.parse().unwrap_or(0)).collect()
    };
    let newest = versions.max_by_key(|(version, _)| numbers(version));
    newest.map(|(version, _)| version.to_owned())
}

/// The allocators of the line-up in `report`, in the order measured.
pub fn allocators(report: &Report) -> Vec<&str> {
    let names = report.rows.iter().map(|row| row.name.as_str());
    let names = names.chain(report.values.iter().map(|value| value.name.as_str()));
    let mut found: Vec<&str> = Vec::new();
    for name in names.filter_map(|name| name.strip_prefix(FRONT)?.split('/').next()) {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// What the table compares: a heading, a family, and the figure of its rows.
type Column = (&'static str, &'static str, fn(&Row) -> String);

const COLUMNS: [Column; 10] = [
    ("hot 64", "hot-64", mean),
    ("hot 4096", "hot-4096", mean),
    ("64 fifo", "batch-64/fifo", mean),
    ("64 lifo", "batch-64/lifo", mean),
    ("64 random", "batch-64/random", mean),
    ("toggle", "mixed/toggle", mean),
    ("toggle p99", "mixed/toggle", |row| row.p99.to_string()),
    ("toggle max", "mixed/toggle", |row| row.max.to_string()),
    ("replace", "mixed/replace-1024", mean),
    ("fragmented", "mixed/fragmented", mean),
];

fn mean(row: &Row) -> String {
    format!("{:.0}", row.mean)
}

/// A line for each allocator: alloc/free, instructions, the mean unless the heading says otherwise; and
/// what it used of 64 MiB. With the headings first; empty if no allocator was measured.
pub fn table(report: &Report) -> Vec<Vec<String>> {
    let allocators = allocators(report);
    if allocators.is_empty() {
        return Vec::new();
    }
    let headings = COLUMNS.iter().map(|(heading, ..)| (*heading).to_owned());
    let headings = std::iter::once("alloc/free".to_owned()).chain(headings);
    let headings = headings.chain(std::iter::once("of 64 MiB".to_owned()));
    let line = |allocator: &&str| {
        let cell = |(_, family, figure): &Column| {
            let of = |operation: &str| {
                let name = format!("{FRONT}{allocator}/{family}/{operation}");
                let row = report.rows.iter().find(|row| row.name == name);
                row.map_or_else(|| "–".to_owned(), figure)
            };
            format!("{}/{}", of("alloc"), of("free"))
        };
        // The kernel's own is measured on page frames, not in an arena.
        let front = match *allocator {
            OURS => String::new(),
            other => format!("{FRONT}{other}/"),
        };
        let name = format!("{front}used-of-64MiB/ratio");
        let used = report.values.iter().find(|value| value.name == name);
        let used = used.map_or_else(
            || "–".to_owned(),
            |used| format!("{}.{} %", used.value / 10, used.value % 10),
        );
        std::iter::once((*allocator).to_owned())
            .chain(COLUMNS.iter().map(cell))
            .chain(std::iter::once(used))
            .collect()
    };
    std::iter::once(headings.collect())
        .chain(allocators.iter().map(line))
        .collect()
}

/// The table for a document.
pub fn markdown(report: &Report) -> String {
    let mut text = String::new();
    for (line, cells) in table(report).iter().enumerate() {
        let _ = writeln!(text, "| {} |", cells.join(" | "));
        if line == 0 {
            let _ = writeln!(text, "|{}", "---|".repeat(cells.len()));
        }
    }
    text
}

/// The table as aligned text.
pub fn text(report: &Report) -> String {
    let table = table(report);
    let width = |column: usize| {
        let cells = table.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let mut text = String::new();
    for line in &table {
        for (column, cell) in line.iter().enumerate() {
            let _ = match column {
                0 => write!(text, "{cell:width$}", width = width(0)),
                _ => write!(text, "  {cell:>width$}", width = width(column)),
            };
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_known_by_its_name() {
        let names =
            |names: &[&str]| -> Vec<String> { names.iter().map(|&n| n.to_owned()).collect() };
        assert_eq!(features(&names(&["talc", "all"])).unwrap(), [EVERY_FEATURE]);
        let two = features(&names(&["talc", "rlsf"])).unwrap();
        assert_eq!(two, ["peer-rlsf", "peer-talc"]);
        assert!(features(&[]).unwrap().is_empty());
        let error = features(&names(&["malloc"])).unwrap_err().to_string();
        assert!(
            error.starts_with("--peers malloc: there are all, ax-allocator, "),
            "{error}"
        );
    }

    #[test]
    fn every_peer_is_a_feature_of_the_image_and_its_version_is_locked() {
        let path = workspace::root().join("bench/Cargo.toml");
        let manifest = std::fs::read_to_string(path).unwrap();
        for (name, _) in CRATES {
            let feature = &features(&[name.to_owned()]).unwrap()[0];
            assert!(manifest.contains(&format!("\n{feature} = [")), "{feature}");
        }
        assert_eq!(manifest.matches("\npeer-").count(), CRATES.len());
        let all = of(&[EVERY_FEATURE.to_owned()]).unwrap();
        assert_eq!(all.len(), CRATES.len());
    }

    #[test]
    fn of_two_versions_the_newer_one_is_ours() {
        let lock = "[[package]]\nname = \"x\"\nversion = \"0.9.0\"\n\n\
                    [[package]]\nname = \"x\"\nversion = \"0.13.1\"\n";
        assert_eq!(version_in(lock, "x"), Some("0.13.1".into()));
        assert_eq!(version_in(lock, "y"), None);
    }
}
