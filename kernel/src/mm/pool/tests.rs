//! Pools over memory of their own, against the values that are out.

use super::*;
use crate::mm::heap::tests::with_heap;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use proptest::prelude::*;
use std::vec::Vec;

/// A value that counts how many of its kind there are.
#[derive(Debug)]
pub(in crate::mm) struct Counted<'a>(&'a AtomicU32, pub(in crate::mm) u64);

impl<'a> Counted<'a> {
    pub(in crate::mm) fn new(count: &'a AtomicU32, number: u64) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count, number)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_pool_has_room_exactly_up_to_its_capacity(
        capacity in 0..40_u32,
        ops in prop::collection::vec(any::<(bool, prop::sample::Index)>(), 1..300),
    ) {
        with_heap(|heap| {
            let count = AtomicU32::new(0);
            let pool = Pool::new_in(capacity, *heap).unwrap();
            let mut boxes = Vec::<(u64, PoolBox<'_, Counted<'_>, _>)>::new();
            for (number, (take, index)) in (0..).zip(ops) {
                if take {
                    match pool.take(Counted::new(&count, number)) {
                        Ok(value) => boxes.push((number, value)),
                        Err(value) => {
                            assert_eq!(value.1, number, "the value comes back");
                            assert_eq!(boxes.len(), capacity as usize);
                        }
                    }
                } else if !boxes.is_empty() {
                    boxes.swap_remove(index.index(boxes.len()));
                }
                assert!(boxes.len() <= capacity as usize);
                assert!(boxes.iter().all(|(number, value)| value.1 == *number));
                assert_eq!(pool.used() as usize, boxes.len());
                assert_eq!(count.load(Relaxed) as usize, boxes.len());
            }
        });
    }
}

#[test]
fn values_come_and_go_on_several_cores_when_no_memory_is_left() {
    with_heap(|heap| {
        let count = AtomicU32::new(0);
        let pool = Pool::new_in(3, *heap).unwrap();
        let block = Layout::from_size_align(4096, 8).unwrap();
        let mut taken = Vec::new();
        while let Ok(memory) = heap.allocate(block) {
            taken.push(memory);
        }
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let (pool, count) = (&pool, &count);
                scope.spawn(move || {
                    for number in 0..2000 {
                        let value = Counted::new(count, thread * 10_000 + number);
                        let value = pool.take(value).expect("three places for three threads");
                        assert_eq!(value.1, thread * 10_000 + number);
                    }
                });
            }
        });
        assert_eq!((pool.used(), count.load(Relaxed)), (0, 0));
        for memory in taken {
            // SAFETY: allocated above with this layout.
            unsafe { heap.deallocate(memory.cast(), block) };
        }
    });
}
