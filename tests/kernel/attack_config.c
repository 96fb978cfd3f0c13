/* SPDX-License-Identifier: MIT */
/*
 * Attacks by a guest on the registers of the device that it was given: configuration space, by ports and by ECAM, and
 * the MSI-X table, whose physical ones are the host's. The host looks at the device itself.
 */
#include "attack.h"
#include "physical.h"
#include "told.h"
#include <hv/host.h>
#include <kernel/memory.h>

#define PORT_ADDRESS 0xcf8
#define PORT_DATA    0xcfc
#define PORT_DEVICE  0x80000800u /* 0:1.0, where the VMM shows it */

#define CONFIG_COMMAND 0x04
#define CONFIG_BARS    0x10
#define COMMAND_MASTER 0x04u
#define COMMAND_ON     0x06u
#define CAP_POWER      0x01
#define CAP_MSIX       0x11

static struct attack at;
static struct physical physical;

static const uint32_t patterns[] = {0xffffffff, 0, 0xfee00000, 0x5aa5a55a, 0x00100406};

/* ------------------------------------------------------------------------- configuration space */

static struct script_op out(uint32_t size, uint32_t offset, uint32_t value)
{
    static const uint64_t kinds[] = {[1] = SCRIPT_OUT8, [2] = SCRIPT_OUT16, [4] = SCRIPT_OUT32};

    return (struct script_op){kinds[size], PORT_DATA + offset % 4, value, 0};
}

static struct script_op store(uint32_t size, uint32_t offset, uint32_t value)
{
    static const uint64_t kinds[] = {[1] = SCRIPT_WRITE8, [2] = SCRIPT_WRITE16, [4] = SCRIPT_WRITE32};

    return (struct script_op){kinds[size], FORWARD_ECAM + offset, value, 0};
}

static void write_by_ports(uint32_t size, uint32_t pattern)
{
    forward_begin(&at.d);
    for (uint32_t offset = 0; offset < 256; offset += size) {
        forward_add(&at.d, (struct script_op)DO_OUT(32, PORT_ADDRESS, PORT_DEVICE | (offset & 0xfc)));
        forward_add(&at.d, out(size, offset, pattern));
    }
    forward_run(&at.d);
}

static void write_by_ecam(uint32_t size, uint32_t pattern)
{
    forward_begin(&at.d);
    for (uint32_t offset = 0; offset < (size == 4 ? 4096u : 256u); offset += size)
        forward_add(&at.d, store(size, offset, pattern));
    forward_run(&at.d);
}

static bool find_disk(struct hv_pci_address *a)
{
    return forward_find_class(DISK_CLASS, a);
}

static bool edu_works(void)
{
    const uint64_t from = DISK_DATA, to = DISK_DATA + 0x1000;

    for (uint32_t i = 0; i < 64; i++)
        *(uint8_t *)vm_at(&at.vm, from + i) = (uint8_t)(i + 1);
    return attack_copy_in(&at, from, 64) && attack_copy_out(&at, to, 64) &&
           EXPECT_BYTES(vm_at(&at.vm, to), vm_at(&at.vm, from), 64);
}

static bool disk_works(void)
{
    struct disk n;

    return disk_start(&n, &at.d) && disk_identify(&n, DISK_DATA) &&
           EXPECT_EQ(*vm_u32(&at.vm, DISK_DATA) & 0xffff, 0x1b36);
}

static const struct config_row {
    const char *name;
    bool (*find)(struct hv_pci_address *a);
    void (*write)(uint32_t size, uint32_t pattern);
    bool (*works)(void);
} config_rows[] = {
    {"a function with MSI, by ports", attack_find_edu, write_by_ports, edu_works},
    {"a function with MSI, by ECAM", attack_find_edu, write_by_ecam, edu_works},
    {"a function with MSI-X, by ports", find_disk, write_by_ports, disk_works},
    {"a function with MSI-X, by ECAM", find_disk, write_by_ecam, disk_works},
};

