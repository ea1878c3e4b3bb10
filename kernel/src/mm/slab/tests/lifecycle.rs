//! Caches from their creation, with a constructor, to their destruction.

use super::*;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use proptest::prelude::*;

static CONSTRUCTED: AtomicU32 = AtomicU32::new(0);

/// Stamps 40 bytes.
unsafe fn stamp(object: NonNull<u8>) {
    // SAFETY: the cache's objects have that many.
    unsafe { object.write_bytes(0xc7, 40) };
}

/// The same, counted, for one test alone.
unsafe fn stamp_and_count(object: NonNull<u8>) {
    CONSTRUCTED.fetch_add(1, Relaxed);
    // SAFETY: the caller promises the same.
    unsafe { stamp(object) };
}

fn options(name: &'static str, bytes: usize) -> CacheOptions {
    CacheOptions::new(name, Layout::from_size_align(bytes, 8).unwrap())
}

fn free(cache: &CacheHandle<'_, '_>, object: NonNull<u8>) {
    // SAFETY: the tests own it, or are wrong on purpose.
    unsafe { cache.free(object) }
}

fn destroy(cache: CacheHandle<'_, '_>) -> Result<(), DestroyError> {
    // SAFETY: the tests do not use it any more.
    unsafe { cache.destroy() }
}

fn place_of(slab: &SlabAllocator<'_>, name: &str) -> Option<usize> {
    let mut all = slab.statistics();
    all.find(|cache| cache.name == name)
        .map(|cache| cache.number)
}

#[test]
fn each_object_is_constructed_once_and_stays_as_it_was_left() {
    with_slab(1024, |slab, _| {
        let cache = slab
            .create(&options("stamped", 40).constructor(stamp_and_count))
            .unwrap();
        assert_eq!(cache.object_bytes(), 40);
        let mut all = std::collections::BTreeSet::new();
        for round in 1..=20 {
            let objects: Vec<_> = (0..50 * round)
                .map(|_| cache.alloc(Gfp::KERNEL | Gfp::ZERO).unwrap())
                .collect();
            all.extend(objects.iter().copied());
            for object in objects {
                check(object, 40, 0xc7);
                free(&cache, object);
            }
        }
        assert_eq!(CONSTRUCTED.load(Relaxed) as usize, all.len());
        // What is made anew is constructed anew.
        slab.shrink();
        let object = cache.alloc(Gfp::KERNEL).unwrap();
        check(object, 40, 0xc7);
        assert_eq!(CONSTRUCTED.load(Relaxed) as usize, all.len() + 1);
        kfree(slab, object);
    });
}

#[test]
fn a_cache_with_live_objects_is_not_destroyed_and_goes_on() {
    with_slab(1024, |slab, frames| {
        let cache = slab.create(&options("mine", 200)).unwrap();
        let objects: Vec<_> = (0..100)
            .map(|_| cache.alloc(Gfp::KERNEL).unwrap())
            .collect();
        for (freed, object) in objects.iter().enumerate() {
            let live = u32::try_from(objects.len() - freed).unwrap();
            let error = destroy(cache).unwrap_err();
            let expected = DestroyError::LiveObjects {
                cache: "mine",
                objects: live,
            };
            assert_eq!(error, expected);
            assert_eq!(slab.validate(), Ok(()));
            fill(*object, 200, 1);
            free(&cache, *object);
        }
        assert_eq!(destroy(cache), Ok(()));
        assert_eq!(frames.free_frames(), frames.managed_frames());
    });
}

#[test]
fn the_place_of_a_destroyed_cache_is_used_again() {
    with_slab(1024, |slab, _| {
        for round in 0..200 {
            // Other sizes, so that nothing of the former cache may be left.
            let bytes = [16, 3000, 120, 8192][round % 4];
            let cache = slab.create(&options("short-lived", bytes)).unwrap();
            let objects: Vec<_> = (0..40).map(|_| cache.alloc(Gfp::KERNEL).unwrap()).collect();
            for object in objects {
                fill(object, bytes, 2);
                free(&cache, object);
            }
            assert_eq!(destroy(cache), Ok(()));
            assert_eq!(slab.validate(), Ok(()));
        }
    });
}

