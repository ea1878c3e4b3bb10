//! Results as they come, and the summary.

use std::io::Write;
use std::time::Instant;

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    /// What went wrong, over several lines.
    Failed(String),
    /// What is missing.
    Skipped(String),
}

/// Collects and prints results.
pub(super) struct Report {
    out: Box<dyn Write>,
    begun: Instant,
    /// Whether names are only shown.
    list: bool,
    listed: usize,
    passed: usize,
    skipped: usize,
    /// Name and account of each failure.
    failed: Vec<(String, String)>,
}

impl Report {
    /// A report with nothing in it, to standard output; `list` says that no test will run.
    pub(super) fn new(list: bool) -> Self {
        Self::to(Box::new(std::io::stdout()), list)
    }

    /// A report to `out`.
    pub(super) fn to(out: Box<dyn Write>, list: bool) -> Self {
        let begun = Instant::now();
        Self {
            out,
            begun,
            list,
            listed: 0,
            passed: 0,
            skipped: 0,
            failed: Vec::new(),
        }
    }

    /// Prints a line; a reader that went away must not stop the tests.
    fn print(&mut self, line: &str) {
        let _ = writeln!(self.out, "{line}");
        let _ = self.out.flush();
    }

    /// Whether names are only shown; then it has shown this one.
    pub(super) fn lists(&mut self, name: &str) -> bool {
        if self.list {
            self.print(&format!("{name}: test"));
            self.listed += 1;
        }
        self.list
    }

    /// Takes a result in.
    pub(super) fn note(&mut self, name: &str, verdict: Verdict) {
        let shown = match &verdict {
            Verdict::Passed => "ok".to_owned(),
            Verdict::Failed(_) => "FAILED".to_owned(),
            Verdict::Skipped(why) => format!("skipped, {why}"),
        };
        self.print(&format!("test {name} ... {shown}"));
        match verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Failed(account) => self.failed.push((name.to_owned(), account)),
            Verdict::Skipped(_) => self.skipped += 1,
        }
    }

    /// Prints the summary; returns the exit status.
    pub(super) fn finish(&mut self) -> u8 {
        if self.list && self.failed.is_empty() {
            self.print(&format!("\n{} tests, 0 benchmarks", self.listed));
            return 0;
        }
        let summary = self.summary(self.begun.elapsed().as_secs_f64());
        self.print(&summary);
        u8::from(!self.failed.is_empty())
    }

    fn summary(&self, seconds: f64) -> String {
        let mut out = String::new();
        if !self.failed.is_empty() {
            out.push_str("\nfailures:\n");
            for (name, account) in &self.failed {
                out.push_str(&format!("\n---- {name} ----\n{}\n", account.trim_end()));
            }
            out.push_str("\nfailures:\n");
            for (name, _) in &self.failed {
                out.push_str(&format!("    {name}\n"));
            }
        }
        let (passed, failed, skipped) = (self.passed, self.failed.len(), self.skipped);
        let verdict = if failed == 0 { "ok" } else { "FAILED" };
        out.push_str(&format!(
            "\ntest result: {verdict}. {passed} passed; {failed} failed; {skipped} skipped; \
             finished in {seconds:.2}s\n\n{passed} passed, {failed} failed"
        ));
        if skipped > 0 {
            out.push_str(&format!(", {skipped} skipped"));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts_and_nothing_else_follows() {
        let mut report = Report::to(Box::new(std::io::sink()), false);
        report.note("a", Verdict::Passed);
        report.note("b", Verdict::Passed);
        assert!(report.summary(1.0).ends_with("\n2 passed, 0 failed"));
        assert_eq!(report.finish(), 0);
        report.note("c", Verdict::Skipped("no such device".into()));
        assert!(
            report
                .summary(1.0)
                .ends_with("\n2 passed, 0 failed, 1 skipped")
        );
        assert_eq!(report.finish(), 0);
    }

    #[test]
    fn a_failure_is_told_with_its_account_and_named_again_at_the_end() {
        let mut report = Report::to(Box::new(std::io::sink()), false);
        report.note("mm::slab", Verdict::Failed("left != right\n".into()));
        let summary = report.summary(2.5);
        assert!(
            summary.contains("---- mm::slab ----\nleft != right\n"),
            "{summary}"
        );
        assert!(summary.contains("failures:\n    mm::slab\n"), "{summary}");
        assert!(summary.contains("FAILED. 0 passed; 1 failed; 0 skipped; finished in 2.50s"));
        assert_eq!(report.finish(), 1);
    }

    #[test]
    fn a_list_runs_nothing() {
        let mut report = Report::to(Box::new(std::io::sink()), true);
        assert!(report.lists("a"));
        assert_eq!((report.listed, report.finish()), (1, 0));
        assert!(!Report::to(Box::new(std::io::sink()), false).lists("a"));
    }
}
