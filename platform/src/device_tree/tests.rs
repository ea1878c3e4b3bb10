//! Trees of the boards we run on, trees that are odd but right, and trees that are wrong.

mod boards;
mod buses;
mod hostile;
mod memory;
mod refusals;
mod trees;

use super::{DeviceTreeError, board};
use crate::board::Board;
use dtoolkit::model::DeviceTree;

/// What `tree` says, as a blob; the blob is leaked, for a board borrows it.
fn read(tree: &DeviceTree) -> Result<Board<'static>, DeviceTreeError> {
    board(tree.to_dtb().leak())
}
