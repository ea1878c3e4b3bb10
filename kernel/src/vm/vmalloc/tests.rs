//! vmalloc over a model of the tables and the TLBs.

use super::*;
use crate::mm::addr::Pfn;
use bolero::{
    check,
    generator::{TypeGenerator, produce},
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

const PAGE: u64 = 4096;
/// Areas of more pages than this have as many blocks as pages, others one.
const SINGLE_PAGES: u64 = 8;

/// What the machine knows of each page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Mapped,
    /// Unmapped, and perhaps in a TLB.
    Stale,
    Flushed,
}

#[derive(Default)]
struct Model {
    pages: BTreeMap<u64, Page>,
    flushes: u32,
    /// Pages whose frames may be moved.
    owned: BTreeSet<u64>,
    /// Areas of one block, by its number.
    blocks: Vec<Range<VirtAddr>>,
}

/// Pages that are filled, at most `limit` of them.
struct Pages {
    model: RefCell<Model>,
    limit: usize,
}

fn pages_of(range: &Range<VirtAddr>) -> impl Iterator<Item = u64> + use<> {
    (range.start.get()..range.end.get()).step_by(4096)
}

impl Backing for Pages {
    fn fill(&self, range: Range<VirtAddr>) -> Result<(), MapError> {
        let pages = &mut self.model.borrow_mut().pages;
        if pages.len() + pages_of(&range).count() > self.limit {
            return Err(MapError::NoFrame(range.start));
        }
        for page in pages_of(&range) {
            assert_eq!(
                pages.insert(page, Page::Mapped),
                None,
                "{page:#x} is used before its flush"
            );
        }
        Ok(())
    }
    fn fill_movable(&self, range: Range<VirtAddr>) -> Result<(), MapError> {
        self.fill(range.clone())?;
        self.model.borrow_mut().owned.extend(pages_of(&range));
        Ok(())
    }
    fn disown(&self, range: Range<VirtAddr>) {
        for page in pages_of(&range) {
            assert!(self.model.borrow_mut().owned.remove(&page), "{page:#x}");
        }
    }
    fn detach(&self, range: Range<VirtAddr>) -> Held {
        for page in pages_of(&range) {
            assert!(!self.model.borrow().owned.contains(&page), "{page:#x}");
            let former = self.model.borrow_mut().pages.insert(page, Page::Stale);
            assert_eq!(former, Some(Page::Mapped));
        }
        let pages = pages_of(&range).count() as u64;
        if pages <= SINGLE_PAGES {
            let mut model = self.model.borrow_mut();
            let block = Pfn::new(u32::try_from(model.blocks.len()).unwrap());
            model.blocks.push(range);
            Held::Block(block)
        } else {
            Held::Blocks(u32::try_from(pages).unwrap())
        }
    }
    fn map(&self, range: Range<VirtAddr>, _: &[Pfn], _: Attributes) -> Result<(), MapError> {
        self.fill(range)
    }
    fn clear(&self, range: Range<VirtAddr>) {
        for page in pages_of(&range) {
            // Nothing of it is this model's to give back.
            self.model.borrow_mut().pages.remove(&page);
        }
    }
    fn flush(&self) {
        let mut model = self.model.borrow_mut();
        model.flushes += 1;
        for page in model
            .pages
            .values_mut()
            .filter(|page| **page == Page::Stale)
        {
            *page = Page::Flushed;
        }
    }
    fn release(&self, range: Range<VirtAddr>, held: Held) {
        match held {
            Held::Block(block) => self.free(block),
            Held::Blocks(_) => self.release_pages(&range),
        }
    }
    fn free(&self, block: Pfn) {
        let range = self.model.borrow().blocks[block.get() as usize].clone();
        self.release_pages(&range);
    }
}

impl Pages {
    fn release_pages(&self, range: &Range<VirtAddr>) {
        for page in pages_of(range) {
            let former = self.model.borrow_mut().pages.remove(&page);
            assert_eq!(former, Some(Page::Flushed), "{page:#x} is given back");
        }
    }
}

