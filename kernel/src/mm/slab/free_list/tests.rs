//! Lists over objects on the stack, used rightly and wrongly.

use super::*;
use crate::sync::irq;
use std::vec::Vec;

const CACHE: CacheId = CacheId(1);

fn lists() -> std::boxed::Box<CpuLists<'static, 2>> {
    let geometry = Geometry::new(32, 8).unwrap();
    std::boxed::Box::new(CpuLists::new(&[geometry, geometry]))
}

fn object(memory: &mut [u64; 4]) -> Object {
    // SAFETY: the array is used through the object alone from here on.
    unsafe { Object::new(NonNull::from(memory).cast()) }
}

/// Makes an owner more than there should be.
fn two_owners(start: NonNull<u8>) -> Object {
    // SAFETY: not so, on purpose; but nothing else uses the memory meanwhile.
    unsafe { Object::new(start) }
}

fn pop(list: Local<'_>) -> Option<VirtAddr> {
    match list.pop(Some) {
        Popped::Object(object, found) => {
            assert_eq!(object.address(), found);
            Some(found)
        }
        Popped::Empty => None,
        Popped::Broken(address) => panic!("broken: {address:?}"),
    }
}

fn broken(list: Local<'_>) -> Option<VirtAddr> {
    match list.pop(Some) {
        Popped::Broken(address) => Some(address),
        Popped::Object(..) | Popped::Empty => None,
    }
}

#[test]
fn objects_come_back_last_in_first_out() {
    let (lists, irq) = (lists(), irq::mask());
    let list = lists.local(CACHE, irq.proof());
    let mut memory = [[7_u64; 4]; 3];
    let objects: Vec<_> = memory.iter_mut().map(object).collect();
    let addresses: Vec<_> = objects.iter().map(Object::address).collect();
    for object in objects {
        assert!(!object.may_be_sealed());
        list.push(object);
    }
    assert_eq!(lists.count(CACHE), 3);
    assert_eq!(list.walk(3, |_| true), Ok(()));
    assert!(list.walk(2, |_| true).is_err());
    for address in addresses.into_iter().rev() {
        assert_eq!(pop(list), Some(address));
    }
    assert_eq!(pop(list), None);
    assert_eq!(lists.count(CACHE), 0);
}

#[test]
fn an_object_on_a_list_twice_comes_off_once() {
    let (lists, irq) = (lists(), irq::mask());
    let list = lists.local(CACHE, irq.proof());
    let mut memory = [[7_u64; 4]; 2];
    let start = NonNull::from(&mut memory[0]).cast::<u8>();
    let [first, second] = [start; 2].map(two_owners);
    list.push(first);
    list.push(object(&mut memory[1]));
    assert!(second.may_be_sealed());
    list.push(second);
    let address = VirtAddr::from_ptr(start.as_ptr());
    assert_eq!(pop(list), Some(address));
    assert!(pop(list).is_some());
    assert_eq!(broken(list), Some(address));
}

#[test]
fn an_object_that_does_not_pass_the_check_stays() {
    let (lists, irq) = (lists(), irq::mask());
    let list = lists.local(CACHE, irq.proof());
    let mut memory = [7_u64; 4];
    list.push(object(&mut memory));
    let popped = list.pop(|_| None::<()>);
    assert!(matches!(popped, Popped::Broken(address) if Some(address) == pop(list)));
    assert_eq!(pop(list), None);
}

#[test]
fn an_object_on_two_lists_is_broken_on_the_first() {
    let (lists, irq) = (lists(), irq::mask());
    let list = lists.local(CACHE, irq.proof());
    let other = lists.local(CacheId(0), irq.proof());
    let mut memory = [7_u64; 4];
    let start = NonNull::from(&mut memory).cast::<u8>();
    let [first, second] = [start; 2].map(two_owners);
    list.push(first);
    other.push(second);
    assert!(broken(list).is_some());
    assert!(pop(other).is_some());
}

#[test]
fn a_write_to_either_word_of_a_free_object_is_noticed() {
    for word in 0..2 {
        let (lists, irq) = (lists(), irq::mask());
        let list = lists.local(CACHE, irq.proof());
        let mut memory = [7_u64; 4];
        let start = NonNull::from(&mut memory).cast::<u64>();
        list.push(object(&mut memory));
        // SAFETY: the word is inside the array, which outlives the list.
        let word = unsafe { start.add(word) };
        // SAFETY: as above; nothing refers to it now.
        unsafe { word.write(0x1234) };
        assert!(broken(list).is_some());
    }
}

#[test]
fn keys_are_told_from_what_is_none() {
    let head = Pfn::new(77);
    assert!(is_key(slab_key(head), Some(head), 2));
    assert!(is_key(cpu_key(CacheId(1), MAX_CPUS - 1), None, 2));
    assert!(!is_key(slab_key(Pfn::new(78)), Some(head), 2));
    assert!(!is_key(cpu_key(CacheId(2), 0), Some(head), 2));
    assert!(!is_key(0, Some(head), 2));
    assert!(!is_key(KEY ^ 1 << 63, Some(head), 2));
}
