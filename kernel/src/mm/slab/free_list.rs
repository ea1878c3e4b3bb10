//! Free objects, chained through themselves: the only file that reads and writes inside them.
//!
//! # Shape
//!
//! ```text
//! core's list      head ─► [next│seal│ … ] ─► [next│seal│ … ] ─► 0        next = address
//! slab's list      free ─► [next│seal│ … ] ─► [next│seal│ … ] ─► none     next = index
//!
//! seal = own address ^ next ^ key of the list
//! ```
//!
//! The seal says "free, on that list, and this is its successor". It is broken when the object is
//! taken off. So an object that stands on a list twice is noticed when it comes off the second time,
//! one that stands on two lists is noticed on the list whose seal was overwritten, and a write to a
//! free object's first two words is noticed before its link is followed.
//!
//! # Invariants
//!
//! 1. Whoever holds an [`Object`] alone may touch that memory: it was promised when it was made, and
//!    an `Object` is neither copied nor cloned.
//! 2. A list's `head`, and `next` behind an unbroken seal, are addresses of objects given to `push`.
//! 3. Core *n* alone uses list *n*, with interrupts masked; [`Local`] is the proof. Others read only
//!    the number of objects on it.
//! 4. All keys share their upper 24 bits, so one shift tells whether a seal can be one.
//!
//! # Cost
//!
//! Both `push` and `pop` touch the list's one cache line and the object's first 16 bytes.
#![allow(
    unsafe_code,
    reason = "links live inside free objects; this file is the only one that reads and writes them"
)]

use super::geometry::{Geometry, Shape};
use super::memory::Extent;
use crate::mm::addr::{Pfn, VirtAddr};
use crate::mm::frame::CacheId;
use crate::sync::{
    IrqMasked,
    percpu::{self, MAX_CPUS},
};
use core::{
    cell::Cell,
    marker::PhantomData,
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

/// The upper 24 bits of every key: fractional bits of the golden ratio, like no address's; and 16
/// significant ones, which one instruction loads.
const KEY: u64 = 0x9e37 << KEY_BITS;
const KEY_BITS: u32 = 40;
const SLAB_KEY: u64 = 1 << (KEY_BITS - 1);

/// The key of core `cpu`'s list of `cache`.
const fn cpu_key(cache: CacheId, cpu: usize) -> u64 {
    KEY | (cache.0 as u64) << 8 | cpu as u64
}

/// The key of the list of the slab at `head`.
pub(super) const fn slab_key(head: Pfn) -> u64 {
    KEY | SLAB_KEY | head.get() as u64
}

/// Whether `key` is that of the slab at `head`, or of any core's list of any of `caches`.
pub(super) fn is_key(key: u64, head: Option<Pfn>, caches: u16) -> bool {
    let (cache, cpu) = ((key ^ KEY) >> 8, (key & 0xff) as usize);
    head.is_some_and(|head| key == slab_key(head)) || (cache < u64::from(caches) && cpu < MAX_CPUS)
}

/// The first words of a free object.
#[derive(Clone, Copy)]
#[repr(C)]
struct Links {
    next: u64,
    seal: u64,
}

/// The start of an object that is the allocator's alone.
#[derive(Debug)]
pub(crate) struct Object(NonNull<Links>);

impl Object {
    /// Takes over an object.
    ///
    /// # Safety
    ///
    /// The 16 bytes at `start`, aligned to 8, are writable memory, and the caller gives them up.
    #[inline]
    pub(crate) unsafe fn new(start: NonNull<u8>) -> Self {
        Self(start.cast())
    }

    /// Its address.
    #[inline]
    pub(crate) fn address(&self) -> VirtAddr {
        VirtAddr::from_ptr(self.0.as_ptr())
    }

    /// Hands it to a caller, who owns it from now on.
    #[inline]
    pub(crate) fn into_raw(self) -> NonNull<u8> {
        self.0.cast()
    }

    /// The key that would make a seal of what stands in an object that a caller gives back.
    #[inline]
    pub(super) fn key(&self) -> u64 {
        let [next, seal] = [0, 1].map(|word| {
            // SAFETY: by invariant 1 both words are there and ours.
            let word = unsafe { self.0.cast::<u64>().add(word) };
            // The caller may never have written it. Volatile, so that the compiler, which may know
            // that, has to take what is there for a value.
            // SAFETY: as above.
            unsafe { word.read_volatile() }
        });
        next ^ seal ^ self.address().get()
    }

    /// Whether [`key`](Self::key) can be a key at all: rarely so for an object in use.
    #[inline]
    pub(super) fn may_be_sealed(&self) -> bool {
        (self.key() ^ KEY) >> KEY_BITS == 0
    }

    /// Links it before `next` on the list with that key.
    #[inline]
    pub(super) fn seal(&self, next: u64, key: u64) {
        let seal = self.address().get() ^ next ^ key;
        // SAFETY: by invariant 1 the memory is there and ours.
        unsafe { self.0.write(Links { next, seal }) };
    }

    /// Its successor on the list with that key; `None` if it does not say that it is on it.
    #[inline]
    pub(super) fn sealed_next(&self, key: u64) -> Option<u64> {
        // SAFETY: by invariant 1 the memory is there and ours; all of it was written when the object
        // was put on the list.
        let Links { next, seal } = unsafe { self.0.read() };
        (next ^ seal ^ self.address().get() == key).then_some(next)
    }

    /// Breaks the seal, whatever it was: the object is on no list.
    #[inline]
    pub(super) fn unseal(&self) {
        // SAFETY: by invariant 1 both words are there and ours.
        let seal = unsafe { self.0.cast::<u64>().add(1) };
        // SAFETY: as above.
        unsafe { seal.write(0) };
    }
}

/// One core's free objects of one cache, last in, first out, and what to check them by.
#[derive(Debug)]
#[repr(align(32))]
struct CpuList {
    head: Cell<u64>,
    key: Cell<u64>,
    reciprocal: Cell<u32>,
    tag: Cell<u32>,
    mask: Cell<u16>,
    limit: Cell<u16>,
    count: AtomicU32,
}

const _: () = assert!(size_of::<CpuList>() == 32, "two lists a cache line");

impl CpuList {
    const fn new(cache: CacheId, cpu: usize) -> Self {
        Self {
            head: Cell::new(0),
            key: Cell::new(cpu_key(cache, cpu)),
            reciprocal: Cell::new(0),
            tag: Cell::new(0),
            mask: Cell::new(0),
            limit: Cell::new(0),
            count: AtomicU32::new(0),
        }
    }

    const fn set(&self, cache: CacheId, geometry: &Geometry) {
        let shape = Shape::new(cache, geometry);
        self.reciprocal.replace(shape.reciprocal);
        self.tag.replace(shape.tag);
        self.mask.replace(shape.mask);
        self.limit.replace(geometry.limit());
    }
}

/// What a core's list had.
pub(super) enum Popped<T> {
    /// An object, its seal broken now, and what the check found.
    Object(Object, T),
    /// Nothing.
    Empty,
    /// What is first does not say so, or did not pass the check. It is there still.
    Broken(VirtAddr),
}

/// What one core needs to take objects and to give them back.
#[derive(Debug)]
#[repr(C, align(64))]
struct Core<'f, const CACHES: usize> {
    extent: Cell<Extent<'f>>,
    lists: [CpuList; CACHES],
}

