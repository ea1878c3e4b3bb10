//! Whether a machine's reports say the same as each other, in both forms.

use crate::report::{Format, Reports};
use serde_json::Value;
use wire::report::Kind;

/// What is wrong with the tour's reports: none, the call sites, or all others.
pub(super) fn wrong(reports: &Reports) -> Vec<String> {
    if reports.is_empty() {
        return Vec::new();
    }
    let rendered = [Format::Text, Format::Json].map(|format| reports.render(format));
    let [Ok(text), Ok(json)] = rendered else {
        return rendered
            .iter()
            .filter_map(|form| form.as_ref().err())
            .map(ToString::to_string)
            .collect();
    };
    match serde_json::from_str::<Value>(&json) {
        Ok(json) if reports.wants(Kind::Callsites) => absent_sites(&json["callsites"]["sites"]),
        Ok(json) => disagreements(&text, &json),
        Err(error) => vec![format!("the JSON does not parse: {error}")],
    }
}

/// Calls that the tour makes and no site in its source is listed for.
fn absent_sites(sites: &Value) -> Vec<String> {
    let is_listed = |call: &&str| {
        sites.as_array().into_iter().flatten().any(|site| {
            let file = site["file"].as_str().unwrap_or_default();
            site["call"] == **call
                && file == "kernel/src/bin/tessera/tour.rs"
                && number(&site["allocations"]) > 0
        })
    };
    let calls = ["kmalloc", "cache", "heap", "frames", "vmalloc"];
    let absent = calls.iter().filter(|call| !is_listed(call));
    absent
        .map(|call| format!("no site of the tour is listed for {call}"))
        .collect()
}

const PAGE_BYTES: u64 = 4096;

fn disagreements(text: &str, json: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut equal = |what: &str, one: u64, other: u64| {
        if one != other {
            wrong.push(format!("{what}: {one} and {other}"));
        }
    };
    let total = |field: &str| number(&json["meminfo"][field]);
    let buddy = sum(&json["buddyinfo"], block_frames);
    let lists = sum(&json["zoneinfo"]["pagesets"], |set| number(&set["frames"]));
    equal(
        "free frames and those in blocks and on lists",
        total("free_bytes"),
        (buddy + lists) * PAGE_BYTES,
    );
    equal(
        "frames on cores' lists",
        total("page_lists_bytes"),
        lists * PAGE_BYTES,
    );
    let by_type = sum(&json["pagetypeinfo"]["free"], block_frames);
    equal("free frames by migrate type and by block", by_type, buddy);
    let zones = |field: &str| sum(&json["zoneinfo"]["zones"], |zone| number(&zone[field]));
    equal(
        "free frames by zone and by block",
        zones("free_frames") + zones("isolated_frames"),
        buddy,
    );
    equal(
        "managed frames",
        total("total_bytes"),
        zones("managed_frames") * PAGE_BYTES,
    );
    let slabs =
        |cache: &Value| number(&cache["slabs"]) * number(&cache["slab_frames"]) * PAGE_BYTES;
    equal(
        "bytes in slabs",
        total("slab_bytes"),
        sum(&json["slabinfo"], slabs),
    );
    let live = |cache: &Value| number(&cache["live_objects"]) * number(&cache["object_bytes"]);
    equal(
        "bytes in live objects",
        total("slab_live_bytes"),
        sum(&json["slabinfo"], live),
    );
    let in_text = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.trim().parse::<u64>().ok())
            .unwrap_or(u64::MAX)
    };
    for (name, field) in [
        ("MemTotal:", "total_bytes"),
        ("MemFree:", "free_bytes"),
        ("Slab:", "slab_bytes"),
    ] {
        equal(name, in_text(name), total(field) / 1024);
    }
    let rows = |list: &Value| list.as_array().map_or(0, Vec::len) as u64;
    let lines = |part: &str| text.lines().filter(|line| line.contains(part)).count() as u64;
    equal(
        "lines and rows of slabinfo",
        lines(" : tunables "),
        1 + rows(&json["slabinfo"]),
    );
    equal(
        "lines and rows of ptdump",
        lines(" UXN "),
        rows(&json["ptdump"]["mappings"]),
    );
    wrong.extend(rights(&json["ptdump"]["mappings"]));
    wrong
}

/// Mappings that are writable and executable; and that none is executable at all.
fn rights(mappings: &Value) -> Vec<String> {
    let may = |mapping: &&Value, what: &str| mapping["access"][what] == true;
    let all = mappings.as_array().into_iter().flatten();
    let (executable, _): (Vec<&Value>, Vec<&Value>) = all
        .partition(|mapping| may(mapping, "kernel_executable") || may(mapping, "user_executable"));
    let both = executable.iter().filter(|mapping| may(mapping, "writable"));
    let mut wrong: Vec<String> = both
        .map(|mapping| format!("writable and executable: {mapping}"))
        .collect();
    if executable.is_empty() {
        wrong.push("nothing is executable".to_owned());
    }
    wrong
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(u64::MAX / 4096)
}

fn sum(list: &Value, of: impl Fn(&Value) -> u64) -> u64 {
    list.as_array().into_iter().flatten().map(of).sum()
}

/// Frames in the free blocks of a row.
fn block_frames(row: &Value) -> u64 {
    let blocks = row["blocks_by_order"].as_array().into_iter().flatten();
    blocks
        .zip(0..)
        .map(|(blocks, order)| number(blocks) << order)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn machine() -> Value {
        json!({
            "meminfo": {
                "total_bytes": 40960, "free_bytes": 24576, "page_lists_bytes": 4096,
                "slab_bytes": 8192, "slab_live_bytes": 48,
            },
            "buddyinfo": [{ "blocks_by_order": [1, 2] }],
            "pagetypeinfo": { "free": [{ "blocks_by_order": [1] }, { "blocks_by_order": [0, 2] }] },
            "zoneinfo": {
                "zones": [{ "free_frames": 5, "isolated_frames": 0, "managed_frames": 10 }],
                "pagesets": [{ "frames": 1 }],
            },
            "slabinfo": [{ "slabs": 2, "slab_frames": 1, "live_objects": 3, "object_bytes": 16 }],
            "ptdump": { "mappings": [{ "access": { "writable": false, "kernel_executable": true } }] },
        })
    }

    const TEXT: &str = "MemTotal:   40 kB\nMemFree:  24 kB\nSlab:  8 kB\n\
        # : tunables \nx : tunables \n ro x UXN \n";

    #[test]
    fn reports_that_agree_are_fine_and_each_that_does_not_is_named() {
        assert_eq!(disagreements(TEXT, &machine()), [""; 0]);
        let site =
            json!({ "call": "heap", "file": "kernel/src/bin/tessera/tour.rs", "allocations": 1 });
        assert_eq!(absent_sites(&json!([site])).len(), 4);
        let mut other = machine();
        other["buddyinfo"][0]["blocks_by_order"][1] = json!(3);
        assert_eq!(disagreements(TEXT, &other).len(), 3);
        let mut other = machine();
        other["ptdump"]["mappings"][0]["access"]["writable"] = json!(true);
        assert!(disagreements(TEXT, &other)[0].starts_with("writable and executable"));
        let text = TEXT.replace("24 kB", "25 kB");
        assert_eq!(disagreements(&text, &machine()), ["MemFree:: 25 and 24"]);
    }
}
