//! Who called, from the frame records that code built with frame pointers keeps.
//!
//! Images keep none but those that note who allocates (`call-sites`): collections hide their callers from
//! `#[track_caller]`.

use super::stack;
use crate::mm::addr::VirtAddr;
use core::arch::asm;
use wire::report::CALLERS;

/// Where this is inlined, and the return addresses of the calls under way, innermost first; 0 where there
/// are no more (AAPCS64, "The Frame Pointer").
#[inline(always)]
pub fn callers() -> [u64; CALLERS] {
    let (mut frame, sp, here): (u64, u64, u64);
    // SAFETY: reads registers.
    unsafe {
        asm!("mov {}, x29", "mov {}, sp", "adr {}, . + 4",
             out(reg) frame, out(reg) sp, out(reg) here, options(nomem, nostack, preserves_flags));
    }
    let mut callers = [0; CALLERS];
    callers[0] = here;
    for caller in &mut callers[1..] {
        // Code without frame records may have used x29 for something else.
        if !frame.is_multiple_of(8) || frame < sp || frame + 16 > stack::end(sp) {
            break;
        }
        let record = VirtAddr::new(frame).as_mut_ptr::<[u64; 2]>();
        // SAFETY: within the part of the stack that is in use.
        let [next, address] = unsafe { record.read() };
        *caller = address;
        if next <= frame {
            break;
        }
        frame = next;
    }
    callers
}
