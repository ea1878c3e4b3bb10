//! Child processes that never outlive us.
//!
//! Every child is registered while it runs. It is ended when its [`Child`] is dropped (which a
//! panic or an early return does), and when Ctrl-C, SIGTERM or SIGHUP arrives; the command that
//! waited for it then sees it die, returns an error, and so removes its temporary files on the way
//! out. A second Ctrl-C leaves at once.
//!
//! A child is asked by SIGTERM first: it may be one of us that has children of its own. One that is
//! still there after a moment is killed.

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::process::{self, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Exit status of a command that the user interrupted: 128 + SIGINT, as shells have it.
pub const INTERRUPTED_STATUS: u8 = 130;
/// How long a child may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(2);
/// How often a waiting loop looks at its child.
const POLL: Duration = Duration::from_millis(5);

type Shared = Arc<Mutex<process::Child>>;

static RUNNING: Mutex<Vec<Shared>> = Mutex::new(Vec::new());
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Takes a lock whose data cannot be left inconsistent by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes Ctrl-C, SIGTERM and SIGHUP end the children first; called once, by `main`.
///
/// # Errors
///
/// If the handler cannot be installed.
pub fn end_children_on_signals() -> Result<()> {
    ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::SeqCst) {
            process::exit(i32::from(INTERRUPTED_STATUS));
        }
        for child in lock(&RUNNING).iter() {
            ask_to_end(&lock(child));
        }
    })
    .context("cannot watch for Ctrl-C")
}

/// Asks `child` to end. It may have ended by itself in the meantime, which is as good.
fn ask_to_end(child: &process::Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
}

/// Whether the user has asked to stop.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// A running child, killed when dropped.
#[derive(Debug)]
pub struct Child(Shared);

impl Child {
    /// Starts `command`.
    ///
    /// # Errors
    ///
    /// If the program cannot be started, or the user has interrupted us.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", quoted(command.get_program())))?;
        let child = Self(Arc::new(Mutex::new(child)));
        lock(&RUNNING).push(Arc::clone(&child.0));
        if interrupted() {
            bail!("interrupted");
        }
        Ok(child)
    }

    /// The pipe from its standard output, once, if it was asked for.
    pub fn stdout(&self) -> Option<process::ChildStdout> {
        lock(&self.0).stdout.take()
    }

    /// The pipe from its standard error, once, if it was asked for.
    pub fn stderr(&self) -> Option<process::ChildStderr> {
        lock(&self.0).stderr.take()
    }

    /// Ends it, within [`GRACE`].
    pub fn kill(&self) {
        end(&mut lock(&self.0));
    }

    /// Waits until it ends, or until `deadline`, whichever comes first; `None` for the latter.
    ///
    /// # Errors
    ///
    /// If the system cannot say how it ended.
    pub fn wait_until(&self, deadline: Option<Instant>) -> Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = lock(&self.0).try_wait()? {
                return Ok(Some(status));
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(None);
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits until it ends.
    ///
    /// # Errors
    ///
    /// If the system cannot say how it ended, or the user interrupted us.
    pub fn wait(&self) -> Result<ExitStatus> {
        let status = self.wait_until(None)?.context("no exit status")?;
        if interrupted() {
            bail!("interrupted");
        }
        Ok(status)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        end(&mut lock(&self.0));
        lock(&RUNNING).retain(|other| !Arc::ptr_eq(other, &self.0));
    }
}

/// Ends `child`, and waits until it has.
fn end(child: &mut process::Child) {
    let has_ended = |child: &mut process::Child| matches!(child.try_wait(), Ok(Some(_)));
    if has_ended(child) {
        return;
    }
    ask_to_end(child);
    let asked = Instant::now();
    while asked.elapsed() < GRACE {
        if has_ended(child) {
            return;
        }
        std::thread::sleep(POLL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Runs `command` to its end and returns its standard output as text.
///
/// # Errors
///
/// If it cannot start, or fails: then with what it said on standard error.
pub fn output(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{line}` failed ({}): {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `command` as a line that a shell takes.
pub fn line(command: &Command) -> String {
    let environment = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={}", name.to_string_lossy(), quoted(value?))));
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    environment
        .chain(words.map(quoted))
        .collect::<Vec<_>>()
        .join(" ")
}

/// `word` quoted for a POSIX shell where that is needed.
pub fn quoted(word: impl AsRef<OsStr>) -> String {
    let word = word.as_ref().to_string_lossy();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=,:+@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_only_where_a_shell_would_split_or_expand_them() {
        assert_eq!(quoted("virt,gic-version=2"), "virt,gic-version=2");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
        let mut command = Command::new("echo");
        command.arg("$HOME").env("A", "1 2");
        assert_eq!(line(&command), "A='1 2' echo '$HOME'");
    }

    #[test]
    #[cfg(unix)]
    fn a_dropped_child_is_dead() {
        let child = Child::spawn(Command::new("sleep").arg("600")).unwrap();
        let id = lock(&child.0).id();
        let alive = |id: u32| Command::new("kill").args(["-0", &id.to_string()]).output();
        assert!(alive(id).unwrap().status.success());
        drop(child);
        assert!(!alive(id).unwrap().status.success());
    }

    #[test]
    #[cfg(unix)]
    fn a_child_may_end_its_own_children_first() {
        let script = "sleep 600 & trap \"kill $!; wait; exit\" TERM; echo $!; wait";
        let mut command = Command::new("sh");
        let child = Child::spawn(command.args(["-c", script]).stdout(Stdio::piped())).unwrap();
        let mut line = String::new();
        let mut said = std::io::BufReader::new(child.stdout().unwrap());
        std::io::BufRead::read_line(&mut said, &mut line).unwrap();
        drop(child);
        let alive = Command::new("kill").args(["-0", line.trim()]).output();
        assert!(!alive.unwrap().status.success());
    }

    #[test]
    #[cfg(unix)]
    fn a_deadline_ends_the_wait_and_not_the_child() {
        let child = Child::spawn(Command::new("sleep").arg("600")).unwrap();
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(child.wait_until(Some(soon)).unwrap(), None);
        child.kill();
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    #[cfg(unix)]
    fn a_failing_command_is_an_error_that_quotes_it() {
        let mut command = Command::new("sh");
        let error = output(command.args(["-c", "echo why >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("why") && text.contains("sh -c"), "{text}");
    }
}
