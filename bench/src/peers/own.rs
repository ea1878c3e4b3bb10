//! The reader's own allocator, which `cargo xtask bench --allocator` puts in the place of the example.

use super::global::Shipped;
use core::ptr::NonNull;
use own_allocator::Allocator;

/// It, by the convention.
pub(super) struct Own;

impl Shipped for Own {
    type Heap = Allocator;
    const NAME: &'static str = match option_env!("OWN_ALLOCATOR") {
        Some(name) => name,
        None => "own",
    };
    const EMPTY: Self::Heap = Allocator::new();

    unsafe fn add(heap: &mut Self::Heap, arena: NonNull<[u8]>) {
        // SAFETY: the caller's promise.
        unsafe { heap.init(arena.as_ptr().cast(), arena.len()) }
    }
}
