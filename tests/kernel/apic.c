/* SPDX-License-Identifier: MIT */
/* One local APIC: interrupts to itself, priorities, the timer, turning it off and on. Several: apic_ipi.c; interrupts
 * by the client and its view of the registers: apic_request.c. */
#include "apic.h"

#define ONES 0xffffffffull

/* ------------------------------------------------------------------------------ registers */

TEST_ROWS(apic_registers, "apic: registers after reset, and which bits they keep", apic_modes)
{
    APIC_GUEST(vm, row, 1, READ(APIC_SVR), EXPECT_LAST(ONES, 0x1ff), READ(APIC_TPR), EXPECT_LAST(ONES, 0),
               READ(APIC_ID), EXPECT_LAST(ONES, 0), READ(APIC_VERSION), EXPECT_LAST(0xf0, 0x10), READ(APIC_LVT_TIMER),
               EXPECT_LAST(ONES, 0x10000), READ(APIC_LVT_LINT0), EXPECT_LAST(ONES, 0x10000),
               WRITE(APIC_LVT_ERROR, 0xfe), READ(APIC_LVT_ERROR), EXPECT_LAST(ONES, 0xfe), WRITE(APIC_TIMER_DIV, 0xb),
               READ(APIC_TIMER_DIV), EXPECT_LAST(ONES, 0xb), READ(APIC_TIMER_CUR), EXPECT_LAST(ONES, 0),
               RDMSR(MSR_APIC_BASE), EXPECT_LAST(0xfffffbff, BASE_DEFAULT | BASE_ENABLE | BASE_BSP), CPUID(1),
               EXPECT_LAST(0x200, 0x200));
    EXPECT_SCRIPT_END(&vm);
}

/* In x2APIC mode a register that is not there faults, and so do reserved bits. */
TEST(apic_x2apic_faults, "apic: x2APIC: MSRs that fault")
{
    APIC_GUEST(vm, &apic_modes[1], 1, RDMSR_GP(0x801), RDMSR_GP(0x80e), RDMSR_GP(0x831), RDMSR_GP(0x80b),
               WRMSR_GP(0x802, 1), WRMSR_GP(0x80b, 1), WRMSR_GP(0x808, 0x100), WRMSR_GP(0x80f, 0x10000),
               WRMSR_GP(0x838, TO(1)), WRMSR_GP(0x83f, 0x100), WRMSR_GP(MSR_APIC_BASE, BASE_DEFAULT | BASE_X2APIC),
               WRMSR_GP(MSR_APIC_BASE, BASE_DEFAULT | BASE_ENABLE | BASE_BSP), RDMSR(0x802), EXPECT_LAST(~0ull, 0));
    EXPECT_SCRIPT_END(&vm);
    EXPECT_EQ(apic_area(&vm, 0)->counts[13], 12);
}

TEST(apic_xapic_msrs, "apic: xAPIC: no x2APIC to switch to, and none of its MSRs")
{
    APIC_GUEST(vm, &apic_modes[0], 1, RDMSR_GP(0x802), RDMSR_GP(0x808), WRMSR_GP(0x80b, 0),
               WRMSR_GP(MSR_APIC_BASE, BASE_DEFAULT | BASE_ENABLE | BASE_X2APIC | BASE_BSP), CPUID(1),
               EXPECT_LAST(1ull << (32 + 21), 0));
    EXPECT_SCRIPT_END(&vm);
}

/* ----------------------------------------------------------------------- interrupts to itself */

static const struct {
    const char *name;
    uint64_t offset, value;
    bool only_x2apic;
} selves[] = {
    {"shorthand", APIC_ICR, SELF | 0x41, false},
    {"physical", APIC_ICR, TO(0) | 0x41, false},
    {"all", APIC_ICR, ALL | 0x41, false},
    {"register", APIC_SELF_IPI, 0x41, true},
};

