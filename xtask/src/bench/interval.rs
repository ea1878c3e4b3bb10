//! A median with an interval that assumes nothing about how figures are distributed.
//!
//! Wall-clock figures have long tails on one side, so neither a mean nor a standard error says much of
//! them. Of the median of `n` independent figures the binomial distribution alone tells where it lies:
//! each figure is below it with probability one half, so it lies outside of the interval from the `k`th
//! smallest to the `k`th largest figure when fewer than `k` figures fell on one side, which has
//! probability 2 P(Binomial(n, 1/2) < k). The bounds are figures that were measured; nothing is drawn at
//! random, and the same figures give the same interval. (A bootstrap of a median of a few dozen figures
//! has narrower intervals that hold less often than they promise.)

use serde::Serialize;

/// How often such an interval holds the median, at least.
pub const CONFIDENCE: f64 = 0.95;

/// A median, and where the true one lies with [`CONFIDENCE`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The median of the figures.
    pub median: f64,
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

impl Interval {
    /// The interval of the median of `figures`; `None` if there are too few for one, fewer than six.
    pub fn of_median(figures: &[f64]) -> Option<Self> {
        let k = depth(figures.len())?;
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        Some(Self {
            median: f64::midpoint(sorted[(n - 1) / 2], sorted[n / 2]),
            low: sorted[k - 1],
            high: sorted[n - k],
        })
    }

    /// Whether it tells the median from `value`.
    pub fn excludes(&self, value: f64) -> bool {
        value < self.low || value > self.high
    }
}

/// The largest `k` for which the `k`th smallest and the `k`th largest of `n` figures enclose the median
/// with [`CONFIDENCE`]; `None` if not even the outermost ones do.
fn depth(n: usize) -> Option<usize> {
    // P(Binomial(n, 1/2) = i), beginning with i = 0; more than a thousand figures would need logarithms.
    let mut exactly = 0.5_f64.powi(i32::try_from(n).ok().filter(|&n| n <= 1000)?);
    let (mut fewer, mut k) = (0.0, 0);
    while 2.0 * (fewer + exactly) <= 1.0 - CONFIDENCE {
        fewer += exactly;
        #[expect(clippy::cast_precision_loss, reason = "a thousand at most")]
        let ratio = (n - k) as f64 / (k + 1) as f64;
        exactly *= ratio;
        k += 1;
    }
    (k > 0).then_some(k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranks_are_those_of_published_tables() {
        // Conover, Practical Nonparametric Statistics, table A3: two-sided, 95 %.
        let known = [
            (5, None),
            (6, Some(1)),
            (8, Some(1)),
            (9, Some(2)),
            (15, Some(4)),
            (17, Some(5)),
            (25, Some(8)),
            (100, Some(40)),
        ];
        for (n, k) in known {
            assert_eq!(depth(n), k, "{n}");
        }
    }

    #[test]
    fn the_interval_goes_from_one_figure_to_another() {
        let figures: Vec<f64> = (1..=15).rev().map(f64::from).collect();
        let interval = Interval::of_median(&figures).unwrap();
        assert_eq!(
            (interval.low, interval.median, interval.high),
            (4.0, 8.0, 12.0)
        );
        assert!(interval.excludes(3.9) && interval.excludes(12.1) && !interval.excludes(4.0));
        assert_eq!(Interval::of_median(&figures[..5]), None);
        assert_eq!(
            Interval::of_median(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
                .unwrap()
                .median,
            3.5
        );
    }

    #[test]
    fn it_holds_the_true_median_as_often_as_it_promises() {
        // Figures with a long tail on one side, 1 / (1 - u): their median is 2.
        let mut state = 1_u64;
        let mut figure = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            #[expect(clippy::cast_precision_loss, reason = "31 bits")]
            let uniform = (state >> 33) as f64 / (1_u64 << 31) as f64;
            1.0 / (1.0 - uniform)
        };
        let held = (0..2000)
            .filter(|_| {
                let figures: Vec<f64> = (0..25).map(|_| figure()).collect();
                !Interval::of_median(&figures).unwrap().excludes(2.0)
            })
            .count();
        // 95.7 % by the binomial distribution; four standard errors of 2,000 are 1.8 %.
        assert!((1880..=1950).contains(&held), "{held}");
    }
}
