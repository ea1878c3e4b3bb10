//! `cargo xtask run`: boots Tessera, or an example app, and shows what it says.

use crate::console::{self, Printer};
use crate::guest::{self, Boot, Event};
use crate::image::{self, Image, Target};
use crate::machine::{Board, MachineArgs};
use crate::report::{Format, Reports, Selection};
use crate::{disk, setup, workspace};
use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::path::PathBuf;
use wire::report::Kind;

/// The exit status for a guest that ended well, but whose disk is wrong or whose reports are not whole.
const GUEST_FAILED: u8 = 1;

/// What to run.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Boot this example app instead of the tour
    #[arg(long, value_name = "NAME")]
    pub example: Option<String>,
    /// Print these reports on memory, as things stand when the app ends. `all` is every one but
    /// callsites, for which the image is built to note who allocates. What the app says goes to
    /// standard error then
    #[arg(long = "report", value_name = "REPORT", value_delimiter = ',', value_parser = selections())]
    pub reports: Vec<Selection>,
    /// How reports are printed [default: text]
    #[arg(long, value_enum, requires = "reports")]
    pub format: Option<Format>,
    /// The machine.
    #[command(flatten)]
    pub machine: MachineArgs,
}

fn selections() -> impl TypedValueParser<Value = Selection> {
    PossibleValuesParser::new(Selection::names()).map(|name| Selection::from_name(&name))
}

/// Boots, prints everything, and returns the guest's exit code.
///
/// # Errors
///
/// If the image does not build, the machine cannot be started, or the run does not count.
pub fn command(args: &Args) -> Result<u8> {
    args.machine.validate()?;
    setup::ensure(args.machine.yes)?;
    let target = match &args.example {
        Some(name) => Target::Example(name),
        None => Target::Bin("tessera"),
    };
    let mut reports = Reports::new(&args.reports);
    let features: &[&str] = match reports.wants(Kind::Callsites) {
        true => &[image::CALL_SITES],
        false => &[],
    };
    let image = image::build("kernel", target, features)?;
    reports.look_up_in(&image.elf);
    let mut show: Box<dyn FnMut(&Event<'_>)> = if reports.is_empty() {
        let mut printer = Printer::stdout();
        Box::new(move |event| printer.event(event))
    } else {
        let mut printer = Printer::stderr();
        Box::new(move |event| printer.event(event))
    };
    let parameter = reports.parameter();
    let disk = (args.example.is_none() && args.machine.board == Board::Virt)
        .then(|| workspace::artifacts().join("disk.img"));
    let ended = boot(
        &image,
        &args.machine,
        &parameter,
        disk,
        false,
        &mut |event| {
            show(&event);
            if let Event::Report(record) = &event {
                reports.take(record);
            }
        },
    )?;
    let code = ended.unwrap_or_else(|why| {
        console::say(format_args!("error: {why}"));
        GUEST_FAILED
    });
    if reports.is_empty() {
        return Ok(code);
    }
    match reports.render(args.format.unwrap_or_default()) {
        Ok(text) => console::result(text)?,
        Err(why) => {
            console::say(format_args!("error: {why}"));
            return Ok(code.max(GUEST_FAILED));
        }
    }
    Ok(code)
}

/// Boots `image` with the run parameters `line` and a fresh disk at `disk`, if any, and checks the disk
/// after a clean end.
///
/// The inner result is the guest's code, or what is wrong with the disk.
///
/// # Errors
///
/// As [`guest::boot`], and [`guest::Failure`] for a run that does not count.
pub fn boot(
    image: &Image,
    machine: &MachineArgs,
    line: &str,
    disk: Option<PathBuf>,
    quiet: bool,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Result<u8, String>> {
    if let Some(disk) = &disk {
        disk::prepare(disk)?;
    }
    let outcome = guest::boot(
        &Boot {
            image,
            machine,
            command_line: line.to_owned(),
            files: Vec::new(),
            icount: false,
            disk: disk.as_deref(),
            quiet,
            gdb: Some(""),
            folder: None,
        },
        on_event,
    )?;
    let code = outcome.verdict()?;
    if let (0, Some(disk)) = (code, &disk) {
        return Ok(disk::verify(disk)
            .map(|()| code)
            .map_err(|why| format!("{why:#}")));
    }
    Ok(Ok(code))
}
