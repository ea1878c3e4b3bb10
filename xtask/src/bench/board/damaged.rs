//! That a board's line is a run, and a damaged one is none: QEMU plays the board.

use super::{flat, hear};
use crate::bench::events::Events;
use crate::bench::measure::measure;
use crate::bench::report::Report;
use crate::bench::session::Session;
use crate::bench::{Args, build};
use crate::machine::{self, Attachments, Board, MachineArgs};
use crate::process::Child;
use crate::workspace;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::io::{Cursor, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a board that has ended may take to turn itself off.
const PATIENCE: Duration = Duration::from_secs(60);
/// Places in the second half of a line at which it is damaged.
const PLACES: usize = 8;

/// Boots what `--sdcard` writes, captures its line, and checks that it is the report of an ordinary run;
/// and that the line with a byte changed, with a frame taken out, or cut short is none.
///
/// # Errors
///
/// If one of these is not so, or a machine cannot be had.
pub fn frames_are_checked() -> Result<()> {
    let args = Args {
        filter: "kmalloc/64".to_owned(),
        no_default_traces: true,
        events: Events::Summary,
        machine: MachineArgs {
            board: Board::Raspi4b,
            ..MachineArgs::default()
        },
        ..Args::default()
    };
    let images = build(&args)?;
    let session = Session::of_filter(&args, &images, &[])?;
    let line = capture(&args, &session)?;
    let heard = |line: &[u8]| -> Result<Report> {
        hear(&args, &session, Cursor::new(line.to_vec()), &mut |_| {})
    };
    let (mut board, mut usual) = (heard(&line)?, measure(&args, &images, &[])?);
    // A board does not check itself first, and its first operation is colder.
    for row in board.rows.iter_mut().chain(&mut usual.rows) {
        row.cold = 0;
    }
    ensure!(
        board.rows == usual.rows && board.unit == usual.unit,
        "the board's {:?} are not {:?}",
        board.rows,
        usual.rows
    );
    for place in (0..PLACES).map(|place| line.len() / 2 + line.len() * place / (2 * PLACES)) {
        let mut changed = line.clone();
        changed[place] ^= 0x40;
        ensure!(heard(&changed).is_err(), "byte {place} was changed unseen");
        ensure!(
            heard(&line[..place]).is_err(),
            "a cut at {place} was unseen"
        );
        let mut shorter = line.clone();
        shorter.drain(frame_at(&line, place));
        ensure!(
            heard(&shorter).is_err(),
            "the frame at {place} was not missed"
        );
    }
    Ok(())
}

/// The bytes of the piece between two zeros that `place` lies in.
fn frame_at(line: &[u8], place: usize) -> std::ops::Range<usize> {
    let zero = |byte: &u8| *byte == 0;
    // A place on a zero between two frames stands for the one before it.
    let place = (0..=place).rev().find(|&at| line[at] != 0).unwrap_or(0);
    let start = line[..place].iter().rposition(zero).map_or(0, |at| at + 1);
    let end = line[place..].iter().position(zero);
    start..end.map_or(line.len(), |length| place + length)
}

/// What the board says over its line, until it turns itself off.
fn capture(args: &Args, session: &Session<'_>) -> Result<Vec<u8>> {
    let artifacts = workspace::artifacts();
    fs::create_dir_all(&artifacts)?;
    let folder = tempfile::Builder::new()
        .prefix("board-")
        .tempdir_in(&artifacts)?;
    let file = folder.path().join("kernel8.img");
    fs::write(&file, flat(args, session)?)?;
    let attached = Attachments {
        flat: &file,
        disk: None,
        icount: true,
    };
    let mut command = Command::new(machine::qemu_program());
    command
        .args(session.machine.qemu_arguments(&attached)?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let child = Child::spawn(&mut command).context("cannot start QEMU")?;
    let mut serial = child.stdout().context("QEMU's output is not piped")?;
    let reading = std::thread::spawn(move || {
        let mut line = Vec::new();
        serial.read_to_end(&mut line).map(|_| line)
    });
    if child.wait_until(Some(Instant::now() + PATIENCE))?.is_none() {
        child.kill();
    }
    let line = reading.join().ok().context("nothing was read")?;
    Ok(line?)
}
