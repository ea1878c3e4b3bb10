//! What the threads do, and how long a pair of an allocation and a free takes.

use crate::subjects::Subject;
use bench::generator::{CRATES_SEED, XorshiftStar};
use bench::workload::{self, Count, MIXED, MIXED_SLOTS, Slot};
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Blocks that are live at most.
const LIVE: usize = 512;
/// Pairs that a thread does, measured: a multiple of [`LIVE`].
const PAIRS: usize = 1 << 17;
/// Pairs before those.
const WARM_UP: usize = 1 << 13;
/// Looks at a parcel before a thread gives its processor up: longer than a batch takes.
const SPINS: u32 = 1 << 14;

/// A sequence of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    /// One block, freed at once.
    Pair,
    /// [`LIVE`] blocks, freed last in, first out.
    Lifo,
    /// [`LIVE`] blocks, freed first in, first out.
    Fifo,
    /// [`LIVE`] blocks of which a random one is replaced.
    Random,
    /// The image's workload of that name: blocks of many sizes, or orders, in random slots.
    Toggle,
    /// Blocks that another thread frees, handed over by the batch.
    Remote,
}

impl Workload {
    /// Every workload with the numbers of threads it is measured with.
    pub(crate) const ROWS: [(Self, usize); 11] = [
        (Self::Pair, 1),
        (Self::Pair, 2),
        (Self::Lifo, 1),
        (Self::Lifo, 2),
        (Self::Fifo, 1),
        (Self::Fifo, 2),
        (Self::Random, 1),
        (Self::Random, 2),
        (Self::Toggle, 1),
        (Self::Toggle, 2),
        (Self::Remote, 2),
    ];

    /// The last word of its rows' names.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pair => "pair",
            Self::Lifo => "lifo-512",
            Self::Fifo => "fifo-512",
            Self::Random => "random-512",
            Self::Toggle => "mixed/toggle",
            Self::Remote => "remote",
        }
    }

    /// Nanoseconds that a pair takes a thread, the slowest of `threads` counting.
    pub(crate) fn nanoseconds<S: Subject>(self, threads: usize, subject: &S) -> f64 {
        let (elapsed, pairs) = match self {
            Self::Remote => (remote(subject), PAIRS),
            Self::Toggle => {
                let elapsed = together(threads, |start| toggle(subject, start));
                (elapsed, MIXED.recorded as usize / 2)
            }
            _ => {
                let elapsed = together(threads, |start| self.one_thread(subject, start));
                (elapsed, PAIRS)
            }
        };
        #[expect(clippy::cast_precision_loss, reason = "some hundred thousand")]
        let pairs = pairs as f64;
        elapsed.as_secs_f64() * 1e9 / pairs
    }

    fn one_thread<S: Subject>(self, subject: &S, start: &Barrier) -> Duration {
        let mut live: Vec<u64> = Vec::with_capacity(LIVE);
        if self == Self::Random {
            live.extend((0..LIVE).map(|_| subject.alloc()));
        }
        let mut run = |pairs| match self {
            Self::Random => replace(subject, &mut live, pairs),
            Self::Pair | Self::Toggle | Self::Remote => pair(subject, pairs),
            Self::Lifo => batches(subject, &mut live, pairs, true),
            Self::Fifo => batches(subject, &mut live, pairs, false),
        };
        run(WARM_UP);
        start.wait();
        let begin = Instant::now();
        run(PAIRS);
        let elapsed = begin.elapsed();
        live.drain(..).for_each(|block| subject.free(block));
        elapsed
    }
}

/// Runs `work` on `threads` threads that start together; how long the slowest took.
fn together(threads: usize, work: impl Fn(&Barrier) -> Duration + Sync) -> Duration {
    let start = &Barrier::new(threads);
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(start))).collect();
        let elapsed = running
            .into_iter()
            .map(|thread| thread.join().expect("a thread's work"));
        elapsed.max().unwrap_or_default()
    })
}

