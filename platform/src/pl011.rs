//! Arm PrimeCell UART (PL011), sending only. Registers: Arm DDI 0183G, chapter 3.
#![allow(
    unsafe_code,
    reason = "turns the address of a register block into a reference, once"
)]

use core::ptr::NonNull;
use tock_registers::{
    interfaces::{Readable, Writeable},
    register_bitfields, register_structs,
    registers::{ReadOnly, ReadWrite, WriteOnly},
};

register_bitfields! {
    u32,
    FR [
        /// Transmit FIFO full.
        TXFF OFFSET(5) NUMBITS(1) [],
        /// Still sending.
        BUSY OFFSET(3) NUMBITS(1) [],
    ],
    CR [
        RXE OFFSET(9) NUMBITS(1) [],
        TXE OFFSET(8) NUMBITS(1) [],
        UARTEN OFFSET(0) NUMBITS(1) [],
    ],
}

register_structs! {
    Registers {
        (0x00 => dr: WriteOnly<u32>),
        (0x04 => _reserved0),
        (0x18 => fr: ReadOnly<u32, FR::Register>),
        (0x1c => _reserved1),
        (0x30 => cr: ReadWrite<u32, CR::Register>),
        (0x34 => _reserved2),
        (0x38 => imsc: ReadWrite<u32>),
        (0x3c => _reserved3),
        (0x40 => @END),
    }
}

/// A PL011 whose registers are mapped.
#[derive(Clone, Copy, Debug)]
pub struct Pl011(NonNull<u8>);

// SAFETY: the registers are reachable from every core, and sending from two at once mixes bytes but
// breaks nothing; whoever shares the UART orders the bytes by a lock.
unsafe impl Send for Pl011 {}
// SAFETY: as above.
unsafe impl Sync for Pl011 {}

impl Pl011 {
    /// The UART whose register block is mapped at `base`, switched on for sending, interrupts off.
    ///
    /// Baud rate and word length stay as firmware set them.
    ///
    /// # Safety
    ///
    /// `base` is the register block of a PL011, mapped as device memory for as long as the value is
    /// used.
    pub unsafe fn new(base: NonNull<u8>) -> Self {
        let uart = Self(base);
        let registers = uart.registers();
        registers.imsc.set(0);
        // No flow control; QEMU's log stays quiet only if both directions are on.
        registers
            .cr
            .write(CR::RXE::SET + CR::TXE::SET + CR::UARTEN::SET);
        uart
    }

    fn registers(&self) -> &Registers {
        // SAFETY: the maker promised a mapped PL011; the accesses are volatile and go through `&`.
        unsafe { self.0.cast::<Registers>().as_ref() }
    }

    /// Sends one byte, waiting for room in the FIFO.
    pub fn send(&self, byte: u8) {
        let registers = self.registers();
        while registers.fr.is_set(FR::TXFF) {
            core::hint::spin_loop();
        }
        registers.dr.set(u32::from(byte));
    }

    /// Waits until the last byte has left.
    pub fn flush(&self) {
        while self.registers().fr.is_set(FR::BUSY) {
            core::hint::spin_loop();
        }
    }
}
