//! The allocator of all caches: fast paths, refill and relief, and the checks between.
#![allow(
    unsafe_code,
    reason = "tells all cores where memory is, when it is known"
)]

use super::free_list::{self, CpuLists, Local, Object, Popped};
use super::geometry::Shape;
use super::memory::Extent;
use super::registry::{self, Description, MAX_CACHES};
use super::slabs::{Broken, Context, Slabs};
use crate::mm::addr::VirtAddr;
use crate::mm::frame::{CacheId, Frame};
use crate::mm::frames::Frames;
use crate::mm::gfp::Gfp;
use crate::mm::warnings::Warnings;
use crate::sync::{SpinLock, irq};
use core::{fmt, ptr::NonNull};
use spin::Once;

/// Whether a wrong free is looked for at once.
const HARDENED: bool = cfg!(feature = "hardened");

/// What was wrong with a free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MisuseKind {
    /// The object is free already.
    DoubleFree,
    /// It was free and does not look so any more: freed twice, or written to after it was freed.
    DoubleFreeOrOverwritten,
    /// No object of this cache that was ever handed out starts at the address.
    InvalidFree,
}

/// A wrong free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misuse {
    /// The cache's name, or what else was asked to free it.
    pub cache: &'static str,
    /// What was wrong.
    pub kind: MisuseKind,
    /// The address.
    pub address: VirtAddr,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cache, address, .. } = self;
        match self.kind {
            MisuseKind::DoubleFree => write!(f, "slab {cache}: double free of {address:#x}"),
            MisuseKind::DoubleFreeOrOverwritten => write!(
                f,
                "slab {cache}: double free of {address:#x}, or a write to it while it was free"
            ),
            MisuseKind::InvalidFree => write!(
                f,
                "slab {cache}: invalid free of {address:#x}, where none of its objects starts"
            ),
        }
    }
}

/// A broken invariant, found by [`SlabAllocator::validate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlabViolation {
    /// The cache's name.
    pub cache: &'static str,
    /// The invariant's number in `slab::slabs`; 0 for the core's list.
    pub invariant: u8,
    /// Where it was found broken.
    pub address: VirtAddr,
}

/// All slab caches over one frame allocator.
#[derive(Debug)]
pub struct SlabAllocator<'f> {
    pub(crate) frames: Once<&'f Frames<'f>>,
    pub(super) lists: CpuLists<'f, MAX_CACHES>,
    pub(super) caches: [Slot; MAX_CACHES],
    pub(super) created: SpinLock<usize>,
    pub(in crate::mm) warnings: Warnings,
}

/// What the cores share of a cache.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) description: Once<Description>,
    pub(super) slabs: SpinLock<Slabs>,
}

impl<'f> SlabAllocator<'f> {
    /// The kmalloc caches, without memory: everything fails until [`init`](Self::init).
    pub const fn new() -> Self {
        registry::new_allocator()
    }

    /// Gives it the frames to live on, the first time; until then every allocation fails.
    pub fn init(&self, frames: &'f Frames<'f>) {
        self.frames.call_once(|| {
            // SAFETY: this is the only call, and nobody has an object or an address of this
            // allocator before there are frames: all requests, for 0 bytes too, fail.
            unsafe { self.lists.set_extent(Extent::of(frames)) };
            frames
        });
    }

    /// Takes an object of `cache`; `None` if there is no memory.
    pub(crate) fn alloc_object(&self, cache: CacheId, gfp: Gfp) -> Option<NonNull<u8>> {
        self.pop_object(cache).or_else(|| self.refill(cache, gfp))
    }

    /// Takes an object of `cache` from this core's list; `None` if it is empty, or if what is first
    /// should not be there: [`refill`](Self::refill) finds out.
    #[inline(always)]
    pub(crate) fn pop_object(&self, cache: CacheId) -> Option<NonNull<u8>> {
        let irq = irq::mask();
        let here = self.lists.here(irq.proof());
        let list = here.list(cache);
        match list.pop(|address| find(&here.extent(), list.shape(), address)) {
            Popped::Object(object, _) => Some(object.into_raw()),
            Popped::Empty | Popped::Broken(_) => None,
        }
    }

    /// Takes back an object of `cache`, without looking whose it is in the default tier.
    #[inline(always)]
    pub(crate) fn free_object(&self, cache: CacheId, object: Object) {
        let refused = {
            let irq = irq::mask();
            push(self.lists.local(cache, irq.proof()), object)
        };
        if let Err(object) = refused {
            self.free_closely(cache, object);
        }
    }

