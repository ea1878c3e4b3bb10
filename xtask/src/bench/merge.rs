//! The parts of a run made one report again: byte for byte that of a run that was never split.

use super::measure::GROWTH;
use super::report::{Provenance, Report};
use super::shard::{Part, Shard};
use super::{goals, saved};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};

/// A part and the file that it was read from.
struct Found {
    file: PathBuf,
    report: Report,
    part: Part,
}

/// Merges the parts in the files `*.json` of `folder`.
///
/// # Errors
///
/// If one is no part of a run, two are of different runs or the same part, or one is missing.
pub fn folder(folder: &Path) -> Result<Report> {
    let shown = folder.display();
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {shown}"))?;
    let mut files = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "json")
    });
    files.sort();
    ensure!(!files.is_empty(), "{shown} has no report (*.json)");
    let read = |file: PathBuf| {
        let report = saved::read(&file)?;
        let part = report.shard.clone();
        let part = part.with_context(|| {
            let shown = file.display();
            format!("{shown} is no part of a run: `bench --shard K/N` makes parts")
        })?;
        Ok(Found { file, report, part })
    };
    merge(files.into_iter().map(read).collect::<Result<Vec<_>>>()?)
}

fn merge(mut parts: Vec<Found>) -> Result<Report> {
    parts.sort_by_key(|found| found.part.number);
    let Some(first) = parts.first() else {
        bail!("there is no part");
    };
    for other in &parts[1..] {
        same_run(first, other)?;
    }
    for pair in parts.windows(2) {
        ensure!(
            pair[0].part.number != pair[1].part.number,
            "{} and {} are the same part, {}",
            pair[0].file.display(),
            pair[1].file.display(),
            name(&pair[0].part)
        );
    }
    let of = first.part.of;
    let is_there = |number: &usize| parts.iter().any(|found| found.part.number == *number);
    let missing: Vec<String> = (1..=of)
        .filter(|number| !is_there(number))
        .map(|number| format!("shard {}", Shard { number, of }))
        .collect();
    ensure!(
        missing.is_empty(),
        "{} {} missing: `bench --shard K/{of}` with the same arguments makes it",
        missing.join(", "),
        if missing.len() == 1 { "is" } else { "are" }
    );
    let part = first.part.clone();
    let mut whole = Report {
        shard: None,
        rows: Vec::new(),
        values: Vec::new(),
        excluded: Vec::new(),
        goals: Vec::new(),
        boots: Vec::new(),
        timelines: Vec::new(),
        maps: Vec::new(),
        ..first.report.clone()
    };
    for found in parts {
        let report = found.report;
        whole.rows.extend(report.rows);
        whole.values.extend(report.values);
        for excluded in report.excluded {
            if !whole.excluded.contains(&excluded) {
                whole.excluded.push(excluded);
            }
        }
        whole.boots.extend(report.boots);
        whole.timelines.extend(report.timelines);
        whole.maps.extend(report.maps);
    }
    // Stable: what one boot found keeps its order.
    let at = |name: &str| place(name, &part.whole);
    whole.rows.sort_by_key(|row| at(&row.name));
    whole.values.sort_by_key(|value| at(&value.name));
    whole.excluded.sort_by_key(|excluded| at(&excluded.name));
    whole.boots.sort_by_key(|boot| at(&boot.name));
    whole.timelines.sort_by_key(|line| at(&line.name));
    whole.maps.sort_by_key(|map| at(&map.name));
    whole.goals = goals::of(&whole, &part.filter)?;
    whole.goals.retain(|goal| goal.found.is_some());
    Ok(whole)
}

/// Where in `boots` is the one that found what is called `name`: its name is how the other's begins. What
/// several boots have in common belongs to the first.
fn place(name: &str, boots: &[String]) -> usize {
    if name == GROWTH {
        // What compares boots comes behind all of them.
        return boots.len();
    }
    let begins = |name: &str, front: &str| {
        let rest = name.strip_prefix(front);
        let word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
        rest.is_some_and(|rest| !rest.bytes().next().is_some_and(word))
    };
    let candidates = boots.iter().enumerate();
    let own = candidates
        .filter(|(_, boot)| begins(name, boot))
        .max_by_key(|(_, boot)| boot.len());
    own.map(|(at, _)| at)
        .or_else(|| boots.iter().position(|boot| begins(boot, name)))
        .unwrap_or(boots.len())
}

fn name(part: &Part) -> String {
    let Part { number, of, .. } = part;
    format!(
        "shard {}",
        Shard {
            number: *number,
            of: *of
        }
    )
}

/// Whether both are of one run: the same sources, tools, machine and arguments.
fn same_run(first: &Found, other: &Found) -> Result<()> {
    let named = |found: &Found| format!("{} ({})", name(&found.part), found.file.display());
    let differs = |what: &str, one: &str, another: &str| {
        let (first, other) = (named(first), named(other));
        format!("{other} is of another run than {first}: {what} {another}, not {one}")
    };
    let (one, another) = (&first.report, &other.report);
    for (what, one, another) in fields(&one.provenance, &another.provenance) {
        ensure!(one == another, differs(what, &one, &another));
    }
    ensure!(
        (&one.unit, one.overhead, one.empty, one.nops)
            == (&another.unit, another.overhead, another.empty, another.nops),
        differs(
            "the meter reads",
            &one.overhead.to_string(),
            &another.overhead.to_string()
        )
    );
    let peers = |report: &Report| {
        let peers: Vec<String> = report.peers.iter().map(ToString::to_string).collect();
        peers.join(", ")
    };
    ensure!(
        peers(one) == peers(another),
        differs("the peers are", &peers(one), &peers(another))
    );
    ensure!(
        one.events == another.events,
        differs(
            "the events counted are",
            &one.events.len().to_string(),
            &another.events.len().to_string()
        )
    );
    let (one, another) = (&first.part, &other.part);
    ensure!(
        one.filter == another.filter,
        differs("--filter is", &one.filter, &another.filter)
    );
    ensure!(
        (one.of, &one.whole) == (another.of, &another.whole),
        differs(
            "of parts and boots there are",
            &format!("{} and {}", one.of, one.whole.len()),
            &format!("{} and {}", another.of, another.whole.len())
        )
    );
    Ok(())
}

