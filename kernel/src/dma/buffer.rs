//! DMA buffers: contiguous memory that the CPU owns, or a device.
//!
//! # Invariants
//!
//! 1. A buffer's pages were taken from its pool and go back when it is dropped, once.
//! 2. While a `Buffer<Cpu>` lives, no device accesses its pages, so slices of them are ordinary memory.
//! 3. While a `Buffer<Lent>` lives, the CPU does not access its pages. If it is dropped so, its device may
//!    still be writing: the pages are never used again, and counted as lost.
//! 4. Passing a buffer to a device that does not snoop leaves no line of it dirty in a cache, so none is
//!    written back over what the device writes. Taking it back drops the lines that speculation fetched
//!    meanwhile. Buffers are whole pages, so no line holds anybody else's bytes.
#![allow(
    unsafe_code,
    reason = "makes slices of the pool's memory, by the invariants"
)]

#[cfg(test)]
mod tests;

use super::{
    device::{Device, OutOfReach},
    pool::{Pool, PoolError},
};
use crate::{
    mm::addr::{DmaAddr, LinearMap, PAGE_BYTES, PhysAddr, VirtAddr},
    sync::{Rank, SpinLock},
};
use core::{
    error, fmt,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

/// Cache maintenance to the point of coherency, in the vocabulary of the architecture.
pub trait Caches: Sync {
    /// Writes dirty lines back.
    fn clean(&self, start: VirtAddr, bytes: u64);
    /// Writes dirty lines back and drops all lines.
    fn clean_invalidate(&self, start: VirtAddr, bytes: u64);
    /// Drops all lines.
    fn invalidate(&self, start: VirtAddr, bytes: u64);
    /// `DSB SY`: what comes before is complete for devices, too.
    fn order(&self);
}

/// Why there is no buffer, or none for this device. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DmaError {
    /// The pool has no such piece.
    Pool(PoolError),
    /// The device cannot reach the pool.
    OutOfReach(OutOfReach),
    /// Boot has not made a pool yet.
    NoPool,
}

impl fmt::Display for DmaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pool(error) => error.fmt(f),
            Self::OutOfReach(error) => error.fmt(f),
            Self::NoPool => write!(f, "there is no DMA pool yet"),
        }
    }
}

impl error::Error for DmaError {}

/// A pool, and how its memory is reached.
pub struct DmaMemory {
    pool: SpinLock<Pool>,
    linear: LinearMap,
    caches: &'static dyn Caches,
    lost_bytes: AtomicU64,
}

impl fmt::Debug for DmaMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DmaMemory")
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

/// How much of a pool is in use, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// All of it.
    pub total_bytes: u64,
    /// Free, in pieces.
    pub free_bytes: u64,
    /// In buffers that were dropped while a device owned them.
    pub lost_bytes: u64,
}

impl DmaMemory {
    /// A pool of the whole pages of `range`.
    ///
    /// # Safety
    ///
    /// `linear` maps all of `range`, readable, writable and cacheable, for good, and nobody else uses it.
    pub unsafe fn new(
        range: &Range<PhysAddr>,
        linear: LinearMap,
        caches: &'static dyn Caches,
    ) -> Result<Self, PoolError> {
        Ok(Self {
            pool: SpinLock::new(Rank::DmaPool, Pool::new(range)?),
            linear,
            caches,
            lost_bytes: AtomicU64::new(0),
        })
    }

    /// A buffer of `bytes` that `device` reaches, owned by the CPU. It is page aligned; its content is
    /// what was there before.
    pub fn alloc(&'static self, device: &Device, bytes: u64) -> Result<Buffer<Cpu>, DmaError> {
        let start = self.take_piece(bytes).map_err(DmaError::Pool)?;
        if let Err(error) = device.bus_address(start, bytes) {
            self.return_piece(start, bytes);
            return Err(DmaError::OutOfReach(error));
        }
        Ok(Buffer {
            memory: self,
            device: *device,
            start,
            bytes,
            owner: Cpu,
        })
    }

    /// How much is in use.
    pub fn statistics(&self) -> Statistics {
        let pool = self.pool.lock();
        let range = pool.range();
        Statistics {
            total_bytes: range.end.get() - range.start.get(),
            free_bytes: pool.free_bytes(),
            lost_bytes: self.lost_bytes.load(Ordering::Relaxed),
        }
    }

    pub(super) fn take_piece(&self, bytes: u64) -> Result<PhysAddr, PoolError> {
        self.pool.lock().allocate(bytes)
    }

