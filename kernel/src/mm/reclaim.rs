//! Getting memory back when a request finds none: from caches, from apps, and by making what is free
//! contiguous.
//!
//! # Shape
//!
//! ```text
//! no zone has a block ─► may the caller wait? ─► round: lists, shrinkers, compaction ─────┐
//!                            │ no                 a try after each that gave any           │
//!                            ▼                         ▲      gave something, rounds left  │
//!                         an error                     └───────────────────────────────────┘
//! ```
//!
//! All of it is direct: the core that needs memory gets it. There is no kernel thread to wait for. A
//! reclaim that has begun goes on up to the zones' watermark `high`, so that the next comes later.
//!
//! # Who reclaims
//!
//! Requests with [`Gfp::DIRECT_RECLAIM`], outside of interrupt handlers, with no lock held (all locks mask
//! interrupts, and that is what is looked at), and not from within a shrinker: what that asks for and does
//! not get fails at once.
//!
//! # Rounds
//!
//! | flags | rounds |
//! |---|---|
//! | [`Gfp::NORETRY`] | one, without compaction |
//! | none of these | up to 4, as long as the last gave something |
//! | [`Gfp::RETRY_MAYFAIL`] | up to 16, likewise |
//! | [`Gfp::NOFAIL`] | until 3 in a row gave nothing; then the last of the reserve, then a panic |
//!
//! # Invariants
//!
//! 1. A core's bit in `active` is set while its thread reclaims, and reclaim is not entered again then.
//! 2. No lock is held while a shrinker runs.
//!
//! # Cost
//!
//! That of the shrinkers: they are asked for what a zone lacks up to `high`, 64 frames at least, and for
//! twice as much in each further round.

mod account;
#[cfg(test)]
mod tests;

use super::addr::{Order, Pfn};
use super::frames::Frames;
use super::gfp::Gfp;
use super::path;
use super::zone::Watermarks;
use crate::sync::{
    Rank, SpinLock, irq,
    percpu::cpu,
    request::{self, Request},
    wait,
};
use core::{
    fmt,
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};
use wire::path::Step;

pub use account::Account;

/// Most shrinkers at once.
pub const SHRINKERS: usize = 16;
/// The fewest frames that a shrinker is asked for.
const LEAST_FRAMES: u32 = 64;
/// Turns for which other cores are given time to drain their lists.
const DRAIN_TURNS: u32 = 2000;
/// Rounds without any gain after which nothing more is expected.
const HOPELESS_ROUNDS: u32 = 3;

/// Somebody who holds memory that others may need more: a cache, an app.
pub trait Shrinker: Sync {
    /// What it is called in reports.
    fn name(&self) -> &'static str;

    /// Frames that it could give back at about this moment. A guess will do.
    fn reclaimable_frames(&self) -> u32;

    /// Gives back `wanted` frames, or as many as it can, to `frames`; returns how many, at least about.
    ///
    /// It runs in a thread, with interrupts on and no lock of the kernel's held: in whatever called the
    /// allocator. So it may take locks of its own only where none of their holders allocates with
    /// [`Gfp::DIRECT_RECLAIM`]; else it tries them, and gives nothing.
    fn shrink(&self, frames: &Frames<'_>, wanted: u32) -> u32;
}

/// A registered shrinker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShrinkerId(usize);

/// All [`SHRINKERS`] places are taken: unregister one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShrinkersFull;

impl fmt::Display for ShrinkersFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SHRINKERS} shrinkers are registered already")
    }
}

impl core::error::Error for ShrinkersFull {}

type Table<'t> = [Option<&'t dyn Shrinker>; SHRINKERS];

/// What a frame allocator has for reclaim.
pub(super) struct Reclaim<'t> {
    shrinkers: SpinLock<Table<'t>>,
    active: AtomicU64,
    runs: AtomicU64,
    rescued: AtomicU64,
    frames: AtomicU64,
}

/// How often memory was reclaimed, since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReclaimStatistics {
    /// Requests that found no block and could wait.
    pub runs: u64,
    /// Of these, those that had their block in the end.
    pub rescued: u64,
    /// Frames that shrinkers gave back.
    pub frames: u64,
}

impl fmt::Debug for Reclaim<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reclaim")
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}

impl<'t> Reclaim<'t> {
    pub(super) const fn new() -> Self {
        Self {
            shrinkers: SpinLock::new(Rank::Figures, [None; SHRINKERS]),
            active: AtomicU64::new(0),
            runs: AtomicU64::new(0),
            rescued: AtomicU64::new(0),
            frames: AtomicU64::new(0),
        }
    }

    fn statistics(&self) -> ReclaimStatistics {
        ReclaimStatistics {
            runs: self.runs.load(Relaxed),
            rescued: self.rescued.load(Relaxed),
            frames: self.frames.load(Relaxed),
        }
    }

    /// Those that are registered, in the order of their places.
    fn shrinkers(&self) -> impl Iterator<Item = &'t dyn Shrinker> + use<'t> {
        let table: Table<'t> = *self.shrinkers.lock();
        table.into_iter().flatten()
    }

    /// Begins, if this context may.
    fn begin(&self, gfp: Gfp) -> Option<Active<'_>> {
        if !gfp.contains(Gfp::DIRECT_RECLAIM) || irq::is_masked() {
            return None;
        }
        let bit = 1 << cpu();
        let before = self.active.fetch_or(bit, Acquire);
        (before & bit == 0).then_some(Active {
            active: &self.active,
            bit,
        })
    }
}

/// Clears a core's bit when the core is done.
struct Active<'a> {
    active: &'a AtomicU64,
    bit: u64,
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.active.fetch_and(!self.bit, Release);
    }
}

