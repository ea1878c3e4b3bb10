//! Whether an allocator keeps its promises, before anybody believes its figures.
//!
//! Every word of the arena that belongs to a live object is claimed: objects that overlap, and a block
//! that is handed out twice, claim a word again. And every byte of every object is stamped with what its
//! address makes, and verified when the object is freed: an allocator that writes into live objects
//! changes a stamp.

mod frames;

pub use frames::frames;

use super::ObjectAllocator;
use super::claims::Claims;
use crate::generator::{CHURN_SEED, Draws, XorshiftStar};
use crate::workload::{self, Count, Slot, Subject};
use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;

/// Operations of the check.
const COUNT: Count = Count {
    warm_up: 20_000,
    recorded: 0,
};
/// Alignments that it asks for.
const ALIGNS: [usize; 3] = [8, 64, 4096];

/// What an allocator did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// An object that is not aligned as it was asked for.
    Misaligned {
        /// Its address.
        address: usize,
        /// The alignment in bytes.
        align_bytes: usize,
    },
    /// An object of which a part lies outside the arena.
    Outside {
        /// Its address.
        address: usize,
    },
    /// An object of which a part belongs to another one that is live.
    Overlapping {
        /// Its address.
        address: usize,
        /// Its bytes.
        bytes: u32,
    },
    /// An object that changed while it was live.
    Overwritten {
        /// Its address.
        address: usize,
        /// Its bytes.
        bytes: u32,
    },
    /// No memory, although most of the arena is free.
    OutOfMemory {
        /// Bytes asked for.
        bytes: u32,
    },
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misaligned {
                address,
                align_bytes,
            } => write!(f, "{address:#x} is not aligned to {align_bytes} bytes"),
            Self::Outside { address } => write!(f, "{address:#x} is not in its memory"),
            Self::Overlapping { address, bytes } => {
                write!(
                    f,
                    "{bytes} bytes at {address:#x} belong to another object too"
                )
            }
            Self::Overwritten { address, bytes } => {
                write!(
                    f,
                    "{bytes} bytes at {address:#x} changed while they were live"
                )
            }
            Self::OutOfMemory { bytes } => {
                write!(f, "no {bytes} bytes while most of its memory is free")
            }
        }
    }
}

impl core::error::Error for Flaw {}

/// Bytes of a word, the granule of claims, as a power of two: no two objects share one.
const WORD_LOG2: u32 = 3;

/// Words of claims that an arena of `bytes` needs.
pub const fn words(bytes: usize) -> usize {
    Claims::count(bytes, WORD_LOG2)
}

/// Toggles objects of `allocator`, which has `arena`, in `slots`, and verifies each. All are freed.
/// `claims` has as many words as [`words`] says.
///
/// # Errors
///
/// The first [`Flaw`].
pub fn objects<A: ObjectAllocator>(
    allocator: &mut A,
    arena: NonNull<[u8]>,
    slots: &mut [Slot],
    claims: &mut [u64],
) -> Result<(), Flaw> {
    for align_bytes in ALIGNS {
        let mut checked = Checked {
            allocator,
            arena,
            claims: Claims::new(claims, WORD_LOG2),
            align_bytes,
            flaw: None,
        };
        let mut draws = Sparing(XorshiftStar::new(CHURN_SEED));
        let result = workload::toggle(&mut checked, &mut draws, COUNT, slots);
        workload::clear(&mut checked, slots);
        if let Err(workload::OutOfMemory { amount, .. }) = result {
            checked.note(Flaw::OutOfMemory { bytes: amount });
        }
        checked.flaw.map_or(Ok(()), Err)?;
    }
    Ok(())
}

/// The sizes of the crates' rows.
struct Sparing(XorshiftStar);

impl Draws for Sparing {
    fn slot(&mut self, slots: u32) -> u32 {
        self.0.below(slots)
    }
    fn amount(&mut self) -> u32 {
        self.0.amount()
    }
}

struct Checked<'a, A> {
    allocator: &'a mut A,
    arena: NonNull<[u8]>,
    claims: Claims<'a>,
    align_bytes: usize,
    flaw: Option<Flaw>,
}

impl<A: ObjectAllocator> Checked<'_, A> {
    fn note(&mut self, flaw: Flaw) {
        self.flaw.get_or_insert(flaw);
    }

    fn layout(&self, bytes: u32) -> Option<Layout> {
        Layout::from_size_align(bytes as usize, self.align_bytes).ok()
    }

    /// Claims an object; what is wrong with where it is, if anything.
    fn misplaced(&mut self, object: NonNull<u8>, bytes: u32) -> Option<Flaw> {
        let (address, align_bytes) = (object.addr().get(), self.align_bytes);
        if !address.is_multiple_of(align_bytes) {
            return Some(Flaw::Misaligned {
                address,
                align_bytes,
            });
        }
        if !A::IN_ARENA {
            return None;
        }
        let offset = self.offset(address);
        if offset >= self.arena.len() || bytes as usize > self.arena.len() - offset {
            return Some(Flaw::Outside { address });
        }
        let claimed = self.claims.claim(offset, bytes as usize);
        (!claimed).then_some(Flaw::Overlapping { address, bytes })
    }

    /// Where in the arena `address` is, if it is.
    fn offset(&self, address: usize) -> usize {
        address.wrapping_sub(self.arena.cast::<u8>().addr().get())
    }
}

impl<A: ObjectAllocator> Subject for Checked<'_, A> {
    fn alloc(&mut self, bytes: u32, _: bool) -> Option<u64> {
        let object = self.allocator.alloc(self.layout(bytes)?)?;
        if let Some(flaw) = self.misplaced(object, bytes) {
            self.note(flaw);
            // What is none of its memory is not touched, and the workload ends.
            return None;
        }
        // SAFETY: the object was allocated with this many bytes just now, and nobody has it yet.
        let object_bytes =
            unsafe { core::slice::from_raw_parts_mut(object.as_ptr(), bytes as usize) };
        let stamp = stamp(object);
        for part in object_bytes.chunks_mut(stamp.len()) {
            part.copy_from_slice(&stamp[..part.len()]);
        }
        Some(object.as_ptr().expose_provenance() as u64)
    }

    fn free(&mut self, block: u64, bytes: u32, _: bool) {
        #[expect(clippy::cast_possible_truncation, reason = "it came from a pointer")]
        let address = block as usize;
        let object = NonNull::new(core::ptr::with_exposed_provenance_mut::<u8>(address));
        let (Some(object), Some(layout)) = (object, self.layout(bytes)) else {
            return;
        };
        // SAFETY: the object is live, has this many bytes, and they were written when it was allocated.
        let object_bytes = unsafe { core::slice::from_raw_parts(object.as_ptr(), bytes as usize) };
        let stamp = stamp(object);
        let mut parts = object_bytes.chunks(stamp.len());
        let sound = parts.all(|part| *part == stamp[..part.len()]);
        if !sound {
            self.note(Flaw::Overwritten { address, bytes });
        }
        if A::IN_ARENA {
            self.claims.release(self.offset(address), bytes as usize);
        }
        // SAFETY: workloads free each object once, with the size it was allocated for.
        unsafe { self.allocator.dealloc(object, layout) }
    }
}

/// Eight bytes that no two addresses share: they are mixed by a bijection.
fn stamp(object: NonNull<u8>) -> [u8; 8] {
    let address = object.addr().get() as u64;
    let mixed = (address ^ (address >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)).to_le_bytes()
}

#[cfg(test)]
mod tests;
