//! What each context of each core has for itself: its magazines, and what the fast paths look up.
//!
//! # Shape
//!
//! ```text
//! TPIDR_EL1 ─► [ memory │ magazines: caches 1 …, pages 64 … ]   thread, core 0
//!              [ the same                                   ]   interrupt, core 0
//!              …                                                core 1 …
//! ```
//!
//! The entry of an interrupt that comes from EL1 points TPIDR_EL1 to the core's interrupt context, and
//! its return points it back. An interrupt from EL0 interrupts no kernel code and stays in the thread's.
//!
//! On the host a context is a thread, and every allocator has contexts of its own.
//!
//! # Invariants
//!
//! 1. A `&Local` that was got from [`Locals::here`] does not leave its context: `Local` is not `Sync`.
//! 2. With interrupts masked, the thread context may use the core's interrupt context too: nothing else
//!    does then ([`Locals::of_this_core`]). An interrupt never uses the thread's.
//!
//! # Cost
//!
//! One `mrs`. 4.2 KiB a context, and 256 bytes for each magazine that is used.
#![allow(
    unsafe_code,
    reason = "shares what is each context's own, by the invariants above"
)]

use super::addr::{PAGE_SHIFT, Pfn};
use super::frame::Frame;
use super::frames::{CLASSES, Frames};
use super::magazine::{Magazine, Slots};
#[cfg(target_os = "none")]
use super::{addr::Order, frames::FrameError, gfp::Gfp};
use crate::sync::owned::OwnedWord;
use core::{cell::Cell, fmt, ptr::NonNull};

/// Magazines of a context: one for each value of a byte, so that none of a frame's entry leads elsewhere.
pub const MAGAZINES: usize = 256;
/// The first magazine that page frames have; those below are the slab caches'. Magazine 0 is nobody's.
pub const FIRST_OF_PAGES: usize = 64;
/// How many magazines can have slots: the first ones that are used.
pub const WITH_SLOTS: usize = 128;
/// Which byte of a frame's entry is the number of its objects' magazine.
const ENTRY_MAGAZINE: u64 = 2;

/// Where a magazine stands among a context's, in bytes.
///
/// # Invariants
///
/// 1. It is a multiple of a magazine's size, and less than all of them have.
#[derive(Clone, Copy, Debug)]
pub struct Place(usize);

const _: () = assert!(size_of::<Magazine>() == 16 && MAGAZINES == 256);

impl Place {
    /// The place of the magazine whose number is the fourth byte of `word`; `None` if the rest is not 0.
    /// An index would be two instructions, this is part of one.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits here")]
    pub const fn of_fourth_byte(word: u64) -> Option<Self> {
        if word & !0xff00_0000 == 0 {
            Some(Self(word as usize >> 20))
        } else {
            None
        }
    }

    /// The magazine's number.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "by invariant 1")]
    pub const fn number(self) -> u8 {
        (self.0 >> 4) as u8
    }
}

/// What one context has for itself.
#[repr(C, align(64))]
pub struct Local {
    /// The first address of the linear map that has an entry, how many bytes have one, the entries.
    start: OwnedWord,
    bytes: OwnedWord,
    entries: OwnedWord,
    /// Which frames have an entry: the first, and in the high half how many.
    span: OwnedWord,
    /// The last request to give objects back that it followed.
    pub(super) drained_objects: OwnedWord,
    /// Where the entry of frame 0 would be.
    origin: OwnedWord,
    /// The last request to drain the lists of page frames that it followed.
    pub(super) drained_frames: OwnedWord,
    /// Arrays of slots for magazines, and how many of them have theirs.
    slots: Cell<Option<NonNull<[Slots; WITH_SLOTS]>>>,
    attached: Cell<usize>,
    /// Arrays that magazines gave back, each with the next one's address in its first word.
    spare: Cell<Option<NonNull<Slots>>>,
    /// How often a list of page frames had none, by the class of its zone.
    pub(super) page_misses: [OwnedWord; CLASSES],
    /// The path that the running operation took so far, and the misses that earlier ones had.
    #[cfg(all(target_os = "none", feature = "paths"))]
    path: OwnedWord,
    #[cfg(all(target_os = "none", feature = "paths"))]
    earlier_misses: OwnedWord,
    magazines: [Magazine; MAGAZINES],
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").finish_non_exhaustive()
    }
}

