//! Gathers an image's records and believes none of them until the end marker has come.

use super::report::{
    Arrived, Counted, Event, Excluded, Map, Path, Row, Slowest, Timeline, Totals, Value,
};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use wire::bench::{self, Record, Unit};
use wire::path;

/// What an image said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// `MIDR_EL1`.
    pub midr: u64,
    /// The exception level that it was entered at.
    pub entry_el: u8,
    /// What it counted.
    pub unit: Unit,
    /// What an empty measurement read.
    pub overhead: u64,
    /// What a lone return read.
    pub empty: u64,
    /// What a hundred `nop`s and a return read.
    pub nops: u64,
    /// Its checking tier.
    pub tier: String,
}

/// Everything that has arrived.
#[derive(Debug, Default)]
pub struct Collector {
    /// The rows announced, with a sentence each.
    pub plan: Vec<(String, String)>,
    /// What the image said of itself.
    pub header: Option<Header>,
    /// Its usable memory in bytes.
    pub memory_bytes: u64,
    /// Its cores that run.
    pub cpus: u32,
    /// The events that were asked for.
    pub events: Vec<Event>,
    /// Finished rows.
    pub rows: Vec<Row>,
    /// Figures that are no latencies.
    pub values: Vec<Value>,
    /// Rows that are left out, by the front of their names.
    pub excluded: Vec<Excluded>,
    /// What went wrong, by row.
    pub failures: Vec<(String, String)>,
    /// How memory stood during replays.
    pub timelines: Vec<Timeline>,
    /// Physical memory before and after churns.
    pub maps: Vec<Map>,
    /// Whether nothing of it counts, and the run goes on.
    pub is_left_out: bool,
    arrived: HashMap<String, BTreeMap<u8, Arrived>>,
    counted: HashMap<String, Vec<(&'static str, u64)>>,
    /// What it took, boot included.
    pub spent: u64,
    ended: Option<u32>,
}

/// Why a run's records are not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CollectError {
    /// Rows that failed, each with its reason.
    Failed(Vec<(String, String)>),
    /// The end marker never came.
    NoEnd {
        /// Rows that had arrived.
        rows: usize,
    },
    /// The end marker counts other rows than arrived.
    Miscounted {
        /// Rows that the marker counts.
        sent: u32,
        /// Rows that arrived.
        arrived: usize,
    },
    /// A row that was announced and never came.
    Missing(String),
    /// No header.
    NoHeader,
    /// The image ended with this code, and did not say what failed.
    Exited(u8),
}

impl fmt::Display for CollectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(rows) => {
                let rows: Vec<String> = rows
                    .iter()
                    .map(|(name, why)| format!("{name}: {why}"))
                    .collect();
                write!(
                    f,
                    "{} could not be measured:\n  {}",
                    plural(rows.len()),
                    rows.join("\n  ")
                )
            }
            Self::NoEnd { rows } => {
                write!(
                    f,
                    "the image sent no end marker ({} had arrived)",
                    plural(*rows)
                )
            }
            Self::Miscounted { sent, arrived } => {
                write!(f, "the image sent {sent} rows, {arrived} arrived")
            }
            Self::Missing(name) => write!(f, "{name} was announced and never measured"),
            Self::NoHeader => f.write_str("the image sent no header"),
            Self::Exited(code) => write!(f, "the image exited with {code}"),
        }
    }
}

impl std::error::Error for CollectError {}

fn plural(rows: usize) -> String {
    if rows == 1 {
        "1 row".to_owned()
    } else {
        format!("{rows} rows")
    }
}

impl Collector {
    /// What is left of a boot that went wrong, of an allocator that is not ours: why its rows are missing.
    pub fn left_out(family: &str, why: &dyn fmt::Display) -> Self {
        let excluded = Excluded {
            name: family.to_owned(),
            why: why.to_string(),
        };
        Self {
            excluded: vec![excluded],
            is_left_out: true,
            ..Self::default()
        }
    }

