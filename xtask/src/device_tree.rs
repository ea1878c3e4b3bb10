//! Device trees of QEMU's own making: for an image that nobody boots, and to be spoilt.
//!
//! A tree is malformed where QEMU does not look: it hands one on only after it has read the header,
//! renewed `/memory`, `/chosen` and `/psci`, and walked all nodes' names. So its own tree is taken, and
//! one property of another node is given a name that lies outside the strings block (Devicetree
//! Specification 0.4, section 5.4): structurally whole, and wrong.

use crate::machine::{MachineArgs, qemu_program};
use crate::process;
use anyhow::{Context, Result, bail};
use std::process::Command;

/// The tokens of the structure block.
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROP: u32 = 3;
const NOP: u32 = 4;
/// The node whose first property is spoilt: every board's memory map needs what is in it, and QEMU
/// leaves it alone.
const NODE: &[u8] = b"timer";
/// A name's offset that is outside every strings block.
const OUTSIDE: u32 = 0x7FFF_FFF0;

/// The device tree that QEMU makes for `machine`, a virt.
///
/// # Errors
///
/// If QEMU does not write one.
pub fn of(machine: &MachineArgs) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("dtb");
    process::output(Command::new(qemu_program()).args(machine.device_tree_arguments(&file)))?;
    let mut tree = std::fs::read(&file).context("QEMU wrote no device tree")?;
    pack(&mut tree)?;
    Ok(tree)
}

/// Takes off the room that QEMU leaves at the end for itself: it will double what it is given.
///
/// # Errors
///
/// If the tree's header leads outside of it.
fn pack(tree: &mut Vec<u8>) -> Result<()> {
    // Structure block and strings block, each by where it begins and how long it is.
    let blocks = [(8, 36), (12, 32)].map(|(begin, length)| -> Result<u32> {
        let end = word(tree, begin)?.checked_add(word(tree, length)?);
        end.context("a block beyond the end")
    });
    let [structure, strings] = blocks;
    let total = structure?.max(strings?);
    tree.truncate(usize::try_from(total)?);
    if tree.len() < usize::try_from(total)? || tree.len() < 40 {
        bail!("the device tree ends early");
    }
    tree[4..8].copy_from_slice(&total.to_be_bytes());
    Ok(())
}

/// Spoils `tree`.
///
/// # Errors
///
/// If it is not the tree that we think it is.
pub fn corrupt(tree: &mut [u8]) -> Result<()> {
    let mut at = usize::try_from(word(tree, 8)?)?;
    let mut inside = false;
    loop {
        let token = word(tree, at)?;
        at += 4;
        match token {
            BEGIN_NODE => {
                let name = tree[at..]
                    .split(|&byte| byte == 0)
                    .next()
                    .unwrap_or_default();
                inside = name == NODE;
                at = (at + name.len() + 1).next_multiple_of(4);
            }
            PROP if inside => {
                tree[at + 4..at + 8].copy_from_slice(&OUTSIDE.to_be_bytes());
                return Ok(());
            }
            PROP => at = (at + 8 + usize::try_from(word(tree, at)?)?).next_multiple_of(4),
            END_NODE | NOP => inside = false,
            _ => bail!("no node called {}", String::from_utf8_lossy(NODE)),
        }
    }
}

fn word(tree: &[u8], at: usize) -> Result<u32> {
    let bytes = tree.get(at..at + 4).context("the device tree ends early")?;
    Ok(u32::from_be_bytes(bytes.try_into()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// A tree of a root with a property, and a node called `name` with one.
    fn tree(name: &[u8; 8]) -> Vec<u8> {
        let mut tree = words(&[0xD00D_FEED, 0, 12]);
        tree.extend(words(&[
            BEGIN_NODE,
            0,
            PROP,
            5,
            1,
            0xAAAA_AAAA,
            0xAA00_0000,
            BEGIN_NODE,
        ]));
        tree.extend(name);
        tree.extend(words(&[PROP, 0, 2, END_NODE, END_NODE, 9]));
        tree
    }

    #[test]
    fn one_name_is_moved_outside_the_strings() {
        let whole = tree(b"timer\0\0\0");
        let mut spoilt = whole.clone();
        corrupt(&mut spoilt).unwrap();
        let changed: Vec<usize> = (0..whole.len())
            .filter(|&at| whole[at] != spoilt[at])
            .collect();
        assert_eq!(changed, [60, 61, 62, 63]);
        assert_eq!(word(&spoilt, 60).unwrap(), OUTSIDE);
    }

    #[test]
    fn a_packed_tree_ends_with_its_last_block() {
        let mut tree = words(&[0xD00D_FEED, 4096, 40, 48, 0, 17, 16, 0, 6, 8, 1, 2, 3, 4]);
        tree.resize(4096, 0);
        pack(&mut tree).unwrap();
        assert_eq!((tree.len(), word(&tree, 4).unwrap()), (54, 54));
        assert!(pack(&mut words(&[0xD00D_FEED, 8, 40, 48, 0, 17, 16, 0, 600, 8])).is_err());
    }

    #[test]
    fn another_tree_is_refused() {
        assert!(corrupt(&mut tree(b"other\0\0\0")).is_err());
        assert!(corrupt(&mut words(&[0xD00D_FEED, 0, 12])).is_err());
    }
}
