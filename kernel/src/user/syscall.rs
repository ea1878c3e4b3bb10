//! System calls: Linux's numbers for AArch64, and as much of their meaning as a small program needs.
//!
//! A program puts the number into x8 and arguments into x0 to x5; the result comes back in x0, an error as
//! a negative errno (Linux, `include/uapi/asm-generic/unistd.h` and `errno-base.h`).

use super::vma::Rights;
use crate::mm::addr::VirtAddr;

/// An error number, as Linux counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Errno {
    /// No such file descriptor.
    BadFile = 9,
    /// No memory.
    NoMemory = 12,
    /// A pointer that the program may not use.
    Fault = 14,
    /// An argument that makes no sense.
    Invalid = 22,
    /// No such call.
    NoCall = 38,
}

/// What calls need of the kernel.
pub trait Services {
    /// Writes the program's `bytes` at `buffer` for the user to see; returns how many were.
    fn write(&mut self, buffer: VirtAddr, bytes: u64) -> Result<u64, Errno>;
    /// Writes what system this is, a `struct new_utsname`, to the program's memory at `buffer`.
    fn system_name(&mut self, buffer: VirtAddr) -> Result<(), Errno>;
    /// Moves the end of the heap; returns where it is then.
    fn set_break(&mut self, end: VirtAddr) -> VirtAddr;
    /// Adds `bytes` of zeros to the program's memory; returns where.
    fn map(&mut self, bytes: u64, rights: Rights) -> Result<VirtAddr, Errno>;
    /// Takes `bytes` at `start` away.
    fn unmap(&mut self, start: VirtAddr, bytes: u64) -> Result<(), Errno>;
}

/// How a call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The program goes on, with this in x0.
    Return(u64),
    /// The program ends with this code.
    Exit(u8),
}

const WRITE: u64 = 64;
const EXIT: u64 = 93;
const EXIT_GROUP: u64 = 94;
const UNAME: u64 = 160;
const BRK: u64 = 214;
const MUNMAP: u64 = 215;
const MMAP: u64 = 222;

const PROT_READ: u64 = 1;
const PROT_WRITE: u64 = 2;
const MAP_PRIVATE: u64 = 0x02;
const MAP_FIXED: u64 = 0x10;
const MAP_ANONYMOUS: u64 = 0x20;

/// Carries out the call `number`.
pub fn dispatch(services: &mut impl Services, number: u64, arguments: [u64; 6]) -> Action {
    let [first, second, third, fourth, ..] = arguments;
    let result = match number {
        WRITE => match first {
            1 | 2 => services.write(VirtAddr::new(second), third),
            _ => Err(Errno::BadFile),
        },
        EXIT | EXIT_GROUP => return Action::Exit(first.to_le_bytes()[0]),
        UNAME => services.system_name(VirtAddr::new(first)).map(|()| 0),
        BRK => Ok(services.set_break(VirtAddr::new(first)).get()),
        MMAP => map(services, second, third, fourth),
        MUNMAP => services.unmap(VirtAddr::new(first), second).map(|()| 0),
        _ => Err(Errno::NoCall),
    };
    Action::Return(result.unwrap_or_else(|errno| (errno as u64).wrapping_neg()))
}

/// Bytes of one field of a `struct new_utsname`.
const NAME_FIELD: usize = 65;
/// Bytes of a `struct new_utsname`: six fields, each a string filled up with zeros.
pub const UTSNAME_BYTES: usize = 6 * NAME_FIELD;

/// What `uname` answers: system, node, release, version, machine, domain.
pub fn utsname() -> [u8; UTSNAME_BYTES] {
    let mut name = [0; UTSNAME_BYTES];
    let fields = ["Tessera", "", env!("CARGO_PKG_VERSION"), "", "aarch64", ""];
    for (field, text) in name.chunks_exact_mut(NAME_FIELD).zip(fields) {
        field[..text.len()].copy_from_slice(text.as_bytes());
    }
    name
}

