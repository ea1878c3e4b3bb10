//! Tests of an address space over tables and frames in host memory.

use super::*;
use crate::vm::{
    descriptor::Attributes,
    table::tests::{Frames, HostTables, Log, Recorder},
};
use std::{cell::RefCell, collections::BTreeMap, rc::Rc, vec::Vec};

/// What is out, seen from outside of the space.
#[derive(Default)]
struct Ledger {
    out: usize,
    contents: BTreeMap<u32, (Vec<u8>, bool)>,
    /// Frames that may be moved, and where they are mapped.
    owned: BTreeMap<u32, VirtAddr>,
}

struct HostFrames {
    frames: Frames,
    ledger: Rc<RefCell<Ledger>>,
}

impl FrameSource for HostFrames {
    fn allocate(&mut self) -> Option<Pfn> {
        let frame = self.frames.allocate();
        self.ledger.borrow_mut().out = self.frames.out.len();
        frame
    }
    fn free(&mut self, frame: Pfn) {
        self.frames.free(frame);
        self.ledger.borrow_mut().out = self.frames.out.len();
    }
}

impl UserFrames for HostFrames {
    fn own(&mut self, frame: Pfn, page: VirtAddr) {
        let former = self.ledger.borrow_mut().owned.insert(frame.get(), page);
        assert_eq!(former, None);
    }
    fn disown(&mut self, frame: Pfn, page: VirtAddr) {
        let owned = self.ledger.borrow_mut().owned.remove(&frame.get());
        assert_eq!(owned, Some(page), "frame {frame:#x}");
    }
    fn fill(&mut self, frame: Pfn, contents: &[u8], code: bool) {
        let filled = (contents.to_vec(), code);
        self.ledger
            .borrow_mut()
            .contents
            .insert(frame.get(), filled);
    }
}

type Space = AddressSpace<HostTables, Recorder, HostFrames>;

const TEXT: u64 = 0x40_0000;
const HEAP: u64 = 0x60_0000;

fn at(start: u64, bytes: u64) -> Range<VirtAddr> {
    VirtAddr::new(start)..VirtAddr::new(start + bytes)
}

fn space(limit: usize) -> (Space, Rc<RefCell<Ledger>>) {
    let (log, ledger) = (Log::default(), Rc::new(RefCell::default()));
    let frames = HostFrames {
        frames: Frames::new(limit),
        ledger: Rc::clone(&ledger),
    };
    let tables = HostTables::new(&log);
    let heap = VirtAddr::new(HEAP);
    (
        AddressSpace::new(tables, Recorder(log), frames, heap).unwrap(),
        ledger,
    )
}

/// Drops all pages of a range, and returns in how many steps.
fn drop_all(space: &mut Space, mut range: Range<VirtAddr>) -> u32 {
    let mut steps = 0;
    while !range.is_empty() {
        range = space.drop_some(range);
        steps += 1;
    }
    steps
}

#[test]
fn a_large_range_is_dropped_in_short_steps_that_pass_over_its_gaps() {
    let (mut space, ledger) = space(1000);
    let range = at(0x1_0000_0000, 0x100_0000_0000);
    space
        .add(range.clone(), Rights::ReadWrite, Kind::Anonymous, &[])
        .unwrap();
    // 200 pages in a row, and one far behind.
    let pages = (0..200).chain([0x80_0000]);
    for page in pages.map(|page| range.start.offset(page * PAGE_BYTES)) {
        space.handle_fault(page, Access::Write).unwrap();
    }
    assert_eq!(ledger.borrow().out, 201);
    space.remove(&range).unwrap();
    let mut left = range;
    while !left.is_empty() {
        let before = ledger.borrow().out;
        left = space.drop_some(left);
        assert!(before - ledger.borrow().out <= 64);
    }
    assert_eq!(ledger.borrow().out, 0);
    // Again, with nothing there: by the entries of the tables that are left.
    assert!(drop_all(&mut space, at(0x1_0000_0000, 0x100_0000_0000)) < 8);
}

#[test]
fn contents_are_mapped_at_once_and_the_rest_when_touched() {
    let (mut space, ledger) = space(10);
    let text = [7; 5000];
    space
        .add(at(TEXT, 0x4000), Rights::ReadExecute, Kind::Image, &text)
        .unwrap();
    assert_eq!(ledger.borrow().out, 2);
    let filled: Vec<_> = ledger.borrow().contents.values().cloned().collect();
    assert_eq!(
        filled,
        [(Vec::from([7; 4096]), true), (Vec::from([7; 904]), true)]
    );
    let page = space.walk(VirtAddr::new(TEXT)).unwrap();
    assert_eq!(page.attributes, Some(Attributes::USER_TEXT));
    let third = VirtAddr::new(TEXT + 0x2010);
    assert_eq!(space.walk(third), None);
    assert_eq!(space.handle_fault(third, Access::Read), Ok(()));
    assert!(space.walk(third).is_some());
    assert_eq!(ledger.borrow().out, 3);
    let code = ledger
        .borrow()
        .contents
        .values()
        .filter(|(_, code)| *code)
        .count();
    assert_eq!(code, 3, "also a page of zeros must reach instruction fetch");
}

