//! The kernel's own mappings: the tree under TTBR1, one for all cores.
//!
//! Boot's assembly makes its root and the image window; [`adopt`] takes it over. Everything that maps
//! for the kernel goes through the functions here, which hold one lock. Areas of pages are worked on in
//! steps, so that it is held for a bounded time.
//!
//! Frames for tables come in stages: a pool inside the image, then whatever [`set_source`] names (first
//! memblock, then the frame allocator).

use super::{
    descriptor::{Attributes, Level},
    frames, layout, linear,
    raw_table::{RawTables, TableSource},
    table::{Detached, MapError, Mapping, Mmu, PageTable, Tables},
};
use crate::{
    arch::{barrier, tlb},
    mm::addr::{LinearMap, Order, PAGE_BYTES, Pfn, PhysAddr, VirtAddr},
    sync::SpinLock,
};
use core::ops::Range;

/// The top half, less its last page: an exclusive end must be an address.
const REGION: Range<VirtAddr> = layout::LINEAR.start..VirtAddr::new(0xffff_ffff_ffff_f000);
/// The largest block whose pages are mapped or unmapped before the lock is given up for a moment.
const AT_ONCE: Order = Order::new(5).expect("an order");

static SPACE: SpinLock<Option<PageTable<RawTables, KernelMmu>>> = SpinLock::new(None);

/// The kernel's tree as the hardware sees it: entries are global.
#[derive(Debug)]
struct KernelMmu;

impl Mmu for KernelMmu {
    fn publish(&mut self) {
        barrier::dsb_ishst();
    }
    fn synchronize(&mut self) {
        barrier::isb();
    }
    fn invalidate(&mut self, page: VirtAddr) {
        tlb::invalidate_page(page.get());
    }
    fn invalidate_all(&mut self) {
        tlb::invalidate_all();
    }
    fn wait(&mut self) {
        barrier::dsb_ish();
        barrier::isb();
    }
}

/// Takes over the tree at `root`, which this core's TTBR1 holds, and the image's pages `pool` for more
/// tables. Once, before anything else here.
pub fn adopt(root: PhysAddr, pool: Range<VirtAddr>) {
    let table = PageTable::new(root, REGION, RawTables::of_kernel(&pool), KernelMmu);
    let former = SPACE.lock().replace(table);
    assert!(former.is_none(), "the kernel's tables are adopted once");
}

/// Where frames for tables come from, when the image's pool is used up.
pub fn set_source(source: TableSource) {
    with(|table| table.memory_mut().set_source(source));
}

/// Maps `range` to the contiguous memory from `physical` on. See [`PageTable::map`].
pub fn map(
    range: Range<VirtAddr>,
    physical: PhysAddr,
    attributes: Attributes,
    largest: Level,
) -> Result<(), MapError> {
    with(|table| table.map(range, physical, attributes, largest))
}

/// Adds the whole pages of a memory bank to the linear map. `specials`, disjoint and in order, get 4 KiB
/// entries with attributes of their own; everything else is data, in blocks.
pub fn map_linear(bank: Range<PhysAddr>, specials: &[linear::Special]) -> Result<(), MapError> {
    let linear = LinearMap::kernel();
    linear::parts(bank, specials).try_for_each(|part| {
        let range = linear.to_virt(part.range.start)..linear.to_virt(part.range.end);
        map(range, part.range.start, part.attributes, part.largest)
    })
}

/// Maps `range`, which is the caller's alone, to memory of its own, in whatever blocks there are. The
/// memory is taken before the tables are locked, where waiting for it would be allowed.
pub fn map_frames(range: Range<VirtAddr>, attributes: Attributes) -> Result<(), MapError> {
    let mut at = range.start;
    while at < range.end {
        match map_block(at..range.end, attributes) {
            Ok(end) => at = end,
            Err(error) => {
                if range.start < at {
                    unmap_frames(range.start..at);
                }
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Maps one block of memory at the start of `range`, and returns where it ends.
fn map_block(range: Range<VirtAddr>, attributes: Attributes) -> Result<VirtAddr, MapError> {
    let pages = (range.end.get() - range.start.get()) / PAGE_BYTES;
    let pages = u32::try_from(pages).unwrap_or(u32::MAX);
    let block = frames::allocate_block(pages, AT_ONCE);
    let (block, order) = block.ok_or(MapError::NoFrame(range.start))?;
    let end = range.start.offset(order.bytes());
    let mapped = map(range.start..end, block.address(), attributes, Level::PAGE);
    mapped.inspect_err(|_| frames::free(block, order))?;
    Ok(end)
}

/// Unmaps what is mapped in `range`, whose memory is not the tables' business. See [`PageTable::unmap`].
/// Tables stay for the next mapping there, as in Linux.
pub fn unmap(range: Range<VirtAddr>) -> Result<(), MapError> {
    with(|table| table.unmap(range, Tables::Keep, &mut |_| {}))
}

/// Unmaps `range`, all of which [`map_frames`] mapped, with one flush, and gives its memory back.
pub fn unmap_frames(range: Range<VirtAddr>) {
    let mut detached = Detached::default();
    for part in steps(range.clone()) {
        match with(|table| table.detach(part, Tables::Keep)) {
            Ok(more) => detached = detached.and(more),
            Err(error) => panic!("unmapping an area of pages: {error}"),
        }
    }
    with(|table| table.flush(range.clone(), detached));
    // A block is freed at its first page; from then on its other frames may be somebody else's.
    let mut freed = Pfn::new(0)..Pfn::new(0);
    let mut free = |frame: Pfn| {
        if !freed.contains(&frame) {
            freed = frame..frame.offset(frames::free_block(frame).frames());
        }
    };
    for part in steps(range) {
        with(|table| table.reclaim(part, &mut |leaf| free(leaf.physical.frame())));
    }
}

/// Gives all of `range` other attributes. See [`PageTable::protect`].
pub fn protect(range: Range<VirtAddr>, attributes: Attributes) -> Result<(), MapError> {
    with(|table| table.protect(range, attributes))
}

/// What `address` is mapped to.
pub fn walk(address: VirtAddr) -> Option<Mapping> {
    with(|table| table.walk(address))
}

/// As [`walk`], for fault handlers: `None` also while somebody holds the tables.
pub fn try_walk(address: VirtAddr) -> Option<Mapping> {
    SPACE.try_lock()?.as_ref()?.walk(address)
}

/// Shows `visit` every leaf of `range`, in order, with the tables locked: it must neither map nor print.
pub fn visit(range: Range<VirtAddr>, visit: &mut dyn FnMut(Mapping)) {
    with(|table| table.visit(range, visit));
}

fn with<R>(work: impl FnOnce(&mut PageTable<RawTables, KernelMmu>) -> R) -> R {
    let mut space = SPACE.lock();
    work(
        space
            .as_mut()
            .expect("boot adopts the kernel's tables first"),
    )
}

/// `range` in steps that the lock may be held for.
fn steps(range: Range<VirtAddr>) -> impl Iterator<Item = Range<VirtAddr>> {
    let mut at = range.start;
    core::iter::from_fn(move || {
        let end = at.offset(AT_ONCE.bytes()).min(range.end);
        let part = core::mem::replace(&mut at, end)..end;
        (!part.is_empty()).then_some(part)
    })
}
