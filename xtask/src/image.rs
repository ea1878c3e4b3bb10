//! Images: building one, and the flat file that a machine boots.
//!
//! Boot loaders of both boards take a flat binary with the arm64 Image header (Linux's
//! `Documentation/arch/arm64/booting.rst`). It is what the ELF's loadable segments hold, `.bss`
//! included, and behind it, 4 KiB aligned, the payload with the run parameters. The header's
//! `image_size` counts all of it, so that nothing else is placed there.

use crate::log::Decoder;
use crate::{process, workspace};
use anyhow::{Context, Result, bail};
use object::{Object, ObjectSegment, ObjectSymbol};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use wire::payload;

/// The target triple of every image.
pub const TARGET: &str = "aarch64-unknown-none";
/// The feature of the kernel that notes who allocates.
pub const CALL_SITES: &str = "call-sites";
/// What it needs of the compiler beside it: the callers of collections are found by frame records. Joined
/// with the flags that `.cargo/config.toml` has for the target.
const FRAME_POINTERS: &str = "target.aarch64-unknown-none.rustflags=['-Cforce-frame-pointers=yes']";
/// Offset of `image_size` in the arm64 Image header, a little-endian u64.
const IMAGE_SIZE: usize = 16;
/// Offset of the header's magic.
const MAGIC: usize = 56;
/// The magic.
const MAGIC_BYTES: &[u8] = b"ARM\x64";
/// The symbol at the end of `.bss`, where the linker script puts it.
const END: &str = "__image_end";
/// More than any image takes; a larger one has a segment that is linked somewhere else.
const MOST_BYTES: u64 = 64 << 20;

/// Which of a package's images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A binary.
    Bin(&'a str),
    /// An example.
    Example(&'a str),
}

impl<'a> Target<'a> {
    /// Its name.
    pub const fn name(self) -> &'a str {
        match self {
            Self::Bin(name) | Self::Example(name) => name,
        }
    }

    const fn option(self) -> &'static str {
        match self {
            Self::Bin(_) => "--bin",
            Self::Example(_) => "--example",
        }
    }
}

/// A built image.
#[derive(Debug)]
pub struct Image {
    /// Its ELF, with symbols and debug information.
    pub elf: PathBuf,
    /// Its name, with the features it was built with.
    pub name: String,
    bytes: Vec<u8>,
    log: OnceLock<Option<Decoder>>,
}

/// Builds an image and keeps its ELF where a later build does not replace it.
///
/// Cargo's progress appears on standard error. `RUSTFLAGS` from the environment is not honoured: an
/// image has one set of flags, so that what is measured is what runs.
///
/// # Errors
///
/// If the build fails (Cargo has said why) or made no such image.
pub fn build(package: &str, target: Target<'_>, features: &[&str]) -> Result<Image> {
    build_in(&Source::default(), package, target, features)
}

/// Where a package is built, if not in this workspace.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The manifest of the workspace that it is in.
    pub manifest: Option<PathBuf>,
    /// Variables that its source reads when it is built.
    pub environment: Vec<(&'static str, String)>,
}

/// As [`build`], from `source`.
///
/// # Errors
///
/// As [`build`].
pub fn build_in(
    source: &Source,
    package: &str,
    target: Target<'_>,
    features: &[&str],
) -> Result<Image> {
    let mut command = Command::new(cargo());
    command
        .current_dir(workspace::root())
        .args([
            "build",
            "--profile",
            "image",
            "--target",
            TARGET,
            "-p",
            package,
        ])
        .args([target.option(), target.name()])
        .args(["--message-format", "json-render-diagnostics"])
        .env("DEFMT_LOG", "trace")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    if !features.is_empty() {
        command.args(["--features", &features.join(",")]);
    }
    if let Some(manifest) = &source.manifest {
        command.arg("--manifest-path").arg(manifest);
        command
            .arg("--target-dir")
            .arg(workspace::target_directory());
    }
    let environment = source.environment.iter();
    command.envs(environment.map(|(name, value)| (name, value)));
    if features.contains(&CALL_SITES) {
        command.args(["--config", FRAME_POINTERS]);
    }
    // Cargo puts an image to one place whatever its features: nobody else may build before it is read.
    let one_at_a_time = lock()?;
    let built = executables(&mut command)?
        .into_iter()
        .find(|built| built.name == target.name())
        .with_context(|| format!("{package} made no image called {}", target.name()))?;
    let name = name(target, features);
    let elf = workspace::artifacts().join(format!("{name}.elf"));
    let bytes = std::fs::read(&built.path)
        .with_context(|| format!("cannot read {}", built.path.display()))?;
    drop(one_at_a_time);
    replace(&elf, &bytes)?;
    Ok(Image {
        elf,
        name,
        bytes,
        log: OnceLock::new(),
    })
}

