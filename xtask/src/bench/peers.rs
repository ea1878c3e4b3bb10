//! Other allocators beside ours: which there are, and what their boots need. `line_up` compares them.

use crate::machine::{Board, MachineArgs, Size};
use crate::trace::{Loaded, memory};
use crate::workspace;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fmt;
use wire::trace::Trace;

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
/// The first word of their rows' names.
pub const FRONT: &str = "peer";
/// The third word of those of page frames, and of those of traces.
const PAGES: &str = "pages";
const TRACE: &str = "trace";
/// Memory of a machine for page frames: 256 MiB that start a multiple of that, and the kernel.
const FRAMES_MEMORY: Size = Size(1 << 30);

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

/// The names, as `--peers` takes them, that bring the allocator called `allocator`: its crate, or all if
/// none is known by it.
pub fn behind(allocator: &str) -> Vec<String> {
    let allocator = allocator.replace('_', "-");
    if allocator == OURS {
        return Vec::new();
    }
    let crates = CRATES.iter().map(|(name, _)| *name);
    let of = crates.filter(|name| allocator.starts_with(name));
    let longest = of.max_by_key(|name| name.len());
    vec![longest.unwrap_or(ALL).to_owned()]
}

/// Whether an allocator of the line-up may have `name`: ours, or that of a crate of it.
pub(super) fn is_taken(name: &str) -> bool {
    let is_of = |krate: &str| name == krate || name.starts_with(&format!("{krate}-"));
    let mut crates = CRATES.iter().flat_map(|(name, krate)| [*name, *krate]);
    name == OURS || crates.any(is_of)
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

/// What a boot for the rows of `family` replays of `traces`.
pub(super) fn replayed<'a>(family: &str, traces: &'a [Loaded]) -> &'a [Loaded] {
    let words: Vec<&str> = family.split('/').collect();
    let [FRONT, _, TRACE, name] = words[..] else {
        return &[];
    };
    let of = traces.chunks(1).find(|trace| trace[0].name == name);
    of.unwrap_or_default()
}

/// The machine for a boot that measures `family`: as asked for, and larger if nobody asked for a size. If
/// it is too small, the image says what it leaves out.
pub(super) fn sized(
    machine: &MachineArgs,
    family: &str,
    image_bytes: u64,
    traces: &[Loaded],
) -> MachineArgs {
    let mut machine = machine.clone();
    machine.timeout.get_or_insert(super::TIMEOUT_SECONDS);
    if machine.mem.is_some() || machine.board != Board::Virt {
        return machine;
    }
    let arenas = traces.iter().filter_map(|trace| Trace::parse(&trace.bytes));
    let arena = arenas.map(|trace| trace.totals.arena_bytes()).max();
    let needed = if let Some(arena) = arena {
        let footprints = traces.iter().map(|trace| &trace.footprint);
        // The arena starts a multiple of 64 MiB somewhere in its area.
        Size(memory::needed(image_bytes, footprints).0 + arena + (64 << 20))
    } else if family.split('/').nth(2) == Some(PAGES) {
        FRAMES_MEMORY
    } else {
        return machine;
    };
    machine.mem = Some(needed.max(machine.memory()));
    machine
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
    fn the_crate_of_an_allocator_is_known_by_its_name() {
        assert_eq!(
            behind("buddy_system_allocator+irq"),
            ["buddy-system-allocator"]
        );
        assert_eq!(behind("embedded-alloc-llff"), ["embedded-alloc"]);
        assert_eq!(behind("something"), [ALL]);
        assert!(behind(OURS).is_empty());
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
