//! The kernel's own allocator code, compiled for the host, with real threads, beside the allocators of
//! the host's programs: nanoseconds, and so the noisy kind of figure.
//!
//! `cargo xtask bench --host` builds and runs it and makes a report of what it prints: a line for each
//! row and allocator, `ROW THREADS ALLOCATOR NS …`, with the nanoseconds per pair of every round. Its
//! arguments are a filter of rows (default: all) and the number of rounds. Each
//! round measures every allocator once before the next begins, so that what disturbs one disturbs all.

mod subjects;
mod workloads;

use std::process::ExitCode;
use subjects::{Subject, Visitor};
use wire::glob;
use workloads::Workload;

/// Rounds unless the second argument says otherwise.
const ROUNDS: usize = 15;

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
    let mut table = Table::default();
    for _ in 0..rounds {
        table.next = 0;
        for (workload, threads) in Workload::ROWS {
            for kind in [Kind::Objects, Kind::Frames] {
                let name = format!("{}/{}", kind.name(), workload.name());
                if glob::selects(&filter, &name) {
                    let table = &mut table;
                    kind.visit(&mut Round {
                        table,
                        name,
                        workload,
                        threads,
                    });
                }
            }
        }
    }
    for line in &table.lines {
        print!("{} {} {}", line.row, line.threads, line.allocator);
        line.nanoseconds.iter().for_each(|ns| print!(" {ns:.2}"));
        println!();
    }
    ExitCode::SUCCESS
}

/// What is allocated.
#[derive(Clone, Copy)]
enum Kind {
    Objects,
    Frames,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Objects => "objects",
            Self::Frames => "frames",
        }
    }

    fn visit(self, visitor: &mut impl Visitor) {
        match self {
            Self::Objects => subjects::objects(visitor),
            Self::Frames => subjects::frames(visitor),
        }
    }
}

/// What one allocator gave for one row.
struct Line {
    row: String,
    threads: usize,
    allocator: &'static str,
    nanoseconds: Vec<f64>,
}

/// All lines; every round meets them in the same order.
#[derive(Default)]
struct Table {
    lines: Vec<Line>,
    next: usize,
}

/// One row of one round, for every allocator.
struct Round<'a> {
    table: &'a mut Table,
    name: String,
    workload: Workload,
    threads: usize,
}

impl Visitor for Round<'_> {
    fn visit<S: Subject>(&mut self, allocator: &'static str, subject: &S) {
        let threads = self.threads;
        let nanoseconds = self.workload.nanoseconds(threads, subject);
        let table = &mut *self.table;
        if table.next == table.lines.len() {
            table.lines.push(Line {
                row: self.name.clone(),
                threads,
                allocator,
                nanoseconds: Vec::new(),
            });
        }
        table.lines[table.next].nanoseconds.push(nanoseconds);
        table.next += 1;
    }
}
