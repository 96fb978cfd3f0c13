/* SPDX-License-Identifier: MIT */
/*
 * Devices of a partition: resources, life and its order, errors from every step, interrupts and their targets,
 * registers. What passes devices on, DMA and the sending of interrupts are fakes that write down what they are told.
 */
#include "random.h"
#include "unit.h"
#include "virt/gpa.h"
#include "virt/irq.h"
#include "virt/vpci.h"
#include "virt/vpci_dma.h"
#include "virt/vpci_parts.h"
#include <pci/config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROCESSORS 8u
#define ID         0xfeedfacecafe0001ull

static struct hv_partition partition;
static struct hv_vp vps[PROCESSORS];
static struct iommu_domain domain;

/* A letter for each call: s pci_scan, A assign, D dma_hold, T attach, W withdraw, B give back, U unassign,
 * d dma_release, M map, m unmap, R retarget */
static char calls[256];

static struct {
    struct passthrough_device *device; /* NULL: not assigned */
    const struct passthrough_ops *ops;
    const void *client;
    void *owner;
    uint32_t flags, power;
    enum hv_status assign, attach, hold, scan, map, withdraw, set_power;
    bool is_gone;
    uint64_t bar_value;
    uint32_t config_offset, config_size, config_value;
} fake;

static struct pci_device function = {
    .address = {1, HV_PCI_BDF(2, 3, 4)},
    .ids = {.vendor = 0x1234, .device = 0x5678, .sub_system = 0x9abc},
    .bars = {[1] = {.address = 0xe0000000, .size = 0x4000}, [2] = {.address = 0xc000, .size = 0x20, .is_io = true}},
};

static void called(char letter)
{
    size_t n = strlen(calls);

    assert_true(n + 1 < sizeof(calls));
    calls[n] = letter;
    calls[n + 1] = '\0';
}

#define EXPECT_CALLS(text)                \
    do {                                  \
        assert_string_equal(calls, text); \
        calls[0] = '\0';                  \
    } while (0)

/* ------------------------------------------------------------------------------------- the fakes */

enum hv_status pci_scan(void)
{
    called('s');
    return fake.scan;
}

struct pci_device *pci_find(const struct hv_pci_address *a)
{
    return a->segment == function.address.segment && a->bdf == function.address.bdf ? &function : NULL;
}

uint32_t pci_config_read(const struct hv_pci_address *a, uint32_t offset, uint32_t size)
{
    assert_ptr_equal(a, &function.address);
    assert_int_equal(offset, 0);
    assert_int_equal(size, 2);
    return fake.is_gone ? UINT16_MAX : function.ids.vendor;
}

enum hv_status passthrough_assign(const struct pci_device *pci, uint32_t flags, const struct passthrough_ops *ops,
                                  const void *client, void *owner, struct passthrough_device **out)
{
    called('A');
    assert_ptr_equal(pci, &function);
    assert_null(fake.device);
    if (fake.assign != HV_OK)
        return fake.assign;
    fake.device = hv_host_alloc(16);
    if (!fake.device)
        return HV_E_NO_MEMORY;
    fake.flags = flags;
    fake.ops = ops;
    fake.client = client;
    fake.owner = owner;
    *out = fake.device;
    return HV_OK;
}

void passthrough_unassign(struct passthrough_device *d)
{
    called('U');
    assert_ptr_equal(d, fake.device);
    hv_host_free(d, 16);
    fake.device = NULL;
}

enum hv_status passthrough_attach(struct passthrough_device *d, struct iommu_domain *to)
{
    called('T');
    assert_ptr_equal(d, fake.device);
    assert_ptr_equal(to, &domain);
    return fake.attach;
}

enum hv_status vpci_dma_hold(struct hv_partition *p, struct iommu_domain **out)
{
    called('D');
    assert_ptr_equal(p, &partition);
    *out = &domain;
    return fake.hold;
}

void vpci_dma_release(struct hv_partition *p)
{
    called('d');
    assert_ptr_equal(p, &partition);
    assert_null(fake.device); /* it is blocked before its memory goes */
}

enum hv_status gpa_withdraw(struct hv_partition *p, struct gpa_withdrawal *w)
{
    called('W');
    assert_ptr_equal(p, &partition);
    assert_non_null(fake.device);
    assert_int_equal(w->pa, 0xe0000000);
    assert_int_equal(w->size, 0x4000);
    return fake.withdraw;
}

void gpa_give_back(struct hv_partition *p, struct gpa_withdrawal *w)
{
    called('B');
    assert_ptr_equal(p, &partition);
    assert_int_equal(w->pa, 0xe0000000);
    assert_null(fake.device); /* whose registers nobody can map any more */
}

const struct pci_device *passthrough_pci(const struct passthrough_device *d)
{
    assert_ptr_equal(d, fake.device);
    return &function;
}

