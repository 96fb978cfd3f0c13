/* SPDX-License-Identifier: MIT */
/*
 * Attacks by a guest that drives its device itself: DMA to what is not its own memory, to registers of the machine, and
 * to the addresses of messages (FEExxxxxh), where a write is an interrupt (SDM 3 11.11, VT-d 3.14).
 */
#include "attack.h"
#include "edu.h"
#include "physical.h"
#include "told.h"
#include <hv/host.h>
#include <kernel/clock.h>
#include <kernel/memory.h>
#include <kernel/thread.h>

static struct attack at;
static struct physical own, disk; /* its own configuration space, and the disk's, which is the host's */

#define GPA_WORDS DISK_DATA /* what it sends */
#define GPA_BACK  (DISK_DATA + 0x1000u)
#define BYTES     64u

/* The buffer of the device holds this, again and again. */
static bool load(uint32_t word)
{
    for (uint32_t i = 0; i < BYTES; i += sizeof(word))
        *vm_u32(&at.vm, GPA_WORDS + i) = word;
    return attack_copy_in(&at, GPA_WORDS, BYTES);
}

/* Of one requester no more than five lines a second are shown. */
static void pause(void)
{
    thread_sleep_ns(250 * NS_PER_MS);
}

/* ---------------------------------------------------------------------------- memory and registers */

static uint8_t *victim;

static uint64_t host_memory(void)
{
    return virt_to_phys(victim);
}

static uint64_t other_guest(void)
{
    return virt_to_phys(at.other.memory) + VM_FREE;
}

/* Its memory has addresses of its own, those of the host's are none of them. */
static uint64_t own_memory(void)
{
    return virt_to_phys(at.vm.memory) + VM_FREE;
}

static uint64_t own_config(void)
{
    return own.ecam;
}

static uint64_t own_bar(void)
{
    return physical_bar(&own, 0);
}

static uint64_t disk_config(void)
{
    return disk.ecam;
}

#define CAP_MSIX 0x11

static uint64_t disk_table(void)
{
    return physical_bar(&disk, 0) + (disk.config[physical_capability(&disk, CAP_MSIX) / 4 + 1] & ~7u);
}

/* Where QEMU's VT-d and AMD-Vi units have theirs. */
static uint64_t unit_registers(void)
{
    return strcmp(hv_iommu_platform()->name, "VT-d") == 0 ? 0xfed90000 : 0xfed80000;
}

static uint64_t ioapic(void)
{
    return 0xfec00000;
}

static uint64_t nowhere(void)
{
    return 1ull << 52;
}

/* Pages: a unit need not tell more of an address. */
static const struct memory_row {
    const char *name;
    uint64_t (*address)(void);
} memory_rows[] = {
    {"the host's memory", host_memory},
    {"another guest's memory", other_guest},
    {"its own memory by the host's address", own_memory},
    {"its own configuration space", own_config},
    {"its own registers", own_bar},
    {"a disk's configuration space", disk_config},
    {"a disk's MSI-X table", disk_table},
    {"registers of the IOMMU", unit_registers},
    {"the IOAPIC", ioapic},
    {"beyond what there is", nowhere},
};

/* What can be looked at, is what it was. */
struct sight {
    uint8_t host[BYTES], other[BYTES], own[BYTES];
    uint32_t table[BYTES / 4];
};

static void look(struct sight *s)
{
    volatile uint32_t *table = mmio_map(disk_table() & ~(PAGE_SIZE - 1), PAGE_SIZE);

    memset(s, 0, sizeof(*s));
    memcpy(s->host, victim, BYTES);
    memcpy(s->other, at.other.memory + VM_FREE, BYTES);
    memcpy(s->own, at.vm.memory + VM_FREE, BYTES);
    for (uint32_t i = 0; EXPECT(table) && i < BYTES / 4; i++)
        s->table[i] = table[i];
    if (table)
        mmio_unmap((void *)(uintptr_t)table, PAGE_SIZE);
}

