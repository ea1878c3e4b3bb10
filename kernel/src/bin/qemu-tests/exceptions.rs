//! Interrupts: they come, they see every register again as it was, and handlers may log.
#![allow(unsafe_code, reason = "fills every register and looks at them again")]

use core::{
    arch::asm,
    sync::atomic::{AtomicU32, Ordering},
};
use kernel::{arch::timer, interrupt, sync::irq};

crate::table::tests! {
    a_timer_interrupt_arrives,
    an_interrupt_waits_while_masked,
    interrupts_stay_masked_until_the_last_guard_is_gone,
    all_registers_survive_an_interrupt,
    a_handler_logs_while_the_app_logs,
}

static SHOTS: AtomicU32 = AtomicU32::new(0);

fn shoot_soon(handler: fn()) {
    SHOTS.store(0, Ordering::Relaxed);
    assert!(
        interrupt::on_timer(handler),
        "the controller has no timer interrupt"
    );
    timer::arm(timer::ticks() + timer::frequency_hz() / 2000);
}

fn wait_for_a_shot() {
    let deadline = timer::ticks() + timer::frequency_hz() * 5;
    while SHOTS.load(Ordering::Relaxed) == 0 {
        assert!(
            timer::ticks() < deadline,
            "no interrupt within five seconds"
        );
    }
}

fn count() {
    SHOTS.fetch_add(1, Ordering::Relaxed);
}

fn a_timer_interrupt_arrives() {
    for _ in 0..3 {
        shoot_soon(count);
        wait_for_a_shot();
        assert_eq!(SHOTS.load(Ordering::Relaxed), 1, "one shot each");
    }
}

fn an_interrupt_waits_while_masked() {
    let masked = irq::mask();
    shoot_soon(count);
    let deadline = timer::ticks() + timer::frequency_hz() / 200;
    while timer::ticks() < deadline {}
    assert_eq!(SHOTS.load(Ordering::Relaxed), 0);
    drop(masked);
    wait_for_a_shot();
}

fn interrupts_stay_masked_until_the_last_guard_is_gone() {
    let orders: [[usize; 3]; 6] = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    for order in orders {
        assert!(!irq::is_masked());
        let mut guards = [(); 3].map(|()| Some(irq::mask()));
        for (dropped, guard) in order.into_iter().enumerate() {
            assert!(irq::is_masked(), "{dropped} dropped of {order:?}");
            guards[guard] = None;
        }
    }
    assert!(!irq::is_masked());
}

/// Overwrites every NEON register, as any Rust code may.
fn clobber_and_count() {
    // SAFETY: the registers are declared as overwritten.
    unsafe {
        asm!(
            "movi v0.16b, #0xff", "movi v1.16b, #0xff", "movi v2.16b, #0xff", "movi v3.16b, #0xff",
            "movi v4.16b, #0xff", "movi v5.16b, #0xff", "movi v6.16b, #0xff", "movi v7.16b, #0xff",
            "movi v8.16b, #0xff", "movi v9.16b, #0xff", "movi v10.16b, #0xff",
            "movi v11.16b, #0xff", "movi v12.16b, #0xff", "movi v13.16b, #0xff",
            "movi v14.16b, #0xff", "movi v15.16b, #0xff", "movi v16.16b, #0xff",
            "movi v17.16b, #0xff", "movi v18.16b, #0xff", "movi v19.16b, #0xff",
            "movi v20.16b, #0xff", "movi v21.16b, #0xff", "movi v22.16b, #0xff",
            "movi v23.16b, #0xff", "movi v24.16b, #0xff", "movi v25.16b, #0xff",
            "movi v26.16b, #0xff", "movi v27.16b, #0xff", "movi v28.16b, #0xff",
            "movi v29.16b, #0xff", "movi v30.16b, #0xff", "movi v31.16b, #0xff",
            "msr fpsr, xzr",
            clobber_abi("C"),
            out("v8") _, out("v9") _, out("v10") _, out("v11") _,
            out("v12") _, out("v13") _, out("v14") _, out("v15") _,
        );
    }
    count();
}

/// Registers before and after: 32 NEON, then FPSR and the flags, then x1 to x17.
#[repr(C, align(16))]
struct Registers {
    q: [u128; 32],
    x: [u64; 18],
}

