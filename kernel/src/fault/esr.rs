//! The exception syndrome in words (Arm ARM D24.2.40, ESR_EL1).

use core::fmt;

/// A syndrome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syndrome(pub u64);

/// What a memory access was trying to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading data.
    Read,
    /// Writing data.
    Write,
    /// Fetching an instruction.
    Execute,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "reading",
            Self::Write => "writing",
            Self::Execute => "executing",
        })
    }
}

impl Syndrome {
    /// The exception class, bits 31 to 26.
    pub const fn class(self) -> u64 {
        self.0 >> 26 & 0x3f
    }

    /// The fault status code of an abort, bits 5 to 0.
    pub const fn status(self) -> u64 {
        self.0 & 0x3f
    }

    /// For an abort: what was tried.
    pub const fn access(self) -> Option<Access> {
        match self.class() {
            0x20 | 0x21 => Some(Access::Execute),
            // WnR, but cache maintenance (CM) reports itself as a write and changes nothing.
            0x24 | 0x25 if self.0 & (1 << 6) != 0 && self.0 & (1 << 8) == 0 => Some(Access::Write),
            0x24 | 0x25 => Some(Access::Read),
            _ => None,
        }
    }

    /// Whether FAR_EL1 holds the address: an abort, an alignment fault or a watchpoint, and FnV clear.
    pub const fn has_address(self) -> bool {
        match self.class() {
            0x20 | 0x21 | 0x24 | 0x25 => self.status() != 0x10 || self.0 & (1 << 10) == 0,
            0x22 | 0x34 | 0x35 => true,
            _ => false,
        }
    }

    /// Whether a translation fault: nothing is mapped there.
    pub const fn is_translation_fault(self) -> bool {
        self.status() & 0x3c == 0x04
    }

    fn class_name(self) -> &'static str {
        match self.class() {
            0x00 => "undefined instruction",
            0x01 => "trapped wfi or wfe",
            0x07 => "trapped floating-point access",
            0x0e => "illegal execution state",
            0x15 => "svc",
            0x16 => "hvc",
            0x17 => "smc",
            0x18 => "trapped system register access",
            0x20 | 0x21 => "instruction abort",
            0x22 => "misaligned program counter",
            0x24 | 0x25 => "data abort",
            0x26 => "misaligned stack pointer",
            0x2c => "floating-point exception",
            0x2f => "system error",
            0x30 | 0x31 => "breakpoint",
            0x32 | 0x33 => "software step",
            0x34 | 0x35 => "watchpoint",
            0x3c => "brk instruction",
            _ => "unknown exception",
        }
    }

    fn status_name(self) -> (&'static str, Option<u64>) {
        let level = Some(self.status() & 3);
        match self.status() {
            0x00..=0x03 => ("address size fault", level),
            0x04..=0x07 => ("translation fault", level),
            0x08..=0x0b => ("access flag fault", level),
            0x0c..=0x0f => ("permission fault", level),
            0x10 => ("external abort", None),
            0x14..=0x17 => ("external abort on a table walk", level),
            0x18 => ("memory error", None),
            0x1c..=0x1f => ("memory error on a table walk", level),
            0x21 => ("alignment fault", None),
            0x30 => ("TLB conflict", None),
            0x31 => ("unsupported atomic update", None),
            0x34 | 0x35 => ("implementation-defined fault", None),
            _ => ("unknown fault", None),
        }
    }
}

impl fmt::Display for Syndrome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.class_name())?;
        if let Some(access) = self.access() {
            let (status, level) = self.status_name();
            write!(f, " {access}: {status}")?;
            if let Some(level) = level {
                write!(f, ", level {level}")?;
            }
        } else if self.class() == 0x3c {
            write!(f, " {:#x}", self.0 & 0xffff)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn syndromes_are_told_in_words() {
        for (syndrome, words) in [
            (
                0x9600_0047,
                "data abort writing: translation fault, level 3",
            ),
            (0x9600_004f, "data abort writing: permission fault, level 3"),
            (
                0x9600_0004,
                "data abort reading: translation fault, level 0",
            ),
            (
                0x8600_000f,
                "instruction abort executing: permission fault, level 3",
            ),
            (0x9600_0010, "data abort reading: external abort"),
            (0x9600_0061, "data abort writing: alignment fault"),
            (0x0200_0000, "undefined instruction"),
            (0xf200_0001, "brk instruction 0x1"),
            (
                0x9600_0147,
                "data abort reading: translation fault, level 3",
            ),
        ] {
            assert_eq!(Syndrome(syndrome).to_string(), words, "{syndrome:#x}");
        }
    }

    #[test]
    fn an_address_is_believed_only_where_it_is_valid() {
        assert!(Syndrome(0x9600_0047).has_address());
        assert!(Syndrome(0x9600_0010).has_address());
        assert!(!Syndrome(0x9600_0410).has_address());
        assert!(!Syndrome(0x0200_0000).has_address());
    }
}
