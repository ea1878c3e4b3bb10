//! Boards as facts.
//!
//! Nothing here knows about the kernel. [`Board`] says what there is and where: it is read from the
//! device tree ([`device_tree`]), or is the built-in description of the Raspberry Pi 4
//! ([`rpi4`]) where firmware passes none. The drivers that every board needs before anything else
//! works stand beside it: the UART ([`pl011`]), the interrupt controller ([`gic`]), and the ways to
//! stop or reset ([`power`]). Each is given the virtual address of its registers and asks for no more.
#![cfg_attr(not(test), no_std)]

pub mod board;
pub mod device_tree;
#[cfg(target_os = "none")]
pub mod gic;
pub mod pl011;
#[cfg(target_os = "none")]
pub mod power;
pub mod rpi4;

pub use board::Board;
