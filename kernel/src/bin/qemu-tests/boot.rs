//! What boot left: rights, mappings, facts.

use kernel::{
    arch::{image, mmu, pmu, stack},
    boot, machine,
    mm::addr::{LinearMap, PAGE_BYTES, VirtAddr},
    vm::{descriptor::Attributes, kernel_space, layout},
};

crate::table::tests! {
    the_app_runs_at_el1_with_interrupts_on,
    nothing_is_writable_and_executable,
    the_guards_below_the_stacks_are_unmapped,
    text_cannot_be_written_through_the_linear_map,
    the_identity_map_is_gone,
    the_board_has_memory_a_console_and_a_core,
    every_phase_of_boot_was_counted,
    an_event_counter_counts_what_it_was_told_to,
}

fn the_app_runs_at_el1_with_interrupts_on() {
    use aarch64_cpu::registers::{CurrentEL, Readable};
    assert_eq!(CurrentEL.read(CurrentEL::EL), 1);
    assert!(!kernel::sync::irq::is_masked());
    assert!((1..=3).contains(&machine().entry_el));
}

fn nothing_is_writable_and_executable() {
    let (mut leaves, mut text) = (0, 0);
    let all = layout::LINEAR.start..VirtAddr::new(0xffff_ffff_ffff_f000);
    kernel_space::visit(all, &mut |mapping| {
        let attributes = mapping.attributes.expect("a leaf that the kernel made");
        let access = attributes.access();
        assert!(
            !(access.is_writable() && access.is_executable()),
            "{:#x}",
            mapping.address
        );
        leaves += 1;
        text += u64::from(access.is_executable());
    });
    let pages = (image::text().end.get() - image::text().start.get()) / PAGE_BYTES;
    assert_eq!(
        text, pages,
        "the image's text and nothing else is executable"
    );
    assert!(leaves > text);
}

fn the_guards_below_the_stacks_are_unmapped() {
    for guard in [
        image::boot_stack_guard(),
        image::irq_stack_guard(),
        image::fault_stack_guard(),
    ] {
        assert!(kernel_space::walk(guard.start).is_none());
        assert!(kernel_space::walk(guard.end.offset(u64::MAX)).is_none());
        assert!(kernel_space::walk(guard.end).is_some());
        // What the linker script and exception entry both rest on.
        assert_eq!(guard.start.offset(stack::STACK_BYTES), guard.end);
        assert!(guard.end.is_aligned_to(2 * stack::STACK_BYTES));
    }
}

fn text_cannot_be_written_through_the_linear_map() {
    for section in [image::text(), image::rodata()] {
        let alias = LinearMap::kernel().to_virt(image::to_phys(section.start));
        let mapping = kernel_space::walk(alias).expect("the linear map covers the image");
        assert_eq!(mapping.attributes, Some(Attributes::KERNEL_RODATA));
    }
}

fn the_identity_map_is_gone() {
    // One page of the text was mapped where it was loaded; which one is for the linker to say.
    let text = image::text();
    let pages = (text.end.get() - text.start.get()) / PAGE_BYTES;
    for page in (0..pages).map(|page| text.start.offset(page * PAGE_BYTES)) {
        let loaded = VirtAddr::new(image::to_phys(page).get());
        assert!(
            mmu::is_readable(page) && !mmu::is_readable(loaded),
            "{page:#x}"
        );
    }
}

fn the_board_has_memory_a_console_and_a_core() {
    let machine = machine();
    assert!(machine.memory_bytes >= 32 << 20);
    assert!(machine.board.uart != 0);
    assert!(!machine.board.cpus.is_empty());
    assert!(kernel::arch::timer::frequency_hz() > 1_000_000);
}

fn every_phase_of_boot_was_counted() {
    assert_eq!(boot::phases().map(|(name, _)| name).last(), Some("user"));
    if pmu::is_present() {
        assert!(boot::phases().all(|(_, cost)| cost > 0));
    }
}

fn an_event_counter_counts_what_it_was_told_to() {
    /// CPU_CYCLES, and a number that no common event has.
    const EVENTS: [u16; 2] = [0x11, 0x40];
    if !pmu::is_present() {
        return;
    }
    assert!(pmu::event_counters() >= 2);
    assert_eq!(EVENTS.map(pmu::implements), [true, false]);
    pmu::count(&EVENTS[..1]);
    let [first, untold, ..] = pmu::events(2);
    let until = pmu::cycles() + 1000;
    while pmu::cycles() < until {}
    let [second, still, ..] = pmu::events(2);
    assert!(second.wrapping_sub(first) >= 1000, "{first} {second}");
    assert_eq!(untold, still, "a counter without an event counts");
}
