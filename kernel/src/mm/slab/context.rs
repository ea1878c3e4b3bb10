//! What a cache's slabs, depot and magazines need to know of it, and the way from addresses to objects.
#![allow(
    unsafe_code,
    reason = "makes objects out of slab memory, and goes from an object to the word in it that the allocator uses"
)]

use super::misuse::{Misuse, MisuseKind, die};
use super::registry::Description;
use crate::mm::addr::{PAGE_SHIFT, Pfn, VirtAddr};
use crate::mm::frame::Frame;
use crate::mm::frames::Frames;
use crate::mm::magazine::Block;
use core::ptr::NonNull;

/// Makes an object of raw memory.
///
/// It is called once for each object, before that is handed out for the first time since its slab was
/// made; without locks, in the context that allocates.
///
/// # Safety
///
/// For its caller: the memory has the cache's size and alignment, and belongs to the constructor. For
/// its author: it writes nothing else.
pub type Constructor = unsafe fn(NonNull<u8>);

/// What the slabs belong to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'c, 'f> {
    pub(super) frames: &'f Frames<'f>,
    pub(super) cache: &'c Description,
}

/// An object on its way to a caller, with what is to be run on it first.
#[derive(Debug)]
pub(super) struct Taken {
    object: NonNull<u8>,
    constructor: Option<Constructor>,
}

impl Taken {
    /// Where it starts.
    pub(super) const fn start(&self) -> NonNull<u8> {
        self.object
    }

    /// The object, constructed. With no lock held: constructors are callers' code.
    pub(super) fn hand_out(self) -> NonNull<u8> {
        if let Some(constructor) = self.constructor {
            // SAFETY: the object is ours until it is returned, has the bytes and the alignment that
            // the constructor was registered with, and was never constructed since its slab was made.
            unsafe { constructor(self.object) };
        }
        self.object
    }
}

impl Context<'_, '_> {
    pub(super) fn frame(&self, head: Pfn) -> &Frame {
        self.frames.table().at(head)
    }

    /// The first frame of the slab that starts at `slab`, and its entry, if a slab of the cache does.
    #[inline]
    pub(super) fn slab_at(&self, slab: VirtAddr) -> Option<(Pfn, &Frame)> {
        let head = self.frames.linear().to_phys(slab).get() >> PAGE_SHIFT;
        let head = Pfn::new(u32::try_from(head).ok()?);
        let frame = self.frames.table().find(head)?;
        frame.carved(self.cache.shape.tag).map(|_| (head, frame))
    }

    /// The slab and the index of the object at `address`, if it is one that was ever handed out.
    pub(super) fn find(&self, address: VirtAddr) -> Option<(Pfn, u16)> {
        let start = self.cache.shape.slab_of(address);
        let carved = self.frames.frame_at(start)?.carved(self.cache.shape.tag)?;
        let index = self.cache.shape.index_of(address)?;
        let head = self.frames.linear().to_phys(start).frame();
        (index < carved).then_some((head, index))
    }

    /// The object numbered `index` of the slab at `head`, below its capacity.
    pub(super) fn address(&self, head: Pfn, index: u16) -> VirtAddr {
        let offset = u64::from(index) * u64::from(self.cache.geometry.object_bytes);
        self.frames.linear().to_virt(head.address()).offset(offset)
    }

    /// Takes over an object that is on the slab's free list or was never handed out.
    pub(super) fn block(&self, head: Pfn, index: u16) -> Block {
        self.at(self.address(head, index))
    }

    pub(super) fn at(&self, address: VirtAddr) -> Block {
        let mark = address.offset(u64::from(self.cache.geometry.mark_offset));
        let start = NonNull::new(mark.as_mut_ptr::<u8>()).expect("the linear map is not at 0");
        // SAFETY: the slab's memory is the cache's (the buddy allocator gave it, and the linear map
        // has it writable), and an object that nobody was given, or gave back, is ours.
        unsafe { Block::new(start) }
    }

    /// The object that a caller gave up by its start.
    pub(super) fn given_up(&self, block: Block) -> Block {
        let object = block.into_raw();
        // SAFETY: inside the object, for the caller gives up one of this cache.
        unsafe { Block::at(object, self.cache.geometry.mark_offset) }
    }

    /// Hands an object towards its owner; `fresh` if nobody ever had it.
    pub(super) fn taken(&self, block: Block, fresh: bool) -> Taken {
        Taken {
            object: block.start(self.cache.geometry.mark_offset),
            constructor: self.cache.constructor.filter(|_| fresh),
        }
    }

    /// The start of the object whose mark is at `mark`.
    pub(super) fn start_of(&self, mark: u64) -> VirtAddr {
        VirtAddr::new(mark.wrapping_sub(u64::from(self.cache.geometry.mark_offset)))
    }

    /// Ends with what is wrong with the object that came off a list.
    #[cold]
    #[inline(never)]
    pub(super) fn die(&self, mark: u64) -> ! {
        let kind = match self.find(self.start_of(mark)) {
            Some(_) => MisuseKind::DoubleFreeOrOverwritten,
            None => MisuseKind::InvalidFree,
        };
        self.report(kind, mark)
    }

    /// Ends with what was wrong with a free.
    #[cold]
    #[inline(never)]
    pub(super) fn report(&self, kind: MisuseKind, mark: u64) -> ! {
        die(&Misuse {
            cache: self.cache.name,
            kind,
            address: self.start_of(mark),
        })
    }
}