    /// Takes back an object of any cache; gives back what is none, and what needs a closer look.
    #[inline(always)]
    pub(crate) fn push_object(&self, object: Object) -> Result<(), Object> {
        let irq = irq::mask();
        let here = self.lists.here(irq.proof());
        let frame = here.extent().entry(object.address());
        match frame.and_then(Frame::slab_cache) {
            Some(cache) => push(here.list(cache), object),
            None => Err(object),
        }
    }

    /// Takes a batch from the slabs: one object for the caller, the others for the core's list.
    #[inline(never)]
    pub(crate) fn refill(&self, cache: CacheId, gfp: Gfp) -> Option<NonNull<u8>> {
        let object = self.take_batch(cache, gfp);
        if object.is_none() && gfp.contains(Gfp::DIRECT_RECLAIM) && self.shrink() > 0 {
            return self.take_batch(cache, gfp);
        }
        object
    }

    fn take_batch(&self, cache: CacheId, gfp: Gfp) -> Option<NonNull<u8>> {
        let irq = irq::mask();
        let context = self.context(cache)?;
        let list = self.lists.local(cache, irq.proof());
        // An interrupt may have freed objects since this core's list was found empty.
        match list.pop(|address| context.find(address)) {
            Popped::Object(object, _) => return Some(object.into_raw()),
            Popped::Broken(address) => self.die(cache, address),
            Popped::Empty => {}
        }
        let mut slabs = self.slot(cache).slabs.lock();
        let mut first = slabs.take(&context);
        if let Ok(None) = first {
            let zone = self.describe(cache).zone | gfp;
            slabs.grow(&context, zone).ok()?;
            first = slabs.take(&context);
        }
        let mut broken = None;
        for _ in 1..context.geometry.batch {
            match slabs.take(&context) {
                Ok(Some(object)) => list.push(object),
                Ok(None) => break,
                Err(Broken(at)) => broken = Some(at),
            }
        }
        drop(slabs);
        match (first, broken) {
            (Ok(Some(object)), None) => Some(object.into_raw()),
            (Err(Broken(at)), _) | (_, Some(at)) => {
                self.report(cache, MisuseKind::DoubleFreeOrOverwritten, at)
            }
            (Ok(None), None) => unreachable!("a new slab has objects"),
        }
    }

    /// Moves objects from this core's list back to the slabs.
    fn give_back(&self, context: &Context<'_, '_>, list: Local<'_>, objects: u16) {
        let cache = context.cache;
        let mut slabs = self.slot(cache).slabs.lock();
        for _ in 0..objects {
            let given = match list.pop(|address| context.find(address)) {
                Popped::Empty => return,
                Popped::Broken(address) => Err(Broken(address)),
                Popped::Object(object, place) => slabs.give(context, place, object),
            };
            if let Err(Broken(address)) = given {
                drop(slabs);
                self.die(cache, address);
            }
        }
    }

    /// Gives back what this core's lists and the slabs hold and nobody uses; returns how many slabs
    /// that freed. Other cores' lists keep what they have.
    pub fn shrink(&self) -> u32 {
        self.ids().map(|cache| self.shrink_cache(cache)).sum()
    }

    fn shrink_cache(&self, cache: CacheId) -> u32 {
        let irq = irq::mask();
        let Some(context) = self.context(cache) else {
            return 0;
        };
        let slabs_of = || self.slot(cache).slabs.lock();
        let before = slabs_of().slabs();
        let list = self.lists.local(cache, irq.proof());
        self.give_back(&context, list, 2 * context.geometry.limit());
        let mut slabs = slabs_of();
        slabs.shrink(&context);
        before.saturating_sub(slabs.slabs())
    }

    /// Checks every cache: this core's list, and all slabs. No other core may allocate meanwhile.
    ///
    /// # Errors
    ///
    /// The first invariant found broken.
    pub fn validate(&self) -> Result<(), SlabViolation> {
        for cache in self.ids() {
            let irq = irq::mask();
            let Some(context) = self.context(cache) else {
                continue;
            };
            let broken = |invariant, address| SlabViolation {
                cache: self.describe(cache).name,
                invariant,
                address,
            };
            let list = self.lists.local(cache, irq.proof());
            let most = 2 * u32::from(context.geometry.limit());
            let found = list.walk(most, |object| context.find(object.address()).is_some());
            found.map_err(|at| broken(0, at))?;
            let slabs = self.slot(cache).slabs.lock();
            slabs.validate(&context).map_err(|(n, at)| broken(n, at))?;
        }
        Ok(())
    }