/* What was put off and moved is as a driver wants it. */
static void repair(void)
{
    uint32_t power = passed_find(&at.d.device, CAP_POWER);

    if (power)
        passed_write(&at.d.device, WHvVpciConfigSpace, power + 4, 0, 2);
    for (uint32_t bar = 0; bar < 6; bar++)
        passed_write(&at.d.device, WHvVpciConfigSpace, CONFIG_BARS + 4 * bar, 0, 4);
    passed_write(&at.d.device, WHvVpciConfigSpace, CONFIG_COMMAND, COMMAND_ON, 2);
}

static void write_all(const struct config_row *row)
{
    for (size_t i = 0; i < COUNT(patterns) && !test_failed(); i++) {
        for (uint32_t size = 4; size; size /= 2) {
            char text[40];

            row->write(size, patterns[i]);
            ksnprintf(text, sizeof(text), "0x%x, size %u", patterns[i], size);
            physical_expect_same(&physical, text);
            attack_expect_others(&at);
        }
    }
}

TEST_ROWS(attack_config, "iommu: attack: a guest writes all of the configuration space of", config_rows)
{
    struct hv_pci_address a;

    if (told_missing(true))
        SKIP("no IOMMU for this: %s", told_missing(true));
    if (!row->find(&a))
        SKIP("no such device (make test-kernel IOMMU=intel|amd)");
    if (attack_begin(&at, &a) && EXPECT(physical_open(&physical, &a))) {
        write_all(row);
        told_expect(&a, "write of 0x");
        repair();
        physical_expect_same(&physical, "repaired");
        row->works();
        physical_close(&physical);
    }
    attack_end(&at);
}

/* ------------------------------------------------------------------------------ the command register */

/* Of the physical one: what is decoded stays so, and no line is raised. */
#define COMMAND_WRITABLE 0x0547u
#define COMMAND_SEEN     0x0407u
#define COMMAND_KEPT     0x0402u /* memory, no INTx */

static const struct command_row {
    const char *name;
    uint16_t written;
    bool is_master;
} command_rows[] = {
    {"all ones", 0xffff, true},
    {"all zeroes", 0x0000, false},
    {"INTx on, memory off", 0x0005, true},
    {"memory alone", 0x0002, false},
};

TEST_ROWS(attack_command, "iommu: attack: a guest writes the command register", command_rows)
{
    struct script_op op = store(2, CONFIG_COMMAND, row->written);
    struct hv_pci_address a;

    if (told_missing(true))
        SKIP("no IOMMU for this: %s", told_missing(true));
    if (!find_disk(&a))
        SKIP("no such device (make test-kernel IOMMU=intel|amd)");
    if (attack_begin(&at, &a) && EXPECT(physical_open(&physical, &a))) {
        forward_do(&at.d, &op, 1);
        EXPECT_EQ(physical.config[CONFIG_COMMAND / 4] & COMMAND_SEEN,
                  COMMAND_KEPT | (row->is_master ? COMMAND_MASTER : 0));
        physical_expect_same(&physical, row->name);
        if (row->written & ~COMMAND_WRITABLE)
            told_expect(&a, "write of 0xffff to configuration register 0x4 blocked: bits 0xfab8 are not its guest's");
        physical_close(&physical);
    }
    attack_end(&at);
}

/* ------------------------------------------------------------------------------------ the MSI-X table */

#define ENTRY_SIZE  16u
#define ENTRY_WORDS 4u
#define PAGE        0x1000u

/* An entry's message, as a guest forges it: plain, to the host's vector; bit 14 is in no message of the library's. */
#define FORGED_ADDRESS (0xfee00000 | hv_host_apic_id(0) << 12)
#define FORGED_DATA    (0x4000u | at.vector)

static struct {
    uint32_t offset, count; /* of the table, in the BAR */
    volatile uint32_t *words;
    uint64_t size;
} table;

static bool table_open(void)
{
    uint32_t cap = physical_capability(&physical, CAP_MSIX);

    if (!EXPECT(cap) || !EXPECT_EQ(physical.config[cap / 4 + 1] & 7, 0))
        return false;
    table.offset = physical.config[cap / 4 + 1];
    table.count = (physical.config[cap / 4] >> 16 & 0x7ff) + 1;
    table.size = (table.count * ENTRY_SIZE + PAGE - 1) / PAGE * PAGE;
    table.words = mmio_map(physical_bar(&physical, 0) + table.offset, table.size);
    return EXPECT(table.words);
}