    /// Takes back a piece of the pool; panics if it is not in use, naming it.
    pub(super) fn return_piece(&self, start: PhysAddr, bytes: u64) {
        let freed = self.pool.lock().free(start, bytes);
        if let Err(error) = freed {
            panic!("DMA pool: invalid free: {error}");
        }
    }

    pub(super) const fn address(&self, start: PhysAddr) -> VirtAddr {
        self.linear.to_virt(start)
    }
}

/// Which way the data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The device reads what the CPU wrote.
    ToDevice,
    /// The CPU reads what the device wrote; what it wrote itself before is lost.
    FromDevice,
    /// Both.
    Both,
}

/// Whoever owns a buffer.
pub trait Owner {
    /// Whether nobody else can be using a buffer that this owner drops.
    const MAY_FREE: bool;
}

/// The CPU owns the buffer: it is memory.
#[derive(Clone, Copy, Debug)]
pub struct Cpu;

/// A device owns the buffer: it is an address on its bus.
#[derive(Clone, Copy, Debug)]
pub struct Lent {
    direction: Direction,
}

impl Owner for Cpu {
    const MAY_FREE: bool = true;
}

impl Owner for Lent {
    const MAY_FREE: bool = false;
}

/// Contiguous memory for one device, owned by `O`.
#[derive(Debug)]
#[must_use = "a buffer goes back to the pool when it is dropped"]
pub struct Buffer<O: Owner> {
    memory: &'static DmaMemory,
    device: Device,
    start: PhysAddr,
    bytes: u64,
    owner: O,
}

impl<O: Owner> Buffer<O> {
    /// Its size in bytes, as asked for.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
    /// The device it is for.
    pub const fn device(&self) -> &Device {
        &self.device
    }

    /// Bytes that cache maintenance covers: whole pages, which are all the buffer's (invariant 4).
    const fn page_bytes(&self) -> u64 {
        self.bytes.next_multiple_of(PAGE_BYTES)
    }

    fn owned_by<N: Owner>(self, owner: N) -> Buffer<N> {
        let Self {
            memory,
            device,
            start,
            bytes,
            ..
        } = self;
        // The pages go on with the new owner.
        core::mem::forget(self);
        Buffer {
            memory,
            device,
            start,
            bytes,
            owner,
        }
    }
}

impl Buffer<Cpu> {
    /// Its bytes.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: by invariants 1 and 2 the pages are this buffer's and no device's, and the promise made
        // for the pool says that they are mapped; the borrow keeps the buffer in the CPU's hands.
        unsafe { core::slice::from_raw_parts(self.pointer(), self.length()) }
    }

    /// Its bytes, to write.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { core::slice::from_raw_parts_mut(self.pointer(), self.length()) }
    }

    /// Passes the buffer to its device, which may start when this returns.
    pub fn give(self, direction: Direction) -> Buffer<Lent> {
        let caches = self.memory.caches;
        let (start, bytes) = (self.memory.address(self.start), self.page_bytes());
        if !self.device.coherent {
            match direction {
                Direction::ToDevice => caches.clean(start, bytes),
                // Cleaned, not only dropped: else the device could be handed what another owner of the
                // pages once wrote and the caches never wrote back.
                Direction::FromDevice | Direction::Both => caches.clean_invalidate(start, bytes),
            }
        }
        caches.order();
        self.owned_by(Lent { direction })
    }

    fn pointer(&self) -> *mut u8 {
        self.memory.address(self.start).as_mut_ptr()
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "usize has 64 bits on every target"
    )]
    const fn length(&self) -> usize {
        self.bytes as usize
    }
}

impl Buffer<Lent> {
    /// Where its device finds it.
    pub fn bus_address(&self) -> DmaAddr {
        match self.device.bus_address(self.start, self.bytes) {
            Ok(bus) => bus,
            Err(error) => panic!("a DMA buffer was made out of reach: {error}"),
        }
    }

    /// Which way it was lent.
    pub const fn direction(&self) -> Direction {
        self.owner.direction
    }

    /// Takes the buffer back. The caller has seen the device say that it is done: what the device wrote
    /// after that may be lost, or appear later.
    pub fn take(self) -> Buffer<Cpu> {
        let caches = self.memory.caches;
        caches.order();
        if !self.device.coherent && self.owner.direction != Direction::ToDevice {
            caches.invalidate(self.memory.address(self.start), self.page_bytes());
        }
        self.owned_by(Cpu)
    }
}

impl<O: Owner> Drop for Buffer<O> {
    fn drop(&mut self) {
        if O::MAY_FREE {
            self.memory.return_piece(self.start, self.bytes);
        } else {
            self.memory
                .lost_bytes
                .fetch_add(self.page_bytes(), Ordering::Relaxed);
        }
    }
}
