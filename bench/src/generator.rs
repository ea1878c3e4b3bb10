//! The random numbers, sizes and orders of the workloads, bit for bit those that the published figures
//! of Linux and of the Rust crates were measured with.
//!
//! Two generators, because two groups of figures exist: [`Xorshift`] (Marsaglia 2003) drew Linux's,
//! [`XorshiftStar`] (Vigna 2016) those of the crates. Each comes with the law its sizes follow.

/// The published seed of [`Xorshift`].
pub const LINUX_SEED: u64 = 88_172_645_463_325_252;
/// The published seed of [`XorshiftStar`] for `mixed/toggle`, `pages/mix` and the shuffle.
pub const CRATES_SEED: u64 = 0x9E37_79B9_7F4A_7C15;
/// The published seed of [`XorshiftStar`] for what fragments memory.
pub const CHURN_SEED: u64 = 0xD1B5_4A32_D192_ED03;
/// The published seed of [`XorshiftStar`] for filling memory.
pub const FILL_SEED: u64 = 0xFEED_BEEF_CAFE_0001;

/// Draws slots and amounts: what a mixed workload asks for.
pub trait Draws {
    /// A slot below `slots`, which must be at least 1.
    fn slot(&mut self, slots: u32) -> u32;
    /// What to allocate: bytes, or an order.
    fn amount(&mut self) -> u32;
}

/// The seed of a row: the published one for seed 0, else one made from both by `SplitMix64`'s mixing
/// function, so that neighbouring seeds have nothing in common. Never 0, where the generators stand
/// still.
pub const fn seeded(published: u64, seed: u64) -> u64 {
    if seed == 0 {
        return published;
    }
    let mut mixed = published ^ seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^= mixed >> 31;
    if mixed == 0 { published } else { mixed }
}

/// xorshift64 with sizes log-uniform in 16 … 4,074 bytes: the Linux rows.
#[derive(Clone, Debug)]
pub struct Xorshift(u64);

impl Xorshift {
    /// A generator; `seed` is not 0.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    const fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

impl Draws for Xorshift {
    fn slot(&mut self, slots: u32) -> u32 {
        below_bound(self.draw() % u64::from(slots))
    }

    fn amount(&mut self) -> u32 {
        // The upper ten bits: an index below 1,024.
        LOG_UNIFORM[below_bound(self.draw() >> 54) as usize]
    }
}

/// xorshift64* with sizes uniform inside a uniformly drawn octave of 16 … 4,095 bytes: the crates' rows.
#[derive(Clone, Debug)]
pub struct XorshiftStar(u64);

impl XorshiftStar {
    /// A generator; `seed` is not 0.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    const fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`, by multiplying instead of dividing (Lemire 2019).
    pub fn below(&mut self, bound: u32) -> u32 {
        below_bound(((self.draw() >> 32) * u64::from(bound)) >> 32)
    }

    /// A block order up to `max`: each half as likely as the one before.
    pub fn order(&mut self, max: u32) -> u32 {
        (self.draw() >> 11).trailing_zeros().min(max)
    }

    /// Puts `items` in random order (Fisher and Yates, from the last down).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let bound = u32::try_from(last + 1).unwrap_or(u32::MAX);
            items.swap(last, self.below(bound) as usize);
        }
    }
}

impl Draws for XorshiftStar {
    fn slot(&mut self, slots: u32) -> u32 {
        self.below(slots)
    }

    fn amount(&mut self) -> u32 {
        let octave = 16 << self.below(8);
        octave + self.below(octave)
    }
}

/// Draws orders up to the second field, where [`XorshiftStar`] itself draws sizes.
#[derive(Clone, Debug)]
pub struct Orders(pub XorshiftStar, pub u32);

impl Draws for Orders {
    fn slot(&mut self, slots: u32) -> u32 {
        self.0.below(slots)
    }

    fn amount(&mut self) -> u32 {
        self.0.order(self.1)
    }
}

/// A number that is below a `u32` bound by how it was made.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the caller's bound has 32 bits"
)]
const fn below_bound(number: u64) -> u32 {
    number as u32
}

/// Sizes log-uniform over eight doublings: entry *i* is 16 × 2^(*i*/128), rounded.
///
/// Repeated multiplication in doubles is exact enough: every 128 steps it starts again from a power of
/// two, and no entry comes nearer to a half than 5 × 10⁻⁴.
const LOG_UNIFORM: [u32; 1024] = {
    /// The 128th root of 2.
    const STEP: f64 = 1.005_429_901_112_802_8;
    let mut sizes = [0; 1024];
    let (mut entry, mut exact) = (0, 16.0);
    while entry < sizes.len() {
        if entry % 128 == 0 {
            exact = (16_u32 << (entry / 128)) as f64;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "rounds a positive number below 4,096"
        )]
        let rounded = (exact + 0.5) as u32;
        sizes[entry] = rounded;
        exact *= STEP;
        entry += 1;
    }
    sizes
};

#[cfg(test)]
mod tests {
    //! Expected values were computed by another program, in Python's integers and 50-digit decimals.
    use super::*;

    #[test]
    fn the_generators_draw_the_published_numbers() {
        let mut linux = Xorshift::new(LINUX_SEED);
        let drawn = [linux.draw(), linux.draw(), linux.draw()];
        assert_eq!(
            drawn,
            [
                8_748_534_153_485_358_512,
                3_040_900_993_826_735_515,
                3_453_997_556_048_239_312
            ]
        );
        let mut crates = XorshiftStar::new(CRATES_SEED);
        let drawn = [crates.draw(), crates.draw(), crates.draw()];
        assert_eq!(
            drawn,
            [
                0x0D83_B3E2_9A21_487A,
                0x54C4_4C79_F1FE_9D67,
                0xA845_F342_007A_0E78
            ]
        );
    }

    #[test]
    fn sizes_follow_the_published_laws() {
        let mut crates = XorshiftStar::new(CRATES_SEED);
        let sizes: [u32; 6] = core::array::from_fn(|_| crates.amount());
        assert_eq!(sizes, [21, 762, 413, 1437, 466, 27]);
        let mut linux = Xorshift::new(LINUX_SEED);
        let sizes: [u32; 6] = core::array::from_fn(|_| linux.amount());
        assert_eq!(sizes, [221, 40, 45, 2233, 188, 3371]);
        assert_eq!(LOG_UNIFORM.iter().sum::<u32>(), 751_397);
        assert_eq!(LOG_UNIFORM[1021..], [4030, 4052, 4074]);
        assert_eq!(LOG_UNIFORM[127..130], [32, 32, 32]);
    }

    #[test]
    fn orders_and_the_shuffle_are_the_published_ones() {
        let mut crates = XorshiftStar::new(CRATES_SEED);
        let orders: [u32; 12] = core::array::from_fn(|_| crates.order(10));
        assert_eq!(orders, [0, 0, 0, 3, 1, 0, 0, 0, 6, 0, 0, 1]);
        let mut items: Vec<u16> = (0..1000).collect();
        XorshiftStar::new(CRATES_SEED).shuffle(&mut items);
        assert_eq!(items[..8], [6, 194, 818, 433, 660, 591, 419, 735]);
    }

    #[test]
    fn seed_zero_is_the_published_one_and_no_seed_stops_a_generator() {
        assert_eq!(seeded(CRATES_SEED, 0), CRATES_SEED);
        assert_ne!(seeded(CRATES_SEED, 1), seeded(CRATES_SEED, 2));
        assert_ne!(seeded(CRATES_SEED, CRATES_SEED), 0);
    }
}
