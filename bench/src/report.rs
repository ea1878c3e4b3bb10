//! What the host is told, one record a frame.

use crate::name::Name;
use crate::plan::{Family, Figure, Operation, figure_name, row_name};
use crate::samples::Samples;
use core::cell::Cell;
use core::fmt;
use kernel::arch::pmu;
use kernel::console;
use wire::bench::{self, Record, Unit};
use wire::event::{Event, Group, MOST};
use wire::frame::Channel;
use wire::glob;

/// The longest record: a name, a full chunk of buckets, and what postcard adds.
const RECORD_BYTES: usize = 1024;

/// Sends records, and knows what was asked for and what went wrong.
#[derive(Debug)]
pub struct Reporter {
    filter: &'static str,
    rows: Cell<u32>,
    failures: Cell<u32>,
    unit: Cell<Unit>,
    events: Cell<[Option<Event>; MOST]>,
}

impl Reporter {
    /// A reporter of the rows that `filter` selects.
    pub const fn new(filter: &'static str) -> Self {
        Self {
            filter,
            rows: Cell::new(0),
            failures: Cell::new(0),
            unit: Cell::new(Unit::Instructions),
            events: Cell::new([None; MOST]),
        }
    }

    /// Tells in `unit` from now on what the counter counted.
    pub fn counts(&self, unit: Unit) {
        self.unit.set(unit);
    }

    /// Sends which events of `group` are counted, and with every row from now on how often they were.
    pub fn events(&self, group: Group, counted: impl Iterator<Item = Event>) {
        let mut events = [None; MOST];
        for (place, event) in events.iter_mut().zip(counted) {
            *place = Some(event);
        }
        self.events.set(events);
        for &event in group.events() {
            let is_counted = events.contains(&Some(event));
            self.send(&Record::Event { event, is_counted });
        }
    }

    /// Whether the row `name` was asked for.
    pub fn wants(&self, name: &str) -> bool {
        glob::selects(self.filter, name)
    }

    /// Whether any of `operations` of the family `name` was asked for.
    pub fn wants_any(&self, name: &str, operations: &[Operation]) -> bool {
        operations
            .iter()
            .any(|&operation| self.wants(&row_name(name, operation)))
    }

    /// Whether any row or figure of `family` was asked for.
    pub fn wants_family(&self, family: &Family) -> bool {
        let mut figures = family.work.figures().iter();
        self.wants_any(&family.name, family.work.operations())
            || figures.any(|&figure| self.wants(&figure_name(&family.name, figure)))
    }

    /// Sends one record.
    pub fn send(&self, record: &Record<'_>) {
        let mut buffer = [0; RECORD_BYTES];
        match bench::encode(record, &mut buffer) {
            Ok(bytes) => console::frame(Channel::Bench, bytes),
            // Cannot happen by RECORD_BYTES; the run fails if it does.
            Err(_) => self.failures.set(self.failures.get() + 1),
        }
    }

    /// Sends the rows of the family `name` that were asked for, as the plan.
    pub fn plan(&self, name: &str, operations: &[Operation], about: &str) {
        for &operation in operations {
            self.plan_row(&row_name(name, operation), about);
        }
    }

    /// Sends the rows and figures of `family` that were asked for, as the plan.
    pub fn plan_family(&self, family: &Family) {
        let about = family.work.about();
        self.plan(&family.name, family.work.operations(), about);
        for &figure in family.work.figures() {
            self.plan_row(&figure_name(&family.name, figure), about);
        }
    }

    /// Sends the row `name`, if it was asked for, as the plan.
    pub fn plan_row(&self, name: &str, about: &str) {
        if self.wants(name) {
            self.send(&Record::Row { name, about });
        }
    }

    /// Sends what the rows of the family `name` measured, if they were asked for.
    pub fn family(&self, name: &str, operations: &[Operation], samples: &[Samples]) {
        for &operation in operations {
            let row = row_name(name, operation);
            if self.wants(&row) {
                self.row(&row, &samples[operation.index()]);
            }
        }
    }

    /// Sends one row, and how often events happened.
    pub fn row(&self, name: &str, samples: &Samples) {
        for (event, sum) in self.events.get().into_iter().zip(samples.totals().events) {
            if let Some(event) = event {
                self.send(&Record::Counted { name, event, sum });
            }
        }
        self.row_without_events(name, samples);
    }

    /// Sends one row that no event was counted of.
    pub fn row_without_events(&self, name: &str, samples: &Samples) {
        if samples.lost() > 0 {
            let why = format_args!("no room for {} of its samples", samples.lost());
            return self.failed(name, why);
        }
        for (index, taken) in samples.paths() {
            self.send(&Record::Path {
                name,
                index,
                word: taken.path.word(),
                n: taken.n,
                sum: taken.sum,
                min: taken.min,
                max: taken.max,
            });
        }
        samples.chunks(|cells| self.send(&Record::Buckets { name, cells }));
        let totals = samples.totals();
        self.send(&Record::Done {
            name,
            n: totals.n,
            cold: totals.cold.unwrap_or(0),
            min: totals.min,
            max: totals.max,
            sum: totals.sum,
            at: totals.at,
            amount: totals.amount,
            path: totals.path.word(),
        });
        self.rows.set(self.rows.get() + 1);
    }

    /// Sends a figure that is no latency.
    pub fn value(&self, name: fmt::Arguments<'_>, value: u64, unit: &str) {
        let name = &Name::new(name);
        self.send(&Record::Value { name, value, unit });
    }

    /// Sends `figure` of `family`, if it was asked for.
    pub fn figure(&self, family: &Family, figure: Figure, value: u64) {
        let name = figure_name(&family.name, figure);
        if self.wants(&name) {
            let unit = match figure {
                Figure::Cost => self.unit.get().name(),
                _ => figure.name_and_unit().1,
            };
            self.value(format_args!("{}", &*name), value, unit);
        }
    }

    /// Sends that the rows of the family `name` are left out, which is no failure.
    pub fn excluded(&self, name: &str, why: fmt::Arguments<'_>) {
        let why = &Name::new(why);
        self.send(&Record::Excluded { name, why });
    }

    /// Sends that `name` could not be measured, and remembers it.
    pub fn failed(&self, name: &str, why: fmt::Arguments<'_>) {
        let why = &Name::new(why);
        self.send(&Record::Failed { name, why });
        self.failures.set(self.failures.get() + 1);
    }

    /// Whether anything failed.
    pub fn has_failed(&self) -> bool {
        self.failures.get() > 0
    }

    /// Sends what it all took, and the end marker.
    pub fn end(&self) {
        let cycles = pmu::cycles();
        self.send(&Record::Spent { cycles });
        let rows = self.rows.get();
        self.send(&Record::End { rows });
    }
}
