//! The protocols between cores, over every interleaving that loom finds.
//!
//! The files of `sync` that cross cores name their atomics from one place, so that they are compiled
//! here once more over loom's: what is checked is the code that runs. So is the depot, by which caches'
//! objects go from core to core, over objects whose words are loom's.
#![cfg(not(target_os = "none"))]
#![allow(
    unsafe_code,
    reason = "shares a cell between threads, under the lock that is modelled"
)]

#[path = "../src/sync"]
mod sync {
    mod atomic {
        pub(super) use loom::sync::atomic::{AtomicU32, Ordering};
    }

    mod wait {
        use super::atomic::AtomicU32;

        pub(super) fn while_holds(_word: &AtomicU32, _seen: u32) {
            loom::thread::yield_now();
        }
    }

    mod asked;
    #[allow(dead_code, reason = "no model takes a lock away from a core that died")]
    mod ticket;

    /// A value behind the lock; loom fails where two threads are in there at once.
    pub(crate) struct Locked<T> {
        tickets: ticket::Tickets,
        value: loom::cell::UnsafeCell<T>,
    }

    // SAFETY: the value is reached with the lock held, which is what the models check.
    unsafe impl<T: Send> Sync for Locked<T> {}

    impl<T> Locked<T> {
        pub(crate) fn new(value: T) -> Self {
            Self {
                tickets: ticket::Tickets::new(atomic::AtomicU32::new(0), atomic::AtomicU32::new(0)),
                value: loom::cell::UnsafeCell::new(value),
            }
        }

        pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
            let ticket = self.tickets.lock();
            // SAFETY: the lock is held.
            let result = self.value.with_mut(|value| work(unsafe { &mut *value }));
            self.tickets.unlock(&ticket);
            result
        }
    }

    mod locks {
        use super::{
            atomic::AtomicU32,
            ticket::{Ticket, Tickets},
        };
        use loom::{cell::Cell, sync::Arc, thread};

        struct Counter {
            tickets: Tickets,
            /// Loom fails where two threads are in here at once, or one does not see the other's store.
            value: Cell<u32>,
        }

        // SAFETY: the cell is reached with the lock held, which is what the models check.
        unsafe impl Sync for Counter {}
        // SAFETY: a number.
        unsafe impl Send for Counter {}

        impl Counter {
            fn new() -> Arc<Self> {
                Arc::new(Self {
                    tickets: Tickets::new(AtomicU32::new(0), AtomicU32::new(0)),
                    value: Cell::new(0),
                })
            }

            fn add_one(&self, ticket: &Ticket) {
                self.value.set(self.value.get() + 1);
                self.tickets.unlock(ticket);
            }
        }

        #[test]
        fn a_lock_is_handed_over_with_what_its_holder_did() {
            loom::model(|| {
                let counter = Counter::new();
                let other = Arc::clone(&counter);
                let other = thread::spawn(move || {
                    other.add_one(&other.tickets.lock());
                    other.add_one(&other.tickets.lock());
                });
                counter.add_one(&counter.tickets.lock());
                other.join().unwrap();
                assert_eq!(counter.value.get(), 3);
            });
        }

        #[test]
        fn a_lock_that_is_only_tried_is_held_by_one() {
            loom::model(|| {
                let counter = Counter::new();
                let other = Arc::clone(&counter);
                let other = thread::spawn(move || {
                    let ticket = other.tickets.try_lock();
                    ticket.iter().for_each(|ticket| other.add_one(ticket));
                    u32::from(ticket.is_some())
                });
                counter.add_one(&counter.tickets.lock());
                let taken = 1 + other.join().unwrap();
                assert_eq!(counter.value.get(), taken);
                assert!(counter.tickets.try_lock().is_some(), "it is free again");
            });
        }
    }

    mod requests {
        use super::{asked::Asked, atomic::AtomicU32};
        use loom::{
            sync::{Arc, Notify, atomic::Ordering},
            thread,
        };

        /// A core, its interrupt line, and what the others hand it.
        struct Core {
            asked: Asked,
            line: Notify,
            given: [AtomicU32; 2],
        }

        #[test]
        fn every_request_is_honoured_after_it_was_made() {
            // Every schedule would take 40 seconds.
            let mut model = loom::model::Builder::new();
            model.preemption_bound = Some(3);
            model.check(|| {
                let core = Arc::new(Core {
                    asked: Asked::new(AtomicU32::new(0)),
                    line: Notify::new(),
                    given: [AtomicU32::new(0), AtomicU32::new(0)],
                });
                let askers: Vec<_> = (0..2)
                    .map(|number| {
                        let core = Arc::clone(&core);
                        thread::spawn(move || {
                            core.given[number].store(1, Ordering::Relaxed);
                            if core.asked.set(1 << number) {
                                core.line.notify();
                            }
                        })
                    })
                    .collect();
                // The idle loop: honour, look again, wait for an interrupt.
                let mut honoured = 0;
                while honoured != 0b11 {
                    let bits = core.asked.take();
                    for number in 0..2 {
                        if bits >> number & 1 != 0 {
                            let given = core.given[number].load(Ordering::Relaxed);
                            assert_eq!(given, 1, "honoured before it was made");
                        }
                    }
                    honoured |= bits;
                    if honoured != 0b11 && core.asked.peek() == 0 {
                        core.line.wait();
                    }
                }
                for asker in askers {
                    asker.join().unwrap();
                }
            });
        }
    }
}

