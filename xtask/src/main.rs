//! `cargo xtask`: builds, boots, tests and measures Tessera.
//!
//! Exit status: 0 fine; 1 a test, a benchmark or the guest failed; 2 usage or environment; 3 a
//! performance regression; 124 a timeout. `run` returns the guest's own code.
#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they panic when the reader has gone away: `console` has what does not"
)]

pub mod backtrace;
pub mod bench;
pub mod check;
pub mod console;
pub mod debugger;
pub mod demux;
pub mod device_tree;
pub mod disk;
pub mod guest;
pub mod image;
pub mod log;
pub mod machine;
pub mod outcome;
pub mod process;
pub mod report;
pub mod run;
pub mod setup;
pub mod size;
pub mod symbols;
pub mod test;
pub mod trace;
pub mod unwind;
pub mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Usage or environment is at fault.
const ENVIRONMENT: u8 = 2;

/// Builds, boots, tests and measures Tessera.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Environment:
  QEMU      the QEMU to start [default: qemu-system-aarch64]
  CHROMIUM  the browser to test pages with [default: what is on the path]
  NO_COLOR  set to keep colours out of the output

Exit status:
  0 fine; 1 a test, a benchmark or the guest failed; 2 usage or environment;
  3 a performance regression; 124 a timeout. `run` returns the guest's own code.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Boot Tessera, or one of its example apps, and show what it says
    Run(run::Args),
    /// Count what every allocation costs, and replay recorded traces
    #[command(after_help = bench::AFTER_HELP)]
    Bench(Box<bench::Args>),
    /// Draw and compare saved runs of `bench`
    Report(bench::saved::Args),
    /// Record, import and look at allocation traces
    Trace(trace::Args),
    /// Run the tests: on the host, on the sources, and inside machines
    Test(test::Args),
    /// Check the sources for what the compiler does not watch over
    Check,
    /// Show what this machine needs to build and boot Tessera, and what is missing
    Doctor,
    /// Get what is missing
    Setup {
        /// Go ahead without asking
        #[arg(long)]
        yes: bool,
        /// Get Chromium too, which only the test of `bench --html` needs
        #[arg(long)]
        browser: bool,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = process::end_children_on_signals().and_then(|()| match cli.command {
        Command::Run(args) => run::command(&args),
        Command::Bench(args) => bench::command(&args),
        Command::Report(args) => bench::saved::command(&args),
        Command::Trace(args) => trace::command(&args),
        Command::Test(args) => test::command(&args),
        Command::Check => check::command(),
        Command::Doctor => setup::doctor(),
        Command::Setup { yes, browser } => setup::setup(yes, browser),
    });
    match result {
        Ok(code) => ExitCode::from(code),
        Err(_) if process::interrupted() => {
            console::say("interrupted");
            ExitCode::from(process::INTERRUPTED_STATUS)
        }
        Err(error) => {
            console::say(format_args!("error: {error:#}"));
            let failure = error.downcast_ref::<guest::Failure>();
            ExitCode::from(failure.map_or(ENVIRONMENT, guest::Failure::exit_code))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_every_option_is_explained() {
        let mut command = Cli::command();
        command.build();
        command.clone().debug_assert();
        let mut all: Vec<&clap::Command> = command.get_subcommands().collect();
        while let Some(sub) = all.pop() {
            all.extend(sub.get_subcommands().filter(|sub| sub.get_name() != "help"));
            assert!(sub.get_about().is_some(), "{}", sub.get_name());
            for argument in sub.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{} {}",
                    sub.get_name(),
                    argument.get_id()
                );
            }
        }
    }
}
