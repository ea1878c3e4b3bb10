//! Tests inside booted images.
//!
//! The image `qemu-tests` lists its tests when booted with `cmd=list`. Those that return run one
//! after the other in one machine (`cmd=run`); one that takes the machine down with it is the failed
//! one, and a fresh machine goes on after it. A test that is meant to end the machine gets one of its
//! own, and passes only if exactly the fault that it announces was reported: the text, the dump, and
//! the exit code of a fatal fault.

use super::Args;
use super::machines::{COUNTING, Images, kinds};
use super::pool::{Job, Results, tell};
use super::report::{Report, Verdict};
use crate::console::Printer;
use crate::guest::{self, Boot, Event, Outcome};
use crate::image::{Image, Target};
use crate::machine::MachineArgs;
use crate::process;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::sync::Arc;
use wire::control::Control;

/// The code that the kernel exits with on a fatal fault or panic.
pub(super) const FATAL: i32 = 70;

/// What the kernel says of a fault while it reports one. That ends in one line, without a dump.
const FAULT_WHILE_REPORTING: &str = "fault inside the fault handler";

/// The name of the failure of a machine that did not end as it should after its last test.
const ENDS_CLEANLY: &str = "the_machine_ends_cleanly";

/// A test that an image holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Test {
    name: String,
    faults_with: Option<String>,
}

