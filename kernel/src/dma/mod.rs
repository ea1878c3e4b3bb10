//! Memory that devices read and write by themselves.
//!
//! ```text
//!  driver ── alloc ─► Buffer<Cpu> ── give(direction) ─► Buffer<Lent> ── bus address ─► device
//!                        ▲  slice                             │
//!                        └──────────────── take ──────────────┘   cache maintenance on each way
//! ```
//!
//! Buffers are contiguous pieces of one [`pool`], which boot reserves where the board's most limited
//! master reaches. A [`Device`] says what it reaches and how its bus counts; a
//! [`Buffer`] belongs to the CPU or to the device, as a type, and passing it on does the
//! cache maintenance which a device that does not snoop needs. QEMU accepts DMA without any, so a
//! recorder in the host tests pins the sequences.

#[cfg(target_os = "none")]
pub mod bcm2835;
pub mod buffer;
pub mod device;
#[cfg(target_os = "none")]
pub mod disk;
pub mod pool;
#[cfg(target_os = "none")]
pub mod virtio;

#[cfg(target_os = "none")]
mod kernel;
#[cfg(target_os = "none")]
pub use kernel::{alloc, init, statistics};

pub use buffer::{Buffer, Cpu, Direction, DmaError, Lent};
pub use device::Device;
