//! Two programs that come with the kernel, to show and to test what a user region is.
//!
//! They are position-free code in sections of their own, which the kernel only reads: running one copies
//! it into frames of its own.
#![allow(
    unsafe_code,
    reason = "reads the sections between the linker's symbols"
)]

use super::run;
use crate::vm::layout;

/// A program: what its memory starts with.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name, for reports.
    pub name: &'static str,
    /// Its code and constants; it starts with the first instruction.
    pub text: &'static [u8],
    /// Its variables.
    pub data: &'static [u8],
}

/// The code that `hello` exits with when everything was as it should be.
pub const HELLO_CODE: u8 = 42;

core::arch::global_asm!(
    include_str!("programs.s"),
    DATA = const run::DATA.get(),
    CODE = const HELLO_CODE,
    KERNEL = const layout::IMAGE.start.get(),
);

unsafe extern "C" {
    static __user_hello_text_start: u8;
    static __user_hello_text_end: u8;
    static __user_hello_data_start: u8;
    static __user_hello_data_end: u8;
    static __user_probe_text_start: u8;
    static __user_probe_text_end: u8;
}

/// Writes a line, grows its heap by 64 KiB, fills it page by page, reads it again, has the kernel refuse bad
/// pointers, writes how it went, and exits with [`HELLO_CODE`].
pub fn hello() -> Program {
    Program {
        name: "hello",
        text: between(
            &raw const __user_hello_text_start,
            &raw const __user_hello_text_end,
        ),
        data: between(
            &raw const __user_hello_data_start,
            &raw const __user_hello_data_end,
        ),
    }
}

/// Reads the kernel's first instruction, and is killed for it.
pub fn probe() -> Program {
    Program {
        name: "probe",
        text: between(
            &raw const __user_probe_text_start,
            &raw const __user_probe_text_end,
        ),
        data: &[],
    }
}

/// The bytes of one section.
fn between(start: *const u8, end: *const u8) -> &'static [u8] {
    let bytes = end.addr() - start.addr();
    // SAFETY: the linker put both symbols at the ends of one section, which is constant.
    unsafe { core::slice::from_raw_parts(start, bytes) }
}
