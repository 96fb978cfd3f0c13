/* SPDX-License-Identifier: MIT */
/*
 * Interrupts of devices: messages that hv_vpci_map_interrupt has made, and plain ones as CPUs know them.
 *
 * The former have the remappable format (VT-d 5.1.2.2), in which no plain message is: the interrupt's index stands
 * where the remapping hardware's handle would, and the number of the message among several in the data's lower half.
 */
#include "irq.h"
#include "vpci_parts.h"
#include <hv/base/bits.h>

#define MSI_WINDOW      BITS64(63, 20)
#define MSI_BASE        0xfee00000ull
#define MSI_DESTINATION BITS64(19, 12)
#define MSI_ONE_OF      BIT64(3) /* the redirection hint: one of those addressed */
#define MSI_LOGICAL     BIT64(2)
#define MSI_DATA_VECTOR BITS64(7, 0)
#define MSI_DATA_MODE   BITS64(10, 8)
enum { MODE_FIXED, MODE_LOWEST, MODE_NMI = 4 };

#define MAPPED_FORMAT    BIT64(4)
#define MAPPED_INDEX_LOW BITS64(19, 5)
#define MAPPED_INDEX_15  BIT64(2)
#define MAPPED_BY_DATA   BIT64(3) /* the data's number counts */
#define MAPPED_NUMBER    BITS64(15, 0)

#define INDEXES      65536u
#define MESSAGES_MAX 32u
#define VECTOR_MIN   16u

/* Written with interrupts off, under the device's mutex; `version` is odd meanwhile. */
struct message {
    volatile uint32_t version;
    volatile uint32_t vector;
    volatile bool is_multicast;
    volatile uint64_t vps;
};

struct interrupt {
    struct vpci_entry entry; /* the index */
    uint32_t count;
    struct message messages[];
};

/* ------------------------------------------------------------------------------------ messages */

static struct hv_msi_message message_for(uint32_t index)
{
    return (struct hv_msi_message){
        .address = MSI_BASE | MAPPED_FORMAT | MAPPED_BY_DATA | FIELD_PUT(MAPPED_INDEX_LOW, index & 0x7fff) |
                   FIELD_PUT(MAPPED_INDEX_15, index >> 15),
    };
}

static bool is_msi(const struct hv_msi_message *m)
{
    return (m->address & MSI_WINDOW) == MSI_BASE;
}

static bool is_mapped_format(const struct hv_msi_message *m)
{
    return is_msi(m) && (m->address & (MAPPED_FORMAT | MAPPED_BY_DATA)) == (MAPPED_FORMAT | MAPPED_BY_DATA);
}

/* Reader, or with the device's mutex. NULL: nothing has been mapped that looks like this. */
static struct message *find_message(const struct vpci_device *d, const struct hv_msi_message *m)
{
    uint64_t number = FIELD_GET(MAPPED_NUMBER, m->data);
    struct interrupt *interrupt;

    if (!is_mapped_format(m))
        return NULL;
    interrupt = (struct interrupt *)vpci_table_find(&d->interrupts, FIELD_GET(MAPPED_INDEX_LOW, m->address) |
                                                                        FIELD_GET(MAPPED_INDEX_15, m->address) << 15);
    return interrupt && number < interrupt->count ? &interrupt->messages[number] : NULL;
}

/* ------------------------------------------------------------------------------------- targets */

