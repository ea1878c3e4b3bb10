//! Logging: defmt over the serial line.
//!
//! `log::info!("mapped {=u64:#x}", address)` takes defmt's format strings. The strings stay in the
//! ELF; a frame of a few bytes goes over the line, and the host makes text of it, with level, time,
//! module and line. [`set_level`] filters at run time, so a quiet image and a talkative one are the
//! same image. This file alone names defmt: on the host, where nothing would decode it, the macros
//! take their arguments and do nothing.

use core::sync::atomic::{AtomicU8, Ordering};

/// How important a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Every step.
    Trace,
    /// What a developer of that part wants to see.
    Debug,
    /// What a user wants to see.
    Info,
    /// Something is wrong, and the kernel copes.
    Warn,
    /// Something is lost.
    Error,
}

impl Level {
    /// The level that a `log=` parameter names.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "trace" => Self::Trace,
            "debug" => Self::Debug,
            "info" => Self::Info,
            "warn" => Self::Warn,
            "error" => Self::Error,
            _ => return None,
        })
    }
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// Lets only messages of `level` and above through.
pub fn set_level(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

/// Whether a message of `level` gets through.
#[inline]
pub fn is_enabled(level: Level) -> bool {
    level as u8 >= LEVEL.load(Ordering::Relaxed)
}

/// Logs at a level; the named macros are the way to call it.
#[doc(hidden)]
#[macro_export]
#[collapse_debuginfo(yes)]
#[cfg(target_os = "none")]
macro_rules! log_at {
    ($level:ident, $name:ident, $($argument:tt)*) => {
        if $crate::log::is_enabled($crate::log::Level::$level) {
            // defmt's macros expand to paths that start with `defmt`.
            #[allow(unused_imports, reason = "the crate may depend on defmt itself")]
            use $crate::log::defmt;
            defmt::$name!($($argument)*);
        }
    };
}

/// Takes its arguments and does nothing: the host has nobody to decode a frame.
#[doc(hidden)]
#[macro_export]
#[collapse_debuginfo(yes)]
#[cfg(not(target_os = "none"))]
macro_rules! log_at {
    ($level:ident, $name:ident, $format:literal $(, $argument:expr)* $(,)?) => {{
        $(let _ = &$argument;)*
    }};
}

/// Logs a step.
#[macro_export]
#[collapse_debuginfo(yes)]
macro_rules! trace { ($($argument:tt)*) => { $crate::log_at!(Trace, trace, $($argument)*) }; }
/// Logs what a developer of that part wants to see.
#[macro_export]
#[collapse_debuginfo(yes)]
macro_rules! debug { ($($argument:tt)*) => { $crate::log_at!(Debug, debug, $($argument)*) }; }
/// Logs what a user wants to see.
#[macro_export]
#[collapse_debuginfo(yes)]
macro_rules! info { ($($argument:tt)*) => { $crate::log_at!(Info, info, $($argument)*) }; }
/// Logs something wrong that the kernel copes with.
#[macro_export]
#[collapse_debuginfo(yes)]
macro_rules! warn { ($($argument:tt)*) => { $crate::log_at!(Warn, warn, $($argument)*) }; }
/// Logs a loss.
#[macro_export]
#[collapse_debuginfo(yes)]
macro_rules! error { ($($argument:tt)*) => { $crate::log_at!(Error, error, $($argument)*) }; }

pub use crate::{debug, error, info, trace, warn};

#[cfg(target_os = "none")]
pub use defmt;
#[cfg(target_os = "none")]
mod logger;
