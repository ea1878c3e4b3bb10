//! Tests of DMA buffers, with a recorder for the caches.

use super::*;
use std::{boxed::Box, sync::Mutex, vec, vec::Vec};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Clean(u64),
    CleanInvalidate(u64),
    Invalidate(u64),
    Order,
}

#[derive(Default)]
struct Recorder(Mutex<Vec<Step>>);

impl Recorder {
    fn push(&self, step: Step) {
        self.0.lock().unwrap().push(step);
    }
    fn take(&self) -> Vec<Step> {
        core::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Caches for Recorder {
    fn clean(&self, _start: VirtAddr, bytes: u64) {
        self.push(Step::Clean(bytes));
    }
    fn clean_invalidate(&self, _start: VirtAddr, bytes: u64) {
        self.push(Step::CleanInvalidate(bytes));
    }
    fn invalidate(&self, _start: VirtAddr, bytes: u64) {
        self.push(Step::Invalidate(bytes));
    }
    fn order(&self) {
        self.push(Step::Order);
    }
}

const POOL_BYTES: usize = 16 * 4096;

fn device(coherent: bool) -> Device {
    Device {
        name: "test",
        mask: 0xffff_ffff,
        bus_offset: 0xc000_0000,
        coherent,
    }
}

/// A pool at physical address 0x3000_0000, in memory of this test's own.
fn memory() -> (&'static DmaMemory, &'static Recorder) {
    #[repr(align(4096))]
    struct Arena(#[expect(dead_code, reason = "reached by address only")] [u8; POOL_BYTES]);
    let arena = Box::leak(Box::new(Arena([0; POOL_BYTES])));
    let recorder = Box::leak(Box::new(Recorder::default()));
    let start = PhysAddr::new(0x3000_0000);
    let address = (&raw mut *arena).expose_provenance() as u64;
    let linear = LinearMap::at(VirtAddr::new(address.wrapping_sub(start.get())));
    let range = start..start.offset(POOL_BYTES as u64);
    // SAFETY: the arena is leaked to this pool, and the map leads to it.
    let memory = unsafe { DmaMemory::new(&range, linear, recorder) }.unwrap();
    (Box::leak(Box::new(memory)), recorder)
}

fn round(direction: Direction, coherent: bool) -> Vec<Step> {
    let (memory, recorder) = memory();
    let buffer = memory.alloc(&device(coherent), 5000).unwrap();
    drop(buffer.give(direction).take());
    recorder.take()
}

#[test]
fn what_the_cpu_wrote_is_cleaned_before_the_device_reads_it() {
    let steps = round(Direction::ToDevice, false);
    assert_eq!(steps, vec![Step::Clean(8192), Step::Order, Step::Order]);
}

#[test]
fn no_line_is_left_when_the_device_writes_and_when_the_cpu_reads() {
    for direction in [Direction::FromDevice, Direction::Both] {
        assert_eq!(
            round(direction, false),
            vec![
                Step::CleanInvalidate(8192),
                Step::Order,
                Step::Order,
                Step::Invalidate(8192)
            ]
        );
    }
}

#[test]
fn a_device_that_snoops_needs_only_order() {
    for direction in [Direction::ToDevice, Direction::FromDevice, Direction::Both] {
        assert_eq!(round(direction, true), vec![Step::Order, Step::Order]);
    }
}

#[test]
fn a_buffer_is_its_bytes_and_its_bus_address() {
    let (memory, _) = memory();
    let mut buffer = memory.alloc(&device(false), 100).unwrap();
    buffer.as_mut_slice().fill(0xa5);
    assert_eq!(buffer.as_slice(), [0xa5; 100]);
    let lent = buffer.give(Direction::ToDevice);
    assert_eq!(lent.bus_address(), DmaAddr::new(0xf000_0000));
    assert_eq!(lent.take().as_slice(), [0xa5; 100]);
}

#[test]
fn pages_come_back_unless_a_device_may_still_write_them() {
    let (memory, _) = memory();
    let full = POOL_BYTES as u64;
    let buffer = memory.alloc(&device(false), 8192).unwrap();
    assert_eq!(memory.statistics().free_bytes, full - 8192);
    drop(buffer);
    assert_eq!(memory.statistics().free_bytes, full);
    let lent = memory
        .alloc(&device(false), 1)
        .unwrap()
        .give(Direction::FromDevice);
    drop(lent);
    let expected = Statistics {
        total_bytes: full,
        free_bytes: full - 4096,
        lost_bytes: 4096,
    };
    assert_eq!(memory.statistics(), expected);
}

#[test]
fn what_a_device_cannot_reach_is_refused_and_given_back() {
    let (memory, _) = memory();
    let short = Device {
        mask: 0xefff_ffff,
        ..device(true)
    };
    let error = memory.alloc(&short, 4096).unwrap_err();
    assert!(matches!(error, DmaError::OutOfReach(_)), "{error}");
    assert_eq!(memory.statistics().free_bytes, POOL_BYTES as u64);
    let error = memory
        .alloc(&device(true), POOL_BYTES as u64 + 1)
        .unwrap_err();
    assert!(
        matches!(error, DmaError::Pool(PoolError::Exhausted { .. })),
        "{error}"
    );
}
