//! The allocator that the program would have had, and what serves until it is found.
//!
//! To find it we ask the dynamic linker, and that allocates. So while one thread asks, whoever calls
//! gets memory of an arena of our own: that thread itself, as a rule, since the first call comes before
//! there are others. What lies in the arena is never used again.
//!
//! # Invariants
//!
//! 1. `FUNCTIONS` is written once, by the thread that moved `STATE` from `UNKNOWN` to `LOOKING`, and read
//!    by those who saw `FOUND`, which that thread stored afterwards.
//! 2. A block of the arena was handed out to one caller, and the word before it holds its bytes.
#![allow(
    unsafe_code,
    reason = "calls functions by address, and hands out parts of a static"
)]

use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::mem;
use core::ptr;
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use libc::{c_int, c_void, size_t};

/// What `malloc` and its like return.
pub(crate) type Object = *mut c_void;

/// The next allocator's functions, as far as it has them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Functions {
    pub(crate) malloc: Option<unsafe extern "C" fn(size_t) -> Object>,
    pub(crate) free: Option<unsafe extern "C" fn(Object)>,
    pub(crate) calloc: Option<unsafe extern "C" fn(size_t, size_t) -> Object>,
    pub(crate) realloc: Option<unsafe extern "C" fn(Object, size_t) -> Object>,
    pub(crate) posix_memalign: Option<unsafe extern "C" fn(*mut Object, size_t, size_t) -> c_int>,
    pub(crate) aligned_alloc: Option<unsafe extern "C" fn(size_t, size_t) -> Object>,
    pub(crate) memalign: Option<unsafe extern "C" fn(size_t, size_t) -> Object>,
    pub(crate) usable_size: Option<unsafe extern "C" fn(Object) -> size_t>,
}

const UNKNOWN: u8 = 0;
const LOOKING: u8 = 1;
const FOUND: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);
static FUNCTIONS: Shared<Option<Functions>> = Shared(UnsafeCell::new(None));

struct Shared<T>(UnsafeCell<T>);

// SAFETY: invariants 1 and 2 say who uses which part when.
unsafe impl<T> Sync for Shared<T> {}

/// The next allocator's functions; `None` while they are looked for.
pub(crate) fn functions() -> Option<&'static Functions> {
    if STATE.load(Ordering::Acquire) != FOUND {
        find();
    }
    if STATE.load(Ordering::Acquire) != FOUND {
        return None;
    }
    // SAFETY: invariant 1.
    unsafe { &*FUNCTIONS.0.get() }.as_ref()
}

#[cold]
fn find() {
    let claimed = STATE.compare_exchange(UNKNOWN, LOOKING, Ordering::Acquire, Ordering::Relaxed);
    if claimed.is_err() {
        return;
    }
    let functions = Functions {
        // SAFETY: as documented for `symbol`, for this name and those below (C17 7.22.3, POSIX, glibc).
        malloc: unsafe { symbol(c"malloc") },
        // SAFETY: as above.
        free: unsafe { symbol(c"free") },
        // SAFETY: as above.
        calloc: unsafe { symbol(c"calloc") },
        // SAFETY: as above.
        realloc: unsafe { symbol(c"realloc") },
        // SAFETY: as above.
        posix_memalign: unsafe { symbol(c"posix_memalign") },
        // SAFETY: as above.
        aligned_alloc: unsafe { symbol(c"aligned_alloc") },
        // SAFETY: as above.
        memalign: unsafe { symbol(c"memalign") },
        // SAFETY: as above.
        usable_size: unsafe { symbol(c"malloc_usable_size") },
    };
    // SAFETY: invariant 1: this is the one thread that moved the state.
    unsafe { *FUNCTIONS.0.get() = Some(functions) };
    STATE.store(FOUND, Ordering::Release);
}

/// The function `name` of the next library that has one.
///
/// # Safety
///
/// `F` is `Option` of a function pointer, of the type that the system documents for `name`.
unsafe fn symbol<F: Copy>(name: &CStr) -> F {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    // SAFETY: the name ends with a zero byte.
    let address = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    // SAFETY: the caller's promise; null is `None`.
    unsafe { mem::transmute_copy(&address) }
}

/// Bytes of the arena: the dynamic linker asks for some hundreds.
const ARENA_BYTES: usize = 64 << 10;
/// Every block is aligned to this, and its size stands in so many bytes before it.
const ARENA_ALIGN: usize = 16;

#[repr(align(4096))]
struct Arena(Shared<[u8; ARENA_BYTES]>);

static ARENA: Arena = Arena(Shared(UnsafeCell::new([0; ARENA_BYTES])));
static USED: AtomicUsize = AtomicUsize::new(0);

fn arena_start() -> *mut u8 {
    ARENA.0.0.get().cast()
}

/// A block of the arena, all zero; null if it is full or `align` is above a page.
pub(crate) fn arena_alloc(bytes: usize, align: usize) -> Object {
    let align = align.max(ARENA_ALIGN);
    let place = |used: usize| {
        let start = used
            .checked_add(ARENA_ALIGN)?
            .checked_next_multiple_of(align)?;
        let end = start.checked_add(bytes)?;
        (end <= ARENA_BYTES && align <= align_of::<Arena>()).then_some((start, end))
    };
    let taken = USED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
        place(used).map(|(_, end)| end)
    });
    let Some((start, _)) = taken.ok().and_then(place) else {
        return ptr::null_mut();
    };
    // SAFETY: `place` has made sure that the block, and the word before it, lie inside.
    let block = unsafe { arena_start().add(start) };
    // SAFETY: as above.
    let word = unsafe { block.sub(ARENA_ALIGN) }.cast::<usize>();
    // SAFETY: as above; starts are aligned, and nobody else has this part (invariant 2).
    unsafe { word.write(bytes) };
    block.cast()
}

/// The bytes of a block of the arena; `None` for any other.
pub(crate) fn arena_bytes(object: Object) -> Option<usize> {
    let offset = object.addr().checked_sub(arena_start().addr())?;
    if offset >= ARENA_BYTES {
        return None;
    }
    // SAFETY: invariant 2.
    let word = unsafe { object.cast::<u8>().sub(ARENA_ALIGN) }.cast::<usize>();
    // SAFETY: as above.
    Some(unsafe { word.read() })
}
