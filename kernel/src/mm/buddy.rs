//! Page frames in power-of-two blocks that split on demand and merge when freed.
//!
//! Each zone has one. Memblock fills it once, at boot; from then on page tables, slabs, vmalloc and
//! user memory live on it.
//!
//! # Shape
//!
//! ```text
//! frame      0   1   2   3 │ 4   5 │ 6 │ 7
//!            └─ allocated ─┘ └free─┘  a   f
//!
//! lists      order 0: 7      order 1: 4      order 2: empty      available = 0b011
//! ```
//!
//! A block is known by its first frame, whose [`Frame`](super::frame::Frame) holds its order and, while it is free, its
//! neighbours on the list, as frame numbers. There are no pointers here, and so no `unsafe`: memory
//! being allocated is never touched.
//!
//! # Invariants
//!
//! 1. Every managed frame is in exactly one block, free or not.
//! 2. A block of order *n* starts at a multiple of 2ⁿ frames.
//! 3. Two buddies of one order are never both free: `free` merges them before it returns.
//! 4. The free-frame count equals the sum over the lists, and list *n* holds exactly the free blocks
//!    of order *n*.
//! 5. Entries inside a block are zero, unless the block's owner (a slab) marks them.
//!
//! [`validate`](Buddy::validate) checks all five.
//!
//! # Cost
//!
//! `alloc` finds its list by one bit scan and splits at most ten times; `free` merges at most ten
//! times. Each step touches two entries; no step depends on a block's size.
//!
//! # Locking
//!
//! None. The zone's lock wraps the whole allocator; see [`mm`](super) for the order of locks.

use super::addr::{Order, Pfn};
use super::frame::{self, Kind, List, Table};
use core::{fmt, ops::Range};

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
        /// The block's first frame.
        head: Pfn,
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
    /// The block belongs to a slab cache or is a kmalloc object, and must be freed there.
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
            Self::NotReady => write!(f, "the frame allocator is not set up yet"),
            Self::NotManaged(pfn) => write!(f, "frame {pfn:#x} is not managed"),
            Self::Misaligned { pfn, order } => {
                write!(f, "frame {pfn:#x} cannot start {} frames", order.frames())
            }
            Self::NotAHead { pfn, head } => {
                write!(f, "frame {pfn:#x} is inside the block at {head:#x}")
            }
            Self::WrongOrder { pfn, given, actual } => write!(
                f,
                "frame {pfn:#x} starts a block of order {}, not {}",
                actual.get(),
                given.get()
            ),
            Self::DoubleFree(pfn) => write!(f, "double free of frame {pfn:#x}"),
            Self::InUse(pfn) => write!(f, "frame {pfn:#x} belongs to kmalloc or a slab cache"),
        }
    }
}

impl core::error::Error for FrameError {}

/// A broken invariant, by its number in the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant.
    pub invariant: u8,
    /// Where it was found broken.
    pub pfn: Pfn,
}

/// The allocator of one zone.
#[derive(Debug)]
pub struct Buddy<'t> {
    table: Table<'t>,
    span: Range<Pfn>,
    lists: [List; Order::COUNT],
    blocks: [u32; Order::COUNT],
    /// Bit *n* is set while list *n* is not empty.
    available: u32,
    managed: u32,
    free: u32,
    lowest_free: u32,
}

impl<'t> Buddy<'t> {
    /// An allocator for frames of `span`, none of which it has yet. `table` covers the span.
    pub const fn new(table: Table<'t>, span: Range<Pfn>) -> Self {
        Self {
            table,
            span,
            lists: [const { List::new() }; Order::COUNT],
            blocks: [0; Order::COUNT],
            available: 0,
            managed: 0,
            free: 0,
            lowest_free: 0,
        }
    }

    /// The frames it may hold.
    pub fn span(&self) -> Range<Pfn> {
        self.span.clone()
    }

    /// Frames that were given to it.
    pub const fn managed_frames(&self) -> u32 {
        self.managed
    }

    /// Frames that are free.
    pub const fn free_frames(&self) -> u32 {
        self.free
    }

