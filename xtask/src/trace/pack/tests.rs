//! Every way in which a trace can be wrong, and that a sound one survives the way to the image.

use super::*;
use crate::trace::sound;
use proptest::prelude::*;
use std::collections::HashMap;
use std::io::Write;
use wire::trace::Trace;

fn read(text: &[u8]) -> Result<Loaded, String> {
    let mut packer = Packer::default();
    let ledger = read::events(text, |event, change| packer.take(event, change));
    let ledger = ledger.map_err(|(line, kind)| {
        let file = "x.trace".into();
        TraceError { file, line, kind }.to_string()
    })?;
    Ok(packer.finish(String::new(), ledger.threads()))
}

fn events(text: &str) -> Vec<trace::Event> {
    let loaded = read(text.as_bytes()).unwrap();
    Trace::parse(&loaded.bytes).unwrap().events().collect()
}

#[test]
fn every_malformed_line_is_named_by_file_line_and_reason() {
    for (text, expected) in [
        (
            "# ok\nx 0 1\n",
            "x.trace:2: unknown event `x`: events are a, z, r, f, p and q; t names a thread",
        ),
        (
            "alloc 0 1\n",
            "x.trace:1: unknown event `alloc`: events are a, z, r, f, p and q; t names a thread",
        ),
        ("a\n", "x.trace:1: ID is missing"),
        ("a 0\n", "x.trace:1: SIZE is missing"),
        ("p 0\n", "x.trace:1: ORDER is missing"),
        ("a 0 8 8 8\n", "x.trace:1: `8` is one word too many"),
        ("z 0 8 64\n", "x.trace:1: `64` is one word too many"),
        (
            "a zero 8\n",
            "x.trace:1: ID `zero` is not a number below 2^32",
        ),
        (
            "a 0 -8\n",
            "x.trace:1: SIZE `-8` is not a number below 2^32",
        ),
        (
            "a 0 +8\n",
            "x.trace:1: SIZE `+8` is not a number below 2^32",
        ),
        (
            "a 0 4294967296\n",
            "x.trace:1: SIZE `4294967296` is not a number below 2^32",
        ),
        ("a 0 0\n", "x.trace:1: SIZE is 0: it must be at least 1"),
        (
            "a 0 8\nr 0 0\n",
            "x.trace:2: SIZE is 0: it must be at least 1",
        ),
        ("a 0 8 24\n", "x.trace:1: ALIGN 24 is not a power of two"),
        ("a 0 8 0\n", "x.trace:1: ALIGN 0 is not a power of two"),
        ("p 0 11\n", "x.trace:1: ORDER 11 is more than 10"),
        (
            "a 1 8\n",
            "x.trace:1: ID 1 comes before 0: ids count up from 0 without gaps",
        ),
        (
            "a 0 8\na 0 8\n",
            "x.trace:2: ID 0 is allocated a second time",
        ),
        (
            "a 0 8\nf 0\na 0 8\n",
            "x.trace:3: ID 0 is allocated a second time",
        ),
        (
            "a 0 8\nf 0\nf 0\n",
            "x.trace:3: ID 0 is freed a second time",
        ),
        (
            "p 0 1\nq 0\nq 0\n",
            "x.trace:3: ID 0 is freed a second time",
        ),
        (
            "a 0 8\nf 0\nr 0 9\n",
            "x.trace:3: ID 0 is reallocated after it was freed",
        ),
        ("f 0\n", "x.trace:1: ID 0 was never allocated"),
        ("q 7\n", "x.trace:1: ID 7 was never allocated"),
        ("r 7 8\n", "x.trace:1: ID 7 was never allocated"),
        (
            "a 0 8\nq 0\n",
            "x.trace:2: ID 0 is an object, not page frames: use f",
        ),
        (
            "p 0 1\nf 0\n",
            "x.trace:2: ID 0 is page frames, not an object: use q",
        ),
        (
            "p 0 1\nr 0 5\n",
            "x.trace:2: ID 0 is page frames, not an object: use q",
        ),
        ("t\n", "x.trace:1: THREAD is missing"),
        ("t 0 1\n", "x.trace:1: `1` is one word too many"),
        (
            "t 1\nt 3\n",
            "x.trace:2: THREAD 3 comes before 2: threads count up from 0 without gaps",
        ),
        ("t 1\n", "x.trace: no event in it"),
        ("# only: headers\n\n", "x.trace: no event in it"),
    ] {
        assert_eq!(read(text.as_bytes()).unwrap_err(), expected, "{text:?}");
    }
    assert_eq!(
        read(b"a 0 8\n\xFF\xFE\n").unwrap_err(),
        "x.trace:2: not UTF-8 text"
    );
    let long = "a".repeat(4097);
    assert_eq!(
        read(long.as_bytes()).unwrap_err(),
        "x.trace:1: a line of more than 4096 bytes"
    );
}

