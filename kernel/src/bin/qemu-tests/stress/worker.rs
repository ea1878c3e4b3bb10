//! What one core does under stress, in its thread and in interrupts.
//!
//! ```text
//!            ┌── thread ──► to_next ──► the next core's thread
//! core n     ├── thread ──► to_interrupt ──► its own interrupts
//!            └── interrupt ──► from_interrupt ──► the thread of the core after the next
//! ```
//!
//! Whoever receives a block looks at it and frees it: so blocks are freed by another core, and by
//! another context, than the one that took them.

use super::{
    block::{Block, Context},
    random::Random,
    ring::{Ring, Table},
};
use core::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use kernel::{
    arch::{cpu, timer},
    interrupt,
    mm::{addr::Order, frames, slab},
    smp,
    sync::{
        irq,
        percpu::MAX_CPUS,
        request::{self, Request},
    },
    vm::vmalloc::purge,
};

/// Blocks that a core's thread holds at most, and its interrupts.
const THREADS: usize = 256;
const INTERRUPTS: usize = 16;
/// Steps of a core in one round, and microseconds after which it is over in any case: where the host has
/// fewer cores than the machine, a core that waits for a lock keeps its holder from running.
const STEPS: usize = 20_000;
const MICROS: u64 = 1_500_000;
/// Ticks from one step to an interrupt that it asks for, at most: some steps.
const MOST_TICKS: usize = 2000;

/// A core's part.
#[derive(Debug)]
struct Core {
    held: Table<THREADS>,
    held_in_interrupts: Table<INTERRUPTS>,
    to_next: Ring,
    to_interrupt: Ring,
    from_interrupt: Ring,
    /// Where the interrupts' random numbers go on.
    interrupts: AtomicU64,
    counts: [AtomicU64; 4],
}

/// What is counted.
#[derive(Clone, Copy, Debug)]
enum Count {
    Taken,
    Refused,
    Received,
    Interrupts,
}

static CORES: [Core; MAX_CPUS] = [const {
    Core {
        held: Table::new(),
        held_in_interrupts: Table::new(),
        to_next: Ring::new(),
        to_interrupt: Ring::new(),
        from_interrupt: Ring::new(),
        interrupts: AtomicU64::new(0),
        counts: [const { AtomicU64::new(0) }; 4],
    }
}; MAX_CPUS];

/// Figures of all cores.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    /// Blocks that were allocated.
    pub(super) taken: u64,
    /// Allocations that failed.
    pub(super) refused: u64,
    /// Blocks that came from another core or context.
    pub(super) received: u64,
    /// Interrupts that allocated.
    pub(super) interrupts: u64,
}

/// The figures so far.
pub(super) fn counts() -> Counts {
    let sum = |count: Count| {
        let of = |core: &Core| core.counts[count as usize].load(Relaxed);
        CORES.iter().map(of).sum()
    };
    Counts {
        taken: sum(Count::Taken),
        refused: sum(Count::Refused),
        received: sum(Count::Received),
        interrupts: sum(Count::Interrupts),
    }
}

static SEED: AtomicU64 = AtomicU64::new(0);

/// Lets the next [`work`] draw from `seed`.
pub(super) fn seed(seed: u64) {
    SEED.store(seed, Release);
}

impl Core {
    /// This core's, and the one that many behind it.
    fn at(distance: usize) -> &'static Self {
        let cores = smp::online().count_ones() as usize;
        &CORES[(cpu::id() + cores - distance % cores) % cores]
    }

    /// One more, by its one context that counts it.
    fn count(&self, count: Count) {
        self.counts[count as usize].fetch_add(1, Relaxed);
    }

    fn take(&self, random: &mut Random, context: Context) -> Option<Block> {
        let block = Block::new(random, context);
        self.count(if block.is_some() {
            Count::Taken
        } else {
            Count::Refused
        });
        block
    }

    /// Frees what was sent to this core's thread, at most `most` blocks of each ring.
    fn receive(&self, most: usize) {
        for ring in [&Self::at(1).to_next, &Self::at(2).from_interrupt] {
            for block in (0..most).map_while(|_| ring.receive()) {
                self.count(Count::Received);
                block.free();
            }
        }
    }

    fn step(&self, random: &mut Random) {
        let index = random.below(THREADS);
        let Some(block) = self.held.take(index) else {
            if let Some(block) = self.take(random, Context::Thread) {
                self.held.put(index, block);
            }
            return;
        };
        match random.below(8) {
            0 | 1 => send(&self.to_next, block),
            2 if !block.may_wait() => send(&self.to_interrupt, block),
            3 => self.held.put(index, block.resize(random)),
            _ => block.free(),
        }
    }

    /// What goes through all memory, or to all cores.
    fn upheaval(&self, random: &mut Random) {
        let online = smp::online();
        match random.below(8) {
            0 => _ = slab::shrink(),
            1 => _ = purge(),
            2 => request::ask(online, Request::DrainObjects),
            3 => request::ask(online, Request::DrainFrames),
            4 => {
                let order = [4, 6, 9, 10][random.below(4)];
                let order = Order::new(order).expect("an order");
                frames::global().expect("up since boot").compact(order);
            }
            _ => smp::broadcast(work_in_interrupt).expect("interrupts are on"),
        }
    }
}

fn send(ring: &Ring, block: Block) {
    if let Err(block) = ring.send(block) {
        block.free();
    }
}

/// Allocates and frees as an interrupt does. With interrupts masked.
fn work_in_interrupt() {
    let core = Core::at(0);
    core.count(Count::Interrupts);
    let mut random = Random::new(SEED.load(Relaxed), core.interrupts.fetch_add(1, Relaxed));
    if let Some(block) = core.to_interrupt.receive() {
        core.count(Count::Received);
        block.free();
    }
    for _ in 0..4 {
        let index = random.below(INTERRUPTS);
        match core.held_in_interrupts.take(index) {
            None => {
                if let Some(block) = core.take(&mut random, Context::Interrupt) {
                    core.held_in_interrupts.put(index, block);
                }
            }
            Some(block) if random.below(2) == 0 => send(&core.from_interrupt, block),
            Some(block) => block.free(),
        }
    }
}

/// One core's round.
pub(super) fn work() {
    let core = Core::at(0);
    let seed = SEED.load(Acquire);
    core.interrupts.store((cpu::id() as u64 + 1) << 32, Relaxed);
    assert!(interrupt::on_timer(work_in_interrupt), "no timer interrupt");
    let mut random = Random::new(seed, cpu::id() as u64);
    let end = timer::micros() + MICROS;
    for step in (0..STEPS).take_while(|step| step % 64 > 0 || timer::micros() < end) {
        core.step(&mut random);
        match step % 16 {
            0 | 4 | 8 => core.receive(1),
            12 => timer::arm(timer::ticks() + random.below(MOST_TICKS) as u64),
            _ => {}
        }
        if random.below(400) == 0 {
            core.upheaval(&mut random);
        }
    }
    let _masked = irq::mask();
    timer::disarm();
}

/// Frees all that this core holds or was sent. No core works.
pub(super) fn give_up() {
    let core = Core::at(0);
    core.held.empty();
    core.receive(usize::MAX);
    let _masked = irq::mask();
    core.held_in_interrupts.empty();
    while let Some(block) = core.to_interrupt.receive() {
        block.free();
    }
}
