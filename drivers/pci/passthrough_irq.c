/* SPDX-License-Identifier: MIT */
/*
 * The physical interrupts behind a passed device's virtual ones. A vector becomes active when the guest first opens it:
 * it gets a host vector and a remapping entry, and its message is put into the device; from then on the device may send
 * it, and what the guest masks is kept here. It ends when the guest switches MSI or MSI-X off, or with the device.
 *
 * Where the hardware can post, and the owner says where to, the entry leads to the guest directly, past the models. So
 * only what is open is posted: a masked vector's entry leads to the host vector, which makes the pending bit.
 */
#include "config.h"
#include "passthrough_parts.h"
#include "pci_regs.h"
#include <arch/cpu.h>
#include <hv/base/assert.h>
#include <hv/base/bits.h>

#define MSI_CONTROL  2
#define MSI_ENABLE   BIT32(0)
#define MSI_COUNT    BITS32(6, 4)
#define MSI_ADDRESS  4
#define MSIX_CONTROL 2
#define MSIX_MASK    BIT32(14)
#define MSIX_ENABLE  BIT32(15)

#define ENTRY_ADDRESS 0
#define ENTRY_HIGH    4
#define ENTRY_DATA    8
#define ENTRY_CONTROL 12
#define ENTRY_MASK    BIT32(0)

/* Messages that nobody remaps (SDM 3 11.11): fixed, edge, to one APIC by its physical ID. */
#define MESSAGE_ADDRESS  0xfee00000u
#define MESSAGE_APIC     BITS32(19, 12)
#define MESSAGE_APIC_MAX 0xfeu /* 255 is all of them */

#define HOST_VECTORS 256u

static struct passthrough_vector *by_vector[HOST_VECTORS]; /* atomic */
static uint32_t active_total, entries_total;               /* atomic */

struct passthrough_vector *passthrough_by_host_vector(uint32_t host_vector)
{
    return host_vector < HOST_VECTORS ? __atomic_load_n(&by_vector[host_vector], __ATOMIC_ACQUIRE) : NULL;
}

uint32_t passthrough_irq_active(void)
{
    return __atomic_load_n(&active_total, __ATOMIC_RELAXED);
}

uint32_t passthrough_irq_entries(void)
{
    return __atomic_load_n(&entries_total, __ATOMIC_RELAXED);
}

static struct passthrough_vector *vector_of(const struct passthrough_device *d, uint32_t n)
{
    return &d->vectors[n / VECTORS_PAGE_HOLDS][n % VECTORS_PAGE_HOLDS];
}

/* Vectors that there can be. */
static uint32_t vectors_max(const struct pci_device *pci)
{
    return HV_MAX(pci->msix.cap ? pci->msix.count : 0u, pci->msi.cap ? pci->msi.count : 0u);
}

/* --------------------------------------------------------------------------- the models, locked */

static struct hv_msi_message message_of(const struct passthrough_device *d, uint32_t n)
{
    return d->mode == PASSTHROUGH_MSIX ? vmsix_message(&d->msix, n) : vmsi_message(&d->msi, n);
}

static bool raise(struct passthrough_device *d, uint32_t n)
{
    switch (d->mode) {
    case PASSTHROUGH_MSIX:
        return vmsix_raise(&d->msix, n);
    case PASSTHROUGH_MSI:
        return vmsi_raise(&d->msi, n);
    default:
        return false;
    }
}

/* Interrupt context. What is on its way when the guest switches interrupts off is dropped. */
static void on_interrupt(void *arg)
{
    struct passthrough_vector *v = arg;
    struct passthrough_device *d = v->device;
    struct hv_msi_message message = {0};
    uint64_t flags;
    bool is_sent;

    __atomic_fetch_add(&v->sending, 1, __ATOMIC_RELAXED);
    flags = hv_spin_lock(&d->models);
    is_sent = raise(d, v->index);
    if (is_sent)
        message = message_of(d, v->index);
    hv_spin_unlock(&d->models, flags);
    if (is_sent)
        d->ops->interrupt(d->owner, &message);
    __atomic_fetch_sub(&v->sending, 1, __ATOMIC_RELEASE);
}

/*
 * A guest that has masked an entry or moved it, and read it back, counts on all messages of before having arrived (PCIe
 * 5.0 2.4.1, 6.1.4.5): what goes by the old models is waited for. Who comes later has the lock after us, and sees the
 * new ones.
 */
static void wait_sent(const struct passthrough_vector *v)
{
    while (__atomic_load_n(&v->sending, __ATOMIC_ACQUIRE))
        __builtin_ia32_pause();
}

