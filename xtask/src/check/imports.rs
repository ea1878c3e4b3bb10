//! Which way imports point.
//!
//! Between crates Cargo's manifests say it all: code cannot name what its manifest does not. Inside
//! the kernel every path from `crate::` is read. A module may import its own layer and those below.

use super::Finding;
use super::source::{File, Sources};

/// For each crate's folder, the crates that it must not depend on.
const NEVER: &[(&str, &[&str])] = &[
    ("kernel/wire", &["kernel", "platform", "bench", "xtask"]),
    ("platform", &["kernel", "bench", "xtask", "wire"]),
    ("kernel", &["bench", "xtask"]),
    ("bench", &["xtask"]),
    (
        "bench/recorder",
        &["kernel", "platform", "bench", "xtask", "wire"],
    ),
    ("xtask", &["kernel", "platform", "bench"]),
];

/// Where the modules of the layers are.
const MODULES: &str = "kernel/src/";

/// The kernel's layers, lowest first. Modules that are in none serve all of them.
const LAYERS: &[&[&str]] = &[
    &["arch"],
    &["sync"],
    &["mm"],
    &["vm", "dma"],
    &["user"],
    &["fault", "interrupt", "boot"],
];

/// What a module may import from above nevertheless, each with its reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("arch", "mm::addr", "addresses are types everywhere"),
    (
        "arch",
        "mm::local",
        "the fast paths' own memory begins the block that TPIDR_EL1 leads to",
    ),
    ("arch", "sync", "per-CPU data begins in the entry code"),
    (
        "arch",
        "boot::rust_entry",
        "where the entry code goes when it is done",
    ),
    ("arch", "fault", "where exceptions go"),
    ("arch", "interrupt", "where interrupts go"),
    ("arch", "user", "where exceptions from EL0 go"),
    (
        "user",
        "fault::esr",
        "the decoder of exception syndromes is plain data",
    ),
    (
        "mm",
        "vm::layout",
        "the map of virtual addresses is plain data",
    ),
];

/// Crates: no manifest names what its crate must not depend on.
pub(super) fn crates(sources: &Sources) -> Vec<Finding> {
    let check = |(folder, never): &(&str, &[&str])| {
        let manifest = sources.file(&format!("{folder}/Cargo.toml"));
        manifest
            .map(|file| manifest_findings(file, never))
            .unwrap_or_default()
    };
    NEVER.iter().flat_map(check).collect()
}

fn manifest_findings(manifest: &File, never: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_dependencies = false;
    for (index, line) in manifest.text.lines().enumerate() {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[') {
            // `[dependencies]`, `[target.….dev-dependencies]` or `[dependencies.name]`.
            let section = section.trim_end_matches(']');
            in_dependencies = section.ends_with("dependencies");
            let named = section.split_once("dependencies.").map(|(_, name)| name);
            findings.extend(
                named
                    .filter(|name| never.contains(name))
                    .map(|name| (index, name)),
            );
        } else if in_dependencies {
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
            findings.extend(never.contains(&name).then_some((index, name)));
        }
    }
    let findings = findings.into_iter().map(|(index, name)| Finding {
        path: manifest.path.clone(),
        line: index + 1,
        message: format!("must not depend on `{name}`"),
    });
    findings.collect()
}

