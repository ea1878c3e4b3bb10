//! Where all memory is, in words, for the moment when a request that must not fail does.

use crate::mm::{
    addr::Order,
    frames::Frames,
    gfp::Gfp,
    report::{self, Rows},
};
use core::fmt;
use wire::report::Text;

/// The whole account: what was asked, zones, free blocks, earlier failures, shrinkers and, on the machine,
/// caches.
#[derive(Debug)]
pub struct Account<'a, 't> {
    frames: &'a Frames<'t>,
    order: Order,
    gfp: Gfp,
}

impl<'a, 't> Account<'a, 't> {
    /// Of the memory of `frames`, when a request for a block of `order` with these flags finds none.
    pub const fn new(frames: &'a Frames<'t>, order: Order, gfp: Gfp) -> Self {
        Self { frames, order, gfp }
    }

    fn rows(&self, rows: &mut Rows<'_>) {
        report::zoneinfo(self.frames, rows);
        report::buddyinfo(self.frames, rows);
        report::failures(self.frames, rows);
        #[cfg(target_os = "none")]
        report::slabinfo(&crate::mm::slab::SLAB, rows);
    }
}

impl fmt::Display for Account<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (frames, flags) = (self.order.frames(), self.gfp.bits());
        writeln!(f, "out of memory: {frames} frames with flags {flags:#x}")?;
        let (mut text, mut result) = (Text::new(&mut *f), Ok(()));
        self.rows(&mut |row| result = result.and_then(|()| text.record(row)));
        result?;
        for shrinker in self.frames.reclaim.shrinkers() {
            let (name, has) = (shrinker.name(), shrinker.reclaimable_frames());
            writeln!(f, "shrinker {name}: {has} frames")?;
        }
        let reclaimed = self.frames.reclaim_statistics();
        write!(
            f,
            "reclaimed {} times, {} frames, {} requests rescued",
            reclaimed.runs, reclaimed.frames, reclaimed.rescued
        )
    }
}
