//! A log-linear histogram of fixed size.
//!
//! # Shape
//!
//! Values below [`EXACT`] have a bucket each. Above, every doubling is cut into [`STEPS`] buckets of
//! equal width, so that a bucket is at most 1/[`STEPS`] (under 1 %) of its values wide. The whole of
//! `u64` is covered; nothing is ever dropped or clamped.
//!
//! # Invariants
//!
//! 1. `bucket` is monotonic, and `lowest(bucket(v)) <= v`.
//! 2. `bucket(v) < BUCKETS` for every `v`.

/// Values below this one have a bucket each.
pub const EXACT: u64 = 1024;
/// Buckets a doubling above that.
pub const STEPS: u64 = 128;
const STEP_BITS: u32 = STEPS.trailing_zeros();
const EXACT_BITS: u32 = EXACT.trailing_zeros();
/// Number of buckets.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a small constant, and const fn has no try_from"
)]
pub const BUCKETS: usize = (EXACT + (64 - EXACT_BITS as u64) * STEPS) as usize;

/// The bucket of `value`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "below BUCKETS by invariant 2"
)]
pub const fn bucket(value: u64) -> usize {
    if value < EXACT {
        return value as usize;
    }
    let exponent = value.ilog2();
    let step = (value >> (exponent - STEP_BITS)) - STEPS;
    (EXACT + (exponent - EXACT_BITS) as u64 * STEPS + step) as usize
}

/// The lowest value in `bucket`, which must be below [`BUCKETS`].
pub const fn lowest(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < EXACT {
        return bucket;
    }
    let (doubling, step) = ((bucket - EXACT) / STEPS, (bucket - EXACT) % STEPS);
    (STEPS + step) << (doubling + (EXACT_BITS - STEP_BITS) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_bucket_holds_its_values_and_is_under_one_percent_wide(
            value in prop_oneof![any::<u64>(), 0_u64..5000, (0_u32..64).prop_map(|bits| 1 << bits)],
        ) {
            let index = bucket(value);
            prop_assert!(index < BUCKETS);
            prop_assert!(lowest(index) <= value);
            prop_assert_eq!(bucket(lowest(index)), index);
            if index + 1 < BUCKETS {
                let width = lowest(index + 1) - lowest(index);
                prop_assert!(value < lowest(index + 1));
                prop_assert!(width == 1 || width * 100 < value);
            }
        }
    }

    #[test]
    fn small_values_are_exact_and_the_largest_fits() {
        assert_eq!(
            (bucket(1023), bucket(1024), bucket(1031)),
            (1023, 1024, 1024)
        );
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }
}
