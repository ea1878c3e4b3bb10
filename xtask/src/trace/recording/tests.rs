//! Recordings of which every kind of knowledge is missing.

use super::*;
use proptest::prelude::*;
use recorder::layout::MAGIC;

const fn record(kind: Kind, thread: u32, address: u64, size: u64) -> Record {
    Record {
        kind,
        align_log2: 0,
        thread,
        address,
        size,
    }
}

/// A recording of `records`; `None` is one that was never written.
fn recording(records: &[Option<Record>], lost: u64) -> Vec<u8> {
    let header = [u64::from_ne_bytes(MAGIC), 1, lost];
    let words = records
        .iter()
        .map(|record| record.map_or([0; 3], Record::to_words));
    let words = std::iter::once(header).chain(words);
    let bytes = words.flat_map(|[a, b, c]| [a, b, c, 0].map(u64::to_ne_bytes));
    bytes.flatten().collect()
}

/// The trace that they become, and its summary.
fn converted(records: &[Option<Record>], with_threads: bool) -> (String, Summary) {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("1.0"), folder.path().join("x.trace"));
    std::fs::write(&from, recording(records, 7)).unwrap();
    let summary = convert(&from, &to, "x", with_threads).unwrap();
    (std::fs::read_to_string(&to).unwrap(), summary)
}

#[test]
fn what_is_not_known_is_settled_and_counted() {
    let records = [
        record(Kind::Free, 10, 0x50, 0),
        record(Kind::Alloc, 10, 0x10, 0),
        record(Kind::Zeroed, 11, 0x20, 8),
        // Nobody saw the first one freed.
        record(Kind::Alloc, 11, 0x10, 9),
        // Too large, and its free is none that is unknown.
        record(Kind::Alloc, 10, 0x30, 1 << 32),
        record(Kind::Free, 10, 0x30, 0),
        // Another thread gets the address while its object moves.
        record(Kind::ReallocBegin, 10, 0x20, 0),
        record(Kind::Alloc, 11, 0x20, 5),
        record(Kind::ReallocEnd, 10, 0x40, 80),
        // Fails, and stays.
        record(Kind::ReallocBegin, 10, 0x40, 0),
        record(Kind::ReallocEnd, 10, 0, 1 << 40),
        record(Kind::ReallocBegin, 10, 0x40, 0),
        record(Kind::ReallocEnd, 10, 0, 0),
        // Never seen, and seen from here on.
        record(Kind::ReallocBegin, 10, 0x60, 0),
        record(Kind::ReallocEnd, 10, 0x70, 6),
        // Its end never came.
        record(Kind::ReallocBegin, 11, 0x10, 0),
    ];
    let (text, summary) = converted(&records.map(Some), true);
    let expected = "# x\na 0 1\nt 1\nz 1 8\nf 0\na 2 9\na 3 5\nt 0\nr 1 80\nf 1\na 4 6\n";
    assert_eq!(text, expected);
    let counts: Vec<u64> = summary.notes.iter().map(|(_, count)| *count).collect();
    // Unknown frees, unseen ones, too large objects, lost events.
    assert_eq!(counts, [1, 1, 1, 7]);
    let expected = Summary {
        events: 8,
        threads: 2,
        live: 3,
        peak_bytes: 94,
        notes: summary.notes.clone(),
    };
    assert_eq!(summary, expected);
    let (text, summary) = converted(&records.map(Some), false);
    assert!(!text.contains('t') && summary.threads == 1);
}

#[test]
fn a_file_that_is_no_recording_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("1.0"), folder.path().join("x.trace"));
    std::fs::write(&from, "a 0 8\n".repeat(100)).unwrap();
    let error = convert(&from, &to, "x", true).unwrap_err().to_string();
    assert!(error.contains("is no recording"), "{error}");
    assert!(!to.exists());
    let error = convert(&to, &to, "x", true).unwrap_err().to_string();
    assert!(error.contains("cannot read the recording"), "{error}");
}

fn records() -> impl Strategy<Value = Vec<Option<Record>>> {
    let kind = prop::sample::select(vec![
        Kind::Alloc,
        Kind::Alloc,
        Kind::Zeroed,
        Kind::Free,
        Kind::Free,
        Kind::ReallocBegin,
        Kind::ReallocEnd,
    ]);
    let record = (kind, 0_u32..4, 0_u64..12, 0_u64..5, 0_u8..40);
    let record = record.prop_map(|(kind, thread, address, size, align_log2)| Record {
        kind,
        align_log2,
        thread,
        address: address * 16,
        size: size << (size * 9),
    });
    prop::collection::vec(prop::option::weighted(0.9, record), 1..200)
}

proptest! {
    #[test]
    fn whatever_was_recorded_becomes_a_sound_trace(records in records()) {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("1.0"), folder.path().join("x.trace"));
        std::fs::write(&from, recording(&records, 0)).unwrap();
        match convert(&from, &to, "x", true) {
            Ok(summary) => {
                let ledger = read::file(&to, |_, _| ()).unwrap();
                prop_assert_eq!(ledger.events(), summary.events);
                prop_assert_eq!(ledger.live().count(), summary.live);
            }
            Err(error) => {
                prop_assert!(error.to_string().contains("no event in it"), "{}", error);
                prop_assert!(!to.exists());
            }
        }
    }
}
