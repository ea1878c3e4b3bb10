//! Replays on a model heap, and on one that breaks its promises in each way there is.

use super::*;
use std::collections::BTreeMap;
use wire::trace;

/// What the model does wrong, from its fifth allocation on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    RunsOut,
    Misaligns,
    ForgetsToZero,
    OverlapsObjects,
    LosesOnRealloc,
    RefusesFrees,
    MisalignsPages,
}

/// Objects in one array, at addresses that are never used again; page frames in another.
struct Model {
    flaw: Flaw,
    memory: Vec<u8>,
    frames: Vec<u8>,
    next: usize,
    next_frame: usize,
    calls: u32,
    live: BTreeMap<u64, u64>,
    recorded_frees: u32,
    recording: bool,
}

/// The model's addresses are indices.
fn index(address: u64) -> usize {
    usize::try_from(address).unwrap()
}

impl Model {
    fn new(flaw: Flaw) -> Self {
        Self {
            flaw,
            memory: vec![0xAA; 1 << 20],
            frames: vec![0xAA; 1 << 20],
            next: 64,
            next_frame: 8,
            calls: 0,
            live: BTreeMap::new(),
            recorded_frees: 0,
            recording: true,
        }
    }

    fn flawed(&self, flaw: Flaw) -> bool {
        self.flaw == flaw && self.calls > 4
    }
}

impl Heap for Model {
    fn alloc(&mut self, request: Request, zeroed: bool) -> Option<u64> {
        self.calls += 1;
        let size = request.size as usize;
        if self.flawed(Flaw::RunsOut) {
            return None;
        }
        let align = 1 << request.align_log2.max(3);
        let mut address = self.next.next_multiple_of(align);
        if self.flawed(Flaw::Misaligns) {
            address += 4;
        }
        if self.flawed(Flaw::OverlapsObjects) && zeroed {
            address -= 8;
        } else {
            self.next = address + size;
        }
        if zeroed && !self.flawed(Flaw::ForgetsToZero) {
            self.memory[address..address + size].fill(0);
        }
        self.live.insert(address as u64, size as u64);
        Some(address as u64)
    }

    fn realloc(&mut self, object: u64, request: Request, size: u32) -> Option<u64> {
        let later = self.alloc(Request { size, ..request }, false)?;
        let kept = request.size.min(size) as usize;
        if !self.flawed(Flaw::LosesOnRealloc) {
            let from = index(object);
            self.memory.copy_within(from..from + kept, index(later));
        }
        self.live.remove(&object).unwrap();
        Some(later)
    }

    fn free(&mut self, object: u64, request: Request) -> bool {
        assert_eq!(self.live.remove(&object), Some(u64::from(request.size)));
        self.recorded_frees += u32::from(self.recording);
        !self.flawed(Flaw::RefusesFrees)
    }

    fn alloc_pages(&mut self, order: u8) -> Option<u64> {
        self.calls += 1;
        let first = self.next_frame.next_multiple_of(1 << order);
        if self.flawed(Flaw::MisalignsPages) {
            return Some(first as u64 - 1);
        }
        self.next_frame = first + (1 << order);
        self.live.insert(1 << 40 | first as u64, 4096 << order);
        Some(first as u64)
    }

    fn free_pages(&mut self, first: u64, _order: u8) -> bool {
        self.live.remove(&(1 << 40 | first));
        self.recorded_frees += u32::from(self.recording);
        true
    }

    fn object(&mut self, object: u64, request: Request) -> &mut [u8] {
        &mut self.memory[index(object)..][..request.size as usize]
    }

    fn pages(&mut self, first: u64, order: u8) -> &mut [u8] {
        &mut self.frames[index(first) << 12..][..4096 << order]
    }

    fn held_bytes(&self) -> u64 {
        1000 + self.live.values().sum::<u64>() * 2
    }

    fn stop_recording(&mut self) {
        self.recording = false;
    }
}

