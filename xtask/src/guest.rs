//! One boot: QEMU started, its serial line read, and how it ended.
//!
//! The machine is stopped at its deadline, on Ctrl-C, and when we end for whatever reason. What its end
//! is worth is [`Outcome::verdict`]'s business.

use crate::backtrace::Backtrace;
use crate::console;
use crate::demux::{Demux, Piece};
use crate::device_tree;
use crate::image::Image;
use crate::log::LogLine;
use crate::machine::{self, Attachments, MachineArgs};
pub use crate::outcome::{Failure, Outcome};
use crate::process::{self, Child};
use crate::workspace;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use wire::control::Control;
use wire::fault::Dump;
use wire::frame::Channel;

/// Seconds that a machine gets unless asked otherwise.
pub const DEFAULT_TIMEOUT_SECONDS: u64 = 120;
/// How long the line is quiet before the part of a text line that has arrived is shown.
const QUIET: Duration = Duration::from_millis(200);
/// How long QEMU may take to leave after the guest said that it has ended.
const GRACE: Duration = Duration::from_secs(10);

/// What to boot, and on what.
#[derive(Clone, Debug)]
pub struct Boot<'a> {
    /// The image.
    pub image: &'a Image,
    /// The machine.
    pub machine: &'a MachineArgs,
    /// Run parameters as `key=value` words; how to exit and the log level are added.
    pub command_line: String,
    /// Files for the payload, by name.
    pub files: Vec<(String, Vec<u8>)>,
    /// Count instructions, and let time follow them.
    pub icount: bool,
    /// A raw disk image for a virtio block device.
    pub disk: Option<&'a Path>,
    /// Do not print QEMU's command line.
    pub quiet: bool,
    /// What else gdb is to be told on its command line, where the user debugs; `None` where nobody is to
    /// be told how.
    pub gdb: Option<&'a str>,
    /// Where the flat file goes; `None` for where it stays.
    pub folder: Option<&'a Path>,
}