/// What must be equal, by what it is called.
fn fields(one: &Provenance, another: &Provenance) -> Vec<(&'static str, String, String)> {
    let of = |at: &Provenance| {
        [
            ("the commit is", at.commit.clone()),
            ("the compiler is", at.rustc.clone()),
            ("core's checksum is", at.core.clone()),
            ("the flags are", at.flags.clone()),
            ("QEMU is", at.qemu.clone()),
            ("the machine is", at.machine.clone()),
            ("the CPU is", format!("{} ({})", at.cpu, at.midr)),
            ("the exception level is", at.el.to_string()),
            ("memory is", at.mem.clone()),
            ("the cores are", at.smp.to_string()),
            ("the tier is", at.tier.clone()),
            ("the seed is", at.seed.to_string()),
            ("QEMU's command line is", at.qemu_command.clone()),
        ]
    };
    let pairs = of(one).into_iter().zip(of(another));
    pairs
        .map(|((what, one), (_, another))| (what, one, another))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::report::{BootCost, Row, SCHEMA, Value};
    use super::*;

    /// Part `number` of two of a run of `a`, `b` and `b-2`; the first has `b`.
    fn part(number: usize) -> Found {
        let whole = ["a", "b", "b-2"].map(str::to_owned);
        let ours: &[&str] = if number == 1 { &["b"] } else { &["a", "b-2"] };
        let row = |name: &&str| Row {
            name: format!("{name}/alloc"),
            ..Row::default()
        };
        let boot = |name: &&str| BootCost {
            name: (*name).to_owned(),
            instructions: 1,
        };
        let part = Part {
            number,
            of: 2,
            filter: "*".into(),
            whole: whole.into(),
        };
        let report = Report {
            schema: SCHEMA,
            rows: ours.iter().map(row).collect(),
            boots: ours.iter().map(boot).collect(),
            shard: Some(part.clone()),
            ..Report::default()
        };
        Found {
            file: format!("{number}.json").into(),
            report,
            part,
        }
    }

    fn refused(parts: Vec<Found>) -> String {
        merge(parts).unwrap_err().to_string()
    }

    #[test]
    fn parts_are_the_whole_in_the_order_of_its_boots() {
        let mut first = part(1);
        first.report.values = vec![Value {
            name: GROWTH.into(),
            value: 1,
            unit: "per mille".into(),
        }];
        let whole = merge(vec![part(2), first]).unwrap();
        let names: Vec<&str> = whole.rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["a/alloc", "b/alloc", "b-2/alloc"]);
        let boots: Vec<&str> = whole.boots.iter().map(|boot| boot.name.as_str()).collect();
        assert_eq!(boots, ["a", "b", "b-2"]);
        assert_eq!((whole.shard, whole.values.len()), (None, 1));
    }

    #[test]
    fn a_part_that_is_missing_or_there_twice_is_named() {
        assert!(refused(vec![part(1)]).starts_with("shard 2/2 is missing"));
        let twice = refused(vec![part(1), part(1), part(2)]);
        assert_eq!(twice, "1.json and 1.json are the same part, shard 1/2");
    }

    #[test]
    fn parts_of_different_runs_are_refused() {
        let of = |change: fn(&mut Found)| {
            let mut other = part(2);
            change(&mut other);
            refused(vec![part(1), other])
        };
        let commit = of(|found| found.report.provenance.commit = "abc".into());
        assert!(
            commit.starts_with(
                "shard 2/2 (2.json) is of another run than shard 1/2 (1.json): the commit is abc"
            ),
            "{commit}"
        );
        assert!(
            of(|found| found.report.provenance.rustc = "x".into()).contains("the compiler is x")
        );
        assert!(of(|found| found.report.provenance.mem = "1G".into()).contains("memory is 1G"));
        assert!(of(|found| found.part.filter = "a".into()).contains("--filter is a"));
        assert!(of(|found| found.part.of = 3).contains("of parts and boots there are 3 and 3"));
    }

    #[test]
    fn what_an_allocator_or_a_trace_found_is_placed_by_its_name() {
        let boots = [
            "boot",
            "pages/1",
            "peer/talc/hot",
            "peer/talc/cold",
            "boot/1G",
        ];
        let boots = boots.map(str::to_owned);
        let places = [
            ("boot/entry", 0),
            ("boot/1G/entry", 4),
            ("pages/1, before", 1),
            ("pages/10/alloc", 5),
            ("peer/talc", 2),
            ("peer/talc/cold/free", 3),
            (GROWTH, 5),
        ];
        for (name, expected) in places {
            assert_eq!(place(name, &boots), expected, "{name}");
        }
    }
}