static void fill(void)
{
    for (uint32_t i = 0; i < BYTES; i++) {
        victim[i] = (uint8_t)(0x10 + i);
        at.other.memory[VM_FREE + i] = (uint8_t)(0x20 + i);
        at.vm.memory[VM_FREE + i] = (uint8_t)(0x30 + i);
    }
}

/* What it reads is not there: its buffer keeps what it had, or is all zeroes or ones. */
static void expect_nothing_read(uint32_t had)
{
    if (!attack_copy_out(&at, GPA_BACK, BYTES))
        return;
    for (uint32_t i = 0; i < BYTES; i += 4) {
        uint32_t word = *vm_u32(&at.vm, GPA_BACK + i);

        EXPECT(word == had || word == 0 || word == ~0u);
    }
}

static void attack_memory(const struct memory_row *row)
{
    uint64_t address = row->address();
    struct sight before, after;

    fill();
    look(&before);
    if (!load(0xa5a5a5a5) || !attack_copy_out(&at, address, BYTES))
        return;
    told_expect_dma(&at.d.address, "write to", address);
    look(&after);
    EXPECT_BYTES(&after, &before, sizeof(after));
    physical_expect_same(&own, row->name);
    physical_expect_same(&disk, row->name);
    pause();
    if (!attack_copy_in(&at, address, BYTES))
        return;
    told_expect_dma(&at.d.address, "read of", address);
    expect_nothing_read(0xa5a5a5a5);
    attack_expect_others(&at);
    pause();
}

/* One after the other: giving and taking the device takes seconds. */
TEST(attack_dma_memory,
     "iommu: attack: a guest's device reads and writes memory and registers that are not the guest's")
{
    struct hv_pci_address a, d;

    if (told_missing(true))
        SKIP("no IOMMU for this: %s", told_missing(true));
    if (!attack_find_edu(&a) || !forward_find_class(DISK_CLASS, &d))
        SKIP("no such devices (make test-kernel IOMMU=intel|amd)");
    victim = page_alloc();
    REQUIRE(victim);
    if (attack_begin(&at, &a) && EXPECT(physical_open(&own, &a)) && EXPECT(physical_open(&disk, &d))) {
        for (size_t i = 0; i < COUNT(memory_rows) && !test_failed(); i++) {
            test_note("%s", memory_rows[i].name);
            attack_memory(&memory_rows[i]);
        }
    }
    physical_close(&own);
    physical_close(&disk);
    attack_end(&at);
    page_free(victim);
}

/* ------------------------------------------------------------------------- addresses of messages */

#define MESSAGES   0xfee00000u
#define REMAPPABLE (1u << 4) /* VT-d 5.1.2.2 */

static struct hv_msi_message plain(uint32_t data)
{
    return (struct hv_msi_message){MESSAGES | (uint64_t)hv_host_apic_id(0) << 12, data};
}

static struct hv_msi_message plain_fixed(void)
{
    return plain(at.vector);
}

static struct hv_msi_message plain_to_all(void)
{
    return (struct hv_msi_message){MESSAGES | 0xff << 12, at.vector};
}

static struct hv_msi_message plain_nmi(void)
{
    return plain(0x400);
}

static struct hv_msi_message plain_init(void)
{
    return plain(0x500);
}

/* Once it was the host's: nothing is there any more. */
static struct hv_msi_message old_entry(void)
{
    struct hv_msi_message m = {0};
    struct edu e;

    if (EXPECT(edu_find(0, &e)) && EXPECT_EQ(hv_remap_msi(&e.address, 0, 0, at.vector, &m), HV_OK))
        hv_remap_msi_free(&e.address, 0);
    return m;
}

static struct edu of_host;

/* The host's device has it, and it works. */
static struct hv_msi_message of_another_device(void)
{
    struct hv_msi_message m = {0};

