//! The compiler that builds the images: the one whose Cargo runs us.

use super::Requirement;
use crate::process;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The compiler that the workspace pins.
const PINNED: &str = include_str!("../../../rust-toolchain.toml");

/// A compiler and its Cargo.
#[derive(Clone, Debug)]
pub(super) struct Toolchain {
    /// Its rustc.
    pub(super) rustc: PathBuf,
    /// Its Cargo.
    pub(super) cargo: PathBuf,
    /// Where its libraries are.
    pub(super) sysroot: PathBuf,
}

impl Toolchain {
    /// The compiler that Cargo uses for our builds: `RUSTC`, or the one beside Cargo (which spares
    /// us rustup's detour), or the one on the path.
    ///
    /// # Errors
    ///
    /// If it cannot be asked where its libraries are.
    pub(super) fn find() -> Result<Self> {
        let cargo = PathBuf::from(crate::image::cargo());
        let beside = cargo
            .parent()
            .map(|bin| bin.join("rustc"))
            .filter(|rustc| rustc.is_file());
        let rustc = std::env::var_os("RUSTC").map(PathBuf::from).or(beside);
        let rustc = rustc.unwrap_or_else(|| "rustc".into());
        let sysroot = process::output(Command::new(&rustc).args(["--print", "sysroot"]))
            .context("cannot ask the compiler where its libraries are")?;
        Ok(Self {
            rustc,
            cargo,
            sysroot: sysroot.trim().into(),
        })
    }

    /// Where the sysroot keeps the libraries of `target`.
    pub(super) fn libraries(sysroot: &Path, target: &str) -> PathBuf {
        sysroot.join("lib/rustlib").join(target).join("lib")
    }

    /// Version and commit, `("1.95.0", Some("5980…"))`.
    ///
    /// # Errors
    ///
    /// If it cannot be asked.
    pub(super) fn release(&self) -> Result<(String, Option<String>)> {
        let text = process::output(Command::new(&self.rustc).arg("-vV"))?;
        let release = field(&text, "release").context("the compiler does not say its version")?;
        Ok((
            release.to_owned(),
            field(&text, "commit-hash").map(str::to_owned),
        ))
    }

    /// Whether it is the compiler that the workspace pins.
    pub(super) fn requirement(&self) -> Requirement {
        let pinned = pinned();
        let found = match self.release() {
            Ok((release, _)) if release == pinned => Ok(self.rustc.display().to_string()),
            Ok((release, _)) => Err(format!("{release} at {}", self.rustc.display())),
            Err(error) => Err(format!("{error:#}")),
        };
        let remedy = vec![format!(
            "rustup toolchain install {pinned} --component rustfmt,clippy"
        )];
        Requirement {
            name: format!("rustc {pinned}"),
            found,
            remedy,
            is_optional: false,
        }
    }
}

/// The version that `rust-toolchain.toml` names.
pub(super) fn pinned() -> &'static str {
    let value = PINNED
        .lines()
        .find_map(|line| line.strip_prefix("channel = \""));
    value
        .and_then(|value| value.split('"').next())
        .unwrap_or_default()
}

/// The value of `name: value` in rustc's verbose version text.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_version_is_read_from_the_toolchain_file() {
        let parts = pinned()
            .split('.')
            .filter(|part| part.parse::<u32>().is_ok())
            .count();
        assert_eq!(parts, 3, "{}", pinned());
    }

    #[test]
    fn the_compiler_says_its_version() {
        let text = "rustc 1.95.0 (59807616e 2026-04-14)\nrelease: 1.95.0\ncommit-hash: 5980\n";
        assert_eq!(field(text, "release"), Some("1.95.0"));
        assert_eq!(field(text, "host"), None);
        let toolchain = Toolchain::find().unwrap();
        assert!(toolchain.sysroot.join("lib/rustlib").is_dir());
        assert!(toolchain.release().unwrap().0.starts_with("1."));
    }
}
