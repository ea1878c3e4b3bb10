//! Sound traces at random, for tests.

use super::event::{Action, Event};
use super::ledger::Ledger;
use super::write::Lines;
use proptest::prelude::*;

/// Threads of a random trace, at most.
const THREADS: u16 = 4;

/// What a random trace does next, chosen among what is live.
#[derive(Clone, Debug)]
enum Choice {
    Alloc(u32, u8, bool),
    Pages(u32),
    Realloc(prop::sample::Index, u32),
    Free(prop::sample::Index),
}

/// Between one event and some hundred, threads numbered as they come.
pub(super) fn events() -> impl Strategy<Value = Vec<Event>> {
    let at = any::<prop::sample::Index>;
    let choice = prop_oneof![
        (1_u32..100_000, 0_u8..13).prop_map(|(size, align)| Choice::Alloc(size, align, false)),
        (1_u32..100_000).prop_map(|size| Choice::Alloc(size, 0, true)),
        (0_u32..=10).prop_map(Choice::Pages),
        (at(), 1_u32..100_000).prop_map(|(at, size)| Choice::Realloc(at, size)),
        at().prop_map(Choice::Free),
        at().prop_map(Choice::Free),
    ];
    let events = prop::collection::vec((choice, 0..THREADS), 1..200);
    events
        .prop_map(|choices| sound(&choices))
        .prop_filter("an event", |events| !events.is_empty())
}

fn sound(choices: &[(Choice, u16)]) -> Vec<Event> {
    let (mut events, mut live, mut ids) = (Vec::new(), Vec::<(u32, bool)>::new(), 0);
    let mut last_thread = 0;
    for (choice, thread) in choices {
        let action = match choice {
            Choice::Alloc(size, align_log2, zeroed) => Action::Alloc {
                id: ids,
                size: *size,
                align_log2: *align_log2,
                zeroed: *zeroed,
            },
            Choice::Pages(order) => Action::Pages {
                id: ids,
                order: *order,
            },
            Choice::Realloc(..) | Choice::Free(_) if live.is_empty() => continue,
            Choice::Realloc(at, size) => match live[at.index(live.len())] {
                (id, false) => Action::Realloc { id, size: *size },
                (_, true) => continue,
            },
            Choice::Free(at) => match live.swap_remove(at.index(live.len())) {
                (id, false) => Action::Free { id },
                (id, true) => Action::FreePages { id },
            },
        };
        if let Action::Alloc { id, .. } | Action::Pages { id, .. } = action {
            live.push((id, matches!(action, Action::Pages { .. })));
            ids += 1;
        }
        let thread = if events.is_empty() {
            0
        } else {
            (*thread).min(last_thread + 1)
        };
        last_thread = last_thread.max(thread);
        events.push(Event { thread, action });
    }
    events
}

/// The text of such events.
pub(super) fn text(events: &[Event]) -> String {
    let (mut lines, mut out) = (Lines::default(), Vec::new());
    for Event { thread, action } in events {
        lines.event(&mut out, (*thread).into(), *action).unwrap();
    }
    String::from_utf8(out).unwrap()
}

/// All events of a file, and what is live behind them.
pub(super) fn read(file: &std::path::Path) -> (Vec<Event>, Ledger) {
    let mut events = Vec::new();
    let ledger = super::read::file(file, |event, _| events.push(*event)).unwrap();
    (events, ledger)
}
