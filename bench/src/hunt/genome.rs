//! Sequences of operations, in memory of a fixed size.

use wire::path::Path;

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Allocates into a slot, if it is empty.
    Alloc {
        /// The slot.
        slot: u16,
        /// Bytes, or an order.
        amount: u32,
    },
    /// Frees what is in a slot, if anything.
    Free {
        /// The slot.
        slot: u16,
    },
}

impl Step {
    /// What memory for steps holds before there are any.
    pub const NONE: Self = Self::Free { slot: 0 };

    /// The slot that it works on.
    pub const fn slot(self) -> u16 {
        match self {
            Self::Alloc { slot, .. } | Self::Free { slot } => slot,
        }
    }

    /// The same on another slot.
    pub const fn on(self, slot: u16) -> Self {
        match self {
            Self::Alloc { amount, .. } => Self::Alloc { slot, amount },
            Self::Free { .. } => Self::Free { slot },
        }
    }
}

/// The costliest operation of a genome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figure {
    /// What it cost.
    pub cost: u64,
    /// Steps up to it, itself included.
    pub steps: usize,
    /// The path that it took.
    pub path: Path,
}

/// A sequence of steps, and what it was found to cost.
#[derive(Debug)]
pub struct Genome<'m> {
    memory: &'m mut [Step],
    used: usize,
    /// What the last evaluation found.
    pub figure: Figure,
}

impl<'m> Genome<'m> {
    /// No steps, in `memory`, which is as many as there will ever be.
    pub fn new(memory: &'m mut [Step]) -> Self {
        Self {
            memory,
            used: 0,
            figure: Figure::default(),
        }
    }

    /// Its steps.
    pub fn steps(&self) -> &[Step] {
        &self.memory[..self.used]
    }

    /// Its steps, to be changed.
    pub fn steps_mut(&mut self) -> &mut [Step] {
        &mut self.memory[..self.used]
    }

    /// Steps that still fit.
    pub const fn room(&self) -> usize {
        self.memory.len() - self.used
    }

    /// Becomes the same as `other`, as far as it fits.
    pub fn copy_from(&mut self, other: &Genome<'_>) {
        self.used = 0;
        self.insert(0, other.steps());
        self.figure = other.figure;
    }

    /// Adds a step; whether it fits.
    pub fn push(&mut self, step: Step) -> bool {
        let place = self.memory.get_mut(self.used);
        self.used += usize::from(place.is_some());
        place.map(|place| *place = step).is_some()
    }

    /// Puts `steps` before the one at `at`, as many as fit.
    pub fn insert(&mut self, at: usize, steps: &[Step]) {
        let count = steps.len().min(self.room());
        self.memory.copy_within(at..self.used, at + count);
        self.memory[at..at + count].copy_from_slice(&steps[..count]);
        self.used += count;
    }

    /// Takes `count` steps out, from `at` on.
    pub fn remove(&mut self, at: usize, count: usize) {
        self.memory.copy_within(at + count..self.used, at);
        self.used -= count;
    }

    /// Keeps the first `count` steps.
    pub const fn truncate(&mut self, count: usize) {
        if count < self.used {
            self.used = count;
        }
    }

    /// Shows each step in turn to `keeps`, and drops those that it does not keep.
    pub fn retain(&mut self, mut keeps: impl FnMut(Step) -> bool) {
        let mut kept = 0;
        for index in 0..self.used {
            let step = self.memory[index];
            if keeps(step) {
                self.memory[kept] = step;
                kept += 1;
            }
        }
        self.used = kept;
    }
}
