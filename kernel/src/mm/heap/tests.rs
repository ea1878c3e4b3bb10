//! The heap through `GlobalAlloc`, over memory of its own.

use super::*;
use crate::mm::addr::Pfn;
use crate::mm::arena::Arena;
use crate::mm::zone::ZoneLimits;
use std::{boxed::Box, vec::Vec};

pub(crate) fn with_heap(body: impl FnOnce(&Heap<'_, '_>)) {
    let mut arena = Arena::new(Pfn::new(0x800), 4096);
    let span = arena.span();
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[span]);
    let slab = Box::new(SlabAllocator::new());
    slab.init(&frames);
    body(&Heap::new(&slab));
    slab.shrink();
    assert_eq!(slab.validate(), Ok(()));
    assert_eq!(frames.free_frames(), frames.managed_frames());
}

fn layout(bytes: usize, align: usize) -> Layout {
    Layout::from_size_align(bytes, align).unwrap()
}

fn content(object: *const u8, bytes: usize) -> &'static [u8] {
    // SAFETY: the tests own that many bytes for as long as they look.
    unsafe { core::slice::from_raw_parts(object, bytes) }
}

#[test]
fn every_alignment_up_to_four_mebibytes_is_honoured() {
    with_heap(|heap| {
        for shift in 0..=22 {
            let align = 1_usize << shift;
            for bytes in [1, 24, align, align + 1, 3 * align / 2 + 1] {
                let layout = layout(bytes, align);
                // SAFETY: the layout has a size.
                let object = unsafe { heap.alloc(layout) };
                if block_bytes(layout) > 4 << 20 {
                    assert!(object.is_null());
                    continue;
                }
                assert!(!object.is_null(), "{layout:?}");
                assert_eq!(object.addr() % align, 0, "{layout:?}");
                // SAFETY: it has that many bytes.
                unsafe { object.write_bytes(1, bytes) };
                // SAFETY: allocated above with this layout.
                unsafe { heap.dealloc(object, layout) };
            }
        }
        // SAFETY: the layout has a size.
        assert!(unsafe { heap.alloc(layout(8, 8 << 20)) }.is_null());
    });
}

#[test]
fn zeroed_objects_are_zero_when_used_again() {
    with_heap(|heap| {
        for bytes in [8, 100, 5000, 100_000] {
            for _ in 0..20 {
                let layout = layout(bytes, 8);
                // SAFETY: the layout has a size.
                let object = unsafe { heap.alloc_zeroed(layout) };
                assert!(content(object, bytes).iter().all(|byte| *byte == 0));
                // SAFETY: it has that many bytes.
                unsafe { object.write_bytes(0xff, bytes) };
                // SAFETY: allocated above with this layout.
                unsafe { heap.dealloc(object, layout) };
            }
        }
    });
}

#[test]
fn growing_and_shrinking_keeps_content_and_stays_where_the_class_allows() {
    with_heap(|heap| {
        let sizes = [10, 16, 17, 24, 300, 310, 9000, 12_000, 40_000, 9000, 300, 5];
        let mut bytes = sizes[0];
        // SAFETY: the layout has a size.
        let mut object = unsafe { heap.alloc(layout(bytes, 8)) };
        // SAFETY: it has that many bytes.
        unsafe { object.write_bytes(7, 5) };
        let mut moved = Vec::new();
        for new_bytes in sizes {
            // SAFETY: the object has this layout, the new size is not 0.
            let new = unsafe { heap.realloc(object, layout(bytes, 8), new_bytes) };
            moved.push(new != object);
            assert_eq!(content(new, 5), [7; 5]);
            (object, bytes) = (new, new_bytes);
        }
        let expected = [
            false, false, true, false, true, false, true, false, true, true, true, true,
        ];
        assert_eq!(moved, expected);
        // SAFETY: the object has this layout.
        unsafe { heap.dealloc(object, layout(bytes, 8)) };
    });
}

#[test]
fn running_out_is_null_and_a_failed_realloc_keeps_the_object() {
    with_heap(|heap| {
        let block = layout(4 << 20, 8);
        // SAFETY: the layout has a size.
        let blocks: Vec<_> = (0..5).map(|_| unsafe { heap.alloc(block) }).collect();
        let got = blocks.iter().filter(|block| !block.is_null());
        assert_eq!(got.count(), 4);
        // SAFETY: the block has this layout, the new size is not 0.
        assert!(unsafe { heap.realloc(blocks[0], block, 100) }.is_null());
        // SAFETY: it is the tests', as before.
        unsafe { blocks[0].write_bytes(1, 4 << 20) };
        for object in blocks.into_iter().filter(|block| !block.is_null()) {
            // SAFETY: allocated above with this layout.
            unsafe { heap.dealloc(object, block) };
        }
    });
}
