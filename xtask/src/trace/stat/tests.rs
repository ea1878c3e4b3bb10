//! That counts are right, and that both ways of writing them have them.

use super::*;
use crate::trace::sound;
use proptest::prelude::*;

fn statistics(text: &str) -> Statistics {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("some.trace");
    std::fs::write(&file, text).unwrap();
    Statistics::read(&file).unwrap()
}

const TEXT: &str = "a 0 8\nz 1 9\nt 1\np 2 3\na 3 5 64\nr 1 99\nf 0\nf 3\nt 0\nr 1 7\nq 2\na 4 1\n";

#[test]
fn everything_is_counted_once() {
    let found = statistics(TEXT);
    let events = Events {
        all: 10,
        alloc: 3,
        zeroed: 1,
        realloc: 2,
        free: 2,
        pages_alloc: 1,
        pages_free: 1,
    };
    assert_eq!(found.events, events);
    assert_eq!(
        (found.name.as_str(), &found.threads[..]),
        ("some", &[5, 5][..])
    );
    // Thread 1 reallocates 1 and frees 0, thread 0 frees 2.
    assert_eq!(found.by_other_threads, 3);
    assert_eq!(found.asked_bytes, 8 + 9 + 32_768 + 5 + 99 + 7 + 1);
    let peak = Peak {
        bytes: 8 + 99 + 5 + 32_768,
        event: 4,
    };
    assert_eq!(found.peak, peak);
    let left = Live {
        objects: 2,
        page_blocks: 0,
        bytes: 8,
    };
    assert_eq!(found.left, left);
    let sizes: Vec<(u64, u64, u64)> = found
        .sizes
        .iter()
        .map(|octave| (octave.from, octave.objects, octave.bytes))
        .collect();
    assert_eq!(sizes, [(1, 1, 1), (4, 1, 5), (8, 2, 17)]);
    assert_eq!(found.orders, [0, 0, 0, 1]);
    let alignments = found
        .alignments
        .iter()
        .map(|named| (named.bytes, named.objects));
    assert_eq!(alignments.collect::<Vec<_>>(), [(1, 3), (64, 1)]);
    let lifetimes = Lifetimes {
        freed: 3,
        never_freed: 2,
        p50: 5,
        p90: 6,
        p99: 6,
        max: 6,
    };
    assert_eq!(found.lifetimes, lifetimes);
    assert_eq!(found.live.len(), 10);
}

#[test]
fn a_long_course_keeps_its_peak_and_its_order() {
    let mut course = Course::default();
    for events in 1..=100_000 {
        let bytes = if events == 54_321 {
            9_999
        } else {
            events % 100
        };
        course.take(Point {
            events,
            live: 1,
            bytes,
        });
    }
    let points = course.finish();
    assert!(
        (POINTS..=2 * POINTS).contains(&points.len()),
        "{}",
        points.len()
    );
    assert!(points.is_sorted_by_key(|point| point.events));
    assert_eq!(points.iter().map(|point| point.bytes).max(), Some(9_999));
}

#[test]
fn people_and_programs_are_told_the_same() {
    let found = statistics(TEXT);
    let text = text::write(&found);
    for part in [
        "some: 10 events of 2 threads",
        "by thread 1                            5   50.0 %",
        "on another thread's object             3",
        "8 to 15             2               17  ▪",
        "at most 32,880 live at once, at event 4; 8 live at the end",
        "p50 5, p90 6, p99 6, max 6; 2 of 5 never freed",
        "▁▁▇▇█▇▇▇▁▁",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json: serde_json::Value = serde_json::from_str(&json::write(&found).unwrap()).unwrap();
    assert_eq!(json["events"]["all"], 10);
    assert_eq!(json["peak"]["bytes"], 32_880);
    assert_eq!(json["live"].as_array().unwrap().len(), 10);
}

proptest! {
    #[test]
    fn sums_are_consistent(events in sound::events()) {
        let found = statistics(&sound::text(&events));
        let kinds = found.events;
        let made = kinds.alloc + kinds.zeroed + kinds.pages_alloc;
        prop_assert_eq!(made + kinds.realloc + kinds.free + kinds.pages_free, kinds.all);
        prop_assert_eq!(found.threads.iter().sum::<u64>(), kinds.all);
        prop_assert_eq!(found.lifetimes.freed + found.lifetimes.never_freed, made);
        let sized: u64 = found.sizes.iter().map(|octave| octave.objects).sum();
        prop_assert_eq!(sized + found.orders.iter().sum::<u64>(), made);
        prop_assert!(found.peak.bytes >= found.left.bytes);
        prop_assert!(!text::write(&found).is_empty());
    }
}
