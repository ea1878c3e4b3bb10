//! The kernel's vmalloc area.
#![allow(unsafe_code, reason = "freeing memory is a promise of the caller")]

use super::{Backing, State, Vmalloc, VmallocError};
use crate::{
    mm::{
        addr::{Pfn, VirtAddr},
        call_sites::{self, Call},
        frames::{self, Frames},
        reclaim::Shrinker,
    },
    sync::irq,
    vm::{
        area::Area,
        descriptor::Attributes,
        frames as pages, kernel_space, layout,
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
    fn fill_movable(&self, range: Range<VirtAddr>) -> Result<(), MapError> {
        kernel_space::map_movable(range)
    }
    fn disown(&self, range: Range<VirtAddr>) {
        kernel_space::disown_pages(range);
    }
    #[inline]
    fn detach(&self, range: Range<VirtAddr>) -> Held {
        kernel_space::detach(range)
    }
    fn map(
        &self,
        range: Range<VirtAddr>,
        frames: &[Pfn],
        attributes: Attributes,
    ) -> Result<(), MapError> {
        kernel_space::map_given(range, frames, attributes)
    }
    fn clear(&self, range: Range<VirtAddr>) {
        kernel_space::clear(range);
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
        pages::free_block(block);
    }
}

/// Memory of `bytes`, rounded up to whole pages, contiguous to the kernel; its content is garbage. An
/// unmapped page follows it.
///
/// # Errors
///
/// Refused with interrupts masked, for 0 bytes, and when frames, tables or addresses run out; then
/// nothing has changed.
#[cfg_attr(feature = "call-sites", track_caller)]
pub fn vmalloc(bytes: u64) -> Result<NonNull<u8>, VmallocError> {
    if irq::is_masked() {
        return Err(VmallocError::WouldSleep);
    }
    let start = AREAS.allocate(bytes)?;
    call_sites::allocated(Call::Vmalloc, start.get(), bytes);
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
    call_sites::freed(memory.addr().get() as u64);
    if let Err(error) = AREAS.free(VirtAddr::from_ptr(memory.as_ptr())) {
        panic!("{error}");
    }
    Ok(())
}

/// As [`vmalloc`], zeroed, of single frames that may be moved.
pub(in crate::vm) fn vmalloc_movable(bytes: u64) -> Result<NonNull<u8>, VmallocError> {
    if irq::is_masked() {
        return Err(VmallocError::WouldSleep);
    }
    let start = AREAS.allocate_movable(bytes)?;
    Ok(NonNull::new(start.as_mut_ptr()).expect("the vmalloc area does not start at 0"))
}

/// As [`vfree`], for what [`vmalloc_movable`] gave.
///
/// # Safety
///
/// Nobody uses the memory any more.
pub(in crate::vm) unsafe fn vfree_movable(memory: NonNull<u8>) -> Result<(), VmallocError> {
    if irq::is_masked() {
        return Err(VmallocError::WouldSleep);
    }
    if let Err(error) = AREAS.free_movable(VirtAddr::from_ptr(memory.as_ptr())) {
        panic!("{error}");
    }
    Ok(())
}

/// Maps frames of the caller's, in this order, to addresses that follow each other, and returns the first;
/// an unmapped page follows the last.
///
/// The frames' linear map is cacheable: `attributes` other than cacheable ones need frames that nobody uses
/// by it (Arm ARM B2.11, "Mismatched memory attributes").
///
/// # Errors
///
/// Refused with interrupts masked, for no frames, and when tables or addresses run out.
pub fn vmap(frames: &[Pfn], attributes: Attributes) -> Result<NonNull<u8>, VmallocError> {
    if irq::is_masked() {
        return Err(VmallocError::WouldSleep);
    }
    let start = AREAS.map(frames, attributes)?;
    Ok(NonNull::new(start.as_mut_ptr()).expect("the vmalloc area does not start at 0"))
}

/// Takes the addresses back that [`vmap`] gave. The frames stay the caller's, to whom nobody's TLB shows
/// them there any more when this returns.
///
/// Panics with the address when no such area starts there.
///
/// # Errors
///
/// [`VmallocError::WouldSleep`] with interrupts masked; the frames stay mapped.
pub fn vunmap(memory: NonNull<u8>) -> Result<(), VmallocError> {
    if irq::is_masked() {
        return Err(VmallocError::WouldSleep);
    }
    if let Err(error) = AREAS.unmap(VirtAddr::from_ptr(memory.as_ptr())) {
        panic!("{error}");
    }
    Ok(())
}

/// Gives back the memory and the addresses of all areas that were freed lately; returns how many those
/// are. With interrupts masked, and so in an interrupt, none.
pub fn purge() -> usize {
    if irq::is_masked() {
        0
    } else {
        AREAS.purge().areas
    }
}

/// What was freed and waits for its flush is memory that others may need more.
impl Shrinker for Vmalloc<KernelTables> {
    fn name(&self) -> &'static str {
        "vmalloc"
    }
    fn reclaimable_frames(&self) -> u32 {
        self.waiting_pages()
    }
    fn shrink(&self, _: &Frames<'_>, _: u32) -> u32 {
        self.purge().pages
    }
}

/// Lets the frame allocator have freed areas purged when memory is short, and movable ones' pages moved. At
/// boot.
pub fn init() {
    if let Some(frames) = frames::global() {
        let registered = frames.register_shrinker(&AREAS);
        debug_assert!(registered.is_ok(), "boot registers few");
        pages::init();
    }
}

/// The area that `address` lies in, or whose guard page it does. For fault handlers: it waits for nobody.
pub fn area_at(address: VirtAddr) -> Option<Range<VirtAddr>> {
    AREAS.try_find(address).map(|area| area.range())
}

/// The area that `address` lies in, or whose guard page it does.
pub fn find(address: VirtAddr) -> Option<Area<State>> {
    AREAS.find(address)
}

/// The first area at `address` or above, for reports.
pub fn next(address: VirtAddr) -> Option<Area<State>> {
    AREAS.next(address)
}
