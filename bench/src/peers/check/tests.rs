//! That sound allocators pass and each kind of unsound one is named.

use super::*;
use crate::peers::{ARENA_BYTES, FRAME_LOG2, FRAMES_BYTES, FrameAllocator, Visitor, visit};
use crate::workload::MIXED_SLOTS;
use std::alloc;

/// Host memory that starts a multiple of its size, with something in front of it.
struct Arena {
    memory: NonNull<u8>,
    layout: Layout,
    bytes: NonNull<[u8]>,
}

impl Arena {
    fn new(bytes: usize, front_bytes: usize) -> Self {
        let front_bytes = front_bytes.next_multiple_of(bytes);
        let layout = Layout::from_size_align(front_bytes + bytes, bytes).unwrap();
        // SAFETY: the layout has a size.
        let memory = unsafe { alloc::alloc(layout) };
        let memory = NonNull::new(memory).expect("host memory");
        // SAFETY: the layout has this much and more.
        let start = unsafe { memory.add(front_bytes) };
        Self {
            memory,
            layout,
            bytes: NonNull::slice_from_raw_parts(start, bytes),
        }
    }

    fn bytes(&self) -> NonNull<[u8]> {
        self.bytes
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: `new` allocated it with this layout, and no allocator on it is left.
        unsafe { alloc::dealloc(self.memory.as_ptr(), self.layout) }
    }
}

/// Objects one behind the other; nothing is ever used again. `AT` says what it does wrong.
struct Bump<const AT: u8> {
    next: usize,
    end: usize,
}

const SOUND: u8 = 0;
const OVERLAPS: u8 = 1;
const MISALIGNS: u8 = 2;
const STRAYS: u8 = 3;
const SMALL: u8 = 4;

impl<const AT: u8> ObjectAllocator for Bump<AT> {
    const NAME: &'static str = "bump";
    const EMPTY: Self = Self { next: 0, end: 0 };

    unsafe fn add(&mut self, arena: NonNull<[u8]>) {
        self.next = arena.cast::<u8>().as_ptr().expose_provenance();
        self.end = self.next + if AT == SMALL { 4096 } else { arena.len() };
        if AT == STRAYS {
            self.next -= 4096;
        }
    }

    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let start = self.next.next_multiple_of(layout.align());
        let end = start + layout.size();
        if end > self.end {
            return None;
        }
        self.next = end - usize::from(AT == OVERLAPS && layout.size() > 4000) * 8;
        let start = start + usize::from(AT == MISALIGNS && layout.align() > 8) * 8;
        NonNull::new(core::ptr::with_exposed_provenance_mut(start))
    }

    unsafe fn dealloc(&mut self, _: NonNull<u8>, _: Layout) {}
}

impl<const AT: u8> FrameAllocator for Bump<AT> {
    const NAME: &'static str = "bump";
    const EMPTY: Self = Self { next: 0, end: 0 };

    unsafe fn add(&mut self, arena: NonNull<[u8]>) {
        // SAFETY: the caller's promise.
        unsafe { ObjectAllocator::add(self, arena) }
        self.end += 64 << FRAME_LOG2;
    }

    fn alloc(&mut self, order: u32) -> Option<u64> {
        let bytes = 1 << (FRAME_LOG2 + order);
        let back = usize::from(AT == OVERLAPS && order == 3) << FRAME_LOG2;
        let align_bytes = if AT == MISALIGNS { 4096 } else { bytes };
        let layout = Layout::from_size_align(bytes, align_bytes).ok()?;
        let block = ObjectAllocator::alloc(self, layout)?;
        self.next -= back;
        Some(block.addr().get() as u64)
    }

    unsafe fn free(&mut self, _: u64, _: u32) {}
}

