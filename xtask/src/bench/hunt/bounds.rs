//! What no single operation of ours may exceed, with the reason.

use super::super::format::grouped;
use super::super::report::Provenance;
use crate::workspace;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where the bounds are, under the workspace.
const FILE: &str = "bench/bounds.toml";

/// A bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// The row, as `--hunt` takes it.
    pub row: String,
    /// What one operation may cost.
    pub instructions: u64,
    /// Why it cannot cost more.
    pub reason: String,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", grouped(self.instructions), self.reason)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    bound: Vec<Bound>,
}

/// The bound of `row`, if it has one; they are for the default tier on a Cortex-A72 alone.
///
/// # Errors
///
/// If the file cannot be read.
pub(super) fn of(row: &str, at: &Provenance) -> Result<Option<Bound>> {
    if at.tier != "default" || at.cpu != "cortex-a72" {
        return Ok(None);
    }
    Ok(all()?.into_iter().find(|bound| bound.row == row))
}

/// All bounds.
///
/// # Errors
///
/// If the file cannot be read.
pub(super) fn all() -> Result<Vec<Bound>> {
    let path = workspace::root().join(FILE);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let bounds: Bounds =
        toml::from_str(&text).with_context(|| format!("{FILE} is no table of bounds"))?;
    Ok(bounds.bound)
}
