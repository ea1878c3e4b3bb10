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
        let same_place = (old.bits() ^ descriptor.bits()) & 0x0010_ffff_ffff_f01f == 0;
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

fn changing(bits: u64) -> u64 {
    Descriptor::from_bits(bits).changing().bits()
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
            Step::Write(changing(page_bits(0x8000, DATA))),
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

/// Sizes of the blocks that fill an area, by their physical addresses.
type Sizes = BTreeMap<u64, u64>;

/// Fills the start of `range` with blocks of these orders, at physical addresses that have their alignment.
fn fill(table: &mut HostTable, start: u64, orders: &[u8]) -> Sizes {
    let (mut offset, mut sizes) = (start, Sizes::new());
    for (index, &order) in orders.iter().enumerate() {
        let bytes = KIB4 << order;
        let physical = (index as u64 + 1) * 16 * MIB2;
        sizes.insert(physical, bytes);
        place(table, offset, physical, bytes);
        offset += bytes;
    }
    sizes
}

/// Places memory as the kernel does: tables are made before entries are written.
fn place(table: &mut HostTable, offset: u64, physical: u64, bytes: u64) {
    let mut done = 0;
    while done < bytes {
        let part = at(offset + done, bytes - done);
        if bytes < MIB2 {
            table.make_tables(part.clone(), Level::PAGE).unwrap();
        }
        done += table
            .place(part, PhysAddr::new(physical + done), DATA)
            .unwrap();
    }
}

fn leaves(table: &HostTable, range: Range<VirtAddr>) -> Vec<(u64, Level, bool)> {
    let mut found = Vec::new();
    table.visit(range, &mut |leaf| {
        found.push((leaf.address.get() - BASE, leaf.level, leaf.contiguous));
    });
    found
}

#[test]
fn an_area_of_blocks_is_emptied_block_by_block_whatever_their_sizes() {
    for orders in [
        &[0][..],
        &[4],
        &[9, 4, 0],
        &[10, 9, 9, 3],
        &[5, 5, 1, 0, 0],
        &[8, 8, 0],
    ] {
        let (mut table, _log) = table();
        // From the middle of a table on, unless blocks of 2 MiB are wanted.
        let start = if orders[0] > 8 {
            4 * MIB2
        } else {
            MIB2 - 16 * KIB4
        };
        let bytes: u64 = orders.iter().map(|&order| KIB4 << order).sum();
        let sizes = fill(&mut table, start, orders);
        assert!(!leaves(&table, at(start, bytes)).is_empty());
        let held = table.detach_blocks(at(start, bytes), |block| sizes[&block.get()]);
        assert!(leaves(&table, at(0, GIB)).is_empty());
        let mut found = Vec::new();
        match held {
            Held::Block(block) => found.push(block.address().get()),
            Held::Blocks(blocks) => {
                table.take_blocks(at(start, bytes), |block| {
                    found.push(block.get());
                    sizes[&block.get()]
                });
                assert_eq!(found.len(), blocks as usize);
            }
        }
        assert_eq!(
            found,
            sizes.keys().copied().collect::<Vec<_>>(),
            "{orders:?}"
        );
        // Nothing is left that would refuse the next area.
        fill(&mut table, start, &vec![0; (bytes / KIB4) as usize]);
    }
}

#[test]
fn pages_are_joined_where_virtual_and_physical_alignment_and_size_allow() {
    let (mut table, _log) = table();
    let place = |table: &mut HostTable, offset, physical, pages: u64| {
        place(table, offset, physical, pages * KIB4);
        let joined = leaves(table, at(offset, pages * KIB4));
        joined
            .iter()
            .filter(|(_, _, contiguous)| *contiguous)
            .count()
    };
    assert_eq!(place(&mut table, 0, 16 * KIB4, 16), 16);
    assert_eq!(
        place(&mut table, 20 * KIB4, 4 * KIB4, 40),
        16,
        "a head of 12 and a tail of 12"
    );
    assert_eq!(
        place(&mut table, 64 * KIB4, KIB4, 64),
        0,
        "the memory lies otherwise"
    );
    assert_eq!(place(&mut table, 128 * KIB4, 0, 15), 0, "too few");
    assert_eq!(place(&mut table, MIB2, MIB2, 512), 0, "a block of 2 MiB");
}

#[test]
fn a_contiguous_group_is_broken_as_a_whole_before_a_part_of_it_changes() {
    let (mut table, log) = table();
    fill(&mut table, 0, &[5]);
    log.take();
    table
        .protect(at(4 * KIB4, KIB4), Attributes::KERNEL_RODATA)
        .unwrap();
    let steps = log.take();
    let waited = steps.iter().position(|&step| step == Step::Wait).unwrap();
    let is_broken = |step: &Step| matches!(step, Step::Write(bits) if bits & 1 == 0);
    assert_eq!(
        steps[..waited]
            .iter()
            .filter(|step| is_broken(step))
            .count(),
        16
    );
    let invalidated = |step: &&Step| matches!(step, Step::Invalidate(_));
    assert_eq!(steps[..waited].iter().filter(invalidated).count(), 16);
    let joined: Vec<bool> = leaves(&table, at(0, 32 * KIB4))
        .iter()
        .map(|leaf| leaf.2)
        .collect();
    assert_eq!(joined, [[false; 16], [true; 16]].concat());
    let attributes = |page: u64| {
        table
            .walk(VirtAddr::new(BASE + page * KIB4))
            .unwrap()
            .attributes
    };
    assert_eq!(attributes(4), Some(Attributes::KERNEL_RODATA));
    assert_eq!(
        (attributes(3), attributes(5), attributes(20)),
        (Some(DATA), Some(DATA), Some(DATA))
    );
}

#[test]
fn whole_contiguous_groups_change_and_stay_joined() {
    let (mut table, _log) = table();
    fill(&mut table, 0, &[5]);
    table
        .protect(at(0, 32 * KIB4), Attributes::KERNEL_RODATA)
        .unwrap();
    assert!(leaves(&table, at(0, 32 * KIB4)).iter().all(|leaf| leaf.2));
    let attributes = table.walk(VirtAddr::new(BASE)).unwrap().attributes;
    assert_eq!(attributes, Some(Attributes::KERNEL_RODATA));
    let splits = Err(MapError::SplitsBlock(VirtAddr::new(BASE + KIB4)));
    assert_eq!(
        table.unmap(at(KIB4, 15 * KIB4), Tables::Keep, &mut |_| {}),
        splits
    );
}

#[test]
fn empty_tables_make_way_for_blocks_after_a_flush() {
    let (mut table, log) = table();
    fill(&mut table, 0, &[0]);
    fill(&mut table, MIB2, &[0]);
    table.clear(at(0, KIB4));
    let tables = table.memory_mut().len();
    log.take();
    table.free_page_tables(at(0, 2 * MIB2));
    assert_eq!(table.memory_mut().len(), tables - 1, "one is in use");
    let steps = log.take();
    let flushed = steps
        .iter()
        .position(|&step| step == Step::InvalidateAll)
        .unwrap();
    let freed = steps.iter().position(|&step| step == Step::Free).unwrap();
    assert!(flushed < freed);
    fill(&mut table, 0, &[9]);
    assert_eq!(leaves(&table, at(0, MIB2)), [(0, Level::MIB2, false)]);
}

#[test]
fn a_page_is_copied_between_break_and_make() {
    let (mut table, log) = table();
    let page = at(KIB4, KIB4);
    let (from, to) = (PhysAddr::new(0x70_0000), PhysAddr::new(0x90_0000));
    let attributes = Attributes::KERNEL_DATA;
    table
        .map(page.clone(), from, attributes, Level::PAGE)
        .unwrap();
    log.borrow_mut().clear();
    let old = Descriptor::leaf(from, attributes, Level::PAGE);
    let copied = Rc::clone(&log);
    let mut copy = || copied.borrow_mut().push(Step::Free);
    table.replace(page.start, from, to, &mut copy).unwrap();
    assert_eq!(
        *log.borrow(),
        [
            Step::Write(old.changing().bits()),
            Step::Publish,
            Step::Invalidate(page.start.get()),
            Step::Wait,
            // Where it is copied.
            Step::Free,
            Step::Publish,
            Step::Write(Descriptor::leaf(to, attributes, Level::PAGE).bits()),
            Step::Publish,
            Step::Synchronize,
        ]
    );
    log.borrow_mut().clear();
    for (page, from) in [
        (page.start, from),
        (page.end, to),
        (page.start.offset(GIB), to),
    ] {
        let refused = table.replace(page, from, to, &mut || panic!("copied"));
        assert_eq!(refused, Err(MapError::NotMapped(page)));
    }
    assert!(log.borrow().is_empty());
}
