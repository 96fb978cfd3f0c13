/* SPDX-License-Identifier: MIT */
/* BARs: their sizes, found without a trace; those that can not be are refused. */
#include "unit.h"
#include <fake_pci.h>
#include <pci/device.h>
#include <pci/pci_regs.h>
#include <string.h>

#define TIB (1ull << 40)
#define GIB (1ull << 30)

static struct fake_pci *f;

static void begin(void)
{
    f = fake_pci_add(0, HV_PCI_BDF(0, 1, 0), 0x1234, 0x5678, 0x020000);
}

static const struct pci_device *scan(void)
{
    fake_pci_start(FAKE_PCI_ECAM);
    assert_int_equal(pci_scan(), HV_OK);
    return pci_find(&f->address);
}

static const char *refusal(void)
{
    return pci_refusal(scan());
}

static void expect_bar(const struct pci_bar *bar, uint64_t address, uint64_t size, uint32_t flags)
{
    assert_int_equal(bar->address, address);
    assert_int_equal(bar->size, size);
    assert_int_equal(bar->is_io, (flags & FAKE_PCI_BAR_IO) != 0);
    assert_int_equal(bar->is_64bit, (flags & FAKE_PCI_BAR_64) != 0);
    assert_int_equal(bar->is_prefetchable, (flags & FAKE_PCI_BAR_PREFETCH) != 0);
}

/* ------------------------------------------------------------------------------------ sizes */

static void all_kinds(void **state)
{
    const struct pci_device *d;

    (void)state;
    begin();
    fake_pci_bar(f, 0, 0xf0000000, 16, 0);
    fake_pci_bar(f, 1, 0xe0000000, 0x10000000, FAKE_PCI_BAR_PREFETCH);
    fake_pci_bar(f, 2, 0xc000, 0x20, FAKE_PCI_BAR_IO);
    fake_pci_bar(f, 3, 0x4000000000, 8 * GIB, FAKE_PCI_BAR_64 | FAKE_PCI_BAR_PREFETCH);
    fake_pci_bar(f, 5, 0xf1000000, 0x1000000, 0);
    fake_pci_bar(f, FAKE_PCI_BAR_ROM, 0xf2000000, 0x40000, 0);
    d = scan();
    assert_int_equal(d->bars[0].size, 0); /* nobody has asked */
    assert_null(pci_refusal(d));
    expect_bar(&d->bars[0], 0xf0000000, 16, 0);
    expect_bar(&d->bars[1], 0xe0000000, 0x10000000, FAKE_PCI_BAR_PREFETCH);
    expect_bar(&d->bars[2], 0xc000, 0x20, FAKE_PCI_BAR_IO);
    expect_bar(&d->bars[3], 0x4000000000, 8 * GIB, FAKE_PCI_BAR_64 | FAKE_PCI_BAR_PREFETCH);
    expect_bar(&d->bars[4], 0, 0, 0);
    expect_bar(&d->bars[5], 0xf1000000, 0x1000000, 0);
    expect_bar(&d->rom, 0xf2000000, 0x40000, 0);
    pci_forget();
}

static void every_size(void **state)
{
    (void)state;
    for (uint32_t shift = 4; shift < 40; shift++) {
        uint64_t size = 1ull << shift, address = HV_MAX(size, 0x4000000000);

        fake_reset();
        begin();
        /* the CPU of the fake host has 39 bits; ECAM is at 30_0000_0000h */
        fake_pci_bar(f, 2, address, size, FAKE_PCI_BAR_64);
        if (address + size > 1ull << 39) {
            assert_non_null(strstr(refusal(), "beyond"));
        } else {
            assert_null(refusal());
            expect_bar(&pci_first()->bars[2], address, size, FAKE_PCI_BAR_64);
        }
        pci_forget();
    }
}

/* Ports have 16 bits; devices may leave out the others. */
static void io_of_16_bits(void **state)
{
    (void)state;
    begin();
    fake_pci_bar(f, 0, 0xc000, 0x100, FAKE_PCI_BAR_IO);
    fake_pci_let(f, PCI_BAR0, 4, 0x0000ff00);
    fake_pci_bar(f, 1, 0xff80, 0x80, FAKE_PCI_BAR_IO);
    assert_null(refusal());
    expect_bar(&pci_first()->bars[0], 0xc000, 0x100, FAKE_PCI_BAR_IO);
    expect_bar(&pci_first()->bars[1], 0xff80, 0x80, FAKE_PCI_BAR_IO);
    pci_forget();
}