fn event(op: Op, slot: u32, size: u32, align_log2: u8) -> Event {
    Event {
        op,
        align_log2,
        thread: 0,
        slot,
        size,
    }
}

/// Something of everything; two objects and one block stay live.
fn events() -> Vec<Event> {
    vec![
        event(Op::Alloc, 0, 100, 0),
        event(Op::Zeroed, 1, 50, 0),
        event(Op::Pages, 2, 1, 0),
        event(Op::Alloc, 3, 3, 6),
        event(Op::Free, 0, 0, 0),
        event(Op::Alloc, 0, 24, 6),
        event(Op::Zeroed, 4, 200, 0),
        event(Op::Realloc, 1, 500, 0),
        event(Op::FreePages, 2, 0, 0),
        event(Op::Pages, 2, 0, 0),
        event(Op::Realloc, 1, 10, 0),
        event(Op::Free, 3, 0, 0),
        event(Op::Free, 1, 0, 0),
    ]
}

fn run(model: &mut Model, events: &[Event]) -> Result<Totals, ReplayError> {
    let totals = trace::Totals {
        events: u32::try_from(events.len()).unwrap(),
        slots: 5,
        threads: 1,
        ..trace::Totals::default()
    };
    let mut bytes = totals.header().to_vec();
    bytes.extend(events.iter().flat_map(|event| event.to_bytes()));
    let trace = Trace::parse(&bytes).unwrap();
    replay(model, &trace, &mut [Entry::Empty; 5], |_| ())
}

#[test]
fn a_sound_heap_replays_everything_and_gets_everything_back() {
    let mut model = Model::new(Flaw::None);
    let totals = run(&mut model, &events()).unwrap();
    let peak = 24 + 200 + 500 + 3 + 8192;
    assert_eq!(
        totals,
        Totals {
            peak_asked_bytes: peak,
            peak_held_bytes: peak * 2
        }
    );
    assert!(model.live.is_empty());
    assert_eq!(model.recorded_frees, 4);
}

#[test]
fn every_broken_promise_is_named() {
    for (flaw, expected) in [
        (Flaw::RunsOut, "event 5: no memory for 24 bytes"),
        (Flaw::ForgetsToZero, "event 6: asked for zeros, byte 0"),
        (Flaw::OverlapsObjects, "the contents of slot"),
        (Flaw::RefusesFrees, "event 11: freeing slot 3 was refused"),
        (Flaw::LosesOnRealloc, "event 7: the contents of slot 1"),
    ] {
        let error = run(&mut Model::new(flaw), &events()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let misaligned = run(&mut Model::new(Flaw::Misaligns), &events()).unwrap_err();
    assert!(matches!(misaligned.kind, ErrorKind::Misaligned { .. }));
    let pages: Vec<_> = (0..5).map(|slot| event(Op::Pages, slot, 1, 0)).collect();
    let misaligned = run(&mut Model::new(Flaw::MisalignsPages), &pages).unwrap_err();
    assert_eq!(misaligned.event, 4);
    assert!(matches!(misaligned.kind, ErrorKind::Misaligned { .. }));
}

#[test]
fn an_event_that_a_slot_forbids_is_refused_and_nothing_leaks() {
    let alloc = event(Op::Alloc, 0, 8, 0);
    for wrong in [
        event(Op::Alloc, 0, 8, 0),
        event(Op::FreePages, 0, 0, 0),
        event(Op::Realloc, 1, 8, 0),
        event(Op::Free, 1, 0, 0),
        event(Op::Pages, 1, 300, 0),
    ] {
        let mut model = Model::new(Flaw::None);
        let error = run(&mut model, &[alloc, wrong]).unwrap_err();
        let kind = ErrorKind::Malformed { slot: wrong.slot };
        assert_eq!(error, ReplayError { event: 1, kind });
        assert!(model.live.is_empty());
    }
}
