/* SPDX-License-Identifier: MIT */
/*
 * Machines of garbage: functions whose configuration space is random, in part or all of it, and that change what they
 * say between two reads. Whatever they are: the scan ends, nothing outside is touched, what is not refused makes sense.
 * SEED=n repeats or varies a run.
 */
#include "unit.h"
#include <fake_pci.h>
#include <hv/base/bits.h>
#include <pci/config.h>
#include <pci/device.h>
#include <pci/pci_regs.h>
#include <stdlib.h>
#include <string.h>

#define MACHINES  150u
#define FUNCTIONS 12u

static uint64_t state;

static uint32_t rnd(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % below;
}

static void flicker(struct fake_pci *f, uint32_t offset, uint32_t size)
{
    if (!rnd(8))
        f->config[offset + rnd(size)] ^= (uint8_t)(1u << rnd(8));
    if (!rnd(200))
        f->is_gone = true;
}

/* Of all kinds of places: those that begin chains, those in chains, BARs. */
static void spoil(struct fake_pci *f)
{
    static const uint16_t places[] = {PCI_STATUS,           PCI_HEADER_TYPE, PCI_CAPABILITIES,
                                      PCI_BRIDGE_SECONDARY, PCI_BRIDGE_LAST, PCI_CLASS + 2};

    for (uint32_t n = rnd(20); n; n--) {
        uint32_t at = rnd(3) ? 0x10 + rnd(0x90) : rnd(2) ? places[rnd(ARRAY_COUNT(places))] : 0x100 + rnd(0x80);

        f->config[at] = (uint8_t)rnd(256);
        f->writable[at] = (uint8_t)rnd(256);
    }
}

static void noise(struct fake_pci *f)
{
    uint32_t size = rnd(2) ? 256 : 4096;

    for (uint32_t i = 4; i < size; i++) {
        f->config[i] = (uint8_t)rnd(256);
        f->writable[i] = (uint8_t)(rnd(2) ? rnd(256) : 0);
        f->clears[i] = (uint8_t)(rnd(4) ? 0 : rnd(256));
    }
    f->config[PCI_HEADER_TYPE] &= (uint8_t)(rnd(3) ? PCI_HEADER_MULTI | 1 : 0xff);
    f->config[PCI_CLASS + 2] = (uint8_t)(1 + rnd(4));
    f->config[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
}

static void plausible(struct fake_pci *f, uint32_t n)
{
    uint32_t shift = rnd(3) ? 12 : 0;

    if (!rnd(4))
        fake_pci_bridge(f, (uint8_t)rnd(6), (uint8_t)rnd(8));
    fake_pci_bar(f, 0, 0xc0000000 + n * 0x1000000, 16ull << (shift + rnd(21 - shift)), rnd(2) ? 0 : FAKE_PCI_BAR_64);
    fake_pci_bar(f, 2, 0x4000000000 + n * 0x100000000, 16ull << rnd(30), FAKE_PCI_BAR_64);
    fake_pci_express(f, rnd(4) ? 0 : rnd(12), rnd(2));
    fake_pci_msix(f, 1 + rnd(2048), rnd(4) ? 0 : rnd(8), rnd(0x8000) & ~7u, rnd(4) ? 0 : rnd(8), rnd(0x10000) & ~7u);
    fake_pci_msi(f, 1u << rnd(6), rnd(2), rnd(2));
    fake_pci_acs(f, 0x7f, 0);
}

static void machine(void)
{
    for (uint32_t n = 0; n < FUNCTIONS; n++) {
        uint16_t bdf = HV_PCI_BDF(rnd(5), rnd(3), rnd(2) ? 0 : rnd(8));
        struct fake_pci *f;

        if (fake_pci_find(0, bdf))
            continue;
        f = fake_pci_add(0, bdf, (uint16_t)(1 + rnd(0xfff0)), (uint16_t)rnd(0x10000), 0x020000);
        if (rnd(4))
            plausible(f, n);
        else
            noise(f);
        if (!rnd(3))
            spoil(f);
        if (!rnd(3))
            f->on_read = flicker;
    }
}

static void check_bar(const struct pci_device *d, uint32_t slot)
{
    const struct pci_bar *b = &d->bars[slot];

    if (!b->size)
        return;
    assert_int_equal(b->size & (b->size - 1), 0);
    assert_false(b->is_64bit && slot == PCI_BARS - 1);
    assert_true(b->size < 1ull << 40);
    if (b->is_io)
        return;
    assert_true(b->address && b->address % b->size == 0 && b->address + b->size <= pci_address_limit());
    for (uint32_t i = 0; i < PCI_BARS; i++) {
        const struct pci_bar *c = &d->bars[i];

        assert_true(i == slot || !c->size || c->is_io || c->address + c->size <= b->address ||
                    b->address + b->size <= c->address);
    }
}

static void check_passed(const struct pci_device *d)
{
    const struct pci_msix *m = &d->msix;

    assert_int_equal(d->header, 0);
    for (uint32_t i = 0; i < PCI_BARS; i++)
        check_bar(d, i);
    if (!m->cap)
        return;
    assert_true(m->cap >= 0x40 && m->cap + 12 <= 256 && m->table_bar < PCI_BARS && m->pba_bar < PCI_BARS);
    assert_true(m->count >= 1 && m->table_offset + m->count * 16ull <= d->bars[m->table_bar].size);
    assert_true(m->pba_offset + (m->count + 63ull) / 64 * 8 <= d->bars[m->pba_bar].size);
}

static void garbage(void **unused)
{
    const char *seed = getenv("SEED");
    unsigned passed = 0, refused = 0;

    (void)unused;
    state = 0x9e3779b97f4a7c15 ^ (seed && *seed ? strtoull(seed, NULL, 0) : 0);
    for (unsigned n = 0; n < MACHINES; n++) {
        fake_reset();
        machine();
        fake_pci_start(rnd(4) ? FAKE_PCI_ECAM | FAKE_PCI_PORTS : FAKE_PCI_PORTS);
        assert_int_equal(pci_scan(), HV_OK);
        for (const struct pci_device *d = pci_first(); d; d = d->next) {
            for (const struct pci_device *b = d, *above; (above = b->bridge); b = above) {
                assert_true(above->secondary > above->address.bdf >> 8 && above->last >= above->secondary);
                assert_true(b->address.bdf >> 8 >= above->secondary && b->address.bdf >> 8 <= above->last);
            }
            pci_find_capability(&d->address, (uint8_t)rnd(256));
            pci_find_extended(&d->address, (uint16_t)rnd(32));
            if (pci_refusal(d)) {
                refused++;
                continue;
            }
            passed++;
            check_passed(d);
        }
        pci_forget();
        fake_assert_clean();
    }
    print_message("# %u functions refused, %u not\n", refused, passed);
    assert_true(passed > MACHINES / 4 && refused > MACHINES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {UNIT_TEST(garbage)};

    return cmocka_run_group_tests_name("machines of garbage", tests, NULL, NULL);
}
