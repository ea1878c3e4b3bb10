//! Where `unsafe` may stand: in files that are listed here and that say why they need it.
//!
//! A module's file opts in for its submodules too, as the compiler has it.

use super::Finding;
use super::source::{File, Sources};

/// The files that may; one that is a module with a folder stands for the folder as well.
const LISTED: &[&str] = &[
    "bench/examples/free-lists/src/lib.rs",
    "bench/host/src/subjects.rs",
    "bench/recorder/examples/exercise.rs",
    "bench/recorder/src/file.rs",
    "bench/recorder/src/hooks.rs",
    "bench/recorder/src/log.rs",
    "bench/recorder/src/next.rs",
    "bench/src/cores.rs",
    "bench/src/heap.rs",
    "bench/src/meter.rs",
    "bench/src/ops.rs",
    "bench/src/peers.rs",
    "bench/src/reserve.rs",
    "bench/src/scratch.rs",
    "bench/src/table.rs",
    "bench/src/threads/tests.rs",
    "kernel/src/arch/mod.rs",
    "kernel/src/bin/qemu-tests/devices.rs",
    "kernel/src/bin/qemu-tests/exceptions.rs",
    "kernel/src/bin/qemu-tests/failing.rs",
    "kernel/src/bin/qemu-tests/fatal.rs",
    "kernel/src/bin/qemu-tests/memory.rs",
    "kernel/src/bin/qemu-tests/smp.rs",
    "kernel/src/bin/qemu-tests/stress.rs",
    "kernel/src/bin/qemu-tests/stress/block.rs",
    "kernel/src/bin/qemu-tests/stress/ring.rs",
    "kernel/src/bin/qemu-tests/walk.rs",
    "kernel/src/bin/tessera/devices.rs",
    "kernel/src/bin/tessera/tour.rs",
    "kernel/src/boot/devices.rs",
    "kernel/src/boot/memory.rs",
    "kernel/src/console.rs",
    "kernel/src/dma/bcm2835.rs",
    "kernel/src/dma/buffer.rs",
    "kernel/src/dma/disk.rs",
    "kernel/src/dma/kernel.rs",
    "kernel/src/dma/virtio.rs",
    "kernel/src/fault/report.rs",
    "kernel/src/log/logger.rs",
    "kernel/src/mm/allocator.rs",
    "kernel/src/mm/arena.rs",
    "kernel/src/mm/boot_heap.rs",
    "kernel/src/mm/call_sites/heap.rs",
    "kernel/src/mm/fault_injection/tests.rs",
    "kernel/src/mm/frames.rs",
    "kernel/src/mm/heap.rs",
    "kernel/src/mm/kmalloc.rs",
    "kernel/src/mm/local.rs",
    "kernel/src/mm/magazine.rs",
    "kernel/src/mm/magazine/tests.rs",
    "kernel/src/mm/page_lists.rs",
    "kernel/src/mm/pool.rs",
    "kernel/src/mm/slab/bulk.rs",
    "kernel/src/mm/slab/context.rs",
    "kernel/src/mm/slab/handle.rs",
    "kernel/src/mm/slab/kernel.rs",
    "kernel/src/mm/slab/tests.rs",
    "kernel/src/mm/slab/typed.rs",
    "kernel/src/mm/zeroing.rs",
    "kernel/src/smp.rs",
    "kernel/src/sync/lock.rs",
    "kernel/src/sync/owned.rs",
    "kernel/src/sync/percpu.rs",
    "kernel/src/user/copy.rs",
    "kernel/src/user/frames.rs",
    "kernel/src/user/programs.rs",
    "kernel/src/user/run.rs",
    "kernel/src/vm/movable.rs",
    "kernel/src/vm/raw_table.rs",
    "kernel/src/vm/vmalloc/kernel.rs",
    "kernel/tests/models.rs",
    "platform/src/gic.rs",
    "platform/src/pl011.rs",
    "platform/src/power.rs",
];

/// Files whose macros expand in an app, which must not have to opt in: there single items do.
const BY_ITEM: &[&str] = &["kernel/src/app.rs"];

/// The attribute that opts a file in.
const OPT_IN: &str = "#![allow(";

pub(super) fn check(sources: &Sources) -> Vec<Finding> {
    check_against(sources, LISTED, BY_ITEM)
}

fn check_against(sources: &Sources, listed: &[&str], by_item: &[&str]) -> Vec<Finding> {
    let opted_in: Vec<&str> = sources
        .rust()
        .filter(|file| opt_in(file).is_some())
        .map(|file| file.path.as_str())
        .collect();
    let mut findings = Vec::new();
    for file in sources
        .rust()
        .filter(|file| !by_item.contains(&file.path.as_str()))
    {
        findings.extend(check_file(file, listed, &opted_in));
    }
    for path in listed {
        // A listed file must need it, itself or for its submodules.
        let needs = |file: &File| first_use(file).is_some() && covers(path, &file.path);
        if !sources.rust().any(needs) {
            findings.push(Finding {
                path: (*path).to_owned(),
                line: 1,
                message: "is listed for `unsafe` and has none: take it off the list".to_owned(),
            });
        }
    }
    findings
}

