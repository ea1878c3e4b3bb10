//! The order in which locks are taken.
//!
//! A core that holds a lock takes only locks that stand below it in [`Rank`], so no circle of cores can
//! wait for each other. Debug builds check it, and images with the feature `lock-order`: whoever takes a
//! lock out of order panics with both names, on the first run that does so, whether or not anybody was
//! waiting. In other builds a lock carries no rank and the checks are empty.
//!
//! Interrupts are masked while a lock is held, so what a core holds is what its running context holds.

/// What locks protect, in the order in which they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Rank {
    /// What an app guards: everything of the kernel's may be called while it is held.
    App,
    /// One core starts at a time.
    CoreStart,
    /// A core's user program.
    Program,
    /// The numbers of address spaces.
    Asids,
    /// What memory boot found.
    MemoryMap,
    /// Virtual areas: of vmalloc, of ioremap.
    Areas,
    /// The kernel's translation tables.
    KernelSpace,
    /// Buffers for devices.
    DmaPool,
    /// A cache comes into being once.
    CacheBirth,
    /// A cache's slabs.
    Slabs,
    /// A zone's free frames.
    Zone,
    /// A pool's free places.
    Pool,
    /// The interrupt controller.
    Interrupts,
    /// What a core is to do.
    Work,
    /// Figures for reports: nothing is called while they are held.
    Figures,
    /// The serial line.
    Console,
}

pub(super) use check::Class;
#[cfg(target_os = "none")]
pub(super) use check::check_unmasking;

#[cfg(any(debug_assertions, feature = "lock-order"))]
mod check {
    use super::Rank;
    use crate::sync::{
        irq,
        percpu::{CacheAligned, MAX_CPUS, PerCpu},
    };
    use core::cell::Cell;

    /// Most locks that a context holds at once.
    const DEPTH: usize = 16;

    static HELD: PerCpu<Cell<[Option<Rank>; DEPTH]>> =
        PerCpu::new([const { CacheAligned(Cell::new([None; DEPTH])) }; MAX_CPUS]);

    /// A lock's place in the order.
    #[derive(Debug)]
    pub(in crate::sync) struct Class(Rank);

    impl Class {
        pub(in crate::sync) const fn new(rank: Rank) -> Self {
            Self(rank)
        }

        /// Before this core waits for the lock.
        #[track_caller]
        pub(in crate::sync) fn check(&self) {
            let highest = held(|ranks| ranks.iter().flatten().max().copied());
            if let Some(highest) = highest.filter(|&highest| highest >= self.0) {
                // What is held stays so: the panic's own locks must not be checked against it.
                held(|ranks| ranks.fill(None));
                panic!(
                    "lock order: {:?} is taken while {highest:?} is held",
                    self.0
                );
            }
        }

        /// This core holds the lock.
        pub(in crate::sync) fn taken(&self) {
            held(|ranks| {
                let free = ranks.iter_mut().find(|rank| rank.is_none());
                *free.expect("no context holds that many locks") = Some(self.0);
            });
        }

        /// This core is about to give the lock back.
        pub(in crate::sync) fn released(&self) {
            held(|ranks| {
                if let Some(rank) = ranks.iter_mut().find(|rank| **rank == Some(self.0)) {
                    *rank = None;
                }
            });
        }
    }

    /// Before interrupts are unmasked: this core holds no lock.
    #[cfg(target_os = "none")]
    pub(in crate::sync) fn check_unmasking() {
        if let Some(rank) = held(|ranks| ranks.iter().flatten().max().copied()) {
            held(|ranks| ranks.fill(None));
            panic!("lock order: interrupts are unmasked while {rank:?} is held");
        }
    }

    fn held<R>(work: impl FnOnce(&mut [Option<Rank>; DEPTH]) -> R) -> R {
        let irq = irq::mask();
        let cell = HELD.get(irq.proof());
        let mut ranks = cell.get();
        let result = work(&mut ranks);
        cell.set(ranks);
        result
    }
}

#[cfg(not(any(debug_assertions, feature = "lock-order")))]
mod check {
    use super::Rank;

    /// A lock's place in the order, which nobody asks for.
    #[derive(Debug)]
    pub(in crate::sync) struct Class;

    #[cfg(target_os = "none")]
    #[inline]
    pub(in crate::sync) fn check_unmasking() {}

    impl Class {
        pub(in crate::sync) const fn new(_: Rank) -> Self {
            Self
        }

        #[inline]
        pub(in crate::sync) fn check(&self) {}

        #[inline]
        pub(in crate::sync) fn taken(&self) {}

        #[inline]
        pub(in crate::sync) fn released(&self) {}
    }
}

#[cfg(test)]
mod tests {
    use super::Rank;
    use crate::sync::SpinLock;

    #[test]
    fn locks_are_taken_downward_in_any_number_and_dropped_in_any_order() {
        let outer = SpinLock::new(Rank::Areas, 1);
        let inner = SpinLock::new(Rank::Zone, 2);
        let (first, second) = (outer.lock(), inner.lock());
        assert_eq!(*first + *second, 3);
        drop(first);
        let _third = outer.try_lock().expect("free, and nobody waits");
        drop(second);
    }

    #[test]
    #[should_panic(expected = "lock order: Slabs is taken while Zone is held")]
    fn a_lock_out_of_order_is_named_with_the_one_held() {
        let zone = SpinLock::new(Rank::Zone, ());
        let slabs = SpinLock::new(Rank::Slabs, ());
        let _held = zone.lock();
        let _ = slabs.lock();
    }

    #[test]
    #[should_panic(expected = "lock order: Zone is taken while Zone is held")]
    fn two_locks_of_one_kind_are_not_taken_together() {
        let zones = [const { SpinLock::new(Rank::Zone, ()) }; 2];
        let _held = zones[0].lock();
        let _ = zones[1].lock();
    }
}