    /// Bytes from one object of `cache` to the next.
    pub(crate) fn object_bytes(&self, cache: CacheId) -> usize {
        usize::from(self.describe(cache).geometry.object_bytes)
    }

    #[inline]
    fn slot(&self, cache: CacheId) -> &Slot {
        &self.caches[usize::from(cache.0)]
    }

    pub(super) fn describe(&self, cache: CacheId) -> &Description {
        let description = self.slot(cache).description.get();
        description.expect("a cache is described before anybody has its number")
    }

    // Inlined, or each caller would copy it twice.
    #[inline(always)]
    fn context(&self, cache: CacheId) -> Option<Context<'_, 'f>> {
        let geometry = &self.describe(cache).geometry;
        Some(Context {
            frames: *self.frames.get()?,
            extent: Extent::of(self.frames.get()?),
            cache,
            geometry,
            shape: Shape::new(cache, geometry),
        })
    }

    /// Takes back what the fast path did not: there is no room on this core's list, or the object may
    /// be free already or, in the hardened tier, none of `cache`.
    #[inline(never)]
    pub(crate) fn free_closely(&self, cache: CacheId, object: Object) {
        let Some(context) = self.context(cache) else {
            self.report(cache, MisuseKind::InvalidFree, object.address())
        };
        if HARDENED || object.may_be_sealed() {
            self.check_freed(&context, &object);
        }
        let irq = irq::mask();
        let list = self.lists.local(cache, irq.proof());
        if list.is_full() {
            self.give_back(&context, list, context.geometry.batch);
        }
        list.push(object);
    }

    /// Ends here if `object` cannot be freed.
    #[inline(never)]
    fn check_freed(&self, context: &Context<'_, '_>, object: &Object) {
        let (cache, address) = (context.cache, object.address());
        let found = context.find(address);
        if HARDENED && found.is_none() {
            self.report(cache, MisuseKind::InvalidFree, address);
        }
        let head = found.map(|(head, _)| head);
        #[expect(clippy::cast_possible_truncation, reason = "few caches")]
        if free_list::is_key(object.key(), head, MAX_CACHES as u16) {
            self.report(cache, MisuseKind::DoubleFree, address);
        }
    }

    /// Ends with what was wrong with the object that came off this core's list.
    #[cold]
    #[inline(never)]
    fn die(&self, cache: CacheId, address: VirtAddr) -> ! {
        let context = self.context(cache);
        let found = context.and_then(|context| context.find(address));
        let kind = match found {
            Some(_) => MisuseKind::DoubleFreeOrOverwritten,
            None => MisuseKind::InvalidFree,
        };
        self.report(cache, kind, address)
    }

    #[cold]
    #[inline(never)]
    fn report(&self, cache: CacheId, kind: MisuseKind, address: VirtAddr) -> ! {
        let cache = self.describe(cache).name;
        die(&Misuse {
            cache,
            kind,
            address,
        })
    }
}

/// Puts `object` on the list, unless it needs a closer look or there is no room.
#[inline(always)]
fn push(list: Local<'_>, object: Object) -> Result<(), Object> {
    if HARDENED || object.may_be_sealed() || list.is_full() {
        return Err(object);
    }
    list.push(object);
    Ok(())
}

/// The start of the slab and the index of the object at `address`, if one of that shape starts there
/// and was ever handed out.
#[inline(always)]
pub(super) fn find(
    extent: &Extent<'_>,
    shape: Shape,
    address: VirtAddr,
) -> Option<(VirtAddr, u16)> {
    let start = shape.slab_of(address);
    let carved = extent.entry(start)?.carved(shape.tag)?;
    let index = shape.index_of(address)?;
    (index < carved).then_some((start, index))
}

/// A wrong free is a kernel bug.
#[cold]
#[inline(never)]
pub(crate) fn die(misuse: &Misuse) -> ! {
    panic!("{misuse}");
}

impl Default for SlabAllocator<'_> {
    fn default() -> Self {
        Self::new()
    }
}