/* One that nobody has put anywhere keeps the others from being decoded, and is not one itself. */
static void io_nowhere(void **state)
{
    (void)state;
    begin();
    fake_pci_bar(f, 0, 0xc000, 0x100, FAKE_PCI_BAR_IO);
    fake_pci_bar(f, 1, 0xf0000000, 0x1000, 0);
    fake_pci_bar(f, 2, 0, 0x80, FAKE_PCI_BAR_IO);
    assert_null(refusal());
    expect_bar(&pci_first()->bars[0], 0, 0, 0);
    expect_bar(&pci_first()->bars[1], 0xf0000000, 0x1000, 0);
    expect_bar(&pci_first()->bars[2], 0, 0, 0);
    pci_forget();
}

static uint32_t order; /* 1: decoding went off, 2: a BAR was written, 3: decoding is on again */

static void watch(struct fake_pci *g, uint32_t offset, uint32_t size, uint32_t value)
{
    bool decodes = fake_pci_get(g, PCI_COMMAND, 2) & (PCI_COMMAND_IO | PCI_COMMAND_MEMORY);

    (void)value;
    assert_false(fake_irqs_on());
    assert_false(offset <= PCI_STATUS + 1 && offset + size > PCI_STATUS); /* writes there clear bits */
    if (offset == PCI_COMMAND) {
        assert_int_equal(order, decodes ? 2 : 0);
        order++;
        assert_true(fake_pci_get(g, PCI_COMMAND, 2) & PCI_COMMAND_MASTER);
        return;
    }
    assert_true((offset >= PCI_BAR0 && offset < PCI_BAR0 + 24) || offset == PCI_ROM);
    assert_false(decodes);
    order = 2;
}

/* While a BAR holds ones the function decodes nothing; then all is as before. */
static void no_traces(void **state)
{
    uint8_t before[4096];

    (void)state;
    begin();
    fake_pci_bar(f, 0, 0xf0000000, 0x1000, 0);
    fake_pci_bar(f, 2, 0x4000000000, 0x1000, FAKE_PCI_BAR_64);
    fake_pci_bar(f, 4, 0xc000, 0x20, FAKE_PCI_BAR_IO);
    fake_pci_bar(f, FAKE_PCI_BAR_ROM, 0xf2000000, 0x40000, 1);
    fake_pci_set(f, PCI_COMMAND, 4, 0xf9100000 | 0x0507);
    memcpy(before, f->config, sizeof(before));
    f->on_write = watch;
    order = 0;
    assert_null(refusal());
    assert_int_equal(order, 3);
    assert_memory_equal(before, f->config, sizeof(before));
    assert_int_equal(f->writes, 2 + 7 * 3);
    pci_refusal(pci_first()); /* once is enough */
    assert_int_equal(f->writes, 2 + 7 * 3);
    pci_forget();
}

/* Who is refused by what the scan saw is left alone. */
static void not_of_bridges(void **state)
{
    (void)state;
    begin();
    fake_pci_bridge(f, 1, 1);
    fake_pci_bar(f, 0, 0xf0000000, 0x1000, 0);
    assert_non_null(refusal());
    assert_int_equal(f->writes, 0);
    pci_forget();
}

/* -------------------------------------------------------------------------------- refusals */

