//! What every allocator of the line-up does, behind its name.
//!
//! Behind the kernel's lock it does what a lock makes dearer. How much memory can be had, and what a
//! pathology finds, a lock does not change: that is measured once.

use super::{Family, PATHOLOGY, Work};
use crate::name::Name;
use crate::workload::FreeOrder;
use crate::workload::pathology::Pathology;
use core::fmt;

/// Those of objects.
const OBJECTS: [(&str, Work); 10] = [
    ("hot-64", Work::Hot(64)),
    ("hot-4096", Work::Hot(4096)),
    ("batch-64/fifo", Work::Batch64(FreeOrder::Fifo)),
    ("batch-64/lifo", Work::Batch64(FreeOrder::Lifo)),
    ("batch-64/random", Work::Batch64(FreeOrder::Random)),
    ("mixed/toggle", Work::Toggle),
    ("mixed/replace-1024", Work::Replace),
    ("mixed/fragmented", Work::Fragmented),
    ("used-of-64MiB", Work::Used),
    ("metadata", Work::Metadata),
];

/// Those of page frames.
const FRAMES: [(&str, Work); 7] = [
    ("pages/0", Work::Pages(0)),
    ("pages/9", Work::Pages(9)),
    ("pages/lifo-512", Work::PagesLifo),
    ("pages/mix", Work::PagesMix),
    ("pages/churn62", Work::PagesChurn),
    ("pages/churn-order0", Work::PagesChurnSingle),
    ("pages/metadata", Work::PagesMetadata),
];

/// Which allocator it is, as far as that decides what it does.
#[derive(Clone, Copy, Debug)]
pub struct Traits {
    /// Whether it stands behind the kernel's lock and is measured without it as well.
    pub is_locked: bool,
    /// Whether its memory lies in the arena. What fills memory is only for such, but for what is left
    /// of a whole.
    pub in_arena: bool,
}

/// The families of the allocator `peer` of objects.
pub fn objects(peer: Name, traits: Traits) -> impl Iterator<Item = Family> {
    let listed = OBJECTS.map(|(what, work)| Family::new(name(&peer, format_args!("{what}")), work));
    let pathologies = Pathology::ALL
        .into_iter()
        .filter(move |each| traits.in_arena || !each.fills_memory())
        .map(move |each| {
            let name = name(&peer, format_args!("{PATHOLOGY}/{}", each.name()));
            Family::new(name, Work::Pathology(each))
        });
    let all = listed.into_iter().chain(pathologies);
    all.filter(move |family| !traits.is_locked || is_dearer_locked(family.work))
}

/// The families of the allocator `peer` of page frames.
pub fn frames(peer: Name, traits: Traits) -> impl Iterator<Item = Family> {
    FRAMES
        .into_iter()
        .filter(move |(_, work)| !traits.is_locked || is_dearer_locked(*work))
        .map(move |(what, work)| Family::new(name(&peer, format_args!("{what}")), work))
}

/// Whether it is measured behind the kernel's lock too.
const fn is_dearer_locked(work: Work) -> bool {
    matches!(
        work,
        Work::Hot(_)
            | Work::Batch64(_)
            | Work::Toggle
            | Work::Replace
            | Work::Pages(_)
            | Work::PagesLifo
            | Work::PagesMix
    )
}

fn name(peer: &Name, what: fmt::Arguments<'_>) -> Name {
    Name::new(format_args!("peer/{}/{what}", &**peer))
}
