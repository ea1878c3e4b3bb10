//! Collections that name a heap, over memory of their own, beside the standard library's.

use super::*;
use crate::mm::heap::tests::with_heap;
use allocator_api2::{boxed::Box, vec::Vec};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Extend(usize),
    Truncate(usize),
    ShrinkToFit,
    Reserve(usize),
}

fn ops() -> impl Strategy<Value = std::vec::Vec<Op>> {
    let op = prop_oneof![
        4 => (1..3000_usize).prop_map(Op::Extend),
        2 => (0..9000_usize).prop_map(Op::Truncate),
        1 => Just(Op::ShrinkToFit),
        1 => (0..20_000_usize).prop_map(Op::Reserve),
    ];
    prop::collection::vec(op, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_vector_in_a_heap_holds_what_the_standard_one_holds(ops in ops()) {
        with_heap(|heap| {
            let mut vector = Vec::new_in(*heap);
            let mut expected = std::vec::Vec::new();
            for (stamp, op) in (0_u16..).zip(ops) {
                match op {
                    Op::Extend(count) => {
                        let new = (stamp..=u16::MAX).cycle().take(count);
                        vector.extend(new.clone());
                        expected.extend(new);
                    }
                    Op::Truncate(len) => {
                        vector.truncate(len);
                        expected.truncate(len);
                    }
                    Op::ShrinkToFit => vector.shrink_to_fit(),
                    Op::Reserve(more) => vector.reserve(more),
                }
                assert_eq!(&vector[..], &expected[..]);
            }
        });
    }
}

#[test]
fn objects_grow_and_shrink_in_place_inside_their_class() {
    with_heap(|heap| {
        let layout = |bytes| Layout::from_size_align(bytes, 8).unwrap();
        let memory = heap.allocate(layout(300)).unwrap();
        assert_eq!(memory.len(), 336, "all that the class has");
        let object = memory.cast();
        // SAFETY: it fits any layout up to what it has.
        let same = unsafe { heap.grow(object, layout(300), layout(336)) }.unwrap();
        assert_eq!(same, memory);
        // SAFETY: as above.
        let same = unsafe { heap.shrink(object, layout(336), layout(290)) }.unwrap();
        assert_eq!(same, memory);
        // SAFETY: as above.
        let moved = unsafe { heap.grow(object, layout(290), layout(337)) }.unwrap();
        assert_ne!(moved.cast(), object);
        // SAFETY: it is ours, and fits.
        unsafe { heap.deallocate(moved.cast(), layout(337)) };
    });
}

#[test]
fn nothing_takes_no_memory_and_too_much_is_an_error() {
    with_heap(|heap| {
        let nothing = Box::new_in((), *heap);
        drop(nothing);
        let mut empty = Vec::<u64, _>::new_in(*heap);
        assert!(empty.try_reserve(1 << 20).is_err(), "8 MiB");
        empty.push(1);
        empty.clear();
        empty.shrink_to_fit();
        assert_eq!(empty.capacity(), 0);
        assert!(Kmalloc.allocate(Layout::new::<()>()).is_ok());
    });
}