fn all_registers_survive_an_interrupt() {
    let pattern =
        |index: usize| 0x0123_4567_89ab_cdef_0f1e_2d3c_4b5a_6978_u128 ^ (index as u128) << 60;
    let mut before = Registers {
        q: [0; 32],
        x: [0; 18],
    };
    before
        .q
        .iter_mut()
        .enumerate()
        .for_each(|(index, q)| *q = pattern(index));
    let mut after = Registers {
        q: [0; 32],
        x: [0; 18],
    };
    let masked = irq::mask();
    shoot_soon(clobber_and_count);
    // SAFETY: loads all NEON registers from `before`, x3 to x17 with known values and FPSR with its
    // sticky bits; unmasks and spins until the handler has counted; then stores what it finds to
    // `after`. Everything it writes is declared.
    unsafe {
        asm!(
            "ldp q0, q1, [x0]", "ldp q2, q3, [x0, #32]", "ldp q4, q5, [x0, #64]",
            "ldp q6, q7, [x0, #96]", "ldp q8, q9, [x0, #128]", "ldp q10, q11, [x0, #160]",
            "ldp q12, q13, [x0, #192]", "ldp q14, q15, [x0, #224]", "ldp q16, q17, [x0, #256]",
            "ldp q18, q19, [x0, #288]", "ldp q20, q21, [x0, #320]", "ldp q22, q23, [x0, #352]",
            "ldp q24, q25, [x0, #384]", "ldp q26, q27, [x0, #416]", "ldp q28, q29, [x0, #448]",
            "ldp q30, q31, [x0, #480]",
            "mov x3, #0x9f", "msr fpsr, x3",
            "mov x3, #3", "mov x4, #4", "mov x5, #5", "mov x6, #6", "mov x7, #7", "mov x8, #8",
            "mov x9, #9", "mov x10, #10", "mov x11, #11", "mov x12, #12", "mov x13, #13",
            "mov x14, #14", "mov x15, #15", "mov x16, #16", "mov x17, #17",
            "msr daifclr, #2",
            "2:", "ldr w0, [x2]", "cbz w0, 2b",
            "stp q0, q1, [x1]", "stp q2, q3, [x1, #32]", "stp q4, q5, [x1, #64]",
            "stp q6, q7, [x1, #96]", "stp q8, q9, [x1, #128]", "stp q10, q11, [x1, #160]",
            "stp q12, q13, [x1, #192]", "stp q14, q15, [x1, #224]", "stp q16, q17, [x1, #256]",
            "stp q18, q19, [x1, #288]", "stp q20, q21, [x1, #320]", "stp q22, q23, [x1, #352]",
            "stp q24, q25, [x1, #384]", "stp q26, q27, [x1, #416]", "stp q28, q29, [x1, #448]",
            "stp q30, q31, [x1, #480]",
            "add x1, x1, #512",
            "stp x3, x4, [x1, #24]", "stp x5, x6, [x1, #40]", "stp x7, x8, [x1, #56]",
            "stp x9, x10, [x1, #72]", "stp x11, x12, [x1, #88]", "stp x13, x14, [x1, #104]",
            "stp x15, x16, [x1, #120]", "str x17, [x1, #136]",
            "mrs x3, fpsr", "str x3, [x1]",
            inout("x0") &raw const before => _,
            inout("x1") &raw mut after => _,
            in("x2") SHOTS.as_ptr(),
            clobber_abi("C"),
            out("v8") _, out("v9") _, out("v10") _, out("v11") _,
            out("v12") _, out("v13") _, out("v14") _, out("v15") _,
        );
    }
    drop(masked);
    for (index, (before, after)) in before.q.iter().zip(&after.q).enumerate() {
        assert_eq!(before, after, "q{index}");
    }
    assert_eq!(after.x[0] & 0x9f, 0x9f, "FPSR");
    for register in 3..18 {
        assert_eq!(after.x[register], register as u64, "x{register}");
    }
}

fn log_and_count() {
    kernel::info!(
        "from the handler, shot {=u32}",
        SHOTS.load(Ordering::Relaxed)
    );
    count();
    if SHOTS.load(Ordering::Relaxed) < 20 {
        timer::arm(timer::ticks() + timer::frequency_hz() / 5000);
    }
}

fn a_handler_logs_while_the_app_logs() {
    shoot_soon(log_and_count);
    let deadline = timer::ticks() + timer::frequency_hz() * 10;
    while SHOTS.load(Ordering::Relaxed) < 20 {
        kernel::info!("from the app, at {=u64} ticks", timer::ticks());
        kernel::println!("and as text");
        assert!(
            timer::ticks() < deadline,
            "the handler was not called often enough"
        );
    }
}
