//! What a row has measured: a histogram of fixed size by path, and a few sums, in memory that no
//! allocator owns.
//!
//! Nothing is ever allocated for a sample, so a row of a million operations disturbs what it measures
//! as little as a row of ten.
//!
//! # Shape
//!
//! Samples are counted in cells, one for each bucket and path that there was, in a table that is
//! searched from the hash of both onward. A row takes some hundred of them; one that needs more than
//! there are says so in [`Samples::lost`], and counts as not measured.

use wire::bench::{self, CELL_BYTES};
use wire::event::MOST;
use wire::histogram;
use wire::path::Path;

/// Cells that one record carries: with its name, well below the longest frame worth losing.
pub const CHUNK_CELLS: usize = 80;
/// Cells of a row.
const CELLS: usize = 1 << 13;
/// Paths of a row; those for which there is no room share the last one, as [`Path::OTHER`].
const PATHS: usize = 64;

/// What one operation gave.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observed {
    /// What it cost.
    pub cost: u64,
    /// What it was given: bytes, or an order.
    pub amount: u64,
    /// How it went.
    pub path: Path,
    /// How often each event happened that is counted.
    pub events: [u32; MOST],
}

impl Observed {
    /// A cost of which nothing else is known.
    pub fn cost(cost: u64) -> Self {
        Self {
            cost,
            ..Self::default()
        }
    }
}

/// The samples of one row.
#[derive(Debug)]
pub struct Samples {
    cells: [bench::Cell; CELLS],
    paths: [Taken; PATHS],
    used_paths: usize,
    lost: u64,
    /// The operation that a debugger waits for.
    watched: Option<u64>,
    totals: Totals,
}

/// The samples that took one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The path.
    pub path: Path,
    /// Samples.
    pub n: u64,
    /// The sum of these.
    pub sum: u64,
    /// The smallest.
    pub min: u64,
    /// The largest.
    pub max: u64,
}

impl Taken {
    const NONE: Self = Self {
        path: Path::HIT,
        n: 0,
        sum: 0,
        min: u64::MAX,
        max: 0,
    };

    fn take(&mut self, cost: u64) {
        self.n += 1;
        self.sum += cost;
        self.min = self.min.min(cost);
        self.max = self.max.max(cost);
    }
}

/// What a row's end says besides the histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Operations, recorded or not.
    pub operations: u64,
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
    /// Which operation the first of the largest samples was, from 0.
    pub at: u64,
    /// What that one was given.
    pub amount: u64,
    /// How it went.
    pub path: Path,
    /// How often each event happened in all samples.
    pub events: [u64; MOST],
}

const EMPTY: bench::Cell = bench::Cell {
    bucket: 0,
    path: 0,
    count: 0,
};

