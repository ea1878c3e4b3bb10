//! The image that `cargo xtask run` boots: it shows the memory layout, then takes a tour through every
//! part of the system, and exits with the number of stops that failed.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

#[cfg(target_os = "none")]
mod devices;
#[cfg(target_os = "none")]
mod tour;

#[cfg(target_os = "none")]
kernel::entry!(tour::app);

#[cfg(not(target_os = "none"))]
fn main() {
    // Built for the host only so that the whole workspace can be checked; it does nothing there.
}
