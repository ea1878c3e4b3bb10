//! What a cache can be asked to be.

use super::context::Constructor;
use super::geometry::Geometry;
use crate::mm::gfp::Gfp;
use core::alloc::Layout;

/// A cache's properties.
///
/// ```
/// use core::alloc::Layout;
/// use kernel::mm::{gfp::Gfp, slab::CacheOptions};
/// const RINGS: CacheOptions = CacheOptions::new("ring", Layout::new::<[u32; 60]>()).zone(Gfp::DMA32);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CacheOptions {
    pub(super) name: &'static str,
    pub(super) layout: Layout,
    pub(super) zone: Gfp,
    pub(super) constructor: Option<Constructor>,
}

impl CacheOptions {
    /// A cache for objects of `layout`: 1 to 8,192 bytes (8 less with a constructor), aligned to a power
    /// of two up to 4,096.
    pub const fn new(name: &'static str, layout: Layout) -> Self {
        Self {
            name,
            layout,
            zone: Gfp::empty(),
            constructor: None,
        }
    }

    /// The same, with slabs from the highest zone that `zone` allows.
    #[must_use]
    pub const fn zone(self, zone: Gfp) -> Self {
        Self { zone, ..self }
    }

    /// The same, with a constructor. Objects are handed out constructed, and whoever frees one leaves it
    /// in that state; the allocator's own word lies behind it. [`Gfp::ZERO`] then has no effect.
    #[must_use]
    pub const fn constructor(self, constructor: Constructor) -> Self {
        Self {
            constructor: Some(constructor),
            ..self
        }
    }

    /// How its objects lie in slabs; `None` if no cache holds them.
    pub(super) const fn geometry(&self) -> Option<Geometry> {
        let (bytes, align) = (self.layout.size(), self.layout.align());
        match self.constructor {
            None => Geometry::new(bytes, align),
            Some(_) => Geometry::constructed(bytes, align),
        }
    }
}
