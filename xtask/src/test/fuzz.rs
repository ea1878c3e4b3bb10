//! Fuzzing: the model tests of the allocators, fed by coverage.
//!
//! The tests are bolero's: under `cargo test` they draw at random, after whatever lies in their corpus.
//! Here they are built once more with LLVM's coverage and linked with libFuzzer, which comes with bolero;
//! the stable compiler does that. Each test that has a folder `__fuzz__/MODULE__TEST` beside its source is
//! fuzzed. What it finds goes to `target`, and what of that reaches more than the corpus did goes there.
//! An input that fails is left in `crashes` beside the corpus, where `cargo test` finds it too.

use super::pool::{Job, Results, tell};
use super::report::{Report, Verdict};
use super::{Args, pool};
use crate::image::{self, Executable};
use crate::{console, process, workspace};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How the names of these tests begin.
pub(super) const SECTION: &str = "fuzz/";
/// Seconds after which one input is taken for a hang.
const HANG_SECONDS: u64 = 60;
/// Bytes of the longest input.
const LONGEST: u32 = 1024;
/// How inputs are added to a corpus: the fewest that reach an edge which it does not.
const MERGE: &str = "-set_cover_merge=1 -use_counters=0";
/// How a build is made to tell libFuzzer what it covers.
const FLAGS: [&str; 10] = [
    "--cfg=fuzzing",
    "--cfg=fuzzing_libfuzzer",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions=on",
    "-Coverflow-checks=on",
];

/// A test with a corpus.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    /// Its path in the crate.
    test: String,
    /// Its folder, which holds `corpus` and `crashes`.
    folder: PathBuf,
}

/// Fuzzes each selected test for `minutes`.
///
/// # Errors
///
/// If the build fails, or the user interrupts.
pub(super) fn run(args: &Args, minutes: u64, report: &mut Report) -> Result<()> {
    let mut targets = Vec::new();
    find(&workspace::root().join("kernel/src"), &mut targets)?;
    targets.retain(|target| args.selects(&format!("{SECTION}{}", target.test)));
    ensure!(!targets.is_empty(), "no such test has a corpus");
    let built = build()?;
    let jobs = targets.iter().map(|target| -> Job<'_> {
        let built = &built;
        Box::new(move |results: &Results| {
            let verdict = fuzz(built, target, minutes * 60);
            let verdict = verdict.unwrap_or_else(|error| Verdict::Failed(format!("{error:#}")));
            tell(results, format!("{SECTION}{}", target.test), verdict);
        })
    });
    pool::run(jobs.collect(), report)
}

/// Adds the tests that have a folder in or below `folder`, in order.
fn find(folder: &Path, targets: &mut Vec<Target>) -> Result<()> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    entries.sort();
    let holds_corpora = folder.ends_with("__fuzz__");
    for entry in entries.into_iter().filter(|entry| entry.is_dir()) {
        if holds_corpora {
            let name = entry.file_name().unwrap_or_default().to_string_lossy();
            targets.push(Target {
                test: name.replace("__", "::"),
                folder: entry,
            });
        } else {
            find(&entry, targets)?;
        }
    }
    Ok(())
}

/// Builds the kernel's tests with coverage.
fn build() -> Result<Executable> {
    let version = process::output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let mut command = Command::new(image::cargo());
    command
        .current_dir(workspace::root())
        .args(["test", "--no-run", "--release", "-p", "kernel", "--lib"])
        // With a target, what builds the build is not instrumented.
        .args(["--target", host.context("rustc names no host")?])
        .arg("--target-dir")
        .arg(workspace::target_directory().join("fuzz"))
        .args(["--message-format", "json-render-diagnostics"])
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"))
        .env("BOLERO_FUZZER", "libfuzzer")
        .env_remove("DEFMT_LOG")
        .stdout(Stdio::piped());
    let built = image::executables(&mut command)?;
    let tests = built.into_iter().find(|built| built.is_test);
    tests.context("cargo built no tests")
}

/// Fuzzes one test.
fn fuzz(built: &Executable, target: &Target, seconds: u64) -> Result<Verdict> {
    let [corpus, crashes] = ["corpus", "crashes"].map(|part| target.folder.join(part));
    let found = workspace::artifacts().join("fuzz").join(&target.test);
    for folder in [&corpus, &found] {
        std::fs::create_dir_all(folder)?;
    }
    let (corpus, found) = (corpus.display(), found.display());
    let limits = format!("-max_len={LONGEST} -timeout={HANG_SECONDS}");
    let crash = format!("-artifact_prefix={}/", crashes.display());
    std::fs::create_dir_all(&crashes)?;
    let fuzzed = libfuzzer(
        built,
        target,
        &format!("{found} {corpus} -len_control=0 -max_total_time={seconds} {limits} {crash}"),
    );
    // Empty unless an input failed.
    let _kept = std::fs::remove_dir(&crashes);
    let said = match fuzzed {
        Ok(said) => said,
        Err(error) => {
            let input = format!("the input is in {}", crashes.display());
            return Ok(Verdict::Failed(format!("{error:#}\n{input}")));
        }
    };
    let summary = said.lines().rev().find(|line| line.contains("DONE"));
    let summary = summary.unwrap_or_default().trim();
    console::say(format_args!("{}: {summary}", target.test));
    libfuzzer(built, target, &format!("{MERGE} {corpus} {found} {limits}"))?;
    Ok(Verdict::Passed)
}

/// Runs the test under libFuzzer; returns what that said.
fn libfuzzer(built: &Executable, target: &Target, arguments: &str) -> Result<String> {
    let mut command = Command::new(&built.path);
    command
        .current_dir(&built.folder)
        .args([&target.test, "--exact", "--nocapture", "--quiet"])
        .args(["--test-threads", "1"])
        .env("BOLERO_TEST_NAME", &target.test)
        .env("BOLERO_LIBTEST_HARNESS", "1")
        .env("BOLERO_LIBFUZZER_ARGS", arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let child = process::Child::spawn(&mut command)?;
    let errors = child.stderr().context("the fuzzer's output is not piped")?;
    let said = std::io::read_to_string(errors)?;
    let status = child.wait()?;
    let lines: Vec<&str> = said.lines().collect();
    let last = lines[lines.len().saturating_sub(60)..].join("\n");
    ensure!(status.success(), "the fuzzer ended with {status}\n{last}");
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_beside_the_source_names_the_test() {
        let root = tempfile::tempdir().unwrap();
        let folder = root
            .path()
            .join("mm/frames/__fuzz__/mm__frames__tests__all");
        std::fs::create_dir_all(folder.join("corpus")).unwrap();
        let mut targets = Vec::new();
        find(root.path(), &mut targets).unwrap();
        let test = "mm::frames::tests::all".to_owned();
        assert_eq!(targets, [Target { test, folder }]);
    }

    #[test]
    fn every_allocator_has_a_corpus() {
        let mut targets = Vec::new();
        find(&workspace::root().join("kernel/src"), &mut targets).unwrap();
        for module in ["frames", "slab", "area", "vmalloc", "memblock", "table"] {
            let fuzzed = |target: &Target| target.test.contains(&format!("::{module}::"));
            assert!(targets.iter().any(fuzzed), "{module}");
        }
    }
}
