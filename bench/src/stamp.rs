//! Marks in an object that tell whether it is still the one that was allocated.
//!
//! Eight bytes at each end, made from the slot and the event that filled it: two objects that overlap,
//! a block handed out twice, or an allocator that writes into live objects changes one of them.

/// Bytes of a mark at one end of an object, at most.
const MARK_BYTES: usize = 8;

/// The marks of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp([u8; MARK_BYTES]);

impl Stamp {
    /// The stamp of what `event` put into `slot`: no two have the same (both numbers are mixed by
    /// bijections).
    pub const fn new(slot: u32, event: u32) -> Self {
        let joined = ((slot as u64) << 32) | event as u64;
        let mixed = (joined ^ (joined >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self((mixed ^ (mixed >> 29)).to_le_bytes())
    }

    /// Writes the marks into an object.
    pub fn write(self, object: &mut [u8]) {
        let head = object.len().min(MARK_BYTES);
        object[..head].copy_from_slice(&self.0[..head]);
        let tail = tail_bytes(object.len());
        let start = object.len() - tail;
        object[start..].copy_from_slice(&self.0[..tail]);
    }

    /// Whether the marks written while the object had `former_bytes` are there, as far as they lie in
    /// what is kept of it now.
    pub fn is_in(self, object: &[u8], former_bytes: usize) -> bool {
        let head = object.len().min(former_bytes).min(MARK_BYTES);
        let tail = tail_bytes(former_bytes);
        let tail_kept = object.get(former_bytes - tail..former_bytes);
        object[..head] == self.0[..head] && tail_kept.is_none_or(|kept| *kept == self.0[..tail])
    }
}

/// Bytes of the mark at the end of an object of `bytes`: whatever the mark at the front leaves.
const fn tail_bytes(bytes: usize) -> usize {
    let left = bytes.saturating_sub(MARK_BYTES);
    if left < MARK_BYTES { left } else { MARK_BYTES }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_change_at_either_end_is_noticed(bytes in 1_usize..64, at in any::<prop::sample::Index>()) {
            let (stamp, mut object) = (Stamp::new(3, 70_000), vec![0xAA; bytes]);
            stamp.write(&mut object);
            prop_assert!(stamp.is_in(&object, bytes));
            let at = at.index(bytes);
            object[at] ^= 0x10;
            let marked = at < MARK_BYTES || at + MARK_BYTES >= bytes;
            prop_assert_eq!(stamp.is_in(&object, bytes), !marked);
        }

        #[test]
        fn what_a_reallocation_keeps_is_what_is_checked(bytes in 1_usize..64, later in 1_usize..64) {
            let (stamp, mut object) = (Stamp::new(3, 70_000), vec![0xAA; bytes]);
            stamp.write(&mut object);
            object.resize(later, 0xAA);
            prop_assert!(stamp.is_in(&object, bytes));
            object[0] ^= 1;
            prop_assert!(!stamp.is_in(&object, bytes));
        }
    }

    #[test]
    fn stamps_differ_by_slot_and_by_event() {
        assert_ne!(Stamp::new(1, 2), Stamp::new(2, 1));
        assert_ne!(Stamp::new(1, 2), Stamp::new(1, 3));
    }
}