uint32_t passthrough_config_read(struct passthrough_device *d, uint32_t offset, uint32_t size)
{
    assert_ptr_equal(d, fake.device);
    fake.config_offset = offset;
    fake.config_size = size;
    return 0x89abcdef;
}

void passthrough_config_write(struct passthrough_device *d, uint32_t offset, uint32_t size, uint32_t value)
{
    assert_ptr_equal(d, fake.device);
    fake.config_offset = offset;
    fake.config_size = size;
    fake.config_value = value;
}

enum hv_status passthrough_bar_read(struct passthrough_device *d, uint32_t bar, uint64_t offset, uint32_t size,
                                    uint64_t *value)
{
    (void)d, (void)size;
    if (bar != 1 || offset >= 0x4000)
        return HV_E_INVALID;
    *value = fake.bar_value;
    return HV_OK;
}

enum hv_status passthrough_bar_write(struct passthrough_device *d, uint32_t bar, uint64_t offset, uint32_t size,
                                     uint64_t value)
{
    (void)d, (void)size;
    if (bar != 1 || offset >= 0x4000)
        return HV_E_INVALID;
    fake.bar_value = value;
    return HV_OK;
}

static struct hv_vpci_range ranges[2];

enum hv_status passthrough_map(struct passthrough_device *d, struct hv_vpci_range **out, uint32_t *count)
{
    (void)d;
    called('M');
    if (fake.map != HV_OK)
        return fake.map;
    *out = ranges;
    *count = 2;
    return HV_OK;
}

void passthrough_unmap(struct passthrough_device *d)
{
    assert_ptr_equal(d, fake.device);
    called('m');
}

void passthrough_probed_bars(const struct passthrough_device *d, uint32_t bars[PCI_BARS])
{
    (void)d;
    for (unsigned i = 0; i < PCI_BARS; i++)
        bars[i] = 0xfffff000 + i;
}

enum hv_status passthrough_set_power(struct passthrough_device *d, uint32_t state)
{
    (void)d;
    if (fake.set_power == HV_OK)
        fake.power = state;
    return fake.set_power;
}

void passthrough_retarget(struct passthrough_device *d)
{
    assert_ptr_equal(d, fake.device);
    called('R');
}

static struct {
    unsigned posts, interrupts;
    uint64_t vps;
    uint8_t vector;
    struct hv_interrupt interrupt;
} sent;

void irq_post_to(const struct hv_partition *p, uint64_t to, uint8_t vector)
{
    assert_ptr_equal(p, &partition);
    assert_false(fake_irqs_on()); /* a reader */
    sent.posts++;
    sent.vps = to;
    sent.vector = vector;
}

enum hv_status irq_check(const struct hv_partition *p, const struct hv_interrupt *interrupt)
{
    (void)p;
    return interrupt->vector < 16 && interrupt->type != 4 ? HV_E_INVALID : HV_OK;
}

enum hv_status hv_partition_interrupt(struct hv_partition *p, const struct hv_interrupt *interrupt)
{
    sent.interrupts++;
    sent.interrupt = *interrupt;
    return irq_check(p, interrupt);
}

enum hv_status hv_partition_interrupt_targets(struct hv_partition *p, uint64_t destination, bool is_logical,
                                              uint32_t *list, uint32_t room, uint32_t *count)
{
    assert_ptr_equal(p, &partition);
    assert_true(room >= HV_MAX_VPS);
    *count = is_logical ? 0 : 1; /* nobody has a logical id here */
    list[0] = (uint32_t)destination;
    return HV_OK;
}

struct hv_vp *hv_vp_find(struct hv_partition *p, uint32_t index)
{
    assert_ptr_equal(p, &partition);
    return index < PROCESSORS ? p->vps[index] : NULL;
}

static hv_hpa_t descriptors[PROCESSORS];

hv_hpa_t irq_posted_to(const struct hv_vp *vp)
{
    assert_false(fake_irqs_on()); /* a reader */
    return descriptors[vp->index];
}

/* -------------------------------------------------------------------------------------- fixture */

static int setup(void **state)
{
    unit_setup(state);
    memset(&partition, 0, sizeof(partition));
    memset(&fake, 0, sizeof(fake));
    memset(&sent, 0, sizeof(sent));
    partition.is_set_up = true;
    partition.properties.processor_count = PROCESSORS;
    partition.properties.local_apic_mode = HV_LOCAL_APIC_X2APIC;
    partition.properties.allow_device_assignment = 1;
    for (unsigned i = 0; i < PROCESSORS; i++) {
        vps[i].shared.cpu = 10 + i;
        partition.vps[i] = &vps[i];
    }
    function.refused = NULL;
    calls[0] = '\0';
    fake_set_cpus(3);
    return 0;
}

static int teardown(void **state)
{
    vpci_free_all(&partition);
    return unit_teardown(state);
}

#define VPCI_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

