//! The disk that a guest reads and writes by DMA, and what must be on it afterwards.
//!
//! Sector `n` holds 64 little-endian words: word `i` is `n · 0x9E37_79B9_7F4A_7C15 + i`. The guest
//! verifies the first sectors, then writes to sector 16 what sector 1,016 holds. So a transfer that
//! goes to the wrong sector, the wrong frame or half of one shows, on whichever side.

use anyhow::{Context, Result, bail};
use std::path::Path;

const SECTOR_BYTES: usize = 512;
/// Sectors of the disk: 1 MiB.
const SECTORS: u64 = 2048;
/// The sector that the guest writes.
const WRITTEN: u64 = 16;
/// The sector whose pattern it writes there.
const PATTERN: u64 = 1016;
/// Spreads neighbouring sectors' words: 2⁶⁴ divided by the golden ratio.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

fn sector(number: u64) -> impl Iterator<Item = u8> {
    let first = number.wrapping_mul(STEP);
    (0..SECTOR_BYTES as u64 / 8).flat_map(move |word| first.wrapping_add(word).to_le_bytes())
}

fn contents(pattern_of: impl Fn(u64) -> u64) -> Vec<u8> {
    (0..SECTORS)
        .flat_map(|number| sector(pattern_of(number)))
        .collect()
}

/// Makes the disk at `path`.
///
/// # Errors
///
/// As from the file system.
pub fn prepare(path: &Path) -> Result<()> {
    crate::image::replace(path, &contents(|number| number))
}

/// Whether the guest wrote what it had to, where it had to, and nothing else.
///
/// # Errors
///
/// The first sector that is not as it must be.
pub fn verify(path: &Path) -> Result<()> {
    let disk = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let expected = contents(|number| if number == WRITTEN { PATTERN } else { number });
    if disk.len() != expected.len() {
        bail!(
            "the disk has {} bytes instead of {}",
            disk.len(),
            expected.len()
        );
    }
    let mut sectors = disk.chunks(SECTOR_BYTES).zip(expected.chunks(SECTOR_BYTES));
    match sectors.position(|(found, expected)| found != expected) {
        None => Ok(()),
        Some(number) if number as u64 == WRITTEN && disk == contents(|number| number) => {
            bail!("the guest wrote nothing to sector {number} of the disk")
        }
        Some(number) => bail!("sector {number} of the disk does not hold what it must"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(change: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        prepare(&path).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        verify(&path)
    }

    fn write(bytes: &mut [u8], at: u64, pattern: u64) {
        let at = usize::try_from(at).unwrap() * SECTOR_BYTES;
        bytes[at..at + SECTOR_BYTES].copy_from_slice(&sector(pattern).collect::<Vec<_>>());
    }

    #[test]
    fn words_follow_the_pattern() {
        let first: Vec<u8> = sector(1).take(16).collect();
        assert_eq!(first[..8], STEP.to_le_bytes());
        assert_eq!(first[8..], (STEP + 1).to_le_bytes());
        assert_eq!(contents(|number| number).len(), 1 << 20);
    }

    #[test]
    fn the_right_write_passes() {
        assert!(disk(|bytes| write(bytes, WRITTEN, PATTERN)).is_ok());
    }

    #[test]
    fn a_missing_a_wrong_and_a_stray_write_are_told() {
        let missing = disk(|_| {}).unwrap_err().to_string();
        assert!(missing.contains("wrote nothing"), "{missing}");
        let wrong = disk(|bytes| write(bytes, WRITTEN, 7))
            .unwrap_err()
            .to_string();
        assert!(wrong.contains("sector 16"), "{wrong}");
        let stray = disk(|bytes| {
            write(bytes, WRITTEN, PATTERN);
            bytes[1999 * SECTOR_BYTES] ^= 1;
        });
        assert!(stray.unwrap_err().to_string().contains("sector 1999"));
        assert!(disk(|bytes| bytes.truncate(5)).is_err());
    }
}
