//! Sequences of operations as they arrive, and as traces.

use anyhow::{Result, bail};
use std::collections::HashMap;
use std::fmt::Write;
use wire::hunt::{Step, steps};

/// What the operations of a row are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Objects of so many bytes.
    Objects,
    /// Blocks of page frames.
    Pages,
}

impl Kind {
    /// That of `row`.
    ///
    /// # Errors
    ///
    /// If there is no such row to be hunted.
    pub(super) fn of(row: &str) -> Result<Self> {
        let is_pattern = row.contains(['*', '?', ',']);
        let words: Vec<&str> = row.split('/').filter(|_| !is_pattern).collect();
        match words[..] {
            ["kmalloc", "alloc" | "free"] => Ok(Self::Objects),
            ["pages", "alloc" | "free"] => Ok(Self::Pages),
            ["peer", name, "alloc" | "free"] if !name.is_empty() => Ok(Self::Objects),
            ["peer", name, "pages", "alloc" | "free"] if !name.is_empty() => Ok(Self::Pages),
            _ => bail!(
                "--hunt {row}: one of kmalloc/alloc, kmalloc/free, pages/alloc, pages/free, \
                 peer/NAME/alloc, peer/NAME/free, peer/NAME/pages/alloc, peer/NAME/pages/free is hunted"
            ),
        }
    }
}

/// Operations in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sequence(Vec<Step>);

impl Sequence {
    /// Adds the steps in `bytes`.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.0.extend(steps(bytes));
    }

    /// Number of steps.
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// As a trace, under `heading`.
    pub(super) fn trace(&self, kind: Kind, heading: &[String]) -> String {
        let (take, give) = match kind {
            Kind::Objects => ("a", "f"),
            Kind::Pages => ("p", "q"),
        };
        let mut text: String = heading.iter().map(|line| format!("# {line}\n")).collect();
        let (mut ids, mut live) = (0_u32.., HashMap::new());
        for step in &self.0 {
            match step.amount {
                Some(amount) => {
                    let id = ids.next().unwrap_or(u32::MAX);
                    live.insert(step.slot, id);
                    let _ = writeln!(text, "{take} {id} {amount}");
                }
                None => {
                    // The image sends no free of an empty slot.
                    if let Some(id) = live.remove(&step.slot) {
                        let _ = writeln!(text, "{give} {id}");
                    }
                }
            }
        }
        text
    }
}
