//! Set-up: what a machine needs, whether it is there, and getting it.
//!
//! `doctor` looks and changes nothing. `setup` gets what is missing, and so does every command that
//! needs it, after asking where there is somebody to ask. Before the first change everything that
//! could forbid one is looked at, so that a set-up that may not finish does not begin.

mod apt;
pub mod browser;
mod library;
mod progress;
mod qemu;
mod target;
mod toolchain;

use crate::console;
use anyhow::{Context, Result, bail};
use progress::Progress;
use std::fmt;
use std::io::{IsTerminal, Write};
use toolchain::Toolchain;

/// Something that Tessera needs of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    name: String,
    /// What is there, or what is wrong.
    found: Result<String, String>,
    /// The commands that would meet it.
    remedy: Vec<String>,
    /// Whether most do without.
    is_optional: bool,
}

impl Requirement {
    /// Whether nothing works without it and it is not there.
    fn is_missing(&self) -> bool {
        self.found.is_err() && !self.is_optional
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mark, found) = match &self.found {
            Ok(found) => ("ok     ", found),
            Err(wrong) if self.is_optional => ("without", wrong),
            Err(wrong) => ("MISSING", wrong),
        };
        write!(f, "{mark}  {:<34} {found}", self.name)?;
        if self.found.is_err() {
            for command in &self.remedy {
                write!(f, "\n           {}", command.replace('\n', "\n           "))?;
            }
        }
        Ok(())
    }
}

/// What can be missing and that we know how to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Target,
    Qemu,
    Browser,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Target => "the compiler's libraries for aarch64-unknown-none (some 10 MB)",
            Self::Qemu => "QEMU 9.0 or later with the machines virt and raspi4b (some 50 MB)",
            Self::Browser => "Chromium, which only the test of `bench --html` needs (some 100 MB)",
        })
    }
}

/// How a part will be got.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Plan {
    Target,
    Qemu(qemu::Plan),
    /// Whether through `sudo`.
    Browser(bool),
}

/// Why set-up did not begin: it may not do what is needed, and these are the commands that would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAllowed {
    why: String,
    commands: Vec<String>,
}

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}; nothing was changed. Run:", self.why)?;
        self.commands
            .iter()
            .try_for_each(|command| write!(f, "\n{command}"))
    }
}

impl std::error::Error for NotAllowed {}

/// `cargo xtask doctor`: prints every requirement; 0 if all are met, else 2.
///
/// # Errors
///
/// If the compiler cannot be asked.
pub fn doctor() -> Result<u8> {
    let toolchain = Toolchain::find()?;
    let requirements = requirements(&toolchain);
    for requirement in &requirements {
        console::result(format_args!("{requirement}\n"))?;
    }
    let missing = requirements
        .iter()
        .filter(|requirement| requirement.is_missing())
        .count();
    if missing == 0 {
        console::result("\neverything is there\n")?;
        return Ok(0);
    }
    console::result(format_args!(
        "\n{missing} missing; `cargo xtask setup` gets what it can\n"
    ))?;
    Ok(2)
}

fn requirements(toolchain: &Toolchain) -> Vec<Requirement> {
    let mut list = vec![toolchain.requirement(), target::requirement(toolchain)];
    if list[1].found.is_err() {
        list.push(library::requirement(toolchain));
    }
    list.extend(qemu::requirements());
    list.push(browser::requirement());
    list
}

/// `cargo xtask setup`: gets what is missing, and a browser if `with_browser`.
///
/// # Errors
///
/// [`NotAllowed`] if it may not; otherwise what went wrong, with the machine as it was before the
/// step that failed.
pub fn setup(yes: bool, with_browser: bool) -> Result<u8> {
    let got = get_missing(yes, with_browser)?;
    if got == 0 {
        console::say("everything is there already");
    }
    let toolchain = Toolchain::find()?;
    let left = requirements(&toolchain)
        .into_iter()
        .filter(Requirement::is_missing);
    let left: Vec<String> = left.map(|requirement| requirement.to_string()).collect();
    if !left.is_empty() {
        bail!("still not met:\n{}", left.join("\n"));
    }
    Ok(0)
}

/// Makes sure that images can be built and booted, setting the machine up if they cannot.
///
/// Takes under 100 ms where nothing is missing.
///
/// # Errors
///
/// As [`setup`].
pub fn ensure(yes: bool) -> Result<()> {
    get_missing(yes, false).map(|_| ())
}

/// Gets what is missing; returns how many parts that were.
fn get_missing(yes: bool, with_browser: bool) -> Result<usize> {
    let toolchain = Toolchain::find()?;
    let mut missing = Vec::new();
    if !target::is_present(&toolchain.sysroot) {
        missing.push(Part::Target);
    }
    if qemu::version().is_err() {
        missing.push(Part::Qemu);
    }
    if with_browser && browser::find().is_err() {
        missing.push(Part::Browser);
    }
    if missing.is_empty() {
        return Ok(0);
    }
    let allowed = missing.iter().map(|part| match part {
        Part::Target => target::may_install(&toolchain).map(|()| Plan::Target),
        Part::Qemu => qemu::plan().map(Plan::Qemu),
        Part::Browser => browser::may_install().map(Plan::Browser),
    });
    let plans = allowed.collect::<Result<Vec<_>, NotAllowed>>()?;
    agree(yes, &missing)?;
    let progress = Progress::new();
    for plan in &plans {
        match plan {
            Plan::Target => target::install(&toolchain, &progress)?,
            Plan::Qemu(plan) => qemu::install(plan, &progress)?,
            Plan::Browser(sudo) => browser::install(*sudo, &progress)?,
        }
    }
    Ok(missing.len())
}

/// Asks on a terminal; without one, says what is done and goes ahead.
fn agree(yes: bool, missing: &[Part]) -> Result<()> {
    console::say("This machine lacks:");
    for part in missing {
        console::say(format_args!("  - {part}"));
    }
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if yes || !terminal {
        console::say("Setting it up.");
        return Ok(());
    }
    let _ = write!(std::io::stderr(), "Set it up now? [Y/n] ");
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .context("no answer")?;
    match answer.trim() {
        "" | "y" | "Y" | "yes" => Ok(()),
        _ => bail!("not set up; `cargo xtask doctor` lists the commands"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirement_shows_its_remedy_only_when_it_is_not_met() {
        let met = Requirement {
            name: "QEMU".into(),
            found: Ok("10.0.2".into()),
            remedy: vec!["install it".into()],
            is_optional: false,
        };
        assert!(met.to_string().starts_with("ok") && !met.to_string().contains("install"));
        let unmet = Requirement {
            found: Err("7.2 is too old".into()),
            ..met
        };
        let text = unmet.to_string();
        assert!(
            text.starts_with("MISSING") && text.contains("7.2 is too old"),
            "{text}"
        );
        assert!(text.ends_with("install it"), "{text}");
        assert!(unmet.is_missing());
        let optional = Requirement {
            is_optional: true,
            ..unmet
        };
        assert!(!optional.is_missing() && optional.to_string().starts_with("without"));
    }

    #[test]
    fn a_refusal_names_the_commands() {
        let refusal = NotAllowed {
            why: "needs root".into(),
            commands: vec!["a b".into()],
        };
        assert_eq!(
            refusal.to_string(),
            "needs root; nothing was changed. Run:\n\na b"
        );
    }
}
