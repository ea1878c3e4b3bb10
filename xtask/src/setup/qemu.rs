//! QEMU: whether it is there and new enough, and which package manager brings it.
//!
//! The machine `raspi4b` came with QEMU 9.0. Debian 12 has 7.2, and a newer one in its backports
//! suite, which is used through a list of our own: the machine's list stays as it is.

use super::apt::{self, PrivateState, Source};
use super::progress::Progress;
use super::{NotAllowed, Requirement, library};
use crate::machine::qemu_program;
use crate::process;
use anyhow::{Result, bail};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The first version with the machine `raspi4b`.
const LEAST: Version = (9, 0);
/// The machines that are booted.
const MACHINES: [&str; 2] = ["virt", "raspi4b"];
/// Debian's and Ubuntu's package.
const PACKAGE: &str = "qemu-system-arm";
/// How long a package manager may take.
const LIMIT: Duration = Duration::from_secs(1200);
/// Installing with apt, before what is installed.
pub(super) const APT_INSTALL: [&str; 3] = ["install", "--no-install-recommends", "--yes"];

/// Major and minor number.
type Version = (u32, u32);

/// The version of the QEMU that would be started.
///
/// # Errors
///
/// What is wrong with it: it does not start, or is too old.
pub(super) fn version() -> Result<String, String> {
    let program = qemu_program();
    let text = process::output(Command::new(&program).arg("--version"))
        .map_err(|_| format!("{} does not start", program.to_string_lossy()))?;
    let shown = text.lines().next().unwrap_or_default();
    let version = shown
        .split_once("version ")
        .and_then(|(_, version)| leading(version));
    match version {
        Some(version) if version >= LEAST => Ok(shown.to_owned()),
        Some(_) => Err(format!("{shown} is too old")),
        None => Err(format!("{} is no QEMU", program.to_string_lossy())),
    }
}

/// What `doctor` says of it.
pub(super) fn requirements() -> Vec<Requirement> {
    let remedy = match plan() {
        Ok(plan) => plan.commands(),
        Err(refusal) => refusal.commands,
    };
    let name = format!("QEMU {}.{} or later", LEAST.0, LEAST.1);
    let mut list = vec![Requirement {
        name,
        found: version(),
        remedy: remedy.clone(),
        is_optional: false,
    }];
    let help = process::output(Command::new(qemu_program()).args(["-M", "help"]));
    let help = help.unwrap_or_default();
    for machine in MACHINES {
        let line = help
            .lines()
            .find(|line| line.split_whitespace().next() == Some(machine));
        let found = line.map(|line| line.trim_start_matches(machine).trim().to_owned());
        list.push(Requirement {
            name: format!("QEMU's machine {machine}"),
            found: found.ok_or_else(|| "not among its machines".to_owned()),
            remedy: remedy.clone(),
            is_optional: false,
        });
    }
    list
}

/// How QEMU would be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    manager: Manager,
    /// Whether commands go through `sudo`.
    sudo: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Manager {
    /// apt, with the machine's own sources.
    Apt,
    /// apt, with a list of our own: a Debian release and its backports.
    AptBackports {
        source: Source,
        suite: String,
    },
    Dnf,
    Brew,
}

/// What is known of the machine.
struct Machine {
    /// `ID` and `VERSION_CODENAME` of os-release.
    id: String,
    codename: String,
    macos: bool,
    /// What its own apt sources offer.
    candidate: Option<Version>,
    /// Debian's archive, where apt's sources name it.
    mirror: Option<String>,
    root: bool,
    sudo: bool,
}

/// How to install QEMU here.
///
/// # Errors
///
/// [`NotAllowed`] if we cannot, with the commands that somebody else could run.
pub(super) fn plan() -> Result<Plan, NotAllowed> {
    if let Some(program) = std::env::var_os("QEMU") {
        let why = version().err().unwrap_or_else(|| "it is fine".to_owned());
        return Err(NotAllowed {
            why: format!("QEMU={} was asked for: {why}", program.to_string_lossy()),
            commands: vec!["unset QEMU".to_owned()],
        });
    }
    Machine::look().plan()
}

impl Machine {
    fn look() -> Self {
        let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        let policy = process::output(Command::new("apt-cache").args(["policy", PACKAGE]));
        Self {
            id: release_field(&release, "ID"),
            codename: release_field(&release, "VERSION_CODENAME"),
            macos: cfg!(target_os = "macos"),
            candidate: policy.ok().as_deref().and_then(candidate),
            mirror: apt::debian_mirror(&apt::machine_sources(Path::new("/"))),
            root: is_root(),
            sudo: may_sudo(),
        }
    }

    fn plan(self) -> Result<Plan, NotAllowed> {
        let Some(manager) = self.manager() else {
            return Err(NotAllowed {
                why: format!("no package manager known here brings QEMU {}.{}", LEAST.0, LEAST.1),
                commands: vec![
                    "# install it from https://www.qemu.org/download/, then, if it is not on the path:"
                        .to_owned(),
                    "export QEMU=/where/it/is/qemu-system-aarch64".to_owned(),
                ],
            });
        };
        let as_we_are = self.root || manager == Manager::Brew;
        let plan = Plan {
            manager,
            sudo: !as_we_are,
        };
        if !as_we_are && !self.sudo {
            let why = "installing QEMU takes root, or sudo without a password".to_owned();
            return Err(NotAllowed {
                why,
                commands: plan.commands(),
            });
        }
        Ok(plan)
    }

