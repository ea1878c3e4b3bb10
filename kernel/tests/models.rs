//! The protocols between cores, over every interleaving that loom finds.
//!
//! The files of `sync` that cross cores name their atomics from one place, so that they are compiled
//! here once more over loom's: what is checked is the code that runs.
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
