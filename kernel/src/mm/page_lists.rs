//! Each context's lists of small blocks of page frames, in front of the zones.
//!
//! # Shape
//!
//! ```text
//! group = zone's class × mobility     order 0      order 1      order 2     order 3
//! (the four lowest bits of flags)     31 blocks    16           8           8          one magazine each
//!                                        │ ▲
//!                            empty: 4 ◄──┘ └──► full: 4          one lock of the zone each time
//! ```
//!
//! Blocks of whole pageblocks have lists of one block, as Linux lists those of its huge pages
//! (`pcp_allowed_order` in `mm/page_alloc.c`), where that is at most 1/64 of a zone's memory.
//!
//! What a [magazine](super::magazine) lists are entries of the frame table: the mark stands where the
//! links of a free block are. The head of an allocated block names the magazine that takes it, so that
//! a free finds it in the entry that it must check anyway.
//!
//! # Invariants
//!
//! 1. A listed block is allocated, as the zone sees it, and its entry names the magazine of its order.
//! 2. Magazines of page frames list the links of entries of this allocator's table alone.
//!
//! # Cost
//!
//! `take` and `list` touch the magazine, its slot and the entry. Past them, a refill takes at most four
//! blocks, and a drain gives four back.
//!
//! # Locking
//!
//! None of its own: see [`magazine`](super::magazine). A context drains other contexts' lists by
//! asking: they do it at their next slow path, or when [`follow_drains`](Frames::follow_drains) is
//! called there.
#![allow(
    unsafe_code,
    reason = "gives the links of entries to magazines, by the invariants above"
)]

use super::addr::{Order, Pfn};
use super::buddy::BATCH;
use super::frame::Frame;
use super::frame_error::FrameError;
use super::frames::{CLASSES, Frames};
use super::gfp::Gfp;
use super::local::{FIRST_OF_PAGES, Local, MAGAZINES, Peek};
use super::magazine::{Block, Magazine, Top};
use super::pageblock::{self, MigrateType};
use super::path;
use super::zone::ZoneKind;
use crate::sync::irq::{self, IrqMasked};
use crate::sync::percpu::MAX_CPUS;
#[cfg(target_os = "none")]
use crate::sync::request::{self, Cores, Request};
use core::sync::atomic::Ordering::Relaxed;
use wire::path::Step;

/// The largest order that is listed.
pub(super) const LARGEST: Order = Order::new(3).expect("below the largest");
/// Most blocks that a magazine holds, by order.
const CAPACITIES: [u16; 4] = [31, 16, 8, 8];
/// Groups that flags can name.
const GROUPS: usize = 16;
/// The first magazine for whole pageblocks.
const FIRST_OF_WHOLE: usize = FIRST_OF_PAGES + GROUPS * CAPACITIES.len();
const WHOLE_ORDERS: usize = Order::COUNT - pageblock::ORDER.index();
const _: () = assert!(FIRST_OF_WHOLE + GROUPS * WHOLE_ORDERS <= MAGAZINES);
/// Of how much memory a listed block is at most one part.
const SHARE: usize = 64;

/// The number of the magazine for blocks of `order`, a listed one, of `group`.
#[inline(always)]
const fn number(group: usize, order: Order) -> u8 {
    #[expect(clippy::cast_possible_truncation, reason = "64 to 127")]
    let number = (FIRST_OF_PAGES + group * CAPACITIES.len() + order.index()) as u8;
    number
}

/// The number of the magazine for blocks of `order`, a pageblock's or larger, of `group`.
const fn number_of_whole(group: usize, order: Order) -> u8 {
    let orders = order.index() - pageblock::ORDER.index();
    #[expect(clippy::cast_possible_truncation, reason = "128 to 159")]
    let number = (FIRST_OF_WHOLE + group * WHOLE_ORDERS + orders) as u8;
    number
}

