//! What the app holds at its end that it did not hold at its start.

use crate::{
    mm::{
        addr::PAGE_BYTES,
        frames::{self, Frames},
        report::Rows,
        slab::{MAX_CACHES, SLAB},
    },
    sync::{Rank, SpinLock},
    vm::vmalloc,
};
use wire::report::{Leak, Leaks, Record};

/// What was in use when the app began; `None` where nobody asked for it.
static START: SpinLock<Option<InUse>> = SpinLock::new(Rank::Figures, None);

#[derive(Clone, Copy)]
struct InUse {
    frames: u64,
    slab_frames: u64,
    /// Live objects by cache.
    objects: [u32; MAX_CACHES],
}

impl InUse {
    fn now(frames: &Frames<'_>) -> Self {
        let mut objects = [0; MAX_CACHES];
        for cache in SLAB.statistics() {
            objects[cache.number] = cache.live_objects;
        }
        let used = frames.managed_frames().saturating_sub(frames.free_frames());
        Self {
            frames: used.into(),
            slab_frames: SLAB.held_bytes() / PAGE_BYTES,
            objects,
        }
    }
}

/// Notes what is in use.
pub(super) fn note() {
    if let Some(frames) = frames::global() {
        let now = InUse::now(frames);
        *START.lock() = Some(now);
    }
}

/// What has changed since [`note`]; nothing if that was not called.
pub(super) fn rows(frames: &Frames<'_>, rows: &mut Rows<'_>) {
    let Some(start) = *START.lock() else {
        return;
    };
    // What is freed lazily is no leak.
    vmalloc::purge();
    let end = InUse::now(frames);
    rows(&Record::Leaks(Leaks {
        start_frames: start.frames,
        end_frames: end.frames,
        start_slab_frames: start.slab_frames,
        end_slab_frames: end.slab_frames,
    }));
    for cache in SLAB.statistics() {
        let start_objects = start.objects[cache.number];
        let end_objects = end.objects[cache.number];
        if start_objects != end_objects {
            rows(&Record::Leak(Leak {
                name: cache.name,
                object_bytes: cache.object_bytes.into(),
                start_objects,
                end_objects,
            }));
        }
    }
}