static void deliver_pending(struct passthrough_device *d, uint32_t n)
{
    uint64_t flags = hv_spin_lock(&d->models);
    bool is_taken = d->mode == PASSTHROUGH_MSIX  ? vmsix_take(&d->msix, n)
                    : d->mode == PASSTHROUGH_MSI ? vmsi_take(&d->msi, n)
                                                 : false;
    struct hv_msi_message message = is_taken ? message_of(d, n) : (struct hv_msi_message){0};

    hv_spin_unlock(&d->models, flags);
    if (is_taken)
        d->ops->interrupt(d->owner, &message);
}

/* ------------------------------------------------------------------------- the device's registers */

static void table_write(struct passthrough_device *d, uint32_t n, uint32_t field, uint32_t value)
{
    const struct pci_msix *msix = &d->pci->msix;
    uint8_t *table = passthrough_bar_at(d, msix->table_bar, msix->table_offset);

    HV_ASSERT(table); /* mapped at assignment, until the end */
    cpu_mmio_write32(table + (size_t)n * VMSIX_ENTRY_SIZE + field, value);
}

/* A read does not return before the writes ahead of it have arrived. */
static void table_flush(struct passthrough_device *d)
{
    const struct pci_msix *msix = &d->pci->msix;
    uint8_t *table = passthrough_bar_at(d, msix->table_bar, msix->table_offset);

    (void)cpu_mmio_read32(table + ENTRY_CONTROL);
}

void passthrough_irq_mask_all(struct passthrough_device *d)
{
    for (uint32_t n = 0; d->pci->msix.cap && n < d->pci->msix.count; n++)
        table_write(d, n, ENTRY_CONTROL, ENTRY_MASK);
}

static void write_entry(struct passthrough_device *d, uint32_t n, const struct hv_msi_message *message)
{
    table_write(d, n, ENTRY_CONTROL, ENTRY_MASK);
    table_write(d, n, ENTRY_ADDRESS, (uint32_t)message->address);
    table_write(d, n, ENTRY_HIGH, (uint32_t)(message->address >> 32));
    table_write(d, n, ENTRY_DATA, message->data);
    table_write(d, n, ENTRY_CONTROL, 0);
}

/* A new address alone while it is on: messages go the old or the new way. */
static void write_msi(struct passthrough_device *d, const struct hv_msi_message *message)
{
    const struct pci_msi *msi = &d->pci->msi;
    const struct hv_pci_address *a = &d->pci->address;

    pci_config_write(a, msi->cap + MSI_ADDRESS, 4, (uint32_t)message->address);
    if (msi->is_64bit)
        pci_config_write(a, msi->cap + MSI_ADDRESS + 4, 4, (uint32_t)(message->address >> 32));
    pci_config_write(a, msi->cap + (msi->is_64bit ? 12u : 8u), 2, message->data & 0xffff);
}

static void write_message(struct passthrough_device *d, uint32_t n, const struct hv_msi_message *message)
{
    if (d->mode == PASSTHROUGH_MSIX)
        write_entry(d, n, message);
    else if (n == 0)
        write_msi(d, message);
}

static void enable_msi(struct passthrough_device *d, uint32_t count)
{
    const struct pci_msi *msi = &d->pci->msi;
    uint32_t control = pci_config_read(&d->pci->address, msi->cap + MSI_CONTROL, 2) & ~(MSI_ENABLE | MSI_COUNT);

    if (count)
        control |= MSI_ENABLE | (uint32_t)FIELD_PUT(MSI_COUNT, __builtin_ctz(count));
    if (count && msi->has_mask)
        pci_config_write(&d->pci->address, msi->cap + (msi->is_64bit ? 16u : 12u), 4, 0);
    pci_config_write(&d->pci->address, msi->cap + MSI_CONTROL, 2, control);
}

static void enable_msix(struct passthrough_device *d, bool is_on)
{
    uint32_t at = d->pci->msix.cap + MSIX_CONTROL;
    uint32_t control = pci_config_read(&d->pci->address, at, 2) & ~(MSIX_ENABLE | MSIX_MASK);

    pci_config_write(&d->pci->address, at, 2, control | (is_on ? MSIX_ENABLE : 0));
}

/* ------------------------------------------------------------------------------ one vector */

