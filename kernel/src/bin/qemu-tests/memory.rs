//! The allocators, on the machine's own memory.
#![allow(unsafe_code, reason = "frees what it allocated, and looks into it")]

use alloc::{boxed::Box, collections::BTreeMap, string::String, vec::Vec};
use core::{
    ptr::NonNull,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};
use kernel::{
    arch::image,
    mm::{
        addr::{LinearMap, Order, PAGE_BYTES, Pfn, VirtAddr},
        frames::{self, Frames},
        gfp::Gfp,
        kmalloc::{kfree, kmalloc, krealloc, ksize},
        pool::Pool,
        reclaim::Shrinker,
        slab::{Cache, ConstructedCache, DestroyError, TypedCache, shrink},
    },
    vm::{
        descriptor::{Attributes, Level},
        kernel_space,
        set_memory::{SetMemoryError, set_memory_nx, set_memory_ro, set_memory_rw, set_memory_x},
        vmalloc::{purge, vfree, vmalloc, vmap, vunmap},
    },
};

crate::table::tests! {
    the_types_of_alloc_work,
    every_size_holds_what_was_written,
    a_reallocated_object_keeps_its_contents,
    zeroed_memory_is_zero,
    a_cache_hands_out_aligned_objects,
    typed_caches_construct_once_and_end_when_they_are_empty,
    a_pool_has_its_places_and_gives_its_memory_back,
    frames_of_every_order_are_aligned_and_come_back,
    dma_memory_is_within_reach,
    a_vmalloc_area_is_one_range_of_scattered_frames,
    running_out_of_frames_is_an_error_and_everything_comes_back,
    a_shrinker_gives_up_its_frames_when_they_run_out,
    running_out_at_every_size_is_an_error_and_everything_comes_back,
    large_areas_have_contiguous_pages_and_blocks,
    given_frames_are_seen_at_addresses_that_follow_each_other,
    code_runs_only_from_pages_that_cannot_be_written,
    the_image_and_blocks_of_the_linear_map_keep_their_rights,
    a_core_waits_for_a_page_whose_mapping_is_changed if crate::smp::one_core,
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

fn typed_caches_construct_once_and_end_when_they_are_empty() {
    static MADE: AtomicU64 = AtomicU64::new(0);
    struct Table([u64; 30]);
    impl Default for Table {
        fn default() -> Self {
            Self([MADE.fetch_add(1, Ordering::Relaxed); 30])
        }
    }
    static TABLES: ConstructedCache<Table> = ConstructedCache::new("test-tables");
    for round in 0..1000 {
        let mut table = TABLES.take(Gfp::KERNEL).expect("memory");
        assert_eq!(table.0[29], round, "constructed once, and as it was left");
        table.0[29] += 1;
    }
    assert_eq!(MADE.load(Ordering::Relaxed), 1);

    let mut strings = TypedCache::<String>::new("test-strings");
    let boxes: Vec<_> = (0..100)
        .map(|number| strings.alloc(Gfp::KERNEL, || alloc::format!("{number}")))
        .collect();
    assert!(boxes.iter().flatten().map(|text| text.len()).sum::<usize>() == 190);
    drop(boxes);
    core::mem::forget(strings.alloc(Gfp::KERNEL, String::new));
    let live = DestroyError::LiveObjects {
        cache: "test-strings",
        objects: 1,
    };
    assert_eq!(strings.destroy(), Err(live));
    for _ in 0..200 {
        let brief = TypedCache::<[u8; 100]>::new("test-brief");
        drop(
            brief
                .alloc(Gfp::KERNEL, || [0; 100])
                .expect("a place for the cache"),
        );
    }
}

fn a_pool_has_its_places_and_gives_its_memory_back() {
    let before = free_frames();
    {
        let pool = Pool::new(1000).expect("memory");
        let mut boxes: Vec<_> = (0..1000_u64).map(|number| pool.take([number; 4])).collect();
        assert!(pool.take([0; 4]).is_err(), "no place is left");
        boxes.truncate(500);
        assert!(pool.take([0; 4]).is_ok(), "a place is left");
        let numbers = boxes.iter().flatten().map(|value| value[3]);
        assert!(numbers.eq(0..500));
    }
    assert_eq!(free_frames(), before);
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
    // What this core has listed is named in the hardened tier; what is back in its zone, always.
    if !cfg!(feature = "hardened") {
        frames::global().expect("up since boot").drain_lists();
    }
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

fn large_areas_have_contiguous_pages_and_blocks() {
    let before = free_frames();
    for (bytes, level, contiguous) in [
        (64 << 10, Level::PAGE, true),
        (1 << 20, Level::PAGE, true),
        (2 << 20, Level::MIB2, false),
        (6 << 20, Level::MIB2, false),
    ] {
        let area = vmalloc(bytes).expect("memory");
        let start = VirtAddr::from_ptr(area.as_ptr());
        let leaf = kernel_space::walk(start).expect("mapped");
        assert_eq!(
            (leaf.level, leaf.contiguous),
            (level, contiguous),
            "{bytes}"
        );
        // SAFETY: the area is ours.
        unsafe { area.write_bytes(0xa5, usize::try_from(bytes).expect("small")) };
        assert!(kernel_space::walk(start.offset(bytes)).is_none(), "a guard");
        // SAFETY: allocated above, freed once.
        unsafe { vfree(area) }.expect("no interrupt is handled here");
    }
    purge();
    assert!(free_frames() + 48 >= before);
}

fn given_frames_are_seen_at_addresses_that_follow_each_other() {
    let frames: [Pfn; 5] =
        core::array::from_fn(|_| frames::alloc(Order::ZERO, Gfp::KERNEL).expect("memory"));
    let area = vmap(&frames, Attributes::KERNEL_DATA).expect("addresses");
    for (number, frame) in (0_u64..).zip(&frames) {
        let address = VirtAddr::from_ptr(area.as_ptr()).offset(number * PAGE_BYTES);
        // SAFETY: the frame is ours, mapped here and in the linear map.
        unsafe { address.as_mut_ptr::<u64>().write_volatile(number + 7) };
        let alias = LinearMap::kernel().to_virt(frame.address());
        // SAFETY: as above.
        let seen = unsafe { alias.as_mut_ptr::<u64>().read_volatile() };
        assert_eq!(seen, number + 7);
    }
    vunmap(area).expect("no interrupt is handled here");
    assert!(kernel_space::walk(VirtAddr::from_ptr(area.as_ptr())).is_none());
    for frame in frames {
        frames::free(frame, Order::ZERO).expect("still allocated");
    }
}

fn code_runs_only_from_pages_that_cannot_be_written() {
    // mov w0, #42; ret
    const CODE: [u32; 2] = [0x5280_0540, 0xd65f_03c0];
    let area = vmalloc(65_536).expect("memory");
    // The third page of a contiguous group.
    let page = VirtAddr::from_ptr(area.as_ptr()).offset(2 * PAGE_BYTES);
    // SAFETY: the area is ours.
    unsafe { page.as_mut_ptr::<[u32; 2]>().write(CODE) };
    let refused = Err(SetMemoryError::WritableAndExecutable(page));
    assert_eq!(set_memory_x(page, 1), refused);
    set_memory_ro(page, 1).expect("pages of an area");
    set_memory_x(page, 1).expect("pages of an area");
    assert_eq!(set_memory_rw(page, 1), refused);
    // SAFETY: the page holds a function that returns a number, and may be executed.
    let code =
        unsafe { core::mem::transmute::<*mut u8, extern "C" fn() -> u32>(page.as_mut_ptr()) };
    assert_eq!(code(), 42);
    set_memory_nx(page, 1).expect("pages of an area");
    set_memory_rw(page, 1).expect("pages of an area");
    // SAFETY: ours, and writable again.
    unsafe { page.as_mut_ptr::<u32>().write_volatile(0) };
    let beyond = VirtAddr::from_ptr(area.as_ptr()).offset(15 * PAGE_BYTES);
    let not_ours = SetMemoryError::NotOurs(beyond);
    assert_eq!(set_memory_ro(beyond, 2), Err(not_ours), "a guard page");
    // SAFETY: allocated above, freed once.
    unsafe { vfree(area) }.expect("no interrupt is handled here");
}

fn the_image_and_blocks_of_the_linear_map_keep_their_rights() {
    let alias = |section: VirtAddr| LinearMap::kernel().to_virt(image::to_phys(section));
    for section in [image::text().start, image::rodata().start] {
        let at = alias(section);
        let refused = Err(SetMemoryError::WritableAndExecutable(at));
        assert_eq!(set_memory_rw(at, 1), refused);
        assert_eq!(set_memory_x(at, 1), refused);
        assert_eq!(set_memory_ro(at, 1), Ok(()));
    }
    let frame = frames::alloc(Order::ZERO, Gfp::KERNEL).expect("memory");
    let at = LinearMap::kernel().to_virt(frame.address());
    if kernel_space::walk(at).expect("memory").level != Level::PAGE {
        assert_eq!(set_memory_ro(at, 1), Err(SetMemoryError::Block(at)));
    }
    frames::free(frame, Order::ZERO).expect("just allocated");
    let window = image::data().start;
    assert_eq!(
        set_memory_ro(window, 1),
        Err(SetMemoryError::NotOurs(window))
    );
}

/// Where the other core writes, and whether it is to stop.
static WRITTEN: AtomicU64 = AtomicU64::new(0);
static STOP: AtomicBool = AtomicBool::new(false);

fn write_until_told() {
    let word = VirtAddr::new(WRITTEN.load(Ordering::Acquire)).as_mut_ptr::<u64>();
    let mut count = 0;
    while !STOP.load(Ordering::Relaxed) {
        count += 1;
        // SAFETY: a word of an area that stays until this core is done.
        unsafe { word.write_volatile(count) };
        // SAFETY: as above.
        assert_eq!(unsafe { word.read_volatile() }, count);
    }
}

fn a_core_waits_for_a_page_whose_mapping_is_changed() {
    let group = 65_536;
    let area = vmalloc(2 * group).expect("memory");
    let joined = VirtAddr::from_ptr(area.as_ptr()).offset(group);
    WRITTEN.store(joined.offset(5 * PAGE_BYTES).get(), Ordering::Release);
    STOP.store(false, Ordering::Relaxed);
    kernel::smp::on(1, write_until_told).expect("a second core");
    for _ in 0..5000 {
        assert!(kernel_space::walk(joined).expect("mapped").contiguous);
        // Joined pages go through break-before-make even if nothing becomes of them.
        let changed = kernel_space::protect(joined..joined.offset(group), Attributes::KERNEL_DATA);
        changed.expect("one group of an area");
    }
    // The group is cut.
    set_memory_ro(joined, 1).expect("pages of an area");
    set_memory_rw(joined, 1).expect("pages of an area");
    STOP.store(true, Ordering::Relaxed);
    kernel::smp::wait(1);
    // SAFETY: allocated above, freed once, and the other core is done.
    unsafe { vfree(area) }.expect("no interrupt is handled here");
}

fn running_out_of_frames_is_an_error_and_everything_comes_back() {
    // What caches and freed areas still hold is reclaimed on the way.
    shrink();
    purge();
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

/// Holds a block of the largest order, and gives it up when asked.
struct OneBlock(AtomicU64);

impl Shrinker for OneBlock {
    fn name(&self) -> &'static str {
        "one block"
    }
    fn reclaimable_frames(&self) -> u32 {
        u32::from(self.0.load(Ordering::Relaxed) != 0)
    }
    fn shrink(&self, frames: &Frames<'_>, _: u32) -> u32 {
        let held = self.0.swap(0, Ordering::Relaxed);
        let block = u32::try_from(held).map(Pfn::new);
        let Some(block) = block.ok().filter(|_| held != 0) else {
            return 0;
        };
        frames.free(block, Order::MAX).expect("held");
        Order::MAX.frames()
    }
}

fn a_shrinker_gives_up_its_frames_when_they_run_out() {
    static HELD: OneBlock = OneBlock(AtomicU64::new(0));
    let global = frames::global().expect("up since boot");
    let block = frames::alloc(Order::MAX, Gfp::KERNEL).expect("memory");
    HELD.0.store(block.get().into(), Ordering::Relaxed);
    let id = global.register_shrinker(&HELD).expect("a place");
    let before = global.reclaim_statistics();
    let taken: Vec<Pfn> =
        core::iter::from_fn(|| frames::alloc(Order::MAX, Gfp::KERNEL | Gfp::NOWARN).ok()).collect();
    let after = global.reclaim_statistics();
    assert_eq!(HELD.reclaimable_frames(), 0, "nobody asked it");
    assert!(after.rescued > before.rescued);
    global.unregister_shrinker(id);
    for block in taken {
        frames::free(block, Order::MAX).expect("allocated above");
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
