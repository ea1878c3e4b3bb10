//! Records the `malloc` calls of a Linux program from inside of it.
//!
//! `cargo xtask trace record` preloads this library (`LD_PRELOAD`), so that the dynamic linker finds our
//! `malloc` first. Each call goes on to the allocator that the program would have had, and leaves a
//! record in a file that the process shares with its own memory: what was recorded is there however the
//! program ends.
//!
//! - [`layout`]: what such a file holds, for those who read it;
//! - `hooks`: the functions that take the place of the program's, in a library built to be preloaded;
//! - `next`: those that they go on to, and the memory that is handed out until they are found;
//! - `log`: where records go, without a lock, and what a fork does to that; `file`: the calls it makes.
//!
//! # Invariants
//!
//! 1. The order of records is one in which it can have happened: a free is recorded before the
//!    allocator hears of it, an allocation when it has been made. So whoever gets an address again
//!    stands behind the one that gave it back, across threads too.
//! 2. Nothing here allocates, waits for another thread or is a cancellation point: a program may call
//!    from a signal handler what it could call there before.
//! 3. `errno` is what the allocator left there.

pub mod layout;

#[cfg(all(target_os = "linux", feature = "preload"))]
mod file;
#[cfg(all(target_os = "linux", feature = "preload"))]
mod hooks;
#[cfg(all(target_os = "linux", feature = "preload"))]
mod log;
#[cfg(all(target_os = "linux", feature = "preload"))]
mod next;
