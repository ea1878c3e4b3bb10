//! Pages of programs that compaction may move, also while the program runs.
//!
//! A page's key names the core whose program has it, and the page. A page is moved with that program's lock
//! held; if the program touches the page meanwhile, its fault waits for the lock, and then finds it mapped.

use super::running;
use crate::{
    mm::{
        addr::{PAGE_SHIFT, Pfn, VirtAddr},
        compaction::{Immovable, MovableOwner, MovablePages},
    },
    sync::percpu::cpu,
};

/// Where the core's number is in a key, above any user's page.
const CORE_SHIFT: u32 = 48;

/// All programs' pages.
struct Programs;

static PAGES: MovablePages = MovablePages::new();

/// Lets compaction move programs' pages. At boot.
pub(super) fn init() {
    PAGES.register(&Programs);
}

impl MovableOwner for Programs {
    fn name(&self) -> &'static str {
        "user"
    }
    fn migrate(
        &self,
        key: u64,
        from: Pfn,
        to: Pfn,
        copy: &mut dyn FnMut(),
    ) -> Result<(), Immovable> {
        let core = usize::try_from(key >> CORE_SHIFT).map_err(|_| Immovable)?;
        let page = VirtAddr::new((key & ((1 << CORE_SHIFT) - 1)) << PAGE_SHIFT);
        let moved = running::try_with(core, |running| {
            running.space.move_page(page, from, to, copy)
        });
        moved.unwrap_or(Err(Immovable))
    }
}

fn key(page: VirtAddr) -> u64 {
    (cpu() as u64) << CORE_SHIFT | page.get() >> PAGE_SHIFT
}

/// Lets compaction move `frame`, which this core's program has at `page`.
pub(super) fn own(frame: Pfn, page: VirtAddr) {
    PAGES.own(frame, key(page));
}

/// Has `frame`, which this core's program has at `page`, stay where it is. The program's lock is held, or the
/// space nobody else's, so it is not moved meanwhile.
pub(super) fn disown(frame: Pfn, page: VirtAddr) {
    let is_ours = PAGES.disown(frame, key(page));
    assert!(is_ours, "the page at {page:#x} is somebody else's");
}
