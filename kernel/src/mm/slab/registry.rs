//! Which caches there are: kmalloc's from the start, others as they are created and destroyed.
//!
//! # Invariants
//!
//! 1. A place is taken again only when no object of its former cache is out and no context has a
//!    magazine with slots for it: what a magazine holds always belongs to the cache of its number.
//!
//! # Locking
//!
//! A place has a lock, the cache's: to find one that is free each is looked at in turn.

use super::cache::SlabAllocator;
use super::context::{Constructor, Context};
use super::geometry::{Geometry, Shape};
use super::handle::{CacheHandle, CacheStatistics};
use super::options::CacheOptions;
use super::slabs::Slabs;
use crate::mm::frame::CacheId;
use crate::mm::frames::Frames;
use crate::mm::gfp::Gfp;
use crate::mm::local::Locals;
use crate::mm::size_class::{self, SizeClass};
use crate::mm::warnings::Warnings;
use crate::sync::{Rank, SpinLock};
use core::{alloc::Layout, fmt, sync::atomic::AtomicU64};
use spin::Once;

/// Places for caches, the first of which stays empty: the number 0 is no cache.
pub const MAX_CACHES: usize = 64;
/// The first place that kmalloc does not have.
const FIRST_CREATED: usize = size_class::COUNT + 1;

const _: () = assert!(MAX_CACHES <= crate::mm::local::FIRST_OF_PAGES);

/// What does not change about a cache while it exists.
#[derive(Clone, Copy, Debug)]
pub(super) struct Description {
    pub(super) name: &'static str,
    pub(super) geometry: Geometry,
    pub(super) shape: Shape,
    /// The zone that its slabs come from.
    pub(super) zone: Gfp,
    pub(super) constructor: Option<Constructor>,
}

impl Description {
    const fn new(options: &CacheOptions, geometry: Geometry, id: CacheId) -> Self {
        Self {
            name: options.name,
            geometry,
            shape: Shape::new(id, &geometry),
            zone: options.zone.intersection(Gfp::DMA.union(Gfp::DMA32)),
            constructor: options.constructor,
        }
    }
}

/// A place for a cache.
#[derive(Debug)]
pub(super) struct Slot {
    /// The cache; `None` if there is none.
    pub(super) description: Option<Description>,
    /// Whether it was destroyed: it ends when the other contexts have given back what they listed.
    pub(super) is_destroyed: bool,
    pub(super) slabs: Slabs,
}

impl Slot {
    const fn new() -> Self {
        Self {
            description: None,
            is_destroyed: false,
            slabs: Slabs::new(),
        }
    }

    /// Its cache, over `frames`, to be worked on.
    #[inline]
    pub(super) const fn open<'s, 'f>(
        &'s mut self,
        frames: &'f Frames<'f>,
    ) -> Option<(Context<'s, 'f>, &'s mut Slabs)> {
        let Some(description) = &self.description else {
            return None;
        };
        let context = Context {
            frames,
            cache: description,
        };
        Some((context, &mut self.slabs))
    }
}

/// Why a cache was not created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheError {
    /// Objects are empty, larger than [`LARGEST_OBJECT_BYTES`](super::LARGEST_OBJECT_BYTES) with what a
    /// constructor needs, or aligned more strictly than
    /// [`LARGEST_ALIGN_BYTES`](super::LARGEST_ALIGN_BYTES).
    BadLayout(Layout),
    /// There are [`MAX_CACHES`] already, those included that were destroyed and of which another core
    /// still lists objects. It was asked for them.
    TooMany,
}

impl fmt::Display for CacheError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadLayout(layout) => write!(
                f,
                "no cache holds objects of {} bytes aligned to {}",
                layout.size(),
                layout.align()
            ),
            Self::TooMany => write!(f, "there are {MAX_CACHES} caches already"),
        }
    }
}

impl core::error::Error for CacheError {}

const KMALLOC: [Description; size_class::COUNT] = {
    let smallest = Geometry::new(size_class::SMALLEST_BYTES, 8).expect("small");
    let nothing = CacheOptions::new("", Layout::new::<u64>());
    let mut descriptions = [Description::new(&nothing, smallest, CacheId(0)); size_class::COUNT];
    let mut index = 0;
    while index < size_class::COUNT {
        let class = SizeClass::at(index);
        let geometry = Geometry::new(class.bytes(), 8).expect("no larger than a cache's objects");
        let options = CacheOptions::new(class.name(), Layout::new::<u64>());
        descriptions[index] = Description::new(&options, geometry, class.cache());
        index += 1;
    }
    descriptions
};

pub(super) const fn new_allocator<'f>() -> SlabAllocator<'f> {
    let mut caches = [const { SpinLock::new(Rank::Slabs, Slot::new()) }; MAX_CACHES];
    let mut index = 0;
    while index < size_class::COUNT {
        let slot = Slot {
            description: Some(KMALLOC[index]),
            ..Slot::new()
        };
        caches[index + 1] = SpinLock::new(Rank::Slabs, slot);
        index += 1;
    }
    SlabAllocator {
        frames: Once::new(),
        locals: Locals::new(),
        caches,
        drains: AtomicU64::new(0),
        warnings: Warnings::new(),
    }
}

impl SizeClass {
    /// The number of the class's cache.
    #[inline]
    pub(crate) const fn cache(self) -> CacheId {
        CacheId(self.cache_number())
    }
}

impl<'f> SlabAllocator<'f> {
    /// Makes a cache.
    ///
    /// # Errors
    ///
    /// [`CacheError`].
    pub fn create(&self, options: &CacheOptions) -> Result<CacheHandle<'_, 'f>, CacheError> {
        let geometry = options
            .geometry()
            .ok_or(CacheError::BadLayout(options.layout))?;
        for id in ids().skip(FIRST_CREATED - 1) {
            let mut slot = self.slot(id).lock();
            if slot.is_destroyed && self.has_ended(id, &slot) {
                *slot = Slot::new();
            }
            if slot.description.is_none() {
                slot.description = Some(Description::new(options, geometry, id));
                return Ok(CacheHandle::new(self, id, geometry.mark_offset));
            }
        }
        self.ask_for_drains();
        Err(CacheError::TooMany)
    }

    /// Whether nobody has anything of a cache that was destroyed.
    fn has_ended(&self, id: CacheId, slot: &Slot) -> bool {
        let has_slots = self.locals.all().any(|local| local.is_attached(id.0));
        slot.slabs.slabs() == 0 && !has_slots
    }

    /// The figures of every cache, kmalloc's first.
    pub fn statistics(&self) -> impl Iterator<Item = CacheStatistics> {
        ids().filter_map(|id| self.statistics_of(id))
    }

    /// Bytes in slabs, used or not.
    pub fn held_bytes(&self) -> u64 {
        self.statistics().map(|cache| cache.held_bytes()).sum()
    }

    /// Bytes that a caller may use of each object of `cache`; 0 if there is no such cache.
    pub(crate) fn object_bytes(&self, cache: CacheId) -> usize {
        let slot = self.slot(cache).lock();
        let usable = |cache: &Description| usize::from(cache.geometry.usable_bytes());
        slot.description.as_ref().map_or(0, usable)
    }
}

/// The numbers of all places that a cache can have.
pub(super) fn ids() -> impl Iterator<Item = CacheId> {
    #[expect(clippy::cast_possible_truncation, reason = "below 64")]
    (1..MAX_CACHES).map(|id| CacheId(id as u8))
}
