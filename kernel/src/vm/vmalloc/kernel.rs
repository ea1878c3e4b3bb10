//! The kernel's vmalloc area.
#![allow(unsafe_code, reason = "freeing memory is a promise of the caller")]

use super::{Backing, State, Vmalloc, VmallocError};
use crate::{
    mm::addr::{Pfn, VirtAddr},
    sync::irq,
    vm::{
        area::Area,
        descriptor::Attributes,
        frames, kernel_space, layout,
        table::{Held, MapError},
    },
};
use core::{ops::Range, ptr::NonNull};

static AREAS: Vmalloc<KernelTables> = Vmalloc::new(layout::VMALLOC, KernelTables);

/// Areas in the kernel's own tables.
#[derive(Debug)]
struct KernelTables;

impl Backing for KernelTables {
    #[inline]
    fn fill(&self, range: Range<VirtAddr>) -> Result<(), MapError> {
        kernel_space::map_frames(range, Attributes::KERNEL_DATA)
    }
    #[inline]
    fn detach(&self, range: Range<VirtAddr>) -> Held {
        kernel_space::detach(range)
    }
    fn flush(&self) {
        kernel_space::flush();
    }
    #[inline]
    fn release(&self, range: Range<VirtAddr>, held: Held) {
        kernel_space::release(range, held);
    }
    #[inline]
    fn free(&self, block: Pfn) {
        frames::free_block(block);
    }
}

/// Memory of `bytes`, rounded up to whole pages, contiguous to the kernel; its content is garbage. An
/// unmapped page follows it.
///
/// # Errors
///
/// Refused with interrupts masked, for 0 bytes, and when frames, tables or addresses run out; then
/// nothing has changed.
pub fn vmalloc(bytes: u64) -> Result<NonNull<u8>, VmallocError> {
    if irq::is_masked() {
        return Err(VmallocError::WouldSleep);
    }
    let start = AREAS.allocate(bytes)?;
    Ok(NonNull::new(start.as_mut_ptr()).expect("the vmalloc area does not start at 0"))
}

/// Gives memory back that [`vmalloc`] gave. Frames and addresses are free again a little later, see
/// [`purge`].
///
/// Panics with the address when no area starts there, or when it is being freed already.
///
/// # Errors
///
/// [`VmallocError::WouldSleep`] with interrupts masked; the memory stays allocated.
///
/// # Safety
///
/// Nobody uses the memory any more.
pub unsafe fn vfree(memory: NonNull<u8>) -> Result<(), VmallocError> {
    if irq::is_masked() {
        return Err(VmallocError::WouldSleep);
    }
    if let Err(error) = AREAS.free(VirtAddr::from_ptr(memory.as_ptr())) {
        panic!("{error}");
    }
    Ok(())
}

/// Gives back the memory and the addresses of all areas that were freed lately; returns how many those
/// are. With interrupts masked, and so in an interrupt, none.
pub fn purge() -> usize {
    if irq::is_masked() { 0 } else { AREAS.purge() }
}

/// The area that `address` lies in, or whose guard page it does. For fault handlers: it waits for nobody.
pub fn area_at(address: VirtAddr) -> Option<Range<VirtAddr>> {
    AREAS.try_find(address).map(|area| area.range())
}

/// The first area at `address` or above, for reports.
pub fn next(address: VirtAddr) -> Option<Area<State>> {
    AREAS.next(address)
}
