//! Log lines: defmt frames decoded against the image that sent them.

use crate::workspace;
use anyhow::{Context, Result};
use defmt_decoder::{DecodeError, Locations, Table};
use std::fmt;

/// How important a log line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Level {
    /// Every step
    Trace,
    /// What a developer of the part wants to see
    Debug,
    /// What a user wants to see
    #[default]
    Info,
    /// Something is not as it should be, and the system goes on
    Warn,
    /// Something failed
    Error,
}

impl Level {
    /// The name as run parameters have it, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [
            Self::Trace,
            Self::Debug,
            Self::Info,
            Self::Warn,
            Self::Error,
        ]
        .into_iter()
        .find(|level| level.name() == name)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One decoded log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Its level; none for `defmt::println!`.
    pub level: Option<Level>,
    /// Time since reset, as the image formats it.
    pub time: Option<String>,
    /// The module that logged, `kernel::mm::slab`.
    pub module: Option<String>,
    /// Source file and line, relative to the workspace.
    pub location: Option<String>,
    /// The message.
    pub message: String,
}

/// Decodes the log frames of one image.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    locations: Locations,
}

impl Decoder {
    /// The decoder for the image in `elf`; `None` if the image logs nothing.
    ///
    /// # Errors
    ///
    /// If its log table was made by another version of defmt.
    pub fn new(elf: &[u8]) -> Result<Option<Self>> {
        let Some(table) = Table::parse(elf).context("cannot read the image's log table")? else {
            return Ok(None);
        };
        // Without debug information the lines lack their locations, and are still worth showing.
        let locations = table.get_locations(elf).unwrap_or_default();
        Ok(Some(Self { table, locations }))
    }

    /// Decodes one frame in raw encoding.
    ///
    /// # Errors
    ///
    /// If the image's table does not know it, or it is cut short.
    pub fn decode(&self, bytes: &[u8]) -> Result<LogLine, DecodeError> {
        let (frame, _) = self.table.decode(bytes)?;
        let location = self.locations.get(&frame.index());
        Ok(LogLine {
            level: frame.level().and_then(|level| Level::parse(level.as_str())),
            time: frame.display_timestamp().map(|time| time.to_string()),
            module: location.map(|location| location.module.clone()),
            location: location.map(|location| {
                let file = workspace::shown(&location.file.to_string_lossy());
                format!("{file}:{}", location.line)
            }),
            message: frame.display_message().to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered_and_named() {
        assert!(Level::Trace < Level::Info && Level::Info < Level::Error);
        assert_eq!(Level::parse("warn"), Some(Level::Warn));
        assert_eq!(Level::parse("loud"), None);
    }

    #[test]
    fn an_image_that_logs_nothing_has_no_decoder() {
        let ourselves = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        if cfg!(target_os = "linux") {
            assert!(Decoder::new(&ourselves).unwrap().is_none());
        }
        assert!(Decoder::new(b"no ELF").is_err());
    }
}