fn check_file(file: &File, listed: &[&str], opted_in: &[&str]) -> Vec<Finding> {
    let finding = |line, message: &str| Finding {
        path: file.path.clone(),
        line,
        message: message.to_owned(),
    };
    let mut findings = Vec::new();
    if let Some(line) = stray_permission(file) {
        findings.push(finding(line, "only a whole file opts in, at its top"));
    }
    if let Some(line) = opt_in(file).filter(|_| !listed.contains(&file.path.as_str())) {
        findings.push(finding(
            line,
            "allows `unsafe` and is not on xtask's list of such files",
        ));
    }
    let covered = opted_in.iter().any(|path| covers(path, &file.path));
    if let Some(line) = first_use(file).filter(|_| !covered) {
        let message = "`unsafe` in a file without `#![allow(unsafe_code, reason = \"…\")]`";
        findings.push(finding(line, message));
    }
    findings
}

/// Whether `path` is `module`'s file or that of one of its submodules.
fn covers(module: &str, path: &str) -> bool {
    let folder = module
        .strip_suffix("/mod.rs")
        .or_else(|| module.strip_suffix(".rs"));
    let inside = folder.and_then(|folder| path.strip_prefix(folder));
    module == path || inside.is_some_and(|inside| inside.starts_with('/'))
}

/// The line of the first `unsafe` block, function, implementation, trait or attribute.
fn first_use(file: &File) -> Option<usize> {
    let is_word = |line: &str| {
        let letters = |letter: char| !letter.is_alphanumeric() && letter != '_';
        line.split(letters).any(|word| word == "unsafe")
    };
    file.code_lines()
        .find(|(_, line)| is_word(line))
        .map(|(number, _)| number)
}

/// The line of the attribute that allows `unsafe` in the whole file and gives a reason.
fn opt_in(file: &File) -> Option<usize> {
    let attributes = file.code.match_indices(OPT_IN);
    let (at, _) = attributes.into_iter().find(|(at, _)| {
        let attribute = file.code[*at..].split(']').next().unwrap_or_default();
        attribute.contains("unsafe_code") && attribute.contains("reason")
    })?;
    Some(file.code[..at].lines().count() + 1)
}

/// The line of an attribute that allows `unsafe` for one item.
fn stray_permission(file: &File) -> Option<usize> {
    let allows = |line: &str| {
        ["#[allow(", "#[expect("]
            .iter()
            .filter_map(|start| line.split_once(start))
            .any(|(_, rest)| rest.contains("unsafe_code"))
    };
    file.code_lines()
        .find(|(_, line)| allows(line))
        .map(|(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTED_IN: &str =
        "//! Why.\n#![allow(\n    unsafe_code,\n    reason = \"registers\"\n)]\n";

    fn messages(files: &[(&str, &str)], listed: &[&str]) -> Vec<String> {
        let findings = check_against(&Sources::of(files), listed, &["app.rs"]);
        findings.iter().map(Finding::to_string).collect()
    }

    #[test]
    fn a_listed_file_that_says_why_may() {
        let text = format!("{OPTED_IN}unsafe {{ x() }}\n");
        assert!(messages(&[("a/b.rs", &text)], &["a/b.rs"]).is_empty());
    }

    #[test]
    fn a_modules_file_speaks_for_its_submodules_and_for_no_others() {
        for module in ["a/b.rs", "a/b/mod.rs"] {
            let inside = [
                (module, OPTED_IN),
                ("a/b/c.rs", "//! Why.\nunsafe fn f() {}\n"),
            ];
            assert!(messages(&inside, &[module]).is_empty(), "{module}");
            let beside = [
                (module, OPTED_IN),
                ("a/bc.rs", "//! Why.\nunsafe fn f() {}\n"),
            ];
            assert_eq!(messages(&beside, &[module]).len(), 2, "{module}");
        }
    }

    #[test]
    fn a_file_that_does_not_say_why_may_not() {
        let found = messages(
            &[("a.rs", "//! Why.\n\nunsafe impl Send for X {}\n")],
            &["a.rs"],
        );
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("a.rs:3: `unsafe` in a file without"),
            "{}",
            found[0]
        );
        let reasonless = "//! Why.\n#![allow(unsafe_code)]\nunsafe fn f() {}\n";
        assert_eq!(messages(&[("a.rs", reasonless)], &["a.rs"]).len(), 1);
    }

    #[test]
    fn a_file_that_is_not_listed_may_not() {
        let text = format!("{OPTED_IN}unsafe {{ x() }}\n");
        let found = messages(&[("a.rs", &text)], &[]);
        assert_eq!(
            found,
            ["a.rs:2: allows `unsafe` and is not on xtask's list of such files"]
        );
    }

    #[test]
    fn the_list_holds_nothing_that_is_not_needed() {
        let found = messages(
            &[("a.rs", "//! Why.\n// unsafe\n"), ("b.rs", OPTED_IN)],
            &["a.rs", "b.rs"],
        );
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found
                .iter()
                .all(|found| found.contains("take it off the list"))
        );
    }

    #[test]
    fn a_macro_for_apps_opts_in_by_item() {
        let text = "//! Why.\n#[allow(unsafe_code, reason = \"x\")]\nunsafe fn f() {}\n";
        assert!(messages(&[("app.rs", text)], &[]).is_empty());
    }

    #[test]
    fn no_single_item_opts_in() {
        let text = "//! Why.\n#[allow(unsafe_code, reason = \"x\")]\nunsafe fn f() {}\n";
        let found = messages(&[("a.rs", text)], &[]);
        assert!(found[0].contains("only a whole file opts in"), "{found:?}");
    }

    #[test]
    fn words_in_comments_literals_and_longer_names_do_not_count() {
        let text = "//! unsafe\nlet unsafe_code = \"unsafe {\"; // unsafe\n";
        assert!(messages(&[("a.rs", text)], &[]).is_empty());
    }
}