    /// Takes one record.
    pub fn take(&mut self, record: &Record<'_>) {
        match *record {
            Record::Header {
                midr,
                entry_el,
                memory_bytes,
                cpus,
                unit,
                overhead,
                empty,
                nops,
                tier,
                ..
            } => {
                (self.memory_bytes, self.cpus) = (memory_bytes, cpus);
                self.header = Some(Header {
                    midr,
                    entry_el,
                    unit,
                    overhead,
                    empty,
                    nops,
                    tier: tier.to_owned(),
                });
            }
            Record::Row { name, about } => self.plan.push((name.to_owned(), about.to_owned())),
            Record::Path {
                name,
                index,
                word,
                n,
                sum,
                min,
                max,
            } => {
                let path = Path {
                    path: path::Path::sent(word).to_string(),
                    n,
                    sum,
                    min,
                    max,
                    histogram: Vec::new(),
                };
                self.of_row(name).entry(index).or_default().path = path;
            }
            Record::Buckets { name, cells } => {
                let paths = self.of_row(name);
                for cell in bench::cells(cells) {
                    let buckets = &mut paths.entry(cell.path).or_default().buckets;
                    *buckets.entry(cell.bucket).or_default() += u64::from(cell.count);
                }
            }
            Record::Event { event, is_counted } => self.events.push(Event {
                event: event.name().to_owned(),
                number: event.number(),
                counted: is_counted,
            }),
            Record::Counted { name, event, sum } => {
                let of_row = self.counted.entry(name.to_owned()).or_default();
                of_row.push((event.name(), sum));
            }
            Record::Done {
                name,
                n,
                cold,
                min,
                max,
                sum,
                at,
                amount,
                path,
            } => {
                let totals = Totals {
                    n,
                    cold,
                    min,
                    max,
                    sum,
                };
                let slowest = Slowest {
                    operation: at,
                    amount,
                    path: path::Path::sent(path).to_string(),
                };
                self.done(name, &totals, slowest);
            }
            Record::Point {
                name,
                at,
                asked,
                held,
                fragmented,
            } => self.point(name, (at, asked, held, fragmented)),
            Record::Map {
                name,
                first,
                frames,
                blocks,
            } => self.map(name, first, frames, blocks),
            Record::Value { name, value, unit } => {
                let (name, unit) = (name.to_owned(), unit.to_owned());
                self.values.push(Value { name, value, unit });
            }
            Record::Excluded { name, why } => {
                let (name, why) = (name.to_owned(), why.to_owned());
                self.excluded.push(Excluded { name, why });
            }
            Record::Failed { name, why } => self.fail(name, why.to_owned()),
            Record::Spent { cycles } => self.spent = cycles,
            Record::End { rows } => self.ended = Some(rows),
            // What begins is for the progress bar alone, and newer records are for newer hosts.
            _ => {}
        }
    }

    fn of_row(&mut self, name: &str) -> &mut BTreeMap<u8, Arrived> {
        self.arrived.entry(name.to_owned()).or_default()
    }

    fn done(&mut self, name: &str, totals: &Totals, slowest: Slowest) {
        let arrived = self.arrived.remove(name).unwrap_or_default();
        let paths: Vec<Path> = arrived.into_values().map(Arrived::finish).collect();
        let counted = |path: &Path| path.histogram.iter().map(|(_, count)| count).sum::<u64>();
        let cells: u64 = paths.iter().map(counted).sum();
        if cells == totals.n && paths.iter().all(|path| counted(path) == path.n) {
            let about = self.plan.iter().find(|(row, _)| row == name);
            let about = about.map_or_else(String::new, |(_, about)| about.clone());
            let row = Row::new(name, totals, paths, slowest);
            let events = self.counted.remove(name).unwrap_or_default();
            let events = events.into_iter();
            let events = events
                .map(|(event, sum)| Counted::new(event, sum, totals.n))
                .collect();
            self.rows.push(Row {
                about,
                events,
                ..row
            });
        } else {
            let n = totals.n;
            self.fail(name, format!("its histogram holds {cells} samples of {n}"));
        }
    }