/// Takes a block off a context's list, if there is one.
#[inline(always)]
pub(super) fn take(local: &Local, order: Order, gfp: Gfp) -> Option<Pfn> {
    if order > LARGEST {
        return None;
    }
    let block = local.magazine(number(gfp.group(), order)).pop().ok()?;
    Some(local.frame_of_links(block.address()))
}

/// Lists a block that is given back; false, and nothing done, if there is no room, if its entry
/// names no magazine, or if it is not an allocated block of `order`.
#[inline(always)]
pub(super) fn list(local: &Local, pfn: Pfn, order: Order) -> bool {
    let entry = local.entry(pfn);
    let place = entry.and_then(|entry| Some((entry, entry.magazine_place(order)?)));
    place.is_some_and(|(entry, place)| push(local.magazine_at_place(place), entry))
}

#[inline(always)]
fn push(magazine: &Magazine, entry: &Frame) -> bool {
    // SAFETY: the links of an allocated block's entry are its owner's, who gives it up.
    let block = unsafe { Block::new(entry.links()) };
    magazine.push(block).is_ok()
}

/// Takes what stands on top of a list, if anything does. Ends if it is on another list, too.
fn top(local: &Local, number: u8) -> Option<Pfn> {
    match local.magazine(number).top() {
        Top::Block(block) => Some(local.frame_of_links(block.address())),
        Top::Broken(address) => die_of_double_free(local, address),
        Top::Empty => None,
    }
}