/// Waits until no other thread and no other run builds an image; they wait until the file is dropped.
fn lock() -> Result<File> {
    let path = workspace::artifacts().join("build.lock");
    let locked = std::fs::create_dir_all(workspace::artifacts())
        .and_then(|()| File::create(&path))
        .and_then(|file| file.lock().map(|()| file));
    locked.with_context(|| format!("cannot lock {}", path.display()))
}

/// The name of an image built with `features`.
pub fn name(target: Target<'_>, features: &[&str]) -> String {
    [&[target.name()], features].concat().join("-")
}

/// An executable that Cargo made.
#[derive(Debug, PartialEq, Eq)]
pub struct Executable {
    /// The package's name.
    pub package: String,
    /// The package's folder.
    pub folder: PathBuf,
    /// The target's name.
    pub name: String,
    /// Whether it runs tests.
    pub is_test: bool,
    /// Where it is.
    pub path: PathBuf,
}

/// Runs a Cargo build with JSON messages on its piped standard output; returns what it made.
///
/// # Errors
///
/// If it fails; Cargo has said why on standard error.
pub fn executables(command: &mut Command) -> Result<Vec<Executable>> {
    Ok(messages(command)?.lines().filter_map(executable).collect())
}

/// Runs a Cargo build as [`executables`] does; returns the dynamic library that it made.
///
/// # Errors
///
/// If it fails, Cargo having said why, or made none.
pub fn library(command: &mut Command) -> Result<PathBuf> {
    let files = |message: &str| -> Option<Vec<PathBuf>> {
        let message: serde_json::Value = serde_json::from_str(message).ok()?;
        let files = message.get("filenames")?.as_array()?.iter();
        Some(
            files
                .filter_map(|file| Some(file.as_str()?.into()))
                .collect(),
        )
    };
    let suffix = Some(std::ffi::OsStr::new(std::env::consts::DLL_EXTENSION));
    messages(command)?
        .lines()
        .filter_map(files)
        .next_back()
        .into_iter()
        .flatten()
        .find(|file: &PathBuf| file.extension() == suffix)
        .with_context(|| format!("no dynamic library was made: {}", process::line(command)))
}

/// Runs a Cargo build to its end; returns its messages.
fn messages(command: &mut Command) -> Result<String> {
    let child = process::Child::spawn(command)?;
    let messages = child
        .stdout()
        .context("Cargo's standard output is not piped")?;
    let messages = std::io::read_to_string(messages)?;
    if !child.wait()?.success() {
        bail!("the build failed: {}", process::line(command));
    }
    Ok(messages)
}

/// The executable that one of Cargo's JSON messages tells of.
fn executable(message: &str) -> Option<Executable> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let folder = Path::new(message.get("manifest_path")?.as_str()?).parent()?;
    Some(Executable {
        package: folder.file_name()?.to_string_lossy().into_owned(),
        folder: folder.to_path_buf(),
        is_test: message.get("profile")?.get("test")?.as_bool()?,
        name: message.get("target")?.get("name")?.as_str()?.to_owned(),
        path: message.get("executable")?.as_str()?.into(),
    })
}

