/* SPDX-License-Identifier: MIT */
/* Local APIC: SDM volume 3, chapter 11. */
#include "apic.h"
#include "trap_internal.h"
#include <hv/base/bits.h>
#include <kernel/clock.h>
#include <kernel/cpu.h>
#include <kernel/exit.h>
#include <kernel/memory.h>
#include <kernel/print.h>

#define MSR_APIC_BASE     0x1b
#define APIC_BASE_ENABLE  BIT64(11)
#define APIC_BASE_X2APIC  BIT64(10)
#define APIC_BASE_ADDRESS BITS64(51, 12)
#define MSR_X2APIC        0x800

#define CPUID_APIC   BIT32(9)  /* leaf 1 EDX */
#define CPUID_X2APIC BIT32(21) /* leaf 1 ECX */

/* register numbers: offset / 16 in memory, MSR - 0x800 */
enum apic_register {
    APIC_ID = 0x02,
    APIC_TPR = 0x08,
    APIC_EOI = 0x0b,
    APIC_LDR = 0x0d,
    APIC_SPURIOUS = 0x0f,
    APIC_IRR = 0x20, /* eight of them */
    APIC_ESR = 0x28,
    APIC_ICR = 0x30,
    APIC_ICR_HIGH = 0x31,
    APIC_LVT_TIMER = 0x32,
    APIC_LVT_THERMAL = 0x33,
    APIC_LVT_PERF = 0x34,
    APIC_LVT_LINT0 = 0x35,
    APIC_LVT_LINT1 = 0x36,
    APIC_LVT_ERROR = 0x37,
    APIC_TIMER_INITIAL = 0x38,
    APIC_TIMER_CURRENT = 0x39,
    APIC_TIMER_DIVIDE = 0x3e,
};

#define SPURIOUS_ENABLE BIT32(8)
#define LVT_MASKED      BIT32(16)
#define LVT_NMI         0x400
#define DIVIDE_BY_1     0xb
#define ICR_INIT        0x4500 /* assert, edge */
#define ICR_STARTUP     0x4600
#define ICR_NMI         0x4400
#define ICR_ASSERT      0x4000
#define ICR_PENDING     BIT32(12)
#define ICR_ALL_OTHERS  (3u << 18)

#define PIC1_COMMAND 0x20
#define PIC1_DATA    0x21
#define PIC2_COMMAND 0xa0
#define PIC2_DATA    0xa1

/* an APIC that never accepts must not stop a panic */
#define ICR_SPINS 1000000

static bool ready, x2apic;
static volatile uint32_t *registers;
static uint64_t timer_per_ns; /* fixed point */

static uint32_t apic_read(enum apic_register r)
{
    return x2apic ? (uint32_t)rdmsr(MSR_X2APIC + r) : registers[r * 4];
}

static void apic_write(enum apic_register r, uint32_t value)
{
    if (x2apic)
        wrmsr(MSR_X2APIC + r, value);
    else
        registers[r * 4] = value;
}

static void icr_write(uint32_t apic_id, uint32_t command)
{
    uint64_t flags;

    if (!ready)
        return;
    if (x2apic) {
        __asm__ volatile("mfence; lfence" ::
                             : "memory"); /* WRMSR to the ICR is not serializing: SDM volume 3, 11.12.3 */
        wrmsr(MSR_X2APIC + APIC_ICR, (uint64_t)apic_id << 32 | command);
        return;
    }
    flags = irq_save(); /* an interrupt between the halves could send one of its own */
    apic_write(APIC_ICR_HIGH, apic_id << 24);
    apic_write(APIC_ICR, command);
    for (unsigned i = 0; i < ICR_SPINS && (apic_read(APIC_ICR) & ICR_PENDING); i++)
        cpu_relax();
    irq_restore(flags);
}

void apic_send(uint32_t apic_id, uint8_t vector)
{
    icr_write(apic_id, ICR_ASSERT | vector);
}

void apic_send_init(uint32_t apic_id)
{
    icr_write(apic_id, ICR_INIT);
}

void apic_send_startup(uint32_t apic_id, uint8_t page)
{
    icr_write(apic_id, ICR_STARTUP | page);
}