fn vmalloc(limit: usize) -> Vmalloc<Pages> {
    let start = VirtAddr::new(0xffff_8000_0000_0000);
    let model = RefCell::default();
    // The eighth that is for small areas has room for all that a test makes.
    Vmalloc::new(start..start.offset(1 << 28), Pages { model, limit })
}

impl Vmalloc<Pages> {
    fn held_pages(&self) -> usize {
        self.backing.model.borrow().pages.len()
    }
    fn flushes(&self) -> u32 {
        self.backing.model.borrow().flushes
    }
}

#[test]
fn areas_are_filled_when_made_and_emptied_when_purged() {
    let vmalloc = vmalloc(10);
    let first = vmalloc.allocate(4097).unwrap();
    let second = vmalloc.allocate(1).unwrap();
    assert_eq!(
        second.get() - first.get(),
        3 * PAGE,
        "two pages and a guard"
    );
    assert_eq!(vmalloc.held_pages(), 3);
    vmalloc.free(first).unwrap();
    vmalloc.free(second).unwrap();
    assert_eq!((vmalloc.held_pages(), vmalloc.flushes()), (3, 0));
    assert_eq!(vmalloc.purge(), Purged { areas: 2, pages: 3 });
    assert_eq!((vmalloc.held_pages(), vmalloc.flushes()), (0, 1));
    assert_eq!(vmalloc.next(VirtAddr::new(0)), None);
    assert_eq!(vmalloc.purge(), Purged::default());
    assert_eq!(vmalloc.flushes(), 1);
}

#[test]
fn one_flush_serves_32_areas() {
    let vmalloc = vmalloc(1000);
    for _ in 0..320 {
        let area = vmalloc.allocate(PAGE).unwrap();
        vmalloc.free(area).unwrap();
    }
    assert_eq!(vmalloc.flushes(), 10);
    assert!(vmalloc.held_pages() <= 64);
}

#[test]
fn one_flush_serves_two_mebibytes() {
    let vmalloc = vmalloc(10_000);
    for _ in 0..300 {
        let area = vmalloc.allocate(SINGLE_PAGES * PAGE * 2).unwrap();
        vmalloc.free(area).unwrap();
    }
    assert_eq!(vmalloc.flushes(), 300 * 16 / 512);
    assert!(vmalloc.held_pages() <= 2 * 512);
}

#[test]
fn an_area_of_many_blocks_is_flushed_alone() {
    let vmalloc = vmalloc(1000);
    let small = vmalloc.allocate(PAGE).unwrap();
    let large = vmalloc.allocate(100 * PAGE).unwrap();
    vmalloc.free(small).unwrap();
    vmalloc.free(large).unwrap();
    assert_eq!((vmalloc.held_pages(), vmalloc.flushes()), (1, 1));
}

#[test]
fn an_area_that_cannot_be_filled_is_forgotten() {
    let vmalloc = vmalloc(2);
    let first = vmalloc.allocate(4096).unwrap();
    let error = vmalloc.allocate(8192).unwrap_err();
    let at = first.offset(2 * PAGE);
    let error_at = MapError::NoFrame(at);
    assert_eq!(
        error,
        VmallocError::Map {
            bytes: 8192,
            error: error_at
        }
    );
    assert_eq!(vmalloc.next(at), None);
}

#[test]
fn what_waits_for_a_flush_is_given_back_before_memory_runs_out() {
    let vmalloc = vmalloc(4);
    for _ in 0..10 {
        let area = vmalloc.allocate(3 * PAGE).unwrap();
        vmalloc.free(area).unwrap();
    }
    assert!(vmalloc.allocate(5 * PAGE).is_err());
    assert!(vmalloc.allocate(4 * PAGE).is_ok());
}

