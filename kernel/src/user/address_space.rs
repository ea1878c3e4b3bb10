//! A user program's memory: its areas, its tables, and the pages that it has touched.
//!
//! # Invariants
//!
//! 1. A page is mapped only inside an area, with the area's rights.
//! 2. Every mapped page has a frame of its own, which goes back when the page is unmapped.
//!
//! Pages are filled when they are first touched; those with contents, at once. Nothing is shared between
//! spaces. The space works through traits, so that the host tests run it over tables and frames of their
//! own.

#[cfg(test)]
mod tests;

use super::{
    fault::Cause,
    vma::{Kind, Rights, Vma, VmaError, VmaSet},
};
use crate::{
    fault::esr::Access,
    mm::{
        addr::{PAGE_BYTES, PAGE_SHIFT, Pfn, PhysAddr, VirtAddr},
        compaction::Immovable,
    },
    vm::{
        layout,
        table::{FrameSource, MapError, Mapping, Mmu, PageTable, TableMemory, Tables},
    },
};
use core::{error, fmt, ops::Range};

/// [`PAGE_BYTES`] as a length in memory.
pub(super) const PAGE_LENGTH: usize = 1 << PAGE_SHIFT;

/// Pages that are dropped at once, in bytes.
const DROPPED_BYTES: u64 = 64 * PAGE_BYTES;

/// Frames for a user's pages. [`allocate`](FrameSource::allocate) gives them filled with zeros: a user
/// sees nothing of anybody else's.
pub trait UserFrames: FrameSource {
    /// Writes `contents`, a page at most, to the start of a frame, for execution too if `code`.
    fn fill(&mut self, frame: Pfn, contents: &[u8], code: bool);
    /// From now on `frame`, which is mapped at `page`, may be [moved](AddressSpace::move_page).
    fn own(&mut self, frame: Pfn, page: VirtAddr);
    /// It may not any more.
    fn disown(&mut self, frame: Pfn, page: VirtAddr);
}

/// Why a space could not be made or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpaceError {
    /// The areas do not allow it.
    Area(VmaError),
    /// The pages or tables ran out.
    Map(MapError),
    /// No frame for the root table.
    NoRoot,
}

impl fmt::Display for SpaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Area(error) => error.fmt(f),
            Self::Map(error) => error.fmt(f),
            Self::NoRoot => write!(f, "no frame for an address space"),
        }
    }
}

impl error::Error for SpaceError {}

impl From<VmaError> for SpaceError {
    fn from(error: VmaError) -> Self {
        Self::Area(error)
    }
}

/// The memory of one program.
#[derive(Debug)]
pub struct AddressSpace<M: TableMemory, T: Mmu, F: UserFrames> {
    table: PageTable<M, T>,
    frames: F,
    vmas: VmaSet,
}

impl<M: TableMemory, T: Mmu, F: UserFrames> AddressSpace<M, T, F> {
    /// An empty space, whose heap will grow from `heap_start`, a page, on.
    pub fn new(mut memory: M, mmu: T, frames: F, heap_start: VirtAddr) -> Result<Self, SpaceError> {
        let root = memory.allocate().ok_or(SpaceError::NoRoot)?;
        let mut table = PageTable::new(root, layout::USER, memory, mmu);
        // The root goes into TTBR0: its zeros must be visible to the walkers first.
        table.mmu_mut().publish();
        Ok(Self {
            table,
            frames,
            vmas: VmaSet::new(layout::USER, heap_start),
        })
    }

    /// Its root table, for TTBR0.
    pub const fn root(&self) -> PhysAddr {
        self.table.root()
    }

    /// What its tables are used by.
    pub const fn mmu_mut(&mut self) -> &mut T {
        self.table.mmu_mut()
    }

    /// Adds an area at `range` which starts with `contents`; the rest of it is filled when touched.
    pub fn add(
        &mut self,
        range: Range<VirtAddr>,
        rights: Rights,
        kind: Kind,
        contents: &[u8],
    ) -> Result<(), SpaceError> {
        let pages = contents.len().div_ceil(PAGE_LENGTH) as u64;
        let filled = range.start..range.start.offset(pages * PAGE_BYTES);
        if filled.end > range.end {
            return Err(SpaceError::Area(VmaError::Outside(filled.end)));
        }
        self.vmas.insert(Vma {
            range: range.clone(),
            rights,
            kind,
        })?;
        if filled.is_empty() {
            return Ok(());
        }
        let mut filling = Filling {
            frames: &mut self.frames,
            chunks: contents.chunks(PAGE_LENGTH),
            code: rights == Rights::ReadExecute,
        };
        let mapped = self
            .table
            .map_frames(filled.clone(), rights.attributes(), &mut filling);
        if mapped.is_ok() {
            self.own_pages(filled);
        }
        mapped.map_err(|error| {
            // Splitting nothing, this needs no memory: the area was added whole.
            let removed = self.vmas.remove(&range);
            debug_assert_eq!(removed, Ok(()));
            SpaceError::Map(error)
        })
    }