static enum hv_status create_with(uint64_t id, const struct hv_pci_address *address, uint32_t resource_flags,
                                  uint32_t flags, void *event)
{
    struct hv_vpci_resource *r;
    enum hv_status st = hv_vpci_resource_open(address, resource_flags, &r);

    if (st != HV_OK)
        return st;
    st = hv_vpci_create(&partition, id, r, flags, event);
    hv_vpci_resource_close(r); /* the device lives on */
    return st;
}

static enum hv_status create_software(uint64_t id)
{
    return create_with(id, NULL, 0, HV_VPCI_LOGICAL_INTERRUPTS, NULL);
}

static enum hv_status create_physical(uint64_t id)
{
    return create_with(id, &function.address, 0, HV_VPCI_PHYSICAL, NULL);
}

static struct hv_vpci_target to(uint8_t vector, uint64_t list, bool multicast)
{
    return (struct hv_vpci_target){.vector = vector, .is_multicast = multicast, .vps = list};
}

static enum hv_status map(uint32_t index, uint32_t count, struct hv_vpci_target target, struct hv_msi_message *out)
{
    return hv_vpci_map_interrupt(&partition, ID, index, count, &target, out);
}

static enum hv_status request(uint64_t address, uint32_t data)
{
    return hv_vpci_request(&partition, ID, &(struct hv_msi_message){address, data});
}

/* ------------------------------------------------------------------------------------ resources */

static void resources(void **state)
{
    const struct hv_pci_address nothing = {0, 8};
    struct hv_vpci_resource *r;

    (void)state;
    assert_int_equal(hv_vpci_resource_open(&function.address, 2, &r), HV_E_INVALID);
    assert_int_equal(hv_vpci_resource_open(&nothing, 0, &r), HV_E_NOT_FOUND);
    assert_true(fake_log_contains("PCI 0000:00:01.0: no such function"));
    function.refused = "a bridge";
    assert_int_equal(hv_vpci_resource_open(&function.address, 0, &r), HV_E_NOT_FOUND);
    assert_true(fake_log_contains("PCI 0001:02:03.4: a bridge"));
    function.refused = NULL;
    fake.scan = HV_E_NO_MEMORY;
    assert_int_equal(hv_vpci_resource_open(&function.address, 0, &r), HV_E_NO_MEMORY);
    fake.scan = HV_OK;
    fake_fail_after(1);
    assert_int_equal(hv_vpci_resource_open(&function.address, 0, &r), HV_E_NO_MEMORY);
    calls[0] = '\0';
    assert_int_equal(create_software(ID), HV_OK);
    EXPECT_CALLS(""); /* nobody looks at the machine */
}

/* ----------------------------------------------------------------------------------------- life */

static void the_order_of_things(void **state)
{
    struct hv_vpci_range *r;
    uint32_t count;

    (void)state;
    assert_int_equal(create_with(ID, &function.address, HV_VPCI_UNSAFE, HV_VPCI_PHYSICAL, NULL), HV_OK);
    EXPECT_CALLS("sADT");
    assert_int_equal(fake.flags, HV_VPCI_UNSAFE);
    assert_ptr_equal(fake.client, &partition);
    assert_int_equal(hv_vpci_map(&partition, ID, &r, &count), HV_OK);
    assert_int_equal(hv_vpci_delete(&partition, ID), HV_OK);
    EXPECT_CALLS("MWmUBd");
    assert_int_equal(hv_vpci_delete(&partition, ID), HV_E_DEVICE);
    assert_int_equal(create_physical(ID), HV_OK);
    calls[0] = '\0';
    fake.withdraw = HV_E_NO_MEMORY; /* and then it is all as it was */
    assert_int_equal(hv_vpci_delete(&partition, ID), HV_E_NO_MEMORY);
    EXPECT_CALLS("W");
    vpci_free_all(&partition); /* the memory map needs no care any more */
    EXPECT_CALLS("Ud");
}

static void what_is_refused(void **state)
{
    void *event = fake_event_create();

    (void)state;
    assert_int_equal(create_with(ID, NULL, 0, HV_VPCI_PHYSICAL, NULL), HV_E_INVALID);
    assert_int_equal(create_with(ID, &function.address, 0, 0, NULL), HV_E_INVALID);
    assert_int_equal(create_with(ID, NULL, 0, 4, NULL), HV_E_INVALID);
    assert_int_equal(create_with(ID, NULL, 0, 0, &partition), HV_E_INVALID); /* no event */
    partition.properties.allow_device_assignment = 0;
    assert_int_equal(create_physical(ID), HV_E_ACCESS_DENIED);
    partition.properties.allow_device_assignment = 1;
    partition.is_set_up = false;
    assert_int_equal(create_software(ID), HV_E_STATE);
    partition.is_set_up = true;
    assert_int_equal(create_with(ID, NULL, 0, 0, event), HV_OK);
    assert_int_equal(create_software(ID), HV_E_CONFLICT);
    calls[0] = '\0';
    assert_int_equal(create_physical(ID), HV_E_CONFLICT);
    EXPECT_CALLS("s"); /* nothing was touched for it */
    fake_event_close(event);
}