/* None of the guest's words is there; those that are open are the library's. */
static uint32_t expect_table_kept(void)
{
    uint32_t open = 0;

    for (uint32_t n = 0; n < table.count; n++) {
        volatile uint32_t *entry = table.words + n * ENTRY_WORDS;

        open += !(entry[3] & 1);
        if (entry[2] == FORGED_DATA || entry[1] ||
            (entry[0] & ~0xfffffu) != (entry[3] & 1 ? entry[0] & 0xfee00000 : 0xfee00000))
            FAIL("entry %u is 0x%x 0x%x 0x%x 0x%x", n, entry[0], entry[1], entry[2], entry[3]);
    }
    return open;
}

static void write_entries(void)
{
    uint64_t at_table = FORWARD_BAR + table.offset;

    forward_begin(&at.d);
    for (uint32_t n = 0; n < table.count; n++) {
        forward_add(&at.d, (struct script_op)DO_WRITE(64, at_table + n * ENTRY_SIZE, FORGED_ADDRESS));
        forward_add(&at.d, (struct script_op)DO_WRITE(32, at_table + n * ENTRY_SIZE + 8, FORGED_DATA));
        forward_add(&at.d, (struct script_op)DO_WRITE(32, at_table + n * ENTRY_SIZE + 12, 0));
    }
    forward_run(&at.d);
}

/* What begins in the page before it, which is mapped, and ends in the table; what is odd; and the pending bits. */
static void write_neighbours(void)
{
    uint64_t at_table = FORWARD_BAR + table.offset;
    const struct script_op ops[] = {
        DO_WRITE(64, at_table - 4, 0x12345678ffffffff),
        DO_WRITE(32, at_table - 2, 0xabcdffff),
        DO_WRITE(64, at_table + 4, 0x55aa55aa55aa55aa),
        DO_WRITE(16, at_table + 1, 0xffff),
        DO_WRITE(8, at_table + 3, 0x12),
        DO_WRITE(64, at_table + PAGE, ~0ull),
        DO_WRITE(64, at_table + PAGE - 4, ~0ull),
        DO_WRITE(64, at_table + table.count * ENTRY_SIZE, ~0ull),
    };

    forward_do(&at.d, ops, COUNT(ops));
}

static void enable(bool is_on)
{
    struct script_op op = store(2, passed_find(&at.d.device, CAP_MSIX) + 2, is_on ? 0x8000 : 0);

    forward_do(&at.d, &op, 1);
}

/* The disk raises the first one: it is the guest's, and not the host's, whose vector it bears. */
static void raise(void)
{
    struct disk n;

    attack_take_interrupts(&at, at.vector);
    if (disk_start(&n, &at.d) && disk_identify(&n, DISK_DATA))
        EXPECT_GE(attack_taken(&at), 1);
    EXPECT_EQ(at.arrived, 0);
}

static void attack_the_table(void)
{
    write_entries();
    EXPECT_EQ(expect_table_kept(), 0); /* MSI-X is off */
    EXPECT_GE(at.d.forwarded, 3 * table.count);
    write_neighbours();
    EXPECT_EQ(expect_table_kept(), 0);
    write_entries();
    enable(true);
    EXPECT_GE(expect_table_kept(), 1);
    write_neighbours();
    write_entries();
    EXPECT_GE(expect_table_kept(), 1);
    raise();
    attack_expect_others(&at);
    enable(false);
    EXPECT_EQ(expect_table_kept(), 0);
    physical_expect_same(&physical, "the table");
}

TEST(attack_table, "iommu: attack: a guest writes an MSI-X table with messages to the host, and what is around it")
{
    struct hv_pci_address a;

    if (told_missing(true))
        SKIP("no IOMMU for this: %s", told_missing(true));
    if (!find_disk(&a))
        SKIP("no such device (make test-kernel IOMMU=intel|amd)");
    if (attack_begin(&at, &a) && EXPECT(physical_open(&physical, &a))) {
        if (table_open()) {
            attack_the_table();
            mmio_unmap((void *)(uintptr_t)table.words, table.size);
        }
        physical_close(&physical);
    }
    attack_end(&at);
}
