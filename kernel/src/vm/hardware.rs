//! The machine's side of a table update: barriers and TLB maintenance, on every core.

use super::table::Mmu;
use crate::{
    arch::{barrier, tlb},
    mm::addr::VirtAddr,
};

/// Whose translations a tree's entries become in the TLBs.
#[derive(Clone, Copy, Debug)]
pub enum Hardware {
    /// The kernel's: entries are global.
    Kernel,
    /// A user program's: entries carry the space's ASID, once it has one. Before that, no TLB holds
    /// anything of it.
    User(Option<u16>),
}

impl Mmu for Hardware {
    #[inline]
    fn publish(&mut self) {
        barrier::dsb_ishst();
    }
    #[inline]
    fn synchronize(&mut self) {
        barrier::isb();
    }
    #[inline]
    fn invalidate(&mut self, page: VirtAddr) {
        tlb::invalidate_page(page.get());
    }
    #[inline]
    fn invalidate_all(&mut self) {
        match *self {
            Self::Kernel => tlb::invalidate_all(),
            Self::User(Some(asid)) => tlb::invalidate_asid(asid),
            Self::User(None) => {}
        }
    }
    #[inline]
    fn wait(&mut self) {
        barrier::dsb_ish();
        barrier::isb();
    }
}