/// The lists of all cores and caches.
#[derive(Debug)]
pub(super) struct CpuLists<'f, const CACHES: usize>([Core<'f, CACHES>; MAX_CPUS]);

// SAFETY: by invariant 3 one core at a time uses its cells; and what writes all cores' cells comes
// before anybody can use them: `set_extent` before there is an object, `set` before anybody has that
// cache's number.
unsafe impl<const CACHES: usize> Sync for CpuLists<'_, CACHES> {}

impl<'f, const CACHES: usize> CpuLists<'f, CACHES> {
    /// Empty lists; `geometries` are those of the first caches.
    pub(super) const fn new(geometries: &[Geometry]) -> Self {
        let mut cores = [const {
            Core {
                extent: Cell::new(Extent::NONE),
                lists: [const { CpuList::new(CacheId(0), 0) }; CACHES],
            }
        }; MAX_CPUS];
        let mut cpu = 0;
        while cpu < MAX_CPUS {
            let mut cache = 0;
            while cache < CACHES {
                #[expect(clippy::cast_possible_truncation, reason = "few caches")]
                let id = CacheId(cache as u16);
                cores[cpu].lists[cache] = CpuList::new(id, cpu);
                if cache < geometries.len() {
                    cores[cpu].lists[cache].set(id, &geometries[cache]);
                }
                cache += 1;
            }
            cpu += 1;
        }
        Self(cores)
    }

    /// Tells all cores where memory is.
    ///
    /// # Safety
    ///
    /// This is the only call, and nobody has an object of these lists yet.
    pub(super) unsafe fn set_extent(&self, extent: Extent<'f>) {
        for core in &self.0 {
            core.extent.set(extent);
        }
    }

    /// Gives `cache`, whose number nobody has yet, its geometry.
    pub(super) fn set(&self, cache: CacheId, geometry: &Geometry) {
        for core in &self.0 {
            core.lists[usize::from(cache.0)].set(cache, geometry);
        }
    }

