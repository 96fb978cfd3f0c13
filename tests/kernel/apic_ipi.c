/* SPDX-License-Identifier: MIT */
/* Interrupts between virtual processors: destinations and shorthands, lowest priority, NMI, INIT and startup. */
#include "apic.h"
#include <kernel/clock.h>

#define ONES   0xffffffffull
#define FLAT   0xffffffffull
#define MODEL1 0x0fffffffull /* DFR: clusters */

#define READY WORD(0)
#define DONE  WORD(1)
#define STOP  WORD(2)
#define GO    WORD(3)

static struct runner runners[APIC_VPS];

/* Runs both to the ends of their scripts. */
static void run_two(struct vm *vm)
{
    for (uint32_t i = 0; i < 2; i++)
        REQUIRE(runner_start(&runners[i], vm, i, CPU_ANY));
    EXPECT_RUNNER_END(&runners[0]);
    EXPECT_RUNNER_END(&runners[1]);
}

/* ------------------------------------------------------------------------ who is addressed */

static const struct {
    const char *name;
    uint64_t icr;
    bool is_everybody; /* the mode's broadcast is the destination */
    bool to_first, to_other;
    uint64_t dfr, ldr; /* xAPIC: LDR of VP 0; VP 1's is the next bit of it */
    uint32_t modes;    /* bit 0 xAPIC, 1 x2APIC */
} forms[] = {
    {"physical", TO(1), false, false, true, FLAT, 0, 3},
    {"physical, own", TO(0), false, true, false, FLAT, 0, 3},
    {"physical, nobody", TO(7), false, false, false, FLAT, 0, 3},
    {"physical, broadcast", 0, true, true, true, FLAT, 0, 3},
    {"shorthand self", SELF | TO(1), false, true, false, FLAT, 0, 3},
    {"shorthand all", ALL | TO(7), false, true, true, FLAT, 0, 3},
    {"shorthand others", OTHERS | TO(7), false, false, true, FLAT, 0, 3},
    {"logical", LOGICAL | TO(2), false, false, true, FLAT, 0x01000000, 3},
    {"logical, own", LOGICAL | TO(1), false, true, false, FLAT, 0x01000000, 3},
    {"logical, both", LOGICAL | TO(3), false, true, true, FLAT, 0x01000000, 3},
    {"logical, nobody", LOGICAL | TO(0xc), false, false, false, FLAT, 0x01000000, 3},
    {"logical, broadcast", LOGICAL, true, true, true, FLAT, 0x01000000, 3},
    {"cluster", LOGICAL | TO(0x32), false, false, true, MODEL1, 0x31000000, 1},
    {"cluster, both", LOGICAL | TO(0x33), false, true, true, MODEL1, 0x31000000, 1},
    {"cluster, another one", LOGICAL | TO(0x23), false, false, false, MODEL1, 0x31000000, 1},
    {"cluster, broadcast", LOGICAL, true, true, true, MODEL1, 0x31000000, 1},
    {"x2APIC cluster, another one", LOGICAL | TO(0x10003), false, false, false, FLAT, 0, 2},
};

/* VP 1 halts until it comes, or until it is over. LDR and DFR are read-only and not there in x2APIC mode. */
static void send_to(const struct apic_mode *mode, size_t form)
{
    const uint64_t icr = forms[form].icr | (forms[form].is_everybody ? apic_everybody(mode) : 0) | 0x51;
    const bool first = forms[form].to_first, other = forms[form].to_other;
    const uint64_t ldr = forms[form].ldr, next = ldr + (ldr & 0x0f000000);
    const uint64_t at = mode->is_x2apic ? APIC_TPR : APIC_LDR, model = mode->is_x2apic ? APIC_TPR : APIC_DFR;
    VM(vm);

    if (!(forms[form].modes >> mode->is_x2apic & 1))
        return;
    REQUIRE(apic_create(&vm, mode, 2));
    SCRIPT(&vm, 0, WRITE(model, mode->is_x2apic ? 0 : forms[form].dfr), WRITE(at, mode->is_x2apic ? 0 : ldr), STI,
           WAIT(READY, 1), ICR(icr), SPIN(0x51, first), WAIT(DONE, 1), DELAY(200), COUNT_IS(0x51, first), SET(STOP, 1));
    SCRIPT(&vm, 1, WRITE(model, mode->is_x2apic ? 0 : forms[form].dfr), WRITE(at, mode->is_x2apic ? 0 : next), STI,
           SET(READY, 1), HALT(0x51, other), SET(DONE, 1), WAIT(STOP, 1), COUNT_IS(0x51, other));
    run_two(&vm);
}

TEST_ROWS(apic_ipi_xapic, "apic: xAPIC: IPI", forms)
{
    send_to(&apic_modes[0], (size_t)(row - forms));
}

TEST_ROWS(apic_ipi_x2apic, "apic: x2APIC: IPI", forms)
{
    send_to(&apic_modes[1], (size_t)(row - forms));
}

/* Of four messages to both, each has one taker, and none is lost. */
TEST_ROWS(apic_ipi_lowest, "apic: lowest priority: one of those addressed", apic_modes)
{
    const uint64_t at = row->is_x2apic ? APIC_TPR : APIC_LDR, bit = row->is_x2apic ? 0 : 0x01000000;
    VM(vm);

    REQUIRE(apic_create(&vm, row, 2));
    SCRIPT(&vm, 0, WRITE(at, bit), STI, WAIT(READY, 1), ICR(LOGICAL | LOWEST | TO(3) | 0x51),
           ICR(LOGICAL | LOWEST | TO(3) | 0x52), ICR(LOGICAL | LOWEST | TO(2) | 0x53),
           ICR(LOGICAL | LOWEST | TO(1) | 0x54), SPIN(0x54, 1), ICR(TO(1) | 0x20), WAIT(DONE, 1), DELAY(200));
    SCRIPT(&vm, 1, WRITE(at, bit << 1), STI, SET(READY, 1), HALT(0x20, 1), SET(DONE, 1));
    run_two(&vm);
    for (unsigned vector = 0x51; vector <= 0x52; vector++)
        EXPECT_EQ(apic_area(&vm, 0)->counts[vector] + apic_area(&vm, 1)->counts[vector], 1);
    EXPECT_EQ(apic_area(&vm, 0)->counts[0x53], 0);
    EXPECT_EQ(apic_area(&vm, 1)->counts[0x53], 1);
    EXPECT_EQ(apic_area(&vm, 0)->counts[0x54], 1);
}

