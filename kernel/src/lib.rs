#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;
#[cfg(not(target_os = "none"))]
extern crate std;

pub mod app;
#[cfg(target_os = "none")]
pub mod arch;
#[cfg(target_os = "none")]
pub mod boot;
#[cfg(target_os = "none")]
pub mod console;
pub mod dma;
#[cfg(target_os = "none")]
pub mod exit;
pub mod fault;
#[cfg(target_os = "none")]
pub mod interrupt;
pub mod log;
#[cfg(target_os = "none")]
pub mod machine;
pub mod mm;
#[cfg(target_os = "none")]
pub mod report;
#[cfg(target_os = "none")]
pub mod smp;
pub mod sync;
pub mod user;
pub mod vm;

pub use app::ExitCode;
#[cfg(target_os = "none")]
pub use machine::{machine, params, payload_files};
pub use wire;

/// Prints a line for the user, through the serial line's text channel.
#[cfg(target_os = "none")]
#[macro_export]
macro_rules! println {
    () => { $crate::console::print(format_args!("\n")) };
    ($($argument:tt)*) => {
        $crate::console::print(format_args!("{}\n", format_args!($($argument)*)))
    };
}

/// Prints a line for the user; on the host, to standard output.
#[cfg(not(target_os = "none"))]
#[macro_export]
macro_rules! println {
    ($($argument:tt)*) => { std::println!($($argument)*) };
}