impl Samples {
    /// No samples.
    pub const fn new() -> Self {
        Self {
            cells: [EMPTY; CELLS],
            paths: [Taken::NONE; PATHS],
            used_paths: 0,
            lost: 0,
            watched: None,
            totals: Totals {
                operations: 0,
                n: 0,
                cold: None,
                min: 0,
                max: 0,
                sum: 0,
                at: 0,
                amount: 0,
                path: Path::HIT,
                events: [0; MOST],
            },
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.cells.fill(EMPTY);
        self.used_paths = 0;
        self.lost = 0;
        self.watched = None;
        self.totals = Totals::default();
    }

    /// Forgets everything but how many operations there were.
    pub fn forget(&mut self) {
        let (operations, watched) = (self.totals.operations, self.watched);
        self.clear();
        (self.totals.operations, self.watched) = (operations, watched);
    }

    /// Lets a debugger wait for the operation numbered `at`.
    pub const fn watch(&mut self, at: u64) {
        self.watched = Some(at);
    }

    /// Whether the next operation is the one that a debugger waits for.
    pub fn is_watched(&self) -> bool {
        self.watched == Some(self.totals.operations)
    }

    /// Takes one operation; as a sample only if `recorded`.
    pub fn take(&mut self, observed: Observed, recorded: bool) {
        let Observed {
            cost,
            amount,
            path,
            events,
        } = observed;
        let totals = &mut self.totals;
        totals.cold.get_or_insert(cost);
        let at = totals.operations;
        totals.operations += 1;
        if !recorded {
            return;
        }
        if totals.n == 0 || cost > totals.max {
            (totals.at, totals.amount, totals.path) = (at, amount, path);
        }
        totals.min = if totals.n == 0 {
            cost
        } else {
            totals.min.min(cost)
        };
        totals.n += 1;
        totals.max = totals.max.max(cost);
        totals.sum += cost;
        for (sum, event) in totals.events.iter_mut().zip(events) {
            *sum += u64::from(event);
        }
        let index = self.path(path);
        self.paths[index].take(cost);
        self.count(histogram::bucket(cost), index);
    }

    /// The number of `path`.
    fn path(&mut self, path: Path) -> usize {
        let used = self.used_paths;
        if let Some(index) = self.paths[..used]
            .iter()
            .position(|known| known.path == path)
        {
            return index;
        }
        if used == PATHS {
            self.paths[PATHS - 1].path = Path::OTHER;
            return PATHS - 1;
        }
        self.paths[used] = Taken {
            path,
            ..Taken::NONE
        };
        self.used_paths = used + 1;
        used
    }

    #[expect(clippy::cast_possible_truncation, reason = "below BUCKETS and PATHS")]
    fn count(&mut self, bucket: usize, path: usize) {
        let (bucket, path) = (bucket as u16, path as u8);
        let start = usize::from(bucket) * 7 + usize::from(path) * 1021;
        for step in 0..CELLS {
            let cell = &mut self.cells[(start + step) % CELLS];
            if cell.count == 0 {
                (cell.bucket, cell.path) = (bucket, path);
            }
            if (cell.bucket, cell.path) == (bucket, path) {
                cell.count += 1;
                return;
            }
        }
        self.lost += 1;
    }

    /// The sums.
    pub const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Samples for which there was no cell.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// The paths that there were, by their numbers.
    pub fn paths(&self) -> impl Iterator<Item = (u8, &Taken)> {
        (0..).zip(&self.paths[..self.used_paths])
    }

    /// Calls `out` with the filled cells, as [`bench::Record::Buckets`] carries them.
    pub fn chunks(&self, mut out: impl FnMut(&[u8])) {
        let mut chunk = [0; CHUNK_CELLS * CELL_BYTES];
        let mut used = 0;
        for cell in self.cells.iter().filter(|cell| cell.count > 0) {
            chunk[used..used + CELL_BYTES].copy_from_slice(&cell.to_bytes());
            used += CELL_BYTES;
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
    use wire::path::Step;

    #[test]
    fn the_first_operation_is_the_cold_one_though_it_is_no_sample() {
        let mut samples = Samples::new();
        let observed = |cost| Observed {
            amount: cost * 10,
            events: [1, 0, 0, 0, 0, 2],
            ..Observed::cost(cost)
        };
        samples.take(observed(900), false);
        for cost in [7, 5, 9, 9] {
            samples.take(observed(cost), true);
        }
        let expected = Totals {
            operations: 5,
            n: 4,
            cold: Some(900),
            min: 5,
            max: 9,
            sum: 30,
            at: 3,
            amount: 90,
            path: Path::HIT,
            events: [4, 0, 0, 0, 0, 8],
        };
        assert_eq!(*samples.totals(), expected);
        samples.clear();
        assert_eq!(*samples.totals(), Totals::default());
    }

    #[test]
    fn every_sample_leaves_in_some_chunk() {
        let mut samples = Box::new(Samples::new());
        let slow = Path::new(Step::Refill.bit());
        for cost in (0..400).chain([1 << 20, 1 << 50]) {
            for path in [Path::HIT, slow, slow] {
                samples.take(
                    Observed {
                        path,
                        ..Observed::cost(cost)
                    },
                    true,
                );
            }
        }
        let (mut cells, mut chunks) = (Vec::new(), 0);
        samples.chunks(|bytes| {
            chunks += 1;
            cells.extend(bench::cells(bytes));
        });
        assert_eq!((chunks, cells.len()), (11, 804));
        cells.sort_by_key(|cell| (cell.bucket, cell.path));
        assert!(
            cells
                .iter()
                .step_by(2)
                .all(|cell| (cell.path, cell.count) == (0, 1))
        );
        assert!(
            cells
                .iter()
                .skip(1)
                .step_by(2)
                .all(|cell| (cell.path, cell.count) == (1, 2))
        );
        let paths: Vec<_> = samples
            .paths()
            .map(|(index, taken)| (index, taken.path, taken.n))
            .collect();
        assert_eq!(paths, [(0, Path::HIT, 402), (1, slow, 804)]);
        assert_eq!(samples.lost(), 0);
    }

    #[test]
    fn the_watched_operation_is_counted_from_the_first_one() {
        let mut samples = Box::new(Samples::new());
        samples.watch(2);
        samples.take(Observed::cost(5), false);
        samples.forget();
        assert!(!samples.is_watched());
        samples.take(Observed::cost(5), true);
        assert!(samples.is_watched());
        samples.take(Observed::cost(6), true);
        assert!(!samples.is_watched());
        assert_eq!((samples.totals().at, samples.totals().n), (2, 2));
    }

    #[test]
    fn what_finds_no_room_is_not_lost_silently() {
        let mut samples = Box::new(Samples::new());
        for word in 1..=80 {
            samples.take(
                Observed {
                    path: Path::sent(word),
                    ..Observed::cost(1)
                },
                true,
            );
        }
        let (last, taken) = samples.paths().last().unwrap();
        assert_eq!((last, taken.path, taken.n), (63, Path::OTHER, 17));
        for cost in 0..1_000 {
            for word in 1..=9 {
                samples.take(
                    Observed {
                        path: Path::sent(word),
                        ..Observed::cost(cost)
                    },
                    true,
                );
            }
        }
        let (had, again) = (64, 9);
        assert_eq!(samples.lost(), had + 9_000 - again - CELLS as u64);
    }
}
