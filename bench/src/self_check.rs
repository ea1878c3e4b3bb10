//! The instrument measures itself first.
//!
//! Where the counter counts instructions, a lone return must read 1, a hundred `nop`s 101, and the same
//! workload twice the same samples: whatever else is measured is then exact too. A board's cycles are
//! not held to that.

use crate::meter::Meter;
use crate::ops;
use crate::plan::Operation;
use crate::report::Reporter;
use crate::scratch::Scratch;
use crate::subject::Timed;
use crate::workload;

/// The object size of the workload that is run twice: one whose class no hot pair row uses, so that
/// their cold samples stay cold.
const BYTES: u32 = 48;

/// Checks, and reports what fails; only if `exact` do figures have to be instructions.
pub fn run(meter: &Meter, reporter: &Reporter, exact: bool, scratch: &mut Scratch) {
    if !exact {
        return;
    }
    for (name, read, expected) in [
        ("self-check/return", meter.of_a_return(), 1),
        ("self-check/nops", meter.of_hundred_nops(), 101),
    ] {
        if read != expected {
            reporter.failed(name, format_args!("reads {read}, not {expected}"));
        }
    }
    if let Some(read) = meter.retired_of_hundred_nops()
        && read != 101
    {
        let why = format_args!("INST_RETIRED counts {read}, not 101");
        reporter.failed("self-check/events", why);
    }
    // The first run warms up: it may carve a slab, and every later one finds it carved.
    let [_, first, second] = [(); 3].map(|()| checksum(meter, scratch));
    if first.is_none() || first != second {
        reporter.failed("self-check/twice", format_args!("two equal runs differ"));
    }
}

/// A checksum over all that the workload measured; `None` if there was no memory for it.
fn checksum(meter: &Meter, scratch: &mut Scratch) -> Option<u32> {
    for operation in Operation::PAIR {
        scratch.samples[operation.index()].clear();
    }
    let mut timed = Timed::new(meter, ops::KMALLOC, &mut scratch.samples);
    workload::hot(&mut timed, BYTES).ok()?;
    let mut crc = wire::crc::Crc32::new();
    for operation in Operation::PAIR {
        scratch.samples[operation.index()]
            .chunks(|pairs| pairs.iter().for_each(|&byte| crc.update(byte)));
    }
    Some(crc.finish())
}
