//! Translation tables in real memory.
//!
//! # Invariants
//!
//! 1. Every table of a tree lies in a frame that belongs to the tree alone: boot's tables and the pool
//!    lie in the image's own section for them, all others came from [`TableSource`].
//! 2. Such a frame is mapped, readable and writable, where `RawTables::pointer` says: tables in the
//!    image through the image window, which boot's assembly mapped, all others through the linear map,
//!    which covers a frame before a source gives it out. It covers those in the image, too, before
//!    [`LinearTables`] is used.
//! 3. Linked tables are read and written by what is here and by table walkers only, entry by entry, with
//!    relaxed atomic accesses: 64-bit single-copy atomic, as walkers need (Arm ARM B2.2.1).
#![allow(
    unsafe_code,
    reason = "translation tables are memory that no Rust object owns"
)]

use super::{
    descriptor::{Descriptor, ENTRIES},
    table::TableMemory,
};
use crate::mm::addr::{LinearMap, PAGE_BYTES, PhysAddr, VirtAddr};
use core::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

/// Where the loaded image lies, and where it is mapped.
#[derive(Clone, Debug)]
pub struct ImageWindow {
    /// The physical addresses of the image.
    pub physical: Range<PhysAddr>,
    /// Where its first byte is mapped.
    pub address: VirtAddr,
}

/// Gives out and takes back frames for tables. Contents do not matter: they are cleared here.
#[derive(Clone, Copy, Debug)]
pub struct TableSource {
    /// A frame that the linear map covers, or `None`.
    pub allocate: fn() -> Option<PhysAddr>,
    /// Takes a frame back that [`allocate`](Self::allocate) gave, from this or an earlier source.
    pub free: fn(PhysAddr),
}

/// Frames inside the image for the first tables, at most 64 of them; a set bit is a free frame.
#[derive(Clone, Debug)]
struct Pool {
    start: PhysAddr,
    free: u64,
    frames: u32,
}

impl Pool {
    fn new(frames: &Range<PhysAddr>) -> Self {
        let count = (frames.end.get() - frames.start.get()) / PAGE_BYTES;
        let count = u32::try_from(count).map_or(u64::BITS, |count| count.min(u64::BITS));
        Self {
            start: frames.start,
            free: u64::MAX.checked_shr(u64::BITS - count).unwrap_or(0),
            frames: count,
        }
    }
    fn allocate(&mut self) -> Option<PhysAddr> {
        let index = self.free.trailing_zeros();
        self.free &= self.free.wrapping_sub(1);
        (index < u64::BITS).then(|| self.start.offset(u64::from(index) * PAGE_BYTES))
    }
    fn free(&mut self, frame: PhysAddr) {
        let index = frame.get().wrapping_sub(self.start.get()) / PAGE_BYTES;
        // Boot's own tables lie in the image too, outside the pool; nothing reuses those.
        if index < u64::from(self.frames) {
            self.free |= 1 << index;
        }
    }
}

/// All tables there are, reached through the linear map: those in the image, too, whose alias there is
/// writable once boot has mapped it. Enough to change entries; it gives no tables and takes none.
#[derive(Clone, Copy, Debug)]
pub struct LinearTables(LinearMap);

impl LinearTables {
    /// The kernel's, when the linear map covers the image and all memory.
    #[cfg(target_os = "none")]
    #[inline]
    pub(super) const fn of_kernel() -> Self {
        Self(LinearMap::kernel())
    }

    #[inline]
    fn entries(&self, table: PhysAddr) -> &[AtomicU64; ENTRIES] {
        // SAFETY: by invariants 1 and 2 the frame is a table's and mapped there; by invariant 3 every
        // access to it is atomic.
        unsafe { &*self.0.to_virt(table).as_mut_ptr() }
    }
}

impl TableMemory for LinearTables {
    #[inline]
    fn read(&self, table: PhysAddr, index: usize) -> Descriptor {
        Descriptor::from_bits(self.entries(table)[index].load(Ordering::Relaxed))
    }

    #[inline]
    fn write(&mut self, table: PhysAddr, index: usize, descriptor: Descriptor) {
        self.entries(table)[index].store(descriptor.bits(), Ordering::Relaxed);
    }

    #[inline]
    fn write_run(
        &mut self,
        table: PhysAddr,
        index: usize,
        count: usize,
        first: Descriptor,
        step_bytes: u64,
    ) {
        let mut bits = first.bits();
        for entry in &self.entries(table)[index..index + count] {
            entry.store(bits, Ordering::Relaxed);
            bits += step_bytes;
        }
    }

    fn allocate(&mut self) -> Option<PhysAddr> {
        None
    }

    fn free(&mut self, table: PhysAddr) {
        panic!("the table at {table:#x} is freed without the tree's lock");
    }
}

/// Tables in memory: those of boot and of the image's pool, then those from a source.
#[derive(Clone, Debug)]
pub struct RawTables {
    image: ImageWindow,
    pool: Pool,
    linear: LinearMap,
    source: Option<TableSource>,
}

