// The programs. Calls as in Linux: number in x8, arguments from x0 on, result in x0.

.equ SYS_WRITE, 64
.equ SYS_EXIT, 93
.equ SYS_UNAME, 160
.equ SYS_BRK, 214
.equ EFAULT, 14

// ---- hello ----------------------------------------------------------------------------------------
.section .user.hello.text, "a"
    adr     x1, hello_greeting
    bl      hello_write
    mov     x20, #{DATA}
    ldr     x21, [x20]              // pages to grow the heap by
    mov     x0, xzr
    mov     x8, #SYS_BRK
    svc     #0
    mov     x19, x0                 // the heap's start
    add     x22, x19, x21, lsl #12
    mov     x0, x22
    svc     #0
    cmp     x0, x22
    b.ne    hello_fail
    mov     x23, x19
    mov     x24, #1
1:  ldr     x9, [x23]               // never touched: zero
    cbnz    x9, hello_fail
    str     x24, [x23]
    add     x24, x24, #1
    add     x23, x23, #4096
    cmp     x23, x22
    b.lo    1b
    mov     x23, x19
    mov     x24, #1
2:  ldr     x9, [x23]
    cmp     x9, x24
    b.ne    hello_fail
    add     x24, x24, #1
    add     x23, x23, #4096
    cmp     x23, x22
    b.lo    2b
    // One more page, never touched: the kernel fills it when it writes there.
    add     x0, x22, #4096
    mov     x8, #SYS_BRK
    svc     #0
    mov     x0, x22
    mov     x8, #SYS_UNAME
    svc     #0
    cbnz    x0, hello_fail
    ldr     w9, [x22]
    mov     w10, #0x6554            // "Tess"
    movk    w10, #0x7373, lsl #16
    cmp     w9, w10
    b.ne    hello_fail
    // What the kernel must not do for us: write to code, to the null page, past the heap; read itself.
    adr     x0, hello_greeting
    svc     #0
    cmn     x0, #EFAULT
    b.ne    hello_fail
    mov     x0, #16
    svc     #0
    cmn     x0, #EFAULT
    b.ne    hello_fail
    add     x0, x22, #4088
    svc     #0
    cmn     x0, #EFAULT
    b.ne    hello_fail
    mov     x0, #1
    adr     x1, hello_kernel
    ldr     x1, [x1]
    mov     x2, #8
    mov     x8, #SYS_WRITE
    svc     #0
    cmn     x0, #EFAULT
    b.ne    hello_fail
    str     x24, [x20, #8]          // data is writable
    str     x24, [sp, #-16]!        // and so is the stack
    adr     x1, hello_result
    bl      hello_write
    mov     x0, #{CODE}
    b       hello_exit
hello_fail:
    mov     x0, #1
hello_exit:
    mov     x8, #SYS_EXIT
    svc     #0
    brk     #0

// x1 = a word with the length, then the text.
hello_write:
    ldr     w2, [x1], #4
    mov     x0, #1
    mov     x8, #SYS_WRITE
    svc     #0
    cmp     x0, x2
    b.ne    hello_fail
    ret

.balign 4
hello_greeting:
    .word   2f - 1f
1:  .ascii  "hello: greetings from EL0\n"
2:
.balign 4
hello_result:
    .word   2f - 1f
1:  .ascii  "hello: 16 heap pages came zeroed and kept what I wrote; bad pointers were refused\n"
2:
.balign 8
hello_kernel:
    .quad   {KERNEL}

.section .user.hello.data, "a"
.balign 8
    .quad   16
    .quad   0

// ---- probe ----------------------------------------------------------------------------------------
.section .user.probe.text, "a"
    adr     x9, probe_target
    ldr     x9, [x9]
    ldr     x0, [x9]                // faults
    mov     x0, xzr
    mov     x8, #SYS_EXIT
    svc     #0
    brk     #0
.balign 8
probe_target:
    .quad   {KERNEL}