static void errors_of_each_step(void **state)
{
    static const enum hv_status errors[] = {HV_E_CONFLICT, HV_E_ACCESS_DENIED, HV_E_NOT_PRESENT, HV_E_UNSUPPORTED};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(errors); i++) {
        fake.assign = errors[i];
        assert_int_equal(create_physical(ID), errors[i]);
        EXPECT_CALLS("sA");
        fake.assign = HV_OK;
        fake.hold = errors[i];
        assert_int_equal(create_physical(ID), errors[i]);
        EXPECT_CALLS("sADU");
        fake.hold = HV_OK;
        fake.attach = errors[i];
        assert_int_equal(create_physical(ID), errors[i]);
        EXPECT_CALLS("sADTUd");
        fake.attach = HV_OK;
    }
    fake.hold = HV_E_NOT_PRESENT; /* no IOMMU, and the client knows */
    assert_int_equal(create_with(ID, &function.address, HV_VPCI_UNSAFE, HV_VPCI_PHYSICAL, NULL), HV_OK);
    EXPECT_CALLS("sAD");
    assert_int_equal(hv_vpci_delete(&partition, ID), HV_OK);
    EXPECT_CALLS("WUB");
}

static void without_memory(void **state)
{
    struct hv_msi_message message;
    struct fake_counts before;

    (void)state;
    assert_int_equal(create_software(1), HV_OK);
    assert_int_equal(create_software(ID), HV_OK);
    assert_int_equal(map(0, 1, to(0x51, 1, false), &message), HV_OK);
    before = fake_counts();
    for (uint64_t n = 1;; n++) {
        fake_fail_after(n);
        enum hv_status st = create_physical(2);

        if (!fake_has_failed()) {
            assert_int_equal(st, HV_OK);
            break;
        }
        assert_int_equal(st, HV_E_NO_MEMORY);
        assert_int_equal(fake_counts().bytes, before.bytes);
    }
    for (uint64_t n = 1;; n++) {
        fake_fail_after(n);
        enum hv_status st = map(1, 4, to(0x51, 1, false), &message);

        if (!fake_has_failed()) {
            assert_int_equal(st, HV_OK);
            break;
        }
        assert_int_equal(st, HV_E_NO_MEMORY);
        assert_int_equal(hv_vpci_unmap_interrupt(&partition, ID, 1), HV_E_INVALID);
    }
    fake_fail_after(0);
}

static struct vpci_device *held;

static void let_go(const volatile uint32_t *word, uint32_t expected)
{
    (void)word, (void)expected;
    assert_non_null(held);
    assert_non_null(fake.device); /* it waits for us before it takes anything away */
    vpci_put(held);
    held = NULL;
}

static void deletion_waits_for_calls(void **state)
{
    (void)state;
    assert_int_equal(create_physical(ID), HV_OK);
    held = vpci_get(&partition, ID);
    assert_non_null(held);
    fake_on_wait(let_go);
    assert_int_equal(hv_vpci_delete(&partition, ID), HV_OK);
    assert_null(held);
    assert_null(vpci_get(&partition, ID));
}

/* ------------------------------------------------------------------------------------- numbers */

#define OBJECTS 512u