/// The Cargo that runs us.
pub fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Writes `path` so that a reader sees either the old file or the new one whole.
///
/// # Errors
///
/// As from the file system.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let directory = path.parent().context("a file without a folder")?;
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(directory)?;
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        std::io::Write::write_all(&mut file, bytes)?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

impl Image {
    /// The ELF's bytes.
    pub fn elf_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The decoder of its log frames; `None` if it has no log table that we can read.
    pub fn log(&self) -> Option<&Decoder> {
        self.log
            .get_or_init(|| Decoder::new(&self.bytes).ok().flatten())
            .as_ref()
    }

    /// The flat file: the image, and behind it a payload of `command_line` and `files`.
    ///
    /// # Errors
    ///
    /// If the ELF is none of ours: its segments are far apart, or the Image header is missing.
    pub fn flat(&self, command_line: &str, files: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
        let mut flat = load(&self.bytes)
            .with_context(|| format!("{} is no bootable image", self.elf.display()))?;
        append_payload(&mut flat, command_line, files);
        Ok(flat)
    }

    /// Writes the flat file to `folder`, where it stays until the same boot is prepared again.
    ///
    /// # Errors
    ///
    /// As [`flat`](Self::flat), and from the file system.
    pub fn write_flat(
        &self,
        folder: &Path,
        command_line: &str,
        files: &[(String, Vec<u8>)],
    ) -> Result<PathBuf> {
        let flat = self.flat(command_line, files)?;
        // The name follows from what distinguishes this boot from others of the same image.
        let mut crc = wire::crc::Crc32::new();
        let parts = files
            .iter()
            .flat_map(|(name, data)| [name.as_bytes(), data]);
        let parts = std::iter::once(command_line.as_bytes()).chain(parts);
        parts.flatten().for_each(|&byte| crc.update(byte));
        let name = format!("{}-{:08x}.img", self.name, crc.finish());
        let path = folder.join(name);
        replace(&path, &flat)?;
        Ok(path)
    }
}

/// The loadable bytes of `elf`, zero-filled to the image's end and to a multiple of 4 KiB.
fn load(elf: &[u8]) -> Result<Vec<u8>> {
    let elf = object::File::parse(elf)?;
    let segments = || elf.segments().filter(|segment| segment.size() > 0);
    let start = segments()
        .map(|segment| segment.address())
        .min()
        .context("nothing to load")?;
    let mut end = segments()
        .filter_map(|segment| segment.address().checked_add(segment.size()))
        .max()
        .context("nothing to load")?;
    if let Some(symbol) = elf.symbol_by_name(END) {
        end = end.max(symbol.address());
    }
    let bytes = end.checked_sub(start).filter(|&bytes| bytes <= MOST_BYTES);
    let bytes = bytes.with_context(|| format!("its segments span {start:#x} to {end:#x}"))?;
    let mut flat = vec![0; usize::try_from(bytes)?.next_multiple_of(payload::ALIGN_BYTES)];
    for segment in segments() {
        let data = segment.data()?;
        let offset = usize::try_from(segment.address() - start)?;
        flat.get_mut(offset..offset + data.len())
            .context("a segment is longer in the file than in memory")?
            .copy_from_slice(data);
    }
    if flat.get(MAGIC..MAGIC + MAGIC_BYTES.len()) != Some(MAGIC_BYTES) {
        bail!("no arm64 Image header at {start:#x}");
    }
    Ok(flat)
}

