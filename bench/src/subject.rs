//! A pair of operations as a workload's subject: what times them.
use crate::meter::{self, Meter, Sample};
use crate::ops::Ops;
use crate::plan::Operation;
use crate::samples::Samples;
use crate::workload::{Count, Subject};

/// Runs `ops` and keeps their samples.
#[derive(Debug)]
pub struct Timed<'a> {
    meter: &'a Meter,
    ops: Ops<'a>,
    samples: &'a mut [Samples; Operation::ALL.len()],
}

impl<'a> Timed<'a> {
    /// A subject of `ops`, timed by `meter` into `samples`.
    pub const fn new(
        meter: &'a Meter,
        ops: Ops<'a>,
        samples: &'a mut [Samples; Operation::ALL.len()],
    ) -> Self {
        Self {
            meter,
            ops,
            samples,
        }
    }

    /// How many operations fragment the memory of what it runs.
    pub const fn fragment(&self) -> Count {
        self.ops.fragment
    }

    /// Forgets the first operations, when those that prepare memory are over.
    pub fn forget_cold(&mut self) {
        for operation in Operation::PAIR {
            self.samples[operation.index()].forget();
        }
    }

    /// The same, without a word when memory runs out.
    pub fn quietly(&mut self) -> Timed<'_> {
        Timed::new(self.meter, self.ops.quiet(), self.samples)
    }

    /// Bytes that the allocator keeps outside of the memory that it hands out.
    pub const fn kept_bytes(&self) -> u64 {
        self.ops.kept_bytes
    }

    /// Its meter, its operations and where their samples go, for what runs on several cores.
    pub const fn parts(&mut self) -> (&'a Meter, Ops<'a>, &mut [Samples; Operation::ALL.len()]) {
        (self.meter, self.ops, self.samples)
    }

    fn take(&mut self, operation: Operation, amount: u32, sample: Sample, recorded: bool) -> u64 {
        let observed = sample.observed(amount.into());
        self.samples[operation.index()].take(observed, recorded);
        sample.result
    }
}

impl Subject for Timed<'_> {
    fn alloc(&mut self, amount: u32, recorded: bool) -> Option<u64> {
        if self.samples[Operation::Alloc.index()].is_watched() {
            meter::watched(self.ops.alloc);
        }
        let sample = self.ops.alloc(self.meter, amount);
        let block = self.take(Operation::Alloc, amount, sample, recorded);
        (block != 0).then_some(block)
    }

    fn free(&mut self, block: u64, amount: u32, recorded: bool) {
        if self.samples[Operation::Free.index()].is_watched() {
            meter::watched(self.ops.free);
        }
        let sample = self.ops.free(self.meter, block, amount);
        self.take(Operation::Free, amount, sample, recorded);
    }
}
