//! Steps of a set-up, each said while it runs.
//!
//! On a terminal a step is a spinner with the last line that its command printed; elsewhere a line
//! when it begins and one when it has ended. What a command printed is shown only if it failed.

use crate::console;
use crate::process::{self, Child};
use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most lines of a failed command's output that are shown.
const SHOWN_LINES: usize = 40;

/// Says why a step did not work and another way is tried.
pub(super) fn say_why(error: &anyhow::Error) {
    let why = format!("{error:#}").trim().replace('\n', "\n    ");
    console::say(format_args!("    {why}"));
}

/// Where steps are shown.
#[derive(Debug)]
pub(super) struct Progress {
    terminal: bool,
}

impl Progress {
    /// Progress on standard error.
    pub(super) fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Does one step.
    ///
    /// # Errors
    ///
    /// What `work` returns.
    pub(super) fn step<T>(&self, what: &str, work: impl FnOnce(&Step) -> Result<T>) -> Result<T> {
        let begun = Instant::now();
        let step = Step {
            bar: self.terminal.then(|| spinner(what)),
        };
        if !self.terminal {
            console::say(format_args!("  {what} ..."));
        }
        let done = work(&step);
        if let Some(bar) = &step.bar {
            bar.finish_and_clear();
        }
        let seconds = begun.elapsed().as_secs_f64();
        match &done {
            Ok(_) => console::say(format_args!("  {what}: done in {seconds:.1} s")),
            Err(_) => console::say(format_args!("  {what}: did not work")),
        }
        done
    }
}

fn spinner(what: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) =
        ProgressStyle::with_template("  {spinner} {prefix} {elapsed} {wide_msg:.dim}")
    {
        bar.set_style(style);
    }
    bar.set_prefix(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// A step that is being done.
#[derive(Debug)]
pub(super) struct Step {
    bar: Option<ProgressBar>,
}

impl Step {
    /// Runs `command` to its end, for at most `limit`.
    ///
    /// # Errors
    ///
    /// If it cannot start, fails or takes too long; with the end of what it printed.
    pub(super) fn run(&self, command: &mut Command, limit: Duration) -> Result<()> {
        let line = process::line(command);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = Child::spawn(command)?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let readers = [
            child.stdout().map(|pipe| self.read(pipe, &said)),
            child.stderr().map(|pipe| self.read(pipe, &said)),
        ];
        let status = child.wait_until(Some(Instant::now() + limit))?;
        child.kill();
        if status.is_some() {
            // A daemon that it left behind could hold the pipe of a command that was stopped.
            for reader in readers.into_iter().flatten() {
                let _ = reader.join();
            }
        }
        if process::interrupted() {
            bail!("interrupted");
        }
        let said = said.lock().unwrap_or_else(PoisonError::into_inner);
        let tail = said[said.len().saturating_sub(SHOWN_LINES)..].join("\n");
        match status {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("{tail}\n`{line}` failed ({status})"),
            None => bail!("{tail}\n`{line}` took longer than {} s", limit.as_secs()),
        }
    }

    fn read(
        &self,
        pipe: impl Read + Send + 'static,
        said: &Arc<Mutex<Vec<String>>>,
    ) -> std::thread::JoinHandle<()> {
        let (bar, said) = (self.bar.clone(), Arc::clone(said));
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                if let Some(bar) = &bar {
                    bar.set_message(line.trim().to_owned());
                }
                said.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(line);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, limit: Duration) -> Result<()> {
        Step { bar: None }.run(Command::new("sh").args(["-c", script]), limit)
    }

    #[test]
    #[cfg(unix)]
    fn a_failed_command_shows_what_it_said() {
        let error = run("echo out; echo err >&2; exit 4", Duration::from_secs(60)).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("out") && text.contains("err") && text.contains("sh -c"),
            "{text}"
        );
        assert!(run("exit 0", Duration::from_secs(60)).is_ok());
    }

    #[test]
    #[cfg(unix)]
    fn a_command_that_hangs_is_ended() {
        let begun = Instant::now();
        let error = run("sleep 600", Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("took longer"));
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}
