//! The changes, made in the kernel's tables.

use super::{Change, SetMemoryError};
use crate::{
    arch::{cache, image},
    mm::addr::{LinearMap, PAGE_BYTES, PhysAddr, VirtAddr},
    sync::irq,
    vm::{
        descriptor::{CONTIGUOUS_BYTES, Level},
        kernel_space, layout,
        table::{MapError, Mapping},
        vmalloc::{self, State},
    },
};
use core::ops::Range;

/// Makes `pages` pages from `start` on read-only.
///
/// # Errors
///
/// Those of [`SetMemoryError`], for this and the other three; then nothing has changed. Nobody else may
/// change or free the pages meanwhile.
pub fn set_memory_ro(start: VirtAddr, pages: u32) -> Result<(), SetMemoryError> {
    change(start, pages, Change::ReadOnly)
}

/// Makes pages readable and writable, which must not be executable.
///
/// # Errors
///
/// As [`set_memory_ro`].
pub fn set_memory_rw(start: VirtAddr, pages: u32) -> Result<(), SetMemoryError> {
    change(start, pages, Change::ReadWrite)
}

/// Makes pages not executable.
///
/// # Errors
///
/// As [`set_memory_ro`].
pub fn set_memory_nx(start: VirtAddr, pages: u32) -> Result<(), SetMemoryError> {
    change(start, pages, Change::NoExecute)
}

/// Makes pages executable, which must be read-only, and what they hold visible to instruction fetch.
///
/// # Errors
///
/// As [`set_memory_ro`].
pub fn set_memory_x(start: VirtAddr, pages: u32) -> Result<(), SetMemoryError> {
    change(start, pages, Change::Execute)
}

fn change(start: VirtAddr, pages: u32, change: Change) -> Result<(), SetMemoryError> {
    if irq::is_masked() {
        return Err(SetMemoryError::WouldSleep);
    }
    let bytes = PAGE_BYTES * u64::from(pages);
    let end = start.get().checked_add(bytes).map(VirtAddr::new);
    let end = end.ok_or(SetMemoryError::NotOurs(start))?;
    let range = start..end;
    check_owner(&range)?;
    for_each(range.clone(), &mut |leaf, _| check(leaf, change))?;
    if change == Change::Execute {
        cache::sync_instructions(start, bytes);
    }
    for_each(range, &mut |leaf, piece| {
        let attributes = change.apply(leaf)?;
        if leaf.attributes == Some(attributes) {
            return Ok(());
        }
        kernel_space::protect(piece, attributes).map_err(SetMemoryError::Map)
    })
}

/// Refuses what is neither in one area nor in the linear map, and areas whose pages may be moved.
fn check_owner(range: &Range<VirtAddr>) -> Result<(), SetMemoryError> {
    let is_in = |region: &Range<VirtAddr>| region.start <= range.start && range.end <= region.end;
    let is_ours = if is_in(&layout::VMALLOC) {
        let area = vmalloc::find(range.start);
        area.is_some_and(|area| area.value != State::Movable && is_in(&area.range()))
    } else {
        is_in(&layout::LINEAR)
    };
    if is_ours && !range.is_empty() && range.start.is_aligned_to(PAGE_BYTES) {
        Ok(())
    } else {
        Err(SetMemoryError::NotOurs(range.start))
    }
}

fn check(leaf: &Mapping, change: Change) -> Result<(), SetMemoryError> {
    let at = leaf.address;
    if layout::LINEAR.contains(&at) {
        if leaf.level != Level::PAGE {
            return Err(SetMemoryError::Block(at));
        }
        // The image window has them executable, or as constants that nobody changes.
        let physical = LinearMap::kernel().to_phys(at);
        let is_in = |section: Range<VirtAddr>| {
            let section: Range<PhysAddr> =
                image::to_phys(section.start)..image::to_phys(section.end);
            section.contains(&physical)
        };
        let is_fixed = is_in(image::text()) || is_in(image::rodata());
        if is_fixed && matches!(change, Change::ReadWrite | Change::Execute) {
            return Err(SetMemoryError::WritableAndExecutable(at));
        }
        if change == Change::Execute {
            // The window has the image's variables writable, and drivers the DMA pool.
            return Err(SetMemoryError::WritableAndExecutable(at));
        }
    }
    change.apply(leaf).map(drop)
}

/// Takes a leaf, and the piece of the range whose leaves are like it.
type Work<'a> = dyn FnMut(&Mapping, Range<VirtAddr>) -> Result<(), SetMemoryError> + 'a;

/// Shows `work` pieces of `range` whose leaves are alike, none longer than a contiguous group or a block.
fn for_each(range: Range<VirtAddr>, work: &mut Work<'_>) -> Result<(), SetMemoryError> {
    let mut at = range.start;
    while at < range.end {
        let not_mapped = SetMemoryError::Map(MapError::NotMapped(at));
        let leaf = kernel_space::walk(at).ok_or(not_mapped)?;
        let block = leaf.level.bytes();
        let left = range.end.get() - at.get();
        if !at.is_aligned_to(block) || left < block {
            return Err(SetMemoryError::Block(at));
        }
        let group = (at.get() | (CONTIGUOUS_BYTES - 1)).saturating_add(1);
        let mut end = at.offset(block);
        while end.get() < group && end < range.end {
            match kernel_space::walk(end) {
                Some(next) if next.attributes == leaf.attributes => end = end.offset(PAGE_BYTES),
                _ => break,
            }
        }
        work(&leaf, at..end)?;
        at = end;
    }
    Ok(())
}
