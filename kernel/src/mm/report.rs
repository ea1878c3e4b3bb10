//! Memory in figures: the rows of meminfo, vmstat, buddyinfo, pagetypeinfo, zoneinfo, slabinfo, failures.
//!
//! Each function hands its rows to whoever prints or sends them, one by one, with no lock held; none
//! allocates. The figures are taken zone by zone and cache by cache, so they need not agree to the last
//! page while others allocate.

use super::addr::{Order, PAGE_BYTES, Pfn};
use super::buddy::BATCH;
use super::failures::Reason;
use super::frame::Table;
use super::frames::Frames;
use super::pageblock::{self, MigrateType};
use super::slab::SlabAllocator;
use super::zone::ZoneStatistics;
use wire::report::{
    Cache, Counter, Failure, FreeBlocks, FreeOfType, Meminfo, PageBlocks, PageTypes, Pageset,
    Record, Zone,
};

/// Takes rows.
pub type Rows<'o> = dyn FnMut(&Record<'_>) + 'o;

/// Totals of what this module's allocators have; the fields about others' memory are 0.
pub fn meminfo(frames: &Frames<'_>, slab: &SlabAllocator<'_>) -> Meminfo {
    let bytes = |frames: u32| u64::from(frames) * PAGE_BYTES;
    let mut info = Meminfo {
        total_bytes: bytes(frames.managed_frames()),
        free_bytes: bytes(frames.free_frames()),
        page_lists_bytes: bytes(frames.listed_frames()),
        peak_used_bytes: bytes(frames.zones().map(|zone| zone.peak_used_frames).sum()),
        frame_table_bytes: size_of_val(frames.table().frames()) as u64,
        allocation_failures: frames.failures().total(),
        ..Meminfo::default()
    };
    for cache in slab.statistics() {
        info.slab_bytes += cache.held_bytes();
        info.slab_live_bytes += cache.live_bytes();
    }
    info
}

/// Free blocks by zone and order.
pub fn buddyinfo(frames: &Frames<'_>, rows: &mut Rows<'_>) {
    for zone in frames.zones().filter(|zone| zone.managed_frames > 0) {
        rows(&Record::FreeBlocks(FreeBlocks {
            zone: zone.kind.name(),
            blocks_by_order: zone.free_blocks,
        }));
    }
}

/// Zones.
pub fn zoneinfo(frames: &Frames<'_>, rows: &mut Rows<'_>) {
    for zone in frames.zones().filter(|zone| zone.spanned_frames > 0) {
        rows(&Record::Zone(Zone {
            zone: zone.kind.name(),
            free_frames: zone.free_frames,
            min_frames: zone.watermarks.min,
            low_frames: zone.watermarks.low,
            high_frames: zone.watermarks.high,
            cma_frames: zone.cma_frames,
            isolated_frames: zone.isolated_frames,
            spanned_frames: zone.spanned_frames,
            managed_frames: zone.managed_frames,
            peak_used_frames: zone.peak_used_frames,
            start_frame: zone.start.get(),
        }));
        for lists in frames.page_lists(zone.kind) {
            rows(&Record::Pageset(Pageset {
                zone: zone.kind.name(),
                cpu: u32::try_from(lists.cpu).unwrap_or(u32::MAX),
                frames: lists.frames,
                high_frames: lists.high_frames,
                batch_frames: u32::try_from(BATCH).unwrap_or(u32::MAX),
                hits: lists.hits,
                misses: lists.misses,
            }));
        }
    }
}

/// Caches that hold memory.
pub fn slabinfo(slab: &SlabAllocator<'_>, rows: &mut Rows<'_>) {
    for cache in slab.statistics().filter(|cache| cache.slabs > 0) {
        let events = &cache.events;
        let frees = cache.allocations.saturating_sub(cache.live_objects.into());
        rows(&Record::Cache(Cache {
            name: cache.name,
            object_bytes: cache.object_bytes.into(),
            objects_per_slab: cache.objects_per_slab.into(),
            slab_frames: cache.slab_order.frames(),
            slabs: cache.slabs,
            live_objects: cache.live_objects,
            listed_objects: cache.cached_objects,
            list_limit_objects: cache.limit.into(),
            batch_objects: cache.batch.into(),
            allocations: cache.allocations,
            peak_slabs: events.peak_slabs,
            slabs_made: events.slabs_made,
            failures: events.failures,
            alloc_hits: cache.allocations.saturating_sub(events.misses),
            alloc_misses: events.misses,
            free_hits: frees.saturating_sub(events.overflows),
            free_misses: events.overflows,
        }));
    }
}

/// Requests for frames that failed, by what was asked.
pub fn failures(frames: &Frames<'_>, rows: &mut Rows<'_>) {
    for failure in frames.failures().snapshot().into_iter().flatten() {
        rows(&Record::Failure(Failure {
            zone: failure.zone.name(),
            order: failure.order.get(),
            flags: &failure.flags_text(),
            failures: failure.count,
            free_frames: failure.free_frames,
        }));
    }
}

