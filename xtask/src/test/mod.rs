//! `cargo xtask test`: every test there is, with one summary and cargo-test's manners.
//!
//! Six sections, told apart by how their names begin:
//!
//! | names | what |
//! |---|---|
//! | `host/CRATE/…` | tests that run on this machine, by Cargo |
//! | `check::…` | the rules of `cargo xtask check` |
//! | `qemu/MACHINE/…` | tests inside a booted image, on every kind of machine |
//! | `boot/MACHINE/…` | whole images booted as a user boots them |
//! | `stress/MACHINE/…` | all allocators on four cores at once |
//! | `bench/…` | that the measuring instrument is exact |

mod boots;
mod fuzz;
mod host;
mod inside;
mod machines;
mod pool;
mod report;
mod reports;
mod stress;

use crate::bench::html::browser;
use crate::bench::hunt::trial;
use crate::bench::{at_max, board, exact, gate, own, replays};
use crate::setup::browser::NoBrowser;
use crate::{check, setup};
use anyhow::Result;
use pool::{Job, Results};
use report::{Report, Verdict};

/// Which tests to run.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Run only tests whose names contain one of these
    #[arg(value_name = "FILTER")]
    pub filters: Vec<String>,
    /// Filters are whole names
    #[arg(long)]
    pub exact: bool,
    /// Show the names instead of running
    #[arg(long)]
    pub list: bool,
    /// Leave out what needs QEMU
    #[arg(long, conflicts_with = "qemu_only")]
    pub host_only: bool,
    /// Leave out what does not need QEMU
    #[arg(long)]
    pub qemu_only: bool,
    /// Only stress the allocators, for so many minutes on each machine, and tell how far it is
    #[arg(long, value_name = "MINUTES", conflicts_with_all = ["host_only", "list"])]
    pub stress: Option<u64>,
    /// Only fuzz the allocators' model tests, each for so many minutes
    #[arg(long, value_name = "MINUTES", conflicts_with_all = ["qemu_only", "list", "stress"])]
    pub fuzz: Option<u64>,
    /// Seed of the stress, to repeat what a run did [default: another one each time with --stress]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Show what machines say while they run, on standard error
    #[arg(long)]
    pub nocapture: bool,
    /// Install what is missing without asking
    #[arg(long)]
    pub yes: bool,
}

/// How the names of the sections begin.
const SECTIONS: [&str; 6] = ["host/", "check::", "qemu/", "boot/", stress::SECTION, BENCH];
/// Those whose tests boot machines.
const NEED_QEMU: [&str; 4] = ["qemu/", "boot/", stress::SECTION, BENCH];
/// The section of the measuring instrument.
const BENCH: &str = "bench/";
/// A test that is a function.
type Check = fn() -> Result<()>;
/// Its tests.
const BENCH_TESTS: &[(&str, Check)] = &[
    (
        "bench/two_runs_give_the_same_report_byte_for_byte",
        exact::repeats,
    ),
    (
        "bench/a_row_has_the_same_figures_whatever_else_is_measured",
        exact::filter_changes_nothing,
    ),
    (
        "bench/counting_events_changes_no_figure",
        exact::events_change_nothing,
    ),
    (
        "bench/a_hunt_drives_a_list_heap_to_a_long_search",
        trial::finds_a_long_tail,
    ),
    (
        "bench/hunts_for_ours_stay_below_their_bounds",
        trial::ours_stay_below_their_bounds,
    ),
    (
        "bench/a_boards_line_is_a_run_and_a_damaged_one_is_none",
        board::frames_are_checked,
    ),
    (
        "bench/the_slowest_operation_is_followed_instruction_by_instruction",
        at_max::follows_what_was_measured,
    ),
    (
        "bench/the_parts_of_a_run_are_the_whole_byte_for_byte",
        gate::parts_are_the_whole,
    ),
    (
        "bench/no_figure_is_worse_than_in_the_committed_baseline",
        gate::nothing_is_worse,
    ),
    (
        "bench/one_instruction_more_is_a_regression_with_a_name",
        gate::one_instruction_more_is_found,
    ),
    (
        "bench/the_traces_replay_on_four_cores_at_once",
        replays::on_all_cores,
    ),
    (
        "bench/a_browser_shows_the_whole_page_and_requests_nothing",
        browser::opens,
    ),
    (
        "bench/an_allocator_of_the_readers_joins_by_its_folder",
        own::measures_the_example,
    ),
    (
        "bench/a_row_in_which_a_peer_faults_is_left_out_and_the_run_goes_on",
        own::outlives_a_fault,
    ),
];

