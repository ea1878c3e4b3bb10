//! What a copy to or from a program's memory may touch.

use crate::{
    mm::addr::{PAGE_BYTES, VirtAddr},
    vm::layout,
};
use core::{error, fmt};

/// The program may not use the address so, or none runs. What was copied before it stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The first address that could not be copied.
    pub address: VirtAddr,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad user address {:#x}", self.address)
    }
}

impl error::Error for Fault {}

/// Refuses what reaches past the user region, before any address of it is used.
pub fn check(start: VirtAddr, bytes: usize) -> Result<(), Fault> {
    let end = start.get().checked_add(bytes as u64);
    let is_user = end.is_some_and(|end| end <= layout::USER.end.get());
    if is_user {
        Ok(())
    } else {
        Err(Fault { address: start })
    }
}

/// Fetches a string that ends in a zero byte, page by page by `read`, and returns its length without that;
/// `None` if none of the first `destination.len()` bytes is zero. Nothing behind the page in which the
/// string ends is read.
pub fn string_by(
    destination: &mut [u8],
    source: VirtAddr,
    mut read: impl FnMut(&mut [u8], VirtAddr) -> Result<(), Fault>,
) -> Result<Option<usize>, Fault> {
    let mut done = 0;
    while done < destination.len() {
        let at = source.offset(done as u64);
        let in_page = PAGE_BYTES - at.get() % PAGE_BYTES;
        let left = destination.len() - done;
        let part = usize::try_from(in_page).map_or(left, |in_page| left.min(in_page));
        let part = &mut destination[done..done + part];
        read(part, at)?;
        if let Some(length) = part.iter().position(|&byte| byte == 0) {
            return Ok(Some(done + length));
        }
        done += part.len();
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_user_addresses_pass() {
        let fault = |address| {
            Err(Fault {
                address: VirtAddr::new(address),
            })
        };
        let check = |address, bytes| check(VirtAddr::new(address), bytes);
        assert_eq!(check(0x1000, 0x1000), Ok(()));
        assert_eq!(check((1 << 48) - 8, 8), Ok(()));
        assert_eq!(check((1 << 48) - 8, 9), fault((1 << 48) - 8));
        assert_eq!(
            check(0xffff_0000_0000_0000, 1),
            fault(0xffff_0000_0000_0000)
        );
        assert_eq!(check(u64::MAX, 1), fault(u64::MAX));
        assert_eq!(check(0x1000, usize::MAX), fault(0x1000));
    }

    #[test]
    fn a_string_is_fetched_no_further_than_the_page_it_ends_in() {
        // Bytes of the pages at 0x1000 and 0x2000; the next faults. The zero is at 0x2004.
        let read = |part: &mut [u8], at: VirtAddr| {
            for (address, byte) in (at.get()..).zip(part) {
                if address >= 0x3000 {
                    return Err(Fault {
                        address: VirtAddr::new(address),
                    });
                }
                *byte = u8::from(address != 0x2004);
            }
            Ok(())
        };
        let mut buffer = [0; 0x4000];
        let start = |address| VirtAddr::new(address);
        assert_eq!(string_by(&mut buffer, start(0x1ffe), read), Ok(Some(6)));
        assert_eq!(string_by(&mut buffer, start(0x2004), read), Ok(Some(0)));
        assert_eq!(string_by(&mut buffer[..6], start(0x1ffe), read), Ok(None));
        assert_eq!(
            string_by(&mut buffer[..7], start(0x1ffe), read),
            Ok(Some(6))
        );
        let fault = Fault {
            address: start(0x3000),
        };
        assert_eq!(string_by(&mut buffer, start(0x2005), read), Err(fault));
    }
}
