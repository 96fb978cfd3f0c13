/* SPDX-License-Identifier: MIT */
/*
 * AMD-Vi's DMA remapping: the table of devices (AMD-IOV 2.2.2), which says by whose page tables a requester's addresses
 * are translated, and the caches of both.
 */
#include "amdvi.h"

struct amdvi_table *amdvi_devices(uint16_t segment)
{
    struct amdvi_unit *u = amdvi.units;

    while (u->acpi->function.segment != segment)
        u++;
    return &u->devices;
}

uint64_t *amdvi_dte(uint16_t segment, uint16_t device)
{
    uint64_t *words = amdvi_devices(segment)->words;

    return words ? &words[device * AMDVI_DTE_WORDS] : NULL;
}

static void write_word(uint64_t *p, uint64_t word)
{
    __atomic_store_n(p, word, __ATOMIC_RELEASE);
}

/*
 * First word of an entry without rights. That alone blocks; with an empty table of pages besides, units that look at
 * rights only while they walk tables report it, too.
 */
static uint64_t blocked(void)
{
    return AMDVI_DTE_V | AMDVI_DTE_TV | FIELD_PUT(AMDVI_DTE_MODE, amdvi.format.levels) | amdvi.nothing.pa;
}

enum hv_status amdvi_devices_make(uint16_t segment)
{
    struct amdvi_table *devices = amdvi_devices(segment);

    if (devices->words)
        return HV_OK;
    if (amdvi_table_make(&amdvi.nothing, 1) != HV_OK || amdvi_table_make(devices, AMDVI_DEVTAB_PAGES) != HV_OK)
        return HV_E_NO_MEMORY;
    for (uint32_t id = 0; id < AMDVI_DEVICES; id++) {
        const struct hv_pci_address requester = {segment, (uint16_t)id};

        devices->words[id * AMDVI_DTE_WORDS] = blocked();
        devices->words[id * AMDVI_DTE_WORDS + 2] = amdvi_irq_blocked(&requester);
    }
    return HV_OK;
}

/* ---------------------------------------------------------------------------------- caches */

static struct amdvi_command forget_device(uint16_t device)
{
    return (struct amdvi_command){FIELD_PUT(AMDVI_CMD_CODE, AMDVI_INV_DEVICE) | FIELD_PUT(AMDVI_CMD_DEVICE, device), 0};
}

static struct amdvi_command forget_pages(uint64_t domain, uint64_t pages)
{
    return (struct amdvi_command){FIELD_PUT(AMDVI_CMD_CODE, AMDVI_INV_PAGES) | FIELD_PUT(AMDVI_CMD_DOMAIN, domain),
                                  pages};
}

void amdvi_forget(struct amdvi_unit *u, uint16_t device)
{
    const struct amdvi_command command = forget_device(device);

    if (u->is_on)
        amdvi_invalidate(u, &command, 1);
}

/* A requester's entry, and what its domain has in the unit's TLB. */
static void forget_attached(struct amdvi_unit *u, uint16_t device, uint64_t domain)
{
    const struct amdvi_command commands[] = {forget_device(device), forget_pages(domain, AMDVI_INV_EVERYTHING)};

    if (u->is_on)
        amdvi_invalidate(u, commands, ARRAY_COUNT(commands));
}

/*
 * The pages [gpa, gpa + size) by the smallest aligned power of 2 that has them all. Its size is told by the lowest 0
 * among the address bits from 12 on (AMD-IOV 2.4.3).
 */
static uint64_t pages_of(hv_gpa_t gpa, uint64_t size)
{
    uint64_t differ = (gpa ^ (gpa + size - 1)) / HV_PAGE_SIZE, block;

    if (gpa + size < gpa)
        return AMDVI_INV_EVERYTHING;
    if (!differ)
        return (gpa & AMDVI_INV_ADDRESS) | AMDVI_INV_TABLES;
    block = BIT64(63 - __builtin_clzll(differ)) * HV_PAGE_SIZE; /* half of it */
    if (block >= AMDVI_INV_BLOCK_MAX)
        return AMDVI_INV_EVERYTHING;
    return (ALIGN_DOWN(gpa, 2 * block) | (block - HV_PAGE_SIZE)) | AMDVI_INV_SIZE | AMDVI_INV_TABLES;
}

void amdvi_flush(const struct iommu_domain *d, hv_gpa_t gpa, uint64_t size)
{
    const struct amdvi_command command = forget_pages(d->id, size ? pages_of(gpa, size) : 0);

    for (struct amdvi_unit *u = amdvi.units; size && u < amdvi.units + amdvi.ivrs.count; u++) {
        if (!u->is_on)
            continue;
        amdvi_invalidate(u, &command, 1);
        amdvi_faults_resume(u);
    }
}

