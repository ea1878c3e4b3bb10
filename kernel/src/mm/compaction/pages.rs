//! Single frames that one owner in the kernel moves.

use super::owners::{MovableOwner, OwnerId};
use crate::mm::addr::{Order, Pfn};
use crate::mm::frames;
use spin::Once;

/// What an owner says of its frames to the kernel's allocator. Before the owner is registered, or if it
/// cannot be, its frames stay where they are.
#[derive(Debug)]
pub struct MovablePages(Once<OwnerId>);

impl MovablePages {
    /// Those of an owner that is not registered yet.
    #[expect(clippy::new_without_default, reason = "they stand in statics")]
    pub const fn new() -> Self {
        Self(Once::new())
    }

    /// Lets compaction move them through `owner`. At boot.
    pub fn register(&self, owner: &'static dyn MovableOwner) {
        let id = frames::global().and_then(|frames| frames.register_owner(owner).ok());
        if let Some(id) = id {
            self.0.call_once(|| id);
        }
    }

    /// Lets compaction move `frame`, which is `key` to the owner; see
    /// [`Frames::own`](crate::mm::frames::Frames::own).
    pub fn own(&self, frame: Pfn, key: u64) {
        if let Some((frames, &owner)) = frames::global().zip(self.0.get()) {
            frames.own(frame, Order::ZERO, owner, key);
        }
    }

    /// Has `frame` stay where it is; false if `key` is no longer there. See
    /// [`Frames::disown`](crate::mm::frames::Frames::disown).
    #[must_use]
    pub fn disown(&self, frame: Pfn, key: u64) -> bool {
        let owned = frames::global().zip(self.0.get());
        owned.is_none_or(|(frames, &owner)| frames.disown(frame, Order::ZERO, owner, key))
    }
}
