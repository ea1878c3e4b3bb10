//! Why frames could not be had or given back.

use super::addr::{Order, Pfn};
use core::fmt;

/// Why a frame could not be allocated or freed. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// No free block is large enough. Ask for less, or free something.
    OutOfMemory {
        /// The order asked for.
        order: Order,
        /// Frames still free, in smaller blocks or in zones that the flags exclude.
        free_frames: u32,
    },
    /// No zone that the flags allow could ever give a block of the order, whatever is free. Ask for less.
    Impossible {
        /// The order asked for.
        order: Order,
        /// Frames that those zones have, used or not.
        managed_frames: u32,
    },
    /// Nobody has given the kernel its frames yet.
    NotReady,
    /// The frame belongs to no memory that was given to the allocator.
    NotManaged(Pfn),
    /// The frame cannot start a block of the order given to `free`.
    Misaligned {
        /// The frame given to `free`.
        pfn: Pfn,
        /// The order given to `free`.
        order: Order,
    },
    /// The frame lies inside an allocated block and does not start it.
    NotAHead {
        /// The frame given to `free`.
        pfn: Pfn,
        /// The block's order: it starts at the multiple of its frames below.
        block: Order,
    },
    /// The block was allocated with another order.
    WrongOrder {
        /// The frame given to `free`.
        pfn: Pfn,
        /// The order given to `free`.
        given: Order,
        /// The block's.
        actual: Order,
    },
    /// The block is free already.
    DoubleFree(Pfn),
    /// The block belongs to a slab cache, is a kmalloc object or has an owner that moves it: it must be
    /// freed there.
    InUse(Pfn),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory { order, free_frames } => {
                let frames = order.frames();
                write!(
                    f,
                    "no free block of {frames} frames; {free_frames} frames are free"
                )
            }
            Self::Impossible {
                order,
                managed_frames,
            } => write!(
                f,
                "no block of {} frames can ever be had of {managed_frames} frames",
                order.frames()
            ),
            Self::NotReady => write!(f, "the frame allocator is not set up yet"),
            Self::NotManaged(pfn) => write!(f, "frame {pfn:#x} is not managed"),
            Self::Misaligned { pfn, order } => {
                write!(f, "frame {pfn:#x} cannot start {} frames", order.frames())
            }
            Self::NotAHead { pfn, block } => {
                let head = pfn.get() & !(block.frames() - 1);
                write!(f, "frame {pfn:#x} is inside the block at {head:#x}")
            }
            Self::WrongOrder { pfn, given, actual } => write!(
                f,
                "frame {pfn:#x} starts a block of order {}, not {}",
                actual.get(),
                given.get()
            ),
            Self::DoubleFree(pfn) => write!(f, "double free of frame {pfn:#x}"),
            Self::InUse(pfn) => write!(
                f,
                "frame {pfn:#x} belongs to kmalloc, a slab cache or an owner"
            ),
        }
    }
}

impl core::error::Error for FrameError {}

// A result of the fast paths is one register.
const _: () = assert!(size_of::<Result<Pfn, FrameError>>() == 8);