/* It is requested while IF is clear, in service in its handler, and over after that. */
static void self_ipi(const struct apic_mode *mode, uint64_t offset, uint64_t value)
{
    const uint64_t bit = BIT_OF(0x41);

    APIC_GUEST(vm, mode, 1, WRITE(offset, value), READ(BANK(APIC_IRR, 0x41)), EXPECT_LAST(ONES, bit), COUNT_IS(0x41, 0),
               STI, SPIN(0x41, 1), COUNT_IS(0x41, 1), READ(BANK(APIC_IRR, 0x41)), EXPECT_LAST(ONES, 0),
               READ(BANK(APIC_ISR, 0x41)), EXPECT_LAST(ONES, 0), READ(BANK(APIC_TMR, 0x41)), EXPECT_LAST(ONES, 0),
               WRITE(offset, value), SPIN(0x41, 2), WRITE(offset, value), SPIN(0x41, 3), COUNT_IS(0x41, 3));
    EXPECT_SCRIPT_END(&vm);
    EXPECT_LOG(&vm, 0, 0x41, 0x141, 0x41, 0x141, 0x41, 0x141);
}

TEST_ROWS(apic_self_xapic, "apic: xAPIC: self-IPI", selves)
{
    if (!row->only_x2apic)
        self_ipi(&apic_modes[0], row->offset, row->value);
}

TEST_ROWS(apic_self_x2apic, "apic: x2APIC: self-IPI", selves)
{
    self_ipi(&apic_modes[1], row->offset, row->value);
}

/* Two of the same vector are one, as long as it is requested. */
TEST_ROWS(apic_coalesce, "apic: a vector is requested once at a time", apic_modes)
{
    APIC_GUEST(vm, row, 1, ICR(SELF | 0x41), ICR(SELF | 0x41), ICR(SELF | 0xe1), STI, SPIN(0x41, 1), DELAY(200),
               COUNT_IS(0x41, 1), COUNT_IS(0xe1, 1));
    EXPECT_SCRIPT_END(&vm);
}

/* ------------------------------------------------------------------------------- priorities */

TEST_ROWS(apic_order, "apic: the highest vector comes first", apic_modes)
{
    APIC_GUEST(vm, row, 1, ICR(SELF | 0x45), ICR(SELF | 0x85), ICR(SELF | 0x65), ICR(SELF | 0x84), STI, SPIN(0x45, 1));
    EXPECT_SCRIPT_END(&vm);
    EXPECT_LOG(&vm, 0, 0x85, 0x185, 0x84, 0x184, 0x65, 0x165, 0x45, 0x145);
}

/* A class as high as the task priority waits until that is lower. CR8 is its upper half. */
TEST_ROWS(apic_tpr, "apic: the task priority holds its class and those below back", apic_modes)
{
    APIC_GUEST(vm, row, 1, STI, WRITE(APIC_TPR, 0x50), RDCR8, EXPECT_LAST(ONES, 5), ICR(SELF | 0x4f), ICR(SELF | 0x5f),
               ICR(SELF | 0x60), SPIN(0x60, 1), DELAY(200), COUNT_IS(0x5f, 0), COUNT_IS(0x4f, 0), READ(APIC_PPR),
               EXPECT_LAST(0xf0, 0x50), READ(BANK(APIC_IRR, 0x5f)), EXPECT_LAST(ONES, BIT_OF(0x4f) | BIT_OF(0x5f)),
               WRITE(APIC_TPR, 0x4f), SPIN(0x5f, 1), DELAY(200), COUNT_IS(0x4f, 0), CR8(3), SPIN(0x4f, 1),
               READ(APIC_TPR), EXPECT_LAST(ONES, 0x30), CR8(15), ICR(SELF | 0xff), DELAY(200), COUNT_IS(0xff, 0),
               CR8(0), SPIN(0xff, 1), READ(APIC_PPR), EXPECT_LAST(ONES, 0));
    EXPECT_SCRIPT_END(&vm);
    EXPECT_LOG(&vm, 0, 0x60, 0x160, 0x5f, 0x15f, 0x4f, 0x14f, 0xff, 0x1ff);
}

