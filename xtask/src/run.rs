//! `cargo xtask run`: boots Tessera, or an example app, and shows what it says.

use crate::console::{self, Printer};
use crate::guest::{self, Boot, Event};
use crate::image::{self, Image, Target};
use crate::machine::{Board, MachineArgs};
use crate::{disk, setup, workspace};
use anyhow::Result;
use std::path::PathBuf;

/// The exit status for a guest that ended well beside a disk that is wrong.
const GUEST_FAILED: u8 = 1;

/// What to run.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Boot this example app instead of the tour
    #[arg(long, value_name = "NAME")]
    pub example: Option<String>,
    /// The machine.
    #[command(flatten)]
    pub machine: MachineArgs,
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
    let image = image::build("kernel", target, &[])?;
    let mut printer = Printer::stdout();
    let disk = (args.example.is_none() && args.machine.board == Board::Virt)
        .then(|| workspace::artifacts().join("disk.img"));
    match boot(&image, &args.machine, disk, false, &mut |event| {
        printer.event(&event);
    })? {
        Ok(code) => Ok(code),
        Err(why) => {
            console::say(format_args!("error: {why}"));
            Ok(GUEST_FAILED)
        }
    }
}

/// Boots `image` with a fresh disk at `disk`, if any, and checks the disk after a clean end.
///
/// The inner result is the guest's code, or what is wrong with the disk.
///
/// # Errors
///
/// As [`guest::boot`], and [`guest::Failure`] for a run that does not count.
pub fn boot(
    image: &Image,
    machine: &MachineArgs,
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
            command_line: String::new(),
            files: Vec::new(),
            icount: false,
            disk: disk.as_deref(),
            quiet,
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