#[test]
fn a_place_is_not_used_again_while_another_core_lists_objects_of_it() {
    with_slab(1024, |slab, frames| {
        let cache = slab.create(&options("shared", 64)).unwrap();
        let (to_main, from_other) = std::sync::mpsc::channel();
        let (to_other, from_main) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let objects: Vec<_> = (0..20).map(|_| cache.alloc(Gfp::KERNEL).unwrap()).collect();
                objects.into_iter().for_each(|object| free(&cache, object));
                to_main.send(()).unwrap();
                from_main.recv().unwrap();
                // Its next slow path.
                let object = kmalloc(slab, 64);
                kfree(slab, object);
                to_main.send(()).unwrap();
                from_main.recv().unwrap();
                slab.shrink();
            });
            from_other.recv().unwrap();
            let place = place_of(slab, "shared").unwrap();
            assert_eq!(destroy(cache), Ok(()));
            let other = slab.create(&options("other", 4000)).unwrap();
            assert_ne!(place_of(slab, "other"), Some(place));
            assert!(place_of(slab, "shared").is_some(), "not ended");
            to_other.send(()).unwrap();
            from_other.recv().unwrap();
            let next = slab.create(&options("next", 4000)).unwrap();
            assert_eq!(place_of(slab, "next"), Some(place));
            assert_eq!((destroy(other), destroy(next)), (Ok(()), Ok(())));
            to_other.send(()).unwrap();
        });
        slab.shrink();
        assert_eq!(frames.free_frames(), frames.managed_frames());
    });
}

#[test]
fn shrinking_reaches_other_cores_at_their_next_slow_path() {
    with_slab(1024, |slab, frames| {
        let (to_main, from_other) = std::sync::mpsc::channel();
        let (to_other, from_main) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for bytes in [64, 1000, 4096] {
                    let objects: Vec<_> = (0..10).map(|_| kmalloc(slab, bytes)).collect();
                    objects.into_iter().for_each(|object| kfree(slab, object));
                }
                to_main.send(()).unwrap();
                from_main.recv().unwrap();
                kfree(slab, kmalloc(slab, 200));
                to_main.send(()).unwrap();
                from_main.recv().unwrap();
                slab.shrink();
            });
            from_other.recv().unwrap();
            slab.shrink();
            assert!(slab.held_bytes() > 0, "the other core has objects listed");
            to_other.send(()).unwrap();
            from_other.recv().unwrap();
            let held = slab.statistics().filter(|cache| cache.slabs > 0);
            assert_eq!(
                held.map(|cache| cache.name).collect::<Vec<_>>(),
                ["kmalloc-224"]
            );
            to_other.send(()).unwrap();
        });
        slab.shrink();
        assert_eq!(frames.free_frames(), frames.managed_frames());
    });
}

#[derive(Clone, Debug)]
enum CacheOp {
    Alloc(usize),
    Free(usize),
    Shrink,
    DestroyAndCreate,
}

fn cache_ops() -> impl Strategy<Value = Vec<CacheOp>> {
    let op = prop_oneof![
        8 => (1..70_usize).prop_map(CacheOp::Alloc),
        8 => (1..70_usize).prop_map(CacheOp::Free),
        1 => Just(CacheOp::Shrink),
        1 => Just(CacheOp::DestroyAndCreate),
    ];
    prop::collection::vec(op, 1..40)
}

