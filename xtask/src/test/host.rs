//! Tests that run on this machine: Cargo builds them, we run them and read what libtest says.

use super::Args;
use super::report::{Report, Verdict};
use crate::image::{self, Executable};
use crate::process::{self, Child};
use crate::workspace;
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// Builds and runs the host's tests.
///
/// # Errors
///
/// If the user interrupts. A build that fails is a failed test.
pub(super) fn run(args: &Args, report: &mut Report) -> Result<()> {
    let mut command = Command::new(image::cargo());
    command
        .current_dir(workspace::root())
        .args(["test", "--no-run", "--workspace", "--tests"])
        .args(["--message-format", "json-render-diagnostics"])
        // An image's log level would make its log statements link on the host.
        .env_remove("DEFMT_LOG")
        .stdout(Stdio::piped());
    let built = match image::executables(&mut command) {
        Ok(built) => built,
        Err(error) if process::interrupted() => return Err(error),
        Err(error) => {
            report.note("host/build", Verdict::Failed(format!("{error:#}")));
            return Ok(());
        }
    };
    built
        .iter()
        .filter(|built| built.is_test)
        .try_for_each(|built| suite(built, args, report))
}

/// Runs the selected tests of one executable.
fn suite(built: &Executable, args: &Args, report: &mut Report) -> Result<()> {
    let shown = |test: &str| format!("host/{}/{test}", built.package);
    let listed = process::output(test_command(built).args(["--list", "--format", "terse"]))?;
    let all = listed_tests(&listed);
    let chosen: BTreeSet<&str> = all
        .iter()
        .copied()
        .filter(|test| args.selects(&shown(test)))
        .collect();
    if chosen.is_empty() {
        return Ok(());
    }
    if args.list {
        chosen
            .iter()
            .for_each(|test| _ = report.lists(&shown(test)));
        return Ok(());
    }
    let mut command = test_command(built);
    if chosen.len() < all.len() {
        command.arg("--exact").args(&chosen);
    }
    let child = Child::spawn(command.stdout(Stdio::piped()).stderr(Stdio::inherit()))?;
    let output = child.stdout().context("the tests' output is not piped")?;
    let mut results = Results::default();
    for line in BufReader::new(output).lines() {
        if let Some((test, verdict)) = results.line(&line?) {
            report.note(&shown(&test), verdict);
        }
    }
    child.wait()?;
    for (test, account) in results.failures(&chosen) {
        report.note(&shown(&test), Verdict::Failed(account));
    }
    Ok(())
}

/// The executable as Cargo would start it: in its package's folder, and told where that is.
fn test_command(built: &Executable) -> Command {
    let mut command = Command::new(&built.path);
    command
        .current_dir(&built.folder)
        .env("CARGO_MANIFEST_DIR", &built.folder);
    command.stdin(Stdio::null());
    command
}

/// The names in libtest's list.
fn listed_tests(list: &str) -> Vec<&str> {
    list.lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .collect()
}

/// What libtest has said so far.
///
/// A passed or ignored test is told at once. A failed one is told at the end, when what it printed
/// has been read.
#[derive(Debug, Default)]
struct Results {
    told: BTreeSet<String>,
    failed: BTreeMap<String, String>,
    /// The failed test whose output is being read.
    reading: Option<String>,
}

impl Results {
    fn line(&mut self, line: &str) -> Option<(String, Verdict)> {
        let heading = line.strip_prefix("---- ");
        if let Some(name) = heading.and_then(|heading| heading.strip_suffix(" stdout ----")) {
            self.reading = Some(name.to_owned());
            return None;
        }
        if line == "failures:" || line.starts_with("test result: ") {
            self.reading = None;
        }
        if let Some(account) = self
            .reading
            .as_ref()
            .and_then(|name| self.failed.get_mut(name))
        {
            account.push_str(line);
            account.push('\n');
            return None;
        }
        let (name, result) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
        let name = name
            .strip_suffix(" - should panic")
            .unwrap_or(name)
            .to_owned();
        let verdict = match result.split_once(", ").unwrap_or((result, "ignored")) {
            ("ok", _) => Verdict::Passed,
            ("ignored", why) => Verdict::Skipped(why.to_owned()),
            ("FAILED", _) => {
                self.failed.insert(name, String::new());
                return None;
            }
            _ => return None,
        };
        self.told.insert(name.clone());
        Some((name, verdict))
    }

    /// The tests among `chosen` that failed, or of which nothing was heard.
    fn failures(self, chosen: &BTreeSet<&str>) -> Vec<(String, String)> {
        let mut failures: Vec<_> = self.failed.clone().into_iter().collect();
        for &test in chosen {
            if !self.told.contains(test) && !self.failed.contains_key(test) {
                let account = "the test process ended without a result".to_owned();
                failures.push((test.to_owned(), account));
            }
        }
        failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read() {
        let list =
            "mm::tests::a: test\nmm::tests::b: test\nx: benchmark\n\n2 tests, 1 benchmarks\n";
        assert_eq!(listed_tests(list), ["mm::tests::a", "mm::tests::b"]);
    }

    #[test]
    fn results_are_read_with_what_failed_tests_printed() {
        let output = "\nrunning 5 tests\ntest a ... ok\ntest b - should panic ... ok\n\
            test c ... ignored, takes an hour\ntest d ... FAILED\ntest e ... ignored\n\n\
            failures:\n\n---- d stdout ----\ntest x ... ok\nleft: 1\n\n\nfailures:\n    d\n\n\
            test result: FAILED. 2 passed; 1 failed; 2 ignored; 0 measured\n";
        let mut results = Results::default();
        let told: Vec<_> = output
            .lines()
            .filter_map(|line| results.line(line))
            .collect();
        let expected = [
            ("a".to_owned(), Verdict::Passed),
            ("b".to_owned(), Verdict::Passed),
            ("c".to_owned(), Verdict::Skipped("takes an hour".to_owned())),
            ("e".to_owned(), Verdict::Skipped("ignored".to_owned())),
        ];
        assert_eq!(told, expected);
        let chosen = ["a", "b", "c", "d", "e", "f"].into();
        let failures = results.failures(&chosen);
        assert_eq!(failures.len(), 2);
        assert_eq!(failures[0].0, "d");
        assert!(failures[0].1.contains("left: 1") && failures[0].1.contains("test x ... ok"));
        assert_eq!(
            failures[1],
            (
                "f".to_owned(),
                "the test process ended without a result".to_owned()
            )
        );
    }
}
