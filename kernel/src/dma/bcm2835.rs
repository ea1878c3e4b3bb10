//! The DMA engine of the BCM2835 and its successors: memory to memory, by bus addresses.
//!
//! Register and control block layout: BCM2711 ARM Peripherals, chapter 4. Of the legacy channels, 0 to 6
//! are full ones; firmware keeps some for itself and says through the mailbox which are free (2 to 5 on a
//! Raspberry Pi 4).
#![allow(unsafe_code, reason = "reaches registers by address")]

use super::{
    buffer::{Buffer, Cpu, Direction, DmaError, Lent},
    device::Device,
};
use crate::{
    arch::{barrier, cpu},
    mm::addr::{PAGE_BYTES, PhysAddr, VirtAddr},
    vm::ioremap::{self, IoremapError},
};
use core::{error, fmt};
use tock_registers::{
    LocalRegisterCopy,
    interfaces::{Readable, Writeable},
    register_bitfields, register_structs,
    registers::{ReadOnly, ReadWrite},
};

/// The engine on a Raspberry Pi 4: it reaches the first GiB, at bus addresses from 0xc000_0000 on, past
/// every cache (`dma-ranges` of the node `soc`).
pub const DEVICE: Device = Device {
    name: "bcm2835-dma",
    mask: 0xffff_ffff,
    bus_offset: 0xc000_0000,
    coherent: false,
};

/// Longest copy in bytes.
pub const COPY_BYTES_MAX: u32 = 64 << 10;
/// Status reads before a copy has failed: a second and more, at the 100 ns that a register read takes at
/// the least. 64 KiB take well under a millisecond.
const POLLS: u32 = 10_000_000;
/// Status reads in which writes on their way arrive; a peripheral that is stuck never takes them.
const DRAIN_POLLS: u32 = 10_000;
/// Error bits of the debug register: read-last not set, FIFO, read response.
const DEBUG_ERRORS: u32 = 0b111;
/// Full channels of one register page.
const CHANNELS: u32 = 7;

register_bitfields! {
    u32,
    Status [
        ACTIVE OFFSET(0) NUMBITS(1) [],
        END OFFSET(1) NUMBITS(1) [],
        INT OFFSET(2) NUMBITS(1) [],
        WAITING_FOR_OUTSTANDING_WRITES OFFSET(6) NUMBITS(1) [],
        ERROR OFFSET(8) NUMBITS(1) [],
        WAIT_FOR_OUTSTANDING_WRITES OFFSET(28) NUMBITS(1) [],
        RESET OFFSET(31) NUMBITS(1) []
    ],
    Transfer [
        WAIT_RESP OFFSET(3) NUMBITS(1) [],
        DEST_INC OFFSET(4) NUMBITS(1) [],
        SRC_INC OFFSET(8) NUMBITS(1) []
    ]
}

register_structs! {
    /// One channel's registers.
    Channel {
        (0x00 => cs: ReadWrite<u32, Status::Register>),
        (0x04 => conblk_ad: ReadWrite<u32>),
        (0x08 => _block: [ReadOnly<u32>; 6]),
        (0x20 => debug: ReadWrite<u32>),
        (0x24 => _unused),
        (0x100 => @END),
    },
    /// The page of all legacy channels.
    Registers {
        (0x000 => channels: [Channel; 15]),
        (0xf00 => _unused),
        (0xff0 => enable: ReadWrite<u32>),
        (0xff4 => _unused_end),
        (0x1000 => @END),
    }
}

type Register = LocalRegisterCopy<u32, Status::Register>;

/// Why nothing, or not everything, was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyError {
    /// No such full channel.
    Channel(u32),
    /// The registers could not be mapped.
    Registers(IoremapError),
    /// No buffer for the control block.
    ControlBlock(DmaError),
    /// More bytes than one of the buffers or [`COPY_BYTES_MAX`] has.
    TooLong(u32),
    /// A buffer was made for another device.
    WrongDevice(&'static str),
    /// A buffer was lent the wrong way round.
    Direction,
    /// The engine never finished; its status register. The channel was reset.
    Timeout(u32),
    /// The engine met an error; its debug register's low bits: 1 the AXI's read-last was not set, 2 the
    /// FIFO, 4 a slave's read response.
    Engine(u32),
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(number) => write!(f, "DMA channel {number} is not a full one"),
            Self::Registers(error) => write!(f, "DMA registers: {error}"),
            Self::ControlBlock(error) => write!(f, "DMA control block: {error}"),
            Self::TooLong(bytes) => write!(f, "a DMA copy of {bytes} bytes is too long"),
            Self::WrongDevice(name) => write!(f, "a DMA buffer for {name}"),
            Self::Direction => write!(f, "a DMA buffer was lent the wrong way round"),
            Self::Timeout(status) => write!(f, "DMA copy never finished, CS {status:#x}"),
            Self::Engine(debug) => {
                write!(f, "DMA engine error:")?;
                let names = ["read-last not set", "FIFO", "read response"];
                names
                    .iter()
                    .enumerate()
                    .filter(|(bit, _)| debug & 1 << bit != 0)
                    .try_for_each(|(_, name)| write!(f, " {name}"))
            }
        }
    }
}

impl error::Error for CopyError {}

/// One channel of the engine.
#[derive(Debug)]
pub struct Engine {
    registers: &'static Registers,
    number: usize,
    block: Option<Buffer<Cpu>>,
}

