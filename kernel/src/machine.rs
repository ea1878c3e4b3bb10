//! The machine that was booted: its board, its run parameters, the files that came with the image.

use platform::Board;
use spin::Once;
use wire::{params::Params, payload::Payload};

/// What boot learned; fixed from then on.
#[derive(Debug)]
pub struct Machine {
    /// The board, from the device tree or built in.
    pub board: Board<'static>,
    /// Exception level that the boot loader entered the image at, 1 to 3.
    pub entry_el: u8,
    /// Memory that the board has, in bytes, reservations included.
    pub memory_bytes: u64,
    /// Cores that run when the app begins: all of the board's, unless `maxcpus=N` says otherwise.
    pub cpus: u32,
    /// Run parameters: the payload's, overridden by the device tree's bootargs.
    pub params: Params<'static>,
    /// What came behind the image.
    pub payload: Option<Payload<'static>>,
}

static MACHINE: Once<Machine> = Once::new();

/// Makes the machine known; once, at the end of boot.
pub(crate) fn set(machine: Machine) {
    MACHINE.call_once(|| machine);
}

/// The machine. Panics before the end of boot, when there is no app yet to ask.
pub fn machine() -> &'static Machine {
    MACHINE
        .get()
        .expect("the machine is known from the end of boot on")
}

/// The run parameters.
pub fn params() -> Params<'static> {
    machine().params
}

/// The files that came with the image, by name. A payload was checked whole at boot, so none is torn.
pub fn payload_files() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    machine().payload.iter().flat_map(Payload::files).flatten()
}
