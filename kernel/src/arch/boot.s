// From the boot loader's jump to Rust at a high address.
//
// Until the MMU is on, the program counter is a physical address: code here reaches symbols by adrp
// alone, keeps no stack, and uses no exclusives (they need cacheable memory, Arm ARM B2.17.5).

// ---- Image header (Linux Documentation/arch/arm64/booting.rst) ---------------------------------
.section .head, "ax"
.global _head
_head:
    b       _start
    nop
    .quad   0                       // text_offset: anywhere, 2 MiB aligned
    .quad   __image_size            // the host adds the payload's length
    .quad   0b1010                  // little-endian, 4 KiB pages, anywhere in memory
    .quad   0, 0, 0
    .ascii  "ARM\x64"
    .long   0

.macro address register, symbol
    adrp    \register, \symbol
    add     \register, \register, :lo12:\symbol
.endm

.macro constant register, value
    movz    \register, #((\value) & 0xffff)
    movk    \register, #(((\value) >> 16) & 0xffff), lsl #16
    movk    \register, #(((\value) >> 32) & 0xffff), lsl #32
    movk    \register, #(((\value) >> 48) & 0xffff), lsl #48
.endm

// ---- x0 = device tree, or whatever the loader left there -----------------------------------------
.section .text.boot, "ax"
.global _start
_start:
    msr     daifset, #0xf
    mov     x19, x0
    mrs     x20, CurrentEL
    lsr     x20, x20, #2
    adrp    x21, _head              // where we were loaded
    mrs     x9, mpidr_el1           // a loader that knows no protocol starts every core here
    tst     x9, #0xffffff
    b.ne    park
    bl      start_counting
    bl      leave_to_el1
    bl      make_tables
    movz    x0, #:abs_g3:boot_high  // the linked address
    movk    x0, #:abs_g2_nc:boot_high
    movk    x0, #:abs_g1_nc:boot_high
    movk    x0, #:abs_g0_nc:boot_high
    b       turn_mmu_on
park:
    wfe
    b       park

// ---- Other cores: one at a time, at this physical address, with nothing passed ------------------
.global secondary_start
secondary_start:
    msr     daifset, #0xf
    bl      start_counting
    bl      leave_to_el1
    movz    x0, #:abs_g3:secondary_high
    movk    x0, #:abs_g2_nc:secondary_high
    movk    x0, #:abs_g1_nc:secondary_high
    movk    x0, #:abs_g0_nc:secondary_high
    b       turn_mmu_on

// Rust may use NEON anywhere and counts cost from here on, if there is a PMU at all (ID_AA64DFR0_EL1
// .PMUVer, Arm ARM D24.2.81). NSH makes the counter run at EL2 too.
start_counting:
    mrs     x9, id_aa64dfr0_el1
    ubfx    x9, x9, #8, #4
    cbz     x9, 1f
    cmp     x9, #15
    b.eq    1f
    mov     x9, #(1 << 27)
    msr     pmccfiltr_el0, x9
    mov     x9, #(1 << 31)
    msr     pmcntenset_el0, x9
    mov     x9, #0x47               // LC, C, P, E: 64 bits, from zero, on
    msr     pmcr_el0, x9
    isb
1:  ret

// Goes on at EL1, interrupts masked, wherever it was called from.
leave_to_el1:
    mrs     x9, CurrentEL
    cmp     x9, #(2 << 2)
    b.eq    2f
    b.lo    1f

    // EL3: nobody is below us, so this is the firmware's part too. A Cortex-A72 is coherent only with
    // CPUECTLR_EL1.SMPEN set before its caches are on (its TRM).
    mrs     x9, midr_el1
    ubfx    x9, x9, #4, #12
    cmp     x9, #0xd08
    b.ne    7f
    mrs     x9, S3_1_C15_C2_1
    orr     x9, x9, #(1 << 6)
    msr     S3_1_C15_C2_1, x9
7:  mov     x9, #0x531              // SCR_EL3: NS, RES1, HCE, RW
    msr     scr_el3, x9
    msr     cptr_el3, xzr
    msr     mdcr_el3, xzr
    address x9, monitor             // who calls EL3 from here on, once for interrupts
    msr     vbar_el3, x9
    mrs     x10, id_aa64pfr0_el1
    tst     x10, #(0xf << 24)       // GICv3 system registers
    b.eq    3f
    mov     x9, #0xf                // ICC_SRE_EL3: Enable, DIB, DFB, SRE
    msr     S3_6_C12_C12_5, x9
    isb
3:  tst     x10, #(0xf << 8)        // EL2
    b.eq    4f
    mov     x9, #0x3c9              // EL2h, all masked
    msr     spsr_el3, x9
    adr     x9, 2f
    msr     elr_el3, x9
    eret