static void write_target(struct message *m, const struct hv_vpci_target *target)
{
    uint64_t flags = hv_host_irq_save(); /* readers wait for the end of it */

    __atomic_store_n(&m->version, m->version + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    __atomic_store_n(&m->vector, target->vector, __ATOMIC_RELAXED);
    __atomic_store_n(&m->is_multicast, target->is_multicast, __ATOMIC_RELAXED);
    __atomic_store_n(&m->vps, target->vps, __ATOMIC_RELAXED);
    __atomic_store_n(&m->version, m->version + 1, __ATOMIC_RELEASE);
    hv_host_irq_restore(flags);
}

static struct hv_vpci_target read_target(const struct message *m)
{
    struct hv_vpci_target target;
    uint32_t version;

    do {
        while ((version = __atomic_load_n(&m->version, __ATOMIC_ACQUIRE)) & 1)
            __builtin_ia32_pause();
        target.vector = (uint8_t)__atomic_load_n(&m->vector, __ATOMIC_RELAXED);
        target.is_multicast = __atomic_load_n(&m->is_multicast, __ATOMIC_RELAXED);
        target.vps = __atomic_load_n(&m->vps, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
    } while (__atomic_load_n(&m->version, __ATOMIC_RELAXED) != version);
    return target;
}

static uint64_t recipients(const struct hv_vpci_target *target)
{
    return target->is_multicast ? target->vps : target->vps & -target->vps;
}

static bool is_target(const struct hv_partition *p, const struct hv_vpci_target *target)
{
    uint32_t count = p->properties.processor_count;

    if (target->vector < VECTOR_MIN || !target->vps || (count < 64 && target->vps >> count))
        return false;
    return !target->is_multicast || (target->vps & (target->vps - 1));
}

/* ------------------------------------------------------------------------------------- raising */

/* HV_E_INVALID: CPUs do not know such a message. That it is an edge, whatever it says, makes no difference. */
static enum hv_status to_interrupt(const struct hv_msi_message *m, struct hv_interrupt *out)
{
    uint64_t mode = FIELD_GET(MSI_DATA_MODE, m->data);

    if (!is_msi(m) || m->address & MAPPED_FORMAT || (mode != MODE_FIXED && mode != MODE_LOWEST && mode != MODE_NMI))
        return HV_E_INVALID;
    if (mode == MODE_FIXED && m->address & MSI_ONE_OF)
        mode = MODE_LOWEST;
    *out = (struct hv_interrupt){
        .type = (uint8_t)mode,
        .is_logical = m->address & MSI_LOGICAL,
        .destination = (uint32_t)FIELD_GET(MSI_DESTINATION, m->address),
        .vector = (uint32_t)FIELD_GET(MSI_DATA_VECTOR, m->data),
    };
    return HV_OK;
}

static enum hv_status raise_plain(struct hv_partition *p, const struct hv_msi_message *m)
{
    struct hv_interrupt interrupt;
    enum hv_status st = to_interrupt(m, &interrupt);

    return st == HV_OK ? hv_partition_interrupt(p, &interrupt) : st;
}

/* Reader. */
static enum hv_status raise(const struct vpci_device *d, const struct hv_msi_message *m)
{
    const struct message *mapped = find_message(d, m);
    struct hv_vpci_target target;

    if (!mapped)
        return raise_plain(d->partition, m);
    target = read_target(mapped);
    irq_post_to(d->partition, recipients(&target), target.vector);
    return HV_OK;
}

enum hv_status hv_vpci_request(struct hv_partition *p, uint64_t id, const struct hv_msi_message *message)
{
    uint64_t flags = vpci_read_begin();
    const struct vpci_device *d = (struct vpci_device *)vpci_table_find(&p->vpci.devices, id);
    enum hv_status st = HV_E_DEVICE;

    if (d)
        st = d->flags & HV_VPCI_LOGICAL_INTERRUPTS ? raise(d, message) : HV_E_STATE;
    vpci_read_end(flags);
    return st;
}

enum hv_status vpci_check_request(struct hv_partition *p, uint64_t id, const struct hv_msi_message *message)
{
    uint64_t flags = vpci_read_begin();
    const struct vpci_device *d = (struct vpci_device *)vpci_table_find(&p->vpci.devices, id);
    bool is_logical = d && d->flags & HV_VPCI_LOGICAL_INTERRUPTS;
    struct hv_interrupt interrupt;
    enum hv_status st;

    vpci_read_end(flags);
    if (!d)
        return HV_E_DEVICE;
    if (!is_logical)
        return HV_E_STATE;
    if (is_mapped_format(message))
        return HV_OK;
    st = to_interrupt(message, &interrupt);
    return st == HV_OK ? irq_check(p, &interrupt) : st;
}

/* ------------------------------------------------------------------------ the machine's devices */

static void on_interrupt(void *owner, const struct hv_msi_message *message)
{
    uint64_t flags = vpci_read_begin();

    (void)raise(owner, message); /* a message that leads nowhere is lost, as in a machine */
    vpci_read_end(flags);
}

/* Whom a message is for, as things are. */
struct recipients {
    uint32_t count, first; /* VPs; 0: it leads nowhere */
    uint8_t vector;        /* 0: it is no interrupt by vector */
};

static struct recipients recipients_of(const struct vpci_device *d, const struct hv_msi_message *m)
{
    const struct message *mapped = find_message(d, m);
    uint32_t vps[HV_MAX_VPS];
    struct recipients to = {0};
    struct hv_vpci_target target;
    struct hv_interrupt plain;

    if (mapped) {
        target = read_target(mapped);
        to.count = target.is_multicast ? (uint32_t)__builtin_popcountll(target.vps) : 1;
        to.first = (uint32_t)__builtin_ctzll(target.vps);
        to.vector = target.vector;
    } else if (to_interrupt(m, &plain) == HV_OK &&
               hv_partition_interrupt_targets(d->partition, plain.destination, plain.is_logical, vps, HV_MAX_VPS,
                                              &to.count) == HV_OK) {
        to.first = to.count ? vps[0] : 0;
        to.vector = plain.type == MODE_NMI ? 0 : (uint8_t)plain.vector;
    }
    return to;
}

/* Where the target ran last: with luck its interrupt ends a run that is under way, and wakes nobody elsewhere. */
static uint32_t cpu_of(void *owner, const struct hv_msi_message *message)
{
    const struct vpci_device *d = owner;
    uint64_t flags = vpci_read_begin();
    struct recipients to = recipients_of(d, message);
    const struct hv_vp *vp = to.count ? hv_vp_find(d->partition, to.first) : NULL;
    uint32_t cpu = vp ? __atomic_load_n(&vp->shared.cpu, __ATOMIC_RELAXED) : 0;

    vpci_read_end(flags);
    return cpu;
}

/*
 * Only a message for one VP alone, by vector, is posted. What changes that has the device ask anew: targets, and
 * addresses of local APICs (vpci_follow). A VP that is being deleted stays until the device has asked once more: see
 * hv_vp_delete.
 */
static bool post_to(void *owner, const struct hv_msi_message *message, struct passthrough_posting *out)
{
    const struct vpci_device *d = owner;
    uint64_t flags = vpci_read_begin();
    struct recipients to = recipients_of(d, message);
    bool is_posted = to.count == 1 && to.vector >= VECTOR_MIN;
    const struct hv_vp *vp = is_posted ? hv_vp_find(d->partition, to.first) : NULL;

    out->descriptor = vp ? irq_posted_to(vp) : 0;
    out->vector = to.vector;
    vpci_read_end(flags);
    return out->descriptor;
}

const struct passthrough_ops vpci_passthrough_ops = {.interrupt = on_interrupt, .cpu_of = cpu_of, .post_to = post_to};

/* ------------------------------------------------------------------------------ making, changing */

static size_t size_of(uint32_t count)
{
    return sizeof(struct interrupt) + count * sizeof(struct message);
}

static bool is_count(uint32_t count)
{
    return count && count <= MESSAGES_MAX && !(count & (count - 1));
}

static enum hv_status map_locked(struct vpci_device *d, uint32_t index, uint32_t count,
                                 const struct hv_vpci_target *target)
{
    struct interrupt *interrupt = hv_host_alloc(size_of(count));
    enum hv_status st;

    if (!interrupt)
        return HV_E_NO_MEMORY;
    interrupt->entry.id = index;
    interrupt->count = count;
    for (uint32_t i = 0; i < count; i++)
        write_target(&interrupt->messages[i], target);
    st = vpci_table_insert(&d->interrupts, &interrupt->entry);
    if (st != HV_OK)
        hv_host_free(interrupt, size_of(count));
    return st;
}

enum hv_status hv_vpci_map_interrupt(struct hv_partition *p, uint64_t id, uint32_t index, uint32_t count,
                                     const struct hv_vpci_target *target, struct hv_msi_message *out)
{
    struct vpci_device *d;
    enum hv_status st;

    if (index >= INDEXES || !is_count(count) || !is_target(p, target))
        return HV_E_INVALID;
    d = vpci_get(p, id);
    if (!d)
        return HV_E_DEVICE;
    if (p->properties.local_apic_mode == HV_LOCAL_APIC_NONE) {
        vpci_put(d);
        return HV_E_STATE;
    }
    hv_mutex_lock(&d->mutex);
    st = map_locked(d, index, count, target);
    hv_mutex_unlock(&d->mutex);
    if (st == HV_OK && d->pci)
        passthrough_retarget(d->pci); /* the message may be in the device's table already */
    vpci_put(d);
    if (st == HV_OK)
        *out = message_for(index);
    return st;
}

/* Nobody finds it any more. */
static void free_interrupt(struct vpci_entry *e)
{
    hv_host_free(e, size_of(((struct interrupt *)e)->count));
}

enum hv_status hv_vpci_unmap_interrupt(struct hv_partition *p, uint64_t id, uint32_t index)
{
    struct vpci_device *d = vpci_get(p, id);
    struct vpci_entry *e;

    if (!d)
        return HV_E_DEVICE;
    hv_mutex_lock(&d->mutex);
    e = vpci_table_find(&d->interrupts, index);
    if (e) {
        vpci_table_remove(&d->interrupts, e);
        free_interrupt(e);
    }
    hv_mutex_unlock(&d->mutex);
    if (e && d->pci)
        passthrough_retarget(d->pci);
    vpci_put(d);
    return e ? HV_OK : HV_E_INVALID;
}

void vpci_free_interrupts(struct vpci_device *d)
{
    struct vpci_entry *e;

    while ((e = vpci_table_any(&d->interrupts))) {
        vpci_table_drop(&d->interrupts, e);
        free_interrupt(e);
    }
}

enum hv_status hv_vpci_retarget(struct hv_partition *p, uint64_t id, const struct hv_msi_message *message,
                                const struct hv_vpci_target *target)
{
    struct vpci_device *d;
    struct message *m;

    if (!is_target(p, target))
        return HV_E_INVALID;
    d = vpci_get(p, id);
    if (!d)
        return HV_E_DEVICE;
    hv_mutex_lock(&d->mutex);
    m = find_message(d, message);
    if (m)
        write_target(m, target);
    hv_mutex_unlock(&d->mutex);
    if (m && d->pci)
        passthrough_retarget(d->pci);
    vpci_put(d);
    return m ? HV_OK : HV_E_INVALID;
}

static const struct message *message_at(const struct vpci_device *d, uint32_t index, uint32_t number)
{
    const struct interrupt *interrupt = (struct interrupt *)vpci_table_find(&d->interrupts, index);

    return interrupt && number < interrupt->count ? &interrupt->messages[number] : NULL;
}

enum hv_status hv_vpci_interrupt_target(struct hv_partition *p, uint64_t id, uint32_t index, uint32_t message,
                                        struct hv_vpci_target *out)
{
    struct vpci_device *d = vpci_get(p, id);
    const struct message *m;

    if (!d)
        return HV_E_DEVICE;
    hv_mutex_lock(&d->mutex);
    m = message_at(d, index, message);
    if (m)
        *out = read_target(m);
    hv_mutex_unlock(&d->mutex);
    vpci_put(d);
    return m ? HV_OK : HV_E_INVALID;
}