/// Private anonymous memory at an address of the kernel's choice: the address given is a hint, and not
/// taken.
fn map(services: &mut impl Services, bytes: u64, prot: u64, flags: u64) -> Result<u64, Errno> {
    let kind = flags & (MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS);
    if bytes == 0 || kind != MAP_PRIVATE | MAP_ANONYMOUS {
        return Err(Errno::Invalid);
    }
    let rights = match prot {
        PROT_READ => Rights::Read,
        prot if prot & !PROT_READ == PROT_WRITE => Rights::ReadWrite,
        _ => return Err(Errno::Invalid),
    };
    services.map(bytes, rights).map(VirtAddr::get)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[derive(Debug, PartialEq, Eq)]
    enum Call {
        Write(u64, u64),
        Name(u64),
        Break(u64),
        Map(u64, Rights),
        Unmap(u64, u64),
    }

    #[derive(Default)]
    struct Recorder(Vec<Call>);

    impl Services for Recorder {
        fn write(&mut self, buffer: VirtAddr, bytes: u64) -> Result<u64, Errno> {
            self.0.push(Call::Write(buffer.get(), bytes));
            if buffer.get() == 0 {
                Err(Errno::Fault)
            } else {
                Ok(bytes)
            }
        }
        fn system_name(&mut self, buffer: VirtAddr) -> Result<(), Errno> {
            self.0.push(Call::Name(buffer.get()));
            Ok(())
        }
        fn set_break(&mut self, end: VirtAddr) -> VirtAddr {
            self.0.push(Call::Break(end.get()));
            end
        }
        fn map(&mut self, bytes: u64, rights: Rights) -> Result<VirtAddr, Errno> {
            self.0.push(Call::Map(bytes, rights));
            Ok(VirtAddr::new(0x7000))
        }
        fn unmap(&mut self, start: VirtAddr, bytes: u64) -> Result<(), Errno> {
            self.0.push(Call::Unmap(start.get(), bytes));
            Ok(())
        }
    }

    fn call(number: u64, arguments: [u64; 6]) -> (Action, Vec<Call>) {
        let mut recorder = Recorder::default();
        (dispatch(&mut recorder, number, arguments), recorder.0)
    }

    const fn error(errno: u64) -> Action {
        Action::Return(errno.wrapping_neg())
    }

    #[test]
    fn calls_reach_the_service_that_their_number_names() {
        let (action, calls) = call(64, [1, 0x1000, 5, 0, 0, 0]);
        assert_eq!(
            (action, calls),
            (Action::Return(5), Vec::from([Call::Write(0x1000, 5)]))
        );
        let (action, calls) = call(214, [0x9000, 0, 0, 0, 0, 0]);
        assert_eq!(
            (action, calls),
            (Action::Return(0x9000), Vec::from([Call::Break(0x9000)]))
        );
        let (_, calls) = call(215, [0x1000, 0x2000, 0, 0, 0, 0]);
        assert_eq!(calls, [Call::Unmap(0x1000, 0x2000)]);
        let (action, calls) = call(160, [0x3000, 0, 0, 0, 0, 0]);
        assert_eq!(
            (action, calls),
            (Action::Return(0), Vec::from([Call::Name(0x3000)]))
        );
        assert_eq!(call(93, [0x12a, 0, 0, 0, 0, 0]).0, Action::Exit(0x2a));
        assert_eq!(call(94, [7, 0, 0, 0, 0, 0]).0, Action::Exit(7));
    }

    #[test]
    fn errors_come_back_as_negative_numbers() {
        assert_eq!(call(64, [1, 0, 5, 0, 0, 0]).0, error(14));
        assert_eq!(call(64, [3, 0x1000, 5, 0, 0, 0]).0, error(9));
        assert_eq!(call(9999, [0; 6]).0, error(38));
    }

    #[test]
    fn the_system_is_named_as_linux_programs_expect_it() {
        let name = utsname();
        assert_eq!(name.len(), 390);
        assert!(name.starts_with(b"Tessera\0"));
        assert!(name[4 * 65..].starts_with(b"aarch64\0"));
    }

    #[test]
    fn memory_is_never_writable_and_executable() {
        let map = |prot| call(222, [0, 4096, prot, 0x22, u64::MAX, 0]);
        assert_eq!(map(3).1, [Call::Map(4096, Rights::ReadWrite)]);
        assert_eq!(map(1).1, [Call::Map(4096, Rights::Read)]);
        for prot in [0, 4, 5, 6, 7] {
            assert_eq!(map(prot), (error(22), Vec::new()), "{prot}");
        }
        assert_eq!(call(222, [0, 4096, 3, 0x32, 0, 0]).0, error(22));
        assert_eq!(call(222, [0, 4096, 3, 0x21, 0, 0]).0, error(22));
        assert_eq!(call(222, [0, 0, 3, 0x22, 0, 0]).0, error(22));
    }
}
