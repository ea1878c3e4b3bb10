//! What a debugger does for us: it ends the run, and tells the time (Arm semihosting specification).
//!
//! Used only where the run parameters ask for it: without a debugger `hlt` is undefined.

use core::arch::asm;

const SYS_EXIT_EXTENDED: u64 = 0x20;
const SYS_TIME: u64 = 0x11;
/// `ADP_Stopped_ApplicationExit`: the program ended, with the code that follows.
const APPLICATION_EXIT: u64 = 0x2_0026;

/// Ends the emulator with `code`; returns only where nobody listens.
pub fn exit(code: u32) {
    let block = [APPLICATION_EXIT, u64::from(code)];
    // SAFETY: the call reads the two words of `block`, which lives until it returns.
    unsafe {
        asm!(
            "hlt #0xf000",
            inout("x0") SYS_EXIT_EXTENDED => _,
            in("x1") block.as_ptr(),
            options(nostack),
        );
    }
}

/// The seconds since 1970 on the debugger's clock, which no counting of instructions holds up.
pub fn seconds() -> u64 {
    let seconds;
    // SAFETY: the call touches no memory.
    unsafe {
        asm!(
            "hlt #0xf000",
            inout("x0") SYS_TIME => seconds,
            in("x1") 0,
            options(nostack, nomem),
        );
    }
    seconds
}
