//! The allocator of all caches: fast paths, refill and relief.

use super::context::{Context, Taken};
use super::link::Link;
use super::misuse::{Misuse, MisuseKind, die};
use super::registry::{self, MAX_CACHES, Slot};
use super::slabs::Slabs;
use crate::mm::addr::{Order, Pfn, VirtAddr};
use crate::mm::frame::CacheId;
use crate::mm::frames::Frames;
use crate::mm::gfp::Gfp;
use crate::mm::local::{Local, Locals};
use crate::mm::magazine::{Block, Magazine, Top};
use crate::mm::path;
use crate::mm::warnings::Warnings;
use crate::sync::SpinLock;
use core::{ptr::NonNull, sync::atomic::AtomicU64};
use spin::Once;
use wire::path::Step;

/// Whether a wrong free is looked for at once.
pub(super) const HARDENED: bool = cfg!(feature = "hardened");

/// All slab caches over one frame allocator.
#[derive(Debug)]
pub struct SlabAllocator<'f> {
    pub(crate) frames: Once<&'f Frames<'f>>,
    pub(super) locals: Locals,
    pub(super) caches: [SpinLock<Slot>; MAX_CACHES],
    /// Raised when all contexts shall give back what their magazines hold.
    pub(super) drains: AtomicU64,
    pub(in crate::mm) warnings: Warnings,
}

impl<'f> SlabAllocator<'f> {
    /// The kmalloc caches, without memory: everything fails until [`init`](Self::init). On the machine
    /// there is one, [`SLAB`](super::SLAB), since all would share the cores' magazines.
    #[cfg(not(target_os = "none"))]
    pub const fn new() -> Self {
        registry::new_allocator()
    }

    /// The kernel's.
    #[cfg(target_os = "none")]
    pub(super) const fn new() -> Self {
        registry::new_allocator()
    }

    /// Gives it the frames to live on, the first time; until then every allocation fails.
    pub fn init(&self, frames: &'f Frames<'f>) {
        self.frames.call_once(|| frames);
    }

    /// This context's magazines.
    #[inline(always)]
    pub(crate) fn local(&self) -> &Local {
        self.locals.here()
    }

    /// Takes an object of `cache`, which has no constructor; `None` if there is no memory.
    #[inline(always)]
    pub(crate) fn alloc_object(&self, cache: CacheId, gfp: Gfp) -> Option<NonNull<u8>> {
        match self.local().magazine(cache.0).pop() {
            Ok(block) => Some(block.into_raw()),
            Err(pops) => self.alloc_slowly(cache, gfp, pops),
        }
    }

    /// Takes back an object of `cache`, without looking whose it is in the default tier.
    #[inline(always)]
    pub(crate) fn free_object(&self, cache: CacheId, block: Block) {
        if HARDENED {
            return Self::free_slowly(block, self, cache);
        }
        if let Err(block) = self.local().magazine(cache.0).push(block) {
            Self::free_slowly(block, self, cache);
        }
    }

    /// Takes back an object of any cache; gives back what is none, and what needs a closer look, with the
    /// number of the magazine that refused it.
    #[inline(always)]
    pub(crate) fn push_object(&self, block: Block) -> Result<(), (Block, u8)> {
        let local = self.local();
        match local.number_at(block.address()) {
            Some(number) if !HARDENED => {
                let pushed = local.magazine(number).push(block);
                pushed.map_err(|block| (block, number))
            }
            _ => Err((block, 0)),
        }
    }

    /// The cache whose objects are freed to the magazine numbered `number`.
    #[inline]
    pub(crate) const fn cache_numbered(number: u8) -> Option<CacheId> {
        match number {
            1.. if (number as usize) < MAX_CACHES => Some(CacheId(number)),
            _ => None,
        }
    }

