//! Slabs as memory that comes back when others need it.

use super::cache::SlabAllocator;
use crate::mm::addr::PAGE_BYTES;
use crate::mm::frames::Frames;
use crate::mm::reclaim::Shrinker;

impl SlabAllocator<'_> {
    fn held_frames(&self) -> u32 {
        u32::try_from(self.held_bytes() / PAGE_BYTES).unwrap_or(u32::MAX)
    }
}

/// Gives back empty slabs, whatever their number: the caches have no use for them that could wait. Other
/// cores are asked for the objects on their lists, and give them when they can.
impl Shrinker for SlabAllocator<'static> {
    fn name(&self) -> &'static str {
        "slab"
    }

    fn reclaimable_frames(&self) -> u32 {
        let used = self.statistics().map(|cache| cache.live_bytes());
        let used = used.sum::<u64>() / PAGE_BYTES;
        self.held_frames()
            .saturating_sub(u32::try_from(used).unwrap_or(u32::MAX))
    }

    fn shrink(&self, _: &Frames<'_>, _: u32) -> u32 {
        let before = self.held_frames();
        self.shrink();
        before.saturating_sub(self.held_frames())
    }
}
