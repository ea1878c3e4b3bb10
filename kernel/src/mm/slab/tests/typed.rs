//! Caches of values. They are the kernel's, so these tests share one, over memory that is never freed.

use super::*;
use crate::mm::pool::tests::Counted;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Gives the kernel's caches memory, once for all tests.
fn with_kernel_caches() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let arena = Box::leak(Box::new(Arena::new(FIRST, 2048)));
        let span = arena.span();
        let frames = Box::leak(Box::new(arena.frames(&ZoneLimits::FOUR_GIB, &[span])));
        init(frames);
    });
}

#[test]
fn boxes_hold_their_values_drop_them_and_give_their_memory_back() {
    with_kernel_caches();
    let count = AtomicU32::new(0);
    let mut cache = TypedCache::<Counted<'_>>::new("counted");
    {
        let mut boxes: Vec<_> = (0..500)
            .map(|number| {
                cache
                    .alloc(Gfp::KERNEL, || Counted::new(&count, number))
                    .unwrap()
            })
            .collect();
        assert_eq!(count.load(Relaxed), 500);
        boxes.iter_mut().for_each(|counted| counted.1 += 1);
        boxes.truncate(250);
        assert_eq!(count.load(Relaxed), 250);
        assert!(
            (1..)
                .zip(&boxes)
                .all(|(number, counted)| counted.1 == number)
        );
        let live = |cache: &TypedCache<_>| cache.handle().unwrap().statistics().live_objects;
        assert_eq!(live(&cache), 250);
        // Another core drops them.
        std::thread::scope(|scope| {
            scope.spawn(move || {
                drop(boxes);
                SLAB.shrink();
            });
        });
        assert_eq!(live(&cache), 0);
    }
    assert_eq!(count.load(Relaxed), 0);
    assert_eq!(cache.destroy(), Ok(()));
    assert!(
        SLAB.statistics()
            .all(|cache| cache.name != "counted" || cache.slabs == 0)
    );
}

#[test]
fn a_forgotten_box_keeps_its_cache_from_being_destroyed() {
    with_kernel_caches();
    let mut cache = TypedCache::<[u64; 9]>::new("forgotten");
    core::mem::forget(cache.alloc(Gfp::KERNEL, || [1; 9]).unwrap());
    let live = DestroyError::LiveObjects {
        cache: "forgotten",
        objects: 1,
    };
    assert_eq!(cache.destroy(), Err(live));
    drop(cache);
    let mut left = SLAB.statistics().filter(|cache| cache.name == "forgotten");
    assert_eq!(left.next().map(|cache| cache.live_objects), Some(1));
}

#[test]
fn a_constructed_value_is_made_once_and_comes_back_as_it_was_left() {
    static MADE: AtomicU32 = AtomicU32::new(0);
    struct Table([u32; 30]);
    impl Default for Table {
        fn default() -> Self {
            MADE.fetch_add(1, Relaxed);
            Self([7; 30])
        }
    }
    with_kernel_caches();
    let cache = ConstructedCache::<Table>::new("table");
    for round in 0..100 {
        let mut table = cache.take(Gfp::KERNEL).unwrap();
        assert_eq!(table.0[29], 7 + round);
        table.0[29] += 1;
    }
    assert_eq!(MADE.load(Relaxed), 1);
}

#[test]
fn dropping_a_cache_frees_its_place() {
    with_kernel_caches();
    for _ in 0..3 * MAX_CACHES {
        let cache = TypedCache::<[u8; 33]>::new("brief");
        drop(cache.alloc(Gfp::KERNEL, || [0; 33]).unwrap());
    }
}
