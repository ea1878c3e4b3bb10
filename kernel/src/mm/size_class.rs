//! Size classes of kmalloc: four steps a doubling, 8 to 8,192 bytes.
//!
//! # Shape
//!
//! ```text
//! class   0   1   2   3   4   5   6   7   8   9  10  11  12 …   31   32   33   34   35
//! bytes   8  16  24  32  40  48  56  64  80  96 112 128 160 … 4096 5120 6144 7168 8192
//! ```
//!
//! Below 64 bytes the step is 8: four steps of less would break the alignment of a word. 8 bytes is
//! the least, since a free object holds a word.
//!
//! # Invariants
//!
//! 1. A request gets the smallest class that holds it.
//! 2. A size that is a multiple of a power of two *a* gets a class that is one too: so `Layout`s are
//!    aligned by rounding their size up to their alignment, and powers of two are naturally aligned.
//!
//! # Cost
//!
//! [`of`] reads one byte of a table of 1 KiB; with a constant size it is a constant. A class wastes at
//! most a fifth of what it hands out, from 64 bytes on, and 7.6 % of it for evenly spread sizes.

/// A size class. It holds the number of its cache, one more than the class's, so that no fast path has
/// to add.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SizeClass(u8);

/// Number of classes.
pub const COUNT: usize = 36;
/// Bytes of the largest class.
pub const LARGEST_BYTES: usize = 8192;
/// Bytes of the smallest class.
pub const SMALLEST_BYTES: usize = 8;

/// Sizes in words, of 8 bytes, that have a class.
pub const WORDS: usize = LARGEST_BYTES / 8;

/// The class of each size, by the 8 bytes that its last one is in.
static CLASSES: [SizeClass; WORDS] = {
    let mut classes = [SizeClass(1); WORDS];
    let (mut class, mut word) = (SizeClass(1), 0);
    while word < classes.len() {
        if class.bytes() < 8 * (word + 1) {
            class = SizeClass(class.0 + 1);
        }
        classes[word] = class;
        word += 1;
    }
    classes
};

/// The class of `bytes`; `None` for 0 and past [`LARGEST_BYTES`].
#[inline]
pub const fn of(bytes: usize) -> Option<SizeClass> {
    let last = bytes.wrapping_sub(1);
    if last >= LARGEST_BYTES {
        return None;
    }
    Some(CLASSES[last / 8])
}

/// The class of `bytes` aligned to `align_bytes`, a power of two; `None` if no class has both.
#[inline]
pub const fn of_layout(bytes: usize, align_bytes: usize) -> Option<SizeClass> {
    // A `Layout`'s size, rounded up to its alignment, does not overflow `isize`.
    let rounded = bytes.wrapping_add(align_bytes - 1) & !(align_bytes - 1);
    of(rounded)
}

impl SizeClass {
    /// Bytes of its objects.
    pub const fn bytes(self) -> usize {
        let number = self.index();
        if number < 7 {
            return SMALLEST_BYTES + 8 * number;
        }
        let (doubling, step) = ((number - 7) / 4, (number - 7) % 4);
        (64 + 16 * step) << doubling
    }

    /// The class as an index below [`COUNT`].
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize - 1
    }

    /// The number of its cache.
    #[inline]
    pub(super) const fn cache_number(self) -> u8 {
        self.0
    }

    /// All classes, smallest first.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=36).map(Self)
    }

    /// The name of its cache.
    pub const fn name(self) -> &'static str {
        NAMES[self.index()]
    }

    /// The class numbered `index`, below [`COUNT`].
    pub(super) const fn at(index: usize) -> Self {
        assert!(index < COUNT);
        #[expect(clippy::cast_possible_truncation, reason = "below 36")]
        Self(index as u8 + 1)
    }
}

const NAMES: [&str; COUNT] = [
    "kmalloc-8",
    "kmalloc-16",
    "kmalloc-24",
    "kmalloc-32",
    "kmalloc-40",
    "kmalloc-48",
    "kmalloc-56",
    "kmalloc-64",
    "kmalloc-80",
    "kmalloc-96",
    "kmalloc-112",
    "kmalloc-128",
    "kmalloc-160",
    "kmalloc-192",
    "kmalloc-224",
    "kmalloc-256",
    "kmalloc-320",
    "kmalloc-384",
    "kmalloc-448",
    "kmalloc-512",
    "kmalloc-640",
    "kmalloc-768",
    "kmalloc-896",
    "kmalloc-1k",
    "kmalloc-1280",
    "kmalloc-1536",
    "kmalloc-1792",
    "kmalloc-2k",
    "kmalloc-2560",
    "kmalloc-3k",
    "kmalloc-3584",
    "kmalloc-4k",
    "kmalloc-5k",
    "kmalloc-6k",
    "kmalloc-7k",
    "kmalloc-8k",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn every_size_gets_the_smallest_class_that_holds_it() {
        for bytes in 1..=LARGEST_BYTES {
            let class = of(bytes).unwrap();
            assert!(class.bytes() >= bytes, "{bytes}");
            assert!(class.index() == 0 || SizeClass::at(class.index() - 1).bytes() < bytes);
        }
        assert_eq!(of(0), None);
        assert_eq!(of(LARGEST_BYTES + 1), None);
        assert_eq!(of(usize::MAX), None);
    }

    #[test]
    fn a_class_wastes_at_most_a_fifth_and_little_of_evenly_spread_sizes() {
        let (mut asked, mut given) = (0, 0);
        for bytes in 64..=LARGEST_BYTES {
            let class = of(bytes).unwrap().bytes();
            assert!((class - bytes) * 5 <= class, "{bytes} of {class}");
            (asked, given) = (asked + bytes, given + class);
        }
        assert_eq!((given - asked) * 1000 / given, 76, "per mille");
    }

    #[test]
    fn there_are_four_steps_a_doubling() {
        assert_eq!(SizeClass::all().count(), COUNT);
        for class in SizeClass::all().filter(|class| class.bytes() >= 32) {
            if class.index() + 4 < COUNT {
                assert_eq!(SizeClass::at(class.index() + 4).bytes(), class.bytes() * 2);
            }
        }
        for class in SizeClass::all() {
            assert_eq!(of(class.bytes()), Some(class));
        }
    }

    #[test]
    fn every_layout_gets_a_class_that_is_a_multiple_of_its_alignment() {
        for align in (0..=13).map(|shift| 1_usize << shift) {
            for bytes in 1..=LARGEST_BYTES {
                if let Some(class) = of_layout(bytes, align) {
                    assert!(class.bytes() >= bytes && class.bytes() % align == 0);
                } else {
                    assert!(bytes.next_multiple_of(align) > LARGEST_BYTES);
                }
            }
        }
        assert_eq!(of_layout(1, 16384), None);
    }

    #[test]
    fn a_constant_layout_has_a_constant_class() {
        const CLASS: Option<SizeClass> = of_layout(65, 16);
        assert_eq!(CLASS.map(SizeClass::bytes), Some(80));
    }

    #[test]
    fn names_tell_the_bytes() {
        for class in SizeClass::all() {
            let bytes = class.bytes();
            let kibi = bytes % 1024 == 0;
            let text = if kibi {
                format!("{}k", bytes / 1024)
            } else {
                format!("{bytes}")
            };
            assert_eq!(class.name(), format!("kmalloc-{text}"));
        }
    }
}