#[test]
fn a_wrong_or_second_free_is_named() {
    let vmalloc = vmalloc(2);
    let start = vmalloc.allocate(8192).unwrap();
    let inside = start.offset(4096);
    assert_eq!(vmalloc.free(inside), Err(VfreeError::NotAnArea(inside)));
    assert_eq!(vmalloc.free(start), Ok(()));
    assert_eq!(vmalloc.free(start), Err(VfreeError::BeingFreed(start)));
    vmalloc.purge();
    assert_eq!(vmalloc.free(start), Err(VfreeError::NotAnArea(start)));
}

#[test]
fn frames_of_others_are_mapped_and_unmapped_with_a_flush_of_their_own() {
    let vmalloc = vmalloc(4);
    let frames = [Pfn::new(7), Pfn::new(3)];
    let start = vmalloc.map(&frames, Attributes::KERNEL_DATA).unwrap();
    assert_eq!(vmalloc.free(start), Err(VfreeError::NotAnArea(start)));
    assert_eq!(vmalloc.unmap(start), Ok(()));
    assert_eq!((vmalloc.held_pages(), vmalloc.flushes()), (0, 1));
    assert_eq!(vmalloc.unmap(start), Err(VfreeError::NotAnArea(start)));
    let own = vmalloc.allocate(PAGE).unwrap();
    assert_eq!(vmalloc.unmap(own), Err(VfreeError::NotAnArea(own)));
    let none = VmallocError::Area(AreaError::Empty);
    assert_eq!(vmalloc.map(&[], Attributes::KERNEL_DATA), Err(none));
}

#[test]
fn a_guard_page_belongs_to_the_area_before_it() {
    let vmalloc = vmalloc(1);
    let start = vmalloc.allocate(4096).unwrap();
    assert_eq!(vmalloc.try_find(start.offset(4096)).unwrap().start, start);
    assert_eq!(vmalloc.try_find(start.offset(8192)), None);
}

#[derive(Clone, Debug, TypeGenerator)]
enum Op {
    Allocate(#[generator(1..40_u64)] u64),
    Free(u16),
}

/// The model panics when a page is used or given back before its flush.
#[test]
fn nothing_is_used_again_before_it_is_flushed_and_all_comes_back() {
    let ops = produce::<Vec<Op>>().with().len(1..300_usize);
    let test = |ops: &Vec<Op>| {
        let vmalloc = vmalloc(2000);
        let (mut live, mut live_pages) = (Vec::new(), 0);
        for op in ops {
            match *op {
                Op::Allocate(pages) => match vmalloc.allocate(pages * PAGE) {
                    Ok(area) => {
                        live.push((area, pages));
                        live_pages += pages;
                    }
                    Err(error) => assert!(
                        live_pages + pages > 2000,
                        "{live_pages} and {pages}: {error}"
                    ),
                },
                Op::Free(_) if live.is_empty() => {}
                Op::Free(which) => {
                    let (area, pages) = live.swap_remove(usize::from(which) % live.len());
                    live_pages -= pages;
                    vmalloc.free(area).unwrap();
                }
            }
        }
        for (area, _) in live {
            vmalloc.free(area).unwrap();
        }
        vmalloc.purge();
        assert_eq!(vmalloc.held_pages(), 0);
        assert_eq!(vmalloc.next(VirtAddr::new(0)), None);
    };
    check!()
        .with_iterations(256)
        .with_generator(ops)
        .for_each(test);
}

#[test]
fn the_frames_of_a_movable_area_stay_from_before_they_are_unmapped() {
    let vmalloc = vmalloc(20);
    let movable = vmalloc.allocate_movable(3 * PAGE).unwrap();
    let other = vmalloc.allocate(PAGE).unwrap();
    assert_eq!(vmalloc.backing.model.borrow().owned.len(), 3);
    let wrong = [vmalloc.free(movable), vmalloc.free_movable(other)];
    assert_eq!(
        wrong,
        [movable, other].map(|start| Err(VfreeError::NotAnArea(start)))
    );
    vmalloc.free_movable(movable).unwrap();
    vmalloc.free(other).unwrap();
    vmalloc.purge();
    assert_eq!((vmalloc.held_pages(), vmalloc.find(movable)), (0, None));
}