/* ----------------------------------------------------------------------------------- attach */

/* The two words of an entry that say where DMA goes. */
struct place {
    uint64_t low, domain;
};

static struct place place_of(const struct iommu_domain *d)
{
    if (!d)
        return (struct place){blocked(), 0};
    return (struct place){
        .low = AMDVI_DTE_V | AMDVI_DTE_TV | FIELD_PUT(AMDVI_DTE_MODE, d->npt.format->levels) | d->npt.root_pa |
               AMDVI_DTE_IR | AMDVI_DTE_IW,
        .domain = d->id,
    };
}

static bool is_blocked(uint64_t low)
{
    return !(low & (AMDVI_DTE_IR | AMDVI_DTE_IW));
}

/* Both words change, and the requester is blocked in between. */
static void move(struct amdvi_unit *u, uint16_t device, struct place to)
{
    uint64_t *dte = amdvi_dte(u->acpi->function.segment, device), domain = dte[1];

    if (dte[0] == to.low && domain == to.domain)
        return;
    if (!is_blocked(dte[0])) {
        write_word(&dte[0], blocked());
        forget_attached(u, device, domain);
    }
    write_word(&dte[1], to.domain);
    write_word(&dte[0], to.low);
    amdvi_forget(u, device);
}

/*
 * An ID under which requests of several requesters may come goes where all of them go that are not blocked. If these
 * are different places it is blocked: what comes can be anybody's.
 */
static void settle_alias(struct amdvi_unit *u, uint16_t alias)
{
    uint16_t segment = u->acpi->function.segment;
    struct place place = place_of(NULL);

    for (uint32_t id = 0; (id = ivrs_next_aliased(&amdvi.ivrs, segment, alias, id)) < AMDVI_DEVICES; id++) {
        const uint64_t *dte = amdvi_dte(segment, (uint16_t)id);

        if (is_blocked(dte[0]))
            continue;
        if (!is_blocked(place.low) && (dte[0] != place.low || dte[1] != place.domain)) {
            place = place_of(NULL);
            break;
        }
        place = (struct place){dte[0], dte[1]};
    }
    move(u, alias, place);
}

enum hv_status amdvi_attach(const struct hv_pci_address *requester, const struct iommu_domain *d)
{
    uint16_t alias = requester->bdf;
    struct amdvi_unit *u = amdvi_unit_of(requester, &alias);

    if (!u)
        return HV_E_NOT_PRESENT;
    if (!d && !amdvi_dte(requester->segment, requester->bdf))
        return HV_OK; /* nothing was ever attached */
    if (amdvi_devices_make(requester->segment) != HV_OK)
        return HV_E_NO_MEMORY;
    move(u, requester->bdf, place_of(d));
    if (alias != requester->bdf)
        settle_alias(u, alias);
    amdvi_faults_resume(u);
    return HV_OK;
}

/* --------------------------------------------------------------------------------- on and off */

void amdvi_dma_off(struct amdvi_unit *u)
{
    if (u->devices.words)
        amdvi_irq_off(u->acpi->function.segment);
    amdvi_table_free(&u->devices, AMDVI_DEVTAB_PAGES);
}

/* ------------------------------------------------------------------------------- page tables */

#define LEVELS_USUAL    4u
#define LEVEL_BITS_LAST 48u /* what addresses have with so many */

/*
 * As many levels as partitions have; one more where the machine's own addresses need it. Rights to execute mean nothing
 * to devices: they are taken, and not found again. DMA snoops even if the device asks for the contrary: a guest must
 * not be able to see what the caches hide.
 */
void amdvi_format_init(unsigned levels, unsigned phys_bits)
{
    struct npt_format *f = &amdvi.format;
    uint64_t read = AMDVI_PTE_P | AMDVI_PTE_R, write = AMDVI_PTE_P | AMDVI_PTE_W;

    *f = (struct npt_format){.name = "AMD-Vi", .max_leaf_level = 3};
    f->levels = phys_bits > LEVEL_BITS_LAST ? levels : LEVELS_USUAL;
    f->present = AMDVI_PTE_P;
    f->address = BITS64(phys_bits - 1, 12);
    f->table = f->rights_mask = read | write;
    f->leaf = AMDVI_PTE_FC;
    f->next_level = AMDVI_PTE_NEXT;
    f->link = AMDVI_PTE_LINK;
    f->rights[NPT_READ] = f->rights[NPT_READ | NPT_EXECUTE] = read;
    f->rights[NPT_WRITE] = f->rights[NPT_WRITE | NPT_EXECUTE] = write;
    f->rights[NPT_READ | NPT_WRITE] = f->rights[NPT_RIGHTS] = read | write;
}
