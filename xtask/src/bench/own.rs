//! The reader's own allocator: a crate that is built into the image in the place of the example.
//!
//! Nothing in the tree changes. A workspace under the target directory holds one package, `bench` again:
//! its sources are the tree's, its manifest is the tree's but for the one dependency that is the reader's
//! crate. Profile, lints, lock file and linker script are the tree's too, so that the image is what it
//! would be without.

use super::peers::{self, Peer};
use super::report::Report;
use crate::image::{self, Image, Source, Target};
use crate::{process, workspace};
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;
use toml::{Table, Value};

/// The dependency of `bench` that is the allocator, and the feature that puts it into the line-up.
const DEPENDENCY: &str = "own-allocator";
const FEATURE: &str = "own";
/// What tells `bench` its name.
const VARIABLE: &str = "OWN_ALLOCATOR";
/// What stands behind a name that another allocator has.
const SUFFIX: &str = "-own";

/// What the crate must export.
const CONVENTION: &str = "\
a crate for --allocator is a library without `std` that exports
  pub struct Allocator;
  impl Allocator { pub const fn new() -> Self; pub unsafe fn init(&self, start: *mut u8, bytes: usize); }
  unsafe impl GlobalAlloc for Allocator
(bench/README.md says more, and bench/examples/free-lists is one)";

/// The reader's crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Own {
    package: String,
    version: String,
    folder: PathBuf,
}

/// What `cargo metadata` says.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// Of a package.
#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    manifest_path: PathBuf,
    targets: Vec<Artifact>,
}

/// Of one of its targets.
#[derive(Deserialize)]
struct Artifact {
    kind: Vec<String>,
}

impl Own {
    /// The crate whose folder is `path`.
    ///
    /// # Errors
    ///
    /// If there is none, or it is no library.
    pub(super) fn find(path: &Path) -> Result<Self> {
        let shown = path.display();
        let manifest = path.join("Cargo.toml");
        ensure!(
            manifest.is_file(),
            "--allocator {shown}: no Cargo.toml there; {CONVENTION}"
        );
        let manifest = manifest
            .canonicalize()
            .with_context(|| format!("--allocator {shown}"))?;
        let mut command = Command::new(image::cargo());
        command
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .arg("--manifest-path")
            .arg(&manifest);
        let said = process::output(&mut command).with_context(|| format!("--allocator {shown}"))?;
        let metadata: Metadata = serde_json::from_str(&said)?;
        let mut packages = metadata.packages.into_iter();
        let package = packages.find(|package| package.manifest_path == manifest);
        let package = package
            .with_context(|| format!("--allocator {shown} is a workspace: name one crate of it"))?;
        let is_library = |target: &Artifact| target.kind.iter().any(|kind| kind == "lib");
        ensure!(
            package.targets.iter().any(is_library),
            "--allocator {shown}: {} has no library; {CONVENTION}",
            package.name
        );
        let folder = manifest.parent().context("a manifest without a folder")?;
        Ok(Self {
            package: package.name,
            version: package.version,
            folder: folder.to_path_buf(),
        })
    }

    /// What its rows call it.
    fn name(&self) -> String {
        let taken = peers::is_taken(&self.package);
        format!("{}{}", self.package, if taken { SUFFIX } else { "" })
    }

    /// It among the crates that were measured.
    pub(super) fn into_peer(self) -> Peer {
        Peer {
            name: self.name(),
            version: self.version,
        }
    }

    /// The image with it and with `features`.
    ///
    /// # Errors
    ///
    /// If the crate does not build or does not keep to the convention: Cargo has said why.
    pub(super) fn image(&self, features: &[&str]) -> Result<Image> {
        let source = Source {
            manifest: Some(self.workspace()?),
            environment: vec![(VARIABLE, self.name())],
        };
        let features: Vec<&str> = features.iter().copied().chain([FEATURE]).collect();
        image::build_in(&source, "bench", Target::Bin("bench"), &features)
            .with_context(|| format!("{} does not fit: {CONVENTION}", self.package))
    }

