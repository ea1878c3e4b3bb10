//! Memory in figures, as text in Linux's manner: `meminfo`, `buddyinfo`, `slabinfo`.
//!
//! Each report is a value to be displayed; none allocates. The figures are taken zone by zone and
//! cache by cache, so they need not agree to the last page while others allocate.

use super::addr::{Order, PAGE_BYTES};
use super::frames::Frames;
use super::slab::SlabAllocator;
use core::fmt;

const FRAME_KIB: u64 = PAGE_BYTES / 1024;

/// Totals, as `/proc/meminfo` has them, and what this kernel has beside.
#[derive(Clone, Copy, Debug)]
pub struct MemInfo<'a, 'f> {
    /// The frames.
    pub frames: &'a Frames<'f>,
    /// The caches on them.
    pub slab: &'a SlabAllocator<'f>,
}

impl fmt::Display for MemInfo<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = |frames: u32| u64::from(frames) * FRAME_KIB;
        let peak = self.frames.zones().map(|zone| zone.peak_used_frames).sum();
        let caches = self.slab.caches().map(|cache| cache.statistics());
        let (mut held, mut live) = (0, 0);
        for cache in caches {
            held += cache.held_bytes();
            live += cache.live_bytes();
        }
        let table = size_of_val(self.frames.table().frames()) as u64;
        for (name, kib) in [
            ("MemTotal", kib(self.frames.managed_frames())),
            ("MemFree", kib(self.frames.free_frames())),
            ("MemPeakUsed", kib(peak)),
            ("Slab", held / 1024),
            ("SlabLive", live / 1024),
            ("FrameTable", table / 1024),
        ] {
            let spaces = 16_usize.saturating_sub(name.len() + 1);
            writeln!(f, "{name}:{:spaces$}{kib:>8} kB", "")?;
        }
        writeln!(f, "AllocFailures:{:>10}", self.frames.failures())
    }
}

/// Free blocks by zone and order, as `/proc/buddyinfo` has them.
#[derive(Clone, Copy, Debug)]
pub struct BuddyInfo<'a, 'f>(pub &'a Frames<'f>);

impl fmt::Display for BuddyInfo<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for zone in self.0.zones().filter(|zone| zone.managed_frames > 0) {
            write!(f, "Node 0, zone {:>8} ", zone.kind.name())?;
            for order in Order::all() {
                write!(f, "{:>6} ", zone.free_blocks[order.index()])?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Caches that hold memory, as `/proc/slabinfo` has them. Live objects count as active; what lies on
/// cores' lists does not. The shared factor, which is of Linux's former allocator, is 0.
#[derive(Clone, Copy, Debug)]
pub struct SlabInfo<'a, 'f>(pub &'a SlabAllocator<'f>);

impl fmt::Display for SlabInfo<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "slabinfo - version: 2.1")?;
        writeln!(
            f,
            "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : \
             tunables <limit> <batchcount> <sharedfactor> : \
             slabdata <active_slabs> <num_slabs> <sharedavail>"
        )?;
        let caches = self.0.caches().map(|cache| cache.statistics());
        for cache in caches.filter(|cache| cache.slabs > 0) {
            let objects = cache.slabs * u32::from(cache.objects_per_slab);
            writeln!(
                f,
                "{:<17} {:>6} {objects:>6} {:>6} {:>4} {:>4} : \
                 tunables {:>4} {:>4} {:>4} : slabdata {:>6} {:>6} {:>6}",
                cache.name,
                cache.live_objects,
                cache.object_bytes,
                cache.objects_per_slab,
                cache.slab_order.frames(),
                cache.limit,
                cache.batch,
                0,
                cache.slabs,
                cache.slabs,
                0
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::addr::Pfn;
    use crate::mm::arena::Arena;
    use crate::mm::gfp::Gfp;
    use crate::mm::zone::ZoneLimits;
    use std::{boxed::Box, format};

    #[test]
    fn reports_read_as_linuxes_do() {
        let first = Pfn::new(0x400);
        let mut arena = Arena::new(first, 1024);
        let span = arena.span();
        let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[span]);
        let slab = Box::new(SlabAllocator::new());
        slab.init(&frames);
        slab.kmalloc(100, Gfp::KERNEL).unwrap();
        frames.alloc(Order::new(9).unwrap(), Gfp::KERNEL).unwrap();

        assert_eq!(
            format!("{}", BuddyInfo(&frames)),
            "Node 0, zone    DMA32      1      1      1      1      1      1      1      1      1      0      0 \n"
        );
        let meminfo = format!(
            "{}",
            MemInfo {
                frames: &frames,
                slab: &slab
            }
        );
        assert!(
            meminfo.starts_with("MemTotal:           4096 kB\nMemFree:            2044 kB\n"),
            "{meminfo}"
        );
        assert!(
            meminfo.contains("Slab:                  4 kB\n"),
            "{meminfo}"
        );
        assert!(meminfo.ends_with("AllocFailures:         0\n"), "{meminfo}");
        let slabinfo = format!("{}", SlabInfo(&slab));
        let row = slabinfo.lines().nth(2).unwrap();
        assert_eq!(
            row,
            "kmalloc-112            1     36    112   36    1 : tunables   32    8    0 : slabdata      1      1      0"
        );
        assert_eq!(slabinfo.lines().count(), 3);
    }
}
