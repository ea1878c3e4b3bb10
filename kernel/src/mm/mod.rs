//! Memory management.
pub mod addr;
pub mod gfp;