/// Runs `ops` on a cache by bulk calls, against the set of objects that are out.
fn run_in_bulk(slab: &SlabAllocator<'_>, options: &CacheOptions, ops: Vec<CacheOp>) {
    let mut cache = slab.create(options).unwrap();
    let bytes = cache.object_bytes();
    let mut owned = Vec::<NonNull<u8>>::new();
    for op in ops {
        match op {
            CacheOp::Alloc(count) => {
                let mut objects = std::vec![NonNull::dangling(); count];
                cache.alloc_bulk(Gfp::KERNEL, &mut objects).unwrap();
                if options.constructor.is_some() {
                    objects.iter().for_each(|object| check(*object, 40, 0xc7));
                } else {
                    objects.iter().for_each(|object| fill(*object, bytes, 0x11));
                }
                owned.extend(objects);
            }
            CacheOp::Free(count) => {
                let at = owned.len().saturating_sub(count);
                // SAFETY: owned, and named once.
                unsafe { cache.free_bulk(&owned.split_off(at)) };
            }
            CacheOp::Shrink => _ = slab.shrink(),
            CacheOp::DestroyAndCreate if owned.is_empty() => {
                destroy(cache).unwrap();
                cache = slab.create(options).unwrap();
            }
            CacheOp::DestroyAndCreate => {
                let objects = u32::try_from(owned.len()).unwrap();
                let cache = cache.statistics().name;
                let live = DestroyError::LiveObjects { cache, objects };
                let handle = slab.statistics();
                assert!({ handle }.any(|cache| cache.live_objects == objects));
                assert_eq!(destroy_named(slab, cache), Err(live));
            }
        }
        let distinct: std::collections::BTreeSet<_> = owned.iter().collect();
        assert_eq!(distinct.len(), owned.len(), "handed out twice");
        assert_eq!(cache.statistics().live_objects as usize, owned.len());
        assert_eq!(slab.validate(), Ok(()));
    }
    // SAFETY: owned, and named once.
    unsafe { cache.free_bulk(&owned) };
    destroy(cache).unwrap();
}

fn destroy_named(slab: &SlabAllocator<'_>, name: &str) -> Result<(), DestroyError> {
    let place = place_of(slab, name).unwrap();
    slab.destroy(registry::ids().nth(place - 1).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn bulk_calls_hand_out_each_object_once_and_lose_none(
        ops in cache_ops(),
        bytes in 1..3000_usize,
        constructed: bool,
    ) {
        with_slab(2048, |slab, _| {
            let options = if constructed {
                options("bulk", 40).constructor(stamp)
            } else {
                options("bulk", bytes)
            };
            run_in_bulk(slab, &options, ops);
        });
    }
}

#[test]
fn a_bulk_call_that_fails_leaves_nothing_allocated() {
    with_slab(1024, |slab, frames| {
        let cache = slab.create(&options("bulk", 1000)).unwrap();
        let before = cache.alloc(Gfp::KERNEL).unwrap();
        let mut objects = std::vec![NonNull::dangling(); 5000];
        let refused = cache.alloc_bulk(Gfp::ATOMIC | Gfp::NOWARN, &mut objects);
        assert!(matches!(
            refused,
            Err(AllocError::OutOfMemory { bytes: 1000, .. })
        ));
        let statistics = cache.statistics();
        assert_eq!((statistics.live_objects, statistics.allocations), (1, 1));
        assert_eq!(slab.validate(), Ok(()));
        for failing in 0..20 {
            frames.faults().fail_after(failing);
            let refused = cache.alloc_bulk(Gfp::ATOMIC, &mut objects[..400]);
            frames.faults().stop();
            if refused.is_ok() {
                // SAFETY: allocated just now.
                unsafe { cache.free_bulk(&objects[..400]) };
            }
            assert_eq!(cache.statistics().live_objects, 1);
            slab.shrink();
        }
        free(&cache, before);
        assert_eq!(destroy(cache), Ok(()));
    });
}

#[test]
fn caches_that_come_and_go_leave_their_slots_to_others() {
    with_slab(1024, |slab, _| {
        for _ in 0..200 {
            let cache = slab.create(&options("passing", 72)).unwrap();
            let objects = [(); 3].map(|()| cache.alloc(Gfp::KERNEL).unwrap());
            for object in objects {
                free(&cache, object);
            }
            assert_eq!(destroy(cache), Ok(()));
        }
        let cache = slab.create(&options("staying", 88)).unwrap();
        free(&cache, cache.alloc(Gfp::KERNEL).unwrap());
        let place = place_of(slab, "staying").unwrap();
        let number = u8::try_from(place).unwrap();
        let mut contexts = slab.locals.all();
        assert!(contexts.any(|context| context.is_attached(number)));
        assert_eq!(destroy(cache), Ok(()));
    });
}
