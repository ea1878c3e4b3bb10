//! Tests of the table tree in host memory, with a recorder for the hardware.

use super::*;
use crate::vm::descriptor::{Access, ENTRIES};
use std::{boxed::Box, cell::RefCell, collections::BTreeMap, rc::Rc, vec, vec::Vec};

/// What the tree asked of the machine, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Write(u64),
    Publish,
    Synchronize,
    Invalidate(u64),
    InvalidateAll,
    Wait,
    Free,
}

pub(crate) type Log = Rc<RefCell<Vec<Step>>>;

/// Tables in host memory: numbered frames of their own, at most `limit` of them.
pub(crate) struct HostTables {
    tables: BTreeMap<PhysAddr, Box<[Descriptor; ENTRIES]>>,
    next: u64,
    pub(crate) limit: usize,
    log: Log,
}

impl HostTables {
    pub(crate) const ROOT: PhysAddr = PhysAddr::new(0x1000);

    pub(crate) fn new(log: &Log) -> Self {
        let mut tables = Self {
            tables: BTreeMap::new(),
            next: Self::ROOT.get(),
            limit: usize::MAX,
            log: log.clone(),
        };
        tables.allocate().unwrap();
        tables
    }
    /// Tables that exist, the root among them.
    pub(crate) fn len(&self) -> usize {
        self.tables.len()
    }
}

impl TableMemory for HostTables {
    fn read(&self, table: PhysAddr, index: usize) -> Descriptor {
        self.tables[&table][index]
    }
    fn write(&mut self, table: PhysAddr, index: usize, descriptor: Descriptor) {
        self.log.borrow_mut().push(Step::Write(descriptor.bits()));
        let entry = &mut self.tables.get_mut(&table).unwrap()[index];
        let old = core::mem::replace(entry, descriptor);
        let same_place = (old.bits() ^ descriptor.bits()) & 0x0000_ffff_ffff_f01f == 0;
        assert!(
            !(old.is_valid() && descriptor.is_valid()) || same_place,
            "{old:?} became {descriptor:?} while it was live"
        );
    }
    fn allocate(&mut self) -> Option<PhysAddr> {
        if self.tables.len() >= self.limit {
            return None;
        }
        let table = PhysAddr::new(self.next);
        self.next += PAGE_BYTES;
        self.tables
            .insert(table, Box::new([Descriptor::EMPTY; ENTRIES]));
        Some(table)
    }
    fn free(&mut self, table: PhysAddr) {
        self.log.borrow_mut().push(Step::Free);
        assert!(
            self.tables.remove(&table).is_some(),
            "{table:?} is no table"
        );
    }
}

/// Records what is asked of the hardware.
pub(crate) struct Recorder(pub(crate) Log);

impl Recorder {
    fn push(&self, step: Step) {
        self.0.borrow_mut().push(step);
    }
}

impl Mmu for Recorder {
    fn publish(&mut self) {
        self.push(Step::Publish);
    }
    fn synchronize(&mut self) {
        self.push(Step::Synchronize);
    }
    fn invalidate(&mut self, page: VirtAddr) {
        self.push(Step::Invalidate(page.get()));
    }
    fn invalidate_all(&mut self) {
        self.push(Step::InvalidateAll);
    }
    fn wait(&mut self) {
        self.push(Step::Wait);
    }
}

/// Frames numbered upwards from 1, at most `limit` of them out at once.
pub(crate) struct Frames {
    pub(crate) out: Vec<Pfn>,
    next: u32,
    pub(crate) limit: usize,
}

impl Frames {
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            out: Vec::new(),
            next: 1,
            limit,
        }
    }
}

impl FrameSource for Frames {
    fn allocate(&mut self) -> Option<Pfn> {
        if self.out.len() >= self.limit {
            return None;
        }
        let frame = Pfn::new(self.next);
        self.next += 1;
        self.out.push(frame);
        Some(frame)
    }
    fn free(&mut self, frame: Pfn) {
        let at = self.out.iter().position(|&out| out == frame);
        self.out.swap_remove(at.expect("a frame that is out"));
    }
}