static uint32_t best_cpu(struct passthrough_device *d, uint32_t n)
{
    struct hv_msi_message message;
    uint64_t flags = hv_spin_lock(&d->models);
    uint32_t cpu;

    message = message_of(d, n);
    hv_spin_unlock(&d->models, flags);
    cpu = d->ops->cpu_of(d->owner, &message);
    if (cpu >= hv_host_cpu_count() || (!d->is_remapped && hv_host_apic_id(cpu) > MESSAGE_APIC_MAX))
        cpu = 0;
    return cpu;
}

static struct hv_msi_message plain_message(const struct passthrough_vector *v)
{
    return (struct hv_msi_message){MESSAGE_ADDRESS | FIELD_PUT(MESSAGE_APIC, hv_host_apic_id(v->cpu)), v->host_vector};
}

static bool is_open(const struct passthrough_device *d, uint32_t n)
{
    return d->mode == PASSTHROUGH_MSIX ? vmsix_is_open(&d->msix, n) : vmsi_is_open(&d->msi, n);
}

static bool find_posting(struct passthrough_device *d, uint32_t n, struct passthrough_posting *out)
{
    uint64_t flags = hv_spin_lock(&d->models);
    struct hv_msi_message message = message_of(d, n);
    bool can_be = is_open(d, n);

    hv_spin_unlock(&d->models, flags);
    return can_be && d->ops->post_to(d->owner, &message, out);
}

static struct iommu_irq_target target_of(const struct passthrough_vector *v, const struct hv_pci_address *requester)
{
    struct passthrough_posting posting;

    if (v->device->ops->post_to && iommu_irq_posts(requester) && find_posting(v->device, v->index, &posting))
        return (struct iommu_irq_target){.is_valid = true, .vector = posting.vector, .posted = posting.descriptor};
    return (struct iommu_irq_target){
        .is_valid = true, .vector = (uint8_t)v->host_vector, .apic_id = hv_host_apic_id(v->cpu)};
}

static bool is_same(const struct iommu_irq_target *a, const struct iommu_irq_target *b)
{
    return a->is_valid == b->is_valid && a->vector == b->vector && a->apic_id == b->apic_id && a->posted == b->posted;
}

static void set_entry(struct passthrough_vector *v)
{
    struct passthrough_device *d = v->device;
    bool is_msix = d->mode == PASSTHROUGH_MSIX;
    const struct iommu_irq *irq = is_msix ? &v->irq : &d->msi_irq;
    struct iommu_irq_target target = target_of(v, &irq->requester);

    if (is_same(&target, &v->target))
        return;
    v->target = target;
    iommu_irq_set(irq, is_msix ? 0 : v->index, &target);
}

static void aim(struct passthrough_vector *v, uint32_t cpu)
{
    struct passthrough_device *d = v->device;
    bool moves = v->cpu != cpu;
    struct hv_msi_message message;

    v->cpu = cpu;
    if (d->is_remapped) {
        set_entry(v);
    } else if (moves) {
        message = plain_message(v);
        write_message(d, v->index, &message);
    }
}

static enum hv_status get_entries(struct passthrough_device *d, uint32_t count, struct iommu_irq *irq)
{
    struct hv_pci_address names[PCI_REQUESTERS];
    uint32_t last = pci_requesters(d->pci, names) - 1;
    enum hv_status st;

    *irq = (struct iommu_irq){0};
    if (!d->is_remapped)
        return HV_OK;
    st = iommu_irq_alloc(&names[last], count, irq);
    if (st == HV_OK)
        __atomic_fetch_add(&entries_total, count, __ATOMIC_RELAXED);
    return st;
}

static void put_entries(struct iommu_irq *irq)
{
    if (!irq->count)
        return;
    __atomic_fetch_sub(&entries_total, irq->count, __ATOMIC_RELAXED);
    iommu_irq_free(irq);
}

static void say_starved(struct passthrough_device *d)
{
    if (!d->is_starved)
        passthrough_log(d->pci, HV_LOG_WARNING, "no vectors are left for all of its interrupts: some will not come");
    d->is_starved = true;
}

static bool get_host_vector(struct passthrough_vector *v)
{
    if (v->device->active == PASSTHROUGH_VECTORS)
        return false;
    v->host_vector = hv_host_irq_alloc(on_interrupt, v);
    if (v->host_vector >= HOST_VECTORS) {
        hv_host_irq_free(v->host_vector);
        v->host_vector = 0;
    }
    return v->host_vector != 0;
}

