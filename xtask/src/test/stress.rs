//! Stress: all allocators on all cores at once, on cores that really run at once.
//!
//! The image `qemu-tests` does it, booted with `cmd=stress`; here is how long, from which seed, and what
//! is told. A minute is enough to meet what is likely; `--stress MINUTES` is for the rest.

use super::Args;
use super::inside::account;
use super::machines::{Images, STRICT};
use super::pool::{Job, Results, tell};
use super::report::{Report, Verdict};
use crate::console::{self, Printer};
use crate::guest::{self, Boot, Event};
use crate::image::{Image, Target};
use crate::machine::{Board, MachineArgs};
use crate::process;
use anyhow::Result;
use std::time::{SystemTime, UNIX_EPOCH};

/// The section's tests begin so.
pub(super) const SECTION: &str = "stress/";
/// Seconds on each machine unless asked otherwise, and the seed.
const SECONDS: u64 = 15;
const SEED: u64 = 1;
/// Seconds that boot and the last round may take beyond what was asked for.
const GRACE_SECONDS: u64 = 120;
/// What QEMU is told, so that cores are threads of the host's and races are real.
const THREADS: [&str; 2] = ["-accel", "tcg,thread=multi"];

/// One machine that is stressed.
struct Case {
    name: &'static str,
    machine: MachineArgs,
    features: &'static [&'static str],
}

fn cases() -> Vec<Case> {
    let case = |name, board, features| Case {
        name,
        machine: MachineArgs {
            board,
            smp: Some(4),
            qemu: THREADS.map(str::to_owned).to_vec(),
            ..MachineArgs::default()
        },
        features,
    };
    vec![
        case("stress/virt/everything_comes_back", Board::Virt, &[]),
        case("stress/raspi4b/everything_comes_back", Board::Raspi4b, &[]),
        case(
            "stress/virt-hardened/everything_comes_back",
            Board::Virt,
            STRICT,
        ),
    ]
}

/// Plans the selected machines.
///
/// # Errors
///
/// If the user interrupts. An image that does not build is a failed test.
pub(super) fn plan<'a>(
    args: &Args,
    images: &mut Images,
    report: &mut Report,
    jobs: &mut Vec<Job<'a>>,
) -> Result<()> {
    let seconds = args.stress.map_or(SECONDS, |minutes| minutes * 60);
    let seed = args.seed.unwrap_or_else(|| match args.stress {
        Some(_) => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(SEED, |since| since.as_secs()),
        None => SEED,
    });
    let show = args.nocapture || args.stress.is_some();
    for case in cases() {
        if !args.selects(case.name) || report.lists(case.name) {
            continue;
        }
        match images.image(Target::Bin("qemu-tests"), case.features) {
            Ok(image) => jobs.push(Box::new(move |results: &Results| {
                let verdict = run(&case, &image, seconds, seed, show);
                let verdict = verdict.unwrap_or_else(|error| Verdict::Failed(format!("{error:#}")));
                tell(results, case.name, verdict);
            })),
            Err(error) if process::interrupted() => return Err(error),
            Err(error) => report.note(case.name, Verdict::Failed(format!("{error:#}"))),
        }
    }
    Ok(())
}

fn run(case: &Case, image: &Image, seconds: u64, seed: u64, show: bool) -> Result<Verdict> {
    let boot = Boot {
        image,
        machine: &MachineArgs {
            timeout: Some(seconds + GRACE_SECONDS),
            ..case.machine.clone()
        },
        command_line: format!("cmd=stress seconds={seconds} seed={seed}"),
        files: Vec::new(),
        icount: false,
        disk: None,
        quiet: !show,
        gdb: Some(""),
        folder: None,
    };
    let mut transcript = Printer::new(Vec::new(), false);
    let mut line = String::new();
    let outcome = guest::boot(&boot, &mut |event| {
        transcript.event(&event);
        if let (true, Event::Text(text)) = (show, &event) {
            line.push_str(text);
            if let Some(whole) = line.strip_suffix('\n') {
                console::say(format_args!("{}: {whole}", case.name));
                line.clear();
            }
        }
    })?;
    let why = match outcome.verdict() {
        Ok(0) => return Ok(Verdict::Passed),
        Ok(code) => format!("the guest exited with {code}"),
        Err(failure) => failure.to_string(),
    };
    let again = format!(
        "{why}; with seed {seed}: cargo xtask test --stress {} --seed {seed} {}",
        seconds.div_ceil(60),
        case.name
    );
    Ok(Verdict::Failed(account(&again, &transcript, &outcome)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_can_be_had_with_four_cores_that_run_at_once() {
        for case in cases() {
            assert!(case.name.starts_with(SECTION), "{}", case.name);
            case.machine.validate().unwrap();
            assert_eq!(case.machine.cores(), 4);
            assert_eq!(case.machine.qemu, THREADS);
        }
    }
}