fn checked_frames<A: FrameAllocator>() -> Result<(), Flaw> {
    let arena = Arena::new(FRAMES_BYTES, A::FRONT_BYTES);
    let mut allocator = Box::new(A::EMPTY);
    // SAFETY: the arena outlives the allocator, which stays in its box.
    unsafe { allocator.add(arena.bytes()) };
    let mut claims = vec![0; (FRAMES_BYTES >> FRAME_LOG2) / 64];
    let slots = &mut [None; MIXED_SLOTS];
    frames(&mut *allocator, arena.bytes(), slots, &mut claims)
}

#[test]
fn flaws_of_page_frames_are_named_too() {
    let flaws = [
        checked_frames::<Bump<OVERLAPS>>(),
        checked_frames::<Bump<MISALIGNS>>(),
        checked_frames::<Bump<STRAYS>>(),
        checked_frames::<Bump<SMALL>>(),
    ];
    assert!(
        matches!(
            flaws,
            [
                Err(Flaw::Overlapping { .. }),
                Err(Flaw::Misaligned { .. }),
                Err(Flaw::Outside { .. }),
                Err(Flaw::OutOfMemory { .. }),
            ]
        ),
        "{flaws:?}"
    );
}

fn checked<A: ObjectAllocator>() -> Result<(), Flaw> {
    let arena = Arena::new(ARENA_BYTES, 0);
    let mut allocator = Box::new(A::EMPTY);
    // SAFETY: the arena outlives the allocator, which stays in its box.
    unsafe { allocator.add(arena.bytes()) };
    let mut claims = vec![0; words(ARENA_BYTES)];
    let slots = &mut [None; MIXED_SLOTS];
    objects(&mut *allocator, arena.bytes(), slots, &mut claims)
}

#[test]
fn each_flaw_is_named_and_a_sound_allocator_has_none() {
    let flaws = [
        checked::<Bump<OVERLAPS>>(),
        checked::<Bump<MISALIGNS>>(),
        checked::<Bump<STRAYS>>(),
        checked::<Bump<SMALL>>(),
    ];
    assert!(
        matches!(
            flaws,
            [
                Err(Flaw::Overlapping { .. }),
                Err(Flaw::Misaligned {
                    align_bytes: 64,
                    ..
                }),
                Err(Flaw::Outside { .. }),
                Err(Flaw::OutOfMemory { .. }),
            ]
        ),
        "{flaws:?}"
    );
    // It never uses anything again, and has enough for one alignment at least.
    assert!(!matches!(
        checked::<Bump<SOUND>>(),
        Err(Flaw::Overwritten { .. } | Flaw::Misaligned { .. } | Flaw::Outside { .. })
    ));
}

/// What `embedded-alloc` masks interrupts with on a machine: each heap here has one thread to itself.
struct OneThread;
critical_section::set_impl!(OneThread);

// SAFETY: no two threads of these tests use the same heap.
unsafe impl critical_section::Impl for OneThread {
    unsafe fn acquire() -> critical_section::RawRestoreState {
        critical_section::RawRestoreState::default()
    }
    unsafe fn release(_: critical_section::RawRestoreState) {}
}

#[test]
fn every_allocator_of_the_line_up_passes_but_the_one_that_ignores_alignments() {
    struct All(Vec<String>);
    impl Visitor for All {
        fn objects<A: ObjectAllocator>(&mut self) {
            if let Err(flaw) = checked::<A>() {
                self.0.push(format!("{}{}: {flaw}", A::NAME, A::SUFFIX));
            }
        }
        fn frames<A: FrameAllocator>(&mut self) {
            if let Err(flaw) = checked_frames::<A>() {
                self.0.push(format!("frames of {}: {flaw}", A::NAME));
            }
        }
    }
    let mut all = All(Vec::new());
    visit(&mut all);
    all.0.retain(|flaw| {
        let ignores_alignments = flaw.starts_with("buddy-alloc");
        !(ignores_alignments && flaw.ends_with("is not aligned to 64 bytes"))
    });
    assert_eq!(all.0, [""; 0]);
}