pub(crate) type HostTable = PageTable<HostTables, Recorder>;

pub(super) const BASE: u64 = 0xffff_8000_0000_0000;
pub(super) const KIB4: u64 = 1 << 12;
const MIB2: u64 = 1 << 21;
pub(super) const GIB: u64 = 1 << 30;

pub(super) fn table() -> (HostTable, Log) {
    let log = Log::default();
    let region = VirtAddr::new(0xffff_0000_0000_0000)..VirtAddr::new(0xffff_ffff_ffff_f000);
    let memory = HostTables::new(&log);
    (
        PageTable::new(HostTables::ROOT, region, memory, Recorder(log.clone())),
        log,
    )
}

pub(super) fn at(offset: u64, bytes: u64) -> Range<VirtAddr> {
    VirtAddr::new(BASE + offset)..VirtAddr::new(BASE + offset + bytes)
}

fn page_bits(physical: u64, attributes: Attributes) -> u64 {
    Descriptor::leaf(PhysAddr::new(physical), attributes, Level::PAGE).bits()
}

const DATA: Attributes = Attributes::KERNEL_DATA;

#[test]
fn a_table_is_published_before_it_is_linked() {
    let (mut table, log) = table();
    table
        .map(at(0, KIB4), PhysAddr::new(0x8000), DATA, Level::PAGE)
        .unwrap();
    let steps = log.take();
    let published = steps
        .iter()
        .position(|&step| step == Step::Publish)
        .unwrap();
    // The leaf and the two tables above it, then the link in the root, then the end of `map`.
    assert_eq!(published, 3);
    assert_eq!(steps[0], Step::Write(page_bits(0x8000, DATA)));
    assert!(matches!(steps[4], Step::Write(_)));
    assert_eq!(steps[5..], [Step::Publish, Step::Synchronize]);
}

#[test]
fn memory_is_given_back_only_after_the_tlbs_forgot_it() {
    let (mut table, log) = table();
    table
        .map(at(0, KIB4), PhysAddr::new(0x8000), DATA, Level::PAGE)
        .unwrap();
    log.take();
    let mut freed = Vec::new();
    let on_free = log.clone();
    table
        .unmap(at(0, KIB4), Tables::Keep, &mut |leaf| {
            on_free.borrow_mut().push(Step::Free);
            freed.push(leaf.physical);
        })
        .unwrap();
    assert_eq!(freed, [PhysAddr::new(0x8000)]);
    assert_eq!(
        log.take(),
        vec![
            Step::Write(page_bits(0x8000, DATA) & !1),
            Step::Publish,
            Step::Invalidate(BASE),
            Step::Wait,
            Step::Free,
            Step::Write(0),
        ]
    );
}

#[test]
fn emptied_tables_are_freed_after_one_flush_of_everything() {
    let (mut table, log) = table();
    table
        .map(at(0, 3 * KIB4), PhysAddr::new(0x8000), DATA, Level::PAGE)
        .unwrap();
    assert_eq!(table.memory_mut().len(), 4);
    log.take();
    table
        .unmap(at(0, 3 * KIB4), Tables::Free, &mut |_| {})
        .unwrap();
    assert_eq!(table.memory_mut().len(), 1);
    let steps = log.take();
    let flush = [Step::Publish, Step::InvalidateAll, Step::Wait];
    let flushed = steps.windows(3).position(|window| window == flush).unwrap();
    let first_free = steps.iter().position(|&step| step == Step::Free).unwrap();
    assert!(flushed < first_free);
    assert_eq!(steps.iter().filter(|&&step| step == Step::Wait).count(), 1);
    assert_eq!(steps.iter().filter(|&&step| step == Step::Free).count(), 3);
}

#[test]
fn a_live_entry_is_broken_before_its_memory_type_changes() {
    let (mut table, log) = table();
    table
        .map(at(0, KIB4), PhysAddr::new(0x8000), DATA, Level::PAGE)
        .unwrap();
    log.take();
    table
        .protect(at(0, KIB4), Attributes::NON_CACHEABLE)
        .unwrap();
    assert_eq!(
        log.take(),
        vec![
            Step::Write(page_bits(0x8000, DATA) & !1),
            Step::Publish,
            Step::Invalidate(BASE),
            Step::Wait,
            Step::Write(page_bits(0x8000, Attributes::NON_CACHEABLE)),
            Step::Publish,
            Step::Synchronize,
        ]
    );
}