/// How long a request goes on.
#[derive(Clone, Copy, Debug)]
struct Patience {
    rounds: u32,
    hopeless: u32,
    moves: bool,
}

impl Patience {
    const fn of(gfp: Gfp) -> Self {
        let (rounds, hopeless) = if gfp.contains(Gfp::NOFAIL) {
            (u32::MAX, HOPELESS_ROUNDS)
        } else if gfp.contains(Gfp::RETRY_MAYFAIL) {
            (16, 1)
        } else if gfp.contains(Gfp::NORETRY) {
            (1, 1)
        } else {
            (4, 1)
        };
        Self {
            rounds,
            hopeless,
            moves: !gfp.contains(Gfp::NORETRY),
        }
    }
}

impl<'t> Frames<'t> {
    /// Asks `shrinker` from now on when memory is short.
    ///
    /// # Errors
    ///
    /// [`ShrinkersFull`].
    pub fn register_shrinker(
        &self,
        shrinker: &'t dyn Shrinker,
    ) -> Result<ShrinkerId, ShrinkersFull> {
        let mut table = self.reclaim.shrinkers.lock();
        let place = table.iter().position(Option::is_none);
        let place = place.ok_or(ShrinkersFull)?;
        table[place] = Some(shrinker);
        Ok(ShrinkerId(place))
    }

    /// Asks the shrinker no more; a core that is asking it at this moment is not waited for.
    pub fn unregister_shrinker(&self, id: ShrinkerId) {
        self.reclaim.shrinkers.lock()[id.0] = None;
    }

    /// How often memory was reclaimed.
    pub fn reclaim_statistics(&self) -> ReclaimStatistics {
        self.reclaim.statistics()
    }

    /// Frames that shrinkers say they could give back.
    pub fn reclaimable_frames(&self) -> u32 {
        let shrinkers = self.reclaim.shrinkers();
        shrinkers
            .map(|shrinker| shrinker.reclaimable_frames())
            .sum()
    }

    /// Gets memory back as a request would that found none, without taking any; whether there is now a
    /// block that it could have. For callers that allocate under a lock: they fail, drop it, call this,
    /// and try again.
    pub fn reclaim(&self, order: Order, gfp: Gfp) -> bool {
        let mut has_block = |frames: &Self| frames.has_block(order, gfp).then_some(());
        let Some(_active) = self.reclaim.begin(gfp) else {
            return false;
        };
        self.rounds(order, gfp, &mut has_block).is_some()
    }

    /// Takes a block that reclaim makes free; `None` if it may not reclaim, or that did not help.
    #[cold]
    #[inline(never)]
    pub(super) fn alloc_by_reclaim(&self, order: Order, gfp: Gfp) -> Option<Pfn> {
        if !self.is_possible(order, gfp) {
            return None;
        }
        let active = self.reclaim.begin(gfp);
        if active.is_some() {
            self.reclaim.runs.fetch_add(1, Relaxed);
            let mut take = |frames: &Self| frames.alloc_in_need(order, gfp);
            let block = self.rounds(order, gfp, &mut take);
            if block.is_some() {
                self.reclaim.rescued.fetch_add(1, Relaxed);
                return block;
            }
        }
        drop(active);
        if !gfp.contains(Gfp::NOFAIL) {
            return None;
        }
        let block = self.alloc_from_reserve(order, gfp);
        assert!(block.is_some(), "{}", Account::new(self, order, gfp));
        block
    }

    /// Rounds of reclaim until `attempt` succeeds, or patience is at its end.
    fn rounds<T>(
        &self,
        order: Order,
        gfp: Gfp,
        attempt: &mut dyn FnMut(&Self) -> Option<T>,
    ) -> Option<T> {
        path::note(Step::Reclaim);
        let patience = Patience::of(gfp);
        let (mut round, mut hopeless) = (0, 0);
        while round < patience.rounds && hopeless < patience.hopeless {
            let wanted = self.lack(order, gfp) << round.min(8);
            let mut gained = 0;
            self.drain_lists();
            for shrinker in self.reclaim.shrinkers() {
                let given = shrinker.shrink(self, wanted);
                self.reclaim.frames.fetch_add(given.into(), Relaxed);
                gained += given;
                if given > 0 {
                    // What came back in small blocks stands on this core's lists.
                    self.drain_lists();
                    if let Some(result) = attempt(self) {
                        return Some(result);
                    }
                }
            }
            self.drain_lists();
            self.wait_for_drains();
            if let Some(result) = attempt(self) {
                return Some(result);
            }
            if patience.moves && order > Order::ZERO && self.compact_for(order, gfp) {
                gained += 1;
                if let Some(result) = attempt(self) {
                    return Some(result);
                }
            }
            hopeless = if gained > 0 { 0 } else { hopeless + 1 };
            round += 1;
        }
        None
    }

    /// Gives other cores a moment to give back what they have listed: those that are idle or run a program do
    /// so at once, and one that is busy is not waited for.
    pub(super) fn wait_for_drains(&self) {
        for _ in 0..DRAIN_TURNS {
            if request::outstanding(self.locals.cores(), Request::DrainFrames) == 0 {
                break;
            }
            wait::pause();
        }
    }

    /// Frames that the zones which serve `gfp` lack up to their watermark `high`, and the block.
    fn lack(&self, order: Order, gfp: Gfp) -> u32 {
        let lack = self.zones_for(gfp).map(|zone| {
            let buddy = zone.lock();
            let high = Watermarks::of(buddy.managed_frames()).high;
            high.saturating_sub(buddy.free_frames())
        });
        (lack.sum::<u32>() + order.frames()).max(LEAST_FRAMES)
    }
}