/// What the guest says.
#[derive(Debug)]
pub enum Event<'a> {
    /// A log line at the level asked for or above.
    Log(LogLine),
    /// Text for the user.
    Text(&'a str),
    /// Plain text outside frames: earliest boot, or a panic.
    Plain(&'a str),
    /// A record of a bench image.
    Bench(wire::bench::Record<'a>),
    /// A record of a report.
    Report(wire::report::Record<'a>),
    /// About the run itself.
    Control(Control<'a>),
    /// A fault or panic, symbolised.
    Fault(Backtrace),
}

/// Boots, hands every event to `on_event`, and returns when the machine has ended.
///
/// # Errors
///
/// If the machine cannot be prepared or started, or the user interrupts.
pub fn boot(boot: &Boot<'_>, on_event: &mut dyn FnMut(Event<'_>)) -> Result<Outcome> {
    let mut command = prepare(boot)?;
    if let Some(port) = boot.machine.gdb {
        let elf = process::quoted(&boot.image.elf);
        if let Some(commands) = boot.gdb {
            console::say(format_args!(
                "gdb-multiarch {elf} -ex 'target remote :{port}'{commands}"
            ));
        }
    }
    let mut outcome = Outcome {
        qemu_command: process::line(&command),
        ..Outcome::default()
    };
    if !boot.quiet {
        console::say(&outcome.qemu_command);
    }
    let child = Child::spawn(&mut command).with_context(|| {
        format!(
            "cannot start QEMU ({}); `cargo xtask setup` installs it",
            process::line(&command)
        )
    })?;
    let seconds = boot.machine.timeout.unwrap_or(DEFAULT_TIMEOUT_SECONDS);
    let timed = boot.machine.gdb.is_none() && seconds > 0;
    let deadline = timed.then(|| Instant::now() + Duration::from_secs(seconds));
    let mut listener = Listener {
        boot,
        outcome: &mut outcome,
        on_event,
    };
    if !listen(&read_pipes(&child)?, (deadline, GRACE), &mut listener)? {
        child.kill();
        outcome.timed_out = Some(seconds);
    }
    // The pipe is closed: QEMU is about to leave, or was killed.
    if let Some(status) = child.wait_until(Some(Instant::now() + GRACE))? {
        outcome.status = status.code();
    }
    if process::interrupted() {
        bail!("interrupted");
    }
    Ok(outcome)
}

/// Hands on every event of a machine that somebody else booted, as it comes over `line`, until the machine
/// says that it has ended, the line ends, or `seconds` have passed.
///
/// # Errors
///
/// If the user interrupts.
pub fn hear(
    boot: &Boot<'_>,
    line: impl Read + Send + 'static,
    seconds: Option<u64>,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || read_serial(line, &sender));
    let mut outcome = Outcome::default();
    let mut listener = Listener {
        boot,
        outcome: &mut outcome,
        on_event,
    };
    let deadline = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    if !listen(&receiver, (deadline, QUIET), &mut listener)? {
        outcome.timed_out = seconds;
    }
    // Nobody but the guest says how it ended.
    outcome.status = outcome.code.map(|code| i32::from(code.to_le_bytes()[0]));
    Ok(outcome)
}

/// Writes the flat file and returns the command that boots it.
fn prepare(boot: &Boot<'_>) -> Result<Command> {
    boot.machine.validate()?;
    let command_line = format!(
        "exit=semihosting earlycon={:#x} log={} {}",
        boot.machine.board.console(),
        boot.machine.log,
        boot.command_line
    );
    let mut files = boot.files.clone();
    if boot.machine.el3 {
        // Nobody boots before us who could pass it in a register.
        files.push(("dtb".to_owned(), device_tree::of(boot.machine)?));
    }
    let flat = {
        let kept = workspace::artifacts();
        let folder = boot.folder.unwrap_or(&kept);
        boot.image
            .write_flat(folder, command_line.trim_end(), &files)?
    };
    let attached = Attachments {
        flat: &flat,
        disk: boot.disk,
        icount: boot.icount,
    };
    let mut command = Command::new(machine::qemu_program());
    command
        .args(boot.machine.qemu_arguments(&attached)?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(command)
}

/// What arrives from QEMU's pipes.
enum Arrival {
    Serial(Vec<u8>),
    Complaint(String),
}

fn read_pipes(child: &Child) -> Result<Receiver<Arrival>> {
    let (sender, receiver) = channel();
    let (serial, errors) = (child.stdout(), child.stderr());
    let (serial, errors) = serial.zip(errors).context("QEMU's output is not piped")?;
    let complain = sender.clone();
    std::thread::spawn(move || read_serial(serial, &sender));
    std::thread::spawn(move || {
        for line in BufReader::new(errors).lines().map_while(Result::ok) {
            if complain.send(Arrival::Complaint(line)).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

fn read_serial(mut serial: impl Read, sender: &Sender<Arrival>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = serial.read(&mut buffer) {
        if sender
            .send(Arrival::Serial(buffer[..length].to_vec()))
            .is_err()
        {
            return;
        }
    }
}

/// Hands on what arrives until nobody sends any more, or for so long after the guest's own end; `false` if
/// the deadline came first.
fn listen(
    arrivals: &Receiver<Arrival>,
    (mut deadline, grace): (Option<Instant>, Duration),
    listener: &mut Listener<'_, '_>,
) -> Result<bool> {
    let mut demux = Demux::default();
    let in_time = loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            break false;
        }
        match arrivals.recv_timeout(left.map_or(QUIET, |left| left.min(QUIET))) {
            Ok(Arrival::Serial(bytes)) => demux.push(&bytes, &mut |piece| listener.take(piece)),
            Ok(Arrival::Complaint(line)) => listener.complain(line),
            Err(RecvTimeoutError::Timeout) => demux.idle(&mut |piece| listener.take(piece)),
            Err(RecvTimeoutError::Disconnected) => break true,
        }
        if process::interrupted() {
            bail!("interrupted");
        }
        if listener.outcome.code.is_some() {
            let leave = Instant::now() + grace;
            deadline = Some(deadline.map_or(leave, |deadline| deadline.min(leave)));
        }
    };
    listener.outcome.lost = demux.finish(&mut |piece| listener.take(piece));
    // After the guest's own end, a QEMU that stays is no timeout of the guest's.
    Ok(in_time || listener.outcome.code.is_some())
}

/// Turns pieces of the line into events.
struct Listener<'a, 'b> {
    boot: &'a Boot<'b>,
    outcome: &'a mut Outcome,
    on_event: &'a mut dyn FnMut(Event<'_>),
}

impl Listener<'_, '_> {
    fn take(&mut self, piece: Piece<'_>) {
        self.outcome.heard = true;
        let (channel, payload) = match piece {
            Piece::Text(text) => return (self.on_event)(Event::Plain(text)),
            Piece::Frame(channel, payload) => (channel, payload),
        };
        if let Err(why) = self.frame(channel, payload) {
            self.outcome
                .unreadable
                .push(format!("{channel:?} frame: {why}"));
        }
    }

    fn frame(&mut self, channel: Channel, payload: &[u8]) -> Result<()> {
        let event = match channel {
            Channel::Log => {
                let log = self
                    .boot
                    .image
                    .log()
                    .context("the image has no log table")?;
                let line = log.decode(payload)?;
                if line
                    .level
                    .is_some_and(|level| level < self.boot.machine.log)
                {
                    return Ok(());
                }
                Event::Log(line)
            }
            Channel::Text => Event::Text(std::str::from_utf8(payload)?),
            Channel::Bench => Event::Bench(wire::bench::decode(payload)?),
            Channel::Report => Event::Report(wire::report::decode(payload)?),
            Channel::Control => {
                let message = wire::control::decode(payload)?;
                if let Control::Exit { code } = message {
                    self.outcome.code = Some(code);
                }
                Event::Control(message)
            }
            Channel::Fault => {
                let dump = Dump::parse(payload).context("shorter than its header")?;
                let image = self.boot.image;
                Event::Fault(Backtrace::new(&image.elf, image.elf_bytes(), &dump))
            }
        };
        (self.on_event)(event);
        Ok(())
    }

    fn complain(&mut self, line: String) {
        if !self.boot.quiet {
            console::say(format_args!("qemu: {line}"));
        }
        self.outcome.complaints.push(line);
    }
}