mod mm {
    pub(crate) mod path {
        //! Nobody asks here which steps there were.

        pub(crate) const fn note(_: wire::path::Step) {}
    }
    pub(crate) mod magazine {
        //! Blocks whose first word is loom's, so that it notices whoever touches one that another core
        //! has; and magazines that only their thread can reach.

        use loom::cell::Cell;
        use std::{cell::RefCell, sync::Arc};

        pub(crate) const CAPACITY: u16 = 4;

        #[derive(Debug)]
        pub(crate) struct Block {
            address: u64,
            word: Arc<Word>,
        }

        #[derive(Debug)]
        struct Word(Cell<u64>);

        // SAFETY: a block is owned alone; loom fails where two threads have its word at once.
        unsafe impl Sync for Word {}
        // SAFETY: a number.
        unsafe impl Send for Word {}

        impl Block {
            pub(crate) fn new(address: u64) -> Self {
                Self {
                    address,
                    word: Arc::new(Word(Cell::new(0))),
                }
            }
            pub(crate) fn address(&self) -> u64 {
                self.address
            }
            pub(crate) fn word(&self) -> u64 {
                self.word.0.get()
            }
            pub(crate) fn set_word(&self, word: u64) {
                self.word.0.set(word);
            }
        }

        #[derive(Debug, Default)]
        pub(crate) struct Magazine(RefCell<Vec<Block>>);

        impl Magazine {
            pub(crate) fn push(&self, block: Block) -> Result<(), Block> {
                let mut blocks = self.0.borrow_mut();
                if blocks.len() == usize::from(CAPACITY) {
                    return Err(block);
                }
                block.set_word(blocks.len() as u64);
                blocks.push(block);
                Ok(())
            }
            pub(crate) fn pop(&self) -> Option<Block> {
                self.0.borrow_mut().pop()
            }
        }
    }
}

#[path = "../src/mm/slab"]
mod slab {
    #[allow(dead_code, reason = "what the models do not ask of it, the slabs do")]
    mod depot;
    #[allow(dead_code, reason = "as above")]
    mod link;
    mod geometry {
        use crate::mm::magazine::CAPACITY;

        pub(super) const LARGEST_DEPOT_BATCH: u16 = CAPACITY / 2;
    }
    mod context {
        use core::marker::PhantomData;

        /// What tells of objects that do not say where they are.
        #[derive(Default)]
        pub(super) struct Context<'c, 'f>(PhantomData<(&'c (), &'f ())>);

        impl Context<'_, '_> {
            pub(super) fn die(&self, mark: u64) -> ! {
                panic!("the object at {mark:#x} does not say where it is");
            }
        }
    }