    fn point(&mut self, name: &str, point: (u64, u64, u64, u64)) {
        match self.timelines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.points.push(point),
            None => self.timelines.push(Timeline {
                name: name.to_owned(),
                points: vec![point],
            }),
        }
    }

    fn map(&mut self, name: &str, first: u64, frames: u32, blocks: &[u8]) {
        if self.maps.last().is_none_or(|map| map.name != name) {
            self.maps.push(Map {
                name: name.to_owned(),
                first,
                frames,
                blocks: Vec::new(),
            });
        }
        let blocks = blocks.chunks_exact(2);
        let blocks = blocks.map(|block| (block[0] & 15, block[0] >> 4, block[1]));
        if let Some(map) = self.maps.last_mut() {
            map.blocks.extend(blocks);
        }
    }

    fn fail(&mut self, name: &str, why: String) {
        self.failures.push((name.to_owned(), why));
    }

    /// Whether everything announced has arrived, after its end marker and without failures.
    ///
    /// # Errors
    ///
    /// See [`CollectError`].
    pub fn check(&self) -> Result<&Header, CollectError> {
        if !self.failures.is_empty() {
            return Err(CollectError::Failed(self.failures.clone()));
        }
        let arrived = self.rows.len();
        let sent = self.ended.ok_or(CollectError::NoEnd { rows: arrived })?;
        if usize::try_from(sent) != Ok(arrived) {
            return Err(CollectError::Miscounted { sent, arrived });
        }
        let absent = |name: &str| {
            self.rows.iter().all(|row| row.name != name)
                && self.values.iter().all(|value| value.name != name)
                && !self.excluded.iter().any(|excluded| excluded.covers(name))
        };
        if let Some((name, _)) = self.plan.iter().find(|(name, _)| absent(name)) {
            return Err(CollectError::Missing(name.clone()));
        }
        self.header.as_ref().ok_or(CollectError::NoHeader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::bench::Cell;
    use wire::event::Event;

    const NAME: &str = "kmalloc/64/alloc";

    fn header() -> Record<'static> {
        Record::Header {
            midr: 0x410F_D083,
            entry_el: 1,
            memory_bytes: 1 << 29,
            cpus: 1,
            unit: Unit::Instructions,
            overhead: 5,
            empty: 1,
            nops: 101,
            seed: 0,
            tier: "default",
        }
    }

    fn done(n: u64) -> Record<'static> {
        Record::Done {
            name: NAME,
            n,
            cold: 90,
            min: 20,
            max: 30,
            sum: 20 * n,
            at: 7,
            amount: 64,
            path: 0,
        }
    }

    fn path(n: u64) -> Record<'static> {
        Record::Path {
            name: NAME,
            index: 0,
            word: 0,
            n,
            sum: 20 * n,
            min: 20,
            max: 30,
        }
    }

    fn cell(bucket: u16, count: u32) -> [u8; bench::CELL_BYTES] {
        let path = 0;
        Cell {
            bucket,
            path,
            count,
        }
        .to_bytes()
    }

    fn collected(records: &[Record<'_>]) -> Collector {
        let mut collector = Collector::default();
        records.iter().for_each(|record| collector.take(record));
        collector
    }

    #[test]
    fn a_whole_run_becomes_rows() {
        let (first, second) = (cell(20, 150), cell(30, 50));
        let collector = collected(&[
            header(),
            Record::Row {
                name: NAME,
                about: "About.",
            },
            Record::Begin { name: "kmalloc/64" },
            path(200),
            Record::Buckets {
                name: NAME,
                cells: &first,
            },
            Record::Buckets {
                name: NAME,
                cells: &second,
            },
            Record::Counted {
                name: NAME,
                event: Event::BrMisPred,
                sum: 25,
            },
            done(200),
            Record::Value {
                name: "v",
                value: 3,
                unit: "bytes",
            },
            Record::End { rows: 1 },
        ]);
        assert_eq!(collector.check().unwrap().overhead, 5);
        let row = &collector.rows[0];
        assert_eq!((row.n, row.cold, row.p50, row.p90), (200, 90, 20, 30));
        assert_eq!(row.about, "About.");
        assert_eq!(row.paths[0].histogram, [(20, 150), (30, 50)]);
        assert_eq!((row.slowest.operation, row.slowest.amount), (7, 64));
        assert_eq!(row.slowest.path, "hit");
        assert_eq!(row.events, [Counted::new("BR_MIS_PRED", 25, 200)]);
        assert_eq!(row.events[0].mean, 0.13);
        assert_eq!(collector.values.len(), 1);
    }

    #[test]
    fn a_run_that_is_not_whole_is_refused() {
        let cells = cell(20, 200);
        let buckets = Record::Buckets {
            name: NAME,
            cells: &cells,
        };
        let plan = Record::Row {
            name: NAME,
            about: "About.",
        };
        let check = |records: &[Record<'_>]| collected(records).check().cloned();
        assert_eq!(
            check(&[header(), path(200), buckets, done(200)]),
            Err(CollectError::NoEnd { rows: 1 })
        );
        let end = Record::End { rows: 1 };
        assert_eq!(
            check(&[path(200), buckets, done(200), end]),
            Err(CollectError::NoHeader)
        );
        let miscounted = CollectError::Miscounted {
            sent: 1,
            arrived: 0,
        };
        assert_eq!(check(&[header(), end]), Err(miscounted));
        let missing = CollectError::Missing(NAME.into());
        assert_eq!(
            check(&[header(), plan, Record::End { rows: 0 }]),
            Err(missing)
        );
    }

    #[test]
    fn a_row_that_is_left_out_and_a_figure_that_came_are_not_missed() {
        let plan = |name| Record::Row {
            name,
            about: "About.",
        };
        let excluded = Record::Excluded {
            name: "kmalloc/64",
            why: "too small",
        };
        let value = Record::Value {
            name: "x/ratio",
            value: 1,
            unit: "per mille",
        };
        let end = Record::End { rows: 0 };
        let collector = collected(&[header(), plan(NAME), plan("x/ratio"), excluded, value, end]);
        assert!(collector.check().is_ok());
        let namesake = collected(&[header(), plan("kmalloc/640/alloc"), excluded, end]);
        let missing = CollectError::Missing("kmalloc/640/alloc".into());
        assert_eq!(namesake.check().cloned(), Err(missing));
    }

    #[test]
    fn lost_buckets_and_failed_rows_are_failures() {
        let cells = cell(20, 100);
        let end = Record::End { rows: 1 };
        let buckets = Record::Buckets {
            name: NAME,
            cells: &cells,
        };
        let error = collected(&[header(), path(200), buckets, done(200), end])
            .check()
            .unwrap_err();
        assert!(
            error.to_string().contains("holds 100 samples of 200"),
            "{error}"
        );
        let failed = Record::Failed {
            name: NAME,
            why: "out of memory",
        };
        let error = collected(&[header(), failed, end]).check().unwrap_err();
        assert!(
            error
                .to_string()
                .contains("kmalloc/64/alloc: out of memory"),
            "{error}"
        );
    }
}
