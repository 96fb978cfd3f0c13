/* SPDX-License-Identifier: MIT */
/*
 * Interrupts of the host's own devices: remapping entries that it asked for, while units remap; else the formats that
 * they have without (SDM 3A 11.11, 82093AA).
 */
#include "iommu_parts.h"
#include <hv/base/bits.h>

#define MSI_ADDRESS      0xfee00000u
#define MSI_DESTINATION  BITS64(19, 12)
#define REDIRECT_LOW     BIT64(13)
#define REDIRECT_LEVEL   BIT64(15)
#define REDIRECT_APIC_ID BITS64(63, 56)
#define APIC_ID_MAX      0xfeu /* that these have room for; 255 is all */
#define VECTOR_FIRST     16u

enum source { SOURCE_MSI, SOURCE_IOAPIC };

/* The n-th message of a device, or pin of the IOAPIC with the ID that is in `device`. */
struct remapped {
    struct remapped *next;
    enum source source;
    struct hv_pci_address device;
    uint32_t n;
    struct iommu_irq irq;
};
static struct remapped *remapped;

static struct {
    void (*fn)(void *arg);
    void *arg;
} listener; /* iommu.mutex */

void hv_remap_on_change(void (*fn)(void *arg), void *arg)
{
    hv_mutex_lock(&iommu.mutex);
    listener.fn = fn;
    listener.arg = arg;
    hv_mutex_unlock(&iommu.mutex);
}

void iommu_remap_changed(void)
{
    void (*fn)(void *arg);
    void *arg;

    hv_mutex_lock(&iommu.mutex);
    fn = listener.fn;
    arg = listener.arg;
    hv_mutex_unlock(&iommu.mutex);
    if (fn)
        fn(arg);
}

/* ------------------------------------------------------------------------------------- entries */

static struct remapped **find(enum source source, const struct hv_pci_address *device, uint32_t n)
{
    struct remapped **at = &remapped;

    while (*at && ((*at)->source != source || (*at)->device.segment != device->segment ||
                   (*at)->device.bdf != device->bdf || (*at)->n != n))
        at = &(*at)->next;
    return at;
}

static void drop(struct remapped **at)
{
    struct remapped *r = *at;

    *at = r->next;
    iommu_irq_free_locked(&r->irq);
    hv_host_free(r, sizeof(*r));
}

/* The entry behind it, which is made if there is none. */
static enum hv_status get(const struct remapped *key, const struct hv_pci_address *requester, struct remapped **out)
{
    struct remapped *r = *find(key->source, &key->device, key->n);
    enum hv_status st;

    if (!r) {
        r = hv_host_alloc(sizeof(*r));
        if (!r)
            return HV_E_NO_MEMORY;
        *r = *key;
        st = iommu_irq_alloc_locked(requester, 1, &r->irq);
        if (st != HV_OK) {
            hv_host_free(r, sizeof(*r));
            return st;
        }
        r->next = remapped;
        remapped = r;
    }
    *out = r;
    return HV_OK;
}

static bool is_remapping(void)
{
    return iommu.is_on && iommu.remaps_interrupts && !iommu.backend->irq_alloc;
}

static bool is_valid(uint32_t cpu, uint8_t vector)
{
    return cpu < hv_host_cpu_count() && vector >= VECTOR_FIRST;
}

void iommu_remap_off(void)
{
    while (remapped)
        drop(&remapped);
}

/* ----------------------------------------------------------------------------------------- MSI */

static enum hv_status plain_msi(const struct iommu_irq_target *t, struct hv_msi_message *out)
{
    if (t->apic_id > APIC_ID_MAX)
        return HV_E_INVALID;
    *out = (struct hv_msi_message){MSI_ADDRESS | FIELD_PUT(MSI_DESTINATION, t->apic_id), t->vector};
    return HV_OK;
}

static enum hv_status remap_msi(const struct hv_pci_address *device, const struct hv_pci_address *requester,
                                uint32_t index, const struct iommu_irq_target *target, struct hv_msi_message *out)
{
    const struct remapped key = {.source = SOURCE_MSI, .device = *device, .n = index};
    struct remapped *r;
    enum hv_status st = get(&key, requester, &r);

    if (st != HV_OK)
        return st;
    iommu_irq_set(&r->irq, 0, target);
    iommu_irq_message_locked(&r->irq, 0, out);
    return HV_OK;
}

enum hv_status iommu_remap_msi(const struct hv_pci_address *device, const struct hv_pci_address *requester,
                               uint32_t index, uint32_t cpu, uint8_t vector, struct hv_msi_message *out)
{
    struct iommu_irq_target target = {.is_valid = true, .vector = vector};
    enum hv_status st;

    if (!is_valid(cpu, vector))
        return HV_E_INVALID;
    target.apic_id = hv_host_apic_id(cpu);
    hv_mutex_lock(&iommu.mutex);
    if (is_remapping())
        st = remap_msi(device, requester, index, &target, out);
    else
        st = plain_msi(&target, out);
    hv_mutex_unlock(&iommu.mutex);
    return st;
}

void hv_remap_msi_free(const struct hv_pci_address *device, uint32_t index)
{
    struct remapped **at;

    hv_mutex_lock(&iommu.mutex);
    at = find(SOURCE_MSI, device, index);
    if (*at)
        drop(at);
    hv_mutex_unlock(&iommu.mutex);
}

/* -------------------------------------------------------------------------------------- IOAPIC */

static enum hv_status plain_ioapic(const struct iommu_irq_target *t, uint64_t *entry)
{
    if (t->apic_id > APIC_ID_MAX)
        return HV_E_INVALID;
    *entry = t->vector | (t->is_low ? REDIRECT_LOW : 0) | (t->is_level ? REDIRECT_LEVEL : 0) |
             FIELD_PUT(REDIRECT_APIC_ID, t->apic_id);
    return HV_OK;
}

static enum hv_status remap_ioapic(uint8_t id, uint8_t pin, const struct iommu_irq_target *target, uint64_t *entry)
{
    const struct remapped key = {.source = SOURCE_IOAPIC, .device = {.bdf = id}, .n = pin};
    struct hv_pci_address requester;
    struct remapped *r;
    enum hv_status st = iommu_ioapic_requester(id, &requester);

    if (st == HV_OK)
        st = get(&key, &requester, &r);
    if (st != HV_OK)
        return st;
    iommu_irq_set(&r->irq, 0, target);
    *entry = iommu_ioapic_entry(&r->irq, pin, target);
    return HV_OK;
}

enum hv_status hv_remap_ioapic(uint8_t ioapic_id, uint8_t pin, uint32_t cpu, uint8_t vector, bool is_level, bool is_low,
                               uint64_t *entry)
{
    struct iommu_irq_target target = {.is_valid = true, .vector = vector, .is_level = is_level, .is_low = is_low};
    enum hv_status st;

    if (!is_valid(cpu, vector))
        return HV_E_INVALID;
    target.apic_id = hv_host_apic_id(cpu);
    hv_mutex_lock(&iommu.mutex);
    if (is_remapping())
        st = remap_ioapic(ioapic_id, pin, &target, entry);
    else
        st = plain_ioapic(&target, entry);
    hv_mutex_unlock(&iommu.mutex);
    return st;
}
