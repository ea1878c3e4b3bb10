//! The blob as a whole: how long it is, and that its structure can be walked.

use super::{DeviceTreeError, length};
use core::ffi::CStr;
use dtoolkit::{error::FdtErrorKind, fdt::Fdt};

// The tokens of the structure block (Devicetree Specification 0.4, 5.4.1), and two fields of the
// header (5.2) by their offsets in bytes.
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;
const STRUCTURE_START: usize = 8;
const STRINGS_START: usize = 12;
const STRINGS_BYTES: usize = 32;

/// The tree in `blob`, whose header may claim less than all of it.
///
/// `dtoolkit` refuses names that are longer than the 31 characters of the specification (0.4, 2.2.1),
/// which firmware uses all the same: `/timer` of the Raspberry Pi 4 has a property of 35. So where it
/// has only a name to complain of, the rest of what it would have checked is checked here.
///
/// # Errors
///
/// `Malformed`, and `TooMany("bytes")` if the header claims more than we look at.
pub(super) fn open(blob: &[u8]) -> Result<Fdt<'_>, DeviceTreeError> {
    let claimed = blob
        .first_chunk()
        .map_or(Ok(None), |&header| length(header))?;
    let blob = claimed.and_then(|end| blob.get(..end)).unwrap_or(blob);
    match Fdt::new(blob) {
        Err(error) if is_about_a_name(&error.kind) && is_whole(blob).is_some() => {
            Ok(Fdt::new_unchecked(blob))
        }
        result => Ok(result?),
    }
}

fn is_about_a_name(kind: &FdtErrorKind) -> bool {
    matches!(
        kind,
        FdtErrorKind::InvalidNodeName | FdtErrorKind::InvalidPropertyName
    )
}

/// Walks the structure block; `Some` if nodes nest, properties stand before their node's children,
/// and names and values lie where they belong. The header has been checked by now: that comes before
/// any name.
fn is_whole(blob: &[u8]) -> Option<()> {
    let strings_start = word(blob, STRINGS_START)?;
    let strings = strings_start..strings_start.checked_add(word(blob, STRINGS_BYTES)?)?;
    let strings = blob.get(strings)?;
    let (mut at, mut depth, mut properties_allowed) =
        (word(blob, STRUCTURE_START)?, 0_usize, false);
    loop {
        let token = u32::try_from(word(blob, at)?).ok()?;
        at += 4;
        match token {
            BEGIN_NODE => {
                depth += 1;
                properties_allowed = true;
                at = (at + name(blob, at)?.len() + 1).next_multiple_of(4);
            }
            PROPERTY if properties_allowed => {
                let (bytes, name_at) = (word(blob, at)?, word(blob, at + 4)?);
                name(strings, name_at)?;
                blob.get(at + 8..)?.get(..bytes)?;
                at = (at + 8 + bytes).next_multiple_of(4);
            }
            END_NODE => {
                depth = depth.checked_sub(1)?;
                properties_allowed = false;
                if depth == 0 {
                    return (u32::try_from(word(blob, at)?) == Ok(END)).then_some(());
                }
            }
            NOP if depth > 0 => {}
            _ => return None,
        }
    }
}

fn word(blob: &[u8], at: usize) -> Option<usize> {
    let &cell = blob.get(at..)?.first_chunk()?;
    usize::try_from(u32::from_be_bytes(cell)).ok()
}

fn name(block: &[u8], at: usize) -> Option<&str> {
    CStr::from_bytes_until_nul(block.get(at..)?)
        .ok()?
        .to_str()
        .ok()
}