    /// This core's lists.
    #[inline(always)]
    pub(super) fn here<'a>(&'a self, _proof: &'a IrqMasked) -> Here<'a, 'f, CACHES> {
        // SAFETY: a core's number is below MAX_CPUS.
        let core = unsafe { self.0.get_unchecked(percpu::cpu()) };
        Here {
            core,
            proof: PhantomData,
        }
    }

    /// This core's list of `cache`.
    #[inline(always)]
    pub(super) fn local<'a>(&'a self, cache: CacheId, proof: &'a IrqMasked) -> Local<'a> {
        self.here(proof).list(cache)
    }

    /// How many objects of `cache` lie on all cores' lists at about this moment.
    pub(super) fn count(&self, cache: CacheId) -> u32 {
        let lists = self.0.iter().map(|core| &core.lists[usize::from(cache.0)]);
        lists.map(|list| list.count.load(Relaxed)).sum()
    }
}

/// This core's lists, as long as interrupts stay masked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Here<'a, 'f, const CACHES: usize> {
    core: &'a Core<'f, CACHES>,
    proof: PhantomData<&'a IrqMasked>,
}

impl<'a, 'f, const CACHES: usize> Here<'a, 'f, CACHES> {
    /// Where memory is, for whoever has an object or its address.
    #[inline(always)]
    pub(super) fn extent(self) -> Extent<'f> {
        self.core.extent.get()
    }

    /// The list of `cache`.
    #[inline(always)]
    pub(super) fn list(self, cache: CacheId) -> Local<'a> {
        debug_assert!(usize::from(cache.0) < CACHES);
        // SAFETY: only the registry makes numbers of caches, all of them below CACHES.
        let list = unsafe { self.core.lists.get_unchecked(usize::from(cache.0)) };
        Local {
            list,
            proof: PhantomData,
        }
    }
}

/// This core's list of one cache, as long as interrupts stay masked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local<'a> {
    list: &'a CpuList,
    proof: PhantomData<&'a IrqMasked>,
}

impl Local<'_> {
    /// Whether the list holds as much as a core should keep.
    #[inline(always)]
    pub(super) fn is_full(self) -> bool {
        self.list.count.load(Relaxed) >= u32::from(self.list.limit.get())
    }

    /// Puts `object` first.
    #[inline(always)]
    pub(super) fn push(self, object: Object) {
        let list = self.list;
        object.seal(list.head.get(), list.key.get());
        list.head.set(object.address().get());
        let count = list.count.load(Relaxed).wrapping_add(1);
        list.count.store(count, Relaxed);
    }

    /// Takes the first object off, if it says that it is on this list and `check` finds something.
    #[inline(always)]
    pub(super) fn pop<T>(self, check: impl FnOnce(VirtAddr) -> Option<T>) -> Popped<T> {
        let list = self.list;
        let head = VirtAddr::new(list.head.get());
        let Some(start) = NonNull::new(head.as_mut_ptr::<u8>()) else {
            return Popped::Empty;
        };
        // SAFETY: by invariant 2 it was given to `push`, and by invariant 3 nobody else takes it off.
        let object = unsafe { Object::new(start) };
        let (Some(next), Some(found)) = (object.sealed_next(list.key.get()), check(head)) else {
            return Popped::Broken(head);
        };
        object.unseal();
        list.head.set(next);
        list.count
            .store(list.count.load(Relaxed).wrapping_sub(1), Relaxed);
        Popped::Object(object, found)
    }

    /// What tells the cache's objects from other addresses.
    #[inline(always)]
    pub(super) fn shape(self) -> Shape {
        let (mask, tag) = (self.list.mask.get(), self.list.tag.get());
        Shape {
            mask,
            reciprocal: self.list.reciprocal.get(),
            tag,
        }
    }

    /// Checks that its objects, at most `most`, pass `check` and are as many as it counts; returns the
    /// address at which that fails, or 0 if it is the number.
    pub(super) fn walk(
        self,
        most: u32,
        mut check: impl FnMut(&Object) -> bool,
    ) -> Result<(), VirtAddr> {
        let (mut next, mut count) = (self.list.head.get(), 0);
        while let Some(start) = NonNull::new(VirtAddr::new(next).as_mut_ptr::<u8>()) {
            // SAFETY: as in `pop`; nothing is taken off meanwhile.
            let object = unsafe { Object::new(start) };
            let address = object.address();
            next = object.sealed_next(self.list.key.get()).ok_or(address)?;
            count += 1;
            if count > most || !check(&object) {
                return Err(address);
            }
        }
        let counted = self.list.count.load(Relaxed);
        (count == counted).then_some(()).ok_or(VirtAddr::new(0))
    }
}

#[cfg(test)]
mod tests;
