//! The kernel's DMA pool.
#![allow(unsafe_code, reason = "says once which memory the pool is")]

use super::{
    buffer::{Buffer, Caches, Cpu, DmaError, DmaMemory, Statistics},
    device::Device,
};
use crate::{
    arch::{barrier, cache},
    mm::addr::{LinearMap, PhysAddr, VirtAddr},
};
use core::ops::Range;
use spin::Once;

static MEMORY: Once<DmaMemory> = Once::new();

/// This core's caches; maintenance by address reaches every core's (Arm ARM, "Effects of cache
/// maintenance instructions": to the point of coherency, in the shareability domain of the address).
struct Processor;

impl Caches for Processor {
    fn clean(&self, start: VirtAddr, bytes: u64) {
        cache::clean(start, bytes);
    }
    fn clean_invalidate(&self, start: VirtAddr, bytes: u64) {
        cache::clean_invalidate(start, bytes);
    }
    fn invalidate(&self, start: VirtAddr, bytes: u64) {
        cache::invalidate(start, bytes);
    }
    fn order(&self) {
        barrier::dsb_sy();
    }
}

/// Makes the pool of `range`, memory that boot has reserved for it and mapped with 4 KiB entries. Once,
/// when the kernel's heap works.
pub fn init(range: Range<PhysAddr>) {
    MEMORY.call_once(|| {
        // SAFETY: the caller reserved the range for this, and the linear map covers all memory.
        let memory = unsafe { DmaMemory::new(&range, LinearMap::kernel(), &Processor) };
        match memory {
            Ok(memory) => memory,
            Err(error) => panic!("DMA pool at boot: {error}"),
        }
    });
}

/// A buffer of `bytes` that `device` reaches, owned by the CPU: page aligned, contiguous, with garbage.
///
/// # Errors
///
/// When no piece of the pool is that long, or the device does not reach it; then nothing has changed.
pub fn alloc(device: &Device, bytes: u64) -> Result<Buffer<Cpu>, DmaError> {
    memory()?.alloc(device, bytes)
}

/// How much of the pool is in use; `None` before it is made.
pub fn statistics() -> Option<Statistics> {
    MEMORY.get().map(DmaMemory::statistics)
}

pub(super) fn memory() -> Result<&'static DmaMemory, DmaError> {
    MEMORY.get().ok_or(DmaError::NoPool)
}