fn append_payload(flat: &mut Vec<u8>, command_line: &str, files: &[(String, Vec<u8>)]) {
    let parts = files
        .iter()
        .map(|(name, data)| (name.as_str(), data.as_slice()));
    payload::write(command_line, parts, |piece| flat.extend_from_slice(piece));
    flat.resize(flat.len().next_multiple_of(payload::ALIGN_BYTES), 0);
    let size = flat.len() as u64;
    flat[IMAGE_SIZE..IMAGE_SIZE + 8].copy_from_slice(&size.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 0xffff_ffff_8020_0000;

    /// An ELF of two segments as the linker makes them: code with the Image header at [`BASE`], and
    /// `gap` bytes behind it data with a `.bss` of 5,000 bytes.
    fn elf(magic: &[u8], gap: u64) -> Vec<u8> {
        let mut code = vec![0xC0; 100];
        code[MAGIC..MAGIC + magic.len()].copy_from_slice(magic);
        let data = [0xDA; 16];
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(16, 0);
        elf.extend([2_u16, 183].map(u16::to_le_bytes).concat());
        elf.extend(1_u32.to_le_bytes());
        elf.extend([BASE, 64, 0].map(u64::to_le_bytes).concat());
        elf.extend(0_u32.to_le_bytes());
        elf.extend([64_u16, 56, 2, 64, 0, 0].map(u16::to_le_bytes).concat());
        for (offset, address, in_file, in_memory) in [
            (176, BASE, 100, 100),
            (276, BASE.wrapping_add(gap), 16, 5016),
        ] {
            elf.extend([1_u32, 7].map(u32::to_le_bytes).concat());
            let words = [offset, address, address, in_file, in_memory, 0x1000];
            elf.extend(words.map(u64::to_le_bytes).concat());
        }
        elf.extend(code);
        elf.extend(data);
        elf
    }

    fn image(bytes: Vec<u8>) -> Image {
        Image {
            elf: "x.elf".into(),
            name: "x".into(),
            bytes,
            log: OnceLock::new(),
        }
    }

    #[test]
    fn the_flat_file_is_the_segments_then_zeros_then_the_payload() {
        let files = [("trace:redis".to_owned(), vec![1, 2, 3])];
        let image = image(elf(MAGIC_BYTES, 0x1000));
        let flat = image.flat("cmd=run log=info", &files).unwrap();
        assert_eq!((flat[0], flat[99], flat[100]), (0xC0, 0xC0, 0));
        assert_eq!((flat[0x1000], flat[0x100f], flat[0x1010]), (0xDA, 0xDA, 0));
        // 0x1000 + 5016 bytes, rounded up to 4 KiB.
        let behind = &flat[0x3000..];
        let payload = payload::Payload::parse(behind).unwrap();
        assert_eq!(payload.command_line(), "cmd=run log=info");
        let read: Vec<_> = payload.files().map(Result::unwrap).collect();
        assert_eq!(read, [("trace:redis", &[1, 2, 3][..])]);
        assert_eq!(flat.len(), 0x4000);
        assert_eq!(flat[IMAGE_SIZE..IMAGE_SIZE + 8], 0x4000_u64.to_le_bytes());
    }

    #[test]
    fn what_could_not_boot_is_refused() {
        let no_header = image(elf(b"nope", 0x1000)).flat("", &[]).unwrap_err();
        assert!(
            format!("{no_header:#}").contains("no arm64 Image header"),
            "{no_header:#}"
        );
        let far = image(elf(MAGIC_BYTES, 0x1000_0000))
            .flat("", &[])
            .unwrap_err();
        assert!(format!("{far:#}").contains("its segments span"), "{far:#}");
        assert!(image(b"text".to_vec()).flat("", &[]).is_err());
    }

    #[test]
    fn cargo_tells_where_it_put_an_executable() {
        let message = r#"{"reason":"compiler-artifact","manifest_path":"/w/kernel/wire/Cargo.toml",
            "target":{"name":"wire"},"profile":{"test":true},"executable":"/w/target/debug/deps/wire-0123"}"#;
        let expected = Executable {
            package: "wire".into(),
            folder: "/w/kernel/wire".into(),
            is_test: true,
            name: "wire".into(),
            path: "/w/target/debug/deps/wire-0123".into(),
        };
        assert_eq!(executable(message), Some(expected));
        assert_eq!(
            executable(r#"{"reason":"compiler-artifact","executable":null}"#),
            None
        );
        assert_eq!(executable("warning: text"), None);
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/file");
        replace(&path, b"old").unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        let left = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(left, 1);
    }
}