    /// Writes the workspace; returns its manifest.
    fn workspace(&self) -> Result<PathBuf> {
        let root = workspace::root();
        // Each crate has its own, so that two may be built at once.
        let path = self.folder.to_string_lossy();
        let name = format!(
            "{}-{:08x}",
            self.package,
            wire::crc::checksum(path.as_bytes())
        );
        let folder = workspace::target_directory().join("own").join(name);
        let whole = parsed(&root.join("Cargo.toml"))?;
        let bench = parsed(&root.join("bench/Cargo.toml"))?;
        let manifest = folder.join("Cargo.toml");
        write(&manifest, &of_workspace(whole)?)?;
        let of_bench = self.of_bench(bench, &root.join("bench"))?;
        write(&folder.join("bench/Cargo.toml"), &of_bench)?;
        // The linker runs in the package's folder, since the sources are elsewhere.
        for (name, copy) in [
            ("Cargo.lock", "Cargo.lock"),
            ("linker.ld", "bench/linker.ld"),
        ] {
            let text =
                std::fs::read(root.join(name)).with_context(|| format!("cannot read {name}"))?;
            image::replace(&folder.join(copy), &text)?;
        }
        Ok(manifest)
    }

    /// The manifest of `bench`, whose folder is `folder`, from somewhere else and with the crate in it.
    fn of_bench(&self, mut bench: Table, folder: &Path) -> Result<Table> {
        bench.remove("dev-dependencies");
        let path = |inside: &str| Value::String(folder.join(inside).display().to_string());
        bench.insert(
            "lib".into(),
            Table::from_iter([("path".into(), path("src/lib.rs"))]).into(),
        );
        let binaries = bench.get_mut("bin").and_then(Value::as_array_mut);
        for binary in binaries.into_iter().flatten() {
            let table = binary.as_table_mut().context("a [[bin]] is a table")?;
            table.insert("path".into(), path("src/main.rs"));
        }
        let dependencies = table_in(&mut bench, "dependencies")?;
        for (name, dependency) in dependencies.iter_mut() {
            let Some(dependency) = dependency.as_table_mut() else {
                continue;
            };
            if name == DEPENDENCY {
                let own = self.folder.display().to_string();
                dependency.insert("package".into(), Value::String(self.package.clone()));
                dependency.insert("path".into(), Value::String(own));
            } else if let Some(Value::String(inside)) = dependency.get("path") {
                let outside = path(inside);
                dependency.insert("path".into(), outside);
            }
        }
        Ok(bench)
    }
}

/// The manifest of a workspace that has `bench` alone, and all else of this one's that an image is built by.
fn of_workspace(mut whole: Table) -> Result<Table> {
    let workspace = table_in(&mut whole, "workspace")?;
    workspace.insert("members".into(), Value::Array(vec!["bench".into()]));
    workspace.remove("default-members");
    table_in(&mut whole, "profile")?.retain(|name, _| name == "image");
    Ok(whole)
}

fn table_in<'t>(table: &'t mut Table, name: &str) -> Result<&'t mut Table> {
    let inside = table.get_mut(name).and_then(Value::as_table_mut);
    inside.with_context(|| format!("no [{name}]"))
}

fn parsed(path: &Path) -> Result<Table> {
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    text.parse()
        .with_context(|| format!("{} is malformed", path.display()))
}

fn write(path: &Path, table: &Table) -> Result<()> {
    image::replace(path, toml::to_string(table)?.as_bytes())
}

/// That the example is measured as the documentation says: a test.
///
/// # Errors
///
/// If it is not.
pub fn measures_the_example() -> Result<()> {
    let report = measured(
        &workspace::root().join("bench/examples/free-lists"),
        "peer/free-lists*/hot-64,peer/free-lists*/hot-4096",
    )?;
    if let Some(left) = report.excluded.first() {
        bail!("{} was left out: {}", left.name, left.why);
    }
    let cost = |name: &str| {
        let row = report.rows.iter().find(|row| row.name == name);
        row.map(|row| row.max).with_context(|| format!("no {name}"))
    };
    let bare = cost("peer/free-lists/hot-4096/alloc")?;
    let locked = cost("peer/free-lists+irq/hot-4096/alloc")?;
    ensure!(
        0 < bare && bare < locked,
        "a lock costs nothing: {bare}, {locked}"
    );
    let own = Peer {
        name: "free-lists".to_owned(),
        version: "0.1.0".to_owned(),
    };
    ensure!(report.peers == [own], "{:?}", report.peers);
    Ok(())
}

