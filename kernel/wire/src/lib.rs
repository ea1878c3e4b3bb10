//! What an image and the host say to each other.
//!
//! Three things cross the boundary between a booted image and `cargo xtask`, and each has one
//! definition, here, that both sides compile:
//!
//! - [`frame`]: how the one serial line is shared between log, text, bench, control and fault dump;
//! - [`payload`] and [`params`]: what xtask appends to the flat image: a command line and files;
//! - [`control`], [`fault`], [`mod@bench`] with [`event`], [`histogram`] and [`hunt`], [`report`], [`trace`]: what
//!   the frames and files hold;
//!   [`glob`] selects rows by name, alike on both sides.
//!
//! Nothing here allocates and nothing here is `unsafe`.
#![cfg_attr(not(test), no_std)]

pub mod bench;
pub mod control;
pub mod crc;
pub mod event;
pub mod fault;
pub mod frame;
pub mod glob;
pub mod histogram;
pub mod hunt;
pub mod params;
pub mod path;
pub mod payload;
pub mod report;
pub mod trace;
