//! Size classes of kmalloc: four a doubling, 8 to 8,192 bytes.
//!
//! # Shape
//!
//! ```text
//! class   0   1   2   3   4   5   6   7   8   9  10  11  12 …   31   32   33   34   35
//! bytes   8  16  24  32  40  48  56  64  80  96 112 128 160 … 4096 4672 5456 6544 8192
//! ```
//!
//! Below 64 bytes the step is 8: four steps of less would break the alignment of a word. 8 bytes is
//! the least, since a free object holds a word. From 256 bytes on the classes of a doubling are what a
//! slab of whole pages holds seven, six, five and four of (or twice, or four times, as many), rounded
//! down to 16: steps of a quarter, as below, waste a sixteenth to an eighth of each slab at its end. See
//! `kernel/decisions/0007-size-classes-fit-slabs.md`.
//!
//! # Invariants
//!
//! 1. A request gets the smallest class that holds it.
//! 2. Classes from 64 bytes on are multiples of 16, those below of 8, and every power of two is one,
//!    naturally aligned.
//!
//! # Cost
//!
//! [`of`] reads one byte of a table of 1 KiB; with a constant size it is a constant. A class wastes at
//! most a quarter of what it hands out, from 64 bytes on, and 8.7 % of it for evenly spread sizes.

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

/// Bytes of each class, with the name of its cache.
const CLASSES: [(usize, &str); COUNT] = [
    (8, "kmalloc-8"),
    (16, "kmalloc-16"),
    (24, "kmalloc-24"),
    (32, "kmalloc-32"),
    (40, "kmalloc-40"),
    (48, "kmalloc-48"),
    (56, "kmalloc-56"),
    (64, "kmalloc-64"),
    (80, "kmalloc-80"),
    (96, "kmalloc-96"),
    (112, "kmalloc-112"),
    (128, "kmalloc-128"),
    (160, "kmalloc-160"),
    (192, "kmalloc-192"),
    (224, "kmalloc-224"),
    (256, "kmalloc-256"),
    (288, "kmalloc-288"),
    (336, "kmalloc-336"),
    (400, "kmalloc-400"),
    (512, "kmalloc-512"),
    (576, "kmalloc-576"),
    (672, "kmalloc-672"),
    (816, "kmalloc-816"),
    (1024, "kmalloc-1k"),
    (1168, "kmalloc-1168"),
    (1360, "kmalloc-1360"),
    (1632, "kmalloc-1632"),
    (2048, "kmalloc-2k"),
    (2336, "kmalloc-2336"),
    (2720, "kmalloc-2720"),
    (3264, "kmalloc-3264"),
    (4096, "kmalloc-4k"),
    (4672, "kmalloc-4672"),
    (5456, "kmalloc-5456"),
    (6544, "kmalloc-6544"),
    (8192, "kmalloc-8k"),
];

/// The class of each size, by the 8 bytes that its last one is in.
static BY_WORDS: [SizeClass; WORDS] = {
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
    Some(BY_WORDS[last / 8])
}

/// The class of `bytes` aligned to `align_bytes`, a power of two; `None` if no class has both. What is
/// aligned to more than 16 gets a power of two.
#[inline]
pub const fn of_layout(bytes: usize, align_bytes: usize) -> Option<SizeClass> {
    // A `Layout`'s size, rounded up to its alignment, does not overflow `isize`.
    let rounded = bytes.wrapping_add(align_bytes - 1) & !(align_bytes - 1);
    if align_bytes > 16 {
        return of(rounded.next_power_of_two());
    }
    of(rounded)
}

impl SizeClass {
    /// Bytes of its objects.
    pub const fn bytes(self) -> usize {
        CLASSES[self.index()].0
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
        CLASSES[self.index()].1
    }

    /// The class numbered `index`, below [`COUNT`].
    pub(super) const fn at(index: usize) -> Self {
        assert!(index < COUNT);
        #[expect(clippy::cast_possible_truncation, reason = "below 36")]
        Self(index as u8 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::slab::Geometry;
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
    fn a_class_wastes_at_most_a_quarter_and_little_of_evenly_spread_sizes() {
        let (mut asked, mut given) = (0, 0);
        for bytes in 64..=LARGEST_BYTES {
            let class = of(bytes).unwrap().bytes();
            assert!((class - bytes) * 4 <= class, "{bytes} of {class}");
            (asked, given) = (asked + bytes, given + class);
        }
        assert_eq!((given - asked) * 1000 / given, 87, "per mille");
    }

    #[test]
    fn there_are_four_classes_a_doubling_powers_of_two_and_multiples_of_16() {
        assert_eq!(SizeClass::all().count(), COUNT);
        for class in SizeClass::all() {
            assert_eq!(of(class.bytes()), Some(class));
            assert_eq!(class.bytes() % if class.bytes() < 64 { 8 } else { 16 }, 0);
            if class.bytes().is_power_of_two() && (64..4096).contains(&class.bytes()) {
                assert_eq!(SizeClass::at(class.index() + 4).bytes(), class.bytes() * 2);
            }
        }
    }

    #[test]
    fn slabs_of_every_class_waste_little_at_their_end() {
        for class in SizeClass::all() {
            let geometry = Geometry::new(class.bytes(), 8).unwrap();
            let slab = usize::try_from(geometry.order.bytes()).unwrap();
            let used = usize::from(geometry.capacity) * class.bytes();
            assert!((slab - used) * 40 <= slab, "{}", class.bytes());
        }
    }

    #[test]
    fn every_layout_gets_a_class_that_is_a_multiple_of_its_alignment() {
        for align in (0..=13).map(|shift| 1_usize << shift) {
            for bytes in 1..=LARGEST_BYTES {
                if let Some(class) = of_layout(bytes, align) {
                    assert!(class.bytes() >= bytes && class.bytes() % align == 0);
                } else {
                    let rounded = bytes.next_multiple_of(align);
                    assert!(rounded.next_power_of_two() > LARGEST_BYTES);
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
