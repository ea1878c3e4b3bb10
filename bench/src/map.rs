//! Physical memory drawn before and after a churn: what the host makes a picture of.

use crate::name::Name;
use crate::report::Reporter;
use kernel::mm::frame_map::Holding;
use kernel::mm::frames;
use wire::bench::{Holder, Record};

/// Frames of a block: 256 KiB, eight to a pageblock, so that half a gigabyte is a picture of 2,048.
const BLOCK_FRAMES: u32 = 64;
/// Blocks of one record.
const CHUNK: usize = 256;

/// Sends how memory stands; `when` ends the map's name.
pub fn send(reporter: &Reporter, family: &str, when: &str) {
    let Some(frames) = frames::global() else {
        return;
    };
    let name = Name::new(format_args!("{family}/{when}"));
    let first = u64::from(frames.table().span().start.get());
    let (mut chunk, mut used) = ([0; 2 * CHUNK], 0);
    let send = |blocks: &[u8]| {
        reporter.send(&Record::Map {
            name: &name,
            first,
            frames: BLOCK_FRAMES,
            blocks,
        });
    };
    frames.map(BLOCK_FRAMES, &mut |holding| {
        chunk[used..used + 2].copy_from_slice(&encoded(&holding));
        used += 2;
        if used == chunk.len() {
            send(&chunk);
            used = 0;
        }
    });
    send(&chunk[..used]);
}

#[expect(clippy::cast_possible_truncation, reason = "few of each")]
fn encoded(holding: &Holding) -> [u8; 2] {
    let parts = [
        (holding.free, Holder::Free),
        (holding.pages, Holder::Pages),
        (holding.slab, Holder::Slab),
    ];
    // Of what is used the most, and nobody only where all is free.
    let used = parts[1..].iter().max_by_key(|(frames, _)| *frames);
    let holder = match used {
        Some((1.., holder)) => *holder,
        _ if holding.free > 0 => Holder::Free,
        _ => Holder::Reserved,
    };
    let migrate = (holding.migrate.index() as u8).min(0xf);
    [holder as u8 | migrate << 4, holding.free as u8]
}
