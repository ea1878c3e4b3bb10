//! The allocators, on the machine's own memory.
#![allow(unsafe_code, reason = "frees what it allocated, and looks into it")]

use alloc::{boxed::Box, collections::BTreeMap, string::String, vec::Vec};
use core::ptr::NonNull;
use kernel::{
    mm::{
        addr::{LinearMap, Order, Pfn},
        frames,
        gfp::Gfp,
        kmalloc::{kfree, kmalloc, krealloc, ksize},
        slab::Cache,
    },
    vm::vmalloc::{purge, vfree, vmalloc},
};

crate::table::tests! {
    the_types_of_alloc_work,
    every_size_holds_what_was_written,
    a_reallocated_object_keeps_its_contents,
    zeroed_memory_is_zero,
    a_cache_hands_out_aligned_objects,
    frames_of_every_order_are_aligned_and_come_back,
    dma_memory_is_within_reach,
    a_vmalloc_area_is_one_range_of_scattered_frames,
    running_out_of_frames_is_an_error_and_everything_comes_back,
    running_out_at_every_size_is_an_error_and_everything_comes_back,
    running_out_of_vmalloc_is_an_error_and_everything_comes_back,
}

fn free_frames() -> u32 {
    frames::global().expect("up since boot").free_frames()
}

fn the_types_of_alloc_work() {
    let boxed = Box::new([7_u64; 100]);
    let mut list: Vec<u32> = (0..10_000).collect();
    list.extend(0..100);
    let map: BTreeMap<u32, String> = (0..200)
        .map(|key| (key, alloc::format!("value {key}")))
        .collect();
    assert_eq!(boxed.iter().sum::<u64>(), 700);
    assert_eq!(list.len(), 10_100);
    assert_eq!(map[&123], "value 123");
}

fn every_size_holds_what_was_written() {
    let sizes = (1..=130).chain([255, 1000, 4095, 4096, 4097, 8192, 8193, 65_536, 4 << 20]);
    let objects: Vec<(NonNull<u8>, usize, u8)> = sizes
        .zip((0_u8..=255).cycle())
        .map(|(size, stamp)| {
            let object = kmalloc(size, Gfp::KERNEL).expect("memory");
            // SAFETY: `size` bytes were just allocated.
            unsafe { object.write_bytes(stamp, size) };
            (object, size, stamp)
        })
        .collect();
    for (object, size, stamp) in objects {
        // SAFETY: written above, and nobody else's.
        let bytes = unsafe { core::slice::from_raw_parts(object.as_ptr(), size) };
        assert!(bytes.iter().all(|&byte| byte == stamp), "{size} bytes");
        // SAFETY: live.
        assert!(unsafe { ksize(object) } >= size);
        // SAFETY: allocated above, freed once.
        unsafe { kfree(object) };
    }
}

fn a_reallocated_object_keeps_its_contents() {
    let mut object = kmalloc(10, Gfp::KERNEL).expect("memory");
    // SAFETY: ten bytes were just allocated.
    unsafe { object.write_bytes(0x5a, 10) };
    for size in [20, 100, 5000, 100_000, 50, 10] {
        // SAFETY: the object is live, and replaced by what is returned.
        object = unsafe { krealloc(Some(object), size, Gfp::KERNEL) }.expect("memory");
        // SAFETY: at least ten bytes.
        let bytes = unsafe { core::slice::from_raw_parts(object.as_ptr(), 10) };
        assert!(bytes.iter().all(|&byte| byte == 0x5a), "{size} bytes");
    }
    // SAFETY: live, freed once.
    unsafe { kfree(object) };
}

fn zeroed_memory_is_zero() {
    for size in [8, 64, 1024, 8192, 100_000] {
        for _ in 0..50 {
            let object = kmalloc(size, Gfp::KERNEL | Gfp::ZERO).expect("memory");
            // SAFETY: `size` bytes were just allocated, zeroed.
            let bytes = unsafe { core::slice::from_raw_parts_mut(object.as_ptr(), size) };
            assert!(bytes.iter().all(|&byte| byte == 0), "{size} bytes");
            bytes.fill(0xff);
            // SAFETY: allocated above, freed once.
            unsafe { kfree(object) };
        }
    }
}

fn a_cache_hands_out_aligned_objects() {
    static CACHE: Cache = Cache::new("test-192", 192, 64);
    let objects: Vec<_> = (0..100)
        .map(|_| CACHE.alloc(Gfp::KERNEL).expect("memory"))
        .collect();
    for object in objects {
        assert!(object.addr().get().is_multiple_of(64));
        // SAFETY: came from this cache, freed once.
        unsafe { CACHE.free(object) };
    }
}