/* The table's hash: for numbers whose hashes begin alike. */
static uint64_t table_hash(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

static void numbers_of_all_kinds(void **state)
{
    static struct {
        struct vpci_entry entry __attribute__((aligned(16)));
        bool is_in;
    } objects[OBJECTS];
    struct vpci_table table = {0};
    uint64_t alike = 0;

    (void)state;
    random_start();
    for (unsigned i = 0; i < OBJECTS; i++) {
        if (i % 2)
            while (table_hash(alike) & 0xfff)
                alike++;
        objects[i].entry.id = i % 2 ? alike++ : random_u64();
        objects[i].is_in = false;
    }
    for (unsigned step = 0; step < 20000; step++) {
        unsigned i = (unsigned)(random_u64() % OBJECTS), other = (unsigned)(random_u64() % OBJECTS);

        if (objects[i].is_in && random_u64() % 2) {
            vpci_table_remove(&table, &objects[i].entry);
            objects[i].is_in = false;
        } else {
            fake_fail_after(random_u64() % 4 ? 0 : 1 + random_u64() % 3);
            enum hv_status st = vpci_table_insert(&table, &objects[i].entry);

            if (objects[i].is_in)
                assert_int_equal(st, HV_E_CONFLICT);
            else
                assert_int_equal(st, fake_has_failed() ? HV_E_NO_MEMORY : HV_OK);
            objects[i].is_in |= st == HV_OK;
            fake_fail_after(0);
        }
        assert_ptr_equal(vpci_table_find(&table, objects[other].entry.id),
                         objects[other].is_in ? &objects[other].entry : NULL);
        assert_null(vpci_table_find(&table, random_u64()));
    }
    for (struct vpci_entry *e; (e = vpci_table_any(&table));)
        vpci_table_remove(&table, e);
    assert_null(table.root);
}

/* ----------------------------------------------------------------------------------- interrupts */

static uint64_t calls_of_deletion(void)
{
    uint64_t before = fake_counts().calls;

    assert_int_equal(hv_vpci_delete(&partition, ID), HV_OK);
    return fake_counts().calls - before;
}

/* Whoever has found it on one of the CPUs may look at it still. */
static void who_takes_an_interrupt_away_waits(void **state)
{
    struct hv_msi_message message;
    uint64_t before;

    (void)state;
    assert_int_equal(create_software(ID), HV_OK);
    assert_int_equal(map(7, 1, to(0x50, 1, false), &message), HV_OK);
    before = fake_counts().calls;
    assert_int_equal(hv_vpci_unmap_interrupt(&partition, ID, 7), HV_OK);
    assert_int_equal(fake_counts().calls - before, hv_host_cpu_count());
}

/* A device that nobody finds any more has no readers to wait for, however many interrupts it has. */
static void interrupts_go_with_their_device(void **state)
{
    struct hv_msi_message message;
    uint64_t without;

    (void)state;
    assert_int_equal(create_software(ID), HV_OK);
    without = calls_of_deletion();
    assert_int_equal(create_software(ID), HV_OK);
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(map(i, 1, to(0x50, 1, false), &message), HV_OK);
    assert_int_equal(calls_of_deletion(), without);
}

static void messages_of_all_indexes(void **state)
{
    static const uint32_t indexes[] = {0, 1, 2, 255, 256, 0x7fff, 0x8000, 0x8001, 65535};
    struct hv_msi_message messages[ARRAY_COUNT(indexes)];

    (void)state;
    assert_int_equal(create_software(ID), HV_OK);
    for (size_t i = 0; i < ARRAY_COUNT(indexes); i++) {
        assert_int_equal(map(indexes[i], 1, to((uint8_t)(0x50 + i), 1ull << i % PROCESSORS, false), &messages[i]),
                         HV_OK);
        assert_int_equal(messages[i].address & ~0xfffffull, 0xfee00000);
        assert_true(messages[i].address & 1u << 4); /* no plain message has this */
    }
    for (size_t i = 0; i < ARRAY_COUNT(indexes); i++) {
        assert_int_equal(request(messages[i].address, messages[i].data), HV_OK);
        assert_int_equal(sent.vector, 0x50 + i);
        assert_int_equal(sent.vps, 1ull << i % PROCESSORS);
    }
    assert_int_equal(sent.posts, ARRAY_COUNT(indexes));
    assert_int_equal(map(65536, 1, to(0x50, 1, false), &messages[0]), HV_E_INVALID);
    assert_int_equal(map(255, 1, to(0x50, 1, false), &messages[0]), HV_E_CONFLICT);
}

static void several_messages(void **state)
{
    struct hv_vpci_target target = to(0x61, 6, true), got;
    struct hv_msi_message first, third;

    (void)state;
    assert_int_equal(create_software(ID), HV_OK);
    assert_int_equal(map(9, 4, to(0x60, 1, false), &first), HV_OK);
    third = first;
    third.data += 2;
    assert_int_equal(hv_vpci_retarget(&partition, ID, &third, &target), HV_OK);
    for (uint32_t n = 0; n < 4; n++) {
        assert_int_equal(request(first.address, first.data + n), HV_OK);
        assert_int_equal(sent.vector, n == 2 ? 0x61 : 0x60);
        assert_int_equal(sent.vps, n == 2 ? 6 : 1);
        assert_int_equal(hv_vpci_interrupt_target(&partition, ID, 9, n, &got), HV_OK);
        assert_int_equal(got.vector, n == 2 ? 0x61 : 0x60);
        assert_int_equal(got.is_multicast, n == 2);
    }
    assert_int_equal(request(first.address, first.data + 4), HV_E_INVALID);
    assert_int_equal(hv_vpci_interrupt_target(&partition, ID, 9, 4, &got), HV_E_INVALID);
    assert_int_equal(hv_vpci_interrupt_target(&partition, ID, 8, 0, &got), HV_E_INVALID);
    assert_int_equal(hv_vpci_unmap_interrupt(&partition, ID, 9), HV_OK);
    assert_int_equal(request(first.address, first.data), HV_E_INVALID);
    assert_int_equal(hv_vpci_retarget(&partition, ID, &first, &target), HV_E_INVALID);
    assert_int_equal(hv_vpci_unmap_interrupt(&partition, ID, 9), HV_E_INVALID);
}

static void targets(void **state)
{
    struct hv_msi_message message;

    (void)state;
    assert_int_equal(create_software(ID), HV_OK);
    assert_int_equal(map(0, 1, to(15, 1, false), &message), HV_E_INVALID);
    assert_int_equal(map(0, 1, to(0x50, 0, false), &message), HV_E_INVALID);
    assert_int_equal(map(0, 1, to(0x50, 1 << PROCESSORS, false), &message), HV_E_INVALID);
    assert_int_equal(map(0, 1, to(0x50, 1, true), &message), HV_E_INVALID);
    for (uint32_t count = 0; count < 70; count++)
        if (count != 1 && count != 2 && count != 4 && count != 8 && count != 16 && count != 32)
            assert_int_equal(map(0, count, to(0x50, 1, false), &message), HV_E_INVALID);
    assert_int_equal(map(0, 32, to(16, 0x88, false), &message), HV_OK);
    assert_int_equal(request(message.address, message.data + 31), HV_OK);
    assert_int_equal(sent.vps, 8); /* the lowest */
    partition.properties.processor_count = 64;
    assert_int_equal(map(1, 1, to(16, ~0ull, true), &message), HV_OK);
    assert_int_equal(request(message.address, message.data), HV_OK);
    assert_true(sent.vps == ~0ull);
    partition.properties.local_apic_mode = HV_LOCAL_APIC_NONE;
    assert_int_equal(map(2, 1, to(16, 1, false), &message), HV_E_STATE);
}

/* SDM 3A 11.11: what each field of a message says. */
static void plain_messages(void **state)
{
    static const struct {
        struct hv_msi_message message;
        struct hv_interrupt wanted;
    } rows[] = {
        {{0xfee00000, 0x41}, {.type = 0, .vector = 0x41}},
        {{0xfeea5000, 0xff}, {.type = 0, .destination = 0xa5, .vector = 0xff}},
        {{0xfee03004, 0x42}, {.type = 0, .is_logical = true, .destination = 3, .vector = 0x42}},
        {{0xfee0300c, 0x43}, {.type = 1, .is_logical = true, .destination = 3, .vector = 0x43}},
        {{0xfee03004, 0x144}, {.type = 1, .is_logical = true, .destination = 3, .vector = 0x44}},
        {{0xfee01000, 0xc045}, {.type = 0, .destination = 1, .vector = 0x45}},
        {{0xfeeff000, 0x400}, {.type = 4, .destination = 0xff}},
    };
    static const struct hv_msi_message bad[] = {
        {0xfee00000, 0x240}, {0xfee00000, 0x340},    {0xfee00000, 0x540}, {0xfee00000, 0x640},
        {0xfee00000, 0x740}, {0xfee00000, 0x0f},     {0xfed00000, 0x40},  {0xfef00000, 0x40},
        {0xfee00010, 0x40},  {0x1fee00000ull, 0x40}, {0, 0x40},           {0xfee00018, 0},
    };

    (void)state;
    assert_int_equal(create_software(ID), HV_OK);
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        assert_int_equal(hv_vpci_request(&partition, ID, &rows[i].message), HV_OK);
        assert_int_equal(sent.interrupt.type, rows[i].wanted.type);
        assert_int_equal(sent.interrupt.is_logical, rows[i].wanted.is_logical);
        assert_false(sent.interrupt.is_level);
        assert_int_equal(sent.interrupt.destination, rows[i].wanted.destination);
        assert_int_equal(sent.interrupt.vector, rows[i].wanted.vector);
        assert_int_equal(vpci_check_request(&partition, ID, &rows[i].message), HV_OK);
    }
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_int_equal(hv_vpci_request(&partition, ID, &bad[i]), HV_E_INVALID);
        if (bad[i].address != 0xfee00018) /* may be mapped later */
            assert_int_equal(vpci_check_request(&partition, ID, &bad[i]), HV_E_INVALID);
    }
    assert_int_equal(sent.posts, 0);
    assert_int_equal(hv_vpci_request(&partition, 5, &rows[0].message), HV_E_DEVICE);
    assert_int_equal(vpci_check_request(&partition, 5, &rows[0].message), HV_E_DEVICE);
    assert_int_equal(create_with(5, NULL, 0, 0, NULL), HV_OK);
    assert_int_equal(hv_vpci_request(&partition, 5, &rows[0].message), HV_E_STATE);
    assert_int_equal(vpci_check_request(&partition, 5, &rows[0].message), HV_E_STATE);
}

