//! Stacks: their size, their alignment, and where a core's stacks end.
//!
//! A stack of 2ⁿ bytes starts at a multiple of 2ⁿ⁺¹, and the 2ⁿ bytes below it are unmapped. So bit
//! *n* of an address tells a stack from the guard below it, and exception entry can test SP before
//! it stores anything.

/// Size of a stack as a power of two; `linker.ld` repeats it.
pub const STACK_SHIFT: u32 = 15;
/// Size of a stack in bytes.
pub const STACK_BYTES: u64 = 1 << STACK_SHIFT;

/// The end of the stack that holds `sp`, or whose guard does.
pub const fn end(sp: u64) -> u64 {
    start(sp) + STACK_BYTES
}

/// The first byte of the stack that holds `sp`, or whose guard does. An empty stack's SP is its end.
pub const fn start(sp: u64) -> u64 {
    // The guard's addresses round up to the stack, the stack's own round down to its start.
    (sp.wrapping_sub(1).wrapping_add(STACK_BYTES)) & !(2 * STACK_BYTES - 1)
}
