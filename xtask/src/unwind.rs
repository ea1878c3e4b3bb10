//! The walk up a dumped stack, by the image's call-frame information.
//!
//! Images keep no frame pointers, so the only way up is DWARF's (version 5, section 6.4): for each
//! code address, where the caller's stack pointer was and where its registers lie. Registers are
//! numbered as in "DWARF for the Arm 64-bit Architecture" (x0 to x30 are 0 to 30, SP is 31).
//!
//! A dump comes from a machine that has just failed, so nothing in it is trusted: whatever leads
//! outside the image or the dumped bytes ends the walk, and a note says why.

use gimli::{
    BaseAddresses, CfaRule, DebugFrame, EhFrame, EndianSlice, LittleEndian, Register, RegisterRule,
    UnwindContext, UnwindSection,
};
use std::ops::Range;
use wire::fault::{Dump, REGISTERS};

/// DWARF's number of the stack pointer.
const SP: Register = Register(31);
/// The link register.
const LR: usize = 30;
/// Most frames that are walked; an endless recursion shows in far fewer.
const MOST_FRAMES: usize = 256;

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// What is needed of the image.
#[derive(Clone, Debug, Default)]
pub struct FrameInfo<'a> {
    /// The contents of `.debug_frame`, empty if there is none.
    pub debug_frame: &'a [u8],
    /// The contents of `.eh_frame` and its address.
    pub eh_frame: (&'a [u8], u64),
    /// Where code may lie.
    pub code: Vec<Range<u64>>,
}

/// The code addresses of a walk, innermost first, and why it ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    /// The fault's address, then return addresses.
    pub addresses: Vec<u64>,
    /// What stopped the walk, unless it reached the outermost frame.
    pub note: Option<String>,
}

/// The registers of one frame.
#[derive(Clone, Copy, Debug)]
struct Registers {
    x: [u64; REGISTERS],
    sp: u64,
    pc: u64,
}

/// How one step ended.
#[expect(clippy::large_enum_variant, reason = "one lives at a time")]
enum Step {
    /// At the caller.
    Caller(Registers),
    /// This function has no call-frame information: assembly, where a stack begins.
    Outermost,
    /// The dump or the information does not lead on.
    Stuck(String),
}

impl FrameInfo<'_> {
    /// Walks up from where `dump` was taken.
    pub fn walk(&self, dump: &Dump<'_>) -> Walk {
        let mut registers = Registers {
            x: dump.x,
            sp: dump.sp,
            pc: dump.pc,
        };
        let mut addresses = vec![dump.pc];
        let mut note = None;
        if !self.is_code(dump.pc) {
            // A call through a bad pointer has left its return address in x30 and the stack as it was.
            note = Some(format!(
                "pc {:#x} is not code; its caller is from x30",
                dump.pc
            ));
            registers.pc = dump.x[LR];
            if !self.is_code(registers.pc) {
                note = Some(format!("neither pc {:#x} nor x30 is code", dump.pc));
                return Walk { addresses, note };
            }
            addresses.push(registers.pc);
        }
        while addresses.len() < MOST_FRAMES {
            let is_return_address = addresses.len() > 1;
            match self.step(&registers, is_return_address, dump) {
                Step::Outermost => return Walk { addresses, note },
                Step::Stuck(why) => {
                    return Walk {
                        addresses,
                        note: Some(why),
                    };
                }
                Step::Caller(caller) if caller.pc == 0 => return Walk { addresses, note },
                Step::Caller(caller) if !self.is_code(caller.pc) => {
                    let why = format!("the return address {:#x} is outside the image", caller.pc);
                    return Walk {
                        addresses,
                        note: Some(why),
                    };
                }
                Step::Caller(caller) => {
                    addresses.push(caller.pc);
                    registers = caller;
                }
            }
        }
        let note = Some(format!("only the innermost {MOST_FRAMES} frames are shown"));
        Walk { addresses, note }
    }

    /// Whether code lies at `address`.
    pub fn is_code(&self, address: u64) -> bool {
        self.code.iter().any(|range| range.contains(&address))
    }

    fn step(&self, registers: &Registers, is_return_address: bool, dump: &Dump<'_>) -> Step {
        // The call is the instruction before the return address, perhaps a function's last.
        let at = registers.pc - u64::from(is_return_address);
        let mut debug_frame = DebugFrame::new(self.debug_frame, LittleEndian);
        debug_frame.set_address_size(8);
        let bases = BaseAddresses::default();
        if let Some(step) = step_by(&debug_frame, &bases, at, registers, is_return_address, dump) {
            return step;
        }
        let (eh_frame, address) = self.eh_frame;
        let bases = bases.set_eh_frame(address);
        let mut eh_frame = EhFrame::new(eh_frame, LittleEndian);
        eh_frame.set_address_size(8);
        step_by(&eh_frame, &bases, at, registers, is_return_address, dump)
            .unwrap_or(Step::Outermost)
    }
}