static void interrupts_of_the_machines_devices(void **state)
{
    const struct hv_msi_message plain = {0xfee04000, 0x45}, nobody = {0xfee04004, 0x45}, lost = {0xfee00018, 7};
    struct hv_vpci_target target = to(0x52, 0x60, true);
    struct hv_msi_message mapped;

    (void)state;
    assert_int_equal(create_physical(ID), HV_OK);
    assert_int_equal(map(77, 1, to(0x51, 8, false), &mapped), HV_OK);
    calls[0] = '\0';
    assert_int_equal(fake.ops->cpu_of(fake.owner, &mapped), 13);
    fake.ops->interrupt(fake.owner, &mapped);
    assert_int_equal(sent.vector, 0x51);
    assert_int_equal(sent.vps, 8);
    assert_int_equal(hv_vpci_retarget(&partition, ID, &mapped, &target), HV_OK);
    EXPECT_CALLS("R");
    assert_int_equal(fake.ops->cpu_of(fake.owner, &mapped), 15);
    fake.ops->interrupt(fake.owner, &mapped);
    assert_int_equal(sent.vps, 0x60);
    fake.ops->interrupt(fake.owner, &plain);
    assert_int_equal(sent.interrupts, 1);
    assert_int_equal(sent.interrupt.destination, 4);
    assert_int_equal(fake.ops->cpu_of(fake.owner, &plain), 14);
    assert_int_equal(fake.ops->cpu_of(fake.owner, &nobody), 0);
    fake.ops->interrupt(fake.owner, &lost);
    assert_int_equal(fake.ops->cpu_of(fake.owner, &lost), 0);
    assert_int_equal(sent.posts, 2);
    assert_true(fake_irqs_on());
    assert_int_equal(request(mapped.address, mapped.data), HV_E_STATE); /* the device does it */
}