static void refused(void **state)
{
    static const struct {
        uint32_t bar;
        uint64_t address, size;
        uint32_t flags;
        const char *why;
    } rows[] = {
        {0, 0, 0, FAKE_PCI_BAR_64, "no size"},
        {0, 0, 0, FAKE_PCI_BAR_PREFETCH, "no size"},
        {0, 0, 0, FAKE_PCI_BAR_IO, "no size"},
        {0, 0xf0000000, 0x3000, 0, "no power of two"},
        {0, 0x4000000000, 3 * GIB, FAKE_PCI_BAR_64, "no power of two"},
        {0, 0xc000, 0x30, FAKE_PCI_BAR_IO, "no power of two"},
        {5, 0xf0000000, 0x1000, FAKE_PCI_BAR_64, "no room"},
        {0, 0xf0000000, 0x1000, 1 << 1, "of a kind"},
        {0, 0xf0000000, 0x1000, 3 << 1, "of a kind"},
        {0, 0, 0x1000, 0, "no address"},
        {0, 0, TIB, FAKE_PCI_BAR_64, "too large"},
        {0, TIB, TIB, FAKE_PCI_BAR_64, "too large"},
        {0, 1ull << 63, 1ull << 63, FAKE_PCI_BAR_64, "too large"},
        {0, 1ull << 39, 0x1000, FAKE_PCI_BAR_64, "beyond"},
        {0, 0xfffffffffffff000, 0x1000, FAKE_PCI_BAR_64, "beyond"},
        {0, 0xf0001000, 0x2000, 0, "do not change"},
        {0, 0xf0000000, 0, 0, "do not change"},
        {0, 0xc002, 0x20, FAKE_PCI_BAR_IO, NULL}, /* a reserved bit */
        {0, 0xc010, 0x20, FAKE_PCI_BAR_IO, "do not change"},
        {0, 0x0020, 0x10, FAKE_PCI_BAR_IO, "machine's own"},
        {0, 0x0cf8, 0x8, FAKE_PCI_BAR_IO, "machine's own"},
        {0, 0x1000, 0x8, FAKE_PCI_BAR_IO, NULL},
        {0, 0x10000, 0x100, FAKE_PCI_BAR_IO, "beyond"}, /* of which a CPU would see ports 0 to ffh */
        {0, 0xfffffff0, 0x10, FAKE_PCI_BAR_IO, "beyond"},
        {0, 0xfee00000, 0x1000, 0, "interrupts or"},
        {0, 0xe0000000, 0x20000000, 0, "interrupts or"},
        {0, 0xfec00000, 0x1000, 0, "machine's own"},
        {0, 0xfffff000, 0x1000, 0, "machine's own"},
        {0, 0xfebff000, 0x1000, 0, NULL},
        {0, 0x100000000, 0x1000, FAKE_PCI_BAR_64, NULL},
        {0, 0x3000000000, 0x1000, FAKE_PCI_BAR_64, "or configuration"},
        {2, 0x1000000000, 64 * GIB, FAKE_PCI_BAR_64, NULL},
        {2, 0x0800000000, 32 * GIB, FAKE_PCI_BAR_64, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *why;

        fake_reset();
        begin();
        fake_pci_bar(f, rows[i].bar, rows[i].address, rows[i].size, rows[i].flags);
        why = refusal();
        if (!rows[i].why != !why || (why && !strstr(why, rows[i].why)))
            fail_msg("row %u: %s; should say: %s", (unsigned)i, why ? why : "not refused", rows[i].why);
        pci_forget();
    }
}

static void over_ram(void **state)
{
    static const struct {
        uint64_t address, size, ram, ram_size;
    } rows[] = {
        {0x4000000000, 0x1000, 0x4000000000, 0x1000},
        {0x4000000000, 16, 0x4000000000, 0x1000},
        {0x4000000000, 0x1000000, 0x4000fff000, 0x1000}, /* the last page */
        {0x4000000000, 4 * GIB, 0x4080000000, 0x200000},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        void *ram;

        fake_reset();
        begin();
        fake_pci_bar(f, 0, rows[i].address, rows[i].size, FAKE_PCI_BAR_64);
        ram = fake_ram_alloc(rows[i].ram_size, rows[i].ram);
        assert_non_null(strstr(refusal(), "RAM"));
        pci_forget();
        fake_ram_free(ram);
        assert_int_equal(pci_scan(), HV_OK);
        assert_null(pci_refusal(pci_first()));
        pci_forget();
    }
}

static void over_each_other(void **state)
{
    (void)state;
    begin();
    fake_pci_bar(f, 0, 0xf0000000, 0x2000, 0);
    fake_pci_bar(f, 1, 0xf0001000, 0x1000, 0);
    assert_non_null(strstr(refusal(), "another"));
    pci_forget();
    fake_pci_bar(f, 1, 0xf0002000, 0x1000, 0);
    fake_pci_bar(f, 2, 0xc000, 0x100, FAKE_PCI_BAR_IO);
    fake_pci_bar(f, 3, 0xc080, 0x20, FAKE_PCI_BAR_IO);
    assert_int_equal(pci_scan(), HV_OK);
    assert_non_null(strstr(pci_refusal(pci_first()), "another"));
    pci_forget();
    fake_pci_bar(f, 3, 0xc100, 0x20, FAKE_PCI_BAR_IO);
    assert_int_equal(pci_scan(), HV_OK);
    assert_null(pci_refusal(pci_first()));
    pci_forget();
}

/* Also over what others have, whose sizes nobody has asked for. */
static void over_others(void **state)
{
    static const struct {
        uint64_t address, size, other;
        bool is_bridge, is_on, shared;
    } rows[] = {
        {0xf0000000, 0x4000, 0xf0003000, false, true, true},
        {0xf0000000, 0x4000, 0xf0003000, false, false, false}, /* it does not decode */
        {0xf0000000, 0x4000, 0xf0004000, false, true, false},
        {0xf0000000, 0x4000, 0xeffff000, false, true, false},
        {0xf0000000, 0x4000, 0xf0000000, true, true, true},
        {0x4000000000, 0x4000, 0x4000001000, false, true, true},
        {0x4000000000, 0x4000, 0x1000, false, true, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fake_pci *other;
        const char *why;

        fake_reset();
        begin();
        fake_pci_bar(f, 2, rows[i].address, rows[i].size, FAKE_PCI_BAR_64);
        other = fake_pci_add(0, HV_PCI_BDF(0, 2, 0), 0x1234, 0x5678, 0x020000);
        if (rows[i].is_bridge)
            fake_pci_bridge(other, 1, 1);
        fake_pci_bar(other, 0, rows[i].other, 0x1000, FAKE_PCI_BAR_64);
        fake_pci_set(other, PCI_COMMAND, 2, rows[i].is_on ? PCI_COMMAND_MEMORY : 0);
        why = refusal();
        if (rows[i].shared != (why && strstr(why, "another")))
            fail_msg("row %u: %s", (unsigned)i, why ? why : "not refused");
        assert_int_equal(other->writes, 0);
        pci_forget();
    }
}

#define IO       PCI_BRIDGE_IO
#define MEMORY   PCI_BRIDGE_MEMORY
#define PREFETCH PCI_BRIDGE_PREFETCH
#define NOTHING  0xfff00000, 0xfffff

/* The function is behind two bridges, the upper one of which forwards everything but this; or the lower one. */
static void behind_bridges(void **state)
{
    static const struct {
        uint32_t window;
        uint64_t first, last, address, size;
        uint32_t flags;
        bool is_forwarded;
    } rows[] = {
        {MEMORY, 0xf0000000, 0xf00fffff, 0xf0000000, 0x100000, 0, true},
        {MEMORY, 0xf0000000, 0xf00fffff, 0xf0100000, 0x1000, 0, false},
        {MEMORY, 0xf0000000, 0xf00fffff, 0xefff0000, 0x10000, 0, false},
        {MEMORY, 0xf0000000, 0xf00fffff, 0xf0000000, 0x200000, 0, false},
        {MEMORY, NOTHING, 0xf0000000, 0x1000, 0, false},
        {PREFETCH, 0xf0000000, 0xf00fffff, 0xf0000000, 0x1000, 0, true},
        {PREFETCH, 0x4000000000, 0x40ffffffff, 0x4000000000, 4 * GIB, FAKE_PCI_BAR_64, true},
        {PREFETCH, 0x4000000000, 0x40ffffffff, 0x4000000000, 8 * GIB, FAKE_PCI_BAR_64, false},
        {PREFETCH, 0x4000000000, 0x40ffffffff, 0x4100000000, 0x1000, FAKE_PCI_BAR_64, false},
        {PREFETCH, 0x4000000000, 0x40ffffffff, 0xf0000000, 0x1000, 0, false},
        {IO, 0xc000, 0xcfff, 0xc000, 0x1000, FAKE_PCI_BAR_IO, true},
        {IO, 0xc000, 0xcfff, 0xd000, 0x20, FAKE_PCI_BAR_IO, false},
        {IO, 0x1c000, 0x1cfff, 0xc000, 0x20, FAKE_PCI_BAR_IO, false},
        {IO, 0xf000, 0xfff, 0xc000, 0x20, FAKE_PCI_BAR_IO, false},
    };

    (void)state;
    for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
        uint32_t row = (uint32_t)i / 2;
        struct fake_pci *bridges[2];
        const char *why;

        fake_reset();
        bridges[0] = fake_pci_add(0, HV_PCI_BDF(0, 1, 0), 0x1234, 0x5678, 0x060400);
        bridges[1] = fake_pci_add(0, HV_PCI_BDF(1, 0, 0), 0x1234, 0x5678, 0x060400);
        fake_pci_bridge(bridges[0], 1, 2);
        fake_pci_bridge(bridges[1], 2, 2);
        for (uint32_t window = MEMORY; !(rows[row].flags & FAKE_PCI_BAR_IO) && window <= PREFETCH; window += 4)
            fake_pci_window(bridges[i % 2], window, NOTHING);
        fake_pci_window(bridges[i % 2], rows[row].window, rows[row].first, rows[row].last);
        f = fake_pci_add(0, HV_PCI_BDF(2, 0, 0), 0x1234, 0x5678, 0x020000);
        fake_pci_bar(f, 2, rows[row].address, rows[row].size, rows[row].flags);
        why = refusal();
        if (rows[row].is_forwarded != !(why && strstr(why, "forward")))
            fail_msg("row %u, bridge %u: %s", row, (unsigned)i % 2, why ? why : "not refused");
        pci_forget();
    }
}

/* One that decodes nothing, one that leaves room for ISA cards, one that takes what is left over. */
static void kinds_of_bridges(void **state)
{
    static const struct {
        uint32_t address, flags, command, control, prog_if;
        bool is_forwarded;
    } rows[] = {
        {0xf0000000, 0, PCI_COMMAND_IO, 0, 0, false},
        {0xf0000000, 0, PCI_COMMAND_MEMORY, PCI_BRIDGE_CONTROL_ISA, 0, true},
        {0xc000, FAKE_PCI_BAR_IO, PCI_COMMAND_MEMORY, 0, 0, false},
        {0xc000, FAKE_PCI_BAR_IO, PCI_COMMAND_IO, PCI_BRIDGE_CONTROL_ISA, 0, true},
        {0xc0c0, FAKE_PCI_BAR_IO, PCI_COMMAND_IO, PCI_BRIDGE_CONTROL_ISA, 0, true},
        {0xc100, FAKE_PCI_BAR_IO, PCI_COMMAND_IO, PCI_BRIDGE_CONTROL_ISA, 0, false},
        {0xe000, FAKE_PCI_BAR_IO, PCI_COMMAND_IO, 0, 0, false},
        {0xe000, FAKE_PCI_BAR_IO, PCI_COMMAND_IO, 0, 1, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fake_pci *bridge;
        const char *why;

        fake_reset();
        bridge = fake_pci_add(0, HV_PCI_BDF(0, 1, 0), 0x1234, 0x5678, 0x060400);
        fake_pci_bridge(bridge, 1, 1);
        fake_pci_window(bridge, IO, 0xc000, 0xcfff);
        fake_pci_set(bridge, PCI_COMMAND, 2, rows[i].command);
        fake_pci_set(bridge, PCI_BRIDGE_CONTROL, 2, rows[i].control);
        fake_pci_set(bridge, PCI_CLASS, 1, rows[i].prog_if);
        f = fake_pci_add(0, HV_PCI_BDF(1, 0, 0), 0x1234, 0x5678, 0x020000);
        fake_pci_bar(f, 2, rows[i].address, 0x40, rows[i].flags);
        why = refusal();
        if (rows[i].is_forwarded != !(why && strstr(why, "forward")))
            fail_msg("row %u: %s", (unsigned)i, why ? why : "not refused");
        pci_forget();
    }
}

static void ports_over_others(void **state)
{
    static const struct {
        uint64_t other;
        uint32_t flags, command;
        bool shared;
    } rows[] = {
        {0xc020, FAKE_PCI_BAR_IO, PCI_COMMAND_IO, true},
        {0xc020, FAKE_PCI_BAR_IO, PCI_COMMAND_MEMORY, false}, /* it does not decode */
        {0xc040, FAKE_PCI_BAR_IO, PCI_COMMAND_IO, false},
        {0xc020, 0, PCI_COMMAND_IO | PCI_COMMAND_MEMORY, false}, /* that is memory */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fake_pci *other;
        const char *why;

        fake_reset();
        begin();
        fake_pci_bar(f, 2, 0xc000, 0x40, FAKE_PCI_BAR_IO);
        other = fake_pci_add(0, HV_PCI_BDF(0, 2, 0), 0x1234, 0x5678, 0x020000);
        fake_pci_bar(other, 0, rows[i].other, 0x10, rows[i].flags);
        fake_pci_set(other, PCI_COMMAND, 2, rows[i].command);
        why = refusal();
        if (rows[i].shared != (why && strstr(why, "another")))
            fail_msg("row %u: %s", (unsigned)i, why ? why : "not refused");
        pci_forget();
    }
}

/* One that was refused half-way is not known. */
static void over_refused_ones(void **state)
{
    struct fake_pci *other;

    (void)state;
    begin();
    fake_pci_bar(f, 0, 0xf0000000, 0x4000, 0);
    other = fake_pci_add(0, HV_PCI_BDF(0, 2, 0), 0x1234, 0x5678, 0x020000);
    fake_pci_bar(other, 0, 0, 0x1000, 0);
    fake_pci_bar(other, 1, 0xf0001000, 0x1000, 0);
    fake_pci_set(other, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    fake_pci_start(FAKE_PCI_ECAM);
    assert_int_equal(pci_scan(), HV_OK);
    assert_non_null(strstr(pci_refusal(pci_find(&other->address)), "no address"));
    assert_non_null(strstr(pci_refusal(pci_find(&f->address)), "another"));
    pci_forget();
}

/* One that is known already, and is larger. */
static void over_known_ones(void **state)
{
    struct fake_pci *other;

    (void)state;
    begin();
    fake_pci_bar(f, 0, 0xf0004000, 0x1000, 0);
    other = fake_pci_add(0, HV_PCI_BDF(0, 2, 0), 0x1234, 0x5678, 0x020000);
    fake_pci_bar(other, 0, 0xf0000000, 0x8000, 0);
    fake_pci_start(FAKE_PCI_ECAM);
    assert_int_equal(pci_scan(), HV_OK);
    assert_null(pci_refusal(pci_find(&other->address)));
    assert_non_null(strstr(pci_refusal(pci_find(&f->address)), "another"));
    pci_forget();
}

static void stuck(struct fake_pci *g, uint32_t offset, uint32_t size, uint32_t value)
{
    (void)size;
    if (offset == PCI_BAR0 && value != ~0u)
        g->config[PCI_BAR0 + 3] ^= 0x80;
}

static void leave(struct fake_pci *g, uint32_t offset, uint32_t size, uint32_t value)
{
    (void)offset, (void)size, (void)value;
    g->is_gone = true;
}

static void does_not_keep(void **state)
{
    (void)state;
    begin();
    fake_pci_bar(f, 0, 0xf0000000, 0x1000, 0);
    f->on_write = stuck;
    assert_non_null(strstr(refusal(), "keep"));
    pci_forget();
    f->on_write = leave;
    assert_int_equal(pci_scan(), HV_OK);
    assert_non_null(strstr(pci_refusal(pci_first()), "answer"));
    pci_forget();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(all_kinds),         UNIT_TEST(every_size),        UNIT_TEST(io_of_16_bits),
        UNIT_TEST(no_traces),         UNIT_TEST(not_of_bridges),    UNIT_TEST(refused),
        UNIT_TEST(over_ram),          UNIT_TEST(over_each_other),   UNIT_TEST(over_others),
        UNIT_TEST(over_known_ones),   UNIT_TEST(does_not_keep),     UNIT_TEST(io_nowhere),
        UNIT_TEST(ports_over_others), UNIT_TEST(over_refused_ones), UNIT_TEST(behind_bridges),
        UNIT_TEST(kinds_of_bridges),
    };

    return cmocka_run_group_tests_name("BARs", tests, NULL, NULL);
}
