//! That a part has all of its events, and the heap it begins with.

use super::*;
use crate::trace::event::Event;
use crate::trace::sound;
use proptest::prelude::*;

/// A part of the trace `text`: its events.
fn cut(text: &str, from: u32, events: u32) -> Result<Vec<Event>> {
    let folder = tempfile::tempdir()?;
    let (file, output) = (folder.path().join("x.trace"), folder.path().join("y.trace"));
    std::fs::write(&file, text)?;
    let args = Args {
        file,
        from,
        events,
        output: output.clone(),
    };
    command(&args)?;
    Ok(sound::read(&output).0)
}

fn lines(text: &str, from: u32, events: u32) -> Vec<String> {
    let cut = cut(text, from, events).unwrap();
    cut.iter().map(|event| event.action.to_string()).collect()
}

#[test]
fn what_lives_is_allocated_first_as_it_is_by_then() {
    let text = "a 0 8\nz 1 9\np 2 3\nt 1\na 3 5 64\nr 1 99\nf 0\nf 3\nr 1 7\nq 2\nf 1\n";
    let whole = lines(text, 0, 100);
    assert_eq!(whole.len(), 10);
    assert_eq!(
        lines(text, 5, 3),
        [
            "a 0 8", "a 1 99", "p 2 3", "a 3 5 64", "f 0", "f 3", "r 1 7"
        ]
    );
    assert_eq!(lines(text, 8, 9), ["a 0 7", "p 1 3", "q 1", "f 0"]);
    let threads: Vec<u16> = cut(text, 5, 2)
        .unwrap()
        .iter()
        .map(|event| event.thread)
        .collect();
    assert_eq!(threads, [0, 0, 0, 1, 1, 1], "each by who allocated it");
}

#[test]
fn a_part_that_is_not_there_is_refused() {
    let error = cut("a 0 8\nf 0\n", 2, 1).unwrap_err().to_string();
    assert!(
        error.contains("--from 2:") && error.contains("has 2 events"),
        "{error}"
    );
}

proptest! {
    #[test]
    fn any_part_is_sound_and_has_all_of_its_events(
        whole in sound::events(),
        from in any::<prop::sample::Index>(),
        events in 1_u32..100,
    ) {
        let from = from.index(whole.len());
        let part = cut(&sound::text(&whole), u32::try_from(from).unwrap(), events).unwrap();
        let wanted: Vec<Event> = whole[from..].iter().take(events as usize).copied().collect();
        let before = part.len() - wanted.len();
        for (event, wanted) in part[before..].iter().zip(&wanted) {
            // Ids are others; the rest is the same.
            prop_assert_eq!(event.action.on(0), wanted.action.on(0));
        }
        // The same is live behind it, counted from the whole.
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.trace");
        std::fs::write(&file, sound::text(&whole[..from + wanted.len()])).unwrap();
        let live_whole = sound::read(&file).1.live_bytes();
        std::fs::write(&file, sound::text(&part)).unwrap();
        prop_assert_eq!(sound::read(&file).1.live_bytes(), live_whole);
    }
}