/// One step by `section`; `None` if it has nothing about the code at `at`.
fn step_by<'a, S: UnwindSection<Slice<'a>>>(
    section: &S,
    bases: &BaseAddresses,
    at: u64,
    registers: &Registers,
    is_return_address: bool,
    dump: &Dump<'_>,
) -> Option<Step> {
    let mut context = UnwindContext::new();
    let row = section
        .unwind_info_for_address(bases, &mut context, at, S::cie_from_offset)
        .ok()?;
    let cfa = match *row.cfa() {
        CfaRule::RegisterAndOffset { register, offset } => {
            value(registers, register)?.wrapping_add_signed(offset)
        }
        CfaRule::Expression(_) => return Some(Step::Stuck("an expression gives the frame".into())),
    };
    let mut caller = Registers {
        sp: cfa,
        ..*registers
    };
    for &(register, ref rule) in row.registers() {
        let from = match *rule {
            RegisterRule::Offset(offset) => {
                let address = cfa.wrapping_add_signed(offset);
                let Some(word) = stack_word(dump, address) else {
                    let why = format!("the dump of the stack has no word at {address:#x}");
                    return Some(Step::Stuck(why));
                };
                Some(word)
            }
            RegisterRule::ValOffset(offset) => Some(cfa.wrapping_add_signed(offset)),
            RegisterRule::Register(other) => value(registers, other),
            RegisterRule::Undefined if usize::from(register.0) == LR => Some(0),
            _ => None,
        };
        if let (Some(from), Some(slot)) = (from, caller.x.get_mut(usize::from(register.0))) {
            *slot = from;
        }
    }
    caller.pc = caller.x[LR];
    // Only a function that has made no frame yet leaves both as they were, and it called nobody.
    let stands_still = caller.sp == registers.sp && caller.pc == registers.pc;
    if caller.sp < registers.sp || (is_return_address && stands_still) {
        let why = format!("the frame at {:#x} does not lead outward", registers.sp);
        return Some(Step::Stuck(why));
    }
    Some(Step::Caller(caller))
}

fn value(registers: &Registers, register: Register) -> Option<u64> {
    match register {
        SP => Some(registers.sp),
        Register(number) => registers.x.get(usize::from(number)).copied(),
    }
}

