//! The line-up on the machine: each allocator checked, then timed, each family on a fresh one.

use super::memory::{Arena, Fresh};
use super::traces::{self, Wanted};
use super::{ARENA_BYTES, FRAME_LOG2, FRAMES_BYTES};
use super::{FrameAllocator, ObjectAllocator, Visitor, calls, check, visit};
use crate::name::Name;
use crate::plan::line_up::Traits;
use crate::plan::{self, Family, Work};
use crate::replay::ReplayError;
use crate::report::Reporter;
use crate::rows::{Rows, WorkError};
use crate::scratch::Scratch;
use crate::table::Table;
use crate::workload::{Slot, pathology};
use core::fmt;
use core::ptr::NonNull;
use kernel::vm::vmalloc::VmallocError;
use wire::bench::Record;

/// Words of claims on the larger of the two arenas: one for objects has a bit for 8 bytes.
#[expect(clippy::cast_possible_truncation, reason = "131,072")]
const CLAIM_WORDS: u32 = check::words(ARENA_BYTES) as u32;
const _: () = assert!(FRAMES_BYTES >> FRAME_LOG2 <= CLAIM_WORDS as usize * 64);

/// Which rows of the line-up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Which {
    /// Those of its workloads.
    pub families: bool,
    /// Those of the traces behind the image.
    pub traces: bool,
}

impl Which {
    /// Whether traces are replayed on an allocator with this suffix: a lock only adds to each call.
    const fn replays(self, suffix: &str) -> bool {
        self.traces && suffix.is_empty()
    }
}

/// Sends what rows the line-up has.
pub fn plan(which: Which, reporter: &Reporter) {
    struct Planned<'a>(Which, &'a Reporter);
    impl Visitor for Planned<'_> {
        fn objects<A: ObjectAllocator>(&mut self) {
            let (name, Self(which, reporter)) = (name(A::NAME, A::SUFFIX), &*self);
            if which.families {
                objects::<A>().for_each(|family| reporter.plan_family(&family));
            }
            if which.replays(A::SUFFIX) {
                traces::plan(&name, reporter);
            }
        }
        fn frames<A: FrameAllocator>(&mut self) {
            let Self(which, reporter) = &*self;
            if which.families {
                frames::<A>().for_each(|family| reporter.plan_family(&family));
            }
        }
    }
    visit(&mut Planned(which, reporter));
}

fn objects<A: ObjectAllocator>() -> impl Iterator<Item = Family> {
    plan::line_up::objects(name(A::NAME, A::SUFFIX), traits(A::SUFFIX, A::IN_ARENA))
}

fn frames<A: FrameAllocator>() -> impl Iterator<Item = Family> {
    plan::line_up::frames(name(A::NAME, A::SUFFIX), traits(A::SUFFIX, A::IN_ARENA))
}

const fn traits(suffix: &str, in_arena: bool) -> Traits {
    Traits {
        is_locked: !suffix.is_empty(),
        in_arena,
    }
}

/// What the rows of an allocator call it: its name and its discipline.
pub(super) fn name(name: &str, suffix: &str) -> Name {
    Name::new(format_args!("{name}{suffix}"))
}

/// The front that the names of all rows of the allocator `name` share.
fn whole(name: &Name) -> Name {
    Name::new(format_args!("peer/{}", &**name))
}

/// Measures those rows of the line-up that are wanted.
pub fn run(which: Which, rows: Rows<'_>, scratch: &mut Scratch, table: &mut [Slot]) {
    visit(&mut LineUp {
        which,
        rows,
        scratch,
        table,
    });
}

struct LineUp<'a> {
    which: Which,
    rows: Rows<'a>,
    scratch: &'a mut Scratch,
    table: &'a mut [Slot],
}

impl Visitor for LineUp<'_> {
    fn objects<A: ObjectAllocator>(&mut self) {
        let name = name(A::NAME, A::SUFFIX);
        if self.which.families
            && self.wants(objects::<A>())
            && let Err(why) = self.measure_objects::<A>()
        {
            self.leave_out(&whole(&name), &why);
        }
        if self.which.replays(A::SUFFIX) {
            for trace in traces::wanted(&name, self.rows.reporter) {
                match self.replay::<A>(&trace) {
                    Ok(()) => {}
                    Err(why @ Unfit::Flaw(_)) => self.leave_out(&whole(&name), &why),
                    Err(why) => self.leave_out(&trace.family, &why),
                }
            }
        }
    }

    fn frames<A: FrameAllocator>(&mut self) {
        let name = name(A::NAME, A::SUFFIX);
        if self.which.families
            && self.wants(frames::<A>())
            && let Err(why) = self.measure_frames::<A>()
        {
            let pages = Name::new(format_args!("{}/pages", &*whole(&name)));
            self.leave_out(&pages, &why);
        }
    }
}

/// Why an allocator is not timed.
pub(super) enum Unfit {
    Flaw(check::Flaw),
    NoMemory(VmallocError),
    Replay(ReplayError),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flaw(flaw) => write!(f, "failed its check: {flaw}"),
            Self::NoMemory(error) => write!(f, "no memory for its arena: {error}"),
            Self::Replay(error) => error.fmt(f),
        }
    }
}

impl From<check::Flaw> for Unfit {
    fn from(flaw: check::Flaw) -> Self {
        Self::Flaw(flaw)
    }
}

