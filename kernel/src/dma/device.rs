//! What a device that masters the bus can reach, and at which addresses.

use crate::mm::addr::{DmaAddr, PhysAddr};
use core::{error, fmt};

/// A bus master, as the device tree describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name, for errors and reports.
    pub name: &'static str,
    /// The highest bus address that it can put out.
    pub mask: u64,
    /// What its bus adds to a physical address (`dma-ranges`), for instance 0xc000_0000 on a Raspberry
    /// Pi's peripheral bus.
    pub bus_offset: i64,
    /// Whether it sees what is in the CPU's caches (`dma-coherent`).
    pub coherent: bool,
}

/// Memory that a device cannot reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfReach {
    /// The device's name.
    pub device: &'static str,
    /// Where the memory starts.
    pub start: PhysAddr,
    /// Its size in bytes.
    pub bytes: u64,
}

impl fmt::Display for OutOfReach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            device,
            start,
            bytes,
        } = self;
        write!(f, "{device} does not reach {bytes} bytes at {start:#x}")
    }
}

impl error::Error for OutOfReach {}

impl Device {
    /// The bus address at which the device finds the `bytes` at `start`, of which it must reach all.
    pub fn bus_address(&self, start: PhysAddr, bytes: u64) -> Result<DmaAddr, OutOfReach> {
        let bus = start.get().checked_add_signed(self.bus_offset);
        let last = bus.and_then(|bus| bus.checked_add(bytes.saturating_sub(1)));
        match (bus, last) {
            (Some(bus), Some(last)) if last <= self.mask => Ok(DmaAddr::new(bus)),
            _ => Err(OutOfReach {
                device: self.name,
                start,
                bytes,
            }),
        }
    }

    /// The physical address that the device means by `bus`; `None` if it can mean nothing.
    pub fn physical_address(&self, bus: DmaAddr) -> Option<PhysAddr> {
        let offset = self.bus_offset.checked_neg()?;
        let physical = bus.get().checked_add_signed(offset)?;
        (bus.get() <= self.mask && physical < 1 << 52).then(|| PhysAddr::new(physical))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The BCM2835 DMA engine of a Raspberry Pi 4: the first GiB, at bus addresses from 3 GiB on.
    const PI: Device = Device {
        name: "dma@7e007000",
        mask: 0xffff_ffff,
        bus_offset: 0xc000_0000,
        coherent: false,
    };

    #[test]
    fn a_raspberry_pi_reaches_its_first_gigabyte_and_no_byte_more() {
        let bus = |start, bytes| PI.bus_address(PhysAddr::new(start), bytes);
        assert_eq!(bus(0x1000, 4096), Ok(DmaAddr::new(0xc000_1000)));
        assert_eq!(bus(0x3fff_f000, 4096), Ok(DmaAddr::new(0xffff_f000)));
        assert!(bus(0x3fff_f000, 4097).is_err());
        let error = bus(0x4000_0000, 1).unwrap_err();
        assert_eq!(error.start, PhysAddr::new(0x4000_0000));
    }

    #[test]
    fn a_bus_that_counts_from_higher_up_is_subtracted() {
        let device = Device {
            name: "low",
            mask: 0xffff,
            bus_offset: -0x8000_0000,
            coherent: true,
        };
        let bus = |start| device.bus_address(PhysAddr::new(start), 0x100);
        assert_eq!(bus(0x8000_1000), Ok(DmaAddr::new(0x1000)));
        assert!(bus(0x7fff_f000).is_err());
        assert!(bus(0x8000_ff80).is_err());
    }

    proptest! {
        #[test]
        fn what_is_reached_translates_back(
            start in 0u64..1 << 48,
            bytes in 1u64..1 << 22,
            mask_bits in 16u32..=64,
            bus_offset in -(1i64 << 47)..1 << 47,
        ) {
            let mask = u64::MAX >> (64 - mask_bits);
            let device = Device { name: "any", mask, bus_offset, coherent: true };
            let start = PhysAddr::new(start);
            if let Ok(bus) = device.bus_address(start, bytes) {
                prop_assert!(bus.get() + (bytes - 1) <= mask);
                prop_assert_eq!(device.physical_address(bus), Some(start));
            } else {
                let first = i128::from(start.get()) + i128::from(bus_offset);
                prop_assert!(first < 0 || first + i128::from(bytes) - 1 > i128::from(mask));
            }
        }
    }
}
