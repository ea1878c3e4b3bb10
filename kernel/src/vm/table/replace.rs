//! Other memory behind a page that somebody uses: how compaction moves what is mapped.

use super::{MapError, Mmu, PageTable, TableMemory};
use crate::{
    mm::addr::{PhysAddr, VirtAddr},
    vm::descriptor::Level,
};

impl<M: TableMemory, T: Mmu> PageTable<M, T> {
    /// Has `page` mapped to `to` instead of `from`, with its attributes, break before make; `copy` runs in
    /// between, when no core can reach `from` by this page any more and none can reach `to`. Who uses the page
    /// meanwhile faults on an entry that is [changing](crate::vm::descriptor::Descriptor::is_changing).
    ///
    /// A change of the output address needs break-before-make (Arm ARM D8.16.1); the `DSB` after the
    /// invalidation completes only when all accesses by the old translation have (Arm ARM D8.17, "Completion of
    /// TLB maintenance instructions"), so what is copied is the last that was written.
    ///
    /// # Errors
    ///
    /// [`MapError::NotMapped`] if the page is not mapped to `from` by an entry of its own. Nothing has changed.
    pub fn replace(
        &mut self,
        page: VirtAddr,
        from: PhysAddr,
        to: PhysAddr,
        copy: &mut dyn FnMut(),
    ) -> Result<(), MapError> {
        let (table, level) = self.deepest_table(page);
        let index = level.index(page);
        let entry = self.memory.read(table, index);
        let is_ours = level == Level::PAGE
            && entry.is_valid()
            && !entry.is_contiguous()
            && entry.output() == from;
        if !is_ours {
            return Err(MapError::NotMapped(page));
        }
        self.memory.write(table, index, entry.changing());
        self.mmu.publish();
        self.mmu.invalidate(page);
        self.mmu.wait();
        copy();
        self.mmu.publish();
        self.memory.write(table, index, entry.leading_to(to));
        self.mmu.publish();
        self.mmu.synchronize();
        Ok(())
    }
}
