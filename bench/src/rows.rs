//! What each family does: its memory, its sequence of operations, its figures.

use crate::cores;
use crate::generator::{self, Orders, Xorshift, XorshiftStar};
use crate::map;
use crate::meter::Meter;
use crate::moving::Holes;
use crate::ops::{self, DmaUser, Ops};
use crate::plan::{Contention, Family, Figure, Operation, Work};
use crate::report::Reporter;
use crate::reserve::{Reserve, drain_lists};
use crate::samples::Samples;
use crate::scratch::Scratch;
use crate::subject::Timed;
use crate::workload::{self, MIXED, MIXED_LINUX, OutOfMemory, Slot, fill, pages, pathology};
use core::fmt;
use kernel::mm::addr::Order;
use kernel::mm::magazine::CAPACITY;
use kernel::mm::slab::{self, SLAB};
use kernel::vm::vmalloc::VmallocError;

/// Objects of the batches and of the cache, in bytes.
const OBJECT_BYTES: u32 = 64;
/// The order of the blocks that are counted after churn: 2 MiB.
const RECOVERED_ORDER: u32 = 9;
/// How many such blocks are asked for, of the 17 that free memory would make.
const REQUESTS: usize = 8;
/// A whole, in the unit of ratios.
const PER_MILLE: u64 = 1000;

/// Why a family was not measured.
#[derive(Debug)]
pub enum WorkError {
    /// Memory ran out in the middle.
    OutOfMemory(OutOfMemory),
    /// The allocator did not take back what it had given.
    RefusedFrees(u32),
    /// No place for an owner of movable blocks.
    NoOwner,
    /// There is no memory for the harness's own table.
    NoTable(VmallocError),
    /// The table of slots was full before memory was.
    OutOfSlots,
    /// The machine has less free memory than the family needs, in blocks of 4 MiB.
    TooLittleMemory {
        /// Blocks that it needs.
        needed: u32,
        /// Blocks that there are.
        blocks: u32,
    },
}

impl fmt::Display for WorkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory(error) => error.fmt(f),
            Self::RefusedFrees(frees) => write!(f, "{frees} frees were refused"),
            Self::NoOwner => f.write_str("no place for another owner of movable blocks"),
            Self::NoTable(error) => write!(f, "no room for its figures: {error}"),
            Self::OutOfSlots => f.write_str("no slot left before memory ran out"),
            Self::TooLittleMemory { needed, blocks } => write!(
                f,
                "needs {} MiB free in blocks of 4 MiB, there are {} (--mem gives more)",
                needed * 4,
                blocks * 4
            ),
        }
    }
}

impl core::error::Error for WorkError {}

impl From<OutOfMemory> for WorkError {
    fn from(error: OutOfMemory) -> Self {
        Self::OutOfMemory(error)
    }
}

/// What runs families.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// The meter.
    pub meter: &'a Meter,
    /// Who is told the figures.
    pub reporter: &'a Reporter,
    /// The seed; 0 for the published sequences.
    pub seed: u64,
}

