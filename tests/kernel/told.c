/* SPDX-License-Identifier: MIT */
#include "told.h"
#include "test.h"
#include <kernel/clock.h>
#include <kernel/host.h>
#include <kernel/lock.h>
#include <kernel/thread.h>

#define WAIT_NS (2 * NS_PER_S)

static struct spinlock lock;
static char lines[16][256];
static uint32_t count;

static void note_line(const char *text)
{
    uint64_t flags = spin_lock(&lock);

    string_copy(lines[count++ % COUNT(lines)], sizeof(lines[0]), text, strlen(text));
    spin_unlock(&lock, flags);
}

/* Some say what kind of device it is. */
static bool begins(const char *line, const char *text)
{
    if (strncmp(line, "PCI ", 4) == 0)
        line += 4;
    return strncmp(line, text, strlen(text)) == 0;
}

static bool has_line(const char *text)
{
    uint64_t flags = spin_lock(&lock);
    bool found = false;

    for (size_t i = 0; i < COUNT(lines); i++)
        found |= begins(lines[i], text);
    spin_unlock(&lock, flags);
    return found;
}

void told_forget(void)
{
    uint64_t flags = spin_lock(&lock);

    memset(lines, 0, sizeof(lines));
    spin_unlock(&lock, flags);
}

void told_start(void)
{
    told_forget();
    host_log_watch(note_line);
}

void told_stop(void)
{
    host_log_watch(NULL);
}

bool told_expect_line(const char *text)
{
    uint64_t end = clock_ns() + WAIT_NS;

    while (!has_line(text)) {
        if (clock_ns() > end) {
            FAIL("no line \"%s...\"", text);
            return false;
        }
        thread_sleep_ns(NS_PER_MS);
    }
    return true;
}

bool told_expect(const struct hv_pci_address *a, const char *what)
{
    char text[sizeof(lines[0])];

    ksnprintf(text, sizeof(text), "%04x:%02x:%02x.%u: %s", a->segment, a->bdf >> 8, a->bdf >> 3 & 0x1f, a->bdf & 7u,
              what);
    return told_expect_line(text);
}

/* ------------------------------------------------------------------------------- the machine's IOMMU */

static bool is_unit_of_qemu(const char *name)
{
    return engine_is_tcg() && strcmp(hv_iommu_platform()->name, name) == 0;
}

bool told_is_lax(void)
{
    return is_unit_of_qemu("VT-d");
}

void told_expect_dma(const struct hv_pci_address *a, const char *kind, uint64_t address)
{
    char text[64];

    ksnprintf(text, sizeof(text), "DMA %s 0x%llx blocked", kind, (unsigned long long)address);
    if (is_unit_of_qemu("AMD-Vi"))
        test_note("QEMU's AMD-Vi records no faults: not told is: %s", text);
    else
        told_expect(a, text);
}

void told_expect_interrupt(const struct hv_pci_address *a)
{
    if (engine_is_tcg())
        test_note("QEMU's %s records no faults of interrupts", hv_iommu_platform()->name);
    else
        told_expect(a, "interrupt ");
}

const char *told_missing(bool irqs)
{
    const struct hv_iommu_platform *p = hv_iommu_platform();

    if (!p->present || (irqs && !p->remaps_interrupts))
        return p->reason;
    return NULL;
}
