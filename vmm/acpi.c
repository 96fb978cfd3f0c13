/* SPDX-License-Identifier: MIT */
/*
 * The ACPI tables (ACPI 5.1): RSDP, XSDT, FADT, FACS, MADT, MCFG, and the DSDT from dsdt.asl. Where devices are comes
 * from vmm/devices.h.
 */
#include <vmm/acpi.h>
#include <vmm/bytes.h>
#include <vmm/devices.h>
#include <vmm/system.h>

#define PACKED __attribute__((packed))

#define OEM_ID       'B', 'a', 'r', 'e', 'W', 'H'
#define OEM_TABLE_ID 'B', 'a', 'r', 'e', 'W', 'H', 'P', ' '

struct header { /* ACPI 5.2.6 */
    char signature[4];
    uint32_t length;
    uint8_t revision, checksum;
    char oem_id[6], oem_table_id[8];
    uint32_t oem_revision;
    char creator_id[4];
    uint32_t creator_revision;
} PACKED;
_Static_assert(sizeof(struct header) == 36, "ACPI 5.2.6");

struct address { /* 5.2.3.2 */
    uint8_t space, bit_width, bit_offset, access_size;
    uint64_t address;
} PACKED;
#define SPACE_IO    1
#define ACCESS_BYTE 1
#define ACCESS_WORD 2
#define ACCESS_LONG 3

struct rsdp { /* 5.2.5.3 */
    char signature[8];
    uint8_t checksum; /* of the first 20 bytes */
    char oem_id[6];
    uint8_t revision;
    uint32_t rsdt, length;
    uint64_t xsdt;
    uint8_t extended_checksum, reserved[3];
} PACKED;
_Static_assert(sizeof(struct rsdp) == 36, "ACPI 5.2.5.3");

#define XSDT_TABLES 3

struct xsdt {
    struct header header;
    uint64_t tables[XSDT_TABLES];
} PACKED;

struct fadt { /* 5.2.9 */
    struct header header;
    uint32_t firmware_control, dsdt;
    uint8_t reserved0, profile;
    uint16_t sci;
    uint32_t smi_command;
    uint8_t acpi_enable, acpi_disable, s4bios, pstate_control;
    uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer, gpe0, gpe1;
    uint8_t pm1_event_length, pm1_control_length, pm2_control_length, pm_timer_length, gpe0_length, gpe1_length;
    uint8_t gpe1_base, cstate_control;
    uint16_t c2_latency, c3_latency, flush_size, flush_stride;
    uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
    uint16_t boot_arch;
    uint8_t reserved1;
    uint32_t flags;
    struct address reset;
    uint8_t reset_value;
    uint16_t arm_boot_arch;
    uint8_t minor_revision;
    uint64_t x_firmware_control, x_dsdt;
    struct address x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control, x_pm2_control, x_pm_timer, x_gpe0,
        x_gpe1;
    struct address sleep_control, sleep_status;
} PACKED;
_Static_assert(offsetof(struct fadt, flags) == 112 && offsetof(struct fadt, x_dsdt) == 140 &&
                   offsetof(struct fadt, x_pm_timer) == 208 && sizeof(struct fadt) == 268,
               "ACPI 5.2.9");

#define BOOT_LEGACY_DEVICES (1u << 0)
#define BOOT_NO_VGA         (1u << 2) /* bit 1, an 8042, is clear: only its reset line is there */

#define FLAG_WBINVD       (1u << 0)
#define FLAG_C1           (1u << 2)
#define FLAG_POWER_BUTTON (1u << 4) /* 1: no fixed button */
#define FLAG_SLEEP_BUTTON (1u << 5) /* 1: no fixed button */
#define FLAG_TIMER_32     (1u << 8)
#define FLAG_RESET        (1u << 10)
#define FLAG_HEADLESS     (1u << 12)

#define NO_C_STATE         0xffff
#define PM1_EVENT_LENGTH   4
#define PM1_CONTROL_LENGTH 2
#define PM_TIMER_LENGTH    4

struct facs { /* 5.2.10; no checksum */
    char signature[4];
    uint32_t length, hardware_signature, waking_vector, lock, flags;
    uint64_t x_waking_vector;
    uint8_t version, reserved[31];
} PACKED;
_Static_assert(sizeof(struct facs) == 64, "ACPI 5.2.10");

/* MADT (5.2.12): what it is made of. */
struct madt {
    struct header header;
    uint32_t lapic, flags;
} PACKED;
#define LAPIC_BASE       0xfee00000u
#define MADT_PCAT_COMPAT 1u /* the 8259s are there, masked: their lines have numbers all the same */