/* ------------------------------------------------------------------------------------ registers */

static enum hv_status read(uint32_t space, uint64_t offset, uint32_t size, uint64_t *value)
{
    *value = 0x1111111111111111ull;
    return hv_vpci_read(&partition, ID, space, offset, size, value);
}

static void registers(void **state)
{
    uint64_t value = 0x0123456789abcdefull;

    (void)state;
    assert_int_equal(create_physical(ID), HV_OK);
    assert_int_equal(hv_vpci_write(&partition, ID, HV_VPCI_CONFIG, 0x12, 2, &value), HV_OK);
    assert_int_equal(fake.config_offset, 0x12);
    assert_int_equal(fake.config_size, 2);
    assert_int_equal(fake.config_value, 0xcdef);
    assert_int_equal(hv_vpci_write(&partition, ID, 1, 0x3ff8, 8, &value), HV_OK);
    assert_true(fake.bar_value == value);
    assert_int_equal(read(HV_VPCI_CONFIG, 0xffe, 2, &value), HV_OK);
    assert_true(value == 0x111111111111cdefull); /* and no byte more */
    assert_int_equal(read(1, 4, 4, &value), HV_OK);
    assert_true(value == 0x1111111189abcdefull);
    assert_int_equal(read(HV_VPCI_CONFIG, 0x1000, 4, &value), HV_E_INVALID);
    assert_int_equal(read(HV_VPCI_CONFIG, 0, 8, &value), HV_E_INVALID);
    assert_int_equal(read(HV_VPCI_CONFIG, 2, 4, &value), HV_E_INVALID);
    assert_int_equal(read(HV_VPCI_CONFIG, 1ull << 32, 4, &value), HV_E_INVALID);
    assert_int_equal(read(1, 0, 3, &value), HV_E_INVALID);
    assert_int_equal(read(1, 0, 0, &value), HV_E_INVALID);
    assert_int_equal(read(1, 4, 8, &value), HV_E_INVALID);
    assert_int_equal(read(6, 0, 4, &value), HV_E_INVALID);
    assert_int_equal(read(2, 0, 4, &value), HV_E_INVALID);
    assert_int_equal(hv_vpci_write(&partition, ID, 1, 0, 16, &value), HV_E_INVALID);
}

static void power(void **state)
{
    struct hv_vpci_range *r = NULL, *again = NULL;
    uint64_t value;
    uint32_t count;

    (void)state;
    assert_int_equal(create_physical(ID), HV_OK);
    calls[0] = '\0';
    assert_int_equal(hv_vpci_map(&partition, ID, &r, &count), HV_OK);
    assert_int_equal(hv_vpci_map(&partition, ID, &again, &count), HV_OK);
    assert_ptr_equal(r, again);
    assert_int_equal(count, 2);
    fake.set_power = HV_E_UNSUPPORTED;
    assert_int_equal(hv_vpci_set_power(&partition, ID, 3), HV_E_UNSUPPORTED);
    EXPECT_CALLS("M"); /* still mapped */
    fake.set_power = HV_OK;
    assert_int_equal(hv_vpci_set_power(&partition, ID, 4), HV_E_INVALID);
    assert_int_equal(hv_vpci_set_power(&partition, ID, 3), HV_OK);
    EXPECT_CALLS("m");
    assert_int_equal(fake.power, 3);
    assert_int_equal(read(1, 0, 4, &value), HV_E_STATE);
    assert_int_equal(hv_vpci_write(&partition, ID, 1, 0, 4, &value), HV_E_STATE);
    assert_int_equal(read(HV_VPCI_CONFIG, 0, 4, &value), HV_OK);
    assert_int_equal(hv_vpci_map(&partition, ID, &r, &count), HV_E_STATE);
    assert_int_equal(hv_vpci_unmap(&partition, ID), HV_OK);
    assert_int_equal(hv_vpci_set_power(&partition, ID, 0), HV_OK);
    assert_int_equal(read(1, 0, 4, &value), HV_OK);
    fake.map = HV_E_NO_MEMORY;
    assert_int_equal(hv_vpci_map(&partition, ID, &r, &count), HV_E_NO_MEMORY);
    fake.map = HV_OK;
    assert_int_equal(hv_vpci_map(&partition, ID, &r, &count), HV_OK);
    assert_int_equal(hv_vpci_unmap(&partition, ID), HV_OK);
    EXPECT_CALLS("MMm");
}

