//! How a user program fails.

use crate::{
    fault::esr::{Access, Syndrome},
    mm::addr::VirtAddr,
};
use core::{error, fmt};

/// Why an access cannot be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nothing is there.
    Translation,
    /// Something is there, but not for this.
    Permission,
    /// The program may use the page, but there is no memory to fill it with.
    OutOfMemory,
    /// The page is mapped and the access allowed; it failed for another reason.
    Other(Syndrome),
}

/// What a program did, or could not be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserFault {
    /// An access to memory.
    Access {
        /// The address.
        address: VirtAddr,
        /// What was tried.
        access: Access,
        /// Why it failed.
        cause: Cause,
    },
    /// Another exception.
    Exception {
        /// Where the program was.
        pc: VirtAddr,
        /// What happened.
        syndrome: Syndrome,
    },
}

impl fmt::Display for UserFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access {
                address,
                access,
                cause,
            } => {
                write!(f, "{access} {address:#018x}: ")?;
                match cause {
                    Cause::Translation => f.write_str("translation fault"),
                    Cause::Permission => f.write_str("permission fault"),
                    Cause::OutOfMemory => f.write_str("out of memory"),
                    Cause::Other(syndrome) => write!(f, "{syndrome}"),
                }
            }
            Self::Exception { pc, syndrome } => write!(f, "{syndrome} at pc {pc:#x}"),
        }
    }
}

impl error::Error for UserFault {}

impl UserFault {
    /// What an abort's syndrome says about the access to `address`.
    pub fn of_abort(address: VirtAddr, access: Access, syndrome: Syndrome) -> Self {
        let cause = if syndrome.is_translation_fault() {
            Cause::Translation
        } else if syndrome.status() & 0x3c == 0x0c {
            Cause::Permission
        } else {
            Cause::Other(syndrome)
        };
        Self::Access {
            address,
            access,
            cause,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_fault_names_what_was_tried_where_and_why() {
        let address = VirtAddr::new(0xffff_ffff_8020_0000);
        let fault = |esr| UserFault::of_abort(address, Access::Read, Syndrome(esr)).to_string();
        assert_eq!(
            fault(0x9200_000f),
            "reading 0xffffffff80200000: permission fault"
        );
        assert_eq!(
            fault(0x9200_0004),
            "reading 0xffffffff80200000: translation fault"
        );
    }
}
