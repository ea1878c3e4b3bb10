//! Every wrong free, named.

use super::*;
use std::{format, panic, string::String};

/// The panic message of `body`, run on caches over an arena of their own.
fn death_of(body: impl FnOnce(&SlabAllocator<'_>)) -> String {
    let mut arena = Arena::new(FIRST, 1024);
    let span = arena.span();
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[span]);
    let slab = Box::new(SlabAllocator::new());
    slab.init(&frames);
    let death = panic::catch_unwind(panic::AssertUnwindSafe(|| body(&slab)));
    let death = death.expect_err("nobody noticed");
    death.downcast_ref::<String>().cloned().unwrap_or_default()
}

fn offset(memory: NonNull<u8>, bytes: usize) -> NonNull<u8> {
    // SAFETY: inside the arena in every test.
    unsafe { memory.add(bytes) }
}

fn named(memory: NonNull<u8>) -> String {
    format!("double free of {:#x}", memory.addr())
}

#[test]
fn a_second_free_is_named_before_the_object_has_two_owners() {
    for between in [0, 1, 3, 20, 40, 200] {
        let (mut twice, mut returned) = (NonNull::dangling(), false);
        let death = death_of(|slab| {
            let others: Vec<_> = (0..between).map(|_| kmalloc(slab, 64)).collect();
            twice = kmalloc(slab, 64);
            kfree(slab, twice);
            // Many frees move the object from the magazine into the depot, or into its slab.
            others.into_iter().for_each(|object| kfree(slab, object));
            kfree(slab, twice);
            returned = true;
            let mut owners = (0..1000).filter(|_| kmalloc(slab, 64) == twice);
            assert!(owners.nth(1).is_none(), "handed out twice");
        });
        let expected = format!("slab kmalloc-64: {}", named(twice));
        assert!(death.starts_with(&expected), "{between}: {death}");
        assert_eq!(returned, !cfg!(feature = "hardened"), "{between}");
    }
}

#[test]
fn a_second_free_on_another_core_is_named() {
    let mut twice = 0;
    let death = death_of(|slab| {
        let object = kmalloc(slab, 200);
        twice = object.as_ptr().expose_provenance();
        let at = twice;
        let (to_main, from_other) = std::sync::mpsc::channel();
        let (to_other, from_main) = std::sync::mpsc::channel::<()>();
        let elsewhere = std::thread::scope(|scope| {
            let other = scope.spawn(move || {
                kfree(
                    slab,
                    NonNull::with_exposed_provenance(at.try_into().unwrap()),
                );
                to_main.send(()).unwrap();
                from_main.recv().unwrap();
                let again = (0..100).any(|_| kmalloc(slab, 200).addr().get() == at);
                assert!(!again, "handed out twice");
            });
            // In the hardened tier the second free dies here, and the other thread of the channel's end.
            let to_other = to_other;
            from_other.recv().unwrap();
            kfree(slab, object);
            // Here it leaves; there it stands in a slot that it does not name any more.
            let owner = kmalloc(slab, 200);
            assert_eq!(owner, object);
            to_other.send(()).unwrap();
            other.join()
        });
        panic::resume_unwind(elsewhere.expect_err("nobody noticed"));
    });
    let expected = format!("slab kmalloc-224: double free of {twice:#x}");
    assert!(death.starts_with(&expected), "{death}");
}

#[test]
fn a_second_free_after_a_write_is_named_before_the_object_is_handed_out_twice() {
    let death = death_of(|slab| {
        let twice = kmalloc(slab, 64);
        kfree(slab, twice);
        fill(twice, 64, 0x77);
        kfree(slab, twice);
        let first = kmalloc(slab, 64);
        assert_eq!(first, twice);
        let second = kmalloc(slab, 64);
        assert_ne!(second, twice, "handed out twice");
    });
    assert!(
        death.contains("slab kmalloc-64: double free of 0x"),
        "{death}"
    );
}

#[test]
fn a_write_to_a_free_object_is_named_when_it_leaves_the_list() {
    let death = death_of(|slab| {
        let object = kmalloc(slab, 64);
        kfree(slab, object);
        fill(object, 8, 0);
        kmalloc(slab, 64);
    });
    assert!(
        death.contains("or a write to it while it was free"),
        "{death}"
    );
}