    /// The fewest frames that were ever free since memory was last added.
    pub const fn lowest_free_frames(&self) -> u32 {
        self.lowest_free
    }

    /// Free blocks by order.
    pub const fn free_blocks(&self) -> [u32; Order::COUNT] {
        self.blocks
    }

    /// Takes over the frames of `range`, which lie in the span, are nobody's, and were never given
    /// before. The cost grows with the number of largest blocks in it.
    pub fn add(&mut self, range: Range<Pfn>) {
        assert!(
            self.span.start <= range.start && range.end <= self.span.end,
            "frames {range:?} outside the zone {:?}",
            self.span
        );
        let mut pfn = range.start;
        while pfn < range.end {
            let left = frame::count(&(pfn..range.end));
            let order = Order::largest_at(pfn, left);
            self.managed += order.frames();
            self.free += order.frames();
            self.insert_merged(pfn, order);
            pfn = pfn.offset(order.frames());
        }
        self.lowest_free = self.free;
    }

    /// Takes a block of `order`.
    ///
    /// # Errors
    ///
    /// [`FrameError::OutOfMemory`].
    pub fn alloc(&mut self, order: Order) -> Result<Pfn, FrameError> {
        let large_enough = self.available >> order.get() << order.get();
        let Some(mut found) = Order::lowest_of(large_enough) else {
            let free_frames = self.free;
            return Err(FrameError::OutOfMemory { order, free_frames });
        };
        let pfn = self.lists[found.index()].first().expect("its bit is set");
        self.unlink(pfn, found);
        while let Some(half) = found.smaller().filter(|half| *half >= order) {
            self.link(pfn.offset(half.frames()), half);
            found = half;
        }
        self.table.at(pfn).set_head(Kind::Allocated, order);
        self.free -= order.frames();
        self.lowest_free = self.lowest_free.min(self.free);
        Ok(pfn)
    }

    /// Gives back a block with the order it was allocated with.
    ///
    /// # Errors
    ///
    /// All but [`FrameError::OutOfMemory`] and [`FrameError::NotReady`]: the block was not allocated
    /// here like this.
    pub fn free(&mut self, pfn: Pfn, order: Order) -> Result<(), FrameError> {
        if !self.span.contains(&pfn) {
            return Err(FrameError::NotManaged(pfn));
        }
        if !self.table.at(pfn).is_head(Kind::Allocated, order) {
            return Err(self.why_not(pfn, order));
        }
        self.free += order.frames();
        self.insert_merged(pfn, order);
        Ok(())
    }

    /// Why `pfn`, in the span, cannot be freed as a block of `order`.
    #[cold]
    fn why_not(&self, pfn: Pfn, order: Order) -> FrameError {
        let head = self.table.at(pfn);
        match head.kind() {
            Kind::Allocated => FrameError::WrongOrder {
                pfn,
                given: order,
                actual: head.order(),
            },
            Kind::Free => FrameError::DoubleFree(pfn),
            Kind::Large | Kind::Slab | Kind::SlabTail => FrameError::InUse(pfn),
            Kind::None => self.why_no_head(pfn, order),
        }
    }

    /// What `pfn`, which starts no block, is instead.
    fn why_no_head(&self, pfn: Pfn, order: Order) -> FrameError {
        match self.block_around(pfn) {
            Some((Kind::Free, _)) => FrameError::DoubleFree(pfn),
            Some(_) if !pfn.is_aligned_to(order) => FrameError::Misaligned { pfn, order },
            Some((_, head)) => FrameError::NotAHead { pfn, head },
            None => FrameError::NotManaged(pfn),
        }
    }

    /// The kind and the head of the block that `pfn` is in; `None` if it is in none.
    fn block_around(&self, pfn: Pfn) -> Option<(Kind, Pfn)> {
        let start_of = |order: Order| Pfn::new(pfn.get() & !(order.frames() - 1));
        let starts = Order::all().map(start_of);
        let mut heads = starts.take_while(|start| self.span.contains(start));
        let head = heads.find(|start| self.table.at(*start).kind() != Kind::None)?;
        let frame = self.table.at(head);
        (pfn < head.offset(frame.order().frames())).then_some((frame.kind(), head))
    }