/// Modules: no file of the kernel imports from a layer above its own.
pub(super) fn modules(sources: &Sources) -> Vec<Finding> {
    sources.rust().flat_map(module_findings).collect()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn module_findings(file: &File) -> Vec<Finding> {
    let Some(inside) = file.path.strip_prefix(MODULES) else {
        return Vec::new();
    };
    let module = inside.split(['/', '.']).next().unwrap_or_default();
    let Some(own) = layer(module) else {
        return Vec::new();
    };
    let is_upward = |path: &String| {
        let above = layer(path.split(':').next().unwrap_or_default()) > Some(own);
        let excepted = EXCEPTIONS.iter().any(|(from, to, _)| {
            let rest = path.strip_prefix(to);
            *from == module && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        });
        above && !excepted
    };
    let mut findings = Vec::new();
    for (at, start) in file.code.match_indices("crate::") {
        let line = file.code[..at].matches('\n').count() + 1;
        for path in paths(&file.code[at + start.len()..])
            .into_iter()
            .filter(is_upward)
        {
            findings.push(Finding {
                path: file.path.clone(),
                line,
                message: format!("`{module}` must not import `{path}` from above"),
            });
        }
    }
    findings
}

/// The paths that `text` begins with: one, or those of a group in braces.
fn paths(text: &str) -> Vec<String> {
    let (path, rest) = name(text);
    let path = path.trim_end_matches("::").to_owned();
    let Some(group) = rest.strip_prefix('{') else {
        return vec![path];
    };
    let mut found = Vec::new();
    for part in members(group) {
        for inner in paths(part.trim_start()) {
            let whole = if path.is_empty() {
                inner
            } else {
                format!("{path}::{inner}")
            };
            found.push(whole.trim_end_matches("::self").to_owned());
        }
    }
    found
}

/// `text` split after the path that it begins with.
fn name(text: &str) -> (&str, &str) {
    let is_path = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    text.split_at(text.find(|letter| !is_path(letter)).unwrap_or(text.len()))
}

/// The members of a group whose opening brace has been read.
fn members(group: &str) -> Vec<&str> {
    let (mut depth, mut begin, mut found) = (0_usize, 0, Vec::new());
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' if depth > 0 => {}
            ',' | '}' => {
                found.push(&group[begin..at]);
                begin = at + 1;
                if letter == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    found.retain(|member| !member.trim().is_empty());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upward(path: &str, text: &str) -> Vec<String> {
        modules(&Sources::of(&[(path, text)]))
            .iter()
            .map(Finding::to_string)
            .collect()
    }

    #[test]
    fn groups_are_read_to_their_leaves() {
        let text = "{mm::{addr::{Pfn, Order}, gfp}, vm, sync::{self, lock as l}, a::*}; x";
        let expected = [
            "mm::addr::Pfn",
            "mm::addr::Order",
            "mm::gfp",
            "vm",
            "sync",
            "sync::lock",
            "a",
        ];
        assert_eq!(paths(text), expected);
        assert_eq!(paths("arch::cpu::current()"), ["arch::cpu::current"]);
    }

    #[test]
    fn an_upward_import_is_found_with_its_line() {
        let text = "//! x\n\nuse crate::{\n    sync::SpinLock,\n    vm::table,\n};\n";
        let found = upward("kernel/src/mm/slab.rs", text);
        assert_eq!(
            found,
            ["kernel/src/mm/slab.rs:3: `mm` must not import `vm::table` from above"]
        );
        assert_eq!(
            upward(
                "kernel/src/arch/mmu.rs",
                "let x = crate::mm::frames::alloc();"
            )
            .len(),
            1
        );
        assert_eq!(upward("kernel/src/sync.rs", "use crate::mm;").len(), 1);
    }

    #[test]
    fn downward_unlayered_and_excepted_imports_are_fine() {
        let mm = "use crate::{arch::cpu, sync::SpinLock, mm::addr, console, vm::layout::LINEAR};";
        assert!(upward("kernel/src/mm/slab.rs", mm).is_empty());
        assert!(upward("kernel/src/arch/mmu.rs", "use crate::mm::addr::PhysAddr;").is_empty());
        assert!(upward("kernel/src/console.rs", "use crate::user::copy;").is_empty());
        assert!(upward("bench/src/main.rs", "use crate::user;").is_empty());
        assert!(upward("kernel/src/mm/a.rs", "//! [`x`](crate::vm::table)\n").is_empty());
    }

    #[test]
    fn an_exception_covers_a_whole_name_only() {
        assert_eq!(
            upward("kernel/src/arch/a.rs", "use crate::mm::addresses;").len(),
            1
        );
    }

    #[test]
    fn a_manifest_that_depends_upward_is_found() {
        let manifest = "[package]\nname = \"kernel\"\n[dependencies]\nspin = \"1\"\n\
            bench = { path = \"../bench\" }\n[dev-dependencies]\nxtask.workspace = true\n\
            [target.'cfg(unix)'.dependencies.bench]\npath = \"x\"\n[features]\nbench = []\n";
        let found = crates(&Sources::of(&[("kernel/Cargo.toml", manifest)]));
        let lines: Vec<usize> = found.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [5, 7, 8]);
    }

    #[test]
    fn every_exception_is_of_a_layer_and_leads_upward() {
        for (from, to, reason) in EXCEPTIONS {
            let above = layer(to.split(':').next().unwrap());
            assert!(
                layer(from).is_some() && above > layer(from),
                "{from} -> {to}"
            );
            assert!(!reason.is_empty());
        }
    }
}