fn frames_of_every_order_are_aligned_and_come_back() {
    let before = free_frames();
    for order in Order::all() {
        let block = frames::alloc(order, Gfp::KERNEL | Gfp::ZERO).expect("memory");
        assert!(block.is_aligned_to(order));
        let start = LinearMap::kernel()
            .to_virt(block.address())
            .as_mut_ptr::<u64>();
        // SAFETY: the block is ours, and the linear map covers it.
        let words = unsafe { core::slice::from_raw_parts_mut(start, 512 << order.get()) };
        assert!(words.iter().all(|&word| word == 0), "{order:?}");
        words.fill(u64::MAX);
        frames::free(block, order).expect("just allocated");
    }
    assert_eq!(free_frames(), before);
    let block = frames::alloc(Order::ZERO, Gfp::KERNEL).expect("memory");
    frames::free(block, Order::ZERO).expect("just allocated");
    assert!(
        frames::free(block, Order::ZERO).is_err(),
        "a frame freed twice"
    );
}

fn dma_memory_is_within_reach() {
    let reach = kernel::machine().board.dma_reach.unwrap_or(1 << 32);
    for order in [0, 3, 6] {
        let order = Order::new(order).expect("an order");
        let block = frames::alloc(order, Gfp::DMA).expect("memory");
        assert!(block.address().get() + order.bytes() <= reach);
        frames::free(block, order).expect("just allocated");
    }
}

fn a_vmalloc_area_is_one_range_of_scattered_frames() {
    let before = free_frames();
    for bytes in [1_u64, 4096, 65_536, 1 << 20] {
        let area = vmalloc(bytes).expect("memory");
        let length = usize::try_from(bytes).expect("small");
        // SAFETY: the area is ours.
        let slice = unsafe { core::slice::from_raw_parts_mut(area.as_ptr(), length) };
        for (index, byte) in (0_u8..=255).cycle().zip(slice.iter_mut()) {
            *byte = index;
        }
        assert!(
            (0_u8..=255)
                .cycle()
                .zip(slice.iter())
                .all(|(index, &byte)| index == byte)
        );
        // SAFETY: allocated above, freed once.
        unsafe { vfree(area) }.expect("no interrupt is handled here");
    }
    purge();
    // Page tables and the areas' notes stay for the next area.
    assert!(free_frames() + 48 >= before);
}

fn running_out_of_frames_is_an_error_and_everything_comes_back() {
    for order in Order::all().rev() {
        let before = free_frames();
        // Taken blocks are chained through their own first words.
        let linear = LinearMap::kernel();
        let word = |block: Pfn| linear.to_virt(block.address()).as_mut_ptr::<u32>();
        let mut last: Option<Pfn> = None;
        let mut count = 0;
        while let Ok(block) = frames::alloc(order, Gfp::KERNEL | Gfp::NOWARN) {
            // SAFETY: the block is ours, and the linear map covers it.
            unsafe { word(block).write(last.map_or(u32::MAX, Pfn::get)) };
            last = Some(block);
            count += order.frames();
        }
        assert!(
            count > before / 2,
            "{order:?}: only {count} of {before} frames"
        );
        while let Some(block) = last {
            // SAFETY: written above.
            let next = unsafe { word(block).read() };
            frames::free(block, order).expect("allocated above");
            last = (next != u32::MAX).then_some(Pfn::new(next));
        }
        assert_eq!(free_frames(), before, "{order:?}");
    }
}

fn running_out_at_every_size_is_an_error_and_everything_comes_back() {
    for size in [8, 64, 200, 1024, 4096, 8192, 65_536, 1 << 20, 4 << 20] {
        let before = free_frames();
        // Objects are chained through their own first words.
        let mut last: Option<NonNull<u8>> = None;
        let mut count = 0_usize;
        while let Ok(object) = kmalloc(size, Gfp::KERNEL | Gfp::NOWARN) {
            let link = object.cast::<Option<NonNull<u8>>>();
            // SAFETY: at least eight bytes, aligned to eight, and ours.
            unsafe { link.write(last) };
            last = Some(object);
            count += 1;
            // A machine of gigabytes is not filled with the smallest objects.
            if count == 2_000_000 {
                break;
            }
        }
        assert!(count > 10, "{size} bytes: only {count}");
        while let Some(object) = last {
            // SAFETY: written above.
            last = unsafe { object.cast::<Option<NonNull<u8>>>().read() };
            // SAFETY: allocated above, freed once.
            unsafe { kfree(object) };
        }
        // Per-CPU lists and a few empty slabs may be kept.
        assert!(free_frames() + 64 >= before, "{size} bytes");
    }
    assert!(kmalloc((4 << 20) + 1, Gfp::KERNEL | Gfp::NOWARN).is_err());
    assert!(kmalloc(usize::MAX, Gfp::KERNEL | Gfp::NOWARN).is_err());
}

fn running_out_of_vmalloc_is_an_error_and_everything_comes_back() {
    let before = free_frames();
    let mut areas = Vec::with_capacity(4096);
    while areas.len() < areas.capacity() {
        match vmalloc(4 << 20) {
            Ok(area) => areas.push(area),
            Err(_) => break,
        }
    }
    assert!(vmalloc(1 << 40).is_err(), "more than there is");
    for area in areas {
        // SAFETY: allocated above, freed once.
        unsafe { vfree(area) }.expect("no interrupt is handled here");
    }
    purge();
    // Page tables stay for the next area: one for each 2 MiB at most.
    let tables = before / 512 + 64;
    assert!(free_frames() + tables >= before);
}