    /// Whether `pfn` is in a free block.
    pub fn is_free_frame(&self, pfn: Pfn) -> bool {
        matches!(self.block_around(pfn), Some((Kind::Free, _)))
    }

    /// Merges a block, whose entry may say anything, with its free buddies and puts it on a list.
    fn insert_merged(&mut self, mut pfn: Pfn, mut order: Order) {
        while let Some(larger) = order.larger() {
            let buddy = Pfn::new(pfn.get() ^ order.frames());
            if !self.is_free(buddy, order) {
                break;
            }
            self.unlink(buddy, order);
            self.table.at(buddy).clear();
            self.table.at(pfn).clear();
            pfn = pfn.min(buddy);
            order = larger;
        }
        self.link(pfn, order);
    }

    fn is_free(&self, pfn: Pfn, order: Order) -> bool {
        self.span.contains(&pfn) && self.table.at(pfn).is_head(Kind::Free, order)
    }

    fn link(&mut self, pfn: Pfn, order: Order) {
        self.table.at(pfn).set_head(Kind::Free, order);
        self.lists[order.index()].push_front(&self.table, pfn);
        self.blocks[order.index()] += 1;
        self.available |= 1 << order.get();
    }

    fn unlink(&mut self, pfn: Pfn, order: Order) {
        let list = &mut self.lists[order.index()];
        list.remove(&self.table, pfn);
        self.blocks[order.index()] -= 1;
        if list.first().is_none() {
            self.available &= !(1 << order.get());
        }
    }

    /// Checks every invariant, entry by entry.
    ///
    /// # Errors
    ///
    /// The first one found broken.
    pub fn validate(&self) -> Result<(), Violation> {
        let mut free = 0;
        for order in Order::all() {
            free += self.validate_list(order)? * order.frames();
        }
        let broken = |invariant, pfn| Err(Violation { invariant, pfn });
        if free != self.free || self.lowest_free > self.free {
            return broken(4, self.span.start);
        }
        let (mut found, mut free, mut pfn) = (0, 0, self.span.start);
        while pfn < self.span.end {
            let head = self.table.at(pfn);
            let order = match head.kind() {
                Kind::None => {
                    pfn = pfn.offset(1);
                    continue;
                }
                Kind::SlabTail => return broken(5, pfn),
                _ => head.order(),
            };
            self.validate_block(pfn, order)?;
            found += order.frames();
            if head.kind() == Kind::Free {
                free += order.frames();
            }
            pfn = pfn.offset(order.frames());
        }
        if found != self.managed {
            return broken(1, self.span.start);
        }
        if free != self.free {
            return broken(4, self.span.start);
        }
        Ok(())
    }

    /// Blocks on the list of `order`.
    fn validate_list(&self, order: Order) -> Result<u32, Violation> {
        let mut blocks = 0;
        for pfn in self.lists[order.index()].iter(&self.table) {
            if !self.is_free(pfn, order) {
                return Err(Violation { invariant: 4, pfn });
            }
            blocks += 1;
        }
        let pfn = self.span.start;
        let bit = self.available >> order.get() & 1 == 1;
        if blocks != self.blocks[order.index()] || bit != (blocks > 0) {
            return Err(Violation { invariant: 4, pfn });
        }
        Ok(blocks)
    }

    fn validate_block(&self, pfn: Pfn, order: Order) -> Result<(), Violation> {
        let broken = |invariant, pfn| Err(Violation { invariant, pfn });
        let head = self.table.at(pfn);
        if !pfn.is_aligned_to(order) || pfn.offset(order.frames()) > self.span.end {
            return broken(2, pfn);
        }
        let buddy = Pfn::new(pfn.get() ^ order.frames());
        if head.kind() == Kind::Free && order < Order::MAX && self.is_free(buddy, order) {
            return broken(3, pfn);
        }
        for inside in (1..order.frames()).map(|i| pfn.offset(i)) {
            let expected = match head.kind() {
                Kind::Slab => Kind::SlabTail,
                _ => Kind::None,
            };
            if self.table.at(inside).kind() != expected {
                return broken(5, inside);
            }
        }
        Ok(())
    }
}
