//! Virtual memory.
pub mod layout;