impl RawTables {
    /// Tables in the image, of which the frames `pool` are free for more.
    ///
    /// # Safety
    ///
    /// `image` is mapped as it says, and `pool`, inside it, is nobody else's. `linear` maps, readable
    /// and writable, every frame that a source will give, when it gives it.
    pub unsafe fn new(image: ImageWindow, pool: &Range<PhysAddr>, linear: LinearMap) -> Self {
        Self {
            image,
            pool: Pool::new(pool),
            linear,
            source: None,
        }
    }

    /// The kernel's: in the running image, with the frames `pool` of it, and in the linear map.
    #[cfg(target_os = "none")]
    pub fn of_kernel(pool: &Range<VirtAddr>) -> Self {
        use crate::arch::image;
        let image = ImageWindow {
            physical: image::loaded(),
            address: image::whole().start,
        };
        let pool = image::to_phys(pool.start)..image::to_phys(pool.end);
        // SAFETY: boot's assembly mapped the image like that, and the linker script keeps the pool for
        // this; sources give memory that the linear map covers, as `TableSource` demands.
        unsafe { Self::new(image, &pool, LinearMap::kernel()) }
    }

    /// Where further frames come from, when the pool is used up.
    pub const fn set_source(&mut self, source: TableSource) {
        self.source = Some(source);
    }

    fn entry(&self, table: PhysAddr, index: usize) -> &AtomicU64 {
        assert!(index < ENTRIES, "a table has 512 entries");
        let entry = self.pointer(table).wrapping_add(index);
        // SAFETY: by invariants 1 and 2 the frame is a table's and mapped there, and the index is
        // inside it; by invariant 3 every access to it is atomic.
        unsafe { AtomicU64::from_ptr(entry) }
    }

    fn pointer(&self, table: PhysAddr) -> *mut u64 {
        let address = if self.image.physical.contains(&table) {
            let offset = table.get() - self.image.physical.start.get();
            self.image.address.offset(offset)
        } else {
            self.linear.to_virt(table)
        };
        address.as_mut_ptr()
    }
}

impl TableMemory for RawTables {
    fn read(&self, table: PhysAddr, index: usize) -> Descriptor {
        Descriptor::from_bits(self.entry(table, index).load(Ordering::Relaxed))
    }

    fn write(&mut self, table: PhysAddr, index: usize, descriptor: Descriptor) {
        self.entry(table, index)
            .store(descriptor.bits(), Ordering::Relaxed);
    }

    fn allocate(&mut self) -> Option<PhysAddr> {
        let table = match self.pool.allocate() {
            Some(table) => table,
            None => (self.source?.allocate)()?,
        };
        // SAFETY: by invariants 1 and 2 the frame is ours and mapped there; no walker knows it yet.
        unsafe { self.pointer(table).write_bytes(0, ENTRIES) };
        Some(table)
    }

    fn free(&mut self, table: PhysAddr) {
        if self.image.physical.contains(&table) {
            self.pool.free(table);
        } else if let Some(source) = self.source {
            (source.free)(table);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::addr::VirtAddr;
    use std::boxed::Box;

    #[test]
    fn tables_come_from_the_pool_and_go_back_there() {
        #[repr(align(4096))]
        struct Arena(#[expect(dead_code, reason = "reached by address only")] [u64; 3 * ENTRIES]);
        let arena = Box::leak(Box::new(Arena([u64::MAX; 3 * ENTRIES])));
        let address = VirtAddr::new((&raw mut *arena).expose_provenance() as u64);
        let image = ImageWindow {
            physical: PhysAddr::new(0x20_0000)..PhysAddr::new(0x20_3000),
            address,
        };
        // Its first frame is boot's own table.
        let pool = PhysAddr::new(0x20_1000)..PhysAddr::new(0x20_3000);
        // SAFETY: the arena is as large as the image says, and leaked to this test alone.
        let mut tables = unsafe { RawTables::new(image, &pool, LinearMap::at(address)) };
        let first = tables.allocate().unwrap();
        assert_eq!(first, pool.start);
        assert_eq!(tables.read(first, 511), Descriptor::EMPTY);
        tables.write(first, 511, Descriptor::table(PhysAddr::new(0x5000)));
        assert_eq!(tables.read(first, 511).bits(), 0x5003);
        assert_eq!(tables.allocate(), Some(pool.start.offset(PAGE_BYTES)));
        assert_eq!(tables.allocate(), None);
        tables.free(PhysAddr::new(0x20_0000));
        assert_eq!(tables.allocate(), None);
        tables.free(first);
        assert_eq!(tables.allocate(), Some(first));
        assert_eq!(tables.read(first, 511), Descriptor::EMPTY);
    }

    #[test]
    fn a_pool_holds_its_frames_and_at_most_64() {
        for (frames, expected) in [(0, 0), (1, 1), (48, 48), (64, 64), (100, 64)] {
            let start = PhysAddr::new(0x20_0000);
            let mut pool = Pool::new(&(start..start.offset(frames * PAGE_BYTES)));
            let count = core::iter::from_fn(|| pool.allocate()).count();
            assert_eq!(count, expected, "{frames}");
        }
    }
}
