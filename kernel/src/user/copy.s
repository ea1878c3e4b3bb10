// Copies between the kernel and a user program. Eight bytes at a time, then one: a fault in the long loop
// goes on in the short one, which stops at the very byte.

// The instruction at label \at may fault; then go on at label \to.
.macro fixup at, to
    .pushsection .ex_table, "a"
    .balign 8
    .quad   \at, \to
    .popsection
.endm

.section .text.user_copy, "ax"

// x0 = kernel destination, x1 = user source, x2 = bytes. Returns the number of bytes not copied.
.global raw_copy_from_user
.balign 16
raw_copy_from_user:
    cmp     x2, #8
    b.lo    2f
1:  ldtr    x3, [x1]
    fixup   1b, 2f
    str     x3, [x0], #8
    add     x1, x1, #8
    sub     x2, x2, #8
    cmp     x2, #8
    b.hs    1b
2:  cbz     x2, 4f
3:  ldtrb   w3, [x1]
    fixup   3b, 4f
    strb    w3, [x0], #1
    add     x1, x1, #1
    sub     x2, x2, #1
    b       2b
4:  mov     x0, x2
    ret

// x0 = user destination, x1 = kernel source, x2 = bytes. Returns the number of bytes not copied.
.global raw_copy_to_user
.balign 16
raw_copy_to_user:
    cmp     x2, #8
    b.lo    3f
1:  ldr     x3, [x1]
2:  sttr    x3, [x0]
    fixup   2b, 3f
    add     x0, x0, #8
    add     x1, x1, #8
    sub     x2, x2, #8
    cmp     x2, #8
    b.hs    1b
3:  cbz     x2, 5f
    ldrb    w3, [x1]
4:  sttrb   w3, [x0]
    fixup   4b, 5f
    add     x0, x0, #1
    add     x1, x1, #1
    sub     x2, x2, #1
    b       3b
5:  mov     x0, x2
    ret
