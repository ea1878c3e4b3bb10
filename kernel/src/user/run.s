// Into EL0 and back. `el0_return`, in vectors.s, restores a whole frame from the stack and returns to EL0:
// entering a program is returning from an exception that never happened.

.section .text.user_run, "ax"

// x0 = frame, x1 = where to put the stack pointer. Interrupts are masked.
.global enter_user
enter_user:
    sub     sp, sp, #176
    stp     x19, x20, [sp, #0]
    stp     x21, x22, [sp, #16]
    stp     x23, x24, [sp, #32]
    stp     x25, x26, [sp, #48]
    stp     x27, x28, [sp, #64]
    stp     x29, x30, [sp, #80]
    stp     d8, d9, [sp, #96]
    stp     d10, d11, [sp, #112]
    stp     d12, d13, [sp, #128]
    stp     d14, d15, [sp, #144]
    mrs     x2, daif
    str     x2, [sp, #160]
    mov     x2, sp
    str     x2, [x1]
    sub     sp, sp, #{FRAME_BYTES}
    mov     x3, sp
    mov     x4, x2
1:  ldp     x5, x6, [x0], #16
    stp     x5, x6, [x3], #16
    cmp     x3, x4
    b.lo    1b
    // Registers that no frame holds.
    msr     tpidr_el0, xzr
    msr     tpidrro_el0, xzr
    b       el0_return

// x0 = the stack pointer that enter_user saved. Interrupts are masked.
.global leave_user
leave_user:
    mov     sp, x0
    // The program's rounding mode is not the kernel's.
    msr     fpcr, xzr
    msr     fpsr, xzr
    ldp     x19, x20, [sp, #0]
    ldp     x21, x22, [sp, #16]
    ldp     x23, x24, [sp, #32]
    ldp     x25, x26, [sp, #48]
    ldp     x27, x28, [sp, #64]
    ldp     x29, x30, [sp, #80]
    ldp     d8, d9, [sp, #96]
    ldp     d10, d11, [sp, #112]
    ldp     d12, d13, [sp, #128]
    ldp     d14, d15, [sp, #144]
    ldr     x2, [sp, #160]
    msr     daif, x2
    add     sp, sp, #176
    ret