impl Rows<'_> {
    /// Runs `family` on the kernel's own allocators; its samples are left in `scratch`.
    ///
    /// # Errors
    ///
    /// [`WorkError`].
    pub fn kernel(
        self,
        family: &Family,
        scratch: &mut Scratch,
        table: &mut [Slot],
    ) -> Result<(), WorkError> {
        let mut user = DmaUser::new();
        let ops = match family.work {
            Work::Layout(bytes) => ops::constant_layout(bytes).unwrap_or(ops::KMALLOC),
            Work::Cache64 | Work::SlabGrow => ops::CACHE_64,
            Work::Pages(_)
            | Work::PagesRefill
            | Work::PagesDrain
            | Work::PagesMix
            | Work::PagesChurn
            | Work::PagesChurnSingle
            | Work::PagesGrow
            | Work::PagesLifo
            | Work::RemoteFreePages
            | Work::Contended(Contention::Pages) => ops::PAGES,
            Work::Vmalloc(_) => ops::VMALLOC,
            Work::Dma(_) => ops::dma(&mut user),
            Work::Used => ops::KMALLOC.quiet(),
            Work::Metadata => ops::KMALLOC.keeping(ops::table_bytes(fill::FREE_BLOCKS)),
            Work::PagesMetadata => ops::PAGES.keeping(ops::table_bytes(pages::FREE_BLOCKS)),
            Work::Pathology(each) if each.fills_memory() => ops::KMALLOC.quiet(),
            Work::OrderHunger => ops::PAGES.quiet(),
            Work::CompactRequest => ops::PAGES_BY_COMPACTION,
            _ => ops::KMALLOC,
        };
        // What a family finds free does not depend on those before it where the rows say how much it is.
        let (most, least) = match family.work {
            Work::Pages(_) | Work::PagesRefill | Work::PagesDrain => (pages::FREE_BLOCKS, 1),
            Work::PagesMix
            | Work::PagesChurn
            | Work::PagesChurnSingle
            | Work::PagesGrow
            | Work::PagesLifo
            | Work::PagesMetadata => (pages::FREE_BLOCKS, pages::FREE_BLOCKS),
            Work::Used | Work::Metadata | Work::Compact | Work::CompactRequest => {
                (fill::FREE_BLOCKS, fill::FREE_BLOCKS)
            }
            Work::Pathology(each) if each.fills_memory() => {
                (pathology::FREE_BLOCKS, pathology::FREE_BLOCKS)
            }
            Work::OrderHunger => (pathology::HUNGER_BLOCKS, pathology::HUNGER_BLOCKS),
            _ => return self.on(family, ops, scratch, table),
        };
        let reserve = Reserve::leaving(most);
        if reserve.blocks() < least {
            let (needed, blocks) = (least, reserve.blocks());
            return Err(WorkError::TooLittleMemory { needed, blocks });
        }
        self.on(family, ops, scratch, table)
    }

    /// Runs `family` on `ops`, and gives back all that it took.
    ///
    /// # Errors
    ///
    /// [`WorkError`].
    pub fn on(
        self,
        family: &Family,
        ops: Ops<'_>,
        scratch: &mut Scratch,
        table: &mut [Slot],
    ) -> Result<(), WorkError> {
        let Scratch {
            samples,
            mixed,
            batch,
            order,
            ..
        } = scratch;
        let timed = &mut Timed::new(self.meter, ops, samples);
        let mut random = self.random(generator::CRATES_SEED);
        let mut linux = Xorshift::new(generator::seeded(generator::LINUX_SEED, self.seed));
        let result = match family.work {
            Work::Hot(amount)
            | Work::Kmalloc(amount)
            | Work::Layout(amount)
            | Work::Vmalloc(amount)
            | Work::Dma(amount) => workload::hot(timed, amount).map_err(WorkError::from),
            Work::Cache64 => workload::hot(timed, OBJECT_BYTES).map_err(WorkError::from),
            Work::Pages(order) => workload::hot(timed, u32::from(order)).map_err(WorkError::from),
            Work::Batch64(free_order) => {
                let memory = (&mut *batch, order);
                let done = workload::batch(timed, OBJECT_BYTES, free_order, &mut random, memory);
                done.map_err(WorkError::from)
            }
            Work::Toggle => {
                workload::toggle(timed, &mut random, MIXED, mixed).map_err(WorkError::from)
            }
            Work::ToggleLinux => {
                workload::toggle(timed, &mut linux, MIXED_LINUX, mixed).map_err(WorkError::from)
            }
            Work::Replace => {
                workload::replace(timed, &mut linux, MIXED_LINUX, mixed).map_err(WorkError::from)
            }
            Work::SlabGrow => workload::prepared(timed, OBJECT_BYTES, || {
                slab::shrink();
            })
            .map_err(WorkError::from),
            Work::PagesRefill => workload::prepared(timed, 0, drain_lists).map_err(WorkError::from),
            Work::PagesDrain => {
                let slots = &mut batch[..usize::from(CAPACITY) + 1];
                workload::last_free(timed, 0, slots, drain_lists).map_err(WorkError::from)
            }
            Work::RemoteFree(bytes) => {
                cores::remote_frees(timed, bytes, batch).map_err(WorkError::from)
            }
            Work::RemoteFreePages => cores::remote_frees(timed, 0, batch).map_err(WorkError::from),
            Work::RemoteStorm => {
                cores::costs()
                    .map_err(WorkError::NoTable)
                    .and_then(|mut costs| {
                        let slots = (&mut *batch, &mut mixed[..]);
                        Ok(cores::storm(timed, OBJECT_BYTES, slots, &mut costs)?)
                    })
            }
            Work::Contended(contention) => return self.contended(contention, ops, samples, table),
            Work::Compact | Work::CompactRequest => self.compacted(family, timed, mixed),
            Work::Pathology(each) => each.run(timed, &mut random, table).map_err(WorkError::from),
            Work::OrderHunger => self.hunger(family, timed, table),
            Work::Fragmented => self.fragmented(family, timed, mixed, table),
            Work::Used => self.used(family, timed, table),
            Work::Metadata => {
                self.metadata(family, timed, fill::WHOLE, table);
                Ok(())
            }
            Work::PagesMetadata => {
                self.metadata(family, timed, pages::WHOLE, table);
                Ok(())
            }
            Work::PagesLifo => {
                pages::lifo(timed, &mut table[..pages::LIFO]).map_err(WorkError::from)
            }
            Work::Held1024 => self.held(family, timed, MIXED_LINUX, mixed),
            Work::Held65536 => self.held(family, timed, fill::HELD, &mut table[..fill::HELD_SLOTS]),
            Work::PagesMix | Work::PagesChurn | Work::PagesChurnSingle | Work::PagesGrow => {
                self.pages(family, timed, table)
            }
        };
        workload::clear(timed, mixed);
        workload::clear(timed, batch);
        workload::clear(timed, table);
        result?;
        all_taken_back()
    }

    fn compacted(
        self,
        family: &Family,
        timed: &mut Timed<'_>,
        slots: &mut [Slot],
    ) -> Result<(), WorkError> {
        let holes = Holes::new(&mut self.random(generator::CHURN_SEED));
        let holes = holes.ok_or(WorkError::NoOwner)??;
        if family.work == Work::Compact {
            holes.compact(self.meter, self.reporter, family);
        } else {
            workload::take_all(timed, RECOVERED_ORDER, &mut slots[..REQUESTS])?;
            workload::clear(timed, slots);
        }
        Ok(())
    }

    fn contended(
        self,
        contention: Contention,
        ops: Ops<'_>,
        samples: &mut [Samples; Operation::ALL.len()],
        table: &mut [Slot],
    ) -> Result<(), WorkError> {
        let mut costs = cores::costs().map_err(WorkError::NoTable)?;
        let random = |core| {
            XorshiftStar::new(generator::seeded(
                generator::CRATES_SEED,
                self.seed.wrapping_add(core),
            ))
        };
        let tables = (table, &mut costs);
        cores::contend(self.meter, ops, contention, random, samples, tables)?;
        all_taken_back()
    }

    const fn random(&self, published: u64) -> XorshiftStar {
        XorshiftStar::new(generator::seeded(published, self.seed))
    }

    fn fragmented(
        self,
        family: &Family,
        timed: &mut Timed<'_>,
        mixed: &mut [Slot],
        table: &mut [Slot],
    ) -> Result<(), WorkError> {
        let slots = &mut table[..fill::FRAGMENT_SLOTS];
        let mut churn = self.random(generator::CHURN_SEED);
        self.draw(family, "before");
        fill::fragment(timed, &mut churn, timed.fragment(), slots)?;
        self.draw(family, "after");
        timed.forget_cold();
        let mut random = self.random(generator::CRATES_SEED);
        Ok(workload::toggle(timed, &mut random, MIXED, mixed)?)
    }

    fn used(
        self,
        family: &Family,
        timed: &mut Timed<'_>,
        table: &mut [Slot],
    ) -> Result<(), WorkError> {
        let mut sizes = self.random(generator::FILL_SEED);
        if !fill::fill(timed, &mut sizes, table) {
            return Err(WorkError::OutOfSlots);
        }
        let asked = workload::live_amount(table);
        let all = u64::from(fill::FREE_BLOCKS) * Order::MAX.bytes();
        self.reporter.figure(family, Figure::Asked, asked);
        let ratio = per_mille(asked, all);
        self.reporter.figure(family, Figure::Ratio, ratio);
        Ok(())
    }

    fn metadata(
        self,
        family: &Family,
        timed: &mut Timed<'_>,
        whole: fill::Whole,
        table: &mut [Slot],
    ) {
        let had = fill::blocks(&mut timed.quietly(), whole.amount, table) * whole.amount_bytes;
        let lost = whole.bytes.saturating_sub(had) + timed.kept_bytes();
        self.reporter.figure(family, Figure::Lost, lost);
    }

    fn held(
        self,
        family: &Family,
        timed: &mut Timed<'_>,
        count: workload::Count,
        slots: &mut [Slot],
    ) -> Result<(), WorkError> {
        let held = || {
            slab::shrink();
            SLAB.held_bytes()
        };
        let before = held();
        let mut linux = Xorshift::new(generator::seeded(generator::LINUX_SEED, self.seed));
        workload::replace(timed, &mut linux, count, slots)?;
        let (held, asked) = (held() - before, workload::live_amount(slots));
        self.reporter.figure(family, Figure::Asked, asked);
        self.reporter.figure(family, Figure::Held, held);
        let ratio = per_mille(held, asked);
        self.reporter.figure(family, Figure::Ratio, ratio);
        Ok(())
    }

    fn hunger(
        self,
        family: &Family,
        timed: &mut Timed<'_>,
        table: &mut [Slot],
    ) -> Result<(), WorkError> {
        let mut churn = self.random(generator::CHURN_SEED);
        let slots = &mut table[..pathology::HUNGER_SLOTS];
        let granted = pathology::hunger(timed, &mut churn, slots)?;
        self.reporter.figure(family, Figure::Granted, granted);
        Ok(())
    }

    /// Sends how physical memory stands, if any row of `family` was asked for; not if its allocator is not
    /// the kernel's, which has one large area whatever it does.
    fn draw(self, family: &Family, when: &str) {
        let is_kernels = !family.name.starts_with("peer/");
        if is_kernels && self.reporter.wants_family(family) {
            map::send(self.reporter, &family.name, when);
        }
    }

    fn pages(
        self,
        family: &Family,
        timed: &mut Timed<'_>,
        table: &mut [Slot],
    ) -> Result<(), WorkError> {
        let mut churn = self.random(generator::CHURN_SEED);
        if matches!(family.work, Work::PagesChurn | Work::PagesChurnSingle) {
            self.draw(family, "before");
        }
        let used = match family.work {
            Work::PagesMix => {
                let mut orders = Orders(self.random(generator::CRATES_SEED), pages::MIX_ORDER);
                workload::toggle(
                    timed,
                    &mut orders,
                    pages::MIX,
                    &mut table[..pages::MIX_SLOTS],
                )?;
                return Ok(());
            }
            Work::PagesChurn => {
                let mut orders = Orders(churn, pages::CHURN_ORDER);
                let slots = &mut table[..pages::CHURN_SLOTS];
                workload::toggle(timed, &mut orders, pages::CHURN, slots)?;
                pages::CHURN_SLOTS
            }
            Work::PagesChurnSingle => {
                pages::churn_single(timed, &mut churn, &mut table[..pages::HALF])?;
                pages::HALF
            }
            _ => return Ok(pages::grow(timed, &mut churn, &mut table[..pages::GROWN])?),
        };
        self.draw(family, "after");
        let (slots, rest) = table.split_at_mut(used);
        let free_frames = pages::FREE_BLOCKS * Order::MAX.frames() - pages::live_frames(slots);
        let recovered = fill::blocks(&mut timed.quietly(), RECOVERED_ORDER, rest);
        let ideal = free_frames >> RECOVERED_ORDER;
        self.reporter.figure(family, Figure::Recovered, recovered);
        self.reporter.figure(family, Figure::Ideal, ideal.into());
        Ok(())
    }
}

/// Whether every free was accepted.
fn all_taken_back() -> Result<(), WorkError> {
    match ops::take_refusals() {
        0 => Ok(()),
        refused => Err(WorkError::RefusedFrees(refused)),
    }
}

/// `part` in thousandths of `whole`, rounded.
fn per_mille(part: u64, whole: u64) -> u64 {
    (part * PER_MILLE + whole / 2)
        .checked_div(whole)
        .unwrap_or(0)
}