impl Local {
    /// All zeros, as static memory is: not usable before [`init`](Self::init).
    pub const fn zero() -> Self {
        Self {
            start: OwnedWord::new(0),
            bytes: OwnedWord::new(0),
            entries: OwnedWord::new(0),
            drained_objects: OwnedWord::new(0),
            span: OwnedWord::new(0),
            origin: OwnedWord::new(0),
            drained_frames: OwnedWord::new(0),
            slots: Cell::new(None),
            attached: Cell::new(0),
            spare: Cell::new(None),
            page_misses: [const { OwnedWord::new(0) }; CLASSES],
            #[cfg(all(target_os = "none", feature = "paths"))]
            path: OwnedWord::new(0),
            #[cfg(all(target_os = "none", feature = "paths"))]
            earlier_misses: OwnedWord::new(0),
            magazines: [const { Magazine::zero() }; MAGAZINES],
        }
    }

    /// Makes it usable: no memory is known yet, and no magazine has slots.
    pub fn init(&self) {
        for magazine in &self.magazines {
            magazine.detach();
        }
    }

    /// Learns where memory and its entries are, unless it is known; until then no address has any.
    pub fn learn(&self, frames: &Frames<'_>) {
        if self.bytes.get() > 0 {
            return;
        }
        let table = frames.table();
        let entries = table.frames();
        let start = frames.linear().to_virt(table.span().start.address());
        self.start.set(start.get());
        self.entries
            .set(entries.as_ptr().expose_provenance() as u64);
        self.bytes.set((entries.len() as u64) << PAGE_SHIFT);
        let first = u64::from(table.span().start.get());
        let address = self.entries.get();
        self.span.set((entries.len() as u64) << 32 | first);
        let before = first * size_of::<Frame>() as u64;
        self.origin.set(address.wrapping_sub(before));
    }

    /// The path that the running operation took so far.
    #[cfg(all(target_os = "none", feature = "paths"))]
    pub(super) const fn path(&self) -> &OwnedWord {
        &self.path
    }

    /// Whether a list of page frames had none since this was asked last.
    #[cfg(all(target_os = "none", feature = "paths"))]
    pub(super) fn take_miss(&self) -> bool {
        let misses = self.page_misses.iter().map(OwnedWord::get).sum();
        let earlier = self.earlier_misses.get();
        self.earlier_misses.set(misses);
        misses != earlier
    }

    /// The magazine numbered `number`.
    #[inline(always)]
    pub fn magazine(&self, number: u8) -> &Magazine {
        &self.magazines[usize::from(number)]
    }

    /// The magazine at `place`.
    #[inline(always)]
    pub fn magazine_at_place(&self, place: Place) -> &Magazine {
        // Added before the array's offset, which the load then has room for.
        let shifted = core::ptr::from_ref(self).wrapping_byte_add(place.0);
        let magazine = shifted.wrapping_byte_add(core::mem::offset_of!(Self, magazines));
        // SAFETY: at the start of one of the array's magazines, by the place's invariant.
        unsafe { &*magazine.cast() }
    }

    /// The number of the magazine of the object at `address`, as its frame's entry says: if there is
    /// none, or if the entry is garbage, of one that refuses or that belongs to others, who notice. `None`
    /// where there is no memory.
    #[inline(always)]
    pub fn number_at(&self, address: u64) -> Option<u8> {
        let offset = address.wrapping_sub(self.start.get());
        if offset >= self.bytes.get() {
            return None;
        }
        let entry = self.entries.get() + (offset >> PAGE_SHIFT) * size_of::<Frame>() as u64;
        #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits here")]
        let byte = core::ptr::with_exposed_provenance::<u8>((entry + ENTRY_MAGAZINE) as usize);
        // SAFETY: inside the entries that `learn` was shown, which outlive whoever has blocks. The block
        // is the caller's, so nobody changes its entry now; for a wrong address any value will do.
        Some(unsafe { byte.read_volatile() })
    }

    /// The entry of `pfn`, valid or not; `None` where there is none.
    #[inline(always)]
    pub(super) fn entry(&self, pfn: Pfn) -> Option<&Frame> {
        let (entries, span) = (self.entries.get(), self.span.get());
        #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
        let index = pfn.get().wrapping_sub(span as u32);
        if u64::from(index) >= span >> 32 {
            return None;
        }
        let entry = entries + u64::from(index) * size_of::<Frame>() as u64;
        #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits here")]
        let entry = core::ptr::with_exposed_provenance::<Frame>(entry as usize);
        // SAFETY: inside the entries that `learn` was shown, which outlive whoever has blocks.
        Some(unsafe { &*entry })
    }

