//! What a row has measured: a histogram of fixed size and a few sums, in memory that no allocator owns.
//!
//! Nothing is ever allocated for a sample, so a row of a million operations disturbs what it measures
//! as little as a row of ten.

use wire::{bench, histogram};

/// Buckets that one record carries: with its name, well below the longest frame worth losing.
pub const CHUNK_BUCKETS: usize = 80;

/// The samples of one row.
#[derive(Debug)]
pub struct Samples {
    counts: [u32; histogram::BUCKETS],
    totals: Totals,
}

/// What a row's end says besides the histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Samples.
    pub n: u64,
    /// The first operation seen, recorded or not.
    pub cold: Option<u64>,
    /// The smallest sample; 0 without any.
    pub min: u64,
    /// The largest sample.
    pub max: u64,
    /// The sum of all samples.
    pub sum: u64,
}

impl Samples {
    /// No samples.
    pub const fn new() -> Self {
        Self {
            counts: [0; histogram::BUCKETS],
            totals: Totals {
                n: 0,
                cold: None,
                min: 0,
                max: 0,
                sum: 0,
            },
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.totals = Totals::default();
    }

    /// Takes the cost of one operation; as a sample only if `recorded`.
    pub fn take(&mut self, cost: u64, recorded: bool) {
        let totals = &mut self.totals;
        totals.cold.get_or_insert(cost);
        if recorded {
            self.counts[histogram::bucket(cost)] += 1;
            totals.min = if totals.n == 0 {
                cost
            } else {
                totals.min.min(cost)
            };
            totals.n += 1;
            totals.max = totals.max.max(cost);
            totals.sum += cost;
        }
    }

    /// The sums.
    pub const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Calls `out` with the filled buckets, in order, as [`bench::Record::Buckets`] carries them.
    pub fn chunks(&self, mut out: impl FnMut(&[u8])) {
        let mut chunk = [0; CHUNK_BUCKETS * bench::PAIR_BYTES];
        let mut used = 0;
        for (index, &count) in (0_u16..).zip(&self.counts) {
            if count == 0 {
                continue;
            }
            chunk[used..used + bench::PAIR_BYTES].copy_from_slice(&bench::pair(index, count));
            used += bench::PAIR_BYTES;
            if used == chunk.len() {
                out(&chunk);
                used = 0;
            }
        }
        if used > 0 {
            out(&chunk[..used]);
        }
    }
}

impl Default for Samples {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_operation_is_the_cold_one_though_it_is_no_sample() {
        let mut samples = Samples::new();
        samples.take(900, false);
        for cost in [7, 5, 9] {
            samples.take(cost, true);
        }
        let expected = Totals {
            n: 3,
            cold: Some(900),
            min: 5,
            max: 9,
            sum: 21,
        };
        assert_eq!(*samples.totals(), expected);
        samples.clear();
        assert_eq!(*samples.totals(), Totals::default());
    }

    #[test]
    fn every_sample_leaves_in_some_chunk() {
        let mut samples = Samples::new();
        for cost in (0..400).chain([1 << 20, 1 << 50]) {
            samples.take(cost, true);
            samples.take(cost, true);
        }
        let (mut buckets, mut chunks) = (Vec::new(), 0);
        samples.chunks(|pairs| {
            chunks += 1;
            buckets.extend(bench::pairs(pairs));
        });
        assert_eq!((chunks, buckets.len()), (6, 402));
        assert!(buckets.is_sorted());
        assert!(buckets.iter().all(|&(_, count)| count == 2));
    }
}