static const struct {
    const char *name;
    uint8_t other;
    bool nests;
} nested[] = {{"higher class", 0x60, true}, {"same class", 0x5f, false}, {"lower class", 0x4f, false}};

static void nest(const struct apic_mode *mode, uint8_t other, bool nests)
{
    APIC_GUEST(vm, mode, 1, STI, ICR(SELF | 0x51), SPIN(0x51, 1), SPIN(other, 1));
    apic_area(&vm, 0)->expected = 0x51;
    apic_area(&vm, 0)->send = SELF | other;
    EXPECT_SCRIPT_END(&vm);
    if (nests)
        EXPECT_LOG(&vm, 0, 0x51, other, 0x100 | other, 0x151);
    else
        EXPECT_LOG(&vm, 0, 0x51, 0x151, other, 0x100 | other);
}

TEST_ROWS(apic_nested_xapic, "apic: xAPIC: an interrupt in a handler", nested)
{
    nest(&apic_modes[0], row->other, row->nests);
}

TEST_ROWS(apic_nested_x2apic, "apic: x2APIC: an interrupt in a handler", nested)
{
    nest(&apic_modes[1], row->other, row->nests);
}

/* Without an EOI its class stays taken. */
TEST_ROWS(apic_no_eoi, "apic: without EOI a vector stays in service", apic_modes)
{
    APIC_GUEST(vm, row, 1, STI, ICR(SELF | 0x71), SPIN(0x71, 1), READ(BANK(APIC_ISR, 0x71)),
               EXPECT_LAST(ONES, BIT_OF(0x71)), READ(APIC_PPR), EXPECT_LAST(0xf0, 0x70), ICR(SELF | 0x71),
               ICR(SELF | 0x61), ICR(SELF | 0x81), SPIN(0x81, 1), DELAY(200), COUNT_IS(0x71, 1), COUNT_IS(0x61, 0),
               WRITE(APIC_EOI, 0), SPIN(0x71, 2), DELAY(200), COUNT_IS(0x61, 0), WRITE(APIC_EOI, 0), SPIN(0x61, 1));
    apic_area(&vm, 0)->keep = 0x71;
    EXPECT_SCRIPT_END(&vm);
    EXPECT_LOG(&vm, 0, 0x71, 0x171, 0x81, 0x181, 0x71, 0x171, 0x61, 0x161);
}

/* Vectors below 16 can not be sent: the error LVT says so. */
TEST_ROWS(apic_bad_vector, "apic: an illegal vector is an error", apic_modes)
{
    APIC_GUEST(vm, row, 1, STI, WRITE(APIC_LVT_ERROR, 0xf0), WRITE(APIC_ESR, 0), ICR(SELF | 5), SPIN(0xf0, 1),
               WRITE(APIC_ESR, 0), READ(APIC_ESR), EXPECT_LAST(0x20, 0x20), WRITE(APIC_ESR, 0), READ(APIC_ESR),
               EXPECT_LAST(ONES, 0), COUNT_IS(0xf0, 1));
    EXPECT_SCRIPT_END(&vm);
}

/* ------------------------------------------------------------------------------ off and on */

TEST_ROWS(apic_software_disable, "apic: disabled by software: nothing comes, and LVTs are masked", apic_modes)
{
    APIC_GUEST(vm, row, 1, ICR(SELF | 0x51), WRITE(APIC_SVR, 0xff), STI, DELAY(300), COUNT_IS(0x51, 0),
               WRITE(APIC_LVT_TIMER, 0x31), READ(APIC_LVT_TIMER), EXPECT_LAST(ONES, 0x10031),
               WRITE(APIC_TIMER_DIV, 0xb), WRITE(APIC_TIMER_INIT, 1000), DELAY(300), COUNT_IS(0x31, 0),
               WRITE(APIC_SVR, 0x1ff), SPIN(0x51, 1), ICR(SELF | 0x52), SPIN(0x52, 1), COUNT_IS(0x51, 1),
               COUNT_IS(0x31, 0));
    EXPECT_SCRIPT_END(&vm);
}