    /// The frame whose entry's links are at `address`.
    #[inline(always)]
    pub(super) fn frame_of_links(&self, address: u64) -> Pfn {
        let pfn = address.wrapping_sub(self.origin.get()) / size_of::<Frame>() as u64;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a frame number has 32 bits"
        )]
        Pfn::new(pfn as u32)
    }

    /// Gives the context slots for its magazines, the first time.
    ///
    /// # Safety
    ///
    /// `slots` is writable memory, and belongs to the context from now on.
    pub unsafe fn set_slots(&self, slots: NonNull<[Slots; WITH_SLOTS]>) {
        if self.slots.get().is_none() {
            self.slots.set(Some(slots));
        }
    }

    /// Gives the magazine numbered `number`, if it has none, slots for `capacity` blocks; false while
    /// the context has none to give.
    pub fn attach(&self, number: u8, capacity: u16) -> bool {
        let magazine = self.magazine(number);
        if magazine.is_attached() {
            return true;
        }
        let Some(array) = self.spare_slots().or_else(|| self.unused_slots()) else {
            return false;
        };
        // SAFETY: the array is the context's, by the promise given to `set_slots`, and no other
        // magazine's.
        unsafe { magazine.attach(array, capacity) };
        true
    }

    /// Takes its slots from the magazine numbered `number`, which is empty, for others.
    pub fn detach(&self, number: u8) {
        if let Some(array) = self.magazine(number).take_slots() {
            // SAFETY: the array is the context's, and no magazine's any more.
            unsafe {
                array
                    .cast::<Option<NonNull<Slots>>>()
                    .write(self.spare.get());
            }
            self.spare.set(Some(array));
        }
    }

    fn spare_slots(&self) -> Option<NonNull<Slots>> {
        let array = self.spare.get()?;
        // SAFETY: `detach` wrote it, and the array was nobody's since.
        self.spare.set(unsafe { array.cast().read() });
        Some(array)
    }

    fn unused_slots(&self) -> Option<NonNull<Slots>> {
        let attached = self.attached.get();
        let slots = self.slots.get().filter(|_| attached < WITH_SLOTS)?;
        self.attached.set(attached + 1);
        // SAFETY: the number is below that of the arrays.
        Some(unsafe { slots.cast::<Slots>().add(attached) })
    }
}

/// Order of the block that a context's slots are in.
#[cfg(target_os = "none")]
const SLOTS_ORDER: Option<Order> = Order::holding(size_of::<[Slots; WITH_SLOTS]>() as u64);

/// Gives both contexts of core `core`, which does not run or is this one, their slots; they stay theirs
/// for good.
///
/// # Errors
///
/// No memory; the core's magazines then stay without, and everything takes the slow paths.
#[cfg(target_os = "none")]
pub fn provide_slots(frames: &Frames<'_>, core: usize) -> Result<(), FrameError> {
    let order = SLOTS_ORDER.expect("a few pages");
    for local in crate::arch::cpu::locals_of(core) {
        if local.slots.get().is_some() {
            continue;
        }
        let pfn = frames.alloc(order, Gfp::KERNEL)?;
        let start = frames.linear().to_virt(pfn.address()).as_mut_ptr();
        let start = NonNull::new(start).expect("the linear map is not at 0");
        // SAFETY: the block was taken just now, is large enough, and never given back.
        unsafe { local.set_slots(start) };
    }
    Ok(())
}

#[cfg(target_os = "none")]
mod imp {
    use super::Local;
    use crate::{
        arch::cpu,
        sync::{irq::IrqMasked, request::Cores},
    };

    /// The contexts of all cores. On the machine there is one set, which TPIDR_EL1 leads to; so there is
    /// one allocator of each kind.
    #[derive(Debug)]
    pub struct Locals(());

    impl Locals {
        pub(in crate::mm) const fn new() -> Self {
            Self(())
        }

        /// This context's.
        #[inline(always)]
        pub fn here(&self) -> &Local {
            cpu::local()
        }

        /// Both contexts of this core; in the interrupt context that one alone, for the thread may be in
        /// the middle of what it does with its own.
        pub fn of_this_core<'a>(&'a self, proof: &'a IrqMasked) -> impl Iterator<Item = &'a Local> {
            cpu::locals_of_this_core(proof)
        }

        /// The cores whose contexts exist.
        pub fn cores(&self) -> Cores {
            cpu::ready()
        }