struct madt_lapic {
    uint8_t type, length, processor, id;
    uint32_t flags;
} PACKED;
struct madt_ioapic {
    uint8_t type, length, id, reserved;
    uint32_t address, gsi_base;
} PACKED;
struct madt_override {
    uint8_t type, length, bus, source;
    uint32_t gsi;
    uint16_t flags;
} PACKED;
struct madt_nmi {
    uint8_t type, length, processor;
    uint16_t flags;
    uint8_t lint;
} PACKED;
_Static_assert(sizeof(struct madt_lapic) == 8 && sizeof(struct madt_ioapic) == 12 &&
                   sizeof(struct madt_override) == 10 && sizeof(struct madt_nmi) == 6,
               "ACPI 5.2.12");
#define LAPIC_ENABLED     1u
#define ACTIVE_HIGH_LEVEL 0x000d /* MPS INTI flags: polarity 01, trigger mode 11 */
#define ALL_PROCESSORS    0xff

struct mcfg { /* PCI Firmware Specification 3.0, 4.1.2 */
    struct header header;
    uint64_t reserved0;
    uint64_t base;
    uint16_t segment;
    uint8_t first_bus, last_bus;
    uint32_t reserved1;
} PACKED;
_Static_assert(sizeof(struct mcfg) == 60, "PCI Firmware Specification 4.1.2");

/* --------------------------------------------------------------------------------------- writing */

/* The area, filled from its begin. */
struct tables {
    const struct memory *memory;
    uint64_t next, end;
    bool full;
};

static uint8_t checksum(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    uint8_t sum = 0;

    while (size--)
        sum += *bytes++;
    return (uint8_t)-sum;
}

static struct header header(const char signature[4], uint8_t revision, size_t length)
{
    struct header h = {.length = (uint32_t)length,
                       .revision = revision,
                       .oem_id = {OEM_ID},
                       .oem_table_id = {OEM_TABLE_ID},
                       .oem_revision = 1,
                       .creator_id = {'B', 'W', 'H', 'P'},
                       .creator_revision = 1};

    __builtin_memcpy(h.signature, signature, sizeof(h.signature));
    return h;
}

/* At a multiple of 64, as the FACS needs it; returns where. */
static uint64_t put(struct tables *t, const void *data, size_t size)
{
    uint64_t at = bytes_align_up(t->next, 64);

    if (t->end < at || t->end - at < size || !memory_write(t->memory, at, data, size)) {
        t->full = true;
        return 0;
    }
    t->next = at + size;
    return at;
}

/* The same for a table with a header, whose checksum is still to come. */
static uint64_t put_table(struct tables *t, void *table, size_t size)
{
    struct header *h = table;

    h->checksum = 0;
    h->checksum = checksum(table, size);
    return put(t, table, size);
}

static struct address port(uint32_t address, uint8_t bytes)
{
    static const uint8_t access[] = {0, ACCESS_BYTE, ACCESS_WORD, 0, ACCESS_LONG};

    return (struct address){
        .space = SPACE_IO, .bit_width = (uint8_t)(bytes * 8), .access_size = access[bytes], .address = address};
}

/* -------------------------------------------------------------------------------------- the tables */

/* ACPI mode is on from the begin: there is no SMI command. */
static uint64_t put_fadt(struct tables *t, uint64_t facs, uint64_t dsdt)
{
    struct fadt fadt = {
        .header = header("FACP", 5, sizeof(fadt)),
        .firmware_control = (uint32_t)facs,
        .dsdt = (uint32_t)dsdt,
        .sci = ACPI_SCI_IRQ,
        .pm1a_event = PM_BASE + PM_EVENT,
        .pm1a_control = PM_BASE + PM_CONTROL,
        .pm_timer = PM_BASE + PM_TIMER,
        .pm1_event_length = PM1_EVENT_LENGTH,
        .pm1_control_length = PM1_CONTROL_LENGTH,
        .pm_timer_length = PM_TIMER_LENGTH,
        .c2_latency = NO_C_STATE,
        .c3_latency = NO_C_STATE,
        .boot_arch = BOOT_LEGACY_DEVICES | BOOT_NO_VGA,
        .flags =
            FLAG_WBINVD | FLAG_C1 | FLAG_POWER_BUTTON | FLAG_SLEEP_BUTTON | FLAG_TIMER_32 | FLAG_RESET | FLAG_HEADLESS,
        .reset = port(RESET_PORT, 1),
        .reset_value = RESET_VALUE,
        .minor_revision = 1,
        .x_dsdt = dsdt,
        .x_pm1a_event = port(PM_BASE + PM_EVENT, PM1_EVENT_LENGTH),
        .x_pm1a_control = port(PM_BASE + PM_CONTROL, PM1_CONTROL_LENGTH),
        .x_pm_timer = port(PM_BASE + PM_TIMER, PM_TIMER_LENGTH),
    };

    /* 32 bits of status and enable: two registers of 16 bits */
    fadt.x_pm1a_event.access_size = ACCESS_WORD;
    return put_table(t, &fadt, sizeof(fadt));
}

