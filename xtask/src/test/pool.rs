//! Machines side by side: as many at once as a small host bears.

use super::report::{Report, Verdict};
use crate::process;
use anyhow::{Result, bail};
use std::collections::VecDeque;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};

/// Machines that run at the same time.
const AT_ONCE: usize = 2;

/// Where a job tells its results.
pub(super) type Results = Sender<(String, Verdict)>;

/// Something that boots machines and tells results.
pub(super) type Job<'a> = Box<dyn FnOnce(&Results) + Send + 'a>;

/// Runs all jobs, in order of their beginning, and notes what they tell.
///
/// # Errors
///
/// If the user interrupts.
pub(super) fn run(jobs: Vec<Job<'_>>, report: &mut Report) -> Result<()> {
    let jobs = Mutex::new(VecDeque::from(jobs));
    std::thread::scope(|scope| {
        let (results, told) = channel();
        for _ in 0..AT_ONCE {
            let (results, jobs) = (results.clone(), &jobs);
            scope.spawn(move || {
                while let Some(job) = next(jobs) {
                    job(&results);
                }
            });
        }
        drop(results);
        // What the user stopped has not failed.
        told.iter()
            .filter(|_| !process::interrupted())
            .for_each(|(name, verdict)| report.note(&name, verdict));
    });
    if process::interrupted() {
        bail!("interrupted");
    }
    Ok(())
}

fn next<'a>(jobs: &Mutex<VecDeque<Job<'a>>>) -> Option<Job<'a>> {
    let mut jobs = jobs.lock().unwrap_or_else(PoisonError::into_inner);
    jobs.pop_front().filter(|_| !process::interrupted())
}

/// Tells a result. The receiver lives until every job has ended.
pub(super) fn tell(results: &Results, name: impl Into<String>, verdict: Verdict) {
    let _ = results.send((name.into(), verdict));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_runs_and_every_result_is_noted() {
        let jobs = (0..9).map(|number| -> Job<'_> {
            Box::new(move |results| {
                let verdict = match number % 3 {
                    0 => Verdict::Failed("x".into()),
                    _ => Verdict::Passed,
                };
                tell(results, format!("job {number}"), verdict);
            })
        });
        let mut report = Report::to(Box::new(std::io::sink()), false);
        run(jobs.collect(), &mut report).unwrap();
        assert_eq!(report.finish(), 1);
    }
}