        /// What all contexts that exist let others see.
        pub fn all(&self) -> impl Iterator<Item = super::Peek<'_>> {
            cpu::all_locals().map(|(cpu, local)| super::Peek { cpu, local })
        }
    }
}

#[cfg(not(target_os = "none"))]
mod imp {
    use super::{Local, Slots, WITH_SLOTS};
    use crate::sync::{
        irq::IrqMasked,
        percpu::{MAX_CPUS, cpu},
        request::Cores,
    };
    use core::{
        ptr::NonNull,
        sync::atomic::{AtomicPtr, Ordering},
    };
    use std::boxed::Box;

    /// The contexts of all threads, each made when it is first used.
    #[derive(Debug)]
    pub struct Locals([AtomicPtr<Local>; MAX_CPUS]);

    impl Locals {
        pub(in crate::mm) const fn new() -> Self {
            Self([const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_CPUS])
        }

        /// This thread's.
        #[inline(always)]
        pub fn here(&self) -> &Local {
            let place = &self.0[cpu()];
            let local = place.load(Ordering::Relaxed);
            if local.is_null() {
                return Self::make(place);
            }
            // SAFETY: made by `make`, and freed when the value is dropped.
            unsafe { &*local }
        }

        #[cold]
        #[inline(never)]
        fn make(place: &AtomicPtr<Local>) -> &Local {
            let local = Box::new(Local::zero());
            local.init();
            let slots = Box::leak(Box::new([const { Slots::zero() }; WITH_SLOTS]));
            // SAFETY: leaked just now; `drop` takes it back.
            unsafe { local.set_slots(NonNull::from(slots)) };
            let local = Box::into_raw(local);
            place.store(local, Ordering::Release);
            // SAFETY: just made; freed when the value is dropped.
            unsafe { &*local }
        }

        /// This thread's, alone: the host has no interrupts.
        pub fn of_this_core<'a>(
            &'a self,
            _proof: &'a IrqMasked,
        ) -> impl Iterator<Item = &'a Local> {
            core::iter::once(self.here())
        }

        /// No cores: threads cannot be asked.
        pub const fn cores(&self) -> Cores {
            0
        }

        /// What all contexts that exist let others see.
        pub fn all(&self) -> impl Iterator<Item = super::Peek<'_>> {
            let contexts = self.0.iter().enumerate();
            contexts.filter_map(|(cpu, place)| {
                let local = place.load(Ordering::Acquire);
                // SAFETY: null, or made by `make` and freed when the value is dropped.
                let local = unsafe { local.as_ref() }?;
                Some(super::Peek { cpu, local })
            })
        }
    }

    impl Drop for Locals {
        fn drop(&mut self) {
            for place in &mut self.0 {
                let local = *place.get_mut();
                if local.is_null() {
                    continue;
                }
                // SAFETY: made by `make` out of a box, and nobody refers to it any more.
                let local = unsafe { Box::from_raw(local) };
                if let Some(slots) = local.slots.get() {
                    // SAFETY: as above.
                    drop(unsafe { Box::from_raw(slots.as_ptr()) });
                }
            }
        }
    }

    // SAFETY: each thread is handed its own context alone, by its number; what others may look at are
    // words made for that.
    unsafe impl Sync for Locals {}
}

pub use imp::Locals;

/// Another context's magazines, to be looked at.
#[derive(Clone, Copy, Debug)]
pub struct Peek<'a> {
    cpu: usize,
    local: &'a Local,
}

impl Peek<'_> {
    /// The core whose context it is.
    pub const fn cpu(self) -> usize {
        self.cpu
    }

    /// How often a list of page frames of zones of `class` had none.
    pub(super) fn page_misses(self, class: usize) -> u64 {
        self.local.page_misses[class].peek()
    }

    /// How many blocks the magazine numbered `number`, of that capacity, held at about this moment.
    pub fn len(self, number: u8, capacity: u16) -> u16 {
        self.local.magazines[usize::from(number)].peek_len(capacity)
    }

    /// Whether the magazine numbered `number` had slots at about this moment.
    pub fn is_attached(self, number: u8) -> bool {
        self.local.magazines[usize::from(number)].peek_is_attached()
    }

    /// How many it has ever handed out.
    pub fn pops(self, number: u8) -> u64 {
        self.local.magazines[usize::from(number)].peek_pops()
    }

    /// Whether it lists the block at `address` in the slot at `mark`.
    pub fn lists(self, number: u8, mark: u64, address: u64) -> bool {
        self.local.magazines[usize::from(number)].peek_lists(mark, address)
    }
}
