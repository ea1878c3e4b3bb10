//! Every way in which a trace can be wrong, and that a sound one survives the way to the image.

use super::*;
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
    for (name, events) in [
        ("linux-boot-fs", 66_032),
        ("sqlite", 238_774),
        ("redis", 300_000),
    ] {
        let loaded = load(&folder.join(format!("{name}.trace.gz"))).unwrap();
        assert_eq!(loaded.name, name);
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

/// What a random trace does next, chosen among what is live.
#[derive(Clone, Debug)]
enum Choice {
    Alloc(u32, u8),
    Zeroed(u32),
    Pages(u32),
    Realloc(prop::sample::Index, u32),
    Free(prop::sample::Index),
}

fn choices() -> impl Strategy<Value = Vec<Choice>> {
    let choice = prop_oneof![
        (1_u32..100_000, 0_u8..13).prop_map(|(size, align)| Choice::Alloc(size, align)),
        (1_u32..100_000).prop_map(Choice::Zeroed),
        (0_u32..=10).prop_map(Choice::Pages),
        (any::<prop::sample::Index>(), 1_u32..100_000)
            .prop_map(|(at, size)| Choice::Realloc(at, size)),
        any::<prop::sample::Index>().prop_map(Choice::Free),
        any::<prop::sample::Index>().prop_map(Choice::Free),
    ];
    prop::collection::vec(choice, 1..200)
}

/// The text of such a trace, and for each event the id and what the image should read.
fn written(choices: &[Choice]) -> (String, Vec<(u64, Op, u8, u32)>) {
    let (mut text, mut expected) = (String::new(), Vec::new());
    let (mut live, mut ids) = (Vec::<(u64, bool)>::new(), 0);
    for choice in choices {
        let (line, event) = match choice {
            Choice::Alloc(size, align_log2) => {
                live.push((ids, false));
                let line = format!("a {ids} {size} {}", 1 << align_log2);
                (line, (ids, Op::Alloc, *align_log2, *size))
            }
            Choice::Zeroed(size) => {
                live.push((ids, false));
                (format!("z {ids} {size}"), (ids, Op::Zeroed, 0, *size))
            }
            Choice::Pages(order) => {
                live.push((ids, true));
                (format!("p {ids} {order}"), (ids, Op::Pages, 0, *order))
            }
            Choice::Realloc(..) | Choice::Free(_) if live.is_empty() => continue,
            Choice::Realloc(at, size) => match live[at.index(live.len())] {
                (id, false) => (format!("r {id} {size}"), (id, Op::Realloc, 0, *size)),
                (_, true) => continue,
            },
            Choice::Free(at) => match live.swap_remove(at.index(live.len())) {
                (id, false) => (format!("f {id}"), (id, Op::Free, 0, 0)),
                (id, true) => (format!("q {id}"), (id, Op::FreePages, 0, 0)),
            },
        };
        ids += u64::from(matches!(event.1, Op::Alloc | Op::Zeroed | Op::Pages));
        text.push_str(&line);
        text.push('\n');
        expected.push(event);
    }
    (text, expected)
}

proptest! {
    #[test]
    fn a_sound_trace_arrives_in_the_image_as_written(choices in choices()) {
        let (text, expected) = written(&choices);
        prop_assume!(!expected.is_empty());
        let mut slot_of = HashMap::new();
        let mut live_slots = std::collections::HashSet::new();
        let read = events(&text);
        prop_assert_eq!(read.len(), expected.len());
        for (event, (id, op, align_log2, size)) in read.into_iter().zip(expected) {
            prop_assert_eq!((event.op, event.align_log2, event.size), (op, align_log2, size));
            match op {
                Op::Alloc | Op::Zeroed | Op::Pages => {
                    prop_assert!(live_slots.insert(event.slot), "slot {} is taken", event.slot);
                    slot_of.insert(id, event.slot);
                }
                Op::Free | Op::FreePages => {
                    prop_assert!(live_slots.remove(&event.slot));
                    prop_assert_eq!(slot_of.remove(&id), Some(event.slot));
                }
                Op::Realloc => prop_assert_eq!(slot_of.get(&id), Some(&event.slot)),
            }
        }
    }

    #[test]
    fn no_text_whatever_makes_the_parser_panic(text in "([azrfpqtx#] ?[0-9]{0,3} ?[0-9]{0,6}\n){0,20}") {
        let _ = read(text.as_bytes());
    }
}