    /// Takes an object, where the magazine had none; it had handed out `pops`.
    #[inline(never)]
    pub(crate) fn alloc_slowly(&self, cache: CacheId, gfp: Gfp, pops: u64) -> Option<NonNull<u8>> {
        let frames = *self.frames.get()?;
        self.follow_drains(frames);
        let magazine = self.local().magazine(cache.0);
        // Counted before the rest, in which others of this context may be counted.
        magazine.count_pop(pops);
        let taken = self.take(frames, cache, magazine, gfp);
        if taken.is_none() {
            magazine.uncount_pops(1);
        }
        taken.map(Taken::hand_out)
    }

    /// Takes an object for the caller, and others for the magazine.
    fn take(
        &self,
        frames: &'f Frames<'f>,
        cache: CacheId,
        magazine: &Magazine,
        gfp: Gfp,
    ) -> Option<Taken> {
        let mut slot = self.slot(cache).lock();
        let (context, slabs) = slot.open(frames)?;
        match magazine.top() {
            Top::Block(block) => return Some(context.taken(block, false)),
            Top::Broken(mark) => context.die(mark),
            Top::Empty => {}
        }
        self.local().attach(cache.0, context.cache.geometry.limit);
        slabs.events.misses += 1;
        let batch = context.cache.geometry.batch;
        if let Some(taken) = refill(&context, slabs, magazine, batch) {
            return Some(taken);
        }
        let block = (context.cache.geometry.order, context.cache.zone);
        drop(slot);
        let head = self.block_for_slab(frames, block, gfp);
        let mut slot = self.slot(cache).lock();
        let (context, slabs) = slot.open(frames)?;
        if let Some(head) = head {
            slabs.add(&context, head);
        }
        // Without a new slab, others may have given something back meanwhile. Half a batch, since this
        // call has taken long already.
        let taken = refill(&context, slabs, magazine, batch.div_ceil(2));
        slabs.events.failures += u64::from(taken.is_none());
        taken
    }

    /// Takes a block for a slab: its order, and the zone that it comes from. No lock is held.
    pub(super) fn block_for_slab(
        &self,
        frames: &Frames<'_>,
        (order, zone): (Order, Gfp),
        gfp: Gfp,
    ) -> Option<Pfn> {
        // Whoever asked for an object says that there is none.
        let zones = Gfp::DMA.union(Gfp::DMA32);
        let flags = gfp.difference(zones | Gfp::ZERO) | zone | Gfp::NOWARN;
        let mut head = frames.alloc(order, flags);
        if head.is_err() && gfp.contains(Gfp::DIRECT_RECLAIM) && self.shrink() > 0 {
            path::note(Step::Reclaim);
            head = frames.alloc(order, flags);
        }
        head.ok()
    }

    /// Takes back what the fast path did not: the magazine has no room, or, in the hardened tier, to look
    /// whether it may. The block comes first, since it is in the first register already.
    #[inline(never)]
    pub(crate) fn free_slowly(block: Block, slab: &Self, cache: CacheId) {
        slab.free_with(cache, block, |_, block| block);
    }

    /// Takes back an object of `cache` that the caller gives up by its start.
    pub(crate) fn free_by_start(&self, cache: CacheId, block: Block) {
        self.free_with(cache, block, |context, block| context.given_up(block));
    }

    fn free_with(
        &self,
        cache: CacheId,
        block: Block,
        marked: impl FnOnce(&Context<'_, '_>, Block) -> Block,
    ) {
        let Some(frames) = self.frames.get() else {
            die_of_no_cache(&block);
        };
        self.follow_drains(frames);
        let mut slot = self.slot(cache).lock();
        let Some((context, slabs)) = slot.open(frames) else {
            die_of_no_cache(&block);
        };
        let block = marked(&context, block);
        if HARDENED {
            self.check_freed(&context, slabs, cache, &block);
        }
        let local = self.local();
        local.attach(cache.0, context.cache.geometry.limit);
        let magazine = local.magazine(cache.0);
        if let Err(block) = magazine.push(block) {
            relieve(&context, slabs, magazine, block);
        }
    }