impl Frames<'_> {
    /// The group that the lists of requests with these flags are in: several groups share one where
    /// the machine has no such zone.
    fn home_group(&self, gfp: Gfp) -> usize {
        let migrate = MigrateType::of_group(gfp.group());
        self.home_class(gfp.group() & 3) | migrate.index() << 2
    }

    /// Takes a block that is larger than those of the lists.
    #[inline]
    pub(super) fn alloc_large(&self, order: Order, gfp: Gfp) -> Option<Pfn> {
        if order < pageblock::ORDER {
            path::note(Step::Zone);
            return self.alloc_from_zone(order, gfp);
        }
        let local = self.locals.here();
        let number = number_of_whole(gfp.group(), order);
        if let Ok(block) = local.magazine(number).pop() {
            return Some(local.frame_of_links(block.address()));
        }
        self.alloc_whole(order, gfp)
    }

    /// Takes a block of whole pageblocks from a zone; its list will take it, if there is memory enough.
    #[inline(never)]
    fn alloc_whole(&self, order: Order, gfp: Gfp) -> Option<Pfn> {
        let local = self.locals.here();
        self.follow_drains();
        let number = number_of_whole(self.home_group(gfp), order);
        if let Some(pfn) = top(local, number) {
            return Some(pfn);
        }
        self.note_miss(local, gfp);
        let pfn = self.alloc_from_zone(order, gfp)?;
        let share = self.table.frames().len() / SHARE;
        if order.frames() as usize <= share {
            local.learn(self);
            if local.attach(number, 1) {
                self.table.at(pfn).set_allocated(order, number);
            }
        }
        Some(pfn)
    }

    #[inline]
    fn note_miss(&self, local: &Local, gfp: Gfp) {
        let misses = &local.page_misses[self.home_class(gfp.group() % CLASSES) % CLASSES];
        misses.set(misses.get() + 1);
    }

    /// Takes a block of a listed order where no list had one, and lists some more.
    #[inline(never)]
    pub(super) fn alloc_and_refill(&self, order: Order, gfp: Gfp) -> Option<Pfn> {
        let local = self.locals.here();
        self.follow_drains();
        let number = number(self.home_group(gfp), order);
        if let Some(pfn) = top(local, number) {
            return Some(pfn);
        }
        self.note_miss(local, gfp);
        local.learn(self);
        let has_slots = local.attach(number, CAPACITIES[order.index()]);
        let mut blocks = [Pfn::default(); BATCH];
        let taken = if has_slots {
            let migrate = MigrateType::of_group(gfp.group());
            let zone = self.zone_of_class(gfp.group());
            zone.alloc_batch((order, number), migrate, &mut blocks)
        } else {
            0
        };
        if taken == 0 {
            return self.alloc_slowly(order, gfp);
        }
        // The lowest is handed out last.
        for &pfn in blocks[1..taken].iter().rev() {
            let listed = push(local.magazine(number), self.table.at(pfn));
            assert!(listed, "an empty list has room");
        }
        Some(blocks[0])
    }

    /// Gives back a block of a listed order that the fast path did not list.
    #[inline(never)]
    pub(super) fn free_and_drain(&self, pfn: Pfn, order: Order) -> Result<(), FrameError> {
        if cfg!(feature = "hardened") && self.is_listed(pfn) {
            return Err(FrameError::DoubleFree(pfn));
        }
        self.follow_drains();
        let local = self.locals.here();
        let entry = self.table.find(pfn);
        match entry.and_then(|entry| Some((entry, entry.magazine(order)?))) {
            Some((entry, number)) if number > 0 && local.magazine(number).is_attached() => {
                self.drain_and_push(local, number, order, entry);
                Ok(())
            }
            Some((entry, number)) => self.free_first(pfn, order, (entry, number)),
            None => {
                path::note(Step::Zone);
                self.free_to_zone(pfn, order)
            }
        }
    }

    /// Gives back an allocated block whose entry names no list that this context has.
    #[inline(never)]
    fn free_first(
        &self,
        pfn: Pfn,
        order: Order,
        (entry, named): (&Frame, u8),
    ) -> Result<(), FrameError> {
        let state = self.table.pageblock(pfn).state();
        let local = self.locals.here();
        local.learn(self);
        let number = match named {
            0 => number(state.class() | state.row() << 2, order),
            named => named,
        };
        if !state.is_ordinary() || !local.attach(number, CAPACITIES[order.index()]) {
            path::note(Step::Zone);
            return self.free_to_zone(pfn, order);
        }
        entry.set_allocated(order, number);
        self.drain_and_push(local, number, order, entry);
        Ok(())
    }

    #[inline]
    fn drain_and_push(&self, local: &Local, number: u8, order: Order, entry: &Frame) {
        if !push(local.magazine(number), entry) {
            self.drain(local, number, order);
            assert!(
                push(local.magazine(number), entry),
                "a drained list has room"
            );
        }
    }

    /// Gives up to a batch of a list's blocks back to a zone, fewer where they merge far; whether there
    /// were any.
    fn drain(&self, local: &Local, number: u8, order: Order) -> bool {
        let mut next = || top(local, number);
        let Some(first) = next() else {
            return false;
        };
        let zone = self.zone_of_class(self.table.pageblock(first).state().class());
        if let Some(other) = zone.free_batch(first, order, &mut next) {
            self.give_back(other, order);
        }
        true
    }

    /// Gives a block that was listed back to its zone.
    fn give_back(&self, pfn: Pfn, order: Order) {
        if let Err(error) = self.free_to_zone(pfn, order) {
            panic!("a listed block cannot be freed: {error}");
        }
    }

    /// Gives back what this core has listed, and asks every other to do so.
    #[cold]
    pub fn drain_lists(&self) {
        self.drains.fetch_add(1, Relaxed);
        let own = self.locals.here();
        self.drain_all(own);
        // The interrupts' lists, one by one: nobody is kept waiting for all.
        for list in lists() {
            let irq = irq::mask();
            let contexts = self.locals.of_this_core(irq.proof());
            for local in contexts.filter(|local| !core::ptr::eq(*local, own)) {
                while self.drain(local, list.number, list.order) {}
            }
        }
        #[cfg(target_os = "none")]
        request::ask(Cores::MAX, Request::DrainFrames);
    }

    /// Gives back what this core has listed; an interrupt does so with its own lists alone.
    pub(super) fn drain_this_core(&self, irq: &IrqMasked) {
        for local in self.locals.of_this_core(irq) {
            self.drain_all(local);
        }
    }

    /// Gives back what this context has listed, if somebody asked since it last did.
    #[inline]
    pub fn follow_drains(&self) {
        let local = self.locals.here();
        if local.drained_frames.get() != self.drains.load(Relaxed) {
            self.drain_all(local);
        }
    }

    #[cold]
    #[inline(never)]
    fn drain_all(&self, local: &Local) {
        local.drained_frames.set(self.drains.load(Relaxed));
        for list in lists() {
            while self.drain(local, list.number, list.order) {}
        }
    }

    /// Frames on all contexts' lists, at about this moment.
    pub fn listed_frames(&self) -> u32 {
        let contexts = self.locals.all();
        let frames = contexts.flat_map(|peek| lists().map(move |list| list.frames(peek)));
        frames.sum()
    }

    /// What each core has listed of a zone, at about this moment; cores that never listed any are left out.
    pub fn page_lists(&self, zone: ZoneKind) -> impl Iterator<Item = PageLists> {
        let class = self.home_of(zone);
        (0..MAX_CPUS).filter_map(move |cpu| {
            let mut sum = PageLists {
                cpu,
                ..PageLists::default()
            };
            for peek in self.locals.all().filter(|peek| peek.cpu() == cpu) {
                sum.misses += peek.page_misses(class);
                for list in lists().filter(|list| list.class() == class) {
                    sum.frames += list.frames(peek);
                    sum.hits += peek.pops(list.number);
                    if peek.is_attached(list.number) {
                        sum.high_frames += u32::from(list.capacity) * list.order.frames();
                    }
                }
            }
            (sum.misses > 0 || sum.high_frames > 0).then_some(sum)
        })
    }

    /// Whether `pfn` starts a block that is on somebody's list, at about this moment.
    pub(super) fn is_listed(&self, pfn: Pfn) -> bool {
        let Some(entry) = self.table.find(pfn) else {
            return false;
        };
        let Some(number) = entry.magazine(entry.order()).filter(|number| *number > 0) else {
            return false;
        };
        let links = entry.links();
        // SAFETY: the entry is valid; whoever owns the block may write it, hence volatile.
        let mark = unsafe { links.cast::<u64>().read_volatile() };
        let address = links.as_ptr().addr() as u64;
        let mut peeks = self.locals.all();
        peeks.any(|peek| peek.lists(number, mark, address))
    }
}

