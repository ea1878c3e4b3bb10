//! The line-up on the machine: each allocator checked, then timed, each family on a fresh one.

use super::{ARENA_BYTES, ObjectAllocator, Visitor, check, visit};
use crate::name::Name;
use crate::ops::Ops;
use crate::plan::{self, Family, Work};
use crate::report::Reporter;
use crate::rows::Rows;
use crate::scratch::Scratch;
use crate::table::Table;
use crate::workload::{Slot, fill, pathology};
use core::alloc::Layout;
use core::ptr::NonNull;
use kernel::vm::vmalloc::{self, VmallocError};
use wire::bench::Record;

/// Words of claims on the arena.
#[expect(clippy::cast_possible_truncation, reason = "131,072")]
const CLAIM_WORDS: u32 = check::words(ARENA_BYTES) as u32;

/// Sends what rows the line-up has.
pub fn plan(reporter: &Reporter) {
    struct Planned<'a>(&'a Reporter);
    impl Visitor for Planned<'_> {
        fn visit<A: ObjectAllocator>(&mut self) {
            families::<A>().for_each(|family| self.0.plan_family(&family));
        }
    }
    visit(&mut Planned(reporter));
}

fn families<A: ObjectAllocator>() -> impl Iterator<Item = Family> {
    plan::line_up(name::<A>(), A::IN_ARENA)
}

/// What the rows of an allocator call it: its name and its discipline.
fn name<A: ObjectAllocator>() -> Name {
    Name::new(format_args!("{}{}", A::NAME, A::SUFFIX))
}

/// Measures every allocator of the line-up whose rows are wanted.
///
/// # Errors
///
/// There is no memory for the arena.
pub fn run(rows: Rows<'_>, scratch: &mut Scratch, table: &mut [Slot]) -> Result<(), VmallocError> {
    // Twice as much, so that somewhere in it the arena starts a multiple of its size.
    let area = Area::new(2 * ARENA_BYTES as u64)?;
    let arena = area
        .0
        .as_ptr()
        .map_addr(|start| start.next_multiple_of(ARENA_BYTES));
    // SAFETY: the area is not null, and neither is what is further up in it.
    let arena = unsafe { NonNull::new_unchecked(arena) };
    let mut line_up = LineUp {
        rows,
        arena: NonNull::slice_from_raw_parts(arena, ARENA_BYTES),
        scratch,
        table,
        result: Ok(()),
    };
    visit(&mut line_up);
    line_up.result
}

/// A vmalloc area of our own, freed when dropped.
struct Area(NonNull<u8>);

impl Area {
    fn new(bytes: u64) -> Result<Self, VmallocError> {
        vmalloc::vmalloc(bytes).map(Self)
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: the area is ours, and what was in it is gone.
        let freed = unsafe { vmalloc::vfree(self.0) };
        debug_assert!(freed.is_ok(), "an area is kept: {freed:?}");
    }
}

struct LineUp<'a> {
    rows: Rows<'a>,
    arena: NonNull<[u8]>,
    scratch: &'a mut Scratch,
    table: &'a mut [Slot],
    result: Result<(), VmallocError>,
}

impl Visitor for LineUp<'_> {
    fn visit<A: ObjectAllocator>(&mut self) {
        let wanted = |family: &Family| self.rows.reporter.wants_family(family);
        if self.result.is_ok() && families::<A>().any(|family| wanted(&family)) {
            self.result = self.one::<A>();
        }
    }
}

impl LineUp<'_> {
    fn one<A: ObjectAllocator>(&mut self) -> Result<(), VmallocError> {
        let Self { rows, arena, .. } = *self;
        let reporter = rows.reporter;
        let mut fresh = Fresh::<A>::new(arena)?;
        let mut claims = Table::new(CLAIM_WORDS, 0)?;
        let slots = &mut self.scratch.mixed;
        if let Err(flaw) = check::check(fresh.allocator(), arena, slots, &mut claims) {
            let name = Name::new(format_args!("peer/{}", &*name::<A>()));
            reporter.excluded(&name, format_args!("failed its check: {flaw}"));
            return Ok(());
        }
        drop(fresh);
        for family in families::<A>().filter(|family| reporter.wants_family(family)) {
            let name = &*family.name;
            reporter.send(&Record::Begin { name });
            self.scratch.begin(name);
            let mut fresh = Fresh::<A>::new(part(arena, family.work))?;
            let ops = ops(fresh.allocator());
            match rows.on(&family, ops, self.scratch, self.table) {
                Ok(()) => {
                    reporter.family(name, family.work.operations(), &self.scratch.samples);
                }
                Err(error) => reporter.excluded(name, format_args!("{error}")),
            }
        }
        Ok(())
    }
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

