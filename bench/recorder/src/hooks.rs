//! The functions that take the place of the program's: each calls the next allocator's and records it.
//!
//! Alignments are as C and POSIX have them; what the next allocator refuses is not recorded, and neither
//! are null pointers. `reallocarray` and the two page-aligned ones are made of the others, since they
//! differ in arithmetic only.
#![allow(
    unsafe_code,
    reason = "takes the place of C functions, which are unsafe"
)]

use crate::layout::Kind;
use crate::log;
use crate::next::{self, Object};
use core::ptr;
use libc::{c_int, size_t};

/// What an allocation without an alignment of its own is aligned to at least.
const ALIGN: usize = 16;

/// Records an allocation, if it succeeded.
fn made(kind: Kind, object: Object, size: usize, align: usize) -> Object {
    if !object.is_null() {
        // A power of two, or the allocator would have refused it.
        let align_log2 = align.trailing_zeros().to_le_bytes()[0];
        log::note(kind, object, size, align_log2);
    }
    object
}

fn out_of_memory() -> Object {
    // SAFETY: the address of this thread's own.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    unsafe { errno.write(libc::ENOMEM) };
    ptr::null_mut()
}

/// As C has it.
///
/// # Safety
///
/// None.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn malloc(size: size_t) -> Object {
    let Some(next) = next::functions() else {
        return next::arena_alloc(size, ALIGN);
    };
    let Some(malloc) = next.malloc else {
        return out_of_memory();
    };
    // SAFETY: any size will do.
    made(Kind::Alloc, unsafe { malloc(size) }, size, 1)
}

/// As C has it.
///
/// # Safety
///
/// As C has it.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn free(object: Object) {
    if object.is_null() || next::arena_bytes(object).is_some() {
        return;
    }
    if let Some(free) = next::functions().and_then(|next| next.free) {
        log::note(Kind::Free, object, 0, 0);
        // SAFETY: the caller's promise.
        unsafe { free(object) };
    }
}

/// As C has it.
///
/// # Safety
///
/// None.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn calloc(count: size_t, size: size_t) -> Object {
    let Some(next) = next::functions() else {
        // The arena is all zero.
        let bytes = count.checked_mul(size);
        return bytes.map_or(ptr::null_mut(), |bytes| next::arena_alloc(bytes, ALIGN));
    };
    let Some(calloc) = next.calloc else {
        return out_of_memory();
    };
    // SAFETY: any numbers will do.
    let object = unsafe { calloc(count, size) };
    // It has checked that this does not overflow.
    made(Kind::Zeroed, object, count.wrapping_mul(size), 1)
}

/// As C has it.
///
/// # Safety
///
/// As C has it.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn realloc(object: Object, size: size_t) -> Object {
    if object.is_null() {
        // SAFETY: any size will do.
        return unsafe { malloc(size) };
    }
    if let Some(bytes) = next::arena_bytes(object) {
        // SAFETY: any size will do.
        let copy = unsafe { malloc(size) };
        if !copy.is_null() {
            // SAFETY: both hold so many bytes, and a new object is no part of an old one.
            unsafe { ptr::copy_nonoverlapping(object.cast::<u8>(), copy.cast(), bytes.min(size)) };
        }
        return copy;
    }
    let Some(realloc) = next::functions().and_then(|next| next.realloc) else {
        return out_of_memory();
    };
    log::note(Kind::ReallocBegin, object, 0, 0);
    // SAFETY: the caller's promise.
    let moved = unsafe { realloc(object, size) };
    log::note(Kind::ReallocEnd, moved, size, 0);
    moved
}

/// As the BSDs and glibc have it.
///
/// # Safety
///
/// As for `realloc`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn reallocarray(
    object: Object,
    count: size_t,
    size: size_t,
) -> Object {
    match count.checked_mul(size) {
        // SAFETY: the caller's promise.
        Some(bytes) => unsafe { realloc(object, bytes) },
        None => out_of_memory(),
    }
}

/// As POSIX has it.
///
/// # Safety
///
/// `object` may be written to.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn posix_memalign(
    object: *mut Object,
    align: size_t,
    size: size_t,
) -> c_int {
    let Some(next) = next::functions() else {
        let block = next::arena_alloc(size, align);
        if block.is_null() {
            return libc::ENOMEM;
        }
        // SAFETY: the caller's promise.
        unsafe { object.write(block) };
        return 0;
    };
    let Some(posix_memalign) = next.posix_memalign else {
        return libc::ENOMEM;
    };
    // SAFETY: the caller's promise.
    let status = unsafe { posix_memalign(object, align, size) };
    if status == 0 {
        // SAFETY: the caller's promise; it was written to.
        made(Kind::Alloc, unsafe { object.read() }, size, align);
    }
    status
}

/// As C has it.
///
/// # Safety
///
/// None.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn aligned_alloc(align: size_t, size: size_t) -> Object {
    let Some(next) = next::functions() else {
        return next::arena_alloc(size, align);
    };
    let Some(aligned_alloc) = next.aligned_alloc else {
        return out_of_memory();
    };
    // SAFETY: any numbers will do.
    made(
        Kind::Alloc,
        unsafe { aligned_alloc(align, size) },
        size,
        align,
    )
}

/// As glibc has it: `align` is rounded up to a power of two.
///
/// # Safety
///
/// None.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn memalign(align: size_t, size: size_t) -> Object {
    let align = align.checked_next_power_of_two().unwrap_or(align);
    let Some(next) = next::functions() else {
        return next::arena_alloc(size, align);
    };
    let Some(memalign) = next.memalign else {
        return out_of_memory();
    };
    // SAFETY: any numbers will do.
    made(Kind::Alloc, unsafe { memalign(align, size) }, size, align)
}

/// The system's page size.
fn page_bytes() -> usize {
    // SAFETY: a number that the system knows.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).unwrap_or(4096)
}

/// As glibc has it: aligned to a page.
///
/// # Safety
///
/// None.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn valloc(size: size_t) -> Object {
    // SAFETY: any numbers will do.
    unsafe { memalign(page_bytes(), size) }
}

/// As glibc has it: aligned to a page, and whole pages.
///
/// # Safety
///
/// None.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pvalloc(size: size_t) -> Object {
    match size.checked_next_multiple_of(page_bytes()) {
        // SAFETY: any numbers will do.
        Some(size) => unsafe { memalign(page_bytes(), size) },
        None => out_of_memory(),
    }
}

/// As glibc has it.
///
/// # Safety
///
/// As glibc has it.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn malloc_usable_size(object: Object) -> size_t {
    if let Some(bytes) = next::arena_bytes(object) {
        return bytes;
    }
    let usable_size = next::functions().and_then(|next| next.usable_size);
    // SAFETY: the caller's promise.
    usable_size.map_or(0, |usable_size| unsafe { usable_size(object) })
}
