//! A browser, for the test that opens the page of a report; nothing else needs one.
//!
//! It is Chromium, because that one can be asked what a page became, what it complained of and what it
//! requested, by options alone.

use super::progress::Progress;
use super::qemu::{self, APT_INSTALL};
use super::{NotAllowed, Requirement};
use crate::process;
use anyhow::{Result, bail};
use std::ffi::OsString;
use std::fmt;
use std::process::Command;
use std::time::Duration;

/// What may be asked for, instead of what is looked for.
const VARIABLE: &str = "CHROMIUM";
/// What Chromium is called by those who package it.
const NAMES: [&str; 4] = [
    "chromium",
    "chromium-headless-shell",
    "chromium-browser",
    "google-chrome",
];
/// Debian's package.
const PACKAGE: &str = "chromium";
/// How long a package manager may take.
const LIMIT: Duration = Duration::from_secs(1200);

/// There is no browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoBrowser;

impl fmt::Display for NoBrowser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no Chromium here (`cargo xtask setup --browser` gets one)")
    }
}

impl std::error::Error for NoBrowser {}

/// The browser: the program, and what it says that it is.
///
/// # Errors
///
/// [`NoBrowser`].
pub fn find() -> Result<(OsString, String), NoBrowser> {
    let names = std::env::var_os(VARIABLE).map_or_else(
        || NAMES.map(OsString::from).to_vec(),
        |asked_for| vec![asked_for],
    );
    let mut found = names.into_iter().filter_map(|name| {
        let version = process::output(Command::new(&name).arg("--version")).ok()?;
        Some((name, version.trim().to_owned()))
    });
    found.next().ok_or(NoBrowser)
}

/// What `doctor` says of it.
pub(super) fn requirement() -> Requirement {
    Requirement {
        name: "Chromium, to test bench --html".to_owned(),
        found: find()
            .map(|(_, version)| version)
            .map_err(|_| "none".to_owned()),
        remedy: vec![format!("apt-get {} {PACKAGE}", APT_INSTALL.join(" "))],
        is_optional: true,
    }
}

/// Whether [`install`] can do it, and whether it goes through `sudo`.
///
/// # Errors
///
/// [`NotAllowed`] if it cannot.
pub(super) fn may_install() -> Result<bool, NotAllowed> {
    let refused = |why: &str| NotAllowed {
        why: why.to_owned(),
        commands: requirement().remedy,
    };
    let policy = process::output(Command::new("apt-cache").args(["policy", PACKAGE]));
    // Ubuntu's package brings a snap.
    let has_package =
        policy.is_ok_and(|policy| policy.contains("Candidate: ") && !policy.contains("snap"));
    if !has_package {
        return Err(refused("no Chromium is among apt's packages here"));
    }
    if qemu::is_root() {
        return Ok(false);
    }
    match qemu::may_sudo() {
        true => Ok(true),
        false => Err(refused(
            "installing Chromium takes root, or sudo without a password",
        )),
    }
}

/// Installs it.
///
/// # Errors
///
/// If apt fails, or what it installed does not start.
pub(super) fn install(sudo: bool, progress: &Progress) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.args(APT_INSTALL).arg(PACKAGE);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    progress.step("Installing Chromium", |step| {
        step.run(&mut qemu::privileged(command, sudo), LIMIT)
    })?;
    match find() {
        Ok(_) => Ok(()),
        Err(_) => bail!("Chromium was installed, and yet does not start"),
    }
}
