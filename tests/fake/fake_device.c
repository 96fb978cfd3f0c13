/* SPDX-License-Identifier: MIT */
/*
 * Devices of the fake host: their memory and ports, ACPI tables, vectors.
 *
 * Device memory is mapped where nothing is: whoever follows such a pointer, in place of asking arch/cpu.h, dies of it.
 */
#include "fake_device.h"
#include "fake.h"
#include "fake_pci.h"
#include <arch/cpu.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#define MAPPINGS     64u
#define REGIONS      64u
#define TABLES       16u
#define RANGES       16u
#define VECTOR_FIRST 0x30u
#define VECTORS      64u
#define SPACE_SIZE   (1ull << 42)

struct region { /* size 0: free */
    hv_hpa_t pa;
    uint64_t size;
    const struct fake_device_ops *ops;
    void *arg;
};

struct mapping { /* size 0: free */
    char *va;
    hv_hpa_t pa;
    uint64_t size;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct region regions[REGIONS], ports[REGIONS];
static struct mapping mappings[MAPPINGS];
static char *space; /* addresses that nothing is at */
static uint64_t space_next;

static struct {
    const void *data;
    size_t size;
} tables[TABLES];

static struct {
    void (*fn)(void *arg);
    void *arg;
} vectors[VECTORS];
static uint32_t vectors_limit = VECTORS;

static struct {
    hv_hpa_t start;
    uint64_t size;
} ranges[RANGES];

static _Thread_local unsigned pci_locked;
static pthread_mutex_t pci_mutex = PTHREAD_MUTEX_INITIALIZER;

/* ----------------------------------------------------------------- memory of devices, ports */

static void add(struct region *list, struct region new)
{
    struct region *r = list;

    fake_require(new.size &&new.ops, "a device without size or functions");
    for (; r < list + REGIONS && r->size; r++)
        fake_require(new.pa + new.size <= r->pa || r->pa + r->size <= new.pa, "devices overlap");
    fake_require(r < list + REGIONS, "too many devices");
    *r = new;
}

static struct region *find(struct region *list, uint64_t at, uint64_t size)
{
    for (struct region *r = list; r < list + REGIONS; r++)
        if (at >= r->pa && at - r->pa < r->size && size <= r->size - (at - r->pa))
            return r;
    return NULL;
}

static void drop(struct region *list, uint64_t at)
{
    struct region *r = find(list, at, 1), *last = list + REGIONS - 1;

    fake_require(r && r->pa == at, "no such device");
    while (last > r && !last->size)
        last--;
    *r = *last;
    *last = (struct region){0};
}

void fake_mmio_add(hv_hpa_t pa, uint64_t size, const struct fake_device_ops *ops, void *arg)
{
    fake_require((pa | size) % HV_PAGE_SIZE == 0, "fake_mmio_add: unaligned");
    add(regions, (struct region){pa, size, ops, arg});
}

void fake_mmio_remove(hv_hpa_t pa)
{
    drop(regions, pa);
}

void fake_ports_add(uint16_t first, uint32_t count, const struct fake_device_ops *ops, void *arg)
{
    add(ports, (struct region){first, count, ops, arg});
}

void fake_ports_remove(uint16_t first)
{
    drop(ports, first);
}

static uint64_t bytes_read(void *arg, uint64_t offset, uint32_t size)
{
    uint64_t value = 0;

    memcpy(&value, (char *)arg + offset, size);
    return value;
}

static void bytes_write(void *arg, uint64_t offset, uint32_t size, uint64_t value)
{
    memcpy((char *)arg + offset, &value, size);
}

const struct fake_device_ops fake_device_bytes = {bytes_read, bytes_write};

/* --------------------------------------------------------------------------------- mappings */

void *hv_host_mmio_map(hv_hpa_t pa, uint64_t size)
{
    struct mapping *m = mappings;

    fake_require_thread_context("hv_host_mmio_map");
    fake_require((pa | size) % HV_PAGE_SIZE == 0 && size && pa + size > pa, "hv_host_mmio_map: unaligned or empty");
    if (fake_deny() || !find(regions, pa, size))
        return NULL;
    pthread_mutex_lock(&mutex);
    while (m < mappings + MAPPINGS && m->size)
        m++;
    fake_require(m < mappings + MAPPINGS, "hv_host_mmio_map: too many mappings");
    fake_require(size < SPACE_SIZE - space_next, "hv_host_mmio_map: too much");
    *m = (struct mapping){space + space_next, pa, size};
    space_next += size + HV_PAGE_SIZE;
    pthread_mutex_unlock(&mutex);
    FAKE_ADD(mmio_mappings, 1);
    return m->va;
}

static struct mapping *mapping_of(const volatile void *va)
{
    for (struct mapping *m = mappings; m < mappings + MAPPINGS; m++)
        if (m->size && (uintptr_t)va - (uintptr_t)m->va < m->size)
            return m;
    return NULL;
}

void hv_host_mmio_unmap(void *va, uint64_t size)
{
    struct mapping *m = mapping_of(va);

    fake_require_thread_context("hv_host_mmio_unmap");
    fake_require(m && m->va == va && m->size == size, "hv_host_mmio_unmap: not what was mapped, or unmapped before");
    pthread_mutex_lock(&mutex);
    *m = (struct mapping){0};
    pthread_mutex_unlock(&mutex);
    FAKE_ADD(mmio_mappings, -1);
}

hv_hpa_t fake_mmio_to_phys(const volatile void *va, uint64_t *left)
{
    const struct mapping *m = mapping_of(va);
    uint64_t offset;

    if (!m)
        return HV_HPA_NONE;
    offset = (uintptr_t)va - (uintptr_t)m->va;
    *left = m->size - offset;
    return m->pa + offset;
}

/* --------------------------------------------------------------- arch/cpu.h's instructions */

static const struct region *mmio_at(const volatile void *va, uint32_t size, uint64_t *offset)
{
    uint64_t left = 0, pa = fake_mmio_to_phys(va, &left);
    const struct region *r;

    if (pa == HV_HPA_NONE || left < size)
        fake_fail("access of %u bytes to %p, where no device is mapped", size, (const void *)va);
    fake_require(pa % size == 0, "access to a device is not aligned");
    r = find(regions, pa, size);
    fake_require(r != NULL, "access to a device that is gone");
    *offset = pa - r->pa;
    return r;
}

static uint64_t mmio_read(const volatile void *va, uint32_t size)
{
    uint64_t offset;
    const struct region *r = mmio_at(va, size, &offset);

    return r->ops->read(r->arg, offset, size);
}

static void mmio_write(volatile void *va, uint32_t size, uint64_t value)
{
    uint64_t offset;
    const struct region *r = mmio_at(va, size, &offset);

    r->ops->write(r->arg, offset, size, value);
}

static uint64_t port_read(uint16_t port, uint32_t size)
{
    const struct region *r = find(ports, port, size);

    if (!r)
        fake_fail("in from port 0x%x, %u bytes: nothing is there", port, size);
    return r->ops->read(r->arg, port - r->pa, size);
}

static void port_write(uint16_t port, uint32_t size, uint64_t value)
{
    const struct region *r = find(ports, port, size);

    if (!r)
        fake_fail("out to port 0x%x, %u bytes: nothing is there", port, size);
    r->ops->write(r->arg, port - r->pa, size, value);
}

#define MMIO(bits)                                                 \
    uint##bits##_t cpu_mmio_read##bits(const volatile void *at)    \
    {                                                              \
        return (uint##bits##_t)mmio_read(at, (bits) / 8);          \
    }                                                              \
    void cpu_mmio_write##bits(volatile void *at, uint##bits##_t v) \
    {                                                              \
        mmio_write(at, (bits) / 8, v);                             \
    }
MMIO(8)
MMIO(16)
MMIO(32)
MMIO(64)

#define PORT(bits)                                          \
    uint##bits##_t cpu_in##bits(uint16_t port)              \
    {                                                       \
        return (uint##bits##_t)port_read(port, (bits) / 8); \
    }                                                       \
    void cpu_out##bits(uint16_t port, uint##bits##_t v)     \
    {                                                       \
        port_write(port, (bits) / 8, v);                    \
    }
PORT(8)
PORT(16)
PORT(32)

/* ----------------------------------------------------------------------------- configuration */

uint64_t hv_host_pci_lock(void)
{
    fake_require(!pci_locked, "hv_host_pci_lock: this thread has it already");
    pthread_mutex_lock(&pci_mutex);
    pci_locked++;
    return hv_host_irq_save();
}

void hv_host_pci_unlock(uint64_t flags)
{
    fake_require(pci_locked, "hv_host_pci_unlock: not locked");
    hv_host_irq_restore(flags);
    pci_locked--;
    pthread_mutex_unlock(&pci_mutex);
}

bool fake_pci_locked(void)
{
    return pci_locked;
}

/* -------------------------------------------------------------------------------------- ACPI */

void fake_acpi_add(const void *table, size_t size)
{
    for (unsigned i = 0; i < TABLES; i++) {
        if (tables[i].data)
            continue;
        tables[i].data = table;
        tables[i].size = size;
        return;
    }
    fake_fail("fake_acpi_add: too many tables");
}

const void *hv_host_acpi_table(const char signature[4], uint32_t n, size_t *size)
{
    fake_require_thread_context("hv_host_acpi_table");
    for (unsigned i = 0; i < TABLES; i++) {
        if (!tables[i].data || memcmp(tables[i].data, signature, 4) != 0 || n--)
            continue;
        *size = tables[i].size;
        return tables[i].data;
    }
    return NULL;
}

/* -------------------------------------------------------------------------------- interrupts */

static uint64_t pending[FAKE_MAX_CPUS][4]; /* at the local APICs; bit n of word n / 64 is vector n */

uint32_t hv_host_irq_alloc(void (*fn)(void *arg), void *arg)
{
    fake_require_thread_context("hv_host_irq_alloc");
    fake_require(fn != NULL, "hv_host_irq_alloc: no function");
    if (fake_deny())
        return 0;
    for (uint32_t i = 0; i < vectors_limit; i++) {
        if (vectors[i].fn)
            continue;
        vectors[i].fn = fn;
        vectors[i].arg = arg;
        FAKE_ADD(vectors, 1);
        return VECTOR_FIRST + i;
    }
    return 0;
}

void hv_host_irq_free(uint32_t vector)
{
    fake_require_thread_context("hv_host_irq_free");
    fake_require(vector - VECTOR_FIRST < VECTORS && vectors[vector - VECTOR_FIRST].fn,
                 "hv_host_irq_free: no such vector, or freed before");
    vectors[vector - VECTOR_FIRST].fn = NULL;
    for (uint32_t cpu = 0; cpu < FAKE_MAX_CPUS; cpu++)
        pending[cpu][vector / 64] &= ~(1ull << vector % 64);
    FAKE_ADD(vectors, -1);
}

void fake_irq_limit(uint32_t count)
{
    fake_require(count <= VECTORS, "fake_irq_limit: more than there are");
    vectors_limit = count;
}

bool fake_irq_raise(uint32_t vector)
{
    uint64_t flags;

    if (vector - VECTOR_FIRST >= VECTORS || !vectors[vector - VECTOR_FIRST].fn)
        return false;
    flags = hv_host_irq_save();
    vectors[vector - VECTOR_FIRST].fn(vectors[vector - VECTOR_FIRST].arg);
    hv_host_irq_restore(flags);
    return true;
}

static bool is_any_pending(uint32_t cpu)
{
    const uint64_t *p = pending[cpu];

    return p[0] | p[1] | p[2] | p[3];
}

int fake_apic_take(uint32_t cpu)
{
    for (int vector = 255; vector >= 0; vector--) {
        uint64_t bit = 1ull << vector % 64, *word = &pending[cpu][vector / 64];

        if (!(*word & bit))
            continue;
        *word &= ~bit;
        return vector;
    }
    return -1;
}

static void call_handler(uint32_t vector)
{
    fake_require(fake_irq_raise(vector), "an interrupt's vector is nobody's");
}

/* A handler may send further ones, or turn interrupts on for those that there are. */
void fake_irqs_were_off(void)
{
    uint32_t cpu = fake_cpu();

    while (is_any_pending(cpu))
        call_handler((uint32_t)fake_apic_take(cpu));
}

void fake_apic_send(uint32_t apic_id, uint8_t vector)
{
    uint32_t cpu = (apic_id - 1) / 2;

    fake_require(apic_id % 2 && cpu < hv_host_cpu_count(), "an interrupt for an APIC that is not there");
    if (cpu != fake_cpu()) {
        fake_on_cpu(cpu, call_handler, vector);
        return;
    }
    pending[cpu][vector / 64] |= 1ull << vector % 64;
    if (fake_irqs_on())
        fake_irqs_were_off();
}

static void (*on_apic_id)(void);

void fake_on_apic_id(void (*fn)(void))
{
    on_apic_id = fn;
}

uint32_t hv_host_apic_id(uint32_t cpu)
{
    fake_require(cpu < hv_host_cpu_count(), "hv_host_apic_id: no such CPU");
    if (on_apic_id)
        on_apic_id();
    return FAKE_APIC_ID(cpu);
}

/* --------------------------------------------------------------------------------------- DMA */

void fake_dma_range(hv_hpa_t start, uint64_t size)
{
    unsigned i = 0;

    while (i < RANGES && ranges[i].size)
        i++;
    fake_require(i < RANGES && size, "fake_dma_range: too many, or empty");
    ranges[i].start = start;
    ranges[i].size = size;
}

bool hv_host_dma_range(uint16_t segment, uint16_t bdf, uint32_t n, hv_hpa_t *start, uint64_t *size)
{
    (void)segment, (void)bdf;
    fake_require_thread_context("hv_host_dma_range");
    if (n >= RANGES || !ranges[n].size)
        return false;
    *start = ranges[n].start;
    *size = ranges[n].size;
    return true;
}

/* ----------------------------------------------------------------------------- all of it */

void fake_device_reset(void)
{
    if (!space)
        space = mmap(NULL, SPACE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    fake_require(space != MAP_FAILED, "no room for device memory");
    fake_pci_reset();
    space_next = 0;
    memset(regions, 0, sizeof(regions));
    memset(ports, 0, sizeof(ports));
    memset(mappings, 0, sizeof(mappings));
    memset(tables, 0, sizeof(tables));
    memset(vectors, 0, sizeof(vectors));
    memset(ranges, 0, sizeof(ranges));
    vectors_limit = VECTORS;
    memset(pending, 0, sizeof(pending));
    on_apic_id = NULL;
    if (pci_locked)
        pthread_mutex_unlock(&pci_mutex);
    pci_locked = 0;
}

void fake_device_assert_clean(void)
{
    const struct fake_counts *c = &fake_state;

    if (c->mmio_mappings || c->vectors)
        fake_fail("not given back: %llu mappings of devices, %llu vectors", (unsigned long long)c->mmio_mappings,
                  (unsigned long long)c->vectors);
    fake_require(!pci_locked, "hv_host_pci_lock without unlock");
}
