//! A board's description, read from its flattened device tree.
//!
//! The blob comes from outside and is trusted in nothing: all of its structure is checked before the
//! first node is looked at, and what is missing or does not fit is an error that says so.
//! Addresses go through the `ranges` of every bus above them (Devicetree Specification 0.4, 2.3.8),
//! and none that is handed on lies past [`ADDRESS_END`].
//!
//! [`Board`] is some KiB, and is read on a small stack: each list is filled where it stands, and the
//! whole is put together once, in the caller's place for it.

mod blob;
mod bus;
mod devices;
mod memory;
mod property;
#[cfg(test)]
mod tests;

use crate::board::{Board, Cpu, CpuStart, MAX_CPUS};
use arrayvec::ArrayVec;
use bus::Bus;
use core::fmt;
use devices::{Devices, uart};
use dtoolkit::{
    Node,
    error::{FdtParseError, PropertyError},
    fdt::FdtNode,
};
use property::{is_enabled, number, strings, text};

/// First word of a blob, as it stands in memory on a little-endian machine.
pub const MAGIC_LITTLE_ENDIAN: u32 = 0xd00d_feed_u32.swap_bytes();
/// Largest blob that is looked at, in bytes. Linux's own limit is 2 MiB.
pub const MAX_BYTES: usize = 0x18_0000;
/// End of the largest physical address space: 52 bits (Arm ARM D8.1.8, with FEAT_LPA).
pub const ADDRESS_END: u64 = 1 << 52;
/// Nodes nested deeper than this are not looked at.
const MAX_DEPTH: usize = 8;

/// Why a device tree does not describe a board we can run on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceTreeError {
    /// The blob is malformed.
    Malformed(FdtParseError),
    /// A property of this node has a value of the wrong shape.
    Property {
        /// The node's name.
        node: FixedName,
        /// What is wrong.
        error: PropertyError,
    },
    /// No node of this kind, or none that is usable.
    Missing(&'static str),
    /// More of these than [`Board`] has room for.
    TooMany(&'static str),
}

/// A node's name, copied and cut to 31 bytes, so that an error borrows nothing.
pub type FixedName = arrayvec::ArrayString<31>;

impl fmt::Display for DeviceTreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "malformed: {error}"),
            Self::Property { node, error } => write!(f, "node {node}: {error}"),
            Self::Missing(what) => write!(f, "no {what}"),
            Self::TooMany(what) => write!(f, "too many {what}"),
        }
    }
}

impl core::error::Error for DeviceTreeError {}

impl From<FdtParseError> for DeviceTreeError {
    fn from(error: FdtParseError) -> Self {
        Self::Malformed(error)
    }
}

/// The length in bytes that a blob's header claims, if `header` begins one.
///
/// # Errors
///
/// `Malformed` cannot be told yet; `TooMany("bytes")` if it claims more than [`MAX_BYTES`].
pub fn length(header: [u8; 8]) -> Result<Option<usize>, DeviceTreeError> {
    let [m0, m1, m2, m3, l0, l1, l2, l3] = header;
    if u32::from_le_bytes([m0, m1, m2, m3]) != MAGIC_LITTLE_ENDIAN {
        return Ok(None);
    }
    let length = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
    if length > MAX_BYTES {
        Err(DeviceTreeError::TooMany("bytes"))
    } else {
        Ok(Some(length))
    }
}

