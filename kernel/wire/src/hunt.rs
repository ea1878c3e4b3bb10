//! What a hunt for the costliest operation sends of its sequences: steps of six bytes.
//!
//! ```text
//!   slot u16, amount u32, both little-endian; the amount FREE frees what is in the slot
//! ```

/// Bytes of a step.
pub const STEP_BYTES: usize = 6;
/// The amount of a step that frees: no allocator is asked for so much.
const FREE: u32 = u32::MAX;

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The slot that it fills or empties.
    pub slot: u16,
    /// Bytes, or an order; `None` if it frees.
    pub amount: Option<u32>,
}

impl Step {
    /// Its bytes.
    pub fn to_bytes(self) -> [u8; STEP_BYTES] {
        let [a, b] = self.slot.to_le_bytes();
        let [c, d, e, f] = self.amount.unwrap_or(FREE).to_le_bytes();
        [a, b, c, d, e, f]
    }
}

/// The steps in `bytes`.
pub fn steps(bytes: &[u8]) -> impl Iterator<Item = Step> + '_ {
    bytes.chunks_exact(STEP_BYTES).map(|step| {
        let amount = u32::from_le_bytes([step[2], step[3], step[4], step[5]]);
        Step {
            slot: u16::from_le_bytes([step[0], step[1]]),
            amount: (amount != FREE).then_some(amount),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_arrive_as_sent() {
        let sent = [(0, Some(0)), (2047, Some(70_000)), (2047, None)];
        let sent = sent.map(|(slot, amount)| Step { slot, amount });
        let bytes = sent.map(Step::to_bytes).concat();
        assert_eq!(steps(&bytes).collect::<Vec<_>>(), sent);
    }
}
