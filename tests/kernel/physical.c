/* SPDX-License-Identifier: MIT */
#include "physical.h"
#include "test.h"
#include <kernel/acpi.h>
#include <kernel/memory.h>

/* PCI firmware 3.2, 4.1.2 */
struct mcfg_segment {
    uint64_t base;
    uint16_t segment;
    uint8_t first, last;
    uint32_t reserved;
} __attribute__((packed));

#define SEGMENTS_AT 44 /* in the table */

static uint64_t find_ecam(const struct hv_pci_address *a)
{
    const struct acpi_header *mcfg = acpi_find("MCFG", 0);
    uint8_t bus = (uint8_t)(a->bdf >> 8);

    for (uint32_t at = SEGMENTS_AT; mcfg && at + sizeof(struct mcfg_segment) <= mcfg->length;
         at += sizeof(struct mcfg_segment)) {
        const struct mcfg_segment *s = (const struct mcfg_segment *)((const char *)mcfg + at);

        if (s->segment == a->segment && s->first <= bus && bus <= s->last)
            return s->base + ((uint64_t)a->bdf << 12);
    }
    return 0;
}

#define CONFIG_COMMAND   0x04
#define CONFIG_BARS      0x10
#define CONFIG_CHAIN     0x34
#define CAPABILITIES_MAX 48

uint32_t physical_capability(const struct physical *p, uint8_t id)
{
    uint32_t at = p->config[CONFIG_CHAIN / 4] & 0xfc;

    for (uint32_t i = 0; at && i < CAPABILITIES_MAX; i++) {
        uint32_t head = p->config[at / 4];

        if ((head & 0xff) == id)
            return at;
        at = head >> 8 & 0xfc;
    }
    return 0;
}

uint64_t physical_bar(const struct physical *p, uint32_t bar)
{
    uint32_t low = p->config[CONFIG_BARS / 4 + bar];

    return (low & ~0xfu) | (low & 4 ? (uint64_t)p->config[CONFIG_BARS / 4 + bar + 1] << 32 : 0);
}

/* Of a capability, from its head on. */
static const struct {
    uint8_t id;
    uint8_t offset;
    uint32_t free;
} rules[] = {
    {0x01, 4, 0x00008000}, /* power: PME's status */
    {0x05, 0, 0x00710000}, /* MSI: on, and how many */
    {0x05, 4, 0xffffffff}, /*      where to */
    {0x05, 8, 0xffffffff},  {0x05, 12, 0xffffffff},
    {0x10, 8, 0xffff7810},  /* express: status; relaxed order, no snoop, size of reads */
    {0x10, 16, 0xffff0000}, /*          the link's status */
    {0x11, 0, 0xc0000000},  /* MSI-X: on, all masked */
};

static void allow(struct physical *p)
{
    p->free[CONFIG_COMMAND / 4] = 0xffff0004; /* status; bus master */
    for (size_t i = 0; i < COUNT(rules); i++) {
        uint32_t at = physical_capability(p, rules[i].id);

        if (at)
            p->free[(at + rules[i].offset) / 4] |= rules[i].free;
    }
}

bool physical_open(struct physical *p, const struct hv_pci_address *a)
{
    memset(p, 0, sizeof(*p));
    p->ecam = find_ecam(a);
    p->config = p->ecam ? mmio_map(p->ecam, PAGE_SIZE) : NULL;
    if (!p->config)
        return false;
    for (uint32_t i = 0; i < PHYSICAL_WORDS; i++)
        p->before[i] = p->config[i];
    allow(p);
    return true;
}

void physical_close(struct physical *p)
{
    if (p->config)
        mmio_unmap((void *)(uintptr_t)p->config, PAGE_SIZE);
    p->config = NULL;
}

void physical_expect_same(const struct physical *p, const char *after)
{
    for (uint32_t i = 0; i < PHYSICAL_WORDS; i++) {
        uint32_t is = p->config[i];

        if ((is ^ p->before[i]) & ~p->free[i])
            FAIL("%s: configuration register 0x%x was 0x%x and is 0x%x", after, 4 * i, p->before[i], is);
    }
}
