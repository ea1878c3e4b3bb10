//! What must end the machine, and say why. Each runs in a machine of its own.
#![allow(unsafe_code, reason = "does what safe code cannot, to see it caught")]

use core::{fmt, hint::black_box, ptr::NonNull};
use kernel::{
    arch::{image, timer},
    interrupt,
    mm::{
        addr::VirtAddr,
        gfp::Gfp,
        kmalloc::{kfree, kmalloc},
        slab,
    },
    smp,
    vm::{
        set_memory::set_memory_ro,
        vmalloc::{vfree, vmalloc},
    },
};

crate::table::tests! {
    writing_to_text_faults => "data abort writing: permission fault",
    writing_to_constants_faults => "kernel constants, read-only",
    executing_data_faults => "instruction abort executing: permission fault",
    a_stack_overflow_is_called_one => "guard page of the boot stack",
    a_stack_overflow_in_a_handler_is_called_one => "guard page of the interrupt stack",
    a_null_dereference_names_the_null_page => "null page + 0x8",
    the_kernel_cannot_touch_user_memory_directly => "user region",
    a_stack_overflow_on_another_core_is_called_one if crate::smp::one_core
        => "guard page of the stack of core 1",
    a_page_made_read_only_cannot_be_written => "data abort writing: permission fault",
    an_area_cannot_be_executed => "instruction abort executing: permission fault",
    a_vmalloc_area_ends_in_a_guard => "guard page of the vmalloc area",
    freeing_an_object_twice_is_named => "double free",
    freeing_inside_an_object_is_named => "invalid free",
    freeing_what_was_never_allocated_is_named => "invalid free",
    freeing_an_area_that_is_none_is_named => "vfree of",
    an_undefined_instruction_is_named => "undefined instruction",
    a_panic_is_printed => "a panic with 2 numbers",
    a_fault_in_the_fault_handler_ends_in_one_line => "fault inside the fault handler",
}

fn write(address: VirtAddr) {
    // SAFETY: none; the machine must catch it.
    unsafe { address.as_mut_ptr::<u64>().write_volatile(0) };
}

fn writing_to_text_faults() {
    write(image::text().start.offset(0x100));
}

fn writing_to_constants_faults() {
    write(image::rodata().start);
}

fn executing_data_faults() {
    static DATA: [u32; 2] = [0xd503_201f, 0xd65f_03c0];
    let mut data = DATA;
    let code = black_box(data.as_mut_ptr());
    // SAFETY: none; the machine must catch it.
    let function = unsafe { core::mem::transmute::<*mut u32, extern "C" fn()>(code) };
    function();
}

#[expect(unconditional_recursion, reason = "that is the test")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    recurse(depth + 1) + frame[black_box(3)]
}

fn a_stack_overflow_is_called_one() {
    black_box(recurse(0));
}

fn a_stack_overflow_in_a_handler_is_called_one() {
    interrupt::on_timer(|| {
        black_box(recurse(0));
    });
    timer::arm(timer::ticks());
    loop {
        kernel::arch::cpu::wait_for_interrupt();
    }
}

fn a_stack_overflow_on_another_core_is_called_one() {
    smp::on(1, a_stack_overflow_is_called_one).expect("started above");
    smp::wait(1);
}

fn a_null_dereference_names_the_null_page() {
    write(VirtAddr::new(8));
}

fn the_kernel_cannot_touch_user_memory_directly() {
    write(VirtAddr::new(0x40_0000));
}

fn a_page_made_read_only_cannot_be_written() {
    let area = vmalloc(65_536).expect("memory for 16 pages");
    let page = VirtAddr::from_ptr(area.as_ptr()).offset(3 * 4096);
    write(page);
    set_memory_ro(page, 1).expect("pages of an area");
    write(page.offset(4096));
    write(page);
}

fn an_area_cannot_be_executed() {
    let area = vmalloc(4096).expect("memory for one page");
    // SAFETY: none; the machine must catch it.
    let function = unsafe { core::mem::transmute::<NonNull<u8>, extern "C" fn()>(area) };
    function();
}

fn a_vmalloc_area_ends_in_a_guard() {
    let area = vmalloc(4096).expect("memory for one page");
    write(VirtAddr::from_ptr(area.as_ptr()).offset(4096));
}

/// Makes everything leave the magazine and the depot: to the slabs, for all is given back, and to this
/// caller, for more is allocated. The default tier looks at an object when it leaves.
fn push_out(objects: &[NonNull<u8>]) {
    for &object in objects {
        // SAFETY: each came from `kmalloc` and is freed once here.
        unsafe { kfree(object) };
    }
    slab::shrink();
    for _ in 0..4 * objects.len() {
        black_box(kmalloc(64, Gfp::KERNEL).expect("memory"));
    }
}

fn freeing_an_object_twice_is_named() {
    let others: [_; 256] = core::array::from_fn(|_| kmalloc(64, Gfp::KERNEL).expect("memory"));
    let object = kmalloc(64, Gfp::KERNEL).expect("memory");
    // SAFETY: the first is right; the second is what must be caught.
    unsafe { kfree(object) };
    // SAFETY: none; the kernel must catch it.
    unsafe { kfree(object) };
    push_out(&others);
}

fn freeing_inside_an_object_is_named() {
    let others: [_; 256] = core::array::from_fn(|_| kmalloc(64, Gfp::KERNEL).expect("memory"));
    let object = kmalloc(64, Gfp::KERNEL).expect("memory");
    // SAFETY: the offset is inside the object.
    let inside = unsafe { object.add(16) };
    // SAFETY: none; the kernel must catch it.
    unsafe { kfree(inside) };
    push_out(&others);
}

fn freeing_what_was_never_allocated_is_named() {
    let data = image::data().start.as_mut_ptr::<u8>();
    let others: [_; 256] = core::array::from_fn(|_| kmalloc(64, Gfp::KERNEL).expect("memory"));
    // SAFETY: none; the kernel must catch it.
    unsafe { kfree(NonNull::new(data).expect("not null")) };
    push_out(&others);
}

fn freeing_an_area_that_is_none_is_named() {
    let object = kmalloc(64, Gfp::KERNEL).expect("memory");
    // SAFETY: none; the kernel must catch it.
    unsafe { vfree(object) }.expect("no interrupt is handled here");
}

fn an_undefined_instruction_is_named() {
    // SAFETY: none; the machine must catch it.
    unsafe { core::arch::asm!("udf #1") };
}

fn a_panic_is_printed() {
    panic!("a panic with {} numbers", black_box(2));
}

/// Panics when it is printed.
struct Bomb;

impl fmt::Display for Bomb {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(VirtAddr::new(0));
        Ok(())
    }
}

fn a_fault_in_the_fault_handler_ends_in_one_line() {
    panic!("{Bomb}");
}