/// Counters of what happened.
pub fn vmstat(frames: &Frames<'_>, slab: &SlabAllocator<'_>, rows: &mut Rows<'_>) {
    let mut counter = |name, count| rows(&Record::Counter(Counter { name, count }));
    let claimed = frames
        .zones()
        .map(|zone| u64::from(zone.claimed_pageblocks));
    counter("alloc_failures", frames.failures().total());
    for reason in Reason::ALL {
        counter(reason.counter(), frames.failures().because(reason));
    }
    let reclaimed = frames.reclaim_statistics();
    counter("reclaim_runs", reclaimed.runs);
    counter("reclaim_rescued", reclaimed.rescued);
    counter("reclaim_frames", reclaimed.frames);
    let compacted = frames.compaction_statistics();
    counter("compaction_runs", compacted.runs);
    counter("compaction_cleared", compacted.cleared);
    counter("compaction_left", compacted.left);
    counter("compaction_moved", compacted.moved);
    counter("compaction_refused", compacted.refused);
    counter("pageblocks_claimed", claimed.sum());
    let caches = || slab.statistics();
    counter(
        "slab_allocations",
        caches().map(|cache| cache.allocations).sum(),
    );
    counter(
        "slab_alloc_misses",
        caches().map(|cache| cache.events.misses).sum(),
    );
    counter(
        "slab_free_misses",
        caches().map(|cache| cache.events.overflows).sum(),
    );
    counter(
        "slab_failures",
        caches().map(|cache| cache.events.failures).sum(),
    );
    counter(
        "slabs_made",
        caches().map(|cache| cache.events.slabs_made).sum(),
    );
}

/// Free blocks by zone, migrate type and order, and pageblocks.
pub fn pagetypeinfo(frames: &Frames<'_>, rows: &mut Rows<'_>) {
    rows(&Record::PageTypes(PageTypes {
        pageblock_order: pageblock::ORDER.get(),
        pageblock_frames: pageblock::FRAMES,
    }));
    let zones = || frames.zones().filter(|zone| zone.managed_frames > 0);
    for zone in zones() {
        for (migrate, blocks_by_order) in MigrateType::ALL.iter().zip(zone.free_blocks_by_type) {
            rows(&Record::FreeOfType(FreeOfType {
                zone: zone.kind.name(),
                migrate_type: migrate.name(),
                blocks_by_order,
            }));
        }
    }
    for zone in zones() {
        let blocks = pageblocks(frames.table(), &zone);
        rows(&Record::PageBlocks(PageBlocks {
            zone: zone.kind.name(),
            unmovable: blocks[MigrateType::Unmovable.index()],
            movable: blocks[MigrateType::Movable.index()],
            reclaimable: blocks[MigrateType::Reclaimable.index()],
            cma: blocks[MigrateType::Cma.index()],
            isolate: blocks[MigrateType::Isolated.index()],
        }));
    }
}

/// The zone's pageblocks by the number of their type. One that nobody touched is movable, unless it is the
/// second half of a block of the largest order, whose type it has then.
fn pageblocks(table: &Table<'_>, zone: &ZoneStatistics) -> [u32; MigrateType::COUNT] {
    let mut blocks = [0; MigrateType::COUNT];
    let heads = (0..zone.spanned_frames).step_by(pageblock::FRAMES as usize);
    for head in heads.map(|offset| zone.start.offset(offset)) {
        let whole = Pfn::new(head.get() & !(Order::MAX.frames() - 1));
        let is_of_whole = || {
            table
                .find(whole)
                .is_some_and(|frame| frame.order() == Order::MAX)
        };
        let touched = |pfn| table.state(pfn).filter(|state| state.is_touched());
        let state = touched(head).or_else(|| touched(whole).filter(|_| is_of_whole()));
        if let Some(state) = state {
            blocks[state.migrate_type().index()] += 1;
        }
    }
    let touched: u32 = blocks.iter().sum();
    let managed = zone.managed_frames.div_ceil(pageblock::FRAMES);
    blocks[MigrateType::Movable.index()] += managed.saturating_sub(touched);
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::arena::Arena;
    use crate::mm::gfp::Gfp;
    use crate::mm::zone::ZoneLimits;
    use std::{boxed::Box, string::String, vec::Vec};
    use wire::report::Text;

    fn text(report: impl FnOnce(&mut Rows<'_>)) -> String {
        let mut text = Text::new(String::new());
        report(&mut |row| text.record(row).unwrap());
        text.as_inner().clone()
    }

    #[test]
    fn reports_agree_with_what_was_done() {
        let mut arena = Arena::new(Pfn::new(0x400), 1024);
        let span = arena.span();
        let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[span]);
        let slab = Box::new(SlabAllocator::new());
        slab.init(&frames);
        slab.kmalloc(100, Gfp::KERNEL).unwrap();
        frames.alloc(Order::new(9).unwrap(), Gfp::KERNEL).unwrap();
        frames.alloc(Order::MAX, Gfp::ATOMIC).unwrap_err();

        let info = meminfo(&frames, &slab);
        assert_eq!((info.total_bytes, info.slab_bytes), (1024 << 12, 4096));
        assert_eq!((info.slab_live_bytes, info.allocation_failures), (112, 1));
        let mut free = 0;
        buddyinfo(&frames, &mut |row| match row {
            Record::FreeBlocks(row) => free += row.frames(),
            other => panic!("{other:?}"),
        });
        assert_eq!(info.free_bytes, (free << 12) + info.page_lists_bytes);
        assert_eq!(info.free_bytes, 511 << 12);

        let slabs = text(|rows| slabinfo(&slab, rows));
        let row = slabs.lines().nth(2).unwrap();
        assert!(
            row.starts_with("kmalloc-112            1     36    112   36    1 : tunables"),
            "{row}"
        );
        assert_eq!(slabs.lines().count(), 3);
        let failed = text(|rows| failures(&frames, rows));
        let failed: Vec<_> = failed.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(failed[..4], ["1", "Normal", "10", "511"]);
    }
}
