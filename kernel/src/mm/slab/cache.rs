//! The allocator of all caches: fast paths, refill and relief, and the checks between.
#![allow(
    unsafe_code,
    reason = "goes from an object to the word in it that the allocator uses"
)]

use super::link::Link;
use super::registry::{self, Description, MAX_CACHES};
use super::slabs::{Broken, Context, Slabs};
use crate::mm::addr::VirtAddr;
use crate::mm::frame::CacheId;
use crate::mm::frames::Frames;
use crate::mm::gfp::Gfp;
use crate::mm::local::{Local, Locals};
use crate::mm::magazine::{Block, Magazine, Top};
use crate::mm::warnings::Warnings;
use crate::sync::{SpinLock, SpinLockGuard, irq};
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
    /// The invariant's number in `slab::slabs`; 0 for the magazines and the depot.
    pub invariant: u8,
    /// Where it was found broken.
    pub address: VirtAddr,
}

/// All slab caches over one frame allocator.
#[derive(Debug)]
pub struct SlabAllocator<'f> {
    pub(crate) frames: Once<&'f Frames<'f>>,
    pub(super) locals: Locals,
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

    /// Takes an object of `cache`; `None` if there is no memory.
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

    /// Takes back an object of any cache; gives back what is none, and what needs a closer look.
    #[inline(always)]
    pub(crate) fn push_object(&self, block: Block) -> Result<(), Block> {
        if HARDENED {
            return Err(block);
        }
        match self.local().magazine_at(block.address()) {
            Some(magazine) => magazine.push(block),
            None => Err(block),
        }
    }

    /// Takes an object, where the magazine had none; it had handed out `pops`.
    #[inline(never)]
    pub(crate) fn alloc_slowly(&self, cache: CacheId, gfp: Gfp, pops: u64) -> Option<NonNull<u8>> {
        let context = self.context(cache)?;
        let local = self.local();
        let magazine = local.magazine(cache.0);
        // Counted before the rest, in which others of this context may be counted.
        magazine.count_pop(pops);
        let block = self.take(&context, cache, magazine, gfp);
        if block.is_none() {
            magazine.uncount_pop();
            self.slot(cache).slabs.lock().events.failures += 1;
        }
        block.map(|block| context.object_of(block))
    }

    /// Takes an object for the caller, and others for the magazine.
    fn take(
        &self,
        context: &Context<'_, 'f>,
        cache: CacheId,
        magazine: &Magazine,
        gfp: Gfp,
    ) -> Option<Block> {
        match magazine.top() {
            Top::Block(block) => return Some(block),
            Top::Broken(address) => self.die(cache, address),
            Top::Empty => {}
        }
        self.local().attach(cache.0, context.geometry.limit());
        let mut slabs = self.slot(cache).slabs.lock();
        slabs.events.misses += 1;
        let batch = context.geometry.batch;
        if let Some(block) = self.refill(context, cache, magazine, &mut slabs, batch) {
            return Some(block);
        }
        drop(slabs);
        let order = context.geometry.order;
        // Whoever asked for an object says that there is none.
        let zones = Gfp::DMA.union(Gfp::DMA32);
        let flags = gfp.difference(zones | Gfp::ZERO) | self.describe(cache).zone | Gfp::NOWARN;
        let mut head = context.frames.alloc(order, flags);
        if head.is_err() && gfp.contains(Gfp::DIRECT_RECLAIM) && self.shrink() > 0 {
            head = context.frames.alloc(order, flags);
        }
        let mut slabs = self.slot(cache).slabs.lock();
        if let Ok(head) = head {
            slabs.add(context, head);
        }
        // Without a new slab, others may have given something back meanwhile. Half a batch, since this
        // call has taken long already.
        let batch = context.geometry.batch.div_ceil(2);
        self.refill(context, cache, magazine, &mut slabs, batch)
    }

    /// Takes a batch from the depot or the slabs: one object for the caller, the others into `magazine`.
    fn refill(
        &self,
        context: &Context<'_, 'f>,
        cache: CacheId,
        magazine: &Magazine,
        slabs: &mut SpinLockGuard<'_, Slabs>,
        batch: u16,
    ) -> Option<Block> {
        match slabs.depot.empty_into(magazine) {
            Ok(Some(block)) => return Some(block),
            Ok(None) => {}
            Err(Broken(address)) => self.die(cache, address),
        }
        let mut first = None;
        let most = if magazine.is_attached() { batch } else { 1 };
        let taken = slabs.take(context, most, |block| match first {
            None => first = Some(block),
            Some(_) => {
                let refused = magazine.push(block);
                debug_assert!(refused.is_ok(), "an empty magazine has room for a batch");
            }
        });
        if let Err(Broken(address)) = taken {
            self.die(cache, address);
        }
        first
    }

    /// Takes back what the fast path did not: the magazine has no room, or, in the hardened tier, to look
    /// whether it may. The block comes first, since it is in the first register already.
    #[inline(never)]
    pub(crate) fn free_slowly(block: Block, slab: &Self, cache: CacheId) {
        let Some(context) = slab.context(cache) else {
            slab.report(cache, MisuseKind::InvalidFree, block.address());
        };
        if HARDENED {
            slab.check_freed(&context, cache, &block);
        }
        let local = slab.local();
        local.attach(cache.0, context.geometry.limit());
        let magazine = local.magazine(cache.0);
        if let Err(block) = magazine.push(block) {
            slab.relieve(&context, cache, magazine, block);
        }
    }

    /// Makes room in a magazine that is full, and takes `block` back.
    fn relieve(
        &self,
        context: &Context<'_, 'f>,
        cache: CacheId,
        magazine: &Magazine,
        block: Block,
    ) {
        let mut slabs = self.slot(cache).slabs.lock();
        slabs.events.overflows += 1;
        let relieved = if !magazine.is_attached() {
            Ok(())
        } else if slabs.depot.has_room() {
            slabs.depot.fill_from(magazine, context.geometry.half())
        } else {
            Self::give_back(context, magazine, &mut slabs, context.geometry.batch)
        };
        let given = match (relieved, magazine.push(block)) {
            (Ok(()), Err(block)) => slabs.give(context, core::iter::once(Ok(block))),
            (relieved, _) => relieved,
        };
        if let Err(Broken(address)) = given {
            self.die(cache, address);
        }
    }

    /// Moves up to `most` objects from `magazine` to the slabs.
    fn give_back(
        context: &Context<'_, 'f>,
        magazine: &Magazine,
        slabs: &mut Slabs,
        most: u16,
    ) -> Result<(), Broken> {
        let blocks = core::iter::from_fn(|| match magazine.top() {
            Top::Block(block) => Some(Ok(block)),
            Top::Empty => None,
            Top::Broken(address) => Some(Err(Broken(address))),
        });
        slabs.give(context, blocks.take(usize::from(most)))
    }

    /// Gives back what this core's magazines, the depots and the slabs hold and nobody uses; returns how
    /// many slabs that freed. Other cores' magazines keep what they have.
    pub fn shrink(&self) -> u32 {
        self.ids().map(|cache| self.shrink_cache(cache)).sum()
    }

    pub(super) fn shrink_cache(&self, cache: CacheId) -> u32 {
        // The interrupt context's magazines are ours while interrupts are masked.
        let irq = irq::mask();
        let Some(context) = self.context(cache) else {
            return 0;
        };
        let mut slabs = self.slot(cache).slabs.lock();
        let before = slabs.slabs();
        let mut emptied = Ok(());
        for local in self.locals.of_this_core(irq.proof()) {
            let magazine = local.magazine(cache.0);
            let most = context.geometry.limit();
            emptied = emptied.and_then(|()| Self::give_back(&context, magazine, &mut slabs, most));
        }
        while let Some(block) = slabs.depot.take(context.geometry.half()) {
            emptied = emptied.and_then(|()| slabs.give(&context, core::iter::once(Ok(block))));
        }
        if let Err(Broken(address)) = emptied {
            self.die(cache, address);
        }
        slabs.shrink(&context);
        before.saturating_sub(slabs.slabs())
    }

    /// Checks every cache: this core's magazines, the depot, and all slabs. No other core may allocate
    /// meanwhile.
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
            let is_ours = |mark: u64| context.find(context.start_of(mark)).is_some();
            for local in self.locals.of_this_core(irq.proof()) {
                let mut blocks = local.magazine(cache.0).blocks();
                if let Some((at, _)) = blocks.find(|&(at, right)| !right || !is_ours(at)) {
                    return Err(broken(0, VirtAddr::new(at)));
                }
            }
            let slabs = self.slot(cache).slabs.lock();
            let in_depot =
                |block: &&Block| Link::get(block) != Some(Link::Depot) || !is_ours(block.address());
            if let Some(block) = slabs.depot.blocks().find(in_depot) {
                return Err(broken(0, VirtAddr::new(block.address())));
            }
            slabs.validate(&context).map_err(|(n, at)| broken(n, at))?;
        }
        Ok(())
    }

    /// Bytes that a caller may use of each object of `cache`.
    pub(crate) fn object_bytes(&self, cache: CacheId) -> usize {
        usize::from(self.describe(cache).geometry.usable_bytes())
    }

    #[inline]
    pub(super) fn slot(&self, cache: CacheId) -> &Slot {
        &self.caches[usize::from(cache.0)]
    }

    pub(super) fn describe(&self, cache: CacheId) -> &Description {
        let description = self.slot(cache).description.get();
        description.expect("a cache is described before anybody has its number")
    }

    pub(super) fn context(&self, cache: CacheId) -> Option<Context<'_, 'f>> {
        let description = self.describe(cache);
        Some(Context {
            frames: *self.frames.get()?,
            geometry: &description.geometry,
            shape: description.shape,
        })
    }

    /// The object at `block` of `cache`, by the word that the allocator uses.
    pub(crate) fn by_mark(&self, cache: CacheId, block: Block) -> Block {
        let offset = usize::from(self.describe(cache).geometry.mark_offset);
        let object = block.into_raw();
        // SAFETY: inside the object, for the caller gives up one of this cache.
        let mark = unsafe { object.add(offset) };
        // SAFETY: as above.
        unsafe { Block::new(mark) }
    }

    /// Ends here if `block` cannot be freed.
    fn check_freed(&self, context: &Context<'_, '_>, cache: CacheId, block: &Block) {
        let (mark, word) = (block.address(), block.word());
        if context.find(context.start_of(mark)).is_none() {
            self.report(cache, MisuseKind::InvalidFree, mark);
        }
        let is_free = match Link::of(word, mark) {
            Some(Link::Depot) => {
                let slabs = self.slot(cache).slabs.lock();
                slabs.depot.blocks().any(|block| block.address() == mark)
            }
            Some(Link::Slab(_)) => {
                let _slabs = self.slot(cache).slabs.lock();
                Slabs::lists(context, mark)
            }
            None => self
                .locals
                .all()
                .any(|local| local.lists(cache.0, word, mark)),
        };
        if is_free {
            self.report(cache, MisuseKind::DoubleFree, mark);
        }
    }

    /// Ends with what was wrong with the object that came off a list.
    #[cold]
    #[inline(never)]
    fn die(&self, cache: CacheId, mark: u64) -> ! {
        let context = self.context(cache);
        let found = context.and_then(|context| context.find(context.start_of(mark)));
        let kind = match found {
            Some(_) => MisuseKind::DoubleFreeOrOverwritten,
            None => MisuseKind::InvalidFree,
        };
        self.report(cache, kind, mark)
    }

    #[cold]
    #[inline(never)]
    pub(super) fn report(&self, cache: CacheId, kind: MisuseKind, mark: u64) -> ! {
        let Description { name, geometry, .. } = self.describe(cache);
        let address = VirtAddr::new(mark.wrapping_sub(u64::from(geometry.mark_offset)));
        die(&Misuse {
            cache: name,
            kind,
            address,
        })
    }
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