#[test]
fn permissions_change_in_place_and_are_flushed() {
    let (mut table, log) = table();
    table
        .map(at(0, KIB4), PhysAddr::new(0x8000), DATA, Level::PAGE)
        .unwrap();
    log.take();
    table.protect(at(0, KIB4), Attributes::KERNEL_TEXT).unwrap();
    assert_eq!(
        log.take(),
        vec![
            Step::Write(page_bits(0x8000, Attributes::KERNEL_TEXT)),
            Step::Publish,
            Step::Invalidate(BASE),
            Step::Wait,
        ]
    );
}

#[test]
fn long_ranges_are_flushed_at_once() {
    let (mut table, log) = table();
    table
        .map(at(0, 65 * KIB4), PhysAddr::new(0), DATA, Level::PAGE)
        .unwrap();
    log.take();
    table
        .unmap(at(0, 65 * KIB4), Tables::Keep, &mut |_| {})
        .unwrap();
    let steps = log.take();
    assert!(steps.contains(&Step::InvalidateAll));
    assert!(!steps.iter().any(|step| matches!(step, Step::Invalidate(_))));
}

#[test]
fn the_largest_block_that_fits_is_used() {
    let (mut table, _log) = table();
    // 2 MiB below a GiB, one GiB, then 2 MiB and a page.
    let start = GIB - MIB2;
    let range = at(start, MIB2 + GIB + MIB2 + KIB4);
    table
        .map(
            range.clone(),
            PhysAddr::new(5 * GIB - MIB2),
            DATA,
            Level::GIB,
        )
        .unwrap();
    let mut found = Vec::new();
    table.visit(range.clone(), &mut |leaf| {
        found.push((leaf.address.get() - BASE, leaf.physical.get(), leaf.level));
    });
    assert_eq!(
        found,
        [
            (GIB - MIB2, 5 * GIB - MIB2, Level::MIB2),
            (GIB, 5 * GIB, Level::GIB),
            (2 * GIB, 6 * GIB, Level::MIB2),
            (2 * GIB + MIB2, 6 * GIB + MIB2, Level::PAGE),
        ]
    );
    let inside = table.walk(VirtAddr::new(BASE + GIB + 0x12_3456)).unwrap();
    assert_eq!(inside.physical, PhysAddr::new(5 * GIB + 0x12_3456));
    assert_eq!(inside.attributes, Some(DATA));
}

#[test]
fn an_unaligned_physical_address_gets_smaller_entries() {
    let (mut table, _log) = table();
    table
        .map(at(0, MIB2), PhysAddr::new(MIB2 + KIB4), DATA, Level::GIB)
        .unwrap();
    let mut pages = 0;
    table.visit(at(0, MIB2), &mut |leaf| {
        assert_eq!(leaf.level, Level::PAGE);
        pages += 1;
    });
    assert_eq!(pages, 512);
}

#[test]
fn a_block_is_never_split() {
    let (mut table, _log) = table();
    table
        .map(at(0, MIB2), PhysAddr::new(0), DATA, Level::MIB2)
        .unwrap();
    let splits = |offset| Err(MapError::SplitsBlock(VirtAddr::new(BASE + offset)));
    assert_eq!(
        table.unmap(at(KIB4, KIB4), Tables::Free, &mut |_| {}),
        splits(KIB4)
    );
    assert_eq!(
        table.unmap(at(0, KIB4), Tables::Free, &mut |_| {}),
        splits(0)
    );
    assert_eq!(
        table.protect(at(KIB4, MIB2 - KIB4), Attributes::KERNEL_RODATA),
        splits(KIB4)
    );
    assert!(table.walk(VirtAddr::new(BASE)).is_some());
}