impl From<ReplayError> for Unfit {
    fn from(error: ReplayError) -> Self {
        Self::Replay(error)
    }
}

impl From<VmallocError> for Unfit {
    fn from(error: VmallocError) -> Self {
        Self::NoMemory(error)
    }
}

impl LineUp<'_> {
    fn wants(&self, mut families: impl Iterator<Item = Family>) -> bool {
        families.any(|family| self.rows.reporter.wants_family(&family))
    }

    fn replay<A: ObjectAllocator>(&mut self, trace: &Wanted) -> Result<(), Unfit> {
        let bytes = trace.arena_bytes().max(ARENA_BYTES);
        let arena = Arena::new(
            if A::IN_ARENA { bytes } else { ARENA_BYTES },
            ARENA_BYTES,
            0,
        )?;
        self.check_objects::<A>(arena.bytes())?;
        let mut fresh = fresh::<A>(arena.bytes())?;
        traces::replay(trace, fresh.allocator(), self.rows, self.scratch)
    }

    fn leave_out(&self, what: &str, why: &Unfit) {
        self.rows.reporter.excluded(what, format_args!("{why}"));
    }

    /// Checks an allocator of objects on an arena of at least [`ARENA_BYTES`].
    fn check_objects<A: ObjectAllocator>(&mut self, arena: NonNull<[u8]>) -> Result<(), Unfit> {
        let arena = NonNull::slice_from_raw_parts(arena.cast(), ARENA_BYTES);
        let mut claims = Table::new(CLAIM_WORDS, 0)?;
        let slots = &mut self.scratch.mixed;
        let mut fresh = fresh::<A>(arena)?;
        Ok(check::objects(
            fresh.allocator(),
            arena,
            slots,
            &mut claims,
        )?)
    }

    fn measure_objects<A: ObjectAllocator>(&mut self) -> Result<(), Unfit> {
        let arena = Arena::new(ARENA_BYTES, ARENA_BYTES, 0)?;
        self.check_objects::<A>(arena.bytes())?;
        for family in objects::<A>() {
            if !self.begin(&family) {
                continue;
            }
            let result = if !A::IN_ARENA && matches!(family.work, Work::Used | Work::Metadata) {
                self.rows.kernel(&family, self.scratch, self.table)
            } else {
                let mut fresh = fresh::<A>(part(arena.bytes(), family.work))?;
                let kept_bytes = fresh.kept_bytes();
                let ops = calls::objects(fresh.allocator(), kept_bytes);
                self.rows.on(&family, ops, self.scratch, self.table)
            };
            self.end(&family, result);
        }
        Ok(())
    }

    fn measure_frames<A: FrameAllocator>(&mut self) -> Result<(), Unfit> {
        let bytes = if A::IN_ARENA { FRAMES_BYTES } else { 1 };
        let arena = Arena::new(bytes, bytes, A::FRONT_BYTES)?;
        let fresh = || {
            // SAFETY: as for objects.
            Fresh::<A>::new(A::EMPTY, |empty| unsafe { empty.add(arena.bytes()) })
        };
        let mut claims = Table::new(CLAIM_WORDS, 0)?;
        let slots = &mut self.scratch.mixed;
        check::frames(fresh()?.allocator(), arena.bytes(), slots, &mut claims)?;
        drop(claims);
        for family in frames::<A>() {
            if !self.begin(&family) {
                continue;
            }
            let result = if A::IN_ARENA {
                let mut fresh = fresh()?;
                let kept_bytes = fresh.kept_bytes() + A::FRONT_BYTES as u64;
                let ops = calls::frames(fresh.allocator(), kept_bytes);
                self.rows.on(&family, ops, self.scratch, self.table)
            } else {
                self.rows.kernel(&family, self.scratch, self.table)
            };
            self.end(&family, result);
        }
        Ok(())
    }

    /// Whether `family` is wanted; tells that it begins.
    fn begin(&mut self, family: &Family) -> bool {
        let wanted = self.rows.reporter.wants_family(family);
        if wanted {
            let name = &*family.name;
            self.rows.reporter.send(&Record::Begin { name });
            self.scratch.begin(name);
        }
        wanted
    }

    fn end(&self, family: &Family, result: Result<(), WorkError>) {
        let (reporter, name) = (self.rows.reporter, &*family.name);
        match result {
            Ok(()) => reporter.family(name, family.work.operations(), &self.scratch.samples),
            Err(error) => reporter.excluded(name, format_args!("{error}")),
        }
    }
}

/// A fresh allocator on `arena`.
fn fresh<A: ObjectAllocator>(arena: NonNull<[u8]>) -> Result<Fresh<A>, VmallocError> {
    // SAFETY: the arena is the line-up's, whose allocators live one after the other; and they stay where
    // they are.
    Fresh::new(A::EMPTY, |empty: &mut A| unsafe { empty.add(arena) })
}

/// What an allocator gets of `arena` for `work`: less where memory is to be full soon.
fn part(arena: NonNull<[u8]>, work: Work) -> NonNull<[u8]> {
    match work {
        Work::Pathology(each) if each.fills_memory() => {
            NonNull::slice_from_raw_parts(arena.cast(), pathology::ARENA_BYTES)
        }
        _ => arena,
    }
}
