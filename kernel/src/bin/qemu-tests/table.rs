//! The table of tests, and running them as the host asks.

use kernel::{ExitCode, console, params, wire::control::Control};

/// One test.
#[derive(Clone, Copy)]
pub(crate) struct Test {
    /// Module path and function.
    pub(crate) name: &'static str,
    /// For a test that ends the machine: part of the line that its fault prints.
    pub(crate) faults_with: Option<&'static str>,
    /// What this machine lacks for it, if anything.
    pub(crate) missing: fn() -> Option<&'static str>,
    /// The test.
    pub(crate) run: fn(),
}

/// A table of the functions named; `=> "text"` for one whose fault prints that, `if missing` for one
/// that a function can excuse.
macro_rules! tests {
    ($($test:ident $(if $missing:path)? $(=> $faults_with:literal)?),* $(,)?) => {
        pub(crate) const TESTS: &[$crate::table::Test] = &[$($crate::table::Test {
            name: concat!(module_path!(), "::", stringify!($test)),
            faults_with: $crate::table::tests!(@option $($faults_with)?),
            missing: $crate::table::tests!(@missing $($missing)?),
            run: $test,
        }),*];
    };
    (@option) => { None };
    (@option $text:literal) => { Some($text) };
    (@missing) => { || None };
    (@missing $missing:path) => { $missing };
}
pub(crate) use tests;

fn all() -> impl Iterator<Item = Test> {
    let modules = [
        crate::boot::TESTS,
        crate::exceptions::TESTS,
        crate::walk::TESTS,
        crate::memory::TESTS,
        crate::failing::TESTS,
        crate::compaction::TESTS,
        crate::user::TESTS,
        crate::devices::TESTS,
        crate::smp::TESTS,
        crate::fatal::TESTS,
    ];
    modules.into_iter().flatten().copied().map(|mut test| {
        test.name = test.name.strip_prefix("qemu_tests::").unwrap_or(test.name);
        test
    })
}

/// Does what the host asks for.
pub(crate) fn app() -> ExitCode {
    match params().value("cmd") {
        Some("list") => list(),
        Some("run") => run(),
        Some("stress") => return crate::stress::run(),
        _ => {
            kernel::println!(
                "qemu-tests: cmd=list, cmd=run or cmd=stress; `cargo xtask test` gives one"
            );
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn list() {
    for Test {
        name, faults_with, ..
    } in all()
    {
        console::control(&Control::Test { name, faults_with });
    }
}

/// Runs those asked for; without `only`, all that do not end the machine.
fn run() {
    let (only, after) = (params().value("only"), params().value("after"));
    let named = |test: &Test| match only {
        Some(names) => names.split(',').any(|name| name == test.name),
        None => test.faults_with.is_none(),
    };
    let mut skipping = after.is_some();
    let rest = all().filter(move |test| {
        let skipped = skipping;
        skipping &= Some(test.name) != after;
        !skipped
    });
    for test in rest.filter(named) {
        let name = test.name;
        if let Some(why) = (test.missing)() {
            console::control(&Control::Skip { name, why });
            continue;
        }
        console::control(&Control::Begin { name });
        (test.run)();
        let failure = test.faults_with.map(|_| "the machine went on");
        console::control(&Control::End { failure });
    }
}
