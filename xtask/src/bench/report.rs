//! What a bench run found, as data: the same for every format, and read again from saved runs.

use super::goals::Outcome;
use super::peers::Peer;
use super::shard::Part;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use wire::histogram;

/// Version of the JSON layout.
pub const SCHEMA: u32 = 2;

/// A finished run. Field order is the JSON's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What the counter counts.
    pub unit: String,
    /// Where the run took place.
    #[serde(flatten)]
    pub provenance: Provenance,
    /// What an empty measurement read; subtracted everywhere.
    pub overhead: u64,
    /// What a lone return read after that: 1 where instructions are counted.
    pub empty: u64,
    /// What a hundred `nop`s and a return read: 101 where instructions are counted.
    pub nops: u64,
    /// The events that were asked for; none unless some were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
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
    /// What each boot executed, in their order.
    #[serde(default)]
    pub boots: Vec<BootCost>,
    /// How memory stood during the replays.
    pub timelines: Vec<Timeline>,
    /// Physical memory before and after churns.
    pub maps: Vec<Map>,
    /// Which part of a run this is, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Part>,
}

/// What a boot executed, from the image's first instruction until it had reported everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootCost {
    /// What it was for: a family of rows, a trace, or `boot/SIZE`.
    pub name: String,
    /// In the report's unit.
    pub instructions: u64,
}

/// Everything that must be equal for two runs to be comparable, but for the commit. Nothing in it tells
/// the time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The profile and the compiler's flags.
    pub flags: String,
    /// QEMU's version.
    pub qemu: String,
    /// QEMU's command line, `IMAGE` for the image. Where a trace needs more memory, it gets that.
    pub qemu_command: String,
    /// The commit, `-dirty` behind it if files differ from it.
    pub commit: String,
}

/// One row: how one operation's costs are distributed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// What it measures, in a sentence.
    pub about: String,
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
    /// The samples by the path that they took, the most frequent first.
    pub paths: Vec<Path>,
    /// The slowest sample, the first of them.
    pub slowest: Slowest,
    /// How often events happened; none unless some were asked for and are counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Counted>,
}

/// An event of the performance monitors that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its name in the Arm ARM.
    pub event: String,
    /// Its number there.
    pub number: u16,
    /// Whether it is counted: whether the PMU implements it, and has a counter for it.
    pub counted: bool,
}

/// How often an event happened during the samples of a row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    /// The event's name.
    pub event: String,
    /// How often, in all samples; what an empty measurement counts subtracted from each.
    pub sum: u64,
    /// How often a sample, to the hundredth.
    pub mean: f64,
}

impl Counted {
    /// `sum` of `event` in `n` samples.
    pub fn new(event: &str, sum: u64, n: u64) -> Self {
        Self {
            event: event.to_owned(),
            sum,
            mean: mean(sum, n),
        }
    }
}

/// Samples of a row that took the same path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Path {
    /// The path: `hit`, or its steps.
    pub path: String,
    /// Samples.
    pub n: u64,
    /// Their sum.
    pub sum: u64,
    /// The smallest.
    pub min: u64,
    /// The largest.
    pub max: u64,
    /// Buckets: the lowest value, and how many samples; lowest first. Those of all paths are the row's.
    pub histogram: Vec<(u64, u64)>,
}

/// The slowest sample of a row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slowest {
    /// Which of the row's operations it was, from 0, unrecorded ones counted.
    pub operation: u64,
    /// What that was given: bytes, or an order.
    pub amount: u64,
    /// The path that it took.
    pub path: String,
}

/// A figure that is no latency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    /// Its name.
    pub name: String,
    /// The figure.
    pub value: u64,
    /// Its unit.
    pub unit: String,
}

/// Rows that are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// How memory stood while a trace was replayed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// The trace.
    pub name: String,
    /// Events so far, bytes asked for and live, bytes of page frames held for them, and thousandths of
    /// the free frames that lie in blocks smaller than 2 MiB.
    pub points: Vec<(u64, u64, u64, u64)>,
}

