//! The tests that need a machine: one image, booted anew by `cargo xtask test` for every test that is
//! meant to end it.
//!
//! A test is a function: it passes by returning and fails by panicking. The host asks for the table
//! (`cmd=list`), then for a run (`cmd=run`, with `only=NAME,…` or `after=NAME`).
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod boot;
#[cfg(target_os = "none")]
mod compaction;
#[cfg(target_os = "none")]
mod devices;
#[cfg(target_os = "none")]
mod exceptions;
#[cfg(target_os = "none")]
mod failing;
#[cfg(target_os = "none")]
mod fatal;
#[cfg(target_os = "none")]
mod memory;
#[cfg(target_os = "none")]
mod smp;
#[cfg(target_os = "none")]
mod stress;
#[cfg(target_os = "none")]
mod table;
#[cfg(target_os = "none")]
mod user;
#[cfg(target_os = "none")]
mod walk;

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
kernel::entry!(table::app);

#[cfg(not(target_os = "none"))]
fn main() {
    // Built for the host only so that the whole workspace can be checked; it tests nothing there.
}
