//! The order of boot, on one screen.
//!
//! `arch/boot.s` has left EL3 and EL2, mapped the image and jumped to `rust_entry`. From here each
//! step rests on those above it; none looks ahead. What a step costs is noted as a phase.

mod devices;
mod memory;
pub mod phases;

use crate::{
    arch::{cpu, image, irq, mmu},
    console, exit,
    log::{self, Level},
    machine::{self, Machine},
    mm::addr::PhysAddr,
    report, smp,
    vm::kernel_space,
};
pub use memory::memory_map;
pub use phases::phases;
use wire::params::Params;

/// The first Rust code: on the boot stack, interrupts masked, only the image mapped.
///
/// `device_tree` is what the boot loader left in x0, `entry_el` the level it entered at, `base` where
/// the image is in memory.
pub(crate) extern "C" fn rust_entry(device_tree: u64, entry_el: u64, base: u64) -> ! {
    bring_up(device_tree, entry_el, base);
    report::at_start();
    let code = crate::app::tessera_app();
    report::at_end();
    exit::exit(code.get())
}

/// The steps, in a frame that is gone when the app runs: a board's description takes several KiB.
#[inline(never)]
fn bring_up(device_tree: u64, entry_el: u64, base: u64) {
    image::set_load_address(PhysAddr::new(base));
    cpu::init_boot_cpu();
    mmu::drop_identity_map();
    phases::note("entry");

    kernel_space::adopt(image::kernel_root(), image::table_pool());
    let payload = memory::map_image_and_payload();
    let line = payload
        .as_ref()
        .map_or("", |payload| payload.command_line());
    let early = Params::new(line, "");
    exit::set_semihosting(early.value("exit") == Some("semihosting"));
    devices::early_console(&early);
    let (board, blob) = devices::find_board(device_tree, payload.as_ref());
    let params = Params::new(line, board.bootargs);
    devices::console(&board);
    log::set_level(
        params
            .value("log")
            .and_then(Level::from_name)
            .unwrap_or(Level::Info),
    );
    exit::set_semihosting(params.value("exit") == Some("semihosting"));
    log::info!(
        "{=str}, entered at EL{=u64}, image at {=u64:#x}",
        board.model,
        entry_el,
        base
    );
    phases::note("console");

    memory::enter(&board, blob);
    let dma_pool = memory::reserve_dma_pool(&board, &params);
    let memory_bytes = memory::linear_map(&dma_pool);
    phases::note("linear-map");
    memory::hand_over(&board);
    phases::note("frames");
    crate::mm::heap::init();
    crate::vm::vmalloc::init();
    phases::note("slab");
    crate::dma::init(dma_pool);
    phases::note("dma");

    devices::power(&board);
    devices::interrupts(&board, entry_el);
    irq::unmask_errors();
    irq::unmask();
    phases::note("interrupts");
    let cpus = smp::start_all(&board, most_cpus(&params));
    phases::note("cores");
    let entry_el = u8::try_from(entry_el).unwrap_or(u8::MAX);
    machine::set(Machine {
        board,
        entry_el,
        memory_bytes,
        cpus,
        params,
        payload,
    });
    crate::user::init();
    phases::note("user");
}

/// The most cores that may run: what `maxcpus=N` says.
fn most_cpus(params: &Params<'_>) -> usize {
    let most = params.number("maxcpus").map(usize::try_from);
    most.map_or(usize::MAX, |most| most.unwrap_or(usize::MAX))
}

/// Ends a boot that cannot go on, with one line.
fn stop(why: core::fmt::Arguments<'_>) -> ! {
    let mut line = console::emergency();
    let _ = core::fmt::Write::write_fmt(&mut line, format_args!("\n*** boot: {why}\n"));
    drop(line);
    exit::exit(crate::fault::EXIT_CODE)
}
