//! A shorter way to the same cost.
//!
//! Steps are left out, first in large pieces and then one by one (Zeller's delta debugging, without its
//! complements), and amounts are made round, as long as the costliest operation costs no less.

use super::genome::{Genome, Step};
use super::{Evaluator, Quarry, Stage, Watch};

/// Most times that all sizes of pieces are gone through.
const ROUNDS: u32 = 3;

/// Shrinks `best` as far as `watch` lets it; `trial` is memory.
pub(super) fn shrink<'m, Q: Quarry>(
    evaluator: &mut Evaluator<'_, Q>,
    best: &mut Genome<'m>,
    trial: &mut Genome<'m>,
    watch: &mut impl Watch,
) {
    let mut shrinking = Shrinking {
        evaluator,
        best,
        trial,
        watch,
    };
    for _ in 0..ROUNDS {
        let before = shrinking.best.steps().len();
        let goes_on = shrinking.pieces() && shrinking.rounder();
        if !goes_on || shrinking.best.steps().len() == before {
            return;
        }
    }
}

struct Shrinking<'a, 'm, 'n, Q, W> {
    evaluator: &'a mut Evaluator<'m, Q>,
    best: &'a mut Genome<'n>,
    trial: &'a mut Genome<'n>,
    watch: &'a mut W,
}

impl<Q: Quarry, W: Watch> Shrinking<'_, '_, '_, Q, W> {
    /// Tries `change` on a copy of the best, which it becomes if that costs no less; `None` if there is
    /// to be no further try.
    fn attempt(&mut self, change: impl FnOnce(&mut Genome<'_>)) -> Option<bool> {
        let evaluations = self.evaluator.evaluations();
        if !self.watch.goes_on(Stage::Shrink, evaluations, self.best) {
            return None;
        }
        self.trial.copy_from(self.best);
        change(self.trial);
        self.evaluator.evaluate(self.trial);
        let is_better = self.trial.figure.cost >= self.best.figure.cost;
        if is_better {
            self.best.copy_from(self.trial);
        }
        Some(is_better)
    }

    /// Leaves out pieces, halves first, then ever smaller ones; whether it got to the end.
    fn pieces(&mut self) -> bool {
        let mut count = self.best.steps().len() / 2;
        while count > 0 {
            let mut end = self.best.steps().len();
            while end > 0 {
                let at = end.saturating_sub(count);
                let Some(_) = self.attempt(|trial| trial.remove(at, end - at)) else {
                    return false;
                };
                end = at.min(self.best.steps().len());
            }
            count /= 2;
        }
        true
    }

    /// Makes amounts the next power of two, or that of the step before; whether it got to the end.
    fn rounder(&mut self) -> bool {
        let mut at = 0;
        while at < self.best.steps().len() {
            if let Step::Alloc { amount, .. } = self.best.steps()[at] {
                let mut before = self.best.steps()[..at].iter().rev();
                let before = before.find_map(|step| match step {
                    Step::Alloc { amount, .. } => Some(*amount),
                    Step::Free { .. } => None,
                });
                let rounder = self.evaluator.amounts.rounder(amount);
                for simpler in [Some(rounder), before].into_iter().flatten() {
                    if simpler == amount {
                        continue;
                    }
                    match self.attempt(|trial| super::breed::amend(trial, simpler, at)) {
                        None => return false,
                        Some(true) => break,
                        Some(false) => {}
                    }
                }
            }
            at += 1;
        }
        true
    }
}
