//! The debugger's way out (Arm semihosting specification, `SYS_EXIT_EXTENDED`).
//!
//! Used only where the run parameters ask for it: without a debugger `hlt` is undefined.

use core::arch::asm;

const SYS_EXIT_EXTENDED: u64 = 0x20;
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
