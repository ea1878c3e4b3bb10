//! `cargo xtask trace record`: runs a program under our recorder and writes what it allocated.
//!
//! The recorder is a library that the dynamic linker loads first (`bench/recorder`); it shares a file
//! with us, so that what was recorded is there however the program ends. When it has, its status is
//! ours.

use super::addresses::Summary;
use super::{ErrorKind, TraceError, recording, write};
use crate::image::{self, cargo};
use crate::{console, process, workspace};
use anyhow::{Context, Error, Result, bail, ensure};
use recorder::layout::{CHILDREN_VARIABLE, FIRST_FILE, FOLDER_VARIABLE};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often we look whether the program has ended.
const POLL: Duration = Duration::from_millis(5);
/// What the program gets to end by itself when the user interrupts.
const GRACE: Duration = Duration::from_secs(5);
/// What a shell adds to the number of the signal that ended a program.
const SIGNALLED: i32 = 128;
/// The variable that names libraries to load first.
const PRELOAD: &str = "LD_PRELOAD";

/// What to record.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Write the trace to this file, compressed if it ends in .gz [default: PROGRAM.trace.gz]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Say which thread did what, so that the trace can be replayed on several cores
    #[arg(long)]
    pub threads: bool,
    /// Record the processes that it starts as well, each to a file of its own: FILE.2.trace.gz and so on
    #[arg(long)]
    pub children: bool,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

const AFTER_HELP: &str = "\
Calls of malloc, calloc, realloc, free and their relatives are recorded as the program makes them, in
an order in which they can have happened across its threads. A program that becomes another one (exec)
is recorded as what it became last; a shell's script is best recorded with --children. While it runs, a
recording takes 32 bytes of disk for each event, in Cargo's target directory. Programs that
are statically linked, set-user-ID or bring an allocator of their own cannot be recorded. One that
crashes or is killed leaves a sound trace; Ctrl-C ends the program, and what it did is written.

Exit status: the program's own, 128 and the signal's number if a signal ended it; 2 if nothing could
be recorded.";