    if (EXPECT(edu_find(0, &of_host)))
        EXPECT_EQ(hv_remap_msi(&of_host.address, 0, 0, at.vector, &m), HV_OK);
    return m;
}

static void free_of_host(void)
{
    hv_remap_msi_free(&of_host.address, 0);
}

/* The last of all entries, by either kind of unit. */
static struct hv_msi_message no_entry(void)
{
    return (struct hv_msi_message){MESSAGES | 0x7ff << 5 | REMAPPABLE, 0x7ff};
}

static const struct message_row {
    const char *name;
    struct hv_msi_message (*message)(void);
    void (*end)(void);
    const char *lax; /* why QEMU's VT-d does not block it */
} message_rows[] = {
    {"a plain interrupt", plain_fixed, NULL, LETS_PLAIN},
    {"a plain interrupt to all", plain_to_all, NULL, LETS_PLAIN},
    {"a plain NMI", plain_nmi, NULL, LETS_PLAIN},
    {"a plain INIT", plain_init, NULL, LETS_PLAIN},
    {"an entry that was freed", old_entry, NULL, NULL},
    {"an entry that never was", no_entry, NULL, NULL},
    {"another device's entry", of_another_device, free_of_host, NO_SENDER},
};

static void forge(const struct message_row *row)
{
    struct hv_msi_message m = row->message();

    if (!test_failed() && load(m.data))
        attack_copy_out(&at, m.address, sizeof(m.data));
    thread_sleep_ns(50 * NS_PER_MS);
    EXPECT_EQ(at.arrived, 0);
    told_expect_interrupt(&at.d.address);
    if (row->end)
        row->end();
    attack_expect_others(&at);
}

TEST_ROWS(attack_dma_message, "iommu: attack: a guest's device writes to the address of messages", message_rows)
{
    struct hv_pci_address a;

    if (told_is_lax() && row->lax)
        SKIP("QEMU: %s", row->lax);
    if (told_missing(true))
        SKIP("no IOMMU for this: %s", told_missing(true));
    if (!attack_find_edu(&a))
        SKIP("no such device (make test-kernel IOMMU=intel|amd)");
    if (attack_begin(&at, &a))
        forge(row);
    attack_end(&at);
}

/* ---------------------------------------------------------------- memory where messages go */

/* A client may map what it likes there: it is reached by processors, never by devices. */
#define GPA_THERE (MESSAGES + 0x10000u)

static void attack_there(uint8_t *page)
{
    const uint32_t word = 0x7ff; /* with bit 4 of the address, an entry that never was */

    memset(page, 0x77, PAGE_SIZE);
    EXPECT_OK(
        WHvMapGpaRange(at.vm.partition, page, GPA_THERE, PAGE_SIZE, WHvMapGpaRangeFlagRead | WHvMapGpaRangeFlagWrite));
    if (load(word) && attack_copy_out(&at, GPA_THERE | REMAPPABLE, sizeof(word)))
        EXPECT_EQ(*(uint32_t *)(page + REMAPPABLE), 0x77777777);
    EXPECT_EQ(at.arrived, 0);
    /* the local APIC's page, by which registers of the host's could be read */
    if (load(word) && attack_copy_in(&at, MESSAGES, BYTES))
        expect_nothing_read(word);
    attack_expect_others(&at);
    EXPECT_OK(WHvUnmapGpaRange(at.vm.partition, GPA_THERE, PAGE_SIZE));
}

TEST(attack_dma_there,
     "iommu: attack: a guest's device reaches neither memory nor registers at the address of messages")
{
    struct hv_pci_address a;
    uint8_t *page;

    if (told_missing(true))
        SKIP("no IOMMU for this: %s", told_missing(true));
    if (!attack_find_edu(&a))
        SKIP("no such device (make test-kernel IOMMU=intel|amd)");
    page = page_alloc();
    REQUIRE(page);
    if (attack_begin(&at, &a))
        attack_there(page);
    attack_end(&at);
    page_free(page);
}