    mod remote_frees {
        use super::{context::Context, depot::Depot, geometry::LARGEST_DEPOT_BATCH};
        use crate::{
            mm::magazine::{Block, Magazine},
            sync::Locked,
        };
        use loom::{sync::Arc, thread};
        use std::collections::BTreeSet;

        /// Objects that move at once.
        const HALF: u16 = LARGEST_DEPOT_BATCH;

        /// A cache as cores share it, with a depot and no slabs.
        type Cache = Arc<Locked<Depot>>;

        /// What a core frees that has room for nothing more.
        fn relieve(cache: &Cache, magazine: &Magazine) {
            cache.with(|depot| {
                assert!(depot.has_room(HALF));
                depot.fill(core::iter::from_fn(|| magazine.pop()).take(HALF.into()));
            });
        }

        /// What a core gets that has nothing left.
        fn refill(cache: &Cache, magazine: &Magazine) -> Option<Block> {
            cache.with(|depot| {
                let context = Context::default();
                let first = depot.take(&context);
                let rest = core::iter::from_fn(|| depot.take(&context));
                for block in rest.take(usize::from(HALF) - 1) {
                    magazine.push(block).expect("room");
                }
                first
            })
        }

        /// The objects that `core` frees.
        fn objects(core: u64) -> impl Iterator<Item = Block> {
            (0..u64::from(HALF)).map(move |index| Block::new(0x1000 * core + 0x40 * index))
        }

        /// Uses objects as whoever allocated them does.
        fn use_all(cache: &Cache, magazine: &Magazine, used: &mut BTreeSet<u64>) {
            while let Some(block) = magazine.pop().or_else(|| refill(cache, magazine)) {
                block.set_word(0xdead);
                assert!(used.insert(block.address()), "handed out twice");
            }
        }

        /// Frees the objects of `core`.
        fn free(core: u64, cache: &Cache) {
            let magazine = Magazine::default();
            for block in objects(core) {
                // Its last owner's.
                block.set_word(core);
                magazine.push(block).expect("room");
            }
            relieve(cache, &magazine);
        }

        #[test]
        fn what_two_cores_free_a_third_one_allocates_once() {
            // Every schedule would take minutes; three threads that spin for one lock have no end of
            // them, so the second core begins when the first is done.
            let mut model = loom::model::Builder::new();
            model.preemption_bound = Some(3);
            model.check(|| {
                let cache: Cache = Arc::new(Locked::new(Depot::new()));
                let others = Arc::clone(&cache);
                let others = thread::spawn(move || {
                    free(1, &others);
                    let last = thread::spawn(move || free(2, &others));
                    last.join().unwrap();
                });
                let (magazine, mut used) = (Magazine::default(), BTreeSet::new());
                use_all(&cache, &magazine, &mut used);
                others.join().unwrap();
                use_all(&cache, &magazine, &mut used);
                assert_eq!(used.len(), 2 * usize::from(HALF), "an object is lost");
            });
        }

        #[test]
        fn cores_that_exchange_objects_lose_none() {
            let mut model = loom::model::Builder::new();
            model.preemption_bound = Some(3);
            model.check(|| {
                let cache: Cache = Arc::new(Locked::new(Depot::new()));
                // Each gives its own and takes what is there, whoever gave it.
                let exchange = |core, cache: &Cache| {
                    let magazine = Magazine::default();
                    objects(core).for_each(|block| magazine.push(block).expect("room"));
                    relieve(cache, &magazine);
                    let mut used = BTreeSet::new();
                    let first = refill(cache, &magazine);
                    for block in first
                        .into_iter()
                        .chain(core::iter::from_fn(|| magazine.pop()))
                    {
                        block.set_word(core);
                        used.insert(block.address());
                    }
                    used
                };
                let other = Arc::clone(&cache);
                let other = thread::spawn(move || exchange(1, &other));
                let mut used = exchange(2, &cache);
                let theirs = other.join().unwrap();
                assert!(used.is_disjoint(&theirs), "handed out twice");
                used.extend(theirs);
                use_all(&cache, &Magazine::default(), &mut used);
                assert_eq!(used.len(), 2 * usize::from(HALF), "an object is lost");
            });
        }
    }
}
