//! Memory under stress: from any of the allocators, and every word of it says whose it is.
#![allow(
    unsafe_code,
    reason = "fills what it allocated, looks at it again, and frees it"
)]

use super::random::Random;
use core::{
    alloc::{GlobalAlloc, Layout},
    num::NonZeroU64,
    ptr::NonNull,
};
use kernel::{
    mm::{
        addr::{LinearMap, Order, PAGE_BYTES, VirtAddr},
        frames,
        gfp::Gfp,
        heap,
        kmalloc::{kfree, kmalloc, krealloc},
        slab::Cache,
    },
    vm::{
        movable::MovableVmap,
        vmalloc::{vfree, vmalloc},
    },
};

/// Which allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Kmalloc,
    Heap,
    SmallCache,
    LargeCache,
    Frames,
    Area,
    Movable,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Kmalloc,
        Self::Heap,
        Self::SmallCache,
        Self::LargeCache,
        Self::Frames,
        Self::Area,
        Self::Movable,
    ];

    fn choose(random: &mut Random, context: Context) -> Self {
        match random.below(16) {
            0..=5 => Self::Kmalloc,
            6..=9 => Self::Heap,
            10 => Self::SmallCache,
            11 => Self::LargeCache,
            12 if context == Context::Thread => Self::Area,
            13 if context == Context::Thread => Self::Movable,
            _ => Self::Frames,
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    Thread,
    Interrupt,
}

static SMALL: Cache = Cache::new("stress-40", 40, 8);
static LARGE: Cache = Cache::new("stress-1984", 1984, 64);

/// Blocks of more bytes than this are filled and looked at here and there.
const WHOLE_BYTES: usize = 1024;
/// Words from one such place to the next.
const STRIDE: usize = 61;

/// A block that its holder alone uses.
///
/// # Invariants
///
/// 1. It was allocated as `kind`, `bytes` and `nonce` say, and not freed.
#[derive(Debug)]
pub(super) struct Block {
    /// Its first byte; of movable memory, the value that stands for it.
    start: NonNull<u8>,
    kind: Kind,
    bytes: usize,
    /// What its words are made of; of the global allocator's blocks also the alignment.
    nonce: u16,
}

impl Block {
    /// A block of any kind and size, filled; `None` if there is no memory.
    pub(super) fn new(random: &mut Random, context: Context) -> Option<Self> {
        let kind = Kind::choose(random, context);
        let bytes = match kind {
            Kind::Kmalloc | Kind::Heap => random.size(),
            Kind::SmallCache => 40,
            Kind::LargeCache => 1984,
            Kind::Frames => {
                let most = if context == Context::Thread { 10 } else { 3 };
                4096 << random.bits().trailing_zeros().min(most)
            }
            Kind::Area => 64 * random.size() - 63,
            Kind::Movable => 16 * random.size(),
        };
        let mut gfp = match (context, random.below(4)) {
            (Context::Interrupt, _) | (_, 0) => Gfp::ATOMIC,
            (_, 1) => Gfp::NOWAIT,
            _ => Gfp::KERNEL,
        };
        if kind == Kind::Frames {
            gfp |= [
                Gfp::empty(),
                Gfp::MOVABLE,
                Gfp::RECLAIMABLE,
                Gfp::DMA32 | Gfp::ZERO,
            ][random.below(4)];
        } else if random.below(8) == 0 {
            gfp |= Gfp::ZERO;
        }
        let nonce = random.bits().to_le_bytes();
        let nonce = u16::from_le_bytes([nonce[0], nonce[1]]);
        let block = Self {
            start: allocate(kind, bytes, layout(bytes, nonce), gfp | Gfp::NOWARN)?,
            kind,
            bytes,
            nonce,
        };
        let zeroed = match kind {
            Kind::Heap | Kind::Area => false,
            Kind::Movable => true,
            _ => gfp.contains(Gfp::ZERO),
        };
        if zeroed {
            block.check("is not zeroed", bytes, |_| 0);
        }
        block.fill();
        Some(block)
    }

    /// Changes its size, where its allocator can, and there is memory.
    pub(super) fn resize(self, random: &mut Random) -> Self {
        let bytes = random.size();
        let start = match self.kind {
            Kind::Kmalloc => {
                let gfp = Gfp::KERNEL | Gfp::NOWARN;
                // SAFETY: by invariant 1; what is returned replaces it.
                unsafe { krealloc(Some(self.start), bytes, gfp) }.ok()
            }
            Kind::Heap => {
                let layout = layout(self.bytes, self.nonce);
                // SAFETY: by invariant 1 that is its layout; what is returned replaces it.
                NonNull::new(unsafe { heap::global().realloc(self.start.as_ptr(), layout, bytes) })
            }
            _ => None,
        };
        let Some(start) = start else { return self };
        let moved = Self { start, ..self };
        moved.check(
            "changed when it was reallocated",
            self.bytes.min(bytes),
            |word| stamp(self.nonce, word),
        );
        let moved = Self { bytes, ..moved };
        moved.fill();
        moved
    }

    /// Looks whether it is as it was left, and frees it.
    pub(super) fn free(self) {
        self.check("was overwritten", self.bytes, |word| {
            stamp(self.nonce, word)
        });
        // Whoever has it next must not find what the same owner would expect.
        // SAFETY: by invariant 1, and the first bytes are ours until the block is freed.
        unsafe { self.content().write_bytes(0xdd, self.bytes.min(64)) };
        match self.kind {
            // SAFETY: by invariant 1; `self` ends here.
            Kind::Kmalloc => unsafe { kfree(self.start) },
            Kind::Heap => {
                let layout = layout(self.bytes, self.nonce);
                // SAFETY: as above, and that is its layout.
                unsafe { heap::global().dealloc(self.start.as_ptr(), layout) }
            }
            // SAFETY: as above.
            Kind::SmallCache => unsafe { SMALL.free(self.start) },
            // SAFETY: as above.
            Kind::LargeCache => unsafe { LARGE.free(self.start) },
            Kind::Frames => {
                let start = VirtAddr::from_ptr(self.start.as_ptr());
                let pfn = LinearMap::kernel().to_phys(start).frame();
                frames::free(pfn, order(self.bytes)).expect("allocated like this");
            }
            // SAFETY: as above.
            Kind::Area => unsafe { vfree(self.start) }.expect("not in an interrupt"),
            Kind::Movable => {
                // SAFETY: as above; `movable` put it there.
                drop(unsafe { self.start.cast::<MovableVmap>().read() });
                // SAFETY: as above, and allocated by `movable`.
                unsafe { kfree(self.start) }
            }
        }
    }

    /// Whether freeing it may take long, and so is refused in an interrupt.
    pub(super) fn may_wait(&self) -> bool {
        matches!(self.kind, Kind::Area | Kind::Movable)
    }

    /// Its first byte.
    fn content(&self) -> NonNull<u8> {
        if self.kind != Kind::Movable {
            return self.start;
        }
        // SAFETY: by invariant 1 `movable` put it there.
        let area = unsafe { self.start.cast::<MovableVmap>().as_ref() };
        NonNull::new(area.as_ptr().cast_mut()).expect("no area is at 0")
    }

    /// Fills it.
    fn fill(&self) {
        let content = self.content();
        for word in self.words(self.bytes) {
            // SAFETY: inside the block, by invariant 1.
            let place = unsafe { content.cast::<u64>().add(word) };
            // SAFETY: as above.
            unsafe { place.write_unaligned(stamp(self.nonce, word)) };
        }
    }

    /// Ends the run unless the words in its first `bytes` are as `expected` says.
    fn check(&self, wrong: &str, bytes: usize, expected: impl Fn(usize) -> u64) {
        let content = self.content();
        for word in self.words(bytes) {
            // SAFETY: inside the block, by invariant 1.
            let place = unsafe { content.cast::<u64>().add(word) };
            // SAFETY: as above.
            let found = unsafe { place.read_unaligned() };
            assert!(
                found == expected(word),
                "{:?} block of {} bytes at {:p} {wrong}: word {word} is {found:#018x}, not {:#018x}",
                self.kind,
                self.bytes,
                self.start,
                expected(word)
            );
        }
    }

    /// Those of its words in the first `bytes` that are filled and looked at.
    fn words(&self, bytes: usize) -> impl Iterator<Item = usize> + use<> {
        let stride = if self.bytes > WHOLE_BYTES { STRIDE } else { 1 };
        (0..bytes / 8).step_by(stride)
    }

    /// Itself as two words that are not zero, for tables and rings.
    pub(super) fn into_words(self) -> [NonZeroU64; 2] {
        let bytes = (self.bytes as u64) << 24;
        let says = bytes | u64::from(self.nonce) << 8 | self.kind as u64;
        let start = self.start.as_ptr().expose_provenance() as u64;
        [start, says].map(|word| NonZeroU64::new(word).expect("no block is at 0, or empty"))
    }

    /// The block that these words are.
    ///
    /// # Safety
    ///
    /// They came from [`into_words`](Self::into_words), and make a block this once.
    pub(super) unsafe fn from_words([start, says]: [NonZeroU64; 2]) -> Self {
        let [kind, nonce @ .., b0, b1, b2, b3, b4] = says.get().to_le_bytes();
        let bytes = u64::from_le_bytes([b0, b1, b2, b3, b4, 0, 0, 0]);
        Self {
            start: NonNull::with_exposed_provenance(
                usize::try_from(start.get())
                    .ok()
                    .and_then(|start| start.try_into().ok())
                    .expect("an address"),
            ),
            kind: Kind::ALL[usize::from(kind)],
            bytes: usize::try_from(bytes).expect("64 bits"),
            nonce: u16::from_le_bytes(nonce),
        }
    }
}

/// What a word of a block holds.
fn stamp(nonce: u16, word: usize) -> u64 {
    (u64::from(nonce) << 48 | word as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The layout of a block of the global allocator's: aligned to 8 to 1,024 bytes.
fn layout(bytes: usize, nonce: u16) -> Layout {
    Layout::from_size_align(bytes, 8 << (nonce % 8)).expect("a small power of two")
}

fn order(bytes: usize) -> Order {
    Order::holding(bytes as u64).expect("at most 4 MiB")
}

fn allocate(kind: Kind, bytes: usize, layout: Layout, gfp: Gfp) -> Option<NonNull<u8>> {
    let start = match kind {
        Kind::Kmalloc => kmalloc(bytes, gfp).ok()?,
        // SAFETY: the layout has a size.
        Kind::Heap => NonNull::new(unsafe { heap::global().alloc(layout) })?,
        Kind::SmallCache => SMALL.alloc(gfp).ok()?,
        Kind::LargeCache => LARGE.alloc(gfp).ok()?,
        Kind::Frames => {
            let block = frames::alloc(order(bytes), gfp).ok()?;
            NonNull::new(LinearMap::kernel().to_virt(block.address()).as_mut_ptr())?
        }
        Kind::Area => vmalloc(bytes as u64).ok()?,
        Kind::Movable => movable(bytes)?,
    };
    let align = match kind {
        Kind::Heap => layout.align() as u64,
        Kind::LargeCache => 64,
        Kind::Frames => bytes as u64,
        Kind::Area => PAGE_BYTES,
        _ => 8,
    };
    let at = VirtAddr::from_ptr(start.as_ptr());
    assert!(at.is_aligned_to(align), "{kind:?} block at {at:#x}");
    Some(start)
}

/// Movable memory; returns where the value is that stands for it.
fn movable(bytes: usize) -> Option<NonNull<u8>> {
    let area = MovableVmap::new(bytes).ok()?;
    let place = kmalloc(size_of::<MovableVmap>(), Gfp::KERNEL | Gfp::NOWARN).ok()?;
    // SAFETY: allocated just now for it; objects are aligned to 8.
    unsafe { place.cast().write(area) };
    Some(place)
}