4:  constant x9, {SCTLR_EL1_OFF}
    msr     sctlr_el1, x9
    mov     x9, #0x3c5              // EL1h, all masked
    msr     spsr_el3, x9
    msr     elr_el3, x30
    eret

    // EL2: give EL1 the timers, the counters, floating point and the interrupt controller.
2:  mov     x9, #(1 << 31)          // HCR_EL2.RW; without E2H the registers below mean what they say
    msr     hcr_el2, x9
    isb
    mov     x9, #3                  // CNTHCTL_EL2: EL1PCTEN, EL1PCEN
    msr     cnthctl_el2, x9
    msr     cntvoff_el2, xzr
    mov     x9, #0x33ff             // CPTR_EL2: RES1, no traps of floating point
    msr     cptr_el2, x9
    msr     hstr_el2, xzr
    msr     vttbr_el2, xzr
    mrs     x9, mpidr_el1
    msr     vmpidr_el2, x9
    mrs     x9, midr_el1
    msr     vpidr_el2, x9
    mrs     x10, id_aa64dfr0_el1
    ubfx    x10, x10, #8, #4
    mov     x9, xzr
    cbz     x10, 5f
    cmp     x10, #15
    b.eq    5f
    mrs     x9, pmcr_el0            // MDCR_EL2.HPMN = PMCR_EL0.N: all counters are EL1's
    ubfx    x9, x9, #11, #5
5:  msr     mdcr_el2, x9
    mrs     x10, id_aa64pfr0_el1
    tst     x10, #(0xf << 24)
    b.eq    6f
    mov     x9, #0xf                // ICC_SRE_EL2: Enable, DIB, DFB, SRE
    msr     S3_4_C12_C9_5, x9
    isb
    msr     S3_4_C12_C11_0, xzr     // ICH_HCR_EL2: no virtual interrupts
6:  constant x9, {SCTLR_EL1_OFF}
    msr     sctlr_el1, x9
    mov     x9, #0x3c5              // EL1h, all masked
    msr     spsr_el2, x9
    msr     elr_el2, x30
    eret

1:  ret

// The tables that boot needs: the identity map of one page, the image with each part's rights, an empty
// fixmap. What is not written is unmapped: the guards below the stacks.
make_tables:
    mov     x18, x30
    bl      forget_tables
    address x10, __tables_start
    address x11, __table_pool_end
