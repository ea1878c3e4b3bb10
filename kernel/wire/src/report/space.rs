//! Rows about addresses: virtual regions, physical memory, areas, mappings.

use super::Address;
use core::fmt;
use serde::{Deserialize, Serialize};

/// Bytes, in the largest binary unit that they fill at least once, to a tenth of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [
            (1 << 40, "TiB"),
            (1 << 30, "GiB"),
            (1 << 20, "MiB"),
            (1 << 10, "KiB"),
        ];
        let fitting = units.into_iter().find(|(bytes, _)| self.0 >= *bytes);
        let (unit, name) = fitting.unwrap_or((1, "B"));
        let tenths = self.0 % unit * 10 / unit;
        if tenths == 0 {
            write!(f, "{} {name}", self.0 / unit)
        } else {
            write!(f, "{}.{tenths} {name}", self.0 / unit)
        }
    }
}

/// A region of virtual addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region<'a> {
    /// Its name.
    pub name: &'a str,
    /// How many regions it lies in.
    pub depth: u8,
    /// Its first address.
    pub start: Address,
    /// The first address behind it.
    pub end: Address,
}

impl fmt::Display for Region<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, end, .. } = self;
        let indent = 2 + 2 * usize::from(self.depth);
        let width = 17_usize.saturating_sub(indent);
        writeln!(
            f,
            "{:indent$}{:<width$}{start:#018x} - {:#018x}  {}",
            "",
            self.name,
            end.0.saturating_sub(1),
            Size(end.0.saturating_sub(start.0))
        )
    }
}

/// A range of physical addresses, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource<'a> {
    /// Whose.
    pub name: &'a str,
    /// How many resources it lies in.
    pub depth: u8,
    /// Whether the kernel maps it.
    pub mapped: bool,
    /// Its first address.
    pub start: Address,
    /// The first address behind it.
    pub end: Address,
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let indent = 2 * usize::from(self.depth);
        let unmapped = if self.mapped { "" } else { ", not mapped" };
        writeln!(
            f,
            "{:indent$}{:08x}-{:08x} : {}{unmapped}",
            "",
            self.start,
            self.end.0.saturating_sub(1),
            self.name
        )
    }
}

/// An area of vmalloc or ioremap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Area<'a> {
    /// Its first address.
    pub start: Address,
    /// The first address behind it; a guard page follows, which is not counted.
    pub end: Address,
    /// What it is, and what is happening to it.
    pub what: &'a str,
    /// Frames behind it that are its own.
    pub frames: u64,
    /// Where the registers are that it maps.
    pub physical: Option<Address>,
}

impl fmt::Display for Area<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, end) = (self.start, self.end);
        let bytes = end.0.saturating_sub(start.0);
        write!(f, "{start:#018x}-{end:#018x} {bytes:>10} ")?;
        if self.frames > 0 {
            write!(f, "pages={} ", self.frames)?;
        }
        if let Some(physical) = self.physical {
            write!(f, "phys={physical:#x} ")?;
        }
        writeln!(f, "{}", self.what)
    }
}

/// Who may do what with a mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Whether anyone may write.
    pub writable: bool,
    /// Whether the kernel may execute.
    pub kernel_executable: bool,
    /// Whether a program may execute.
    pub user_executable: bool,
    /// Whether programs reach it at all.
    pub user: bool,
}

/// Leaves of a translation table which follow each other and are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping<'a> {
    /// Their first address.
    pub start: Address,
    /// The first address behind them.
    pub end: Address,
    /// Where the first of them leads; the others need not follow it.
    pub physical: Address,
    /// Bytes that one of them maps: 4 KiB, 2 MiB or 1 GiB.
    pub leaf_bytes: u64,
    /// Who may do what.
    pub access: Access,
    /// Whether they are marked as one of a run of 16, which a TLB may keep as one.
    pub contiguous: bool,
    /// The memory type, by Linux's name.
    pub memory: &'a str,
}

impl fmt::Display for Mapping<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, end) = (self.start, self.end);
        let bytes = end.0.saturating_sub(start.0);
        let units = [(30, 'G'), (20, 'M'), (10, 'K')];
        let whole = |&(shift, _): &(u32, char)| bytes.trailing_zeros() >= shift;
        let (shift, unit) = units.into_iter().find(whole).unwrap_or((0, 'B'));
        let level = match self.leaf_bytes >> 12 {
            0..=1 => "PTE",
            2..=512 => "PMD",
            _ => "PUD",
        };
        let Access {
            writable,
            kernel_executable,
            user_executable,
            user,
        } = self.access;
        let choose = |holds, yes, no| if holds { yes } else { no };
        write!(
            f,
            "{start:#018x}-{end:#018x}   {:>9}{unit} {level}",
            bytes >> shift
        )?;
        for bit in [
            choose(user, "USR", "   "),
            choose(writable, "RW", "ro"),
            choose(kernel_executable, "x ", "NX"),
            choose(self.contiguous, "CON", "   "),
            choose(level == "PTE", "   ", "BLK"),
            choose(user_executable, "   ", "UXN"),
        ] {
            write!(f, " {bit}")?;
        }
        writeln!(f, " {}", self.memory)
    }
}