/// Physical memory, in blocks of equal size in the order of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Map {
    /// When it was drawn: a family, and `before` or `after`.
    pub name: String,
    /// The number of the first block's first frame.
    pub first: u64,
    /// Frames of a block.
    pub frames: u32,
    /// Who has the most of a block, of [`wire::bench::Holder::ALL`]; its pageblock's type, of
    /// [`wire::bench::MIGRATE_TYPES`]; and how many of its frames are free.
    pub blocks: Vec<(u8, u8, u8)>,
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
pub struct Histogram(BTreeMap<u64, u64>);

impl Histogram {
    /// The histogram of `paths` together.
    pub fn of(paths: &[Path]) -> Self {
        let mut all = Self::default();
        for (lowest, count) in paths.iter().flat_map(|path| &path.histogram) {
            *all.0.entry(*lowest).or_default() += count;
        }
        all
    }

    /// How many samples it holds.
    pub fn samples(&self) -> u64 {
        self.0.values().sum()
    }

    /// The buckets: the lowest value, and how many samples; lowest first.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().map(|(&lowest, &count)| (lowest, count))
    }

    /// The value that `per_mille` thousandths of the samples do not exceed, by the nearest-rank method:
    /// exact below [`histogram::EXACT`], above it less than 1 % too low (a bucket's lowest value).
    pub fn percentile(&self, per_mille: u64) -> u64 {
        let rank = (self.samples() * per_mille).div_ceil(1000).max(1);
        let mut below = 0;
        let bucket = self.0.iter().find(|&(_, &count)| {
            below += count;
            below >= rank
        });
        bucket.map_or(0, |(&lowest, _)| lowest)
    }
}

/// The samples of one path as they arrive.
#[derive(Clone, Debug, Default)]
pub struct Arrived {
    /// What the image counted; its histogram is still empty.
    pub path: Path,
    /// Samples by bucket.
    pub buckets: BTreeMap<u16, u64>,
}

impl Arrived {
    /// The path with its histogram.
    pub fn finish(self) -> Path {
        let lowest = |(bucket, count)| (histogram::lowest(usize::from(bucket)), count);
        Path {
            histogram: self.buckets.into_iter().map(lowest).collect(),
            ..self.path
        }
    }
}

impl Row {
    /// The row `name` of samples that took `paths`, in any order.
    pub fn new(name: &str, totals: &Totals, mut paths: Vec<Path>, slowest: Slowest) -> Self {
        paths.sort_by(|a, b| (b.n, &a.path).cmp(&(a.n, &b.path)));
        let histogram = Histogram::of(&paths);
        // A bucket's lowest value may lie below the smallest sample in it.
        let at = |per_mille| {
            histogram
                .percentile(per_mille)
                .clamp(totals.min, totals.max)
        };
        Self {
            name: name.to_owned(),
            about: String::new(),
            n: totals.n,
            cold: totals.cold,
            min: totals.min,
            p50: at(500),
            p90: at(900),
            p99: at(990),
            p999: at(999),
            max: totals.max,
            mean: mean(totals.sum, totals.n),
            paths,
            slowest,
            events: Vec::new(),
        }
    }

    /// All samples by bucket.
    pub fn histogram(&self) -> Histogram {
        Histogram::of(&self.paths)
    }
}

/// The mean, rounded to the hundredth in integers, so that every host prints the same.
fn mean(sum: u64, n: u64) -> f64 {
    let n = u128::from(n.max(1));
    let hundredths = (u128::from(sum) * 100 + n / 2) / n;
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
        let mut fast = Arrived::default();
        let mut slow = Arrived::default();
        for (index, &sample) in samples.iter().enumerate() {
            let arrived = if index % 2 == 0 { &mut fast } else { &mut slow };
            let bucket = u16::try_from(histogram::bucket(sample)).unwrap();
            *arrived.buckets.entry(bucket).or_default() += 1;
        }
        let totals = Totals {
            n: samples.len() as u64,
            cold: 9,
            min: samples.iter().copied().min().unwrap_or(0),
            max: samples.iter().copied().max().unwrap_or(0),
            sum: samples.iter().sum(),
        };
        let paths = vec![fast.finish(), slow.finish()];
        Row::new("x", &totals, paths, Slowest::default())
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

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let report = Report {
            schema: SCHEMA,
            rows: vec![row(&[3, 5, 2000])],
            maps: vec![Map::default()],
            ..Report::default()
        };
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
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