impl Args {
    /// Whether the test called `name` was asked for.
    fn selects(&self, name: &str) -> bool {
        let matches = |filter: &String| match self.exact {
            true => name == filter,
            false => name.contains(filter.as_str()),
        };
        self.filters.is_empty() || self.filters.iter().any(matches)
    }

    /// Whether a test of `section` can have been asked for, so that it is worth building.
    fn wants(&self, section: &str) -> bool {
        let needs_qemu = NEED_QEMU.contains(&section);
        if self.stress.is_some() && section != stress::SECTION {
            return false;
        }
        if (needs_qemu && self.host_only) || (!needs_qemu && self.qemu_only) {
            return false;
        }
        let names_it = |filter: &String| {
            let named = SECTIONS
                .iter()
                .find(|section| filter.starts_with(**section));
            named.is_none_or(|named| *named == section)
        };
        self.filters.is_empty() || self.filters.iter().any(names_it)
    }
}

/// Runs the tests; 0 if none failed, else 1.
///
/// # Errors
///
/// If this machine lacks something, or the user interrupts.
pub fn command(args: &Args) -> Result<u8> {
    if let Some(minutes) = args.fuzz {
        let mut report = Report::new(false);
        fuzz::run(args, minutes, &mut report)?;
        return Ok(report.finish());
    }
    let needs_machines = NEED_QEMU.iter().any(|section| args.wants(section));
    if needs_machines {
        setup::ensure(args.yes)?;
    }
    let mut report = Report::new(args.list);
    if args.wants("host/") {
        host::run(args, &mut report)?;
    }
    if args.wants("check::") {
        checks(args, &mut report)?;
    }
    if needs_machines {
        let mut images = machines::Images::default();
        let mut jobs: Vec<Job<'_>> = Vec::new();
        if args.wants("qemu/") {
            inside::plan(args, &mut images, &mut report, &mut jobs)?;
        }
        if args.wants("boot/") {
            boots::plan(args, &mut images, &mut report, &mut jobs)?;
        }
        if args.wants(stress::SECTION) {
            stress::plan(args, &mut images, &mut report, &mut jobs)?;
        }
        if args.wants(BENCH) {
            for &(name, test) in BENCH_TESTS {
                if args.selects(name) && !report.lists(name) {
                    jobs.push(Box::new(move |results: &Results| {
                        let verdict = match test() {
                            Ok(()) => Verdict::Passed,
                            Err(error) if error.is::<NoBrowser>() => {
                                Verdict::Skipped(error.to_string())
                            }
                            Err(error) => Verdict::Failed(format!("{error:#}")),
                        };
                        pool::tell(results, name, verdict);
                    }));
                }
            }
        }
        pool::run(jobs, &mut report)?;
    }
    Ok(report.finish())
}

fn checks(args: &Args, report: &mut Report) -> Result<()> {
    let workspace = check::Workspace::read()?;
    for rule in check::RULES {
        let name = format!("check::{}", rule.name);
        if !args.selects(&name) || report.lists(&name) {
            continue;
        }
        let findings = workspace.check(rule);
        let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        let verdict = match lines.is_empty() {
            true => Verdict::Passed,
            false => Verdict::Failed(lines.join("\n")),
        };
        report.note(&name, verdict);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(filters: &[&str], exact: bool) -> Args {
        let filters = filters.iter().map(|&filter| filter.to_owned()).collect();
        Args {
            filters,
            exact,
            ..Args::default()
        }
    }

    #[test]
    fn filters_select_by_part_or_by_whole_name() {
        let name = "qemu/virt/mm::double_free";
        assert!(args(&[], false).selects(name));
        assert!(args(&["nothing", "double"], false).selects(name));
        assert!(!args(&["double"], true).selects(name));
        assert!(args(&[name], true).selects(name));
    }

    #[test]
    fn a_filter_that_names_a_section_spares_the_others() {
        let only_qemu = args(&["qemu/virt/"], false);
        assert!(only_qemu.wants("qemu/") && !only_qemu.wants("host/") && !only_qemu.wants("boot/"));
        assert!(
            SECTIONS
                .iter()
                .all(|section| args(&["mm"], false).wants(section))
        );
        let host_only = Args {
            host_only: true,
            ..Args::default()
        };
        assert!(host_only.wants("check::") && !host_only.wants("boot/"));
        let qemu_only = Args {
            qemu_only: true,
            ..Args::default()
        };
        assert!(!qemu_only.wants("host/") && qemu_only.wants("boot/"));
    }
}