/// An allocator in an area of its own, since some are larger than the stack.
struct Fresh<A: ObjectAllocator> {
    area: Area,
    allocator: NonNull<A>,
}

impl<A: ObjectAllocator> Fresh<A> {
    fn new(arena: NonNull<[u8]>) -> Result<Self, VmallocError> {
        let area = Area::new(size_of::<A>().max(1) as u64)?;
        let mut allocator = area.0.cast::<A>();
        // SAFETY: the area is ours, starts a page, and is large enough.
        unsafe { allocator.write(A::EMPTY) };
        // SAFETY: it was written in the line above, and nothing else refers to it.
        let empty = unsafe { allocator.as_mut() };
        // SAFETY: the arena is the line-up's, whose allocators live one after the other; and this one
        // stays where it is.
        unsafe { empty.add(arena) };
        Ok(Self { area, allocator })
    }

    fn allocator(&mut self) -> &mut A {
        // SAFETY: `new` wrote it, it is ours, and it is borrowed as we are.
        unsafe { self.allocator.as_mut() }
    }
}

impl<A: ObjectAllocator> Drop for Fresh<A> {
    fn drop(&mut self) {
        // SAFETY: `new` wrote it, and it is not used after this; its area is freed behind it.
        unsafe { self.allocator.drop_in_place() };
        let _ = &self.area;
    }
}

/// The operations of `allocator`.
fn ops<A: ObjectAllocator>(allocator: &mut A) -> Ops<'_> {
    let count = if A::SEARCHES {
        fill::FRAGMENT_LIST
    } else {
        fill::FRAGMENT
    };
    Ops::of(allocator, alloc::<A>, free::<A>, count)
}

unsafe extern "C" fn alloc<A: ObjectAllocator>(
    bytes: u64,
    context: u64,
    align_bytes: u64,
    _: u64,
) -> u64 {
    // SAFETY: the meter's caller passes a size and an alignment that make a layout.
    let layout = unsafe { layout(bytes, align_bytes) };
    // SAFETY: the context of these operations is an `A`, borrowed for as long as they live.
    let object = unsafe { allocator_at::<A>(context) }.alloc(layout);
    object.map_or(0, |object| object.as_ptr().expose_provenance() as u64)
}

unsafe extern "C" fn free<A: ObjectAllocator>(
    object: u64,
    bytes: u64,
    context: u64,
    align_bytes: u64,
) {
    // SAFETY: the meter's caller passes a size and an alignment that make a layout.
    let layout = unsafe { layout(bytes, align_bytes) };
    #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits here")]
    let object = core::ptr::with_exposed_provenance_mut(object as usize);
    // SAFETY: it passes an object that the allocator returned, which was not null.
    let object = unsafe { NonNull::new_unchecked(object) };
    // SAFETY: as in `alloc`.
    let allocator = unsafe { allocator_at::<A>(context) };
    // SAFETY: the object is live and was allocated for this layout.
    unsafe { allocator.dealloc(object, layout) };
}

/// # Safety
///
/// They make a layout.
#[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits here")]
unsafe fn layout(bytes: u64, align_bytes: u64) -> Layout {
    // SAFETY: the caller's promise.
    unsafe { Layout::from_size_align_unchecked(bytes as usize, align_bytes as usize) }
}

/// # Safety
///
/// `context` is the address of an `A` that is borrowed mutably for `'c`.
unsafe fn allocator_at<'c, A>(context: u64) -> &'c mut A {
    #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits here")]
    let allocator = core::ptr::with_exposed_provenance_mut::<A>(context as usize);
    // SAFETY: the caller's promise.
    unsafe { &mut *allocator }
}
