//! The sources of the compiler's own library, for a machine whose rustup cannot bring the built ones.
//!
//! They are in the sysroot, or rustup brings them, or Debian's package `rust-src` of exactly the
//! compiler's version does (45 MB; it is fetched and unpacked, not installed).

use super::apt::{self, PrivateState, Source};
use super::progress::{Progress, Step, say_why};
use super::toolchain::Toolchain;
use super::{Requirement, toolchain};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The Debian suite that has compilers newer than its release.
const SUITE: &str = "trixie-backports";
/// Where the sources appear in the folder that they are built in.
pub(super) const FOLDER: &str = "library";
/// How long rustup may take.
const RUSTUP_LIMIT: Duration = Duration::from_secs(180);
/// How long a download may take.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(900);

/// What `doctor` says of them; they are needed only where the built libraries are missing.
pub(super) fn requirement(toolchain: &Toolchain) -> Requirement {
    let folder = in_sysroot(&toolchain.sysroot);
    let found = match is_library(&folder) {
        true => Ok(folder.display().to_string()),
        false => Err(format!(
            "none in {} (needed only without rustup's libraries)",
            folder.display()
        )),
    };
    let remedy = vec!["rustup component add rust-src".to_owned()];
    Requirement {
        name: "library sources".to_owned(),
        found,
        remedy,
        is_optional: false,
    }
}

fn in_sysroot(sysroot: &Path) -> PathBuf {
    sysroot.join("lib/rustlib/src/rust/library")
}

fn is_library(folder: &Path) -> bool {
    folder.join("core/Cargo.toml").is_file() && folder.join("Cargo.lock").is_file()
}

/// A folder to build in, removed when dropped. Readable by all, because apt fetches as a user of
/// its own.
///
/// # Errors
///
/// As from the file system.
pub(super) fn scratch() -> Result<tempfile::TempDir> {
    let folder = tempfile::Builder::new()
        .prefix("tessera-setup-")
        .tempdir()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(folder)
}

/// The compiler's library sources, fetched into `scratch` where the sysroot lacks them.
///
/// # Errors
///
/// If nobody has them: with what each said.
pub(super) fn sources(
    toolchain: &Toolchain,
    scratch: &Path,
    progress: &Progress,
) -> Result<PathBuf> {
    let folder = in_sysroot(&toolchain.sysroot);
    if is_library(&folder) {
        return Ok(folder);
    }
    let by_rustup = progress.step("rustup component add rust-src", |step| {
        step.run(
            Command::new("rustup").args(["component", "add", "rust-src"]),
            RUSTUP_LIMIT,
        )?;
        if !is_library(&folder) {
            bail!("rustup reported success and the sources are not there");
        }
        Ok(())
    });
    let Err(error) = by_rustup else {
        return Ok(folder);
    };
    say_why(&error);
    let by_debian = progress.step("Fetching Debian's rust-src", |step| {
        let (release, _) = toolchain.release()?;
        let mirror = apt::debian_mirror(&apt::machine_sources(Path::new("/")));
        let source = Source {
            uri: mirror.context("apt's sources here name no archive of Debian's")?,
            suites: vec![SUITE.to_owned()],
        };
        let state = PrivateState::new(scratch, &source, "main")?;
        step.run(&mut state.command(&["update"]), DOWNLOAD_LIMIT)?;
        let package = format!("rust-src={release}*");
        let mut download = state.command(&["download", &package]);
        step.run(download.current_dir(scratch), DOWNLOAD_LIMIT)?;
        unpack(scratch, &release, step)
    });
    by_debian.with_context(|| {
        let pinned = toolchain::pinned();
        format!("the library sources of {pinned} cannot be had from rustup or {SUITE}")
    })
}

/// Makes the sources at `library` appear at [`FOLDER`] in `folder`.
///
/// # Errors
///
/// As from the file system.
pub(super) fn link(library: &Path, folder: &Path) -> Result<()> {
    #[cfg(unix)]
    return Ok(std::os::unix::fs::symlink(library, folder.join(FOLDER))?);
    #[cfg(not(unix))]
    bail!(
        "{} can be used on Unix only, not for {}",
        library.display(),
        folder.display()
    );
}

/// Unpacks the package in `scratch`; returns its library.
fn unpack(scratch: &Path, release: &str, step: &Step) -> Result<PathBuf> {
    let is_package = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "deb");
    let mut files = std::fs::read_dir(scratch)?
        .filter_map(Result::ok)
        .map(|file| file.path());
    let package = files
        .find(is_package)
        .context("apt-get downloaded nothing")?;
    let unpacked = scratch.join("unpacked");
    let mut command = Command::new("dpkg");
    command.arg("-x").arg(&package).arg(&unpacked);
    step.run(&mut command, DOWNLOAD_LIMIT)?;
    let library = unpacked.join(format!("usr/src/rustc-{release}/library"));
    if !is_library(&library) {
        bail!("{} has no whole library", package.display());
    }
    Ok(library)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn sources_in_the_sysroot_are_taken_without_asking_anybody() {
        let sysroot = tempfile::tempdir().unwrap();
        let folder = in_sysroot(sysroot.path());
        std::fs::create_dir_all(folder.join("core")).unwrap();
        std::fs::write(folder.join("core/Cargo.toml"), "").unwrap();
        let toolchain = Toolchain {
            rustc: "rustc".into(),
            cargo: "cargo".into(),
            sysroot: sysroot.path().into(),
        };
        assert!(requirement(&toolchain).found.is_err());
        std::fs::write(folder.join("Cargo.lock"), "").unwrap();
        assert!(requirement(&toolchain).found.is_ok());
        let scratch = scratch().unwrap();
        let found = sources(&toolchain, scratch.path(), &Progress::new()).unwrap();
        assert_eq!(found, folder);
        link(&found, scratch.path()).unwrap();
        assert!(is_library(&scratch.path().join(FOLDER)));
    }
}
