//! Row after row: which are wanted, what each does, and what is sent of it.

use crate::cores;
use crate::hunting;
use crate::meter::Meter;
use crate::name::Name;
use crate::peers::line_up;
use crate::plan::{self, Family, Operation};
use crate::replays;
use crate::report::Reporter;
use crate::rows::{Rows, WorkError};
use crate::samples::Observed;
use crate::scratch::Scratch;
use crate::self_check;
use crate::table::Table;
use crate::traces::{self, Traces};
use crate::workload::{Slot, fill};
use aarch64_cpu::registers::{MIDR_EL1, Readable};
use kernel::ExitCode;
use kernel::arch::pmu;
use wire::bench::Record;
use wire::event::Group;

/// What the rows of a boot phase measure.
const ABOUT_BOOT: &str = "From the image's first instruction to the app, by phase; one sample.";

/// Slots of the largest workload.
#[expect(clippy::cast_possible_truncation, reason = "131,072")]
const SLOTS: u32 = fill::SLOTS as u32;

/// The payload file that holds the filter and, in a line of its own, the group of events, padded with
/// spaces: there, and not on the command line, so that boot costs the same whatever is asked for.
const FILTER_FILE: &str = "filter";

/// Lists rows or measures them, as the run parameters say: `cmd=list` for all rows, `cmd=replay` for
/// the traces behind the image alone on one core, `cmd=replay-threads` for those with several threads on
/// all cores, `cmd=peers` for the line-up alone (its traces if some are behind the image, else its
/// workloads), anything else for all others.
///
/// `cmd=contended` measures all cores at once, which means little in an image that does not yield inside
/// sections (feature `contended`).
///
/// `cmd=hunt` looks for the costliest single operation; see `hunting`.
///
/// `cmd=replay-together` replays the traces on all cores at once, and measures nothing.
///
/// `events=GROUP` counts these events beside.
///
/// `unit=instructions` promises that the counter counts those, and the self-checks then hold it to
/// that. `seed=N` changes the sequences of the seeded rows; 0 are the published ones.
///
/// `watch=ROW` and `at=N` let a debugger wait for that operation of that row.
pub fn run(scratch: &mut Scratch) -> ExitCode {
    let params = kernel::params();
    let command = params.value("cmd").unwrap_or_default();
    if command == "replay-together" {
        return replays::run(traces::all());
    }
    let watched = params.value("watch").zip(params.number("at"));
    scratch.watched = watched;
    let [filter, events] = choice();
    let reporter = Reporter::new(filter.unwrap_or("*"));
    let group = match Group::from_name(events.unwrap_or(Group::None.name())) {
        Some(group) if pmu::is_present() => group,
        Some(_) => return refused(&reporter, "this CPU has no cycle counter"),
        None => return refused(&reporter, "`events` names no group"),
    };
    let mut meter = Meter::calibrated();
    if group != Group::None {
        meter.count(group);
        cores::start_counting(&meter);
    }
    let session = Session {
        reporter,
        meter,
        group,
        seed: params.number("seed").unwrap_or(0),
    };
    let list = command == "list";
    if !["replay", "replay-threads", "peers", "contended", "hunt"].contains(&command) {
        session.plan_rows();
    }
    if command == "contended" || list && cores() > 1 {
        plan::contended().for_each(|family| session.reporter.plan_family(&family));
    }
    let replays = traces::all().next().is_some();
    let which = line_up::Which {
        families: list || !replays,
        traces: list || replays,
    };
    if list || command == "peers" {
        line_up::plan(which, &session.reporter);
    }
    if list || command == "replay" {
        session.traces().plan();
    }
    if list || command == "replay-threads" {
        session.traces().plan_threads();
    }
    if !list {
        let exact = params.value("unit") == Some("instructions");
        session.measure(exact, command, which, scratch);
    }
    session.reporter.end();
    if session.reporter.has_failed() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Cores that run.
fn cores() -> u32 {
    kernel::machine().cpus
}

/// What selects rows, and the group of events: run parameters, else the payload's file.
fn choice() -> [Option<&'static str>; 2] {
    let file = kernel::payload_files().find(|&(name, _)| name == FILTER_FILE);
    let text = file.and_then(|(_, bytes)| core::str::from_utf8(bytes).ok());
    let mut lines = text.unwrap_or_default().trim().lines();
    ["filter", "events"].map(|key| kernel::params().value(key).or(lines.next()))
}

/// Says why nothing can be measured.
fn refused(reporter: &Reporter, why: &str) -> ExitCode {
    reporter.failed("self-check", format_args!("{why}"));
    ExitCode::FAILURE
}

struct Session {
    reporter: Reporter,
    meter: Meter,
    group: Group,
    seed: u64,
}

impl Session {
    fn header(&self) {
        let machine = kernel::machine();
        let unit = self.meter.unit();
        self.reporter.counts(unit);
        self.reporter.send(&Record::Header {
            midr: MIDR_EL1.get(),
            entry_el: machine.entry_el,
            memory_bytes: machine.memory_bytes,
            cpus: machine.cpus,
            unit,
            overhead: self.meter.overhead(),
            empty: self.meter.of_a_return(),
            nops: self.meter.of_hundred_nops(),
            seed: self.seed,
            tier: match (cfg!(feature = "hardened"), cfg!(feature = "uncounted")) {
                (false, false) => "default",
                (true, false) => "hardened",
                (false, true) => "default, uncounted",
                (true, true) => "hardened, uncounted",
            },
        });
        self.reporter.events(self.group, self.meter.events());
    }

    fn measure(&self, exact: bool, command: &str, which: line_up::Which, scratch: &mut Scratch) {
        self.header();
        self_check::run(&self.meter, &self.reporter, exact, scratch);
        match command {
            "hunt" => return hunting::command(&self.reporter, &self.meter, self.seed),
            "replay" => return self.traces().measure(scratch),
            "replay-threads" => return self.traces().measure_threads(scratch),
            _ => {}
        }
        if !["peers", "contended"].contains(&command) {
            self.boot(scratch);
        }
        let mut table = match Table::new(SLOTS, None) {
            Ok(table) => table,
            Err(error) => {
                let why = format_args!("no room for its slots: {error}");
                return self.reporter.failed("mixed", why);
            }
        };
        if command == "peers" {
            line_up::run(which, self.rows(), scratch, &mut table);
            return;
        }
        if command == "contended" {
            self.families(plan::contended(), scratch, &mut table);
        } else {
            self.families(plan::families(cores()), scratch, &mut table);
        }
    }

    /// Those that are wanted. The host asks for one a boot, so that each finds a fresh machine.
    fn families(
        &self,
        families: impl Iterator<Item = Family>,
        scratch: &mut Scratch,
        table: &mut [Slot],
    ) {
        families
            .filter(|family| self.reporter.wants_family(family))
            .for_each(|family| self.family(&family, scratch, table));
    }

    const fn traces(&self) -> Traces<'_> {
        Traces {
            reporter: &self.reporter,
            meter: &self.meter,
        }
    }

    const fn rows(&self) -> Rows<'_> {
        Rows {
            meter: &self.meter,
            reporter: &self.reporter,
            seed: self.seed,
        }
    }

    fn plan_rows(&self) {
        let boot = kernel::boot::phases()
            .map(|(phase, _)| phase)
            .chain(["total"]);
        boot.for_each(|phase| {
            self.reporter
                .plan_row(&Name::new(format_args!("boot/{phase}")), ABOUT_BOOT);
        });
        for family in plan::families(cores()) {
            self.reporter.plan_family(&family);
        }
    }

    fn boot(&self, scratch: &mut Scratch) {
        let samples = &mut scratch.samples[Operation::Alloc.index()];
        let mut total = 0;
        let mut row = |phase: &str, cost| {
            let name = Name::new(format_args!("boot/{phase}"));
            if self.reporter.wants(&name) {
                samples.clear();
                samples.take(Observed::cost(cost), true);
                self.reporter.row_without_events(&name, samples);
            }
        };
        for (phase, cost) in kernel::boot::phases() {
            row(phase, cost);
            total += cost;
        }
        row("total", total);
    }

    fn family(&self, family: &Family, scratch: &mut Scratch, table: &mut [Slot]) {
        let name = &*family.name;
        self.reporter.send(&Record::Begin { name });
        scratch.begin(name);
        let reporter = &self.reporter;
        match self.rows().kernel(family, scratch, table) {
            Ok(()) => reporter.family(name, family.work.operations(), &scratch.samples),
            Err(error @ WorkError::TooLittleMemory { .. }) => {
                reporter.excluded(name, format_args!("{error}"));
            }
            Err(error) => reporter.failed(name, format_args!("{error}")),
        }
    }
}