fn stack_word(dump: &Dump<'_>, address: u64) -> Option<u64> {
    let offset = usize::try_from(address.checked_sub(dump.stack_start)?).ok()?;
    let bytes = dump.stack.get(offset..offset.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gimli::write::{
        Address, CallFrameInstruction, CommonInformationEntry, EndianVec, FrameDescriptionEntry,
        FrameTable,
    };
    use gimli::{Encoding, Format};

    const X29: Register = Register(29);
    const X30: Register = Register(30);
    /// A leaf that keeps its return address in x30; called by [`MIDDLE`].
    const LEAF: u64 = 0x1000;
    /// A function with a frame of 32 bytes; called by [`OUTER`].
    const MIDDLE: u64 = 0x2000;
    /// A function with a frame of 16 bytes; called by assembly at [`START`].
    const OUTER: u64 = 0x3000;
    const START: u64 = 0x4000;
    const STACK: u64 = 0xFFFF_0000;

    fn function(start: u64, frame: i32) -> FrameDescriptionEntry {
        let mut entry = FrameDescriptionEntry::new(Address::Constant(start), 0x100);
        if frame > 0 {
            // After the first instruction the frame is made and x29 and x30 are saved at its bottom.
            entry.add_instruction(4, CallFrameInstruction::CfaOffset(frame));
            entry.add_instruction(4, CallFrameInstruction::Offset(X29, -frame));
            entry.add_instruction(4, CallFrameInstruction::Offset(X30, 8 - frame));
        }
        entry
    }

    fn table(version: u16) -> FrameTable {
        let encoding = Encoding {
            address_size: 8,
            format: Format::Dwarf32,
            version,
        };
        let mut cie = CommonInformationEntry::new(encoding, 4, -8, X30);
        cie.add_instruction(CallFrameInstruction::Cfa(SP, 0));
        let mut table = FrameTable::default();
        let cie = table.add_cie(cie);
        for (start, frame) in [(LEAF, 0), (MIDDLE, 32), (OUTER, 16)] {
            table.add_fde(cie, function(start, frame));
        }
        table
    }

    fn debug_frame() -> Vec<u8> {
        let mut section = gimli::write::DebugFrame::from(EndianVec::new(LittleEndian));
        table(4).write_debug_frame(&mut section).unwrap();
        section.slice().to_vec()
    }

    fn info(debug_frame: &[u8]) -> FrameInfo<'_> {
        FrameInfo {
            debug_frame,
            eh_frame: (&[], 0),
            code: std::iter::once(LEAF..0x5000).collect(),
        }
    }

    /// The stack while the leaf runs: [`MIDDLE`]'s frame, then [`OUTER`]'s.
    fn stack() -> Vec<u8> {
        let middle = [STACK + 32, OUTER + 0x20, 0, 0];
        let outer = [0, START + 0x20];
        [&middle[..], &outer]
            .concat()
            .into_iter()
            .flat_map(u64::to_le_bytes)
            .collect()
    }

    fn dump(pc: u64, stack: &[u8]) -> Dump<'_> {
        let mut x = [0; REGISTERS];
        x[LR] = MIDDLE + 0x20;
        Dump {
            pc,
            sp: STACK,
            x,
            stack_start: STACK,
            stack,
        }
    }

    const WHOLE: [u64; 4] = [LEAF + 0x10, MIDDLE + 0x20, OUTER + 0x20, START + 0x20];

    #[test]
    fn the_walk_ends_where_assembly_began_the_stack() {
        let (frames, stack) = (debug_frame(), stack());
        let walk = info(&frames).walk(&dump(LEAF + 0x10, &stack));
        assert_eq!(
            walk,
            Walk {
                addresses: WHOLE.to_vec(),
                note: None
            }
        );
    }

    #[test]
    fn eh_frame_serves_where_debug_frame_is_missing() {
        let mut section = gimli::write::EhFrame::from(EndianVec::new(LittleEndian));
        table(1).write_eh_frame(&mut section).unwrap();
        let stack = stack();
        let info = FrameInfo {
            eh_frame: (section.slice(), 0x8000),
            ..info(&[])
        };
        assert_eq!(info.walk(&dump(LEAF + 0x10, &stack)).addresses, WHOLE);
    }

    #[test]
    fn a_call_through_a_bad_pointer_is_told_with_its_caller() {
        let (frames, stack) = (debug_frame(), stack());
        let walk = info(&frames).walk(&dump(0, &stack));
        assert_eq!(walk.addresses, [&[0], &WHOLE[1..]].concat());
        assert!(walk.note.unwrap().contains("pc 0x0 is not code"));
        let mut lost = dump(0, &stack);
        lost.x[LR] = 0xBAD;
        assert_eq!(info(&frames).walk(&lost).addresses, [0]);
    }

    #[test]
    fn a_short_or_corrupt_stack_stops_the_walk_with_a_note() {
        let (frames, stack) = (debug_frame(), stack());
        let cut = info(&frames).walk(&dump(LEAF + 0x10, &stack[..32]));
        assert_eq!(cut.addresses, WHOLE[..3]);
        assert!(cut.note.unwrap().contains("no word at 0xffff0020"));
        let mut corrupt = stack.clone();
        corrupt[8..16].fill(0xAA);
        let walk = info(&frames).walk(&dump(LEAF + 0x10, &corrupt));
        assert_eq!(walk.addresses, WHOLE[..2]);
        assert!(
            walk.note
                .unwrap()
                .contains("0xaaaaaaaaaaaaaaaa is outside the image")
        );
    }

    #[test]
    fn a_frame_that_leads_to_itself_does_not_hang_us() {
        let frames = debug_frame();
        // A leaf that "was called by" itself.
        let mut dump = dump(LEAF + 0x10, &[]);
        dump.x[LR] = LEAF + 0x20;
        let walk = info(&frames).walk(&dump);
        assert_eq!(walk.addresses, [LEAF + 0x10, LEAF + 0x20]);
        assert!(walk.note.unwrap().contains("does not lead outward"));
    }

    #[test]
    fn an_endless_recursion_is_cut() {
        let frames = debug_frame();
        let frame = [0, OUTER + 0x20].map(u64::to_le_bytes).concat();
        let stack = frame.repeat(1000);
        let walk = info(&frames).walk(&dump(OUTER + 0x20, &stack));
        assert_eq!(walk.addresses.len(), MOST_FRAMES);
        assert!(walk.note.unwrap().contains("innermost"));
    }
}