    /// Fills the page at `address`, which it found nothing mapped at, if the program may use it so.
    pub fn handle_fault(&mut self, address: VirtAddr, access: Access) -> Result<(), Cause> {
        let rights = self.vmas.find(address).ok_or(Cause::Translation)?.rights;
        let allowed = match access {
            Access::Read => true,
            Access::Write => rights == Rights::ReadWrite,
            Access::Execute => rights == Rights::ReadExecute,
        };
        if !allowed {
            return Err(Cause::Permission);
        }
        let page = VirtAddr::new(address.get() & !(PAGE_BYTES - 1));
        if self.table.walk(page).is_some() {
            // It was only being moved when the program touched it.
            return Ok(());
        }
        let range = page..page.offset(PAGE_BYTES);
        let mut filling = Filling {
            frames: &mut self.frames,
            chunks: [].chunks(PAGE_LENGTH),
            code: rights == Rights::ReadExecute,
        };
        let mapped = self
            .table
            .map_frames(range.clone(), rights.attributes(), &mut filling);
        match mapped {
            Ok(()) => {
                self.own_pages(range);
                Ok(())
            }
            Err(MapError::NoFrame(_) | MapError::NoTable(_)) => Err(Cause::OutOfMemory),
            Err(_) => Err(Cause::Permission),
        }
    }

    fn own_pages(&mut self, range: Range<VirtAddr>) {
        let Self { table, frames, .. } = self;
        table.visit(range, &mut |page| {
            frames.own(page.physical.frame(), page.address);
        });
    }

    /// Has the program find at `page` the frame `to` instead of `from`; `copy` runs when it can reach neither.
    ///
    /// # Errors
    ///
    /// [`Immovable`] if the page is not mapped to `from`.
    pub fn move_page(
        &mut self,
        page: VirtAddr,
        from: Pfn,
        to: Pfn,
        copy: &mut dyn FnMut(),
    ) -> Result<(), Immovable> {
        let Self {
            table,
            frames,
            vmas,
        } = self;
        let rights = vmas.find(page).ok_or(Immovable)?.rights;
        let mut copy_code = || {
            copy();
            if rights == Rights::ReadExecute {
                frames.fill(to, &[], true);
            }
        };
        let moved = table.replace(page, from.address(), to.address(), &mut copy_code);
        moved.map_err(|_| Immovable)
    }

    /// Moves the end of the heap to `new`, and returns where it then is (the old end, if it cannot move), and
    /// the pages to be [dropped](Self::drop_some).
    pub fn set_break(&mut self, new: VirtAddr) -> (VirtAddr, Range<VirtAddr>) {
        let gone = self.vmas.set_break(new);
        let end = self.vmas.heap_break();
        (end, gone.unwrap_or(end..end))
    }

    /// Adds an area of `bytes` at an address of the kernel's choice, below the stack.
    pub fn map_anonymous(&mut self, bytes: u64, rights: Rights) -> Result<VirtAddr, SpaceError> {
        let stack = self.vmas.iter().find(|vma| vma.kind == Kind::Stack);
        let top = stack.map_or(layout::USER.end, |stack| stack.range.start);
        let range = self.vmas.gap(bytes, top)?;
        let start = range.start;
        self.vmas.insert(Vma {
            range,
            rights,
            kind: Kind::Anonymous,
        })?;
        Ok(start)
    }

    /// Takes `range` away from the program; its pages are then to be [dropped](Self::drop_some).
    pub fn remove(&mut self, range: &Range<VirtAddr>) -> Result<(), SpaceError> {
        Ok(self.vmas.remove(range)?)
    }

    /// Gives back the first of the pages in `range`, in which there is no area: 64 at most. Returns what is
    /// left of the range. So no lock around this is held for long, however large the range.
    pub fn drop_some(&mut self, range: Range<VirtAddr>) -> Range<VirtAddr> {
        let gap = self.table.gap_end(range.start);
        let end = gap.unwrap_or_else(|| range.start.offset(DROPPED_BYTES));
        let end = end.min(range.end);
        if gap.is_none() && !range.is_empty() {
            self.drop_pages(range.start..end);
        }
        end..range.end
    }

    /// What `address` is mapped to.
    pub fn walk(&self, address: VirtAddr) -> Option<Mapping> {
        self.table.walk(address)
    }

    /// Its areas.
    pub const fn areas(&self) -> &VmaSet {
        &self.vmas
    }

    fn drop_pages(&mut self, range: Range<VirtAddr>) {
        let Self { table, frames, .. } = self;
        let dropped = table.unmap(range, Tables::Free, &mut |page| {
            let frame = page.physical.frame();
            frames.disown(frame, page.address);
            frames.free(frame);
        });
        if let Err(error) = dropped {
            panic!("user pages are single and inside their region: {error}");
        }
    }
}

impl<M: TableMemory, T: Mmu, F: UserFrames> Drop for AddressSpace<M, T, F> {
    fn drop(&mut self) {
        self.drop_pages(layout::USER);
        let root = self.table.root();
        self.table.memory_mut().free(root);
    }
}

/// Frames that come with the contents of one page each, while there are any. Those for code are filled in
/// any case: what the instruction caches hold of the frame's former contents must not run.
struct Filling<'a, F> {
    frames: &'a mut F,
    chunks: core::slice::Chunks<'a, u8>,
    code: bool,
}

impl<F: UserFrames> FrameSource for Filling<'_, F> {
    fn allocate(&mut self) -> Option<Pfn> {
        let frame = self.frames.allocate()?;
        let chunk = self.chunks.next();
        if chunk.is_some() || self.code {
            self.frames
                .fill(frame, chunk.unwrap_or_default(), self.code);
        }
        Some(frame)
    }
    fn free(&mut self, frame: Pfn) {
        self.frames.free(frame);
    }
}
