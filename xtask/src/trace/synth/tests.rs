//! That what is made up is sound, repeatable, and like what it is to be like.

use super::*;
use crate::trace::sound;
use proptest::prelude::*;

/// The text of a trace like `text`.
fn synthesised(text: &str, events: u32, seed: u64) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (like, output) = (folder.path().join("x.trace"), folder.path().join("y.trace"));
    std::fs::write(&like, text).unwrap();
    let args = Args {
        like,
        events,
        seed,
        output: output.clone(),
    };
    command(&args).unwrap();
    std::fs::read_to_string(&output).unwrap()
}

/// Small objects that live shortly, made and freed by one thread, and large ones that another one frees
/// much later.
fn original() -> String {
    let (mut text, mut large, mut ids) = (String::new(), std::collections::VecDeque::new(), 0);
    for round in 0..2_000 {
        text.push_str(&format!("a {ids} {}\nf {ids}\n", 8 + round % 9));
        ids += 1;
        if round % 4 == 0 {
            text.push_str(&format!("z {ids} 5000\n"));
            large.push_back(ids);
            ids += 1;
        }
        if large.len() > 100 {
            let id = large.pop_front().unwrap();
            text.push_str(&format!("t 1\nf {id}\nt 0\n"));
        }
    }
    text
}

/// Of each kind of object: how many, how many of these were freed by thread 1, and the median lifetime.
fn kinds(text: &str) -> [(usize, usize, u32); 2] {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.trace");
    std::fs::write(&file, text).unwrap();
    let mut lives = Lives::default();
    read::file(&file, |event, change| lives.take(event, change)).unwrap();
    [false, true].map(|is_large| {
        let of_kind = |life: &&Life| {
            matches!(life.first, Action::Alloc { size, .. } if (size > 1000) == is_large)
        };
        let lives: Vec<&Life> = lives.lives.iter().filter(of_kind).collect();
        let ends = lives.iter().filter_map(|life| life.later.last());
        let elsewhere = ends.clone().filter(|(_, thread, _)| *thread == 1).count();
        let mut after: Vec<u32> = ends.map(|(after, ..)| *after).collect();
        after.sort_unstable();
        (lives.len(), elsewhere, after[after.len() / 2])
    })
}

#[test]
fn sizes_lifetimes_and_threads_go_together_as_they_did() {
    let original = original();
    let made_up = synthesised(&original, 5_000, 1);
    let like = |found: usize, wanted: usize| found.abs_diff(wanted) * 10 <= wanted;
    for (kind, wanted) in kinds(&made_up).into_iter().zip(kinds(&original)) {
        let ((objects, elsewhere, median), (objects0, elsewhere0, median0)) = (kind, wanted);
        assert!(like(objects, objects0), "{kind:?} {wanted:?}");
        assert!(like(elsewhere, elsewhere0), "{kind:?} {wanted:?}");
        assert!(
            median >= median0 && median <= median0 + 5,
            "{kind:?} {wanted:?}"
        );
    }
}

#[test]
fn a_seed_gives_one_trace_and_another_one_another() {
    let original = original();
    let one = synthesised(&original, 1_000, 7);
    assert_eq!(one, synthesised(&original, 1_000, 7));
    assert_ne!(one, synthesised(&original, 1_000, 8));
    assert_eq!(one.lines().next(), Some("# made up, seed 7"));
}

proptest! {
    #[test]
    fn what_is_like_a_sound_trace_is_sound(
        like in sound::events(),
        events in 1_u32..500,
        seed in any::<u64>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.trace");
        std::fs::write(&file, synthesised(&sound::text(&like), events, seed)).unwrap();
        let (made_up, ledger) = sound::read(&file);
        prop_assert_eq!(made_up.len(), events as usize);
        let threads = like.iter().map(|event| event.thread).max().unwrap();
        prop_assert!(ledger.threads() <= u32::from(threads) + 1);
    }
}
