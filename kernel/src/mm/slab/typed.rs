//! Caches of values, whose boxes give their memory back themselves.
//!
//! ```no_run
//! use kernel::mm::{gfp::Gfp, kmalloc::AllocError, slab::{CacheBox, TypedCache}};
//! struct Session { user: u32, name: [u8; 120] }
//! static SESSIONS: TypedCache<Session> = TypedCache::new("session");
//! fn open(user: u32) -> Result<CacheBox<'static, Session>, AllocError> {
//!     SESSIONS.alloc(Gfp::KERNEL, || Session { user, name: [0; 120] })
//! }
//! ```
#![allow(
    unsafe_code,
    reason = "makes values in objects of their cache, and ends them there"
)]

use super::drain::DestroyError;
use super::handle::CacheHandle;
use super::kernel::Cache;
use super::options::CacheOptions;
use crate::mm::gfp::Gfp;
use crate::mm::kmalloc::AllocError;
use core::{
    alloc::Layout,
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

/// A cache of the kernel's for values of type `T`, which are 1 to 8,192 bytes large.
#[derive(Debug)]
pub struct TypedCache<T> {
    cache: Cache,
    /// Invariant in `T`: a constructed value stays behind its box, and meets the next one.
    values: PhantomData<fn(T) -> T>,
}

impl<T> TypedCache<T> {
    /// A cache, created when it is first used. Panics, in a constant at compile time, if no cache
    /// holds a `T`.
    pub const fn new(name: &'static str) -> Self {
        Self::with(CacheOptions::new(name, Layout::new::<T>()))
    }

    /// The same, with slabs from the highest zone that `zone` allows.
    pub const fn in_zone(name: &'static str, zone: Gfp) -> Self {
        Self::with(CacheOptions::new(name, Layout::new::<T>()).zone(zone))
    }

    const fn with(options: CacheOptions) -> Self {
        Self {
            cache: Cache::with(options),
            values: PhantomData,
        }
    }

    /// Takes an object and puts what `make` returns into it; `make` is not called if there is none.
    ///
    /// # Errors
    ///
    /// [`AllocError`].
    #[inline]
    #[cfg_attr(feature = "call-sites", track_caller)]
    pub fn alloc(&self, gfp: Gfp, make: impl FnOnce() -> T) -> Result<CacheBox<'_, T>, AllocError> {
        let object = self.cache.alloc(gfp.difference(Gfp::ZERO))?.cast::<T>();
        // Owned from here on, so that a `make` that panics loses it, and nothing else.
        // SAFETY: an object of the cache has the layout of a `T`, and is ours.
        unsafe { object.write(make()) };
        Ok(self.boxed(object))
    }

    /// The box of an object that holds a value.
    #[inline]
    const fn boxed(&self, object: NonNull<T>) -> CacheBox<'_, T> {
        CacheBox {
            object,
            cache: &self.cache,
            value: PhantomData,
        }
    }

    /// The cache itself; `None` if there are too many.
    pub fn handle(&self) -> Option<CacheHandle<'_, 'static>> {
        self.cache.handle()
    }

    /// Gives everything back; see [`Cache::destroy`]. Boxes that were forgotten keep it from that.
    ///
    /// # Errors
    ///
    /// [`DestroyError`].
    pub fn destroy(&mut self) -> Result<(), DestroyError> {
        self.cache.destroy()
    }
}

/// A cache of values that are made once and used again as they were left: for what is costly to make,
/// like locks and tables. They need no drop, which would never come.
#[derive(Debug)]
pub struct ConstructedCache<T: Default + Send> {
    cache: TypedCache<T>,
}

/// Makes a `T`.
///
/// # Safety
///
/// `place` has the layout of a `T` and belongs to the caller.
unsafe fn construct<T: Default>(place: NonNull<u8>) {
    // SAFETY: the caller promises it.
    unsafe { place.cast::<T>().write(T::default()) };
}

impl<T: Default + Send> ConstructedCache<T> {
    /// A cache, created when it is first used. Panics, in a constant at compile time, if no cache
    /// holds a `T`, or if a `T` needs drop.
    pub const fn new(name: &'static str) -> Self {
        const { assert!(!core::mem::needs_drop::<T>(), "values are never dropped") };
        let options = CacheOptions::new(name, Layout::new::<T>()).constructor(construct::<T>);
        Self {
            cache: TypedCache::with(options),
        }
    }

    /// Takes a value: a default one, or one that somebody gave back, as it was then.
    ///
    /// # Errors
    ///
    /// [`AllocError`].
    #[inline]
    #[cfg_attr(feature = "call-sites", track_caller)]
    pub fn take(&self, gfp: Gfp) -> Result<CacheBox<'_, T>, AllocError> {
        let object = self.cache.cache.alloc(gfp)?;
        Ok(self.cache.boxed(object.cast()))
    }

    /// The cache itself; `None` if there are too many.
    pub fn handle(&self) -> Option<CacheHandle<'_, 'static>> {
        self.cache.handle()
    }

    /// Gives everything back; see [`Cache::destroy`]. Boxes that were forgotten keep it from that.
    ///
    /// # Errors
    ///
    /// [`DestroyError`].
    pub fn destroy(&mut self) -> Result<(), DestroyError> {
        self.cache.destroy()
    }
}

/// A value in an object of its cache, which goes back there when the box is dropped.
pub struct CacheBox<'c, T> {
    /// Invariant: an object of `cache` that holds a `T` and is the box's alone.
    object: NonNull<T>,
    cache: &'c Cache,
    /// Invariant in `T`, as the cache is: what is written through the box may outlive it.
    value: PhantomData<*mut T>,
}

// SAFETY: the box owns its value, and a cache takes objects back on any core.
unsafe impl<T: Send> Send for CacheBox<'_, T> {}
// SAFETY: a shared box gives shared access to the value alone.
unsafe impl<T: Sync> Sync for CacheBox<'_, T> {}

impl<T> Deref for CacheBox<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: by the box's invariant.
        unsafe { self.object.as_ref() }
    }
}

impl<T> DerefMut for CacheBox<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: by the box's invariant.
        unsafe { self.object.as_mut() }
    }
}

impl<T> Drop for CacheBox<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: by the box's invariant; nobody uses the value after this.
        unsafe { self.object.drop_in_place() };
        // SAFETY: it came from this cache. Where that has a constructor, the value needs no drop, so
        // that it is still what its user left.
        unsafe { self.cache.free(self.object.cast()) };
    }
}

impl<T: fmt::Debug> fmt::Debug for CacheBox<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