static uint64_t put_facs(struct tables *t)
{
    const struct facs facs = {.signature = {'F', 'A', 'C', 'S'}, .length = sizeof(facs), .version = 2};

    return put(t, &facs, sizeof(facs));
}

#define MADT_PROCESSORS_MAX 255u

static uint64_t put_madt(struct tables *t, uint32_t processors)
{
    struct {
        struct madt madt;
        struct madt_ioapic ioapic;
        struct madt_override timer, sci;
        struct madt_nmi nmi;
        struct madt_lapic lapics[MADT_PROCESSORS_MAX];
    } PACKED table = {
        .madt = {.lapic = LAPIC_BASE, .flags = MADT_PCAT_COMPAT},
        .ioapic = {.type = 1, .length = sizeof(table.ioapic), .address = (uint32_t)IOAPIC_BASE},
        .timer = {.type = 2, .length = sizeof(table.timer), .source = 0, .gsi = PIT_IRQ_PIN},
        .sci = {.type = 2,
                .length = sizeof(table.sci),
                .source = ACPI_SCI_IRQ,
                .gsi = ACPI_SCI_IRQ,
                .flags = ACTIVE_HIGH_LEVEL},
        .nmi = {.type = 4, .length = sizeof(table.nmi), .processor = ALL_PROCESSORS, .lint = 1},
    };
    size_t size = sizeof(table) - (MADT_PROCESSORS_MAX - processors) * sizeof(table.lapics[0]);

    for (uint32_t i = 0; i < processors; i++)
        table.lapics[i] = (struct madt_lapic){
            .length = sizeof(table.lapics[i]), .processor = (uint8_t)i, .id = (uint8_t)i, .flags = LAPIC_ENABLED};
    table.madt.header = header("APIC", 3, size);
    return put_table(t, &table, size);
}

static uint64_t put_mcfg(struct tables *t)
{
    struct mcfg mcfg = {.header = header("MCFG", 1, sizeof(mcfg)),
                        .base = PCI_ECAM_BASE,
                        .last_bus = (uint8_t)(PCI_ECAM_SIZE / MEMORY_MIB - 1)};

    return put_table(t, &mcfg, sizeof(mcfg));
}

static void fill_rsdp(struct rsdp *rsdp, uint64_t xsdt)
{
    *rsdp = (struct rsdp){.signature = {'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '},
                          .oem_id = {OEM_ID},
                          .revision = 2,
                          .length = sizeof(*rsdp),
                          .xsdt = xsdt};
    rsdp->checksum = checksum(rsdp, 20);
    rsdp->extended_checksum = checksum(rsdp, sizeof(*rsdp));
}

/* The RSDP stands at the area's begin: systems without a better way look for it at multiples of 16 there. */
bool acpi_write(const struct memory *memory, uint32_t processors, uint64_t *rsdp)
{
    struct tables t = {memory, MEMORY_TABLES + sizeof(struct rsdp), MEMORY_TABLES + MEMORY_TABLES_SIZE, false};
    struct xsdt xsdt = {.header = header("XSDT", 1, sizeof(xsdt))};
    uint64_t facs = put_facs(&t), dsdt = put(&t, acpi_dsdt, acpi_dsdt_size);
    struct rsdp root;

    if (processors > MADT_PROCESSORS_MAX) {
        system_print("vmm: ACPI tables for %u processors: at most %u\n", processors, MADT_PROCESSORS_MAX);
        return false;
    }
    xsdt.tables[0] = put_fadt(&t, facs, dsdt);
    xsdt.tables[1] = put_madt(&t, processors);
    xsdt.tables[2] = put_mcfg(&t);
    fill_rsdp(&root, put_table(&t, &xsdt, sizeof(xsdt)));
    *rsdp = MEMORY_TABLES;
    if (!t.full && memory_write(memory, *rsdp, &root, sizeof(root)))
        return true;
    system_print("vmm: the ACPI tables do not fit 0x%x bytes of the guest's memory\n", MEMORY_TABLES_SIZE);
    return false;
}