/// Records; returns the program's exit status.
///
/// # Errors
///
/// If the recorder does not build, the program does not start, or there was nothing to record.
pub fn command(args: &Args) -> Result<u8> {
    ensure!(
        cfg!(target_os = "linux"),
        "only Linux programs can be recorded"
    );
    let program = args.command.first().context("no program to record")?;
    let output = args
        .output
        .clone()
        .unwrap_or_else(|| default_output(program));
    write::check_folder(&output)?;
    let library = build()?;
    let folder = fs::create_dir_all(workspace::artifacts())
        .and_then(|()| tempfile::tempdir_in(workspace::artifacts()))
        .context("no folder for the recording")?;
    let status = run(args, &library, folder.path())?;
    let recordings = Recordings::find(folder.path())?;
    let comment = format!("malloc calls of {}", shown(program));
    let summary = recordings.main(&output, &comment, args.threads)?;
    console::say(format_args!("{}: {summary}", output.display()));
    if args.children {
        for (number, child) in (2..).zip(&recordings.others) {
            let output = numbered(&output, number);
            let comment = format!("malloc calls of a child of {}", shown(program));
            let summary = recording::convert(child, &output, &comment, args.threads);
            match summary {
                Ok(summary) => console::say(format_args!("{}: {summary}", output.display())),
                Err(error) if is_empty(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(exit_code(status))
}

/// Whether a recording had nothing for a trace: frees of what nobody saw allocated, for example.
fn is_empty(error: &Error) -> bool {
    let error = error.downcast_ref::<TraceError>();
    error.is_some_and(|error| matches!(error.kind, ErrorKind::Empty))
}

/// The program's name, without its folder.
fn shown(program: &OsStr) -> String {
    let name = Path::new(program).file_name().unwrap_or(program);
    name.to_string_lossy().into_owned()
}

fn default_output(program: &OsStr) -> PathBuf {
    format!("{}.trace.gz", shown(program)).into()
}

/// `a.trace.gz` as `a.2.trace.gz`.
fn numbered(file: &Path, number: usize) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let name = match name.split_once('.') {
        Some((stem, suffixes)) => format!("{stem}.{number}.{suffixes}"),
        None => format!("{name}.{number}"),
    };
    file.with_file_name(name)
}

/// Builds the library to preload.
fn build() -> Result<PathBuf> {
    let mut command = Command::new(cargo());
    command
        .current_dir(workspace::root())
        .args(["build", "--quiet", "--profile", "host", "-p", "recorder"])
        .args(["--lib", "--features", "preload"])
        .args(["--message-format", "json-render-diagnostics"])
        .env_remove("DEFMT_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let library = image::library(&mut command)?;
    // The dynamic linker splits the variable at these, and there is no quoting.
    let splits = |letter: char| letter == ':' || letter.is_whitespace();
    if library.to_string_lossy().contains(splits) {
        bail!(
            "{PRELOAD} cannot name {}: set CARGO_TARGET_DIR to a folder without spaces and colons",
            library.display()
        );
    }
    Ok(library)
}

/// Runs the program to its end.
fn run(args: &Args, library: &Path, folder: &Path) -> Result<ExitStatus> {
    let (program, arguments) = args.command.split_first().context("no program")?;
    let mut preload = library.as_os_str().to_owned();
    if let Some(others) = std::env::var_os(PRELOAD) {
        preload.push(":");
        preload.push(others);
    }
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env(PRELOAD, preload)
        .env(FOLDER_VARIABLE, folder)
        .env_remove(CHILDREN_VARIABLE);
    if args.children {
        command.env(CHILDREN_VARIABLE, "1");
    }
    let started = command.spawn();
    let mut child = started.with_context(|| format!("cannot start {}", shown(program)))?;
    wait(&mut child).context("cannot tell how the program ended")
}

/// Waits for the program. It is no child that Ctrl-C kills at once: it has heard of that itself, and gets
/// some time to end as it likes.
fn wait(child: &mut Child) -> std::io::Result<ExitStatus> {
    let mut deadline = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if process::interrupted() {
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + GRACE);
            if Instant::now() >= deadline {
                child.kill()?;
            }
        }
        std::thread::sleep(POLL);
    }
}

/// A status as shells have it.
fn exit_code(status: ExitStatus) -> u8 {
    let signal = || -> Option<i32> {
        #[cfg(unix)]
        {
            std::os::unix::process::ExitStatusExt::signal(&status).map(|signal| SIGNALLED + signal)
        }
        #[cfg(not(unix))]
        None
    };
    let code = status.code().or_else(signal).unwrap_or(SIGNALLED);
    code.to_le_bytes()[0]
}

/// What the recorder left.
#[derive(Debug)]
struct Recordings {
    /// Of the process that came first, what it became last.
    main: Option<PathBuf>,
    /// All others that hold anything, by process and program.
    others: Vec<PathBuf>,
}

impl Recordings {
    fn find(folder: &Path) -> Result<Self> {
        let first = fs::read_to_string(folder.join(FIRST_FILE)).ok();
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).context("cannot read the recordings")? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if let Some((process, program)) = name.split_once('.')
                && let (Ok(order), is_first) = (
                    process.parse::<u32>().and_then(|process| {
                        program.parse::<u32>().map(|program| (process, program))
                    }),
                    first.as_deref() == Some(process),
                )
            {
                found.push((order, is_first, path.clone()));
            }
        }
        found.sort();
        let main = found.iter().rposition(|(_, is_first, _)| *is_first);
        let main = main.map(|at| found.remove(at).2);
        let mut others = Vec::new();
        for (_, _, path) in found {
            if !recording::is_empty(&path)? {
                others.push(path);
            }
        }
        Ok(Self { main, others })
    }

    /// Converts the first process's.
    fn main(&self, output: &Path, comment: &str, with_threads: bool) -> Result<Summary> {
        let main = self.main.as_ref().context(
            "nothing was recorded: the program is statically linked, set-user-ID, or did not start \
             with our library",
        )?;
        ensure!(
            fs::metadata(main)?.len() > 0,
            "nothing was recorded: no room for it in {}",
            workspace::artifacts().display()
        );
        ensure!(
            !recording::is_empty(main)?,
            "nothing was recorded: the program has an allocator of its own, or never allocated"
        );
        recording::convert(main, output, comment, with_threads)
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
