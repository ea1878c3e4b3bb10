//! `--sdcard` and `--serial`: the same instrument on a board.
//!
//! A board boots once and measures everything that was asked for, one family after the other. What it
//! says arrives in the same frames as from QEMU, numbered and with checksums, and is believed on the same
//! terms: one that is lost is a failed run.

use super::boots::{self, Progress};
use super::collect::{CollectError, Collector};
use super::measure;
use super::report::{Provenance, Report};
use super::session::Session;
use super::{Args, Images, provenance};
use crate::console::{self, Printer};
use crate::guest::{self, Boot, Event};
use crate::machine::{Board, Size};
use crate::trace::Loaded;
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

mod damaged;

pub use damaged::frames_are_checked;

/// What the Raspberry Pi's firmware boots.
const KERNEL: &str = "kernel8.img";
/// What tells it so.
const CONFIG: &str = "config.txt";
const SETTINGS: &str = "\
# 64 bits, entered at EL2
arm_64bit=1
kernel=kernel8.img
# The PL011 on the pins 8 and 10, at 115,200 baud
enable_uart=1
dtoverlay=disable-bt
# One clock for the whole run
force_turbo=1
";

/// A board instead of QEMU.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct BoardArgs {
    /// Write what a Raspberry Pi boots to measure these rows, instead of booting: copy the folder's
    /// files beside the firmware's (with --machine raspi4b)
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["host", "list", "check", "boot_sizes", "at_max", "hunt", "shard", "serial"])]
    pub sdcard: Option<PathBuf>,
    /// Read what a board says instead of booting QEMU: its serial line, or a file that holds what came
    /// over it; with the options that the card was written with
    #[arg(long, value_name = "FILE", conflicts_with_all = ["host", "list", "check", "boot_sizes", "at_max", "hunt", "shard"])]
    pub serial: Option<PathBuf>,
}

/// Writes the card's files to `folder`.
///
/// # Errors
///
/// If the machine is another one, a trace does not fit it, or the files cannot be written.
pub(super) fn write(args: &Args, images: &Images, traces: &[Loaded], folder: &Path) -> Result<()> {
    ensure!(
        args.machine.board == Board::Raspi4b,
        "--sdcard is for a Raspberry Pi: add --machine raspi4b"
    );
    let session = Session::of_filter(args, images, traces)?;
    let cannot = || format!("cannot write to {}", folder.display());
    fs::create_dir_all(folder).with_context(cannot)?;
    fs::write(folder.join(KERNEL), flat(args, &session)?).with_context(cannot)?;
    let config = folder.join(CONFIG);
    if config.exists() {
        console::say(format_args!(
            "{} is left as it is; it needs these lines:\n{SETTINGS}",
            config.display()
        ));
    } else {
        fs::write(config, SETTINGS).with_context(cannot)?;
    }
    console::say(format_args!(
        "{} measures `{}`; bench/README.md has the rest",
        folder.join(KERNEL).display(),
        args.filter
    ));
    Ok(())
}

/// What a board boots: nothing promises that its counter counts instructions, and no debugger listens.
fn flat(args: &Args, session: &Session<'_>) -> Result<Vec<u8>> {
    let machine = &session.machine;
    let command_line = format!(
        "earlycon={:#x} log={} cmd={} seed={:#018x}",
        machine.board.console(),
        machine.log,
        session.command,
        args.seed
    );
    let files = boots::files(args.events, session);
    session.image.flat(&command_line, &files)
}

/// The report of what comes over the serial line `file`.
///
/// # Errors
///
/// If it cannot be read, or what came over it does not count.
pub(super) fn read(args: &Args, images: &Images, traces: &[Loaded], file: &Path) -> Result<Report> {
    let line = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    console::say(format_args!("reading {}", file.display()));
    let session = Session::of_filter(args, images, traces)?;
    let mut printer = Printer::stderr();
    hear(args, &session, line, &mut |event| {
        if boots::worth_showing(event, &session.machine) {
            printer.event(event);
        }
    })
}

/// The report of what comes over `line`; `on_other` is given what else is said.
fn hear(
    args: &Args,
    session: &Session<'_>,
    line: impl Read + Send + 'static,
    on_other: &mut dyn FnMut(&Event<'_>),
) -> Result<Report> {
    let mut collector = Collector::default();
    let progress = Progress::new(session.rows);
    let boot = Boot {
        image: session.image,
        machine: &session.machine,
        command_line: String::new(),
        files: Vec::new(),
        icount: false,
        disk: None,
        quiet: true,
        gdb: None,
        folder: None,
    };
    let seconds = args.machine.timeout;
    let outcome = guest::hear(&boot, line, seconds, &mut |event| match event {
        Event::Bench(record) => {
            collector.take(&record);
            progress.show(session, &collector, &record);
        }
        event => progress.suspend(|| on_other(&event)),
    })?;
    progress.finish();
    if outcome.code.is_none() && outcome.timed_out.is_none() {
        let rows = collector.rows.len();
        bail!(CollectError::NoEnd { rows });
    }
    let code = outcome.verdict()?;
    if code != 0 && collector.failures.is_empty() {
        bail!(CollectError::Exited(code));
    }
    let header = collector.check()?.clone();
    let provenance = Provenance {
        machine: "board".to_owned(),
        cpu: cpu(header.midr).to_owned(),
        midr: format!("{:#010x}", header.midr),
        el: header.entry_el,
        mem: Size(collector.memory_bytes).to_string(),
        smp: collector.cpus,
        tier: header.tier.clone(),
        seed: args.seed,
        rustc: provenance::rustc()?,
        core: provenance::core_checksum()?,
        flags: provenance::flags()?,
        qemu: String::new(),
        qemu_command: String::new(),
        commit: provenance::commit(),
    };
    let mut report = Report::default();
    measure::gather(args, &mut report, collector);
    measure::finish(args, report, &header, provenance)
}

/// The core that MIDR_EL1 names (Arm's part numbers, from their TRMs).
const fn cpu(midr: u64) -> &'static str {
    // Implementer and part number.
    match (midr >> 24 & 0xFF, midr >> 4 & 0xFFF) {
        (0x41, 0xD03) => "cortex-a53",
        (0x41, 0xD08) => "cortex-a72",
        (0x41, 0xD0B) => "cortex-a76",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_known_by_their_part_number() {
        assert_eq!(cpu(0x410F_D083), "cortex-a72");
        assert_eq!(cpu(0x410F_D034), "cortex-a53");
        assert_eq!(cpu(0x000F_0510), "unknown");
    }
}