/* Its entries are there. False: there is no vector. */
static bool activate(struct passthrough_vector *v)
{
    if (!get_host_vector(v))
        return false;
    v->is_active = true;
    v->cpu = HV_CPU_NONE;
    v->target = (struct iommu_irq_target){0};
    v->device->active++;
    __atomic_fetch_add(&active_total, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&by_vector[v->host_vector], v, __ATOMIC_RELEASE);
    aim(v, best_cpu(v->device, v->index));
    return true;
}

/* The device does not send it any more. */
static void deactivate(struct passthrough_vector *v)
{
    put_entries(&v->irq);
    if (!v->is_active)
        return;
    __atomic_store_n(&by_vector[v->host_vector], NULL, __ATOMIC_RELEASE);
    hv_host_irq_free(v->host_vector);
    __atomic_fetch_sub(&active_total, 1, __ATOMIC_RELAXED);
    v->device->active--;
    v->is_active = false;
    v->host_vector = 0;
}

/* ------------------------------------------------------------------------------- MSI-X, MSI */

static void open_entry(struct passthrough_device *d, uint32_t n)
{
    struct passthrough_vector *v = vector_of(d, n);
    struct hv_msi_message message;

    if (v->is_active || !vmsix_is_open(&d->msix, n))
        return;
    if (get_entries(d, 1, &v->irq) != HV_OK || !activate(v)) {
        put_entries(&v->irq);
        say_starved(d);
        return;
    }
    if (!d->is_remapped)
        return; /* written by aim */
    iommu_irq_message(&v->irq, 0, &message);
    write_entry(d, n, &message);
}

static void end_msix(struct passthrough_device *d)
{
    for (uint32_t n = 0; n < d->msix.count; n++)
        if (vector_of(d, n)->is_active)
            table_write(d, n, ENTRY_CONTROL, ENTRY_MASK);
    enable_msix(d, false);
    table_flush(d);
    for (uint32_t n = 0; n < d->msix.count; n++)
        deactivate(vector_of(d, n));
}

static void end_msi(struct passthrough_device *d)
{
    enable_msi(d, 0);
    put_entries(&d->msi_irq);
    for (uint32_t n = 0; n < d->pci->msi.count; n++)
        deactivate(vector_of(d, n));
}

static bool activate_messages(struct passthrough_device *d, uint32_t count)
{
    for (uint32_t n = 0; n < count; n++)
        if (!activate(vector_of(d, n)))
            return false;
    return true;
}

/* All messages or none: the device decides which ones it sends. */
static void begin_msi(struct passthrough_device *d)
{
    uint32_t count = vmsi_count(&d->msi);
    struct hv_msi_message message;

    if (get_entries(d, count, &d->msi_irq) != HV_OK || !activate_messages(d, count)) {
        end_msi(d);
        say_starved(d);
        return;
    }
    if (d->is_remapped) {
        iommu_irq_message(&d->msi_irq, 0, &message);
        write_msi(d, &message);
    }
    enable_msi(d, count);
}

static void set_mode(struct passthrough_device *d, enum passthrough_mode mode)
{
    uint64_t flags = hv_spin_lock(&d->models);

    d->mode = mode;
    hv_spin_unlock(&d->models, flags);
}

static void switch_mode(struct passthrough_device *d, enum passthrough_mode mode)
{
    if (d->mode == PASSTHROUGH_MSIX)
        end_msix(d);
    else if (d->mode == PASSTHROUGH_MSI)
        end_msi(d);
    set_mode(d, mode);
    if (mode == PASSTHROUGH_MSIX)
        enable_msix(d, true);
    else if (mode == PASSTHROUGH_MSI)
        begin_msi(d);
}

/* A guest may not enable both (PCIe 5.0 6.1.4); MSI-X goes before. */
static enum passthrough_mode wanted_mode(const struct passthrough_device *d)
{
    if (d->msix.is_enabled)
        return PASSTHROUGH_MSIX;
    return vmsi_count(&d->msi) ? PASSTHROUGH_MSI : PASSTHROUGH_NO_INTERRUPTS;
}

/* ------------------------------------------------------------------------- the guest's writes */

static void retarget(struct passthrough_vector *v)
{
    if (v->is_active)
        aim(v, best_cpu(v->device, v->index));
}

void passthrough_irq_write_table(struct passthrough_device *d, uint32_t offset, uint32_t size, uint64_t value)
{
    uint32_t n = offset / VMSIX_ENTRY_SIZE;
    uint64_t flags;

    if (vmsix_table_read(&d->msix, offset, size) == value)
        return;
    flags = hv_spin_lock(&d->models);
    vmsix_table_write(&d->msix, offset, size, value);
    hv_spin_unlock(&d->models, flags);
    if (d->mode != PASSTHROUGH_MSIX)
        return;
    wait_sent(vector_of(d, n));
    retarget(vector_of(d, n));
    open_entry(d, n);
    deliver_pending(d, n);
}