static void removal(void **state)
{
    enum hv_vpci_notification notice;
    void *event = fake_event_create();
    uint64_t value;

    (void)state;
    assert_int_equal(create_with(ID, &function.address, 0, HV_VPCI_PHYSICAL, event), HV_OK);
    fake.bar_value = ~0ull;
    assert_int_equal(read(1, 0, 4, &value), HV_OK); /* just a register with ones */
    assert_int_equal(hv_vpci_notification(&partition, ID, &notice), HV_OK);
    assert_int_equal(notice, HV_VPCI_NOTIFY_NONE);
    fake.is_gone = true;
    fake.bar_value = UINT16_MAX;
    assert_int_equal(read(1, 0, 4, &value), HV_OK);
    assert_int_equal(fake_event_signals(event), 0);
    assert_int_equal(read(1, 0, 2, &value), HV_OK);
    assert_int_equal(read(1, 0, 2, &value), HV_OK);
    assert_int_equal(fake_event_signals(event), 1);
    assert_int_equal(hv_vpci_notification(&partition, ID, &notice), HV_OK);
    assert_int_equal(notice, HV_VPCI_NOTIFY_REMOVAL);
    assert_int_equal(hv_vpci_notification(&partition, ID, &notice), HV_OK);
    assert_int_equal(notice, HV_VPCI_NOTIFY_NONE);
    assert_int_equal(hv_vpci_delete(&partition, ID), HV_OK);
    assert_int_equal(hv_vpci_notification(&partition, ID, &notice), HV_E_DEVICE);
    fake_event_close(event);
}

/* What they have no answer to is the client's. */
static void software_devices_have_no_registers(void **state)
{
    struct hv_vpci_range *r;
    struct hv_vpci_ids ids;
    uint32_t bars[6], count;
    uint64_t value;

    (void)state;
    assert_int_equal(create_software(ID), HV_OK);
    assert_int_equal(hv_vpci_ids(&partition, ID, &ids), HV_E_INVALID);
    assert_int_equal(hv_vpci_probed_bars(&partition, ID, bars), HV_E_INVALID);
    assert_int_equal(hv_vpci_map(&partition, ID, &r, &count), HV_E_INVALID);
    assert_int_equal(hv_vpci_unmap(&partition, ID), HV_E_INVALID);
    assert_int_equal(hv_vpci_set_power(&partition, ID, 0), HV_E_INVALID);
    assert_int_equal(read(HV_VPCI_CONFIG, 0, 4, &value), HV_E_INVALID);
    assert_int_equal(hv_vpci_write(&partition, ID, HV_VPCI_CONFIG, 0, 4, &value), HV_E_INVALID);
    assert_int_equal(hv_vpci_delete(&partition, ID), HV_OK);
    assert_int_equal(create_physical(ID), HV_OK);
    assert_int_equal(hv_vpci_ids(&partition, ID, &ids), HV_OK);
    assert_memory_equal(&ids, &function.ids, sizeof(ids));
    assert_int_equal(hv_vpci_probed_bars(&partition, ID, bars), HV_OK);
    assert_int_equal(bars[5], 0xfffff005);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VPCI_TEST(resources),
        VPCI_TEST(the_order_of_things),
        VPCI_TEST(what_is_refused),
        VPCI_TEST(errors_of_each_step),
        VPCI_TEST(without_memory),
        VPCI_TEST(deletion_waits_for_calls),
        VPCI_TEST(who_takes_an_interrupt_away_waits),
        VPCI_TEST(interrupts_go_with_their_device),
        VPCI_TEST(numbers_of_all_kinds),
        VPCI_TEST(messages_of_all_indexes),
        VPCI_TEST(several_messages),
        VPCI_TEST(targets),
        VPCI_TEST(plain_messages),
        VPCI_TEST(interrupts_of_the_machines_devices),
        VPCI_TEST(registers),
        VPCI_TEST(power),
        VPCI_TEST(removal),
        VPCI_TEST(software_devices_have_no_registers),
    };

    return cmocka_run_group_tests_name("vpci", tests, NULL, NULL);
}