#[test]
fn slots_are_used_again_and_peaks_are_counted() {
    let text = "# a: b\na 0 100 64\nz 1 50\nf 0\np 2 3\nr 1 70\nq 2\na 3 5\n";
    let loaded = read(text.as_bytes()).unwrap();
    let trace = Trace::parse(&loaded.bytes).unwrap();
    let totals = Totals {
        events: 7,
        slots: 2,
        peak_bytes: 150,
        peak_frames: 8,
        threads: 1,
    };
    assert_eq!(trace.totals, totals);
    let slots: Vec<u32> = trace.events().map(|event| event.slot).collect();
    assert_eq!(slots, [0, 1, 0, 0, 1, 0, 0]);
    let first = trace::Event {
        op: Op::Alloc,
        align_log2: 6,
        thread: 0,
        slot: 0,
        size: 100,
    };
    assert_eq!(trace.events().next(), Some(first));
}

#[test]
fn plain_and_compressed_files_are_read_alike_and_a_cut_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text: String = (0..2000)
        .map(|id| format!("a {id} {}\n", 1 + id * 7 % 999))
        .collect();
    let plain = folder.path().join("my trace.v2.txt");
    std::fs::write(&plain, &text).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    let bytes = encoder.finish().unwrap();
    let compressed = folder.path().join("whole.trace.gz");
    std::fs::write(&compressed, &bytes).unwrap();
    let (one, other) = (load(&plain).unwrap(), load(&compressed).unwrap());
    assert_eq!(
        (one.name.as_str(), other.name.as_str()),
        ("my-trace", "whole")
    );
    assert_eq!(one.bytes, other.bytes);
    let cut = folder.path().join("cut.trace.gz");
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let error = load(&cut).unwrap_err().to_string();
    assert!(error.contains("cut.trace.gz:"), "{error}");
    let absent = load(&folder.path().join("absent")).unwrap_err().to_string();
    assert!(absent.contains("absent: "), "{absent}");
}

#[test]
fn the_shipped_traces_are_sound() {
    let folder = crate::workspace::root().join("bench/traces");
    for (name, events, threads) in [
        ("linux-boot-fs", 66_032, 1),
        ("sqlite", 238_774, 1),
        ("redis", 300_000, 1),
        ("git-pack", 62_010, 5),
    ] {
        let loaded = load(&folder.join(format!("{name}.trace.gz"))).unwrap();
        assert_eq!((loaded.name.as_str(), loaded.threads), (name, threads));
        assert_eq!(Trace::parse(&loaded.bytes).unwrap().len(), events);
    }
}

#[test]
fn a_line_names_the_thread_of_all_events_behind_it() {
    let text = "a 0 8\nt 1\na 1 8\nf 0\nt 0\nf 1\nt 2\nt 1\na 2 8\n";
    let threads: Vec<u16> = events(text).iter().map(|event| event.thread).collect();
    assert_eq!(threads, [0, 1, 1, 0, 1]);
    assert_eq!(read(text.as_bytes()).unwrap().threads, 3);
    let many: String = (0..=65_536).map(|thread| format!("t {thread}\n")).collect();
    assert_eq!(
        read(many.as_bytes()).unwrap_err(),
        "x.trace:65537: more than 65536 threads"
    );
}

proptest! {
    #[test]
    fn a_sound_trace_arrives_in_the_image_as_written(written in sound::events()) {
        let mut slot_of = HashMap::new();
        let mut live_slots = std::collections::HashSet::new();
        let read = events(&sound::text(&written));
        prop_assert_eq!(read.len(), written.len());
        for (event, Event { thread, action }) in read.into_iter().zip(written) {
            prop_assert_eq!(event.thread, thread);
            let (id, named) = (action.id(), (event.op, event.align_log2, event.size));
            match action {
                Action::Alloc { size, align_log2, zeroed, .. } => {
                    let op = if zeroed { Op::Zeroed } else { Op::Alloc };
                    prop_assert_eq!(named, (op, align_log2, size));
                    prop_assert!(live_slots.insert(event.slot), "slot {} is taken", event.slot);
                    slot_of.insert(id, event.slot);
                }
                Action::Pages { order, .. } => {
                    prop_assert_eq!(named, (Op::Pages, 0, order));
                    prop_assert!(live_slots.insert(event.slot), "slot {} is taken", event.slot);
                    slot_of.insert(id, event.slot);
                }
                Action::Free { .. } | Action::FreePages { .. } => {
                    let op = match action {
                        Action::Free { .. } => Op::Free,
                        _ => Op::FreePages,
                    };
                    prop_assert_eq!(named, (op, 0, 0));
                    prop_assert!(live_slots.remove(&event.slot));
                    prop_assert_eq!(slot_of.remove(&id), Some(event.slot));
                }
                Action::Realloc { size, .. } => {
                    prop_assert_eq!(named, (Op::Realloc, 0, size));
                    prop_assert_eq!(slot_of.get(&id), Some(&event.slot));
                }
            }
        }
    }

    #[test]
    fn no_text_whatever_makes_the_parser_panic(text in "([azrfpqtx#] ?[0-9]{0,3} ?[0-9]{0,6}\n){0,20}") {
        let _ = read(text.as_bytes());
    }
}