/// Reads the board that `blob` describes. Bytes behind the length that its header claims are let be:
/// a file may be padded.
///
/// # Errors
///
/// See [`DeviceTreeError`].
#[inline(never)]
pub fn board(blob: &[u8]) -> Result<Board<'_>, DeviceTreeError> {
    let tree = blob::open(blob)?;
    let root = tree.root();
    let mut memory = ArrayVec::new();
    memory::banks(root, &mut memory)?;
    let mut reserved = ArrayVec::new();
    memory::reservations(tree, &mut reserved)?;
    let mut cpus = ArrayVec::new();
    list_cpus(root, &mut cpus)?;
    let mut found = Devices::default();
    found.visit_all(root, &memory)?;

    let chosen = root.child("chosen");
    let console = chosen
        .and_then(|node| text(node, "stdout-path"))
        .and_then(|path| console(root, path));
    let missing = DeviceTreeError::Missing;
    Ok(Board {
        model: text(root, "model")
            .or_else(|| text(root, "compatible"))
            .unwrap_or("unnamed board"),
        memory,
        reserved,
        uart: console.or(found.uart).ok_or(missing("PL011 UART"))?,
        gic: found.gic.ok_or(missing("GICv2 or GICv3"))?,
        timer_interrupt: found.timer.ok_or(missing("virtual timer interrupt"))?,
        cpus,
        psci: found.psci,
        watchdog: found.watchdog,
        dma_reach: found.dma_reach,
        dma_engine: found.dma_engine,
        bootargs: chosen.and_then(|node| text(node, "bootargs")).unwrap_or(""),
        virtio: found.virtio,
    })
}

/// The PL011 that `stdout-path` (a path or an alias, then options after a colon) names, if it names
/// one. Firmware for the Pi often names the mini-UART, which we do not drive.
fn console(root: FdtNode<'_>, stdout_path: &str) -> Option<u64> {
    let path = stdout_path.split(':').next()?;
    let path = if path.starts_with('/') {
        path
    } else {
        text(root.child("aliases")?, path)?
    };
    let bus = Bus {
        node: root,
        parent: None,
    };
    uart_at(&bus, path.strip_prefix('/')?, 0)
}

/// The enabled PL011 at `path`, counted from the node of `bus` on.
fn uart_at(bus: &Bus<'_, '_>, path: &str, depth: usize) -> Option<u64> {
    let (name, rest) = path.split_once('/').unwrap_or((path, ""));
    let node = bus.node.child(name).filter(|&node| is_enabled(node))?;
    if rest.is_empty() {
        return strings(node, "compatible")
            .any(|name| name == "arm,pl011")
            .then(|| uart(node, bus))?;
    }
    let inner = Bus {
        node,
        parent: Some(bus),
    };
    (depth < MAX_DEPTH).then(|| uart_at(&inner, rest, depth + 1))?
}

/// Lists the cores, but for those that failed: a `disabled` one is merely not running yet
/// (Devicetree Specification 0.4, 3.8.1).
#[inline(never)]
fn list_cpus(root: FdtNode<'_>, list: &mut ArrayVec<Cpu, MAX_CPUS>) -> Result<(), DeviceTreeError> {
    let Some(parent) = root.child("cpus") else {
        return Ok(());
    };
    for node in parent
        .children()
        .filter(|node| node.name_without_address() == "cpu")
    {
        if text(node, "status").is_some_and(|status| status.starts_with("fail")) {
            continue;
        }
        if let Some(mpidr) = affinity(node) {
            push(
                list,
                Cpu {
                    mpidr,
                    start: cpu_start(node),
                },
                "cores",
            )?;
        }
    }
    Ok(())
}

/// The affinity fields of `MPIDR_EL1`: one cell holds Aff2 to Aff0, of two the first is Aff3, in the
/// register's bits 39 to 32 (Linux `bindings/arm/cpus.yaml`; Arm ARM D24.2.120).
fn affinity(cpu: FdtNode<'_>) -> Option<u64> {
    const FIELDS: u64 = 0xff_00ff_ffff;
    number(cpu, "reg").filter(|affinity| affinity & !FIELDS == 0)
}

fn cpu_start(cpu: FdtNode<'_>) -> CpuStart {
    match text(cpu, "enable-method") {
        Some("psci") => CpuStart::Psci,
        Some("spin-table") => number(cpu, "cpu-release-addr")
            .filter(|release| release % 8 == 0 && *release < ADDRESS_END)
            .map_or(CpuStart::Unknown, CpuStart::SpinTable),
        _ => CpuStart::Unknown,
    }
}

fn push<T, const N: usize>(
    list: &mut ArrayVec<T, N>,
    item: T,
    what: &'static str,
) -> Result<(), DeviceTreeError> {
    list.try_push(item)
        .map_err(|_| DeviceTreeError::TooMany(what))
}