/// Boots with a command line; hands the events on.
type Start<'a> = &'a mut dyn FnMut(&str, &mut dyn FnMut(Event<'_>)) -> Result<Outcome>;

/// Plans the selected tests.
///
/// # Errors
///
/// If the user interrupts. An image that does not build or list its tests is a failed test.
pub(super) fn plan<'a>(
    args: &Args,
    images: &mut Images,
    report: &mut Report,
    jobs: &mut Vec<Job<'a>>,
) -> Result<()> {
    let mut lists: Vec<(Arc<Image>, Vec<Test>)> = Vec::new();
    for kind in kinds() {
        if !args.wants_machine(kind.name) {
            continue;
        }
        let prefix = format!("qemu/{}/", kind.name);
        let image = images.image(Target::Bin("qemu-tests"), kind.features);
        let listed = image.and_then(|image| {
            let (machine, show) = (kind.machine, args.nocapture);
            let on = Bootable {
                prefix: prefix.clone(),
                image,
                machine,
                icount: kind.icount,
                show,
            };
            let known = lists
                .iter()
                .find(|(listed, _)| listed.name == on.image.name);
            if let Some((_, tests)) = known {
                return Ok((on, tests.clone()));
            }
            let tests = list(&mut |line, on_event| on.boot(line, on_event))
                .with_context(|| format!("{} does not list its tests", on.image.name))?;
            lists.push((Arc::clone(&on.image), tests.clone()));
            Ok((on, tests))
        });
        match listed {
            Ok((on, tests)) => plan_kind(args, &on, tests, report, jobs),
            Err(error) if process::interrupted() => return Err(error),
            Err(error) => report.note(
                &format!("{prefix}build"),
                Verdict::Failed(format!("{error:#}")),
            ),
        }
    }
    Ok(())
}

impl Args {
    /// Whether a test inside an image on the machine called `name` can have been asked for.
    fn wants_machine(&self, name: &str) -> bool {
        let prefix = format!("qemu/{name}/");
        let names_it = |filter: &String| {
            !filter.starts_with("qemu/")
                || filter.starts_with(&prefix)
                || prefix.starts_with(filter.as_str())
        };
        self.filters.is_empty() || self.filters.iter().any(names_it)
    }
}

/// A kind of machine with the image to boot on it.
#[derive(Clone, Debug)]
struct Bootable {
    /// How the names of the tests on it begin.
    prefix: String,
    image: Arc<Image>,
    machine: MachineArgs,
    icount: bool,
    /// Whether what it says is shown as it comes.
    show: bool,
}

impl Bootable {
    fn boot(&self, line: &str, on_event: &mut dyn FnMut(Event<'_>)) -> Result<Outcome> {
        let unit = if self.icount {
            " unit=instructions"
        } else {
            ""
        };
        let boot = Boot {
            image: &self.image,
            machine: &self.machine,
            command_line: format!("{line}{unit}"),
            files: Vec::new(),
            icount: self.icount,
            disk: None,
            // One line for each kind of machine is enough, unless there is much to look at.
            quiet: !self.show && line.contains("only="),
            gdb: Some(""),
            folder: None,
        };
        let mut shown = self.show.then(Printer::stderr);
        guest::boot(&boot, &mut |event| {
            shown.iter_mut().for_each(|printer| printer.event(&event));
            on_event(event);
        })
    }
}

fn plan_kind<'a>(
    args: &Args,
    on: &Bootable,
    tests: Vec<Test>,
    report: &mut Report,
    jobs: &mut Vec<Job<'a>>,
) {
    let shown = |test: &Test| format!("{}{}", on.prefix, test.name);
    let (fatal, returning): (Vec<Test>, Vec<Test>) = tests
        .into_iter()
        .filter(|test| test.name.starts_with(COUNTING) == on.icount)
        .partition(|test| test.faults_with.is_some());
    let all = returning.len();
    let mut select = |tests: Vec<Test>| -> Vec<Test> {
        let selected = tests.into_iter().filter(|test| args.selects(&shown(test)));
        selected
            .filter(|test| !report.lists(&shown(test)))
            .collect()
    };
    let (batch, fatal) = (select(returning), select(fatal));
    if !batch.is_empty() {
        let (on, whole) = (on.clone(), batch.len() == all && !on.icount);
        let names: Vec<String> = batch.into_iter().map(|test| test.name).collect();
        jobs.push(Box::new(move |results: &Results| {
            let mut boot =
                |line: &str, on_event: &mut dyn FnMut(Event<'_>)| on.boot(line, on_event);
            run_batch(&names, whole, &mut boot, &mut |name, verdict| {
                tell(results, format!("{}{name}", on.prefix), verdict);
            });
        }));
    }
    for test in fatal {
        let on = on.clone();
        jobs.push(Box::new(move |results: &Results| {
            let verdict = run_fatal(&test, &mut |line, on_event| on.boot(line, on_event));
            tell(results, format!("{}{}", on.prefix, test.name), verdict);
        }));
    }
}

/// The tests that an image holds.
fn list(start: Start<'_>) -> Result<Vec<Test>> {
    let mut tests = Vec::new();
    let mut transcript = Printer::new(Vec::new(), false);
    let outcome = start("cmd=list", &mut |event| {
        transcript.event(&event);
        if let Event::Control(Control::Test { name, faults_with }) = event {
            let faults_with = faults_with.map(str::to_owned);
            tests.push(Test {
                name: name.to_owned(),
                faults_with,
            });
        }
    })?;
    let code = outcome
        .verdict()
        .with_context(|| account("", &transcript, &outcome))?;
    anyhow::ensure!(
        code == 0 && !tests.is_empty(),
        "{}",
        account("no tests", &transcript, &outcome)
    );
    Ok(tests)
}

/// What is told of a failed boot: why, what the guest said, and how to boot it again.
pub(super) fn account(why: &str, transcript: &Printer<Vec<u8>>, outcome: &Outcome) -> String {
    let said = transcript.text();
    let said = said.trim();
    let complaints = outcome.complaints.join("\n");
    let parts = [why, said, &complaints, &outcome.qemu_command];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("\n")
}

/// How one boot of a batch went.
#[derive(Default)]
struct Progress {
    results: Vec<(String, Verdict)>,
    running: Option<String>,
}

impl Progress {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Control(Control::Begin { name }) => self.running = Some((*name).to_owned()),
            Event::Control(Control::End { failure }) => {
                let verdict =
                    failure.map_or(Verdict::Passed, |why| Verdict::Failed(why.to_owned()));
                self.results
                    .extend(self.running.take().map(|name| (name, verdict)));
            }
            Event::Control(Control::Skip { name, why }) => {
                self.running = None;
                self.results
                    .push(((*name).to_owned(), Verdict::Skipped((*why).to_owned())));
            }
            _ => {}
        }
    }
}

/// Runs tests that return, in as few machines as it takes; `whole` says that they are all there are.
fn run_batch(
    names: &[String],
    whole: bool,
    start: Start<'_>,
    on_result: &mut dyn FnMut(&str, Verdict),
) {
    let mut left: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let mut last: Option<String> = None;
    while !left.is_empty() {
        let line = match (&last, whole) {
            (None, true) => "cmd=run".to_owned(),
            (Some(last), true) => format!("cmd=run after={last}"),
            (_, false) => {
                let only = names.iter().map(String::as_str);
                let only = only.filter(|name| left.contains(name));
                format!("cmd=run only={}", only.collect::<Vec<_>>().join(","))
            }
        };
        let (results, why) = run_once(&line, start);
        let before = left.len();
        for (name, verdict) in results {
            if left.remove(name.as_str()) {
                on_result(&name, verdict);
                last = Some(name);
            } else if name == ENDS_CLEANLY {
                on_result(&name, verdict);
            }
        }
        if why.is_none() || left.len() == before || process::interrupted() {
            let why = why.unwrap_or_else(|| "the image did not run it".to_owned());
            left.iter()
                .for_each(|name| on_result(name, Verdict::Failed(why.clone())));
            return;
        }
    }
}

