//! Changing what pages of the kernel may be used for: `set_memory_ro`, `_rw`, `_nx` and `_x`.
//!
//! Pages of live vmalloc areas may be changed, and those of the linear map that have 4 KiB entries (the
//! image's alias, the DMA pool): a block there is in use by everybody and is not split. No page is ever
//! writable and executable, not even through another mapping of the image: such a change is refused.
//!
//! Permissions of a page of its own change in place; those of pages that the contiguous hint joins go
//! through break-before-make (Arm ARM D8.16.1), 64 KiB at a time, and a core that uses them meanwhile waits
//! in the fault handler. A change is checked as a whole before any of it is made.

#[cfg(target_os = "none")]
mod kernel;

#[cfg(target_os = "none")]
pub use kernel::{set_memory_nx, set_memory_ro, set_memory_rw, set_memory_x};

use super::{
    descriptor::{Access, Attributes, Memory},
    table::{MapError, Mapping},
};
use crate::mm::addr::VirtAddr;
use core::{error, fmt};

/// Why pages were left as they are. The address is the first that could not be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetMemoryError {
    /// Neither in one live vmalloc area nor in the linear map.
    NotOurs(VirtAddr),
    /// Mapped by a block of the linear map, which other memory shares.
    Block(VirtAddr),
    /// It would be writable and executable: take one right away before the other is given.
    WritableAndExecutable(VirtAddr),
    /// Registers, uncached memory or a user's.
    NotKernelMemory(VirtAddr),
    /// The tables do not allow it.
    Map(MapError),
    /// Interrupts are masked here, and a change may take long.
    WouldSleep,
}

impl fmt::Display for SetMemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, at) = match self {
            Self::NotOurs(at) => ("neither of an area nor of the linear map", at),
            Self::Block(at) => ("inside a block of the linear map", at),
            Self::WritableAndExecutable(at) => ("writable and executable", at),
            Self::NotKernelMemory(at) => ("no ordinary memory of the kernel", at),
            Self::Map(error) => return write!(f, "set_memory: {error}"),
            Self::WouldSleep => return write!(f, "set_memory with interrupts masked"),
        };
        write!(f, "set_memory: {what}: {at:#x}")
    }
}

impl error::Error for SetMemoryError {}

/// What is to become of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Writing is taken away.
    ReadOnly,
    /// Writing is allowed.
    ReadWrite,
    /// Executing is taken away.
    NoExecute,
    /// Executing is allowed.
    Execute,
}

impl Change {
    /// What the leaf's attributes become.
    pub fn apply(self, leaf: &Mapping) -> Result<Attributes, SetMemoryError> {
        let at = leaf.address;
        let old = leaf
            .attributes
            .filter(|old| old.memory() == Memory::Normal && !old.access().is_user());
        let old = old.ok_or(SetMemoryError::NotKernelMemory(at))?.access();
        let new = match (self, old) {
            (Self::ReadOnly, Access::KernelReadWrite)
            | (Self::NoExecute, Access::KernelReadExecute) => Access::KernelRead,
            (Self::ReadWrite, Access::KernelRead) => Access::KernelReadWrite,
            (Self::Execute, Access::KernelRead) => Access::KernelReadExecute,
            (Self::ReadWrite, Access::KernelReadExecute)
            | (Self::Execute, Access::KernelReadWrite) => {
                return Err(SetMemoryError::WritableAndExecutable(at));
            }
            (_, same) => same,
        };
        Ok(Attributes::normal(new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{mm::addr::PhysAddr, vm::descriptor::Level};

    fn leaf(attributes: Option<Attributes>) -> Mapping {
        Mapping {
            address: VirtAddr::new(0xffff_8000_0000_0000),
            physical: PhysAddr::new(0x1000),
            attributes,
            level: Level::PAGE,
            contiguous: false,
        }
    }

    #[test]
    fn no_sequence_of_changes_makes_a_page_writable_and_executable() {
        let changes = [
            Change::ReadOnly,
            Change::ReadWrite,
            Change::NoExecute,
            Change::Execute,
        ];
        for access in Access::ALL {
            for change in changes {
                let page = leaf(Some(Attributes::normal(access)));
                let Ok(new) = change.apply(&page) else {
                    continue;
                };
                let new = new.access();
                assert!(!(new.is_writable() && new.is_executable()));
                match change {
                    Change::ReadOnly => assert!(!new.is_writable()),
                    Change::ReadWrite => assert!(new.is_writable()),
                    Change::NoExecute => assert!(!new.is_executable()),
                    Change::Execute => assert!(new.is_executable()),
                }
            }
        }
    }

    #[test]
    fn one_right_is_taken_away_before_the_other_is_given() {
        let data = leaf(Some(Attributes::KERNEL_DATA));
        let text = leaf(Some(Attributes::KERNEL_TEXT));
        let refused = Err(SetMemoryError::WritableAndExecutable(data.address));
        assert_eq!(Change::Execute.apply(&data), refused);
        assert_eq!(Change::ReadWrite.apply(&text), refused);
        assert_eq!(Change::ReadOnly.apply(&data), Ok(Attributes::KERNEL_RODATA));
        assert_eq!(
            Change::NoExecute.apply(&text),
            Ok(Attributes::KERNEL_RODATA)
        );
    }

    #[test]
    fn registers_and_user_pages_are_left_alone() {
        for attributes in [
            Some(Attributes::DEVICE),
            Some(Attributes::NON_CACHEABLE),
            Some(Attributes::USER_TEXT),
            None,
        ] {
            let page = leaf(attributes);
            let refused = Err(SetMemoryError::NotKernelMemory(page.address));
            assert_eq!(Change::ReadOnly.apply(&page), refused);
        }
    }
}