#[test]
fn what_a_failed_map_made_is_undone() {
    let (mut table, _log) = table();
    table
        .map(at(4 * KIB4, KIB4), PhysAddr::new(0), DATA, Level::PAGE)
        .unwrap();
    let tables = table.memory_mut().len();
    assert_eq!(
        table.map(at(0, 8 * KIB4), PhysAddr::new(0), DATA, Level::PAGE),
        Err(MapError::AlreadyMapped(VirtAddr::new(BASE + 4 * KIB4)))
    );
    let mut left = 0;
    table.visit(at(0, 8 * KIB4), &mut |_| left += 1);
    assert_eq!((left, table.memory_mut().len()), (1, tables));
}

#[test]
fn running_out_of_tables_at_any_point_changes_nothing() {
    let range = at(GIB - MIB2, 2 * MIB2);
    for limit in 1..6 {
        let (mut table, _log) = table();
        table.memory_mut().limit = limit;
        let result = table.map(range.clone(), PhysAddr::new(0x1000), DATA, Level::PAGE);
        // Two chains: three tables below the root, then two more.
        assert!(
            matches!(result, Err(MapError::NoTable(_))),
            "{limit}: {result:?}"
        );
        assert_eq!(table.memory_mut().len(), 1, "{limit}");
    }
}

#[test]
fn frames_go_back_where_they_came_from_when_they_run_out() {
    for limit in 0..5 {
        let (mut table, _log) = table();
        let mut frames = Frames::new(limit);
        let result = table.map_frames(at(0, 5 * KIB4), DATA, &mut frames);
        assert_eq!(
            result,
            Err(MapError::NoFrame(VirtAddr::new(BASE + limit as u64 * KIB4)))
        );
        assert_eq!((frames.out.len(), table.memory_mut().len()), (0, 1));
    }
}

#[test]
fn a_table_that_holds_what_somebody_else_detached_is_not_freed() {
    let (mut table, _log) = table();
    table
        .map(at(0, 2 * KIB4), PhysAddr::new(0x8000), DATA, Level::PAGE)
        .unwrap();
    let theirs = table.detach(at(0, KIB4), Tables::Keep).unwrap();
    table
        .unmap(at(KIB4, KIB4), Tables::Free, &mut |_| {})
        .unwrap();
    let mut freed = Vec::new();
    table.flush(at(0, KIB4), theirs);
    table.reclaim(at(0, KIB4), &mut |leaf| freed.push(leaf.physical));
    assert_eq!(freed, [PhysAddr::new(0x8000)]);
    table
        .unmap(at(0, 2 * KIB4), Tables::Free, &mut |_| {})
        .unwrap();
    assert_eq!(table.memory_mut().len(), 1);
}

#[test]
fn what_is_not_whole_pages_or_outside_is_refused() {
    let (mut table, _log) = table();
    let mut map = |range: Range<u64>, physical| {
        let range = VirtAddr::new(range.start)..VirtAddr::new(range.end);
        table.map(range, PhysAddr::new(physical), DATA, Level::PAGE)
    };
    let misaligned = |at| Err(MapError::Misaligned(VirtAddr::new(at)));
    let outside = |at| Err(MapError::OutsideRegion(VirtAddr::new(at)));
    assert_eq!(map(BASE..BASE, 0), misaligned(BASE));
    assert_eq!(map(BASE + 1..BASE + KIB4, 0), misaligned(BASE + 1));
    assert_eq!(map(BASE..BASE + KIB4 + 1, 0), misaligned(BASE));
    assert_eq!(map(BASE..BASE + KIB4, 1), misaligned(BASE));
    assert_eq!(map(KIB4..2 * KIB4, 0), outside(KIB4));
    assert_eq!(table.memory_mut().len(), 1);
}

#[test]
fn every_access_can_be_mapped_and_looked_up() {
    for access in Access::ALL {
        let (mut table, _log) = table();
        let attributes = Attributes::normal(access);
        table
            .map(at(0, KIB4), PhysAddr::new(0), attributes, Level::PAGE)
            .unwrap();
        assert_eq!(
            table.walk(VirtAddr::new(BASE)).unwrap().attributes,
            Some(attributes)
        );
        assert_eq!(table.walk(VirtAddr::new(BASE + KIB4)), None);
    }
}