/// Frees `wrong` and then as much as moves it out of the magazine and the depot.
fn bury(slab: &SlabAllocator<'_>, bytes: usize, wrong: impl FnOnce(NonNull<u8>) -> NonNull<u8>) {
    let objects: Vec<_> = (0..400).map(|_| kmalloc(slab, bytes)).collect();
    kfree(slab, wrong(objects[0]));
    for object in &objects[1..] {
        kfree(slab, *object);
    }
    slab.shrink();
}

#[test]
fn frees_of_what_is_no_object_are_named() {
    let interior = death_of(|slab| bury(slab, 96, |object| offset(object, 32)));
    assert!(
        interior.contains("slab kmalloc-96: invalid free of 0x"),
        "{interior}"
    );
    let never_handed_out = death_of(|slab| {
        kfree(slab, offset(kmalloc(slab, 400), 9 * 400));
        slab.shrink();
    });
    assert!(
        never_handed_out.contains("slab kmalloc-400: invalid free of 0x"),
        "{never_handed_out}"
    );
    let on_the_stack = death_of(|slab| {
        let mut local = [0_u64; 8];
        kfree(slab, NonNull::from(&mut local).cast());
    });
    assert!(
        on_the_stack.contains("slab kmalloc: invalid free of 0x"),
        "{on_the_stack}"
    );
    let inside_a_block = death_of(|slab| kfree(slab, offset(kmalloc(slab, 1 << 16), 4096)));
    assert!(
        inside_a_block.contains("slab kmalloc: invalid free of 0x"),
        "{inside_a_block}"
    );
    let block_twice = death_of(|slab| {
        let block = kmalloc(slab, 1 << 16);
        kfree(slab, block);
        kfree(slab, block);
    });
    assert!(
        block_twice.contains("slab kmalloc: double free of 0x"),
        "{block_twice}"
    );
}

#[test]
fn an_object_of_another_cache_is_named() {
    let death = death_of(|slab| {
        let layout = Layout::from_size_align(64, 8).unwrap();
        let cache = slab.create(&CacheOptions::new("mine", layout)).unwrap();
        cache.alloc(Gfp::KERNEL).unwrap();
        // SAFETY: wrong on purpose: it is the arena's, and nobody uses it.
        unsafe { cache.free(kmalloc(slab, 64)) };
        slab.shrink();
    });
    assert!(death.contains("slab mine: invalid free of 0x"), "{death}");
}

#[test]
fn the_hardened_tier_names_a_wrong_object_on_that_call() {
    let mut returned = false;
    let death = death_of(|slab| {
        kfree(slab, offset(kmalloc(slab, 96), 32));
        returned = true;
        slab.shrink();
    });
    assert!(death.contains("invalid free"), "{death}");
    assert_eq!(returned, !cfg!(feature = "hardened"));
}

#[test]
fn a_page_that_is_not_kmallocs_is_not_freed() {
    let mut arena = Arena::new(FIRST, 1024);
    let span = arena.span();
    let frames = arena.frames(&ZoneLimits::FOUR_GIB, &[span]);
    let slab = Box::new(SlabAllocator::new());
    slab.init(&frames);
    let pfn = frames.alloc(Order::ZERO, Gfp::KERNEL).unwrap();
    let start = frames.linear().to_virt(pfn.address()).as_mut_ptr();
    let free = || kfree(&slab, NonNull::new(start).unwrap());
    let death = panic::catch_unwind(panic::AssertUnwindSafe(free)).expect_err("freed");
    assert!(
        death
            .downcast_ref::<String>()
            .unwrap()
            .contains("invalid free")
    );
    assert!(frames.free(pfn, Order::ZERO).is_ok());

    let object = kmalloc(&slab, 64);
    let pfn = frames
        .linear()
        .to_phys(VirtAddr::from_ptr(object.as_ptr()))
        .frame();
    let error = frames.free(pfn, Order::ZERO);
    assert_eq!(error, Err(crate::mm::frames::FrameError::InUse(pfn)));
}
