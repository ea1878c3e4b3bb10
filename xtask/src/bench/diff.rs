//! `bench --diff REV`: what another revision measures, by its own instrument.
//!
//! The revision is checked out to a folder of its own, outside of this workspace: inside, Cargo would read
//! this workspace's configuration on top of its own, and link it with both. It runs its own `cargo xtask
//! bench` with the arguments of this run. Dependencies that it builds are kept in `target/diff`.

use super::baseline::Baseline;
use crate::{console, process, workspace};
use anyhow::{Context, Result, ensure};
use std::ffi::OsString;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Options of this run that are not the other's, with their values.
const OURS: [&str; 7] = [
    "--diff",
    "--format",
    "--output",
    "--html",
    "--save-baseline",
    "--explain",
    "--jobs",
];
/// Those of them without a value.
const FLAGS: [&str; 1] = ["--explain"];
/// The option whose value is a file, which the other looks for elsewhere.
const FILE: &str = "--trace";

/// Measures the revision `rev` with the arguments of this process.
///
/// # Errors
///
/// If there is no such revision, it does not build or measure, or its reports are older than can be read.
pub fn measure(rev: &str) -> Result<Baseline> {
    let commit = git(&["rev-parse", "--verify", &format!("{rev}^{{commit}}")])
        .with_context(|| format!("--diff {rev}: no such revision"))?;
    let short = git(&["rev-parse", "--short", &commit])?;
    let folder = workspace::target_directory().join("diff");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot write to {}", folder.display()))?;
    let checkout = Checkout::new(&commit)?;
    let report = folder.join(format!("{short}.json"));
    let _ = std::fs::remove_file(&report);
    let mut command = Command::new("cargo");
    command
        .current_dir(checkout.0.path())
        .env("CARGO_TARGET_DIR", &folder)
        // Its own toolchain, as its own files pin it.
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO")
        .args(["xtask"])
        .args(arguments(std::env::args_os().skip(1))?)
        .args(["--format", "json", "--output"])
        .arg(&report)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    console::say(format_args!("measuring {rev} ({short})"));
    let status = process::Child::spawn(&mut command)?.wait()?;
    ensure!(
        report.is_file(),
        "{rev} could not be measured ({status}): `{}` in a checkout of it",
        process::line(&command)
    );
    let found = Baseline::of_file(&report).with_context(|| format!("--diff {rev}"));
    let _ = std::fs::remove_file(&report);
    Ok(found?.called(&format!("{rev} ({short})")))
}

/// A worktree, removed when dropped.
struct Checkout(TempDir);

impl Checkout {
    fn new(commit: &str) -> Result<Self> {
        // Those that interrupted runs left.
        let _ = git(&["worktree", "prune"]);
        let folder = tempfile::Builder::new().prefix("tessera-").tempdir();
        let folder = folder.context("cannot make a temporary folder")?;
        let shown = folder.path().to_string_lossy().into_owned();
        git(&[
            "worktree", "add", "--quiet", "--detach", "--force", &shown, commit,
        ])?;
        Ok(Self(folder))
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let shown = self.0.path().to_string_lossy();
        let _ = git(&["worktree", "remove", "--force", &shown]);
    }
}

fn git(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("git");
    command.current_dir(workspace::root()).args(arguments);
    Ok(process::output(&mut command)?.trim().to_owned())
}

/// What of `arguments` the other run is given.
fn arguments(mut arguments: impl Iterator<Item = OsString>) -> Result<Vec<OsString>> {
    let mut kept = Vec::new();
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        if text == "--" {
            kept.push(argument);
            kept.extend(arguments);
            break;
        }
        let (name, value) = text
            .split_once('=')
            .map_or((&*text, None), |(name, value)| {
                (name, Some(value.to_owned()))
            });
        if OURS.contains(&name) {
            if value.is_none() && !FLAGS.contains(&name) {
                arguments.next();
            }
        } else if name == FILE {
            let file = value.map(OsString::from).or_else(|| arguments.next());
            let file = file.unwrap_or_default();
            kept.push(FILE.into());
            kept.push(std::path::absolute(&file).context(FILE)?.into());
        } else {
            kept.push(argument);
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(text: &str) -> String {
        let words = text.split(' ').map(OsString::from);
        let words = arguments(words).unwrap();
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    #[test]
    fn the_other_run_gets_what_says_what_to_measure() {
        let all =
            "bench --filter kmalloc --diff main --format=md --seed 3 --output x --explain --smp 4";
        assert_eq!(passed(all), "bench --filter kmalloc --seed 3 --smp 4");
        assert_eq!(passed("bench --diff=main --quick"), "bench --quick");
    }

    #[test]
    fn a_file_is_found_from_elsewhere_too() {
        assert_eq!(
            passed("bench --trace /a/b.trace"),
            "bench --trace /a/b.trace"
        );
        let here = std::path::absolute("b.trace").unwrap();
        let expected = format!("bench --trace {}", here.display());
        assert_eq!(passed("bench --trace=b.trace"), expected);
    }
}