    fn manager(&self) -> Option<Manager> {
        if self.macos {
            return Some(Manager::Brew);
        }
        if self.candidate.is_some_and(|candidate| candidate >= LEAST) {
            return Some(Manager::Apt);
        }
        match self.id.as_str() {
            "debian" if !self.codename.is_empty() => {
                let suite = format!("{}-backports", self.codename);
                let suites = vec![self.codename.clone(), suite.clone()];
                let source = Source {
                    uri: self.mirror.clone()?,
                    suites,
                };
                Some(Manager::AptBackports { source, suite })
            }
            "fedora" => Some(Manager::Dnf),
            _ => None,
        }
    }
}

impl Plan {
    /// The commands of this plan, for a shell.
    fn commands(&self) -> Vec<String> {
        let sudo = if self.sudo { "sudo " } else { "" };
        let install = APT_INSTALL.join(" ");
        match &self.manager {
            Manager::Apt => vec![format!("{sudo}apt-get {install} {PACKAGE}")],
            Manager::Dnf => vec![format!(
                "{sudo}dnf install --assumeyes qemu-system-aarch64-core"
            )],
            Manager::Brew => vec!["brew install qemu".to_owned()],
            Manager::AptBackports { source, suite } => {
                let apt = format!("{sudo}apt-get {}", apt::options("$d").join(" "));
                vec![
                    "d=$(mktemp -d) && chmod 755 $d".to_owned(),
                    "mkdir -p $d/lists/partial $d/cache/archives/partial".to_owned(),
                    format!(
                        "cat > $d/tessera.sources <<END\n{}END",
                        apt::stanza(source, "main")
                    ),
                    format!("{apt} update"),
                    format!("{apt} {install} -t {suite} {PACKAGE}"),
                ]
            }
        }
    }
}

/// Installs QEMU.
///
/// # Errors
///
/// If the package manager fails, or what it installed is still too old.
pub(super) fn install(plan: &Plan, progress: &Progress) -> Result<()> {
    let plain = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive");
        privileged(command, plan.sudo)
    };
    let run = |what: &str, mut command: Command| {
        progress.step(what, |step| step.run(&mut command, LIMIT))
    };
    match &plan.manager {
        Manager::Apt => {
            let command = || plain("apt-get", &[&APT_INSTALL[..], &[PACKAGE]].concat());
            if run("Installing QEMU", command()).is_err() {
                // The machine's index may be older than its archive.
                run("Renewing apt's index", plain("apt-get", &["update"]))?;
                run("Installing QEMU", command())?;
            }
        }
        Manager::Dnf => {
            let arguments = ["install", "--assumeyes", "qemu-system-aarch64-core"];
            run("Installing QEMU", plain("dnf", &arguments))?;
        }
        Manager::Brew => run("Installing QEMU", plain("brew", &["install", "qemu"]))?,
        Manager::AptBackports { source, suite } => {
            install_from(source, suite, plan.sudo, progress)?;
        }
    }
    match version() {
        Ok(_) => Ok(()),
        Err(why) => bail!("QEMU was installed, and yet: {why}"),
    }
}

/// Installs from a list of our own; from `suite` only what the release's own package is too old for.
fn install_from(source: &Source, suite: &str, sudo: bool, progress: &Progress) -> Result<()> {
    let scratch = library::scratch()?;
    let state = PrivateState::new(scratch.path(), source, "main")?;
    progress.step(
        &format!("Reading the index of {}", source.suites.join(" and ")),
        |step| step.run(&mut privileged(state.command(&["update"]), sudo), LIMIT),
    )?;
    let policy = process::output(&mut state.policy(PACKAGE))?;
    let new_enough = candidate(&policy).is_some_and(|candidate| candidate >= LEAST);
    let from: &[&str] = if new_enough { &[] } else { &["-t", suite] };
    let arguments = [&APT_INSTALL[..], from, &[PACKAGE]].concat();
    progress.step("Installing QEMU", |step| {
        step.run(&mut privileged(state.command(&arguments), sudo), LIMIT)
    })
}

/// Whether we are root.
pub(super) fn is_root() -> bool {
    let user = process::output(Command::new("id").arg("-u"));
    user.is_ok_and(|user| user.trim() == "0")
}

/// Whether `sudo` asks for no password.
pub(super) fn may_sudo() -> bool {
    process::output(Command::new("sudo").args(["-n", "true"])).is_ok()
}

/// `command`, through `sudo` if asked for, which would drop its environment.
pub(super) fn privileged(command: Command, sudo: bool) -> Command {
    if !sudo {
        return command;
    }
    let mut through = Command::new("sudo");
    through.args(["-n", "env"]);
    for (name, value) in command.get_envs() {
        let value = value.unwrap_or_default();
        through.arg(format!(
            "{}={}",
            name.to_string_lossy(),
            value.to_string_lossy()
        ));
    }
    through.arg(command.get_program()).args(command.get_args());
    through
}

/// The value of a field of os-release, without quotes.
fn release_field(text: &str, name: &str) -> String {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_default().trim_matches('"').to_owned()
}

/// The candidate in what `apt-cache policy` says.
fn candidate(policy: &str) -> Option<Version> {
    let version = policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    leading(
        version
            .split_once(':')
            .map_or(version, |(_, version)| version),
    )
}

/// Major and minor at the start of a version text.
fn leading(version: &str) -> Option<Version> {
    let mut numbers = version
        .split(|letter: char| !letter.is_ascii_digit())
        .map_while(|number| number.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

#[cfg(test)]
mod tests;
