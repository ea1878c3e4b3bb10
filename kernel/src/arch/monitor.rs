//! What boot left at EL3, where the image was entered there and no firmware is below it.

use crate::mm::addr::PhysAddr;
use core::arch::asm;

/// Opens the interrupt controller to the non-secure world, that is to us: the distributor of a GICv3, or
/// with its CPU interface that of a GICv2. Only where the image was entered at EL3.
pub fn open_interrupt_controller(distributor: PhysAddr, cpu_interface: Option<PhysAddr>) {
    // SAFETY: the call ends in `boot.s`, which writes the controller's registers, no memory, and x9 to x11.
    unsafe {
        asm!(
            "smc #0",
            in("x0") distributor.get(),
            in("x1") cpu_interface.map_or(0, PhysAddr::get),
            out("x9") _,
            out("x10") _,
            out("x11") _,
            options(nostack),
        );
    }
}
