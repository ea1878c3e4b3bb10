//! What a bench run found, as data: the same for every format.

use super::goals::Outcome;
use super::peers::Peer;
use serde::Serialize;
use std::collections::BTreeMap;
use wire::histogram;

/// Version of the JSON layout.
pub const SCHEMA: u32 = 1;

/// A finished run. Field order is the JSON's.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What the counter counts.
    pub unit: &'static str,
    /// Where the run took place.
    #[serde(flatten)]
    pub provenance: Provenance,
    /// What an empty measurement read; subtracted everywhere.
    pub overhead: u64,
    /// The crates that were measured beside ours.
    pub peers: Vec<Peer>,
    /// The rows, in the order measured.
    pub rows: Vec<Row>,
    /// Figures that are no latencies.
    pub values: Vec<Value>,
    /// Rows that are left out, each with the reason.
    pub excluded: Vec<Excluded>,
    /// What rows must reach, and whether they do.
    pub goals: Vec<Outcome>,
}

/// Everything that must be equal for two runs to be comparable. Nothing in it tells the time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// The board, by QEMU's name.
    pub machine: String,
    /// The CPU model, by QEMU's name.
    pub cpu: String,
    /// `MIDR_EL1`, which identifies the CPU, in hexadecimal.
    pub midr: String,
    /// The exception level that the image was entered at.
    pub el: u8,
    /// The machine's memory, as QEMU takes it.
    pub mem: String,
    /// The machine's cores.
    pub smp: u32,
    /// The kernel's checking tier.
    pub tier: String,
    /// Seed of the seeded rows; 0 for the published sequences.
    pub seed: u64,
    /// The compiler.
    pub rustc: String,
    /// A checksum of the target's `core` library.
    pub core: String,
    /// QEMU's version.
    pub qemu: String,
    /// The commit, `-dirty` behind it if files differ from it.
    pub commit: String,
}

/// One row: how one operation's costs are distributed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Samples.
    pub n: u64,
    /// The very first operation.
    pub cold: u64,
    /// The smallest sample.
    pub min: u64,
    /// Half of the samples cost this or less; and so on. See [`Histogram::percentile`].
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p999: u64,
    /// The largest sample.
    pub max: u64,
    /// The mean, to the hundredth.
    pub mean: f64,
}

/// A figure that is no latency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Value {
    /// Its name.
    pub name: String,
    /// The figure.
    pub value: u64,
    /// Its unit.
    pub unit: String,
}

/// Rows that are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Excluded {
    /// The front of their names.
    pub name: String,
    /// Why.
    pub why: String,
}

impl Excluded {
    /// Whether the row or figure `name` is one of them.
    pub fn covers(&self, name: &str) -> bool {
        let rest = name.strip_prefix(&self.name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// What a row's end says, as the image counted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Samples.
    pub n: u64,
    /// The very first operation.
    pub cold: u64,
    /// The smallest sample.
    pub min: u64,
    /// The largest.
    pub max: u64,
    /// The sum of all.
    pub sum: u64,
}

/// A row's samples by bucket.
#[derive(Clone, Debug, Default)]
pub struct Histogram(BTreeMap<u16, u64>);

impl Histogram {
    /// Adds `count` samples of the bucket `index`.
    pub fn add(&mut self, index: u16, count: u32) {
        *self.0.entry(index).or_default() += u64::from(count);
    }

    /// Number of samples.
    pub fn samples(&self) -> u64 {
        self.0.values().sum()
    }

    /// The sample that `per_mille` of all samples do not exceed, by the nearest-rank definition: the
    /// ⌈n × per mille / 1000⌉-th smallest. Exact below 1,024; above, the lowest value of its bucket,
    /// which is under 1 % below it. 0 without samples.
    pub fn percentile(&self, per_mille: u64) -> u64 {
        let rank = (self.samples() * per_mille).div_ceil(1000).max(1);
        let mut below = 0;
        let bucket = self.0.iter().find(|&(_, &count)| {
            below += count;
            below >= rank
        });
        bucket.map_or(0, |(&index, _)| histogram::lowest(usize::from(index)))
    }
}

impl Row {
    /// A row of these samples.
    pub fn new(name: &str, totals: &Totals, histogram: &Histogram) -> Self {
        // A bucket's lowest value may lie below the smallest sample in it.
        let at = |per_mille| {
            histogram
                .percentile(per_mille)
                .clamp(totals.min, totals.max)
        };
        Self {
            name: name.to_owned(),
            n: totals.n,
            cold: totals.cold,
            min: totals.min,
            p50: at(500),
            p90: at(900),
            p99: at(990),
            p999: at(999),
            max: totals.max,
            mean: mean(totals),
        }
    }
}

/// The mean to the hundredth, half up, computed in integers so that it depends on nothing else.
fn mean(totals: &Totals) -> f64 {
    let n = u128::from(totals.n.max(1));
    let hundredths = (u128::from(totals.sum) * 100 + n / 2) / n;
    #[expect(
        clippy::cast_precision_loss,
        reason = "a double holds hundredths below 2^53 exactly enough"
    )]
    let hundredths = hundredths as f64;
    hundredths / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(samples: &[u64]) -> Row {
        let mut histogram = Histogram::default();
        for &sample in samples {
            histogram.add(u16::try_from(histogram::bucket(sample)).unwrap(), 1);
        }
        let totals = Totals {
            n: samples.len() as u64,
            cold: 9,
            min: samples.iter().copied().min().unwrap_or(0),
            max: samples.iter().copied().max().unwrap_or(0),
            sum: samples.iter().sum(),
        };
        Row::new("x", &totals, &histogram)
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let hundred: Vec<u64> = (1..=100).collect();
        let many = row(&hundred);
        assert_eq!((many.p50, many.p90, many.p99, many.p999), (50, 90, 99, 100));
        assert_eq!((many.min, many.max, many.mean), (1, 100, 50.5));
        let one = row(&[7]);
        assert_eq!((one.p50, one.p90, one.p99, one.p999), (7, 7, 7, 7));
    }

    #[test]
    fn a_row_without_samples_is_all_zero() {
        let empty = row(&[]);
        assert_eq!((empty.n, empty.p50, empty.p999, empty.mean), (0, 0, 0, 0.0));
    }

    proptest! {
        #[test]
        fn percentiles_are_within_one_percent_of_the_sorted_samples(
            samples in prop::collection::vec(prop_oneof![0_u64..2000, 0_u64..1_000_000], 1..300),
        ) {
            let row = row(&samples);
            let mut sorted = samples;
            sorted.sort_unstable();
            let n = sorted.len();
            for (per_mille, found) in [(500, row.p50), (900, row.p90), (990, row.p99), (999, row.p999)] {
                let exact = sorted[(n * per_mille).div_ceil(1000) - 1];
                prop_assert!(found <= exact && (exact - found) * 100 <= exact, "{found} {exact}");
                prop_assert!(exact >= histogram::EXACT || found == exact);
            }
        }
    }
}