void apic_send_nmi_to_others(void)
{
    icr_write(0, ICR_ALL_OTHERS | ICR_NMI);
}

uint32_t apic_id(void)
{
    return x2apic ? apic_read(APIC_ID) : apic_read(APIC_ID) >> 24;
}

bool apic_is_requested(uint8_t vector)
{
    return apic_read((enum apic_register)(APIC_IRR + vector / 32)) >> vector % 32 & 1;
}

void apic_eoi(void)
{
    apic_write(APIC_EOI, 0);
}

/* Its vectors moved away from the exceptions, every line masked: all we take comes through the APIC. */
static void silence_8259(void)
{
    static const struct {
        uint16_t port;
        uint8_t value;
    } setup[] = {
        {PIC1_COMMAND, 0x11}, {PIC2_COMMAND, 0x11}, {PIC1_DATA, 0x20}, {PIC2_DATA, 0x28}, {PIC1_DATA, 4},
        {PIC2_DATA, 2},       {PIC1_DATA, 1},       {PIC2_DATA, 1},    {PIC1_DATA, 0xff}, {PIC2_DATA, 0xff},
    };

    for (unsigned i = 0; i < ARRAY_COUNT(setup); i++)
        outb(setup[i].port, setup[i].value);
}

void apic_init_cpu(void)
{
    uint64_t base = rdmsr(MSR_APIC_BASE) | APIC_BASE_ENABLE;

    if (x2apic && !(base & APIC_BASE_X2APIC)) {
        wrmsr(MSR_APIC_BASE, base); /* disabled to x2APIC in one step is not allowed */
        base |= APIC_BASE_X2APIC;
    }
    wrmsr(MSR_APIC_BASE, base);
    apic_write(APIC_SPURIOUS, SPURIOUS_ENABLE | VECTOR_SPURIOUS);
    apic_write(APIC_TPR, 0);
    apic_write(APIC_LVT_LINT0, LVT_MASKED);
    apic_write(APIC_LVT_LINT1, LVT_NMI);
    apic_write(APIC_LVT_ERROR, LVT_MASKED);
    apic_write(APIC_LVT_TIMER, VECTOR_TIMER);
    apic_write(APIC_TIMER_DIVIDE, DIVIDE_BY_1);
    apic_write(APIC_TIMER_INITIAL, 0);
}

void apic_init(bool want_x2apic)
{
    struct cpuid features = cpuid(1, 0);
    uint64_t base;

    if (!(features.edx & CPUID_APIC))
        panic("this CPU has no local APIC");
    base = rdmsr(MSR_APIC_BASE);
    x2apic = (base & APIC_BASE_X2APIC) || (want_x2apic && (features.ecx & CPUID_X2APIC));
    if (!x2apic)
        registers = mmio_map(base & APIC_BASE_ADDRESS, PAGE_SIZE);
    if (!x2apic && !registers)
        panic("cannot map the local APIC");
    silence_8259();
    apic_init_cpu();
    ready = true;
}

#define PER_NS_BITS 24 /* behind the point */

/* Rather too late than too early, by a little. */
void apic_timer_start(uint64_t ns)
{
    uint64_t count = (HV_MIN(ns, NS_PER_S) * timer_per_ns >> PER_NS_BITS) + 1;

    apic_write(APIC_TIMER_INITIAL, (uint32_t)HV_MIN(count, ~0u));
}

/* Against the clock, which is calibrated already. Interrupts are off: the timer must not fire. */
void apic_timer_calibrate(void)
{
    uint64_t start, ns, hz;
    uint32_t count;

    start = clock_ns();
    apic_write(APIC_TIMER_INITIAL, ~0u);
    clock_delay_ns(10 * NS_PER_MS);
    count = ~0u - apic_read(APIC_TIMER_CURRENT);
    ns = clock_ns() - start;
    apic_write(APIC_TIMER_INITIAL, 0);
    hz = (uint64_t)count * NS_PER_S / ns;
    if (hz < 1000)
        panic("the local APIC's timer does not run");
    timer_per_ns = (hz << PER_NS_BITS) / NS_PER_S + 1;
}