/// Boots once; returns the results, and why the machine did not end as it should, if it did not.
///
/// The test that was running then has failed. If none was, the machine has.
fn run_once(line: &str, start: Start<'_>) -> (Vec<(String, Verdict)>, Option<String>) {
    let mut progress = Progress::default();
    let mut transcript = Printer::new(Vec::new(), false);
    let booted = start(line, &mut |event| {
        transcript.event(&event);
        progress.event(&event);
    });
    let why = match &booted {
        Ok(outcome) => {
            why_not_clean(outcome, &progress).map(|why| account(&why, &transcript, outcome))
        }
        Err(error) => Some(format!("{error:#}")),
    };
    if let Some(why) = &why {
        let failed = match progress.running {
            Some(running) => Some(running),
            None if progress.results.is_empty() => None,
            None => Some(ENDS_CLEANLY.to_owned()),
        };
        let failed = failed.map(|name| (name, Verdict::Failed(why.clone())));
        progress.results.extend(failed);
    }
    (progress.results, why)
}

/// What is wrong with the end of a batch's boot: its code must agree with its results.
fn why_not_clean(outcome: &Outcome, progress: &Progress) -> Option<String> {
    let failed = progress
        .results
        .iter()
        .any(|(_, verdict)| matches!(verdict, Verdict::Failed(_)));
    match outcome.verdict() {
        Err(failure) => Some(failure.to_string()),
        Ok(_) if progress.running.is_some() => Some("the run ended within the test".to_owned()),
        Ok(code) if (code == 0) == failed => Some(format!("the image exited with {code}")),
        Ok(_) => None,
    }
}

/// What was seen of a test that must end its machine.
#[derive(Default)]
struct Seen {
    plain: String,
    begun: bool,
    dumped: bool,
    came_back: bool,
    skipped: Option<String>,
}

impl Seen {
    fn event(&mut self, test: &Test, event: &Event<'_>) {
        match event {
            Event::Plain(text) => self.plain.push_str(text),
            Event::Fault(backtrace) => self.dumped |= !backtrace.frames.is_empty(),
            Event::Control(Control::Begin { name }) => self.begun |= *name == test.name,
            Event::Control(Control::End { .. }) => self.came_back = true,
            Event::Control(Control::Skip { why, .. }) => self.skipped = Some((*why).to_owned()),
            _ => {}
        }
    }

    /// What is not as the test announced it.
    fn wrong(&self, test: &Test, outcome: &Outcome) -> Vec<String> {
        let text = test.faults_with.as_deref().unwrap_or_default();
        let hung = outcome.timed_out.is_some();
        let checks = [
            (self.begun, "it never began".to_owned()),
            (
                !self.came_back,
                "it came back instead of faulting".to_owned(),
            ),
            (!hung, "the machine hung and was stopped".to_owned()),
            (
                hung || outcome.status == Some(FATAL),
                format!("QEMU's status is {:?} instead of {FATAL}", outcome.status),
            ),
            (
                self.plain.contains(text),
                format!("nothing on the line said `{text}`"),
            ),
            (
                self.dumped || text == FAULT_WHILE_REPORTING,
                "no dump of the fault arrived".to_owned(),
            ),
        ];
        let wrong = checks.into_iter().filter(|(holds, _)| !holds);
        wrong.map(|(_, why)| why).collect()
    }
}

/// Runs a test that must end its machine in one way and no other.
fn run_fatal(test: &Test, start: Start<'_>) -> Verdict {
    let mut seen = Seen::default();
    let mut transcript = Printer::new(Vec::new(), false);
    let booted = start(&format!("cmd=run only={}", test.name), &mut |event| {
        transcript.event(&event);
        seen.event(test, &event);
    });
    let outcome = match booted {
        Ok(outcome) => outcome,
        Err(error) => return Verdict::Failed(format!("{error:#}")),
    };
    if let (Some(why), Ok(0)) = (&seen.skipped, outcome.verdict()) {
        return Verdict::Skipped(why.clone());
    }
    let wrong = seen.wrong(test, &outcome);
    match wrong.is_empty() {
        true => Verdict::Passed,
        false => Verdict::Failed(account(&wrong.join("; "), &transcript, &outcome)),
    }
}

#[cfg(test)]
mod tests;
