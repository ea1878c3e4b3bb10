//! Which caches there are: kmalloc's from the start, others as they are created.
use super::cache::{SlabAllocator, Slot};
use super::geometry::{Geometry, Shape};
use super::handle::CacheHandle;
use super::slabs::Slabs;
use crate::mm::frame::CacheId;
use crate::mm::gfp::Gfp;
use crate::mm::local::Locals;
use crate::mm::size_class::{self, SizeClass};
use crate::mm::warnings::Warnings;
use crate::sync::{Rank, SpinLock};
use core::{alloc::Layout, fmt};
use spin::Once;

/// Places for caches, the first of which stays empty: the number 0 is no cache. kmalloc has 36.
pub const MAX_CACHES: usize = 64;

const _: () = assert!(MAX_CACHES <= crate::mm::local::FIRST_OF_PAGES);

/// What does not change about a cache.
#[derive(Clone, Copy, Debug)]
pub(super) struct Description {
    pub(super) name: &'static str,
    pub(super) geometry: Geometry,
    pub(super) shape: Shape,
    /// The zone that its slabs come from.
    pub(super) zone: Gfp,
}

/// Why a cache was not created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheError {
    /// Objects are empty, larger than [`LARGEST_OBJECT_BYTES`](super::LARGEST_OBJECT_BYTES), or
    /// aligned more strictly than [`LARGEST_ALIGN_BYTES`](super::LARGEST_ALIGN_BYTES).
    BadLayout(Layout),
    /// There are [`MAX_CACHES`] already.
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

const KMALLOC: [Geometry; size_class::COUNT] = {
    let smallest = Geometry::new(size_class::SMALLEST_BYTES, 8).expect("small");
    let mut geometries = [smallest; size_class::COUNT];
    let mut index = 0;
    while index < size_class::COUNT {
        let bytes = SizeClass::at(index).bytes();
        geometries[index] = Geometry::new(bytes, 8).expect("no larger than a cache's objects");
        index += 1;
    }
    geometries
};

pub(super) const fn new_allocator<'f>() -> SlabAllocator<'f> {
    let mut caches = [const {
        Slot {
            description: Once::new(),
            slabs: SpinLock::new(Rank::Slabs, Slabs::new()),
        }
    }; MAX_CACHES];
    let mut index = 0;
    while index < size_class::COUNT {
        let class = SizeClass::at(index);
        let description = Once::initialized(Description {
            name: class.name(),
            geometry: KMALLOC[index],
            shape: Shape::new(class.cache(), &KMALLOC[index]),
            zone: Gfp::empty(),
        });
        // Nothing is lost: it was `Once::new()`. A plain assignment would drop it, which constant
        // evaluation cannot.
        core::mem::forget(core::mem::replace(
            &mut caches[index + 1].description,
            description,
        ));
        index += 1;
    }
    SlabAllocator {
        frames: Once::new(),
        locals: Locals::new(),
        caches,
        created: SpinLock::new(Rank::Caches, size_class::COUNT + 1),
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
    /// Makes a cache for objects of `layout`, whose slabs come from the highest zone that `zone`
    /// allows.
    ///
    /// # Errors
    ///
    /// [`CacheError`].
    pub fn create(
        &self,
        name: &'static str,
        layout: Layout,
        zone: Gfp,
    ) -> Result<CacheHandle<'_, 'f>, CacheError> {
        let geometry = Geometry::new(layout.size(), layout.align());
        let geometry = geometry.ok_or(CacheError::BadLayout(layout))?;
        let mut created = self.created.lock();
        if *created == MAX_CACHES {
            return Err(CacheError::TooMany);
        }
        #[expect(clippy::cast_possible_truncation, reason = "below MAX_CACHES")]
        let id = CacheId(*created as u8);
        let zone = zone.intersection(Gfp::DMA.union(Gfp::DMA32));
        self.caches[*created].description.call_once(|| Description {
            name,
            geometry,
            shape: Shape::new(id, &geometry),
            zone,
        });
        *created += 1;
        Ok(CacheHandle::new(self, id))
    }

    /// The numbers of all caches.
    pub(super) fn ids(&self) -> impl Iterator<Item = CacheId> + use<> {
        let created = *self.created.lock();
        (1..created).map(|id| {
            #[expect(clippy::cast_possible_truncation, reason = "below MAX_CACHES")]
            CacheId(id as u8)
        })
    }

    /// Every cache, kmalloc's first.
    pub fn caches(&self) -> impl Iterator<Item = CacheHandle<'_, 'f>> {
        self.ids().map(|id| CacheHandle::new(self, id))
    }

    /// Bytes in slabs, used or not.
    pub fn held_bytes(&self) -> u64 {
        let held = |cache: CacheHandle<'_, '_>| cache.statistics().held_bytes();
        self.caches().map(held).sum()
    }
}
