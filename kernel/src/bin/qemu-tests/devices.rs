//! Memory for devices, and the devices' registers.
#![allow(unsafe_code, reason = "says where the DMA engine is")]

use kernel::{
    dma::{self, Direction, bcm2835, device::Device},
    machine,
    mm::addr::PhysAddr,
    vm::{descriptor::Attributes, ioremap, kernel_space},
};

crate::table::tests! {
    a_buffer_passes_to_a_device_and_back,
    a_device_is_never_given_what_it_cannot_reach,
    the_pool_runs_out_with_an_error_and_comes_back,
    registers_are_mapped_as_device_memory,
    the_dma_engine_copies_and_verifies if no_engine,
}

const ANY: Device = Device {
    name: "any",
    mask: u64::MAX,
    bus_offset: 0,
    coherent: false,
};

fn a_buffer_passes_to_a_device_and_back() {
    let mut buffer = dma::alloc(&ANY, 10_000).expect("memory");
    buffer.as_mut_slice().fill(7);
    let lent = buffer.give(Direction::Both);
    assert!(lent.bus_address().get().is_multiple_of(4096));
    let buffer = lent.take();
    assert_eq!(buffer.as_slice().len(), 10_000);
    assert!(buffer.as_slice().iter().all(|&byte| byte == 7));
}

fn a_device_is_never_given_what_it_cannot_reach() {
    let low = Device {
        name: "low",
        mask: 0xfff,
        ..ANY
    };
    assert!(dma::alloc(&low, 8192).is_err());
    assert!(dma::alloc(&low, 4096).is_err());
}

fn the_pool_runs_out_with_an_error_and_comes_back() {
    let free = || dma::statistics().expect("boot made the pool");
    let before = free();
    let mut taken = alloc::vec::Vec::new();
    while let Ok(buffer) = dma::alloc(&ANY, 64 << 10) {
        taken.push(buffer);
    }
    assert!(taken.len() >= 16);
    drop(taken);
    assert_eq!(free(), before);
}

fn registers_are_mapped_as_device_memory() {
    let uart = PhysAddr::new(machine().board.uart);
    let registers = ioremap::ioremap(uart, 4096).expect("an area");
    let mapping = kernel_space::walk(registers).expect("mapped");
    assert_eq!(
        (mapping.physical, mapping.attributes),
        (uart, Some(Attributes::DEVICE))
    );
    ioremap::iounmap(registers);
    assert!(kernel_space::walk(registers).is_none());
}

fn no_engine() -> Option<&'static str> {
    machine()
        .board
        .dma_engine
        .is_none()
        .then_some("a BCM2835 DMA engine")
}

fn the_dma_engine_copies_and_verifies() {
    let registers = machine().board.dma_engine.expect("checked by no_engine");
    let channel = registers.channels.trailing_zeros();
    // SAFETY: the board says that the engine is there and that the channel is ours.
    let engine = unsafe { bcm2835::Engine::new(PhysAddr::new(registers.base), channel) };
    let mut engine = engine.expect("a channel");
    for bytes in [4, 4096, bcm2835::COPY_BYTES_MAX] {
        let length = u64::from(bytes);
        let mut source = dma::alloc(&bcm2835::DEVICE, length).expect("memory");
        let mut destination = dma::alloc(&bcm2835::DEVICE, length).expect("memory");
        source
            .as_mut_slice()
            .iter_mut()
            .zip((1_u8..=250).cycle())
            .for_each(|(byte, value)| *byte = value);
        destination.as_mut_slice().fill(0);
        let source = source.give(Direction::ToDevice);
        let mut destination = destination.give(Direction::FromDevice);
        engine
            .copy(&source, &mut destination, bytes)
            .expect("a copy");
        assert_eq!(
            source.take().as_slice(),
            destination.take().as_slice(),
            "{bytes} bytes"
        );
    }
}
