//! What a wrong free is called, and its end.

use crate::mm::addr::VirtAddr;
use core::fmt;

/// What was wrong with a free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MisuseKind {
    /// The object is free already.
    DoubleFree,
    /// It was free and does not look so any more: freed twice, or written to after it was freed.
    DoubleFreeOrOverwritten,
    /// No object of this cache that was ever handed out starts at the address.
    InvalidFree,
}

/// A wrong free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misuse {
    /// The cache's name, or what else was asked to free it.
    pub cache: &'static str,
    /// What was wrong.
    pub kind: MisuseKind,
    /// The address.
    pub address: VirtAddr,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cache, address, .. } = self;
        match self.kind {
            MisuseKind::DoubleFree => write!(f, "slab {cache}: double free of {address:#x}"),
            MisuseKind::DoubleFreeOrOverwritten => write!(
                f,
                "slab {cache}: double free of {address:#x}, or a write to it while it was free"
            ),
            MisuseKind::InvalidFree => write!(
                f,
                "slab {cache}: invalid free of {address:#x}, where none of its objects starts"
            ),
        }
    }
}

/// A wrong free is a kernel bug.
#[cold]
#[inline(never)]
pub(crate) fn die(misuse: &Misuse) -> ! {
    panic!("{misuse}");
}
