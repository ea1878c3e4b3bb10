//! Hunts on the allocators of the line-up: each evaluation gets a fresh one in the same arena.

use super::line_up::name;
use super::memory::{Arena, Fresh};
use super::{ARENA_BYTES, FRAMES_BYTES, FrameAllocator, ObjectAllocator, Visitor, calls, visit};
use crate::hunt::breed::Amounts;
use crate::hunt::{Outcome, Quarry};
use crate::hunting::{self, Ground};
use crate::ops::{self, Ops};
use core::ptr::NonNull;
use kernel::vm::vmalloc::VmallocError;

/// What stands behind the name of an allocator where its page frames are meant.
const PAGES: &str = "/pages";

/// Hunts the allocator called `called`; `NAME/pages` is one of page frames.
pub fn run(ground: &Ground<'_>, called: &str) {
    let mut search = Search {
        ground,
        called,
        is_found: false,
    };
    visit(&mut search);
    if !search.is_found {
        let why = format_args!("no allocator of this image is called {called}");
        ground.reporter.failed(ground.row, why);
    }
}

struct Search<'a> {
    ground: &'a Ground<'a>,
    called: &'a str,
    is_found: bool,
}

impl Search<'_> {
    fn hunt<A>(&self, peer: Result<Peer<'_, A>, VmallocError>, amounts: Amounts) {
        match peer {
            Ok(peer) => self.ground.hunt(peer, amounts),
            Err(error) => {
                let why = format_args!("no memory for its arena: {error}");
                self.ground.reporter.failed(self.ground.row, why);
            }
        }
    }
}

impl Visitor for Search<'_> {
    fn objects<A: ObjectAllocator>(&mut self) {
        if *name(A::NAME, A::SUFFIX) != *self.called {
            return;
        }
        self.is_found = true;
        if A::IN_ARENA {
            let ground = self.ground;
            let renew = |old: &mut A, arena| {
                *old = A::EMPTY;
                // SAFETY: a peer's allocators live one after the other, and stay where they are.
                unsafe { old.add(arena) };
            };
            let peer = Arena::new(ARENA_BYTES, ARENA_BYTES, 0).and_then(|arena| {
                Ok(Peer {
                    ground,
                    fresh: Fresh::new(A::EMPTY, |empty| renew(empty, arena.bytes()))?,
                    renew,
                    ops: calls::objects,
                    arena,
                })
            });
            self.hunt(peer, Amounts::Bytes);
        } else {
            let mut kernels = A::EMPTY;
            let ops = calls::objects(&mut kernels, 0);
            self.ground.kernel(ops, Amounts::Bytes);
        }
    }

    fn frames<A: FrameAllocator>(&mut self) {
        if self.called.strip_suffix(PAGES) != Some(&*name(A::NAME, A::SUFFIX)) {
            return;
        }
        self.is_found = true;
        if A::IN_ARENA {
            let ground = self.ground;
            let renew = |old: &mut A, arena| {
                *old = A::EMPTY;
                // SAFETY: as for objects.
                unsafe { old.add(arena) };
            };
            let arena = Arena::new(FRAMES_BYTES, FRAMES_BYTES, A::FRONT_BYTES);
            let peer = arena.and_then(|arena| {
                Ok(Peer {
                    ground,
                    fresh: Fresh::new(A::EMPTY, |empty| renew(empty, arena.bytes()))?,
                    renew,
                    ops: calls::frames,
                    arena,
                })
            });
            self.hunt(peer, Amounts::Orders);
        } else {
            self.ground.kernel(ops::PAGES, Amounts::Orders);
        }
    }
}

/// An allocator that has an arena, by what the traits of objects and of page frames have in common.
struct Peer<'a, A> {
    ground: &'a Ground<'a>,
    fresh: Fresh<A>,
    /// Puts a fresh one in the place of one that is not used any more.
    renew: fn(&mut A, NonNull<[u8]>),
    ops: for<'c> fn(&'c mut A, u64) -> Ops<'c>,
    arena: Arena,
}

impl<A> Peer<'_, A> {
    fn ops(&mut self) -> Ops<'_> {
        (self.ops)(self.fresh.allocator(), 0)
    }
}

impl<A> Quarry for Peer<'_, A> {
    fn alloc(&mut self, amount: u32) -> Outcome<Option<u64>> {
        let meter = self.ground.meter;
        hunting::alloc(self.ops(), meter, amount)
    }

    fn free(&mut self, block: u64, amount: u32) -> Outcome<()> {
        let meter = self.ground.meter;
        hunting::free(self.ops(), meter, block, amount)
    }

    fn reset(&mut self, _: impl Iterator<Item = (u64, u32)>) {
        (self.renew)(self.fresh.allocator(), self.arena.bytes());
    }
}
