//! Where things lie: the workspace, its target directory, and how source paths are shown.

use std::path::{Path, PathBuf};

/// The workspace's root folder.
pub fn root() -> PathBuf {
    // Cargo says where the running xtask's sources are; a binary started by hand remembers where
    // they were when it was built.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest
        .parent()
        .map_or(manifest.clone(), Path::to_path_buf)
}

/// Cargo's target directory.
pub fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// The folder under the target directory that keeps images, disks and whatever else is made here.
pub fn artifacts() -> PathBuf {
    target_directory().join("tessera")
}

/// A source path as shown to the user: relative to the workspace, and without the long prefixes of
/// the standard library and of downloaded crates.
pub fn shown(path: &str) -> String {
    let root = root();
    if let Ok(inside) = Path::new(path).strip_prefix(&root) {
        return inside.display().to_string();
    }
    if let Some((_, inside)) = path.split_once("/library/") {
        return inside.to_owned();
    }
    if let Some((_, inside)) = path.split_once("/registry/src/") {
        return inside
            .split_once('/')
            .map_or(inside, |(_, file)| file)
            .to_owned();
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_holds_the_workspace_manifest() {
        let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }

    #[test]
    fn paths_are_shown_without_what_every_one_of_them_has() {
        let ours = root().join("kernel/src/mm/slab.rs");
        assert_eq!(shown(&ours.to_string_lossy()), "kernel/src/mm/slab.rs");
        assert_eq!(
            shown("/rustc/0123/library/core/src/panic.rs"),
            "core/src/panic.rs"
        );
        assert_eq!(
            shown("/x/registry/src/host-1/spin-0.12/src/lib.rs"),
            "spin-0.12/src/lib.rs"
        );
        assert_eq!(shown("src/lib.rs"), "src/lib.rs");
    }
}