1:  stp     xzr, xzr, [x10], #16
    cmp     x10, x11
    b.lo    1b

    // Top half: root[511] -> l1[510] -> l2[0] = fixmap, l2[1..9] = image.
    address x10, __kernel_root
    address x11, __kernel_l1
    orr     x12, x11, #3
    str     x12, [x10, #(511 * 8)]
    address x10, __kernel_l2
    orr     x12, x10, #3
    str     x12, [x11, #(510 * 8)]
    address x11, __fixmap_l3
    orr     x12, x11, #3
    str     x12, [x10], #8
    address x13, __image_l3
    orr     x12, x13, #3
    mov     x11, #8
2:  str     x12, [x10], #8
    add     x12, x12, #4096
    subs    x11, x11, #1
    b.ne    2b

    address x0, __text_start
    address x1, __text_end
    constant x2, {TEXT}
    bl      map_pages
    address x0, __rodata_start
    address x1, __rodata_end
    constant x2, {RODATA}
    bl      map_pages
    constant x2, {DATA}
    address x0, __data_start
    address x1, __data_end
    bl      map_pages
    address x0, __boot_stack_start
    bl      map_stack
    address x0, __irq_stack_start
    bl      map_stack
    address x0, __fault_stack_start
    bl      map_stack

    // Bottom half: the page of turn_mmu_on, where it is.
    address x10, __idmap_start
    address x11, __idmap_root
    ubfx    x12, x10, #39, #9
    address x13, __idmap_l1
    orr     x14, x13, #3
    str     x14, [x11, x12, lsl #3]
    ubfx    x12, x10, #30, #9
    address x11, __idmap_l2
    orr     x14, x11, #3
    str     x14, [x13, x12, lsl #3]
    ubfx    x12, x10, #21, #9
    address x13, __idmap_l3
    orr     x14, x13, #3
    str     x14, [x11, x12, lsl #3]
    ubfx    x12, x10, #12, #9
    constant x2, {TEXT}
    orr     x14, x10, x2
    str     x14, [x13, x12, lsl #3]

    dsb     sy
    bl      forget_tables
    ret     x18

// Throws the tables' cache lines away (Arm ARM B2.10.1). Before the stores to them, which go past the
// caches, so that no dirty line is written back over them later; and after, so that no line which
// speculation fetched meanwhile hides them once caches are on.
forget_tables:
    address x10, __tables_start
    address x11, __table_pool_end
    mrs     x12, ctr_el0
    ubfx    x12, x12, #16, #4       // DminLine: words in a line, as a power of two
    mov     x13, #4
    lsl     x12, x13, x12
1:  dc      ivac, x10
    add     x10, x10, x12
    cmp     x10, x11
    b.lo    1b
    dsb     sy
    ret

// Maps the stack at x0, or the image's pages [x0, x1), with the attributes x2.
map_stack:
    add     x1, x0, #{STACK_BYTES}
map_pages:
    address x13, __image_l3
    sub     x14, x0, x21
    lsr     x14, x14, #12
    add     x13, x13, x14, lsl #3
1:  orr     x14, x0, x2
    str     x14, [x13], #8
    add     x0, x0, #4096
    cmp     x0, x1
    b.lo    1b
    ret

// ---- The only code that runs from the identity map. x0 = where to go on, a high address ---------
.section .idmap, "ax"
turn_mmu_on:
    mov     x9, #(3 << 20)          // CPACR_EL1.FPEN: no traps of floating point
    msr     cpacr_el1, x9
    constant x9, {MAIR}
    msr     mair_el1, x9
    constant x9, {TCR}
    mrs     x10, id_aa64mmfr0_el1
    and     x11, x10, #0xf          // PARange; past 48 bits needs 52-bit descriptors
    mov     x12, #5
    cmp     x11, x12
    csel    x11, x11, x12, lo
    bfi     x9, x11, #32, #3        // IPS
    ubfx    x11, x10, #4, #4        // ASIDBits: 2 means 16 bits
    cmp     x11, #2
    cset    x11, eq
    bfi     x9, x11, #36, #1        // AS
    msr     tcr_el1, x9
    address x9, __idmap_root
    msr     ttbr0_el1, x9
    address x9, __kernel_root
    msr     ttbr1_el1, x9
    isb
    tlbi    vmalle1
    ic      iallu
    dsb     nsh
    isb
    constant x9, {SCTLR_EL1_ON}
    msr     sctlr_el1, x9
    isb
    br      x0

// ---- At the linked address, caches on -------------------------------------------------------------
.section .text.boot, "ax"
boot_high:
    address x9, __boot_stack_start
    add     x9, x9, #{STACK_BYTES}
    mov     sp, x9
    mov     x29, xzr
    mov     x30, xzr
    address x9, vectors
    msr     vbar_el1, x9
    isb
    address x10, __bss_start
    address x11, __bss_end
1:  cmp     x10, x11
    b.hs    2f
    stp     xzr, xzr, [x10], #16
    b       1b
2:  address x9, {BOOT_CPU}
    msr     tpidr_el1, x9
    mov     x0, x19
    mov     x1, x20
    mov     x2, x21
    bl      {ENTRY}
    b       park

// The core that started this one left a stack and a CPU block, and waits.
secondary_high:
    address x9, vectors
    msr     vbar_el1, x9
    isb
    address x9, {SECONDARY}
    ldp     x10, x11, [x9]
    mov     sp, x10
    msr     tpidr_el1, x11
    mov     x29, xzr
    mov     x30, xzr
    bl      {SECONDARY_ENTRY}
    b       park

// ---- What stays at EL3, where the image was entered there -----------------------------------------
// EL1 calls it by `smc`, with x0 = the interrupt controller's distributor and x1 = its CPU interface,
// 0 for a GICv3, by their physical addresses. It opens the controller to the non-secure world, as
// firmware does: a GICv3 to one security state (GICD_CTLR.DS, Arm IHI 0069 12.9.4), a GICv2 by putting
// every interrupt into group 1 with a priority mask that the non-secure world may change (Arm IHI 0048
// 4.3.4, 4.4.2). x9 to x11 and the flags are lost.
.section .text.vectors, "ax"
.balign 2048
monitor:
    .skip   0x400                   // nothing else arrives at EL3: SCR_EL3 routes nothing here
    cbz     x1, 2f
    mov     w9, #-1
    add     x10, x0, #0x80          // GICD_IGROUPR0 to 31
    add     x11, x10, #0x80
1:  str     w9, [x10], #4
    cmp     x10, x11
    b.lo    1b
    mov     w9, #0xff
    str     w9, [x1, #4]            // GICC_PMR
    b       4f
2:  mov     w9, #(1 << 6)           // GICD_CTLR.DS
    str     w9, [x0]
3:  ldr     w9, [x0]                // until GICD_CTLR.RWP is clear
    tbnz    w9, #31, 3b
4:  dsb     sy
    eret
