//! The kernel's own allocator code, compiled for the host, with real threads, beside the allocators of
//! the host's programs: nanoseconds, and so the noisy kind of figure.
//!
//! `cargo xtask bench --host` builds and runs it and makes a report of what it prints: a line for each
//! row and allocator, `ROW THREADS ALLOCATOR NS …`, with the nanoseconds per pair of every round. Its
//! arguments are a filter of rows (default: all) and the number of rounds.
//!
//! Each round measures every allocator once, in an order of its own, before the next begins. So what
//! disturbs the machine for longer than a measurement disturbs all alike, none always follows the same
//! other one, and the figures of one round make a pair. Harnesses such as criterion and divan measure one
//! function to its end before they begin the next, which leaves nothing to pair; so none is underneath.

mod subjects;
mod workloads;

use bench::generator::{CRATES_SEED, XorshiftStar};
use std::process::ExitCode;
use subjects::Allocator;
use wire::glob;
use workloads::Workload;

/// Rounds unless the second argument says otherwise.
const ROUNDS: usize = 25;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let filter = arguments.next().unwrap_or_else(|| "*".to_owned());
    let rounds = match arguments.next().map(|rounds| rounds.parse()) {
        None => ROUNDS,
        Some(Ok(rounds)) => rounds,
        Some(Err(error)) => {
            eprintln!("error: rounds: {error}");
            return ExitCode::from(2);
        }
    };
    let mut rows = rows(&filter);
    let mut random = XorshiftStar::new(CRATES_SEED);
    for _ in 0..rounds {
        rows.iter_mut().for_each(|row| row.round(&mut random));
    }
    rows.iter().for_each(Row::print);
    ExitCode::SUCCESS
}

/// The rows that `filter` selects.
fn rows(filter: &str) -> Vec<Row> {
    let objects: fn() -> _ = subjects::objects;
    let kinds = [("objects", objects), ("frames", subjects::frames)];
    let mut rows = Vec::new();
    for (workload, threads) in Workload::ROWS {
        for (kind, allocators) in kinds {
            let name = format!("{kind}/{}", workload.name());
            if glob::selects(filter, &name) {
                rows.push(Row {
                    name,
                    workload,
                    threads,
                    columns: allocators().into_iter().map(Column::new).collect(),
                });
            }
        }
    }
    rows
}

/// What several threads do with every allocator.
struct Row {
    name: String,
    workload: Workload,
    threads: usize,
    columns: Vec<Column>,
}

/// What one allocator gave, a figure a round.
struct Column {
    allocator: Allocator,
    nanoseconds: Vec<f64>,
}

impl Column {
    const fn new(allocator: Allocator) -> Self {
        Self {
            allocator,
            nanoseconds: Vec::new(),
        }
    }
}

impl Row {
    /// Measures every allocator once, in random order.
    fn round(&mut self, random: &mut XorshiftStar) {
        let mut order: Vec<&mut Column> = self.columns.iter_mut().collect();
        random.shuffle(&mut order);
        for column in order {
            let figure = (column.allocator.measure)(self.workload, self.threads);
            column.nanoseconds.push(figure);
        }
    }

    fn print(&self) {
        for column in &self.columns {
            print!("{} {} {}", self.name, self.threads, column.allocator.name);
            column.nanoseconds.iter().for_each(|ns| print!(" {ns:.3}"));
            println!();
        }
    }
}