/* Off by IA32_APIC_BASE there is no APIC: CPUID, its registers, its interrupts. On again it begins anew. */
TEST_ROWS(apic_base_disable, "apic: disabled by APIC_BASE, and enabled again", apic_modes)
{
    APIC_GUEST(vm, row, 1, WRITE(APIC_TPR, 0x20), STI, WRMSR(MSR_APIC_BASE, BASE_DEFAULT | BASE_BSP), CPUID(1),
               EXPECT_LAST(0x200, 0), RDMSR_GP(0x808), EXIT,
               WRMSR(MSR_APIC_BASE, BASE_DEFAULT | BASE_BSP | BASE_ENABLE), CPUID(1), EXPECT_LAST(0x200, 0x200), EXIT,
               READ(APIC_SVR), EXPECT_LAST(ONES, 0xff), READ(APIC_TPR), EXPECT_LAST(ONES, 0), WRITE(APIC_SVR, 0x1ff),
               ICR(SELF | 0x55), SPIN(0x55, 1), COUNT_IS(0x55, 1));
    REQUIRE(EXPECT_SCRIPT_END(&vm));
    EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeFixed, false, false, 0, 0x55)); /* to nobody */
    vm_step(&vm);
    REQUIRE(EXPECT_SCRIPT_END(&vm));
    apic_area(&vm, 0)->is_x2apic = false; /* enabled as such first */
    vm_step(&vm);
    EXPECT_SCRIPT_END(&vm);
}

/* They are found where they are now, and not where they were: nothing is there, or the page that is mapped for the CPU
 * to know accesses by. */
TEST(apic_base_move, "apic: xAPIC: registers at another address")
{
    APIC_GUEST(vm, &apic_modes[0], 1, WRMSR(MSR_APIC_BASE, 0x30000000 | BASE_ENABLE | BASE_BSP), EXIT, READ(APIC_SVR),
               EXPECT_LAST(ONES, 0x1ff), STI, ICR(SELF | 0x55), SPIN(0x55, 1), EXIT, READ(APIC_SVR));
    REQUIRE(EXPECT_SCRIPT_END(&vm));
    apic_area(&vm, 0)->page = 0x30000000;
    vm_step(&vm);
    REQUIRE(EXPECT_SCRIPT_END(&vm));
    apic_area(&vm, 0)->page = BASE_DEFAULT;
    vm_step(&vm);
    if (vm_run(&vm) == WHvRunVpExitReasonMemoryAccess)
        EXPECT_EQ(vm.exit.MemoryAccess.Gpa, BASE_DEFAULT + APIC_SVR);
    else if (apic_check_end(&vm, 0, &vm.exit, __FILE__, __LINE__))
        EXPECT_EQ(apic_area(&vm, 0)->last, 0);
}

/* Without one of the core's the client has the page, and HLT. */
TEST(apic_none, "apic: mode None: the registers' page and HLT are the client's")
{
    static const struct apic_mode none = {"none", NULL, false};
    VM(vm);

    REQUIRE(apic_create(&vm, &none, 1));
    BARE_SCRIPT(&vm, 0, RDMSR_GP(MSR_TSC_DEADLINE), RDMSR_GP(0x802), CPUID(1), EXPECT_LAST(TO(1 << 24 | 1 << 21), 0),
                REST, READ(APIC_ID));
    EXPECT_EXIT(&vm, X64Halt);
    REQUIRE(EXPECT_EXIT(&vm, MemoryAccess));
    EXPECT_EQ(vm.exit.MemoryAccess.Gpa, BASE_DEFAULT + APIC_ID);
}
