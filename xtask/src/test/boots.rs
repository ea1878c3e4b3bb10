//! Whole images, booted as a user boots them.

use super::Args;
use super::inside::FATAL;
use super::machines::Images;
use super::pool::{Job, Results, tell};
use super::report::{Report, Verdict};
use super::reports;
use crate::console::{self, Printer};
use crate::guest::{self, Boot, Event};
use crate::image::{CALL_SITES, Image, Target};
use crate::machine::{Board, MachineArgs, Size};
use crate::report::{Reports, Selection};
use crate::{device_tree, process, run, workspace};
use anyhow::Result;
use std::path::PathBuf;
use wire::control::Control;
use wire::report::Kind;

/// The tour that `run` boots.
const TESSERA: Target<'static> = Target::Bin("tessera");
/// The app in the README.
const HELLO: Target<'static> = Target::Example("hello");

/// What a boot must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// The app says its name and ends with 0; and the disk is right, where there is one.
    CleanEnd,
    /// The same, and every report is whole and agrees with the others.
    Reports,
    /// The same, and the tour's allocations are listed by the lines that asked.
    CallSites,
    /// One line that names the device tree, and the code of a fatal fault.
    DeviceTreeRefused,
}

impl Expected {
    /// What the image is built with.
    const fn features(self) -> &'static [&'static str] {
        match self {
            Self::CallSites => &[CALL_SITES],
            _ => &[],
        }
    }
}

/// One boot that is a test.
struct Case {
    name: &'static str,
    target: Target<'static>,
    machine: MachineArgs,
    expected: Expected,
}

fn cases() -> Vec<Case> {
    let clean = |name, target, change: fn(&mut MachineArgs)| {
        let mut machine = MachineArgs::default();
        change(&mut machine);
        Case {
            name,
            target,
            machine,
            expected: Expected::CleanEnd,
        }
    };
    vec![
        clean("boot/virt/hello", HELLO, |_| {}),
        clean("boot/raspi4b/hello", HELLO, |machine| {
            machine.board = Board::Raspi4b;
        }),
        clean("boot/virt/tessera", TESSERA, |_| {}),
        clean("boot/virt-64M/tessera", TESSERA, |machine| {
            machine.mem = Some(Size(64 << 20));
        }),
        clean("boot/virt-8G/tessera", TESSERA, |machine| {
            machine.mem = Some(Size(8 << 30));
        }),
        clean("boot/virt-4-cores/tessera", TESSERA, |machine| {
            machine.smp = Some(4);
        }),
        clean("boot/virt-el3/tessera", TESSERA, |machine| {
            machine.el3 = true;
        }),
        clean("boot/raspi4b/tessera", TESSERA, |machine| {
            machine.board = Board::Raspi4b;
        }),
        Case {
            expected: Expected::Reports,
            ..clean("boot/virt-4-cores/reports_agree", TESSERA, |machine| {
                machine.smp = Some(4);
            })
        },
        Case {
            expected: Expected::Reports,
            ..clean("boot/raspi4b/reports_agree", TESSERA, |machine| {
                machine.board = Board::Raspi4b;
            })
        },
        Case {
            expected: Expected::CallSites,
            ..clean("boot/virt/call_sites_are_found", TESSERA, |_| {})
        },
        Case {
            expected: Expected::DeviceTreeRefused,
            ..clean(
                "boot/virt/a_malformed_device_tree_is_refused",
                TESSERA,
                |_| {},
            )
        },
    ]
}

