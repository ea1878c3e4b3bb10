//! Damaged blobs: a board or an error, never a panic, and never an address out of bounds.

use super::{
    super::{ADDRESS_END, board},
    trees::{qemu_virt, qemu_virt_gicv3, raspberry_pi_4},
};
use crate::board::{Board, Gic};
use core::ops::Range;
use proptest::{prelude::*, sample::Index};

fn blobs() -> [Vec<u8>; 3] {
    [
        qemu_virt().to_dtb(),
        qemu_virt_gicv3().to_dtb(),
        raspberry_pi_4().to_dtb(),
    ]
}

/// What is promised of every board, whatever the blob.
fn check(board: &Board<'_>) {
    let gic = match &board.gic {
        Gic::V2 {
            distributor,
            cpu_interface,
        } => [distributor, cpu_interface],
        Gic::V3 {
            distributor,
            redistributors,
        } => [distributor, redistributors],
    };
    let reserved = board.reserved.iter().map(|reserved| &reserved.range);
    let ranges = board
        .memory
        .iter()
        .chain(&board.virtio)
        .chain(gic)
        .chain(reserved);
    let in_bounds = |range: &Range<u64>| range.start < range.end && range.end <= ADDRESS_END;
    for range in ranges {
        assert!(in_bounds(range), "{range:x?}");
    }
    assert!(!board.memory.is_empty());
    assert!(board.uart < ADDRESS_END);
    assert!((16..32).contains(&board.timer_interrupt));
    assert!(board.dma_reach.is_none_or(|end| end <= ADDRESS_END));
    if let Some(engine) = board.dma_engine {
        assert!(engine.base < ADDRESS_END && engine.reach <= ADDRESS_END);
    }
    assert!(
        board
            .cpus
            .iter()
            .all(|cpu| cpu.mpidr & !0xff_00ff_ffff == 0)
    );
}

/// Whether `blob` is read as a board, and checks it if so.
fn survives(blob: &[u8]) -> bool {
    board(blob).inspect(check).is_ok()
}

#[test]
fn every_truncation_is_refused() {
    for blob in blobs() {
        assert!(survives(&blob));
        for length in 0..blob.len() {
            assert!(!survives(&blob[..length]), "cut to {length}");
        }
    }
}

#[test]
fn every_byte_can_be_inverted() {
    for blob in [qemu_virt().to_dtb(), raspberry_pi_4().to_dtb()] {
        let mut kept = 0;
        for at in 0..blob.len() {
            let mut damaged = blob.clone();
            damaged[at] = !blob[at];
            kept += usize::from(survives(&damaged));
        }
        // Names and numbers that nobody reads can change; the frame cannot.
        assert!((1..blob.len()).contains(&kept), "{kept} of {}", blob.len());
    }
}

/// A blob cut short whose header claims just that length.
fn cut_honestly(blob: &[u8], length: usize) -> Vec<u8> {
    let mut blob = blob[..length].to_vec();
    let claimed = u32::try_from(length).unwrap().to_be_bytes();
    blob.iter_mut()
        .skip(4)
        .zip(claimed)
        .for_each(|(byte, claimed)| *byte = claimed);
    blob
}

#[test]
fn a_truncation_with_an_honest_header_is_refused() {
    for blob in blobs() {
        for length in 0..blob.len() {
            assert!(!survives(&cut_honestly(&blob, length)), "cut to {length}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_can_change(which in 0..3_usize, changes in vec_of_changes()) {
        let mut blob = blobs()[which].clone();
        for (at, value) in changes {
            let at = at.index(blob.len());
            blob[at] = value;
        }
        survives(&blob);
    }

    #[test]
    fn any_cell_can_hold_any_number(
        which in 0..3_usize,
        changes in prop::collection::vec((any::<Index>(), cell()), 1..6),
    ) {
        let mut blob = blobs()[which].clone();
        for (at, value) in changes {
            let (cells, _) = blob.as_chunks_mut::<4>();
            // Behind the header: damage to that is found first.
            let at = 10 + at.index(cells.len() - 10);
            cells[at] = value.to_be_bytes();
        }
        survives(&blob);
    }

    #[test]
    fn anything_can_stand_behind_a_good_header(
        which in 0..3_usize,
        bytes in prop::collection::vec(any::<u8>(), 0..2048),
    ) {
        let mut blob = blobs()[which].clone();
        blob.truncate(40);
        blob.extend(bytes);
        let length = blob.len();
        prop_assert!(!survives(&cut_honestly(&blob, length)));
    }

    #[test]
    fn any_tokens_can_stand_in_the_structure_block(
        which in 0..3_usize,
        start in any::<Index>(),
        tokens in prop::collection::vec(prop_oneof![1..5_u32, Just(9), 0..64_u32], 1..40),
    ) {
        let mut blob = blobs()[which].clone();
        let (cells, _) = blob.as_chunks_mut::<4>();
        let start = 10 + start.index(cells.len() - 10);
        cells[start..].iter_mut().zip(tokens).for_each(|(cell, token)| *cell = token.to_be_bytes());
        survives(&blob);
    }

    #[test]
    fn any_eight_bytes_have_a_length_or_none(header in any::<[u8; 8]>()) {
        let length = super::super::length(header);
        prop_assert!(length.is_ok_and(|length| length.is_none_or(|length| length <= super::super::MAX_BYTES))
            || header.starts_with(&[0xd0, 0x0d, 0xfe, 0xed]));
    }
}

fn vec_of_changes() -> impl Strategy<Value = Vec<(Index, u8)>> {
    prop::collection::vec((any::<Index>(), any::<u8>()), 1..16)
}

/// Numbers near the edges, and any.
fn cell() -> impl Strategy<Value = u32> {
    const EDGES: &[u32] = &[
        0,
        1,
        2,
        3,
        4,
        9,
        0x7fff_ffff,
        0x8000_0000,
        u32::MAX - 1,
        u32::MAX,
    ];
    prop_oneof![prop::sample::select(EDGES), any::<u32>()]
}
