//! The kernel's own mappings: the tree under TTBR1, one for all cores.
//!
//! Boot's assembly makes its root and the image window; [`adopt`] takes it over. Everything that maps
//! for the kernel goes through the functions here. Those that may link or free a table hold one lock, for
//! a bounded time.
//!
//! # Areas without a lock
//!
//! An area's pages are placed, detached and taken back without it, with interrupts as they are:
//!
//! 1. The entries of an area belong to whoever the area was reserved for, and to nobody else; but for the
//!    entry of a movable page, which is whose the page's frame is.
//! 2. A table in [`VMALLOC`](layout::VMALLOC) or [`STACKS`](layout::STACKS) is never freed; but for one of
//!    level 3 whose 2 MiB are part of one area, by the owner of that.
//! 3. So a descent to an entry of one's own area meets tables that stay, and reads links that are written
//!    once, by single 64-bit stores, after what they lead to was published.
//!
//! Frames for tables come in stages: a pool inside the image, then whatever [`set_source`] names (first
//! memblock, then the frame allocator).

use super::{
    descriptor::{Attributes, Level},
    frames,
    hardware::Hardware,
    layout, linear,
    raw_table::{LinearTables, RawTables, TableSource},
    table::{Held, MapError, Mapping, PageTable, Tables},
};
use crate::{
    arch::{cpu, image},
    mm::addr::{LinearMap, Order, PAGE_BYTES, Pfn, PhysAddr, VirtAddr},
    sync::{Rank, SpinLock},
};
use core::ops::Range;

/// The top half, less its last page: an exclusive end must be an address.
const REGION: Range<VirtAddr> = layout::LINEAR.start..VirtAddr::new(0xffff_ffff_ffff_f000);
/// What the lock is held for when tables of level 3 make way for blocks: four tables.
const MAKE_WAY_BYTES: u64 = 4 * Level::MIB2.bytes();

static SPACE: SpinLock<Option<PageTable<RawTables, Hardware>>> =
    SpinLock::new(Rank::KernelSpace, None);