impl fmt::Debug for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registers")
    }
}

impl Engine {
    /// Takes channel `number`, 0 to 6, of the engine whose registers are at `base`.
    ///
    /// # Safety
    ///
    /// A BCM2835 DMA engine is at `base`, and nobody else, firmware included, uses the channel.
    pub unsafe fn new(base: PhysAddr, number: u32) -> Result<Self, CopyError> {
        if number >= CHANNELS {
            return Err(CopyError::Channel(number));
        }
        let block = super::alloc(&DEVICE, u64::from(CONTROL_BLOCK_BYTES));
        let block = block.map_err(CopyError::ControlBlock)?;
        let address = ioremap::ioremap(base, PAGE_BYTES).map_err(CopyError::Registers)?;
        // SAFETY: just mapped as device memory, and unmapped when this is dropped; the caller says what
        // is there.
        let registers = unsafe { &*address.as_mut_ptr::<Registers>() };
        registers.enable.set(registers.enable.get() | 1 << number);
        Ok(Self {
            registers,
            number: number as usize,
            block: Some(block),
        })
    }

    /// Copies the first `bytes` of one buffer to the other, and waits until they are there.
    pub fn copy(
        &mut self,
        source: &Buffer<Lent>,
        destination: &mut Buffer<Lent>,
        bytes: u32,
    ) -> Result<(), CopyError> {
        let longest = source
            .bytes()
            .min(destination.bytes())
            .min(u64::from(COPY_BYTES_MAX));
        if u64::from(bytes) > longest {
            return Err(CopyError::TooLong(bytes));
        }
        if source.direction() == Direction::FromDevice
            || destination.direction() == Direction::ToDevice
        {
            return Err(CopyError::Direction);
        }
        for buffer in [source, &*destination] {
            if *buffer.device() != DEVICE {
                return Err(CopyError::WrongDevice(buffer.device().name));
            }
        }
        if bytes == 0 {
            return Ok(());
        }
        let mut block = match self.block.take() {
            Some(block) => block,
            None => super::alloc(&DEVICE, u64::from(CONTROL_BLOCK_BYTES))
                .map_err(CopyError::ControlBlock)?,
        };
        write_control_block(&mut block, low(source), low(destination), bytes);
        let block = block.give(Direction::ToDevice);
        let result = self.run(low(&block));
        // The channel is idle, finished or reset, so the block is ours again.
        self.block = Some(block.take());
        result
    }

    fn run(&self, block: u32) -> Result<(), CopyError> {
        let channel = &self.registers.channels[self.number];
        self.reset();
        channel.conblk_ad.set(block);
        barrier::dsb_sy();
        // END and INT are cleared by writing 1.
        let clear = Status::END::SET + Status::INT::SET;
        channel
            .cs
            .write(clear + Status::WAIT_FOR_OUTSTANDING_WRITES::SET + Status::ACTIVE::SET);
        let is_over = |status: Register| {
            let finished = status.is_set(Status::END) && !status.is_set(Status::ACTIVE);
            finished || status.is_set(Status::ERROR)
        };
        let mut status = channel.cs.extract();
        for _ in 0..POLLS {
            if is_over(status) {
                break;
            }
            cpu::yield_now();
            status = channel.cs.extract();
        }
        let debug = channel.debug.get() & DEBUG_ERRORS;
        if status.is_set(Status::ERROR) || debug != 0 {
            self.reset();
            return Err(CopyError::Engine(debug));
        }
        if !is_over(status) {
            self.reset();
            return Err(CopyError::Timeout(status.get()));
        }
        channel.cs.write(clear);
        Ok(())
    }

    /// Stops the channel for good and forgets its errors (cleared by writing 1). It is paused first: a
    /// reset would forget the writes that are on their way, and they could arrive in a freed buffer.
    fn reset(&self) {
        let channel = &self.registers.channels[self.number];
        channel.cs.set(0);
        let draining = |_: &u32| channel.cs.is_set(Status::WAITING_FOR_OUTSTANDING_WRITES);
        (0..DRAIN_POLLS).take_while(draining).for_each(drop);
        channel.cs.write(Status::RESET::SET);
        // Only those that stand: QEMU's register keeps whatever is written.
        let errors = channel.debug.get() & DEBUG_ERRORS;
        if errors != 0 {
            channel.debug.set(errors);
        }
        barrier::dsb_sy();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        ioremap::iounmap(VirtAddr::from_ptr(self.registers));
    }
}

/// A control block: transfer information, source, destination, length, stride, next, two reserved; 32-bit
/// little-endian words, 32-byte aligned.
const CONTROL_BLOCK_BYTES: u32 = 32;

fn write_control_block(block: &mut Buffer<Cpu>, source: u32, destination: u32, bytes: u32) {
    let transfer = Transfer::WAIT_RESP::SET + Transfer::DEST_INC::SET + Transfer::SRC_INC::SET;
    let words = [transfer.value, source, destination, bytes, 0, 0, 0, 0];
    for (place, word) in block.as_mut_slice().chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
}

/// The bus address, which [`DEVICE`]'s mask keeps to 32 bits for every buffer made for it.
fn low(buffer: &Buffer<Lent>) -> u32 {
    match u32::try_from(buffer.bus_address().get()) {
        Ok(address) => address,
        Err(_) => panic!("a buffer of {} for a 32-bit engine", buffer.device().name),
    }
}
