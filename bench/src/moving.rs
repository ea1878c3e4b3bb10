//! Compaction: memory full of holes between blocks that can be moved, and what it costs to close them.

use crate::generator::XorshiftStar;
use crate::meter::Meter;
use crate::ops;
use crate::plan::{Family, Figure};
use crate::report::Reporter;
use crate::workload::OutOfMemory;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use kernel::mm::addr::{Order, Pfn};
use kernel::mm::compaction::{Immovable, MovableOwner, OwnerId, OwnersFull};
use kernel::mm::frames::{self, Frames};
use kernel::mm::gfp::Gfp;
use spin::Once;

/// Single frames that are taken first: 60 of 64 MiB.
const FRAMES: usize = 15_360;
/// What is made of them: blocks of 2 MiB.
const ORDER: u64 = 9;

/// Where each frame is now; 0 for those that were given back.
static PLACES: [AtomicU32; FRAMES] = [const { AtomicU32::new(0) }; FRAMES];

/// Owns the frames, each under its place in the table. Nobody reads or writes what is in them.
struct Mover;

impl MovableOwner for Mover {
    fn name(&self) -> &'static str {
        "bench"
    }

    fn migrate(
        &self,
        key: u64,
        _from: Pfn,
        to: Pfn,
        copy: &mut dyn FnMut(),
    ) -> Result<(), Immovable> {
        let place = usize::try_from(key).ok().and_then(|key| PLACES.get(key));
        let place = place.ok_or(Immovable)?;
        copy();
        place.store(to.get(), Relaxed);
        Ok(())
    }
}

fn owner(frames: &'static Frames<'static>) -> Result<OwnerId, OwnersFull> {
    static OWNER: Once<Result<OwnerId, OwnersFull>> = Once::new();
    *OWNER.call_once(|| frames.register_owner(&Mover))
}

/// Single movable frames, of which a random half was given back; given back as a whole when dropped.
#[derive(Debug)]
pub struct Holes {
    frames: &'static Frames<'static>,
    owner: OwnerId,
}

impl Holes {
    /// Takes the frames and leaves the holes; `None` if boot has set up no frames, or if there is no
    /// place for another owner.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`].
    pub fn new(random: &mut XorshiftStar) -> Option<Result<Self, OutOfMemory>> {
        let frames = frames::global()?;
        let owner = owner(frames).ok()?;
        let holes = Self { frames, owner };
        Some(holes.fill(random).map(|()| holes))
    }

    fn fill(&self, random: &mut XorshiftStar) -> Result<(), OutOfMemory> {
        for (key, place) in (0..).zip(&PLACES) {
            let block = frames::alloc(Order::ZERO, Gfp::KERNEL | Gfp::MOVABLE);
            let block = block.map_err(|_| OutOfMemory {
                amount: 0,
                operation: key,
            })?;
            place.store(block.get(), Relaxed);
            self.frames
                .own(block, Order::ZERO, self.owner, u64::from(key));
        }
        for key in 0..FRAMES {
            if random.below(2) == 0 {
                self.give_back(key);
            }
        }
        self.frames.drain_lists();
        Ok(())
    }

    fn give_back(&self, key: usize) {
        let place = &PLACES[key];
        let block = Pfn::new(place.load(Relaxed));
        if block.get() == 0 {
            return;
        }
        // Nothing moves while this core is here.
        let was_there = self
            .frames
            .disown(block, Order::ZERO, self.owner, key as u64);
        let freed = frames::free(block, Order::ZERO);
        assert!(
            was_there && freed.is_ok(),
            "frame {key} is not at {block:?}"
        );
        place.store(0, Relaxed);
    }

    /// Compacts all memory in one call, and reports what that took.
    pub fn compact(&self, meter: &Meter, reporter: &Reporter, family: &Family) {
        let sample = ops::compact(meter, ORDER);
        reporter.figure(family, Figure::Cost, sample.cost);
        reporter.figure(family, Figure::Moved, sample.result >> 32);
        let cleared = sample.result & u64::from(u32::MAX);
        reporter.figure(family, Figure::Cleared, cleared);
    }
}

impl Drop for Holes {
    fn drop(&mut self) {
        (0..FRAMES).for_each(|key| self.give_back(key));
    }
}
