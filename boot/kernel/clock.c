/* SPDX-License-Identifier: MIT */
/* The clock is the TSC, measured against the ACPI PM timer or, without one, the PIT. */
#include "acpi_internal.h"
#include "clock_internal.h"
#include <hv/base/bits.h>
#include <kernel/cpu.h>
#include <kernel/exit.h>

#define PM_TIMER_HZ  3579545ull
#define PIT_HZ       1193182ull
#define PIT_CHANNEL2 0x42
#define PIT_COMMAND  0x43
#define PIT_GATE     0x61
#define GATE_ON      0x01
#define SPEAKER_ON   0x02
#define GATE_OUTPUT  0x20

#define CALIBRATE_MS 10
#define ROUNDS_MAX   40

/* reads of a counter that stands still before it is given up */
#define STUCK_SPINS 100000000

static uint64_t tsc_hz, tsc_start, ns_per_tick; /* ns_per_tick: 32.32 fixed point */
static uint64_t latest;                         /* atomic */
static uint32_t distrusted;

/* TSC ticks that `ticks` of the PM timer take; 0 when it stands still. */
static uint64_t measure_pm_timer(struct acpi_pm_timer timer, uint32_t ticks)
{
    uint32_t first, now, passed;
    uint64_t start;

    first = inl(timer.port) & timer.mask;
    do /* begin at the moment of a change */
        now = inl(timer.port) & timer.mask;
    while (now == first);
    first = now;
    start = rdtsc();
    for (unsigned spins = 0; spins < STUCK_SPINS; spins++) {
        passed = ((inl(timer.port) & timer.mask) - first) & timer.mask;
        if (passed >= ticks)
            return (rdtsc() - start) * ticks / passed;
    }
    return 0;
}

static uint64_t measure_pit(uint32_t ticks)
{
    uint64_t start, end;
    unsigned spins = 0;

    outb(PIT_GATE, (uint8_t)((inb(PIT_GATE) & ~SPEAKER_ON) | GATE_ON));
    outb(PIT_COMMAND, 0xb0); /* channel 2, both bytes, mode 0: the output goes up at the end */
    outb(PIT_CHANNEL2, (uint8_t)ticks);
    outb(PIT_CHANNEL2, (uint8_t)(ticks >> 8));
    start = rdtsc();
    while (!(inb(PIT_GATE) & GATE_OUTPUT) && spins < STUCK_SPINS)
        spins++;
    end = rdtsc();
    return spins < STUCK_SPINS ? end - start : 0;
}

static bool pm_timer_runs(struct acpi_pm_timer timer)
{
    uint32_t first;

    if (!timer.port)
        return false;
    first = inl(timer.port) & timer.mask;
    for (unsigned i = 0; i < 100000; i++) {
        if ((inl(timer.port) & timer.mask) != first)
            return true;
    }
    return false;
}

static uint64_t measure_hz(struct acpi_pm_timer timer)
{
    if (timer.port)
        return measure_pm_timer(timer, PM_TIMER_HZ * CALIBRATE_MS / 1000) * 1000 / CALIBRATE_MS;
    return measure_pit(PIT_HZ * CALIBRATE_MS / 1000) * 1000 / CALIBRATE_MS;
}

/*
 * Whatever disturbs a round makes it longer: the smallest of all, as soon as another one has come close to it. On a
 * busy machine's emulator many are disturbed.
 */
static uint64_t measure_undisturbed(struct acpi_pm_timer timer)
{
    uint64_t best = UINT64_MAX, second = UINT64_MAX;

    for (unsigned i = 0; i < 2 || (i < ROUNDS_MAX && second - best >= best / 256); i++) {
        uint64_t hz = measure_hz(timer);

        second = hz < best ? best : HV_MIN(second, hz);
        best = HV_MIN(best, hz);
    }
    return best;
}

void clock_init(void)
{
    struct acpi_pm_timer timer = acpi_pm_timer();

    if (!pm_timer_runs(timer))
        timer.port = 0;
    tsc_hz = measure_undisturbed(timer);
    if (tsc_hz < 1000000)
        panic("cannot measure the TSC: %lu Hz", tsc_hz);
    ns_per_tick = (NS_PER_S << 32) / tsc_hz;
    tsc_start = rdtsc();
}

void clock_distrust(void)
{
    distrusted = 1;
}

static uint64_t never_backwards(uint64_t ns)
{
    uint64_t seen = __atomic_load_n(&latest, __ATOMIC_RELAXED);

    while (ns > seen) {
        if (__atomic_compare_exchange_n(&latest, &seen, ns, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            return ns;
    }
    return seen;
}

uint64_t clock_ns(void)
{
    uint64_t ticks = rdtsc() - tsc_start;
    uint64_t ns = (uint64_t)((unsigned __int128)ticks * ns_per_tick >> 32);

    if (ticks >> 63) /* a TSC behind the first CPU's */
        ns = 0;
    return __builtin_expect(distrusted, 0) ? never_backwards(ns) : ns;
}

uint64_t clock_tsc_hz(void)
{
    return tsc_hz;
}

void clock_delay_ns(uint64_t ns)
{
    uint64_t end = clock_ns() + ns;

    while (clock_ns() < end)
        cpu_relax();
}