#[cold]
#[inline(never)]
fn die_of_double_free(local: &Local, address: u64) -> ! {
    let pfn = local.frame_of_links(address);
    panic!("double free of frame {pfn:#x}: it is on two lists");
}

/// What a core has listed of a zone, in both contexts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageLists {
    /// The core.
    pub cpu: usize,
    /// Frames on its lists.
    pub frames: u32,
    /// Most frames that the lists which it has used so far may hold.
    pub high_frames: u32,
    /// Requests that a list served.
    pub hits: u64,
    /// Requests that found a list empty.
    pub misses: u64,
}

/// One of a context's lists.
#[derive(Clone, Copy)]
struct ListOf {
    /// Its magazine's.
    number: u8,
    group: usize,
    /// Its blocks'.
    order: Order,
    /// In blocks.
    capacity: u16,
}

impl ListOf {
    const fn class(self) -> usize {
        self.group % CLASSES
    }

    fn frames(self, peek: Peek<'_>) -> u32 {
        u32::from(peek.len(self.number, self.capacity)) * self.order.frames()
    }
}

/// All lists of a context.
fn lists() -> impl Iterator<Item = ListOf> {
    let small = |group| {
        let orders = Order::all().zip(CAPACITIES);
        orders.map(move |(order, capacity)| ListOf {
            number: number(group, order),
            group,
            order,
            capacity,
        })
    };
    let whole = |group| {
        let orders = Order::all().skip(pageblock::ORDER.index());
        orders.map(move |order| ListOf {
            number: number_of_whole(group, order),
            group,
            order,
            capacity: 1,
        })
    };
    (0..GROUPS).flat_map(move |group| small(group).chain(whole(group)))
}
