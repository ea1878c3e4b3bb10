// Exception entry and return.
//
// Rust code may use every NEON register, so an entry that calls Rust saves all 32: the callee-saved
// half of q8 to q15 is only their low 64 bits (AAPCS64 6.1.2), and the interrupted code may be using
// the rest.

.macro save_registers
    stp     x0, x1, [sp, #0]
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    stp     x18, x19, [sp, #144]
    stp     x20, x21, [sp, #160]
    stp     x22, x23, [sp, #176]
    stp     x24, x25, [sp, #192]
    stp     x26, x27, [sp, #208]
    stp     x28, x29, [sp, #224]
    mrs     x21, elr_el1
    mrs     x22, spsr_el1
    stp     x21, x22, [sp, #256]
    mrs     x21, fpsr
    mrs     x22, fpcr
    stp     x21, x22, [sp, #272]
    stp     q0, q1, [sp, #288]
    stp     q2, q3, [sp, #320]
    stp     q4, q5, [sp, #352]
    stp     q6, q7, [sp, #384]
    stp     q8, q9, [sp, #416]
    stp     q10, q11, [sp, #448]
    stp     q12, q13, [sp, #480]
    stp     q14, q15, [sp, #512]
    stp     q16, q17, [sp, #544]
    stp     q18, q19, [sp, #576]
    stp     q20, q21, [sp, #608]
    stp     q22, q23, [sp, #640]
    stp     q24, q25, [sp, #672]
    stp     q26, q27, [sp, #704]
    stp     q28, q29, [sp, #736]
    stp     q30, q31, [sp, #768]
.endm

.macro restore_registers
    ldp     x21, x22, [sp, #256]
    msr     elr_el1, x21
    msr     spsr_el1, x22
    ldp     x21, x22, [sp, #272]
    msr     fpsr, x21
    msr     fpcr, x22
    ldp     q0, q1, [sp, #288]
    ldp     q2, q3, [sp, #320]
    ldp     q4, q5, [sp, #352]
    ldp     q6, q7, [sp, #384]
    ldp     q8, q9, [sp, #416]
    ldp     q10, q11, [sp, #448]
    ldp     q12, q13, [sp, #480]
    ldp     q14, q15, [sp, #512]
    ldp     q16, q17, [sp, #544]
    ldp     q18, q19, [sp, #576]
    ldp     q20, q21, [sp, #608]
    ldp     q22, q23, [sp, #640]
    ldp     q24, q25, [sp, #672]
    ldp     q26, q27, [sp, #704]
    ldp     q28, q29, [sp, #736]
    ldp     q30, q31, [sp, #768]
    ldp     x0, x1, [sp, #0]
    ldp     x2, x3, [sp, #16]
    ldp     x4, x5, [sp, #32]
    ldp     x6, x7, [sp, #48]
    ldp     x8, x9, [sp, #64]
    ldp     x10, x11, [sp, #80]
    ldp     x12, x13, [sp, #96]
    ldp     x14, x15, [sp, #112]
    ldp     x16, x17, [sp, #128]
    ldp     x18, x19, [sp, #144]
    ldp     x20, x21, [sp, #160]
    ldp     x22, x23, [sp, #176]
    ldp     x24, x25, [sp, #192]
    ldp     x26, x27, [sp, #208]
    ldp     x28, x29, [sp, #224]
    ldr     x30, [sp, #240]
.endm

.macro save_el1
    save_registers
    add     x21, sp, #{FRAME_BYTES}
    stp     x30, x21, [sp, #240]
.endm

// The kernel's own rounding and trapping, whatever the program asked for itself.
.macro save_el0
    save_registers
    msr     fpcr, xzr
    mrs     x21, sp_el0
    stp     x30, x21, [sp, #240]
.endm

// From EL1: is there room for a frame? Inside a stack, bit STACK_SHIFT of an address is clear; in the
// guard below, it is set. Nothing may be stored or overwritten before that is known, so x0 is parked
// in the difference of two registers.
.macro from_el1 handler
    .balign 128
    sub     sp, sp, #{FRAME_BYTES}
    add     sp, sp, x0
    sub     x0, sp, x0
    tbnz    x0, #{STACK_SHIFT}, stack_overflow
    sub     x0, sp, x0
    sub     sp, sp, x0
    b       \handler
.endm

.macro from_el0 handler
    .balign 128
    sub     sp, sp, #{FRAME_BYTES}
    b       \handler
.endm

.section .text.vectors, "ax"
.global vectors
.balign 2048
vectors:
    from_el1 sp0                    // EL1 on SP_EL0, which we never use
    from_el1 sp0
    from_el1 sp0
    from_el1 sp0

    from_el1 el1_sync
    from_el1 el1_irq
    from_el1 el1_fiq
    from_el1 el1_serror

    from_el0 el0_sync
    from_el0 el0_irq
    from_el0 el0_fiq
    from_el0 el0_serror

    from_el0 el0_aarch32
    from_el0 el0_aarch32
    from_el0 el0_aarch32
    from_el0 el0_aarch32

el1_sync:
    save_el1
    mov     x0, sp
    bl      {EL1_SYNC}
el1_return:
    restore_registers
    add     sp, sp, #{FRAME_BYTES}
    eret

// The handler runs on the core's interrupt stack, with the interrupt context's block: what the
// interrupted code was doing with its own stays as it is. TPIDR_EL1 is read by MRS in program order
// (Arm ARM D24.1.2.2: direct writes need no barrier before direct reads).
el1_irq:
    save_el1
    mrs     x20, tpidr_el1
    ldr     x9, [x20, #{IRQ_BLOCK}]
    msr     tpidr_el1, x9
    ldr     x9, [x20, #{IRQ_STACK}]
    mov     x19, sp
    mov     sp, x9
    bl      {EL1_IRQ}
    mov     sp, x19
    msr     tpidr_el1, x20
    b       el1_return

el0_sync:
    save_el0
    mov     x0, sp
    bl      {EL0_SYNC}
.global el0_return
el0_return:
    ldr     x21, [sp, #248]
    msr     sp_el0, x21
    restore_registers
    add     sp, sp, #{FRAME_BYTES}
    eret

// No kernel code of this core was interrupted: its thread context is free for the handler.
el0_irq:
    save_el0
    mov     x0, sp
    mrs     x9, tpidr_el1
    ldr     x9, [x9, #{IRQ_STACK}]
    mov     x19, sp
    mov     sp, x9
    bl      {EL0_IRQ}
    mov     sp, x19
    b       el0_return

// What has no handler ends the machine, on the stack for that.
.macro fatal label, save, kind
\label:
    \save
    mov     x0, sp
    mov     x1, #\kind
    b       on_fault_stack
.endm

fatal   sp0,         save_el1, {KIND_SP0}
fatal   el1_fiq,     save_el1, {KIND_FIQ}
fatal   el1_serror,  save_el1, {KIND_SERROR}
fatal   el0_fiq,     save_el0, {KIND_FIQ}
fatal   el0_serror,  save_el0, {KIND_SERROR}
fatal   el0_aarch32, save_el0, {KIND_AARCH32}

// sp - x0 is the old x0; x0 is the old sp less a frame. The user's thread registers are free: nothing
// returns from here.
stack_overflow:
    msr     tpidrro_el0, x0
    sub     x0, sp, x0
    msr     tpidr_el0, x0
    mrs     x0, tpidr_el1
    ldr     x0, [x0, #{FAULT_STACK}]
    mov     sp, x0
    sub     sp, sp, #{FRAME_BYTES}
    mrs     x0, tpidr_el0
    save_el1
    mrs     x9, tpidrro_el0
    add     x9, x9, #{FRAME_BYTES}
    str     x9, [sp, #248]
    mov     x0, sp
    mov     x1, #{KIND_OVERFLOW}
    bl      {FATAL}

// Calls the fatal handler (frame, kind) on the fault stack; does not return.
.global on_fault_stack
on_fault_stack:
    mrs     x9, tpidr_el1
    ldr     x9, [x9, #{FAULT_STACK}]
    mov     sp, x9
    bl      {FATAL}