    /// Ends here if `block` cannot be freed.
    pub(super) fn check_freed(
        &self,
        context: &Context<'_, '_>,
        slabs: &Slabs,
        cache: CacheId,
        block: &Block,
    ) {
        let (mark, word) = (block.address(), block.word());
        if context.find(context.start_of(mark)).is_none() {
            context.report(MisuseKind::InvalidFree, mark);
        }
        let is_free = match Link::of(word, mark) {
            Some(Link::Depot) => slabs.depot.blocks().any(|block| block.address() == mark),
            Some(Link::Slab(_)) => Slabs::lists(context, mark),
            None => self
                .locals
                .all()
                .any(|local| local.lists(cache.0, word, mark)),
        };
        if is_free {
            context.report(MisuseKind::DoubleFree, mark);
        }
    }

    /// What all cores share of `cache`.
    #[inline]
    pub(super) fn slot(&self, cache: CacheId) -> &SpinLock<Slot> {
        &self.caches[usize::from(cache.0)]
    }
}

/// Takes a batch from the depot or the slabs: one object for the caller, the others into `magazine`.
fn refill(
    context: &Context<'_, '_>,
    slabs: &mut Slabs,
    magazine: &Magazine,
    batch: u16,
) -> Option<Taken> {
    path::note(Step::Refill);
    if let Some(block) = slabs.depot.take(context) {
        path::note(Step::Depot);
        let rest = core::iter::from_fn(|| slabs.depot.take(context));
        let most = usize::from(context.cache.geometry.depot_batch - 1);
        magazine.push_run(&mut rest.take(most));
        return Some(context.taken(block, false));
    }
    let mut first = None;
    let most = if magazine.is_attached() { batch } else { 1 };
    slabs.take(context, most, |block, fresh| match first {
        None => first = Some(context.taken(block, fresh)),
        Some(_) => {
            let refused = magazine.push(block);
            debug_assert!(refused.is_ok(), "an empty magazine has room for a batch");
        }
    });
    first
}

/// Makes room in a magazine that is full, and takes `block` back.
fn relieve(context: &Context<'_, '_>, slabs: &mut Slabs, magazine: &Magazine, block: Block) {
    path::note(Step::Drain);
    slabs.events.overflows += 1;
    let depot_batch = context.cache.geometry.depot_batch;
    if !magazine.is_attached() {
        // It has no room, and nothing to give.
    } else if slabs.depot.has_room(depot_batch) {
        let run = magazine.drain(depot_batch.into());
        slabs.depot.fill(run);
        die_of_broken(context, magazine);
    } else {
        give_back(context, magazine, slabs, context.cache.geometry.batch);
    }
    if let Err(block) = magazine.push(block) {
        slabs.give(context, core::iter::once(block));
    }
}

/// Moves up to `most` objects from `magazine` to the slabs.
pub(super) fn give_back(
    context: &Context<'_, '_>,
    magazine: &Magazine,
    slabs: &mut Slabs,
    most: u16,
) {
    slabs.give(context, magazine.drain(most.into()));
    die_of_broken(context, magazine);
}

/// Ends if what stands on top of `magazine` does not look free, which is what a run ends at.
#[inline]
fn die_of_broken(context: &Context<'_, '_>, magazine: &Magazine) {
    if let Some(mark) = magazine.broken() {
        context.die(mark);
    }
}

/// Ends because `block` is freed to a cache that does not exist, or before there is memory.
#[cold]
#[inline(never)]
fn die_of_no_cache(block: &Block) -> ! {
    die(&Misuse {
        cache: "kmalloc",
        kind: MisuseKind::InvalidFree,
        address: VirtAddr::new(block.address()),
    })
}

impl Default for SlabAllocator<'_> {
    fn default() -> Self {
        Self::new()
    }
}
