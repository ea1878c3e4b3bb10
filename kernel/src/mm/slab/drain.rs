//! Giving back what nobody uses, destroying caches, and checking all of it.
//!
//! Only its owner touches a magazine. So whoever wants the other contexts' objects raises a count and
//! asks the cores: a context that finds at its next slow path that it has not followed the count does so,
//! and a core that is idle, or leaves a user program, follows it for both of its contexts.
use super::cache::{SlabAllocator, give_back};
use super::link::Link;
use super::registry::{Slot, ids};
use crate::mm::addr::VirtAddr;
use crate::mm::frame::CacheId;
use crate::mm::frames::Frames;
use crate::mm::local::Local;
use crate::mm::magazine::Block;
use crate::sync::{
    irq::{self, IrqMasked},
    request::{self, Request},
};
use core::{fmt, sync::atomic::Ordering::Relaxed};

/// A broken invariant, found by [`SlabAllocator::validate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlabViolation {
    /// The cache's name.
    pub cache: &'static str,
    /// The invariant's number in `slab::slabs`; 0 for the magazines and the depot.
    pub invariant: u8,
    /// Where it was found broken.
    pub address: VirtAddr,
}

/// Why a cache was not destroyed; it goes on as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DestroyError {
    /// Callers still have objects of it.
    LiveObjects {
        /// The cache's name.
        cache: &'static str,
        /// How many.
        objects: u32,
    },
}

impl fmt::Display for DestroyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::LiveObjects { cache, objects } = self;
        write!(
            f,
            "cache {cache} cannot be destroyed: {objects} of its objects are in use"
        )
    }
}

impl core::error::Error for DestroyError {}

impl<'f> SlabAllocator<'f> {
    /// Gives back what this core's magazines, the depots and the slabs hold and nobody uses; returns how
    /// many slabs that freed. The other contexts are asked to do so, and do later.
    pub fn shrink(&self) -> u32 {
        self.ask_for_drains();
        let Some(frames) = self.frames.get() else {
            return 0;
        };
        let slabs = || self.statistics().map(|cache| cache.slabs).sum::<u32>();
        let before = slabs();
        let own = self.local();
        self.drain(frames, own);
        for cache in ids() {
            // The interrupts' magazines, one by one: nobody is kept waiting for all.
            {
                let irq = irq::mask();
                let contexts = self.locals.of_this_core(irq.proof());
                for local in contexts.filter(|local| !core::ptr::eq(*local, own)) {
                    self.drain_of(frames, local, cache);
                }
            }
            while self.empty_depot(frames, &mut self.slot(cache).lock()) {}
        }
        before.saturating_sub(slabs())
    }

    /// Asks the other cores to give back what their magazines hold.
    pub(super) fn ask_for_drains(&self) {
        self.drains.fetch_add(1, Relaxed);
        request::ask(self.locals.cores(), Request::DrainObjects);
    }

    /// Gives back what both contexts of this core have in their magazines.
    pub fn drain_this_core(&self, masked: &IrqMasked) {
        if let Some(frames) = self.frames.get() {
            for local in self.locals.of_this_core(masked) {
                self.drain(frames, local);
            }
        }
    }

    /// Gives back what this context's magazines hold, if somebody asked since it last did.
    #[inline]
    pub(super) fn follow_drains(&self, frames: &'f Frames<'f>) {
        let local = self.local();
        if local.drained_objects.get() != self.drains.load(Relaxed) {
            self.drain(frames, local);
        }
    }

    /// Gives back what the magazines of `local` hold.
    #[cold]
    #[inline(never)]
    fn drain(&self, frames: &'f Frames<'f>, local: &Local) {
        local.drained_objects.set(self.drains.load(Relaxed));
        for cache in ids() {
            self.drain_of(frames, local, cache);
        }
    }

    /// Gives back what the magazine of `cache` in `local` holds.
    fn drain_of(&self, frames: &'f Frames<'f>, local: &Local, cache: CacheId) {
        if local.magazine(cache.0).is_attached() {
            while self.empty(frames, local, cache, &mut self.slot(cache).lock()) {}
        }
    }

