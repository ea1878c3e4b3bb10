//! What a run was made with: source, compiler, `core` and QEMU.

use crate::{machine, process, workspace};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;

/// The profile of all images.
const PROFILE: &str = "image";

/// The commit of the workspace, with `-dirty` behind it if a tracked file differs from it; `unknown`
/// outside a repository. Untracked files do not count: a report that was just written is one.
pub fn commit() -> String {
    let git = |arguments: &[&str]| {
        process::output(
            Command::new("git")
                .current_dir(workspace::root())
                .args(arguments),
        )
        .ok()
    };
    let Some(head) = git(&["rev-parse", "HEAD"]) else {
        return "unknown".to_owned();
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    let clean = changed.is_some_and(|changed| changed.trim().is_empty());
    format!("{}{}", head.trim(), if clean { "" } else { "-dirty" })
}

/// The compiler's version.
///
/// # Errors
///
/// If it cannot be run.
pub fn rustc() -> Result<String> {
    let version = process::output(rustc_command().arg("--version"))?;
    Ok(version.trim().to_owned())
}

fn rustc_command() -> Command {
    let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    // The workspace pins the compiler.
    command.current_dir(workspace::root());
    command
}

/// A checksum of the target's `core` library: the same compiler's libraries may have been built in
/// another way, and then the same source costs something else.
///
/// # Errors
///
/// If there is none or it cannot be read.
pub fn core_checksum() -> Result<String> {
    let folder = process::output(rustc_command().args([
        "--print",
        "target-libdir",
        "--target",
        crate::image::TARGET,
    ]))?;
    let folder = PathBuf::from(folder.trim());
    let entries = std::fs::read_dir(&folder)
        .with_context(|| format!("no libraries of the target in {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.starts_with("libcore-") && name.ends_with(".rlib") {
            let bytes =
                std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            return Ok(format!("{:08x}", wire::crc::checksum(&bytes)));
        }
    }
    bail!("no libcore in {}", folder.display())
}

/// The flags that images are built with: the compiler's from Cargo's configuration, and the profile.
///
/// # Errors
///
/// If the workspace's own files cannot be read or lack them.
pub fn flags() -> Result<String> {
    let read = |file: &str| -> Result<toml::Table> {
        let path = workspace::root().join(file);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        text.parse().with_context(|| format!("{file} is malformed"))
    };
    let manifest = read("Cargo.toml")?;
    let profile = manifest.get("profile").and_then(|all| all.get(PROFILE));
    let profile = profile.and_then(toml::Value::as_table);
    let profile = profile.with_context(|| format!("Cargo.toml has no profile `{PROFILE}`"))?;
    let settings = profile.iter().map(|(key, value)| format!("{key}={value}"));
    let configuration = read(".cargo/config.toml")?;
    let flags = configuration
        .get("target")
        .and_then(|all| all.get(crate::image::TARGET))
        .and_then(|target| target.get("rustflags"))
        .and_then(toml::Value::as_array)
        .context(".cargo/config.toml has no flags for images")?;
    let flags = flags
        .iter()
        .filter_map(toml::Value::as_str)
        .map(str::to_owned);
    Ok(settings.chain(flags).collect::<Vec<_>>().join(" "))
}

/// QEMU's version.
///
/// # Errors
///
/// If it cannot be run.
pub fn qemu() -> Result<String> {
    let said = process::output(Command::new(machine::qemu_program()).arg("--version"))?;
    version_in(&said).with_context(|| format!("QEMU's version is not in `{}`", said.trim()))
}

/// The version number in what `qemu --version` says.
fn version_in(said: &str) -> Option<String> {
    let mut words = said.lines().next()?.split_ascii_whitespace();
    words.find(|&word| word == "version")?;
    words.next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qemus_version_is_the_number_alone() {
        let debian = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1)\nCopyright";
        assert_eq!(version_in(debian), Some("10.0.2".into()));
        assert_eq!(version_in("something else"), None);
    }

    #[test]
    fn the_flags_are_those_of_images() {
        let flags = flags().unwrap();
        assert!(
            flags.contains("lto=\"fat\"") && flags.contains("-Crelocation-model=static"),
            "{flags}"
        );
    }

    #[test]
    fn the_compiler_is_the_pinned_one() {
        let pin = std::fs::read_to_string(workspace::root().join("rust-toolchain.toml")).unwrap();
        let version = rustc().unwrap();
        let number = version.split_ascii_whitespace().nth(1).unwrap();
        assert!(pin.contains(number), "{version} is not {pin}");
    }
}
