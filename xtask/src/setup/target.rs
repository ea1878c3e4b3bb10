//! The compiler's libraries for the image's target.
//!
//! Three sources, in order: they are there; rustup has them; they are built once from the compiler's
//! own library sources. Whoever says that it installed them, what counts is that the files are there.

use super::progress::{Progress, say_why};
use super::toolchain::Toolchain;
use super::{NotAllowed, Requirement, library};
use crate::console;
use crate::image::TARGET;
use crate::workspace;
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The libraries that an image links.
const LIBRARIES: [&str; 3] = ["core", "alloc", "compiler_builtins"];
/// Where the libraries are built, beside those of the targets.
const BUILD_FOLDER: &str = ".tessera-build";
/// How long rustup may take; where its server cannot be reached it tries for long.
const RUSTUP_LIMIT: Duration = Duration::from_secs(180);
/// How long building the libraries may take on a slow machine.
const BUILD_LIMIT: Duration = Duration::from_secs(900);

/// The manifest of the empty crate that they are built for.
const MANIFEST: &str =
    "[package]\nname = \"empty\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n";

/// Whether the libraries are there.
pub(super) fn is_present(sysroot: &Path) -> bool {
    let folder = Toolchain::libraries(sysroot, TARGET);
    LIBRARIES
        .iter()
        .all(|name| library_file(&folder, name).is_some())
}

/// The file of library `name` in `folder`, whatever its hash.
fn library_file(folder: &Path, name: &str) -> Option<OsString> {
    let prefix = format!("lib{name}-");
    let files = std::fs::read_dir(folder).ok()?.filter_map(Result::ok);
    files.map(|file| file.file_name()).find(|file| {
        let file = file.to_string_lossy();
        file.strip_prefix(&prefix)
            .is_some_and(|rest| rest.ends_with(".rlib"))
    })
}

/// What `doctor` says of them.
pub(super) fn requirement(toolchain: &Toolchain) -> Requirement {
    let folder = Toolchain::libraries(&toolchain.sysroot, TARGET);
    let found = match is_present(&toolchain.sysroot) {
        true => Ok(folder.display().to_string()),
        false => Err(format!("none in {}", folder.display())),
    };
    let remedy = vec![
        format!("rustup target add {TARGET}"),
        "or, where rustup's server is out of reach: cargo xtask setup".to_owned(),
    ];
    Requirement {
        name: format!("{TARGET} libraries"),
        found,
        remedy,
        is_optional: false,
    }
}

/// Whether we may write where the libraries go.
pub(super) fn may_install(toolchain: &Toolchain) -> Result<(), NotAllowed> {
    let folder = toolchain.sysroot.join("lib/rustlib");
    match staging(&folder) {
        Ok(_) => Ok(()),
        Err(error) => Err(NotAllowed {
            why: format!("cannot write to {} ({error})", folder.display()),
            commands: vec![format!("rustup target add {TARGET}")],
        }),
    }
}

/// A temporary folder beside the target's, so that what is made there is moved in by one rename.
fn staging(rustlib: &Path) -> std::io::Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix(".tessera-")
        .tempdir_in(rustlib)
}

/// Gets the libraries.
///
/// # Errors
///
/// If no source has them; the sysroot is unchanged then.
pub(super) fn install(toolchain: &Toolchain, progress: &Progress) -> Result<()> {
    get(toolchain, progress)?;
    // What was built against other libraries links with none but them, and Cargo does not notice.
    let stale = workspace::target_directory().join(TARGET);
    match std::fs::remove_dir_all(&stale) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", stale.display()))
        }
        _ => Ok(()),
    }
}

fn get(toolchain: &Toolchain, progress: &Progress) -> Result<()> {
    let by_rustup = progress.step(&format!("rustup target add {TARGET}"), |step| {
        step.run(
            Command::new("rustup").args(["target", "add", TARGET]),
            RUSTUP_LIMIT,
        )?;
        if !is_present(&toolchain.sysroot) {
            bail!("rustup reported success and the libraries are not there");
        }
        Ok(())
    });
    let Err(error) = by_rustup else { return Ok(()) };
    say_why(&error);
    console::say("  The libraries are built from their sources instead.");
    let folder = build_folder(&toolchain.sysroot)?;
    let scratch = library::scratch()?;
    let sources = library::sources(toolchain, scratch.path(), progress)?;
    library::link(&sources, folder.path())?;
    let built = progress.step("Building core, alloc and compiler_builtins", |step| {
        let mut command = build_command(toolchain, folder.path())?;
        step.run(&mut command, BUILD_LIMIT)?;
        Ok(folder.path().join(format!("target/{TARGET}/release/deps")))
    })?;
    place(&toolchain.sysroot, &built)
}

/// The folder that the libraries are built in, removed when dropped.
///
/// It has one name: Cargo puts the path into the libraries' identity, bench reports carry their hash,
/// and two machines set up alike must agree.
fn build_folder(sysroot: &Path) -> Result<tempfile::TempDir> {
    let rustlib = sysroot.join("lib/rustlib");
    let path = rustlib.join(BUILD_FOLDER);
    let age = path
        .metadata()
        .and_then(|folder| folder.modified())
        .map(|time| time.elapsed());
    match age {
        Ok(Ok(age)) if age > BUILD_LIMIT => std::fs::remove_dir_all(&path)?,
        Ok(_) => bail!(
            "{} exists: another set-up is running, or one was killed; remove it if none is",
            path.display()
        ),
        Err(_) => {}
    }
    let mut builder = tempfile::Builder::new();
    Ok(builder
        .prefix(BUILD_FOLDER)
        .rand_bytes(0)
        .tempdir_in(&rustlib)?)
}

