//! All traces on all cores at once, untimed: whether the allocators keep their promises then.
//!
//! Every core replays every trace, each begins with another one. A replay stamps and verifies each object
//! (see [`replay`](mod@crate::replay)); behind the last one all invariants are checked, and all frames must
//! be back.

use crate::cores::{self, Job};
use crate::heap::KernelHeap;
use crate::replay::{self, Entry};
use crate::table::Table;
use kernel::ExitCode;
use kernel::mm::frames;
use kernel::mm::slab::{self, SLAB};
use kernel::smp;
use kernel::sync::percpu::MAX_CPUS;
use kernel::vm::vmalloc::purge;
use wire::trace::Trace;

/// Frames that may stay in use: tables of the addresses where areas were, and notes of those.
const KEPT_FRAMES: u32 = 64;

/// A trace by name, as it is in the payload.
pub type Named = (&'static str, &'static [u8]);

/// What one core does.
#[derive(Clone, Copy, Debug)]
struct Replays<'t> {
    traces: &'t [Named],
    first: usize,
    sound: bool,
}

impl Job for Replays<'_> {
    fn run(&mut self) {
        for turn in 0..self.traces.len() {
            let (name, bytes) = self.traces[(self.first + turn) % self.traces.len()];
            self.sound &= is_sound(name, bytes);
        }
    }
}

/// Replays a trace; says on the console what was wrong.
fn is_sound(name: &str, bytes: &[u8]) -> bool {
    let Some(trace) = Trace::parse(bytes) else {
        kernel::println!("{name}: no sound trace");
        return false;
    };
    let mut entries = match Table::new(trace.totals.slots, Entry::Empty) {
        Ok(entries) => entries,
        Err(error) => {
            kernel::println!("{name}: no room for its slots: {error}");
            return false;
        }
    };
    let replayed = replay::replay(&mut KernelHeap::untimed(), &trace, &mut entries, |_| ());
    if let Err(error) = replayed {
        kernel::println!("{name}: {error}");
    }
    replayed.is_ok()
}

fn free_frames() -> u32 {
    frames::global().map_or(0, frames::Frames::free_frames)
}

/// Replays `traces` on all cores.
pub fn run(traces: impl Iterator<Item = Named>) -> ExitCode {
    let mut named: [Named; 8] = [("", &[]); 8];
    let count = named
        .iter_mut()
        .zip(traces)
        .map(|(place, trace)| *place = trace)
        .count();
    let before = free_frames();
    let mut jobs: [Replays<'_>; MAX_CPUS] = core::array::from_fn(|first| Replays {
        traces: &named[..count],
        first,
        sound: count > 0,
    });
    let jobs = &mut jobs[..smp::online().count_ones() as usize];
    cores::together(jobs);
    let mut shrinks = [Shrink; MAX_CPUS];
    cores::together(&mut shrinks[..jobs.len()]);
    purge();
    let lost = before.saturating_sub(free_frames());
    let valid =
        SLAB.validate().is_ok() && frames::global().is_some_and(|all| all.validate().is_ok());
    let sound = jobs.iter().filter(|job| job.sound).count();
    kernel::println!(
        "{count} traces on {} cores, {sound} of them without a fault; {lost} frames kept; invariants {}",
        jobs.len(),
        if valid { "hold" } else { "are broken" }
    );
    if sound == jobs.len() && valid && lost <= KEPT_FRAMES {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Gives back what a core's lists hold.
#[derive(Clone, Copy, Debug)]
struct Shrink;

impl Job for Shrink {
    fn run(&mut self) {
        slab::shrink();
    }
}