#[test]
fn a_fault_is_handled_only_as_the_area_allows() {
    let (mut space, ledger) = space(10);
    space
        .add(at(TEXT, 0x1000), Rights::ReadExecute, Kind::Image, &[])
        .unwrap();
    space
        .add(
            at(HEAP + 0x1000, 0x1000),
            Rights::ReadWrite,
            Kind::Image,
            &[],
        )
        .unwrap();
    let mut fault = |address, access| space.handle_fault(VirtAddr::new(address), access);
    assert_eq!(fault(TEXT, Access::Write), Err(Cause::Permission));
    assert_eq!(
        fault(HEAP + 0x1000, Access::Execute),
        Err(Cause::Permission)
    );
    assert_eq!(fault(TEXT + 0x1000, Access::Read), Err(Cause::Translation));
    assert_eq!(fault(0, Access::Read), Err(Cause::Translation));
    assert_eq!(
        fault(0xffff_0000_0000_0000, Access::Read),
        Err(Cause::Translation)
    );
    assert_eq!(ledger.borrow().out, 0);
    assert_eq!(fault(HEAP + 0x1fff, Access::Write), Ok(()));
    // Again: it was being moved when the program touched it.
    assert_eq!(fault(HEAP + 0x1fff, Access::Write), Ok(()));
    assert_eq!(ledger.borrow().out, 1);
}

#[test]
fn the_heap_gives_its_pages_back_when_it_shrinks() {
    let (mut space, ledger) = space(10);
    let end = VirtAddr::new(HEAP + 0x3000);
    let grown = space.set_break(end);
    assert_eq!((grown.0, grown.1.is_empty()), (end, true));
    for page in 0..3 {
        space
            .handle_fault(VirtAddr::new(HEAP + page * 0x1000), Access::Write)
            .unwrap();
    }
    assert_eq!(ledger.borrow().out, 3);
    let (_, gone) = space.set_break(VirtAddr::new(HEAP + 1));
    assert_eq!(drop_all(&mut space, gone), 1);
    assert_eq!(ledger.borrow().out, 1);
    assert_eq!(space.walk(VirtAddr::new(HEAP + 0x1000)), None);
    let unmoved = space.set_break(VirtAddr::new(0));
    assert_eq!(
        (unmoved.0, unmoved.1.is_empty()),
        (VirtAddr::new(HEAP + 1), true)
    );
}

#[test]
fn anonymous_areas_lie_below_the_stack_and_can_be_taken_away() {
    let (mut space, ledger) = space(10);
    let stack = at(0x7000_0000, 0x1_0000);
    space
        .add(stack.clone(), Rights::ReadWrite, Kind::Stack, &[])
        .unwrap();
    let start = space.map_anonymous(0x2000, Rights::ReadWrite).unwrap();
    assert_eq!(start, VirtAddr::new(0x7000_0000 - 0x3000));
    space.handle_fault(start, Access::Write).unwrap();
    let range = start..start.offset(0x2000);
    space.remove(&range).unwrap();
    drop_all(&mut space, range);
    assert_eq!(ledger.borrow().out, 0);
    assert_eq!(
        space.handle_fault(start, Access::Read),
        Err(Cause::Translation)
    );
}

#[test]
fn running_out_of_frames_leaves_no_page_behind() {
    for limit in 0..3 {
        let (mut space, ledger) = space(limit);
        let added = space.add(at(TEXT, 0x3000), Rights::Read, Kind::Image, &[1; 0x3000]);
        assert!(
            matches!(added, Err(SpaceError::Map(MapError::NoFrame(_)))),
            "{added:?}"
        );
        assert_eq!(ledger.borrow().out, 0);
        assert_eq!(space.areas().iter().count(), 0);
    }
    let (mut space, _ledger) = space(0);
    space.set_break(VirtAddr::new(HEAP + 1));
    let fault = space.handle_fault(VirtAddr::new(HEAP), Access::Write);
    assert_eq!(fault, Err(Cause::OutOfMemory));
}

#[test]
fn a_space_that_is_dropped_gives_everything_back() {
    let (mut space, ledger) = space(10);
    space
        .add(
            at(TEXT, 0x3000),
            Rights::ReadExecute,
            Kind::Image,
            &[1; 0x3000],
        )
        .unwrap();
    space
        .add(
            at(0x7fff_ffff_0000, 0x1_0000),
            Rights::ReadWrite,
            Kind::Stack,
            &[],
        )
        .unwrap();
    space
        .handle_fault(VirtAddr::new(0x7fff_ffff_8000), Access::Write)
        .unwrap();
    assert_eq!(ledger.borrow().out, 4);
    drop(space);
    assert_eq!(ledger.borrow().out, 0);
}

#[test]
fn a_page_that_is_moved_keeps_its_place_and_code_is_made_visible_anew() {
    let (mut space, ledger) = space(10);
    space
        .add(at(TEXT, 0x1000), Rights::ReadExecute, Kind::Image, &[7])
        .unwrap();
    space.set_break(VirtAddr::new(HEAP + 1));
    space
        .handle_fault(VirtAddr::new(HEAP), Access::Write)
        .unwrap();
    for (page, is_code) in [(TEXT, true), (HEAP, false)] {
        let page = VirtAddr::new(page);
        let from = space.walk(page).unwrap().physical.frame();
        assert_eq!(ledger.borrow().owned.get(&from.get()), Some(&page));
        let to = Pfn::new(from.get() + 0x100);
        let mut copies = 0;
        let moved = space.move_page(page, from, to, &mut || copies += 1);
        assert_eq!((moved, copies), (Ok(()), 1));
        let mapping = space.walk(page).unwrap();
        assert_eq!(mapping.physical.frame(), to);
        let filled = ledger.borrow().contents.get(&to.get()).cloned();
        assert_eq!(filled, is_code.then(|| (Vec::new(), true)));
        let again = space.move_page(page, from, to, &mut || panic!("copied"));
        assert_eq!(again, Err(Immovable));
        // Back, so that the ledger, which is no frame table, is right about it.
        assert_eq!(space.move_page(page, to, from, &mut || {}), Ok(()));
    }
}
