//! The kernel's own allocator code, compiled for the host, with real threads, beside the allocators of
//! the host's programs: nanoseconds, and so the noisy kind of figure.
//!
//! `cargo xtask bench --host` builds and runs it and makes a report of what it prints: a line for each
//! row and allocator, `ROW THREADS ALLOCATOR NS …`, with the nanoseconds per pair of every round. Each
//! round measures every allocator once before the next begins, so that what disturbs one disturbs all.

mod subjects;
mod workloads;

use std::process::ExitCode;
use subjects::{Subject, Visitor};
use workloads::Workload;

/// Rounds unless the first argument says otherwise.
const ROUNDS: usize = 15;

fn main() -> ExitCode {
    let rounds = match std::env::args().nth(1).map(|rounds| rounds.parse()) {
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
            let row = (workload, threads);
            subjects::objects(&mut Round {
                table: &mut table,
                kind: "objects",
                row,
            });
            subjects::frames(&mut Round {
                table: &mut table,
                kind: "frames",
                row,
            });
        }
    }
    for line in &table.lines {
        print!("{} {} {}", line.row, line.threads, line.allocator);
        line.nanoseconds.iter().for_each(|ns| print!(" {ns:.2}"));
        println!();
    }
    ExitCode::SUCCESS
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
    kind: &'static str,
    row: (Workload, usize),
}

impl Visitor for Round<'_> {
    fn visit<S: Subject>(&mut self, allocator: &'static str, subject: &S) {
        let (workload, threads) = self.row;
        let nanoseconds = workload.nanoseconds(threads, subject);
        let table = &mut *self.table;
        if table.next == table.lines.len() {
            table.lines.push(Line {
                row: format!("{}/{}", self.kind, workload.name()),
                threads,
                allocator,
                nanoseconds: Vec::new(),
            });
        }
        table.lines[table.next].nanoseconds.push(nanoseconds);
        table.next += 1;
    }
}
