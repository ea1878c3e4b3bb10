//! Memory from the kernel's frame allocator: for the pages of areas, and for translation tables.

use super::{kernel_space, raw_table::TableSource};
use crate::mm::{
    addr::{Order, PAGE_SHIFT, Pfn, PhysAddr, VirtAddr},
    compaction::{Immovable, MovableOwner, MovablePages},
    frame::Frame,
    frames,
    gfp::Gfp,
};

/// Frames for translation tables. They are taken under the tables' lock, where nobody may wait.
pub const TABLES: TableSource = TableSource {
    allocate: || {
        frames::alloc(Order::ZERO, Gfp::ATOMIC)
            .ok()
            .map(Pfn::address)
    },
    free: |table: PhysAddr| free(table.frame(), Order::ZERO),
};

/// Garbage for at most `pages` pages, one at least, in a block as large as can be had up to `largest`:
/// one block is found, and later merged, faster than many frames. `None` when there is no frame at all.
pub fn allocate_block(pages: u32, largest: Order) -> Option<(Pfn, Order)> {
    let mut order = largest.min(Order::largest_at(Pfn::new(0), pages));
    loop {
        let smaller = order.smaller();
        // Smaller blocks do as well: nothing is reclaimed for large ones.
        let gfp = match smaller {
            None => Gfp::KERNEL,
            Some(_) => Gfp::NOWAIT,
        };
        if let Ok(block) = frames::alloc(order, gfp) {
            return Some((block, order));
        }
        order = smaller?;
    }
}

/// A zeroed frame that can be moved.
pub fn allocate_movable() -> Option<Pfn> {
    frames::alloc(Order::ZERO, Gfp::KERNEL | Gfp::MOVABLE | Gfp::ZERO).ok()
}

/// The pages of movable areas, which compaction moves.
struct Pages;

static PAGES: MovablePages = MovablePages::new();

/// Lets compaction move the pages of movable areas. At boot.
pub fn init() {
    PAGES.register(&Pages);
}

impl MovableOwner for Pages {
    fn name(&self) -> &'static str {
        "vmalloc"
    }
    fn migrate(
        &self,
        key: u64,
        from: Pfn,
        to: Pfn,
        copy: &mut dyn FnMut(),
    ) -> Result<(), Immovable> {
        let page = VirtAddr::new(key << PAGE_SHIFT);
        kernel_space::replace(page, from, to, copy).map_err(|_| Immovable)
    }
}

/// Lets compaction move `frame`, which is mapped at `page`, in an area that knows how to bear it.
pub fn own(frame: Pfn, page: VirtAddr) {
    PAGES.own(frame, page.get() >> PAGE_SHIFT);
}

/// Has `frame` stay where it is, if `page` is still mapped to it.
pub fn disown(frame: Pfn, page: VirtAddr) -> bool {
    PAGES.disown(frame, page.get() >> PAGE_SHIFT)
}

/// Bytes of the block whose first frame is at `block`.
#[inline]
pub fn block_bytes(block: PhysAddr) -> u64 {
    let entry = frames::global().and_then(|frames| frames.table().find(block.frame()));
    entry.map_or(Order::ZERO, Frame::order).bytes()
}

/// Gives back the block whose first frame is `first`, and returns how large it was.
pub fn free_block(first: Pfn) -> Order {
    let entry = frames::global().and_then(|frames| frames.table().find(first));
    let order = entry.map_or(Order::ZERO, Frame::order);
    free(first, order);
    order
}

/// Gives back a block that nothing maps any more; panics if it was not allocated like this.
pub fn free(block: Pfn, order: Order) {
    if let Err(error) = frames::free(block, order) {
        panic!("freeing the memory of an unmapped page: {error}");
    }
}