void passthrough_irq_write_control(struct passthrough_device *d, uint16_t value)
{
    uint16_t before = vmsix_control(&d->msix);
    uint64_t flags = hv_spin_lock(&d->models);

    vmsix_set_control(&d->msix, value);
    hv_spin_unlock(&d->models, flags);
    if (vmsix_control(&d->msix) == before)
        return;
    if (wanted_mode(d) != d->mode)
        switch_mode(d, wanted_mode(d));
    for (uint32_t n = 0; d->mode == PASSTHROUGH_MSIX && n < d->msix.count; n++) {
        wait_sent(vector_of(d, n));
        retarget(vector_of(d, n));
        open_entry(d, n);
        deliver_pending(d, n);
    }
}

void passthrough_irq_write_msi(struct passthrough_device *d, uint32_t offset, uint32_t size, uint32_t value)
{
    uint32_t before = vmsi_count(&d->msi);
    uint64_t flags;

    if (vmsi_read(&d->msi, offset, size) == value)
        return;
    flags = hv_spin_lock(&d->models);
    vmsi_write(&d->msi, offset, size, value);
    hv_spin_unlock(&d->models, flags);
    if (wanted_mode(d) != d->mode || (d->mode == PASSTHROUGH_MSI && vmsi_count(&d->msi) != before))
        switch_mode(d, wanted_mode(d));
    for (uint32_t n = 0; d->mode == PASSTHROUGH_MSI && n < vmsi_count(&d->msi); n++) {
        wait_sent(vector_of(d, n));
        retarget(vector_of(d, n));
        deliver_pending(d, n);
    }
}

void passthrough_retarget(struct passthrough_device *d)
{
    hv_mutex_lock(&d->lock);
    for (uint32_t n = 0; d->mode != PASSTHROUGH_NO_INTERRUPTS && n < vectors_max(d->pci); n++) {
        wait_sent(vector_of(d, n));
        retarget(vector_of(d, n));
    }
    hv_mutex_unlock(&d->lock);
}

/* -------------------------------------------------------------------------------------- life */

/* Messages of a device that nobody remaps differ in the host's vectors, which do not follow one another. */
static uint32_t msi_messages(const struct passthrough_device *d)
{
    return d->is_remapped && d->pci->msi.cap ? d->pci->msi.count : 1;
}

static enum hv_status init_vectors(struct passthrough_device *d)
{
    uint32_t count = vectors_max(d->pci);

    for (uint32_t i = 0; i * VECTORS_PAGE_HOLDS < count; i++) {
        d->vectors[i] = hv_host_page_alloc();
        if (!d->vectors[i])
            return HV_E_NO_MEMORY;
    }
    for (uint32_t n = 0; n < count; n++)
        *vector_of(d, n) = (struct passthrough_vector){.device = d, .index = (uint16_t)n};
    return HV_OK;
}

/* On failure passthrough_irq_exit follows. */
enum hv_status passthrough_irq_init(struct passthrough_device *d)
{
    const struct pci_msix *msix = &d->pci->msix;
    enum hv_status st = init_vectors(d);

    vmsi_init(&d->msi, msi_messages(d), d->pci->msi.is_64bit, d->pci->msi.has_mask);
    if (st == HV_OK && msix->cap)
        st = vmsix_init(&d->msix, msix->count);
    if (st == HV_OK && msix->cap && !passthrough_bar_at(d, msix->table_bar, msix->table_offset))
        st = HV_E_NO_MEMORY;
    return st;
}

void passthrough_irq_reset(struct passthrough_device *d)
{
    uint64_t flags;

    switch_mode(d, PASSTHROUGH_NO_INTERRUPTS);
    flags = hv_spin_lock(&d->models);
    vmsix_reset(&d->msix);
    vmsi_reset(&d->msi);
    hv_spin_unlock(&d->models, flags);
    d->is_starved = false;
}

void passthrough_irq_exit(struct passthrough_device *d)
{
    if (d->mode != PASSTHROUGH_NO_INTERRUPTS)
        switch_mode(d, PASSTHROUGH_NO_INTERRUPTS);
    vmsix_free(&d->msix);
    for (uint32_t i = 0; i < VECTORS_PAGES; i++)
        if (d->vectors[i])
            hv_host_page_free(d->vectors[i]);
}