/// Takes over the tree at `root`, which this core's TTBR1 holds, and the image's pages `pool` for more
/// tables. Once, before anything else here.
pub fn adopt(root: PhysAddr, pool: Range<VirtAddr>) {
    let table = PageTable::new(root, REGION, RawTables::of_kernel(&pool), Hardware::Kernel);
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

/// Maps `range`, an area of the caller's, to memory of its own: the largest blocks that there are.
pub fn map_frames(range: Range<VirtAddr>, attributes: Attributes) -> Result<(), MapError> {
    let (mut at, mut largest) = (range.start, Order::MAX);
    while at < range.end {
        match map_block(at..range.end, attributes, largest) {
            Ok(order) => (at, largest) = (at.offset(order.bytes()), order),
            Err(error) => {
                if range.start < at {
                    unmap_frames(range.start..at);
                }
                return Err(error);
            }
        }
    }
    area().publish();
    Ok(())
}

/// Maps `range`, an area of the caller's, to `frames` of others, one a page; maps nothing when it fails.
pub fn map_given(
    range: Range<VirtAddr>,
    frames: &[Pfn],
    attributes: Attributes,
) -> Result<(), MapError> {
    let (mut at, mut frames) = (range.start, frames);
    while let Some((&first, rest)) = frames.split_first() {
        // Frames that follow each other are placed together.
        let follow =
            |(index, frame): &(u32, &Pfn)| first.get().checked_add(*index) == Some(frame.get());
        let more = (1..).zip(rest).take_while(follow).count();
        let end = at.offset(PAGE_BYTES * (1 + more as u64));
        if let Err(error) = place(at..end, first.address(), attributes) {
            if range.start < at {
                clear(range.start..at);
                flush();
            }
            return Err(error);
        }
        (at, frames) = (end, &rest[more..]);
    }
    publish();
    Ok(())
}

/// Maps `range`, an area of the caller's, to single movable frames, zeroed, which compaction may move from then
/// on until they are [disowned](disown_pages); maps nothing when it fails.
pub fn map_movable(range: Range<VirtAddr>) -> Result<(), MapError> {
    let mut at = range.start;
    while at < range.end {
        let page = at..at.offset(PAGE_BYTES);
        let frame = frames::allocate_movable().ok_or(MapError::NoFrame(at));
        let placed = frame.and_then(|frame| {
            let placed = place(page, frame.address(), Attributes::KERNEL_DATA);
            placed.inspect_err(|_| frames::free(frame, Order::ZERO))?;
            frames::own(frame, at);
            Ok(())
        });
        if let Err(error) = placed {
            if range.start < at {
                disown_pages(range.start..at);
                unmap_frames(range.start..at);
            }
            return Err(error);
        }
        at = at.offset(PAGE_BYTES);
    }
    publish();
    Ok(())
}

/// Has the frames of `range`, an area of the caller's that [`map_movable`] mapped, stay where they are.
pub fn disown_pages(range: Range<VirtAddr>) {
    let table = area();
    let mut at = range.start;
    while at < range.end {
        // Whoever is moving the page is waited for, and has then mapped it to another frame.
        let frame = table.entry(at).output().frame();
        if frames::disown(frame, at) {
            at = at.offset(PAGE_BYTES);
        }
    }
}

/// Maps a page of a movable area to another frame. See [`PageTable::replace`]; the caller holds both frames,
/// so by rule 1 at the top the entry is its own meanwhile.
pub fn replace(page: VirtAddr, from: Pfn, to: Pfn, copy: &mut dyn FnMut()) -> Result<(), MapError> {
    area().replace(page, from.address(), to.address(), copy)
}

/// Whether an access to `address` that found nothing mapped may be tried again: its entry was only being
/// changed. Waits until it is not. For fault handlers: it takes no lock.
pub fn wait_for_change(address: VirtAddr) -> bool {
    if !layout::VMALLOC.contains(&address) {
        return false;
    }
    let table = area();
    // One look tells both: a second one could meet the next change.
    loop {
        let entry = table.entry(address);
        if !entry.is_changing() {
            return entry.is_valid();
        }
        cpu::yield_now();
    }
}

/// Maps one block of memory, of the order `largest` at most, at the start of `range`.
fn map_block(
    range: Range<VirtAddr>,
    attributes: Attributes,
    largest: Order,
) -> Result<Order, MapError> {
    let pages = (range.end.get() - range.start.get()) / PAGE_BYTES;
    let pages = u32::try_from(pages).unwrap_or(u32::MAX);
    let block = frames::allocate_block(pages, largest);
    let (block, order) = block.ok_or(MapError::NoFrame(range.start))?;
    let range = range.start..range.start.offset(order.bytes());
    let placed = place(range, block.address(), attributes);
    placed.inspect_err(|_| frames::free(block, order))?;
    Ok(order)
}

/// Maps `range`, part of an area of the caller's, to the contiguous memory from `physical` on; maps nothing
/// when it fails. Walkers know it after the area is published.
pub fn place(
    range: Range<VirtAddr>,
    physical: PhysAddr,
    attributes: Attributes,
) -> Result<(), MapError> {
    let mut table = area();
    if range.end.get() - range.start.get() >= Level::MIB2.bytes() {
        make_way(range.clone());
    }
    let mut at = range.start;
    while at < range.end {
        let physical = physical.offset(at.get() - range.start.get());
        at = match table.place(at..range.end, physical, attributes) {
            Ok(bytes) => at.offset(bytes),
            Err(MapError::NoTable(_)) => {
                let made = make_tables(at..range.end);
                made.inspect_err(|_| {
                    if range.start < at {
                        clear(range.start..at);
                        flush();
                    }
                })?;
                at
            }
            Err(error) => panic!("an area that was just reserved: {error}"),
        };
    }
    Ok(())
}

/// Makes the tables for the start of `range`: down to level 2 where that can take a block.
#[cold]
fn make_tables(range: Range<VirtAddr>) -> Result<(), MapError> {
    let bytes = range.end.get() - range.start.get();
    let block = Level::MIB2.bytes();
    let takes_block = range.start.is_aligned_to(block) && bytes >= block;
    let is_there = with(|table| table.has_table(range.start, Level::MIB2));
    let level = if takes_block && !is_there {
        Level::MIB2
    } else {
        Level::PAGE
    };
    with(|table| table.make_tables(range, level)).map(drop)
}

/// Frees tables of level 3 that former areas left where `range` may have blocks.
#[cold]
fn make_way(range: Range<VirtAddr>) {
    let block = Level::MIB2.bytes();
    let start = VirtAddr::new(range.start.get().next_multiple_of(block));
    let end = VirtAddr::new(range.end.get() & !(block - 1));
    let mut at = start;
    while at < end {
        let part = at..at.offset(MAKE_WAY_BYTES).min(end);
        at = part.end;
        with(|table| table.free_page_tables(part));
    }
}

/// Makes all that was placed in areas known to the walkers.
pub fn publish() {
    area().publish();
}

/// Unmaps an area that blocks of frames fill, which the TLBs still hold. See [`PageTable::detach_blocks`].
pub fn detach(range: Range<VirtAddr>) -> Held {
    area().detach_blocks(range, frames::block_bytes)
}

/// Unmaps an area whose memory is somebody else's; the TLBs still hold it.
pub fn clear(range: Range<VirtAddr>) {
    area().clear(range);
}

/// Has every TLB forget all of the kernel's mappings that are no more.
pub fn flush() {
    area().flush_all();
}

/// Gives back the memory of an area that was detached and then flushed.
#[inline]
pub fn release(range: Range<VirtAddr>, held: Held) {
    match held {
        Held::Block(block) => drop(frames::free_block(block)),
        Held::Blocks(_) => {
            area().take_blocks(range, |block| frames::free_block(block.frame()).bytes());
        }
    }
}

/// Unmaps `range`, all of which [`map_frames`] mapped, with one flush, and gives its memory back.
fn unmap_frames(range: Range<VirtAddr>) {
    let held = detach(range.clone());
    flush();
    release(range, held);
}

/// The tree, for an area of the caller's, by the rules at the top.
#[inline]
fn area() -> PageTable<LinearTables, Hardware> {
    let (root, view) = (image::kernel_root(), LinearTables::of_kernel());
    PageTable::new(root, REGION, view, Hardware::Kernel)
}

/// Unmaps what is mapped in `range`, whose memory is not the tables' business. See [`PageTable::unmap`].
/// Tables stay for the next mapping there, as in Linux.
pub fn unmap(range: Range<VirtAddr>) -> Result<(), MapError> {
    with(|table| table.unmap(range, Tables::Keep, &mut |_| {}))
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

fn with<R>(work: impl FnOnce(&mut PageTable<RawTables, Hardware>) -> R) -> R {
    let mut space = SPACE.lock();
    work(
        space
            .as_mut()
            .expect("boot adopts the kernel's tables first"),
    )
}