    /// Gives back what the magazine of `cache` in `local` holds, and its slots if the cache is no more;
    /// whether there is more to do than is done with the lock held once.
    fn empty(
        &self,
        frames: &'f Frames<'f>,
        local: &Local,
        cache: CacheId,
        slot: &mut Slot,
    ) -> bool {
        let is_destroyed = slot.is_destroyed;
        let Some((context, slabs)) = slot.open(frames) else {
            return false;
        };
        let magazine = local.magazine(cache.0);
        let most = context.cache.geometry.limit;
        give_back(&context, magazine, slabs, most);
        let more = slabs.shrink(&context);
        if is_destroyed {
            local.detach(cache.0);
        }
        more
    }

    /// Gives back what the depot holds, and empty slabs; whether there are more of these.
    fn empty_depot(&self, frames: &'f Frames<'f>, slot: &mut Slot) -> bool {
        let Some((context, slabs)) = slot.open(frames) else {
            return false;
        };
        while let Some(block) = slabs.depot.take(&context) {
            slabs.give(&context, core::iter::once(block));
        }
        slabs.shrink(&context)
    }

    /// Destroys a created cache of which nobody has objects: its slabs go back, those at once of which
    /// no other context lists objects, and its place becomes free when none does.
    ///
    /// # Errors
    ///
    /// [`DestroyError`].
    pub(super) fn destroy(&self, cache: CacheId) -> Result<(), DestroyError> {
        let Some(frames) = self.frames.get() else {
            self.slot(cache).lock().description = None;
            return Ok(());
        };
        self.end(frames, cache)?;
        while self.empty_depot(frames, &mut self.slot(cache).lock()) {}
        self.ask_for_drains();
        Ok(())
    }

    /// Marks a cache of which nobody has objects as destroyed, and empties this core's magazines.
    fn end(&self, frames: &'f Frames<'f>, cache: CacheId) -> Result<(), DestroyError> {
        let irq = irq::mask();
        let mut slot = self.slot(cache).lock();
        let Some((context, slabs)) = slot.open(frames) else {
            return Ok(());
        };
        let live = self.live_objects(cache, &context.cache.geometry, slabs);
        if live > 0 {
            return Err(DestroyError::LiveObjects {
                cache: context.cache.name,
                objects: live,
            });
        }
        slabs.keep_none();
        slot.is_destroyed = true;
        for local in self.locals.of_this_core(irq.proof()) {
            self.empty(frames, local, cache, &mut slot);
        }
        Ok(())
    }

    /// Checks every cache: this core's magazines, the depot, and all slabs. No other core may allocate
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// The first invariant found broken.
    pub fn validate(&self) -> Result<(), SlabViolation> {
        let irq = irq::mask();
        ids().try_for_each(|cache| self.validate_cache(cache, irq.proof()))
    }

    fn validate_cache(&self, cache: CacheId, masked: &IrqMasked) -> Result<(), SlabViolation> {
        let mut slot = self.slot(cache).lock();
        let opened = self.frames.get().and_then(|frames| slot.open(frames));
        let Some((context, slabs)) = opened else {
            return Ok(());
        };
        let broken = |invariant, address| SlabViolation {
            cache: context.cache.name,
            invariant,
            address,
        };
        let is_ours = |mark: u64| context.find(context.start_of(mark)).is_some();
        for local in self.locals.of_this_core(masked) {
            let mut blocks = local.magazine(cache.0).blocks();
            if let Some((at, _)) = blocks.find(|&(at, right)| !right || !is_ours(at)) {
                return Err(broken(0, VirtAddr::new(at)));
            }
        }
        let in_depot =
            |block: &&Block| Link::get(block) != Some(Link::Depot) || !is_ours(block.address());
        if let Some(block) = slabs.depot.blocks().find(in_depot) {
            return Err(broken(0, VirtAddr::new(block.address())));
        }
        slabs.validate(&context).map_err(|(n, at)| broken(n, at))
    }
}