/// The command that builds the libraries in an empty crate in `folder`, which has their sources.
fn build_command(toolchain: &Toolchain, folder: &Path) -> Result<Command> {
    std::fs::create_dir_all(folder.join("src"))?;
    std::fs::write(folder.join("src/lib.rs"), "//! Empty.\n#![no_std]\n")?;
    std::fs::write(folder.join("Cargo.toml"), MANIFEST)?;
    // The paths in the libraries are those of a released compiler, whoever builds them where.
    let (_, commit) = toolchain.release()?;
    let shown = format!("/rustc/{}/library", commit.as_deref().unwrap_or("unknown"));
    let flags = [
        "-Cembed-bitcode=yes",
        &format!("--remap-path-prefix=library={shown}"),
    ];
    let mut command = Command::new(&toolchain.cargo);
    command
        .current_dir(folder)
        .args([
            "build",
            "--release",
            "--target",
            TARGET,
            "-Zbuild-std=core,alloc",
        ])
        .arg("-Zbuild-std-features=compiler-builtins-mem")
        // A released compiler builds its own libraries in this mode, and Cargo takes their sources
        // from where this variable says instead of from the sysroot, which stays as it is.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("__CARGO_TESTS_ONLY_SRC_ROOT", folder.join(library::FOLDER))
        .env("RUSTC", &toolchain.rustc)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env_remove("RUSTFLAGS");
    Ok(command)
}

/// Moves the built libraries into the sysroot, whole or not at all.
fn place(sysroot: &Path, built: &Path) -> Result<()> {
    let rustlib = sysroot.join("lib/rustlib");
    let staging = staging(&rustlib)?;
    let folder = staging.path().join("new");
    std::fs::create_dir_all(folder.join("lib"))?;
    for name in LIBRARIES {
        let file = library_file(built, name)
            .with_context(|| format!("the build made no lib{name} in {}", built.display()))?;
        std::fs::copy(built.join(&file), folder.join("lib").join(&file))?;
    }
    let target = rustlib.join(TARGET);
    if target.exists() {
        // What was there lacked a library; it goes with the staging folder.
        std::fs::rename(&target, staging.path().join("old"))?;
    }
    std::fs::rename(&folder, &target)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(folder.path().join(format!("lib{name}-0123.rlib")), name).unwrap();
        }
        std::fs::write(folder.path().join("libcore-0123.rmeta"), "").unwrap();
        folder
    }

    fn sysroot() -> tempfile::TempDir {
        let sysroot = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(sysroot.path().join("lib/rustlib")).unwrap();
        sysroot
    }

    fn entries(sysroot: &Path) -> Vec<OsString> {
        let entries = std::fs::read_dir(sysroot.join("lib/rustlib")).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn libraries_are_placed_whole_over_what_was_incomplete() {
        let (sysroot, built) = (sysroot(), built(&LIBRARIES));
        let incomplete = Toolchain::libraries(sysroot.path(), TARGET);
        std::fs::create_dir_all(&incomplete).unwrap();
        std::fs::write(incomplete.join("libcore-9.rlib"), "").unwrap();
        assert!(!is_present(sysroot.path()));
        place(sysroot.path(), built.path()).unwrap();
        assert!(is_present(sysroot.path()));
        assert!(!incomplete.join("libcore-9.rlib").exists());
        assert_eq!(entries(sysroot.path()), [TARGET]);
    }

    #[test]
    fn an_incomplete_build_changes_nothing() {
        let (sysroot, built) = (sysroot(), built(&["core", "alloc"]));
        let error = place(sysroot.path(), built.path()).unwrap_err().to_string();
        assert!(error.contains("compiler_builtins"), "{error}");
        assert!(entries(sysroot.path()).is_empty());
    }

    #[test]
    fn the_libraries_are_built_in_one_place_by_one_set_up_at_a_time() {
        let sysroot = sysroot();
        let folder = build_folder(sysroot.path()).unwrap();
        assert_eq!(entries(sysroot.path()), [BUILD_FOLDER]);
        let second = build_folder(sysroot.path()).unwrap_err().to_string();
        assert!(second.contains("another set-up is running"), "{second}");
        drop(folder);
        assert!(entries(sysroot.path()).is_empty());
    }

    #[test]
    fn a_library_is_found_by_name_and_kind() {
        let built = built(&["alloc"]);
        assert_eq!(
            library_file(built.path(), "alloc").unwrap(),
            "liballoc-0123.rlib"
        );
        assert_eq!(library_file(built.path(), "core"), None);
    }

    #[test]
    #[cfg(unix)]
    fn a_sysroot_that_cannot_be_written_is_refused_before_anything_happens() {
        let toolchain = Toolchain {
            rustc: "rustc".into(),
            cargo: "cargo".into(),
            sysroot: "/nonexistent".into(),
        };
        let refusal = may_install(&toolchain).unwrap_err();
        assert_eq!(refusal.commands, ["rustup target add aarch64-unknown-none"]);
    }
}