/* Back and forth, each halted while the other runs. */
TEST_ROWS(apic_ipi_many, "apic: 50 IPIs to and fro between halted VPs", apic_modes)
{
    static struct apic_op ops[2][60];
    VM(vm);

    REQUIRE(apic_create(&vm, row, 2));
    for (unsigned round = 0; round < 25; round++) {
        ops[0][2 * round] = (struct apic_op)ICR(TO(1) | 0x51);
        ops[0][2 * round + 1] = (struct apic_op)HALT(0x52, round + 1);
        ops[1][2 * round] = (struct apic_op)HALT(0x51, round + 1);
        ops[1][2 * round + 1] = (struct apic_op)ICR(TO(0) | 0x52);
    }
    apic_set_script(&vm, 0, ops[0], 50);
    apic_set_script(&vm, 1, ops[1], 50);
    REQUIRE(runner_start(&runners[1], &vm, 1, CPU_ANY));
    thread_sleep_ns(2 * NS_PER_MS); /* its APIC is enabled by then */
    REQUIRE(runner_start(&runners[0], &vm, 0, CPU_ANY));
    EXPECT_RUNNER_END(&runners[0]);
    EXPECT_RUNNER_END(&runners[1]);
}

/* ------------------------------------------------------------------------- NMI, INIT, startup */

TEST_ROWS(apic_ipi_nmi, "apic: NMI to a VP that halts with interrupts off, and to one that spins", apic_modes)
{
    VM(vm);

    REQUIRE(apic_create(&vm, row, 2));
    SCRIPT(&vm, 0, WAIT(READY, 1), DELAY(3000), ICR(NMI_ | TO(1)), WAIT(READY, 2), ICR(NMI_ | OTHERS), WAIT(READY, 3),
           COUNT_IS(2, 0));
    SCRIPT(&vm, 1, CLI, SET(READY, 1), REST, COUNT_IS(2, 1), SET(READY, 2), SPIN(2, 2), SET(READY, 3));
    run_two(&vm);
}

/* INIT stops a VP, whatever it does; the first SIPI after it starts it, and others are ignored. */
TEST_ROWS(apic_startup, "apic: INIT and SIPI start a VP, and start it again", apic_modes)
{
    VM(vm);

    REQUIRE(apic_create_waiting(&vm, row, 2));
    SCRIPT(&vm, 0, ICR(INIT_ | TO(1)), ICR(SIPI_ | TO(1) | SIPI_VECTOR), WAIT(READY, 1), SET(READY, 0),
           ICR(SIPI_ | TO(1) | SIPI_VECTOR_OTHER), DELAY(3000), LOAD(READY), EXPECT_LAST(ONES, 0), ICR(INIT_ | OTHERS),
           DELAY(1000), SET(GO, 1), DELAY(1000), LOAD(DONE), EXPECT_LAST(ONES, 0), LOAD(READY), EXPECT_LAST(ONES, 0),
           ICR(SIPI_ | OTHERS | SIPI_VECTOR_OTHER), WAIT(READY, 1), WAIT(DONE, 1));
    SCRIPT(&vm, 1, READ(APIC_SVR), EXPECT_LAST(ONES, 0x1ff), READ(APIC_TPR), EXPECT_LAST(ONES, 0),
           WRITE(APIC_TPR, 0x30), RDMSR(MSR_APIC_BASE), EXPECT_LAST(BASE_BSP, 0), SET(READY, 1), WAIT(GO, 1),
           SET(DONE, 1));
    run_two(&vm);
}

/* Nobody starts it: a cancel ends its wait, and it still waits after that. */
TEST_ROWS(apic_startup_cancel, "apic: a VP that waits for SIPI", apic_modes)
{
    VM(vm);

    REQUIRE(apic_create_waiting(&vm, row, 2));
    SCRIPT(&vm, 1, SET(READY, 1));
    EXPECT_EQ(vm_get_vp(&vm, 0, WHvRegisterInternalActivityState), 0);
    EXPECT_EQ(vm_get_vp(&vm, 1, WHvRegisterInternalActivityState), 1); /* StartupSuspend */
    for (unsigned i = 0; i < 2; i++) {
        REQUIRE(runner_start(&runners[1], &vm, 1, CPU_ANY));
        thread_sleep_ns(2 * NS_PER_MS);
        EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeFixed, false, false, 1, 0x51));
        EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeNmi, false, false, 1, 0));
        thread_sleep_ns(2 * NS_PER_MS);
        EXPECT_EQ(runners[1].ended, 0);
        EXPECT_CANCEL(&runners[1]);
    }
    EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeInit, false, false, 1, 0));
    EXPECT_OK(apic_request(&vm, WHvX64InterruptTypeSipi, false, false, 1, SIPI_VECTOR));
    REQUIRE(runner_start(&runners[1], &vm, 1, CPU_ANY));
    EXPECT_RUNNER_END(&runners[1]);
    EXPECT_EQ(*vm_u32(&vm, READY), 1);
}