/// That a row in which an allocator faults is left out, and the others are measured: a test.
///
/// # Errors
///
/// If it is not so.
pub fn outlives_a_fault() -> Result<()> {
    let example = workspace::root().join("bench/examples/free-lists");
    let folder = workspace::artifacts().join("faulty");
    let source = std::fs::read_to_string(example.join("src/lib.rs"))?;
    let sound = "        let bytes = class_bytes(layout);\n";
    // 4,096 bytes are what no check asks for.
    let faulty = format!(
        "{sound}        if layout.size() == 4096 {{\n            \
         unsafe {{ ptr::without_provenance_mut::<u8>(8).write_volatile(1) }}\n        }}\n"
    );
    ensure!(
        source.matches(sound).count() == 1,
        "the example has changed"
    );
    let source = source.replace(sound, &faulty);
    image::replace(&folder.join("src/lib.rs"), source.as_bytes())?;
    let manifest = "[package]\nname = \"faulty\"\nedition = \"2024\"\n[workspace]\n";
    image::replace(&folder.join("Cargo.toml"), manifest.as_bytes())?;
    let report = measured(&folder, "peer/faulty/hot-64,peer/faulty/hot-4096")?;
    let left: Vec<&str> = report.excluded.iter().map(|left| &*left.name).collect();
    ensure!(left == ["peer/faulty/hot-4096"], "left out: {left:?}");
    let rows: Vec<&str> = report.rows.iter().map(|row| &*row.name).collect();
    ensure!(
        rows == ["peer/faulty/hot-64/alloc", "peer/faulty/hot-64/free"],
        "{rows:?}"
    );
    Ok(())
}

fn measured(path: &Path, filter: &str) -> Result<Report> {
    let args = super::Args {
        filter: filter.to_owned(),
        no_default_traces: true,
        allocator: Some(path.to_path_buf()),
        ..super::Args::default()
    };
    super::measure::measure(&args, &super::build(&args)?, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(manifest: &str, file: &str) -> Result<Own> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("src"))?;
        std::fs::write(folder.path().join("Cargo.toml"), manifest)?;
        std::fs::write(folder.path().join("src").join(file), "")?;
        Own::find(folder.path())
    }

    const MANIFEST: &str = "[package]\nname = \"talc\"\nversion = \"9.0.0\"\nedition = \"2024\"\n\
                            [workspace]\n";

    #[test]
    fn a_crate_is_known_by_its_folder_and_never_by_a_name_that_is_taken() {
        let own = found(MANIFEST, "lib.rs").unwrap();
        assert_eq!((&*own.package, &*own.name()), ("talc", "talc-own"));
        assert_eq!(own.into_peer().version, "9.0.0");
    }

    #[test]
    fn what_is_no_library_is_told_what_it_must_be() {
        let refused = |result: Result<Own>| format!("{:#}", result.unwrap_err());
        let none = refused(Own::find(Path::new("/nowhere")));
        assert!(
            none.starts_with("--allocator /nowhere: no Cargo.toml"),
            "{none}"
        );
        let program = refused(found(MANIFEST, "main.rs"));
        assert!(
            program.contains("talc has no library; a crate for"),
            "{program}"
        );
        let whole = refused(found("[workspace]\n", "lib.rs"));
        assert!(whole.contains("is a workspace"), "{whole}");
    }

    #[test]
    fn the_other_workspace_differs_by_the_crate_alone() {
        let own = Own {
            package: "mine".to_owned(),
            version: "1.0.0".to_owned(),
            folder: "/home/me/mine".into(),
        };
        let root = workspace::root();
        let bench = parsed(&root.join("bench/Cargo.toml")).unwrap();
        let features = bench["features"].clone();
        let bench = own.of_bench(bench, Path::new("/tree/bench")).unwrap();
        assert_eq!(bench["features"], features);
        assert_eq!(
            bench["lib"]["path"].as_str(),
            Some("/tree/bench/src/lib.rs")
        );
        let dependencies = &bench["dependencies"];
        assert_eq!(dependencies[DEPENDENCY]["package"].as_str(), Some("mine"));
        assert_eq!(
            dependencies[DEPENDENCY]["path"].as_str(),
            Some("/home/me/mine")
        );
        let kernel = dependencies["kernel"]["path"].as_str();
        assert_eq!(kernel, Some("/tree/bench/../kernel"));
        let whole = parsed(&root.join("Cargo.toml")).unwrap();
        let profile = whole["profile"]["image"].clone();
        assert_eq!(of_workspace(whole).unwrap()["profile"]["image"], profile);
    }
}
