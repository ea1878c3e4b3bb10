//! Recorded allocation sequences: the text format (`bench/traces/README.md`), read, checked and written.
//!
//! ```text
//!   a line ── event ──> Event ── ledger ──> Change, or what is wrong
//!                         │                    │
//!   read: line by line, plain or gzip, and hands both to whoever asked:
//!                         pack    what an image replays
//! ```

pub mod error;
pub mod event;
pub mod ledger;
pub mod memory;
pub mod pack;
pub mod read;

pub use error::{ErrorKind, TraceError};
pub use pack::{Loaded, load};