fn pair<S: Subject>(subject: &S, pairs: usize) {
    for _ in 0..pairs {
        subject.free(black_box(subject.alloc()));
    }
}

fn batches<S: Subject>(subject: &S, live: &mut Vec<u64>, pairs: usize, last_first: bool) {
    for _ in 0..pairs / LIVE {
        for _ in 0..LIVE {
            live.push(subject.alloc());
        }
        if last_first {
            while let Some(block) = live.pop() {
                subject.free(block);
            }
        } else {
            live.drain(..).for_each(|block| subject.free(block));
        }
    }
}

fn replace<S: Subject>(subject: &S, live: &mut [u64], pairs: usize) {
    let mut random = 88_172_645_463_325_252_u64;
    for _ in 0..pairs {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let slot = &mut live[usize::try_from(random >> 40).unwrap_or(0) % LIVE];
        subject.free(*slot);
        *slot = black_box(subject.alloc());
    }
}

/// What the image's workloads call, on one thread.
struct OfAmounts<'a, S>(&'a S);

impl<S: Subject> workload::Subject for OfAmounts<'_, S> {
    fn alloc(&mut self, amount: u32, _: bool) -> Option<u64> {
        Some(self.0.alloc_of(amount))
    }

    fn free(&mut self, block: u64, amount: u32, _: bool) {
        self.0.free_of(block, amount);
    }
}

fn toggle<S: Subject>(subject: &S, start: &Barrier) -> Duration {
    let mut slots: Vec<Slot> = vec![None; MIXED_SLOTS];
    let mut draws = S::draws(XorshiftStar::new(CRATES_SEED));
    let mut run = |warm_up, recorded| {
        let count = Count { warm_up, recorded };
        let done = workload::toggle(&mut OfAmounts(subject), &mut draws, count, &mut slots);
        done.expect("an allocator that has no memory panics");
    };
    run(MIXED.warm_up, 0);
    start.wait();
    let begin = Instant::now();
    run(0, MIXED.recorded);
    let elapsed = begin.elapsed();
    workload::clear(&mut OfAmounts(subject), &mut slots);
    elapsed
}

/// Blocks on their way from the thread that allocates to the one that frees.
struct Parcel {
    full: AtomicBool,
    blocks: std::sync::Mutex<Vec<u64>>,
}

impl Parcel {
    /// Waits until it is full, or until it is empty, and lets `work` have the blocks.
    fn when(&self, full: bool, work: impl FnOnce(&mut Vec<u64>)) {
        let mut spins = 0;
        while self.full.load(Ordering::Acquire) != full {
            // On a busy machine the other thread may be waiting for this one's processor.
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
        // Never contended: the flag says whose turn it is.
        work(&mut self.blocks.lock().expect("no thread has panicked"));
        self.full.store(!full, Ordering::Release);
    }
}

/// One thread allocates, another frees, with two parcels between them; from the first allocation to the
/// last free.
fn remote<S: Subject>(subject: &S) -> Duration {
    let parcels: [Parcel; 2] = std::array::from_fn(|_| Parcel {
        full: AtomicBool::new(false),
        blocks: std::sync::Mutex::new(Vec::with_capacity(LIVE)),
    });
    let begin = thread::scope(|scope| {
        let allocating = scope.spawn(|| {
            let mut begin = Instant::now();
            for batch in 0..(WARM_UP + PAIRS) / LIVE {
                if batch == WARM_UP / LIVE {
                    begin = Instant::now();
                }
                parcels[batch % 2].when(false, |blocks| {
                    blocks.extend((0..LIVE).map(|_| subject.alloc()));
                });
            }
            begin
        });
        scope.spawn(|| {
            for batch in 0..(WARM_UP + PAIRS) / LIVE {
                let free = |blocks: &mut Vec<_>| blocks.drain(..).for_each(|b| subject.free(b));
                parcels[batch % 2].when(true, free);
            }
        });
        allocating.join().expect("the allocating thread's work")
    });
    begin.elapsed()
}