/// Plans the selected boots.
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
    let show = args.nocapture;
    for case in cases() {
        if !args.selects(case.name) || report.lists(case.name) {
            continue;
        }
        match images.image(case.target, case.expected.features()) {
            Ok(image) => jobs.push(Box::new(move |results: &Results| {
                let mut transcript = Printer::new(Vec::new(), false);
                let verdict = match case.expected {
                    Expected::CleanEnd => clean_end(&case, &image, &mut transcript, &[]),
                    Expected::Reports => {
                        clean_end(&case, &image, &mut transcript, &[Selection::All])
                    }
                    Expected::CallSites => {
                        let only = [Selection::One(Kind::Callsites)];
                        clean_end(&case, &image, &mut transcript, &only)
                    }
                    Expected::DeviceTreeRefused => {
                        device_tree_refused(&case, &image, &mut transcript)
                    }
                };
                if show {
                    console::say(transcript.text());
                }
                let verdict = verdict.unwrap_or_else(|error| Verdict::Failed(format!("{error:#}")));
                tell(results, case.name, verdict);
            })),
            Err(error) if process::interrupted() => return Err(error),
            Err(error) => report.note(case.name, Verdict::Failed(format!("{error:#}"))),
        }
    }
    Ok(())
}

fn clean_end(
    case: &Case,
    image: &Image,
    transcript: &mut Printer<Vec<u8>>,
    selections: &[Selection],
) -> Result<Verdict> {
    let (mut named, mut said) = (false, false);
    let mut reports = Reports::new(selections);
    reports.look_up_in(&image.elf);
    let line = reports.parameter();
    let has_disk = case.target == TESSERA && case.machine.board == Board::Virt;
    let disk = has_disk.then(|| artifact(case.name, "disk"));
    let ended = run::boot(image, &case.machine, &line, disk, true, &mut |event| {
        transcript.event(&event);
        match event {
            Event::Control(Control::Hello { app }) => named |= app == case.target.name(),
            Event::Report(record) => reports.take(&record),
            Event::Text(text) => said |= !text.trim().is_empty(),
            _ => {}
        }
    });
    let at_el3 = transcript.text().contains("entered at EL3");
    let why = match ended {
        Ok(Ok(0)) if at_el3 != case.machine.el3 => "entered at another level than EL3".to_owned(),
        Ok(Ok(0)) if named && said => match &reports::wrong(&reports)[..] {
            [] => return Ok(Verdict::Passed),
            wrong => wrong.join("\n"),
        },
        Ok(Ok(0)) if !named => format!("no app called {} said hello", case.target.name()),
        Ok(Ok(0)) => "the app said nothing".to_owned(),
        Ok(Ok(code)) => format!("the guest exited with {code}"),
        Ok(Err(disk)) => disk,
        Err(error) => format!("{error:#}"),
    };
    Ok(Verdict::Failed(format!("{why}\n{}", transcript.text())))
}

fn device_tree_refused(
    case: &Case,
    image: &Image,
    transcript: &mut Printer<Vec<u8>>,
) -> Result<Verdict> {
    let mut tree = device_tree::of(&case.machine)?;
    device_tree::corrupt(&mut tree)?;
    let path = artifact(case.name, "dtb");
    crate::image::replace(&path, &tree)?;
    let machine = MachineArgs {
        dtb: Some(path),
        ..case.machine.clone()
    };
    let boot = Boot {
        image,
        machine: &machine,
        command_line: String::new(),
        files: Vec::new(),
        icount: false,
        disk: None,
        quiet: true,
        gdb: Some(""),
        folder: None,
    };
    let outcome = guest::boot(&boot, &mut |event| transcript.event(&event))?;
    let said = transcript.text();
    let lines = said
        .lines()
        .filter(|line| line.contains("device tree"))
        .count();
    if outcome.status == Some(FATAL) && lines == 1 {
        return Ok(Verdict::Passed);
    }
    let ended = match outcome.verdict() {
        Ok(code) => format!("the guest exited with {code}"),
        Err(failure) => failure.to_string(),
    };
    Ok(Verdict::Failed(format!(
        "{ended}; wanted: exit {FATAL}, and one line that names the device tree ({lines} do)\n\
         {said}{}\n{}",
        outcome.complaints.join("\n"),
        outcome.qemu_command
    )))
}

/// A file of the test called `name`.
fn artifact(name: &str, extension: &str) -> PathBuf {
    workspace::artifacts().join(format!("{}.{extension}", name.replace('/', "-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_boot_can_be_had_and_is_named_after_its_section() {
        for case in cases() {
            assert!(case.name.starts_with("boot/"), "{}", case.name);
            case.machine.validate().unwrap();
        }
    }
}
