/* SPDX-License-Identifier: MIT */
/*
 * Posted interrupts from a device's MSI-X table to the guest: a passed function behind a VT-d unit that posts, VPs on
 * CPUs that take what is posted, and interrupts that are raised whenever the library lets them come. Each that was
 * raised arrives, none twice, and nothing is left behind.
 */
#include "dmar_table.h"
#include "fake_device.h"
#include "fake_pci.h"
#include "fake_vtd.h"
#include "random.h"
#include "run_vp.h"
#include "virt/irq.h"
#include "virt/vpci.h"
#include <arch/iommu.h>
#include <pci/passthrough.h>
#include <signal.h>
#include <ucontext.h>

#define BDF      HV_PCI_BDF(0, 3, 0)
#define UNIT     0xfed90000ull
#define BAR_PA   0xfe000000ull
#define BAR_SIZE 0x4000u
#define TABLE    0x2000u
#define PBA      0x3000u
#define ENTRIES  6u
#define ID       0x77ull
#define VPS      2u

#define ALLOW_DEVICE_ASSIGNMENT 0x000c

#define CPU2_APIC (CPU2_VIRT_APIC_ACCESSES | CPU2_VIRT_X2APIC | CPU2_APIC_REGISTER_VIRT | CPU2_VIRT_INTR_DELIVERY)

static struct hv_vp *other; /* VP 1 */
static struct fake_vtd *unit;
static struct fake_pci *f;
static uint8_t registers[BAR_SIZE];
static uint16_t msix;
static struct dmar_table table;

/* ----------------------------------------------------------------------------- what is expected */

static struct model {
    bool is_owed[256]; /* raised, and not arrived since */
    uint32_t raised[256], arrived[256];
} model[VPS];

static struct {
    uint32_t vp;
    uint8_t vector;
    bool is_masked, is_pending;
} entries[ENTRIES];

static uint32_t in_guest; /* whose guest takes interrupts */
static uint64_t posted, remapped, silent;

static void owe(uint32_t vp_index, uint8_t vector)
{
    model[vp_index].is_owed[vector] = true;
    model[vp_index].raised[vector]++;
}

static bool owes(uint32_t vp_index)
{
    for (unsigned v = 0; v < 256; v++)
        if (model[vp_index].is_owed[v])
            return true;
    return false;
}

static void on_guest_interrupt(uint8_t vector)
{
    struct model *m = &model[in_guest];

    m->is_owed[vector] = false;
    if (++m->arrived[vector] > m->raised[vector])
        fake_fail("VP %u: vector 0x%x has come more often than it was raised", in_guest, vector);
}

/* ------------------------------------------------------------------------------------ the device */

static uint32_t physical(uint32_t n, uint32_t field)
{
    uint32_t value;

    memcpy(&value, registers + TABLE + 16 * n + field, 4);
    return value;
}

/* The device sends message n, as its own table says; the unit and the APICs do the rest. */
static void send(uint32_t n)
{
    uint64_t address = physical(n, 0) | (uint64_t)physical(n, 4) << 32;
    struct fake_vtd_interrupt i;

    if (!(fake_pci_get(f, msix + 2u, 2) & 0x8000) || physical(n, 12) & 1)
        return;
    if (entries[n].is_masked)
        entries[n].is_pending = true;
    else
        owe(entries[n].vp, entries[n].vector);
    if (!fake_vtd_message(unit, BDF, address, physical(n, 8), &i))
        fake_fail("a message of entry %u was blocked", n);
    posted += i.is_posted;
    remapped += !i.is_posted;
    silent += i.is_silent;
    if (!i.is_silent)
        fake_apic_send(i.destination, i.vector);
}

static uint32_t chance; /* of 256, that something is raised where it can be */

static void maybe_send(void)
{
    while (rnd(256) < chance)
        send((uint32_t)rnd(ENTRIES));
}

static void write_bar(uint32_t offset, uint32_t size, uint64_t value)
{
    assert_int_equal(hv_vpci_write(partition, ID, 0, offset, size, &value), HV_OK);
}

static void mask(uint32_t n, bool is_masked)
{
    if (is_masked == entries[n].is_masked)
        return;
    entries[n].is_masked = is_masked;
    if (!is_masked && entries[n].is_pending) {
        owe(entries[n].vp, entries[n].vector);
        entries[n].is_pending = false;
    }
    write_bar(TABLE + 16 * n + 12, 4, is_masked);
}

static void write_message(uint32_t n, uint64_t address, uint32_t data)
{
    write_bar(TABLE + 16 * n, 8, address);
    write_bar(TABLE + 16 * n + 8, 4, data);
}

/* ------------------------------------------------------------------------------------- the machine */

static void add_unit(uint64_t cap)
{
    dmar_begin(&table, 39, 1);
    dmar_unit(&table, 0, UNIT, true);
    fake_acpi_add(table.bytes, table.size);
    unit = fake_vtd_add(UNIT, cap, FAKE_VTD_ECAP_TYPICAL);
}

static void table_reset(struct fake_pci *function)
{
    (void)function;
    memset(registers, 0, sizeof(registers));
    for (uint32_t n = 0; n < ENTRIES; n++)
        registers[TABLE + 16 * n + 12] = 1;
}

static void add_device(void)
{
    f = fake_pci_add(0, BDF, 0x1234, 0x5678, 0x010802);
    fake_pci_bar(f, 0, BAR_PA, BAR_SIZE, FAKE_PCI_BAR_64);
    fake_pci_express(f, 0, true);
    msix = fake_pci_msix(f, ENTRIES, 0, TABLE, 0, PBA);
    fake_pci_acs(f, 0, 0);
    f->on_reset = table_reset;
    table_reset(f);
    fake_mmio_add(BAR_PA, BAR_SIZE, &fake_device_bytes, registers);
    fake_pci_start(FAKE_PCI_ECAM);
}

static void offer_posting(uint32_t pin_msr, uint32_t exit_msr)
{
    fake_set_msr(pin_msr, *fake_msr(0, pin_msr) | PIN_POSTED_INTR << 32);
    fake_set_msr(exit_msr, *fake_msr(0, exit_msr) | EXIT_ACK_INTR << 32);
}

static struct hv_vp *vp_of(uint32_t index)
{
    return index ? other : vp;
}

static void target(uint32_t n, uint32_t vp_index, uint8_t vector)
{
    const struct hv_vpci_target t = {.vector = vector, .vps = 1ull << vp_index};
    struct hv_msi_message m;

    assert_int_equal(hv_vpci_map_interrupt(partition, ID, n, 1, &t, &m), HV_OK);
    entries[n].vp = vp_index;
    entries[n].vector = vector;
    write_message(n, m.address, m.data);
    write_bar(TABLE + 16 * n + 12, 4, 0);
}

static void give_device(void)
{
    const struct hv_pci_address address = {0, BDF};
    struct hv_vpci_resource *r;
    uint16_t control = 0x8000;

    assert_int_equal(hv_vpci_resource_open(&address, 0, &r), HV_OK);
    assert_int_equal(hv_vpci_create(partition, ID, r, HV_VPCI_PHYSICAL | HV_VPCI_LOGICAL_INTERRUPTS, NULL), HV_OK);
    hv_vpci_resource_close(r);
    memset(entries, 0, sizeof(entries));
    assert_int_equal(hv_vpci_write(partition, ID, HV_VPCI_CONFIG, msix + 2u, 2, &control), HV_OK);
    for (uint32_t n = 0; n < ENTRIES; n++)
        target(n, n % VPS, (uint8_t)(0x40 + 0x10 * n));
}

static void start_apic(void)
{
    set(HV_REG_APIC_BASE, get(HV_REG_APIC_BASE) | APIC_BASE_EXTD);
    set(HV_REG_APIC_BASE_NUMBER + APIC_SVR / 16, APIC_SVR_ENABLE | 0xff);
}

static void start_both(void)
{
    struct hv_vp *first = vp;

    vp = other;
    set(HV_REG_INTERNAL_ACTIVITY_STATE, 0);
    start_protected();
    start_apic();
    vp = first;
}

static int start_posting(void **state, uint64_t pin, uint64_t cap)
{
    struct hv_platform platform;

    if (machine_setup(state))
        return -1;
    memset(model, 0, sizeof(model));
    posted = remapped = silent = 0;
    chance = 0;
    if (pin) {
        offer_posting(MSR_IA32_VMX_PINBASED_CTLS, MSR_IA32_VMX_EXIT_CTLS);
        offer_posting(MSR_IA32_VMX_TRUE_PINBASED_CTLS, MSR_IA32_VMX_TRUE_EXIT_CTLS);
    }
    add_unit(cap);
    add_device();
    fake_set_msr(MSR_IA32_VMX_PROCBASED_CTLS2, *fake_msr(0, MSR_IA32_VMX_PROCBASED_CTLS2) | CPU2_APIC << 32);
    if (!hv_platform()->present || !vmx_probe(&platform) || !hv_iommu_platform()->remaps_interrupts)
        return -1;
    fake_set_cpus(2);
    if (hv_partition_create(&partition) != HV_OK)
        return -1;
    set_property(COUNT, VPS);
    set_property(LOCAL_APIC_MODE, HV_LOCAL_APIC_X2APIC);
    set_property(ALLOW_DEVICE_ASSIGNMENT, 1);
    ram = fake_ram_alloc(RAM_SIZE, RAM_PA);
    if (hv_partition_setup(partition) != HV_OK || hv_partition_map(partition, ram, 0, RAM_SIZE, NPT_RIGHTS) != HV_OK)
        return -1;
    for (uint32_t i = 0; i < VPS; i++)
        if (hv_vp_create(partition, i) != HV_OK)
            return -1;
    vp = hv_vp_ref(partition, 0);
    other = hv_vp_ref(partition, 1);
    start_protected();
    start_apic();
    start_both();
    give_device();
    fake_vmx_on_interrupt(on_guest_interrupt);
    return 0;
}

static int setup_posting(void **state)
{
    return start_posting(state, PIN_POSTED_INTR, FAKE_VTD_CAP_TYPICAL | FAKE_VTD_CAP_PI);
}

static int teardown_posting(void **state)
{
    if (machine_is_refused())
        return 0;
    chance = 0;
    fake_on_wait(NULL);
    fake_on_irqs_on(NULL);
    fake_on_apic_id(NULL);
    hv_vp_unref(other);
    hv_vp_unref(vp);
    if (hv_partition_delete(partition) != HV_OK)
        return -1;
    fake_ram_free(ram);
    assert_int_equal(passthrough_counts().devices + passthrough_counts().vectors + passthrough_counts().entries, 0);
    pci_forget();
    assert_int_equal(fake_counts().vectors, 0);
    return machine_teardown(state);
}

#define POSTED_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup_posting, teardown_posting)

/* -------------------------------------------------------------------------------------- running */

/* All that was raised before it runs has arrived. */
static void in_the_guest(uint64_t gpr[16])
{
    (void)gpr;
    if (owes(in_guest))
        fake_fail("VP %u: an interrupt is late", in_guest);
    maybe_send();
}

#define GUEST_STEP(exit_reason, bytes)                                   \
    {                                                                    \
        .run = in_the_guest, .reason = (exit_reason), .length = (bytes), \
    }

#define STOP                                   \
    {                                          \
        .reason = EXIT_REASON_IO, .length = 1, \
    }

/* To an exit for the client. */
static void run_once_on(uint32_t index)
{
    struct hv_exit_context exit;

    in_guest = index;
    memset(&exit, 0, sizeof(exit));
    FAKE_GUEST(GUEST_STEP(EXIT_REASON_CPUID, 2), GUEST_STEP(EXIT_REASON_CPUID, 2), GUEST_STEP(EXIT_REASON_IO, 1));
    assert_int_equal(hv_vp_run(vp_of(index), &exit), HV_OK);
    assert_int_equal(fake_guest_left(), 0);
}

static void run_to_client(void)
{
    struct hv_exit_context exit = {0};

    in_guest = 0;
    assert_int_equal(hv_vp_run(vp, &exit), HV_OK);
    assert_reason(&exit, HV_EXIT_IO);
}

static void assert_nothing_owed(void)
{
    for (uint32_t i = 0; i < VPS; i++)
        for (unsigned v = 0; v < 256; v++)
            if (model[i].is_owed[v])
                fail_msg("VP %u: vector 0x%x was lost", i, v);
}

static void drain(void)
{
    chance = 0;
    for (uint32_t i = 0; i < VPS; i++)
        run_once_on(i);
    assert_nothing_owed();
}

static const struct posted *descriptor(uint32_t index)
{
    return vp_of(index)->vcpu->posted;
}

/* -------------------------------------------------------------------------------- one by one */

static void a_running_vp_gets_it_without_an_exit(void **state)
{
    uint64_t entries_before;

    (void)state;
    run_once_on(0);
    assert_non_null(descriptor(0));
    assert_true(fake_vmcs_get(VMCS_PIN_CONTROLS) & PIN_POSTED_INTR);
    assert_true(fake_vmcs_get(VMCS_EXIT_CONTROLS) & EXIT_ACK_INTR);
    assert_int_equal(fake_vmcs_get(VMCS_POSTED_INTR_DESC_ADDR), descriptor(0)->pa);
    assert_int_equal(descriptor(0)->pa % 64, 0);
    entries_before = fake_vmx_counts.entries;
    chance = 128;
    for (unsigned i = 0; i < 20; i++)
        run_once_on(0);
    assert_int_equal(fake_vmx_counts.entries - entries_before, 20 * 3); /* none ended before its exit */
    drain();
    assert_true(posted > 10);
    assert_int_equal(remapped, 0);
}

static void nobody_is_told_while_nobody_runs_it(void **state)
{
    (void)state;
    run_once_on(0);
    send(0);
    send(0);
    assert_int_equal(silent, 2);
    assert_int_equal(vp->shared.requests, 0);
    assert_false(posted_is_empty(descriptor(0)));
    drain();
    assert_int_equal(model[0].arrived[0x40], 1);
    assert_true(posted_is_empty(descriptor(0)));
}

static unsigned naps;

static void send_to_the_sleeper(const volatile uint32_t *word, uint32_t expected)
{
    uint32_t before = *word;

    assert_int_equal(before, expected);
    send(0);
    assert_int_not_equal(*word, before); /* woken */
    naps++;
}

static void a_vp_that_waits_is_woken(void **state)
{
    struct hv_exit_context exit = {0};

    (void)state;
    fake_on_wait(send_to_the_sleeper);
    in_guest = 0;
    naps = 0;
    FAKE_GUEST({.reason = EXIT_REASON_HLT, .length = 1}, STOP);
    assert_int_equal(hv_vp_run(vp, &exit), HV_OK);
    assert_int_equal(naps, 1);
    assert_int_equal(model[0].arrived[0x40], 1);
    assert_true(descriptor(0)->control & POSTED_SN);
    assert_int_equal(descriptor(0)->cpu, HV_CPU_NONE);
}

static void never_asleep(const volatile uint32_t *word, uint32_t expected)
{
    (void)word, (void)expected;
    fail_msg("it sleeps over an interrupt that was posted before");
}

static void send_0(void)
{
    fake_on_apic_id(NULL);
    send(0);
}

static void arm_send(uint64_t gpr[16])
{
    (void)gpr;
    fake_on_apic_id(send_0);
}

/* It comes after the VP was put and before it waits: nobody was notified. */
static void what_was_posted_on_the_way_to_sleep(void **state)
{
    struct hv_exit_context exit = {0};

    (void)state;
    fake_on_wait(never_asleep);
    in_guest = 0;
    FAKE_GUEST({.run = arm_send, .reason = EXIT_REASON_HLT, .length = 1}, STOP);
    assert_int_equal(hv_vp_run(vp, &exit), HV_OK);
    assert_int_equal(silent, 1);
    assert_int_equal(model[0].arrived[0x40], 1);
}

static void masked_ones_are_kept(void **state)
{
    (void)state;
    mask(0, true);
    send(0);
    assert_int_equal(posted, 0);
    assert_int_equal(remapped, 1);
    drain();
    assert_int_equal(model[0].arrived[0x40], 0);
    assert_true(entries[0].is_pending);
    mask(0, false);
    send(0);
    assert_int_equal(posted, 1);
    drain();
    assert_in_range(model[0].arrived[0x40], 1, 2);
}

static void write_control(uint16_t control)
{
    assert_int_equal(hv_vpci_write(partition, ID, HV_VPCI_CONFIG, msix + 2u, 2, &control), HV_OK);
}

static void a_function_mask_too(void **state)
{
    (void)state;
    write_control(0xc000);
    entries[2].is_masked = entries[3].is_masked = true;
    send(2);
    send(3);
    assert_int_equal(posted, 0);
    assert_int_equal(remapped, 2);
    drain();
    owe(entries[2].vp, entries[2].vector);
    owe(entries[3].vp, entries[3].vector);
    entries[2].is_masked = entries[3].is_masked = false;
    write_control(0x8000);
    drain();
    send(2);
    send(3);
    assert_int_equal(posted, 2);
    drain();
}

static void retarget_to(uint32_t n, uint32_t vp_index, uint8_t vector, uint64_t more_vps)
{
    const struct hv_vpci_target t = {
        .vector = vector, .vps = 1ull << vp_index | more_vps, .is_multicast = more_vps != 0};
    const struct hv_msi_message m = {.address = 0xfee00018 | (uint64_t)n << 5, .data = 0};

    assert_int_equal(hv_vpci_retarget(partition, ID, &m, &t), HV_OK);
    entries[n].vp = vp_index;
    entries[n].vector = vector;
}

static void a_new_target_from_then_on(void **state)
{
    (void)state;
    send(0);
    retarget_to(0, 1, 0x99, 0);
    send(0);
    assert_int_equal(posted, 2);
    assert_false(posted_is_empty(descriptor(0)));
    assert_false(posted_is_empty(descriptor(1)));
    drain();
    assert_int_equal(model[0].arrived[0x40], 1);
    assert_int_equal(model[1].arrived[0x99], 1);
}

static void several_targets_are_not_posted(void **state)
{
    (void)state;
    retarget_to(0, 0, 0x41, 2);
    owe(1, 0x41);
    send(0);
    assert_int_equal(posted, 0);
    drain();
    retarget_to(0, 0, 0x41, 0);
    send(0);
    assert_int_equal(posted, 1);
    drain();
}

/* address, data, posted, vp, vector */
static void plain_messages(void **state)
{
    static const struct {
        uint64_t address;
        uint32_t data;
        bool is_posted;
        uint32_t vp;
    } cases[] = {
        {0xfee00000, 0x51, true, 0},  {0xfee01000, 0x52, true, 1},  {0xfee01008, 0x152, true, 1},
        {0xfeeff000, 0x53, false, 2}, /* all */
        {0xfee01004, 0x54, true, 0},  /* logical: bit 0 of cluster 0 is VP 0 */
        {0xfee02004, 0x55, true, 1},  {0xfee03004, 0x56, false, 2}, {0xfee00000, 0x400, false, 3},
    };

    (void)state;
    mask(0, true);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        uint64_t before = posted;

        write_message(0, cases[i].address, cases[i].data);
        write_bar(TABLE + 12, 4, 0);
        entries[0].is_masked = true; /* owed by hand */
        if (cases[i].vp != 1 && cases[i].vp < 3)
            owe(0, (uint8_t)cases[i].data);
        if (cases[i].vp == 1 || cases[i].vp == 2)
            owe(1, (uint8_t)cases[i].data);
        send(0);
        assert_int_equal(posted - before, cases[i].is_posted);
        if (cases[i].vp < 3)
            drain();
        write_bar(TABLE + 12, 4, 1);
    }
}

static void set_of(struct hv_vp *who, uint32_t name, uint64_t value)
{
    struct hv_vp *first = vp;

    vp = who;
    set(name, value);
    vp = first;
}

/* Who is addressed by a logical destination changes with the APICs' registers: at once. */
static void logical_addresses_that_change(void **state)
{
    const uint32_t ldr = HV_REG_APIC_BASE_NUMBER + APIC_LDR / 16;

    (void)state;
    for (uint32_t i = 0; i < VPS; i++) {
        set_of(vp_of(i), HV_REG_APIC_BASE, APIC_DEFAULT_BASE | APIC_BASE_EN | (i ? 0 : APIC_BASE_BSP));
        set_of(vp_of(i), ldr, 0x01000000ull << i);
        set_of(vp_of(i), HV_REG_APIC_BASE_NUMBER + APIC_SVR / 16, APIC_SVR_ENABLE | 0xff);
    }
    mask(0, true);
    write_message(0, 0xfee02004, 0x45);
    entries[0].vp = 1;
    entries[0].vector = 0x45;
    mask(0, false);
    send(0);
    assert_int_equal(posted, 1);
    drain();
    set_of(vp, ldr, 0x06000000); /* both */
    owe(0, 0x45);
    send(0);
    assert_int_equal(posted, 1);
    drain();
    set_of(other, ldr, 0x08000000); /* the first alone */
    entries[0].vp = 0;
    send(0);
    assert_int_equal(posted, 2);
    drain();
    assert_int_equal(model[0].arrived[0x45], 2);
    assert_int_equal(model[1].arrived[0x45], 2);
}

/* An APIC that its software has switched off takes none, whoever delivers. */
static void a_disabled_apic_takes_none(void **state)
{
    (void)state;
    run_once_on(0);
    set_of(vp, HV_REG_APIC_BASE_NUMBER + APIC_SVR / 16, 0xff);
    FAKE_GUEST(STOP, STOP);
    send(0);
    run_to_client();
    assert_false(fake_vmcs_get(VMCS_PIN_CONTROLS) & PIN_POSTED_INTR);
    send(0);
    run_to_client();
    assert_true(posted_is_empty(descriptor(0)));
    assert_int_equal(model[0].arrived[0x40], 0);
    memset(&model[0], 0, sizeof(model[0]));
    set_of(vp, HV_REG_APIC_BASE_NUMBER + APIC_SVR / 16, APIC_SVR_ENABLE | 0xff);
    send(0);
    drain();
    assert_true(fake_vmcs_get(VMCS_EXIT_CONTROLS) & EXIT_ACK_INTR);
}

/* -------------------------------------------------------------------------------------- ends */

static void a_deleted_vp_is_posted_to_no_more(void **state)
{
    (void)state;
    send(1);
    hv_vp_unref(other);
    assert_int_equal(hv_vp_delete(partition, 1), HV_OK);
    memset(&model[1], 0, sizeof(model[1]));
    send(1); /* to nobody */
    assert_int_equal(posted, 1);
    assert_int_equal(remapped, 1);
    memset(&model[1], 0, sizeof(model[1]));
    assert_int_equal(hv_vp_create(partition, 1), HV_OK);
    other = hv_vp_ref(partition, 1);
    start_both();
    drain();
    send(1);
    assert_int_equal(posted, 2);
    drain();
}

static void a_taken_device_posts_no_more(void **state)
{
    struct fake_counts before = fake_counts();

    (void)state;
    send(0);
    assert_int_equal(hv_vpci_delete(partition, ID), HV_OK);
    drain();
    assert_int_equal(fake_counts().vectors, 2); /* for notifications */
    give_device();
    assert_int_equal(fake_counts().vectors, before.vectors);
    send(0);
    assert_int_equal(posted, 2);
    drain();
}

static void cancel_the_sleeper(const volatile uint32_t *word, uint32_t expected)
{
    (void)word, (void)expected;
    hv_vp_cancel(other);
}

/* Whose VPs nobody can post to: exits do not take the host's interrupts from its APIC there. */
static void others_go_without(void **state)
{
    struct hv_iommu_platform *platform = (struct hv_iommu_platform *)(uintptr_t)hv_iommu_platform();
    struct hv_partition *p;

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        uint64_t count = 1, allows = i != 0, mode = i == 1 ? HV_LOCAL_APIC_NONE : HV_LOCAL_APIC_X2APIC;

        assert_int_equal(hv_partition_create(&p), HV_OK);
        assert_int_equal(hv_partition_set_property(p, COUNT, &count, sizeof(count)), HV_OK);
        assert_int_equal(hv_partition_set_property(p, LOCAL_APIC_MODE, &mode, sizeof(mode)), HV_OK);
        assert_int_equal(hv_partition_set_property(p, ALLOW_DEVICE_ASSIGNMENT, &allows, sizeof(allows)), HV_OK);
        assert_int_equal(hv_partition_setup(p), HV_OK);
        platform->posts_interrupts = i != 2;
        assert_int_equal(hv_vp_create(p, 0), HV_OK);
        platform->posts_interrupts = true;
        assert_null(p->vps[0]->vcpu->posted);
        assert_int_equal(hv_partition_delete(p), HV_OK);
    }
}

static void an_init_forgets_what_was_posted(void **state)
{
    struct hv_exit_context exit = {0};

    (void)state;
    send(1);
    assert_false(posted_is_empty(descriptor(1)));
    vp_request(other, VP_REQUEST_INIT);
    fake_on_wait(cancel_the_sleeper);
    assert_int_equal(hv_vp_run(other, &exit), HV_OK);
    assert_int_equal(other->activity, HV_ACTIVITY_STARTUP_SUSPEND);
    assert_true(posted_is_empty(descriptor(1)));
}

/* ------------------------------------------------------------------------------------ by chance */

static uint32_t waits_left;

/* Sleeping is right only while nothing is owed; and who is owed something from then on is woken. */
static void on_wait(const volatile uint32_t *word, uint32_t expected)
{
    struct hv_vp *sleeper = vp_of(in_guest);

    if (word != &sleeper->shared.wake) { /* a device is being reset */
        fake_advance_time(100000000);
        return;
    }
    if (*word == expected && owes(in_guest))
        fake_fail("VP %u sleeps over an interrupt", in_guest);
    maybe_send();
    if (*word == expected && owes(in_guest))
        fake_fail("VP %u is not woken", in_guest);
    if (!waits_left--)
        hv_vp_cancel(sleeper);
}

static void toggle_deliverer(uint32_t index)
{
    struct hv_vp *who = vp_of(index);
    bool core = rnd(3) == 0;

    assert_true(vp_claim(who));
    vp_pin(who);
    memset(who->auto_eoi, core ? 0xff : 0, sizeof(who->auto_eoi));
    irq_auto_eoi_changed(who);
    vp_unpin(who);
    vp_release(who);
}

static void run_by_chance(uint32_t index)
{
    static const struct fake_step kinds[] = {GUEST_STEP(EXIT_REASON_CPUID, 2), GUEST_STEP(EXIT_REASON_HLT, 1),
                                             GUEST_STEP(EXIT_REASON_PAUSE, 2)};
    struct fake_step script[12];
    unsigned count = 1 + (unsigned)rnd(10);
    struct hv_exit_context exit = {0};

    for (unsigned i = 0; i < count; i++)
        script[i] = kinds[rnd(ARRAY_COUNT(kinds))];
    script[count] = (struct fake_step)GUEST_STEP(EXIT_REASON_IO, 1);
    fake_guest(script, count + 1);
    in_guest = index;
    waits_left = (uint32_t)rnd(4);
    fake_set_cpu((uint32_t)rnd(2));
    if (rnd(4) == 0)
        fake_migrate_to((uint32_t)rnd(2));
    fake_set_yield(rnd(4) == 0);
    assert_int_equal(hv_vp_run(vp_of(index), &exit), HV_OK);
}

/* The page that a client reads has what was posted so far. */
static void look_at_page(uint32_t index)
{
    static uint32_t page[1024];

    assert_int_equal(hv_vp_get_apic(vp_of(index), page, sizeof(page), NULL), HV_OK);
    for (unsigned v = 0; v < 256; v++)
        if (model[index].is_owed[v] && !(page[(0x200 + v / 32 * 16) / 4] >> v % 32 & 1))
            fail_msg("VP %u: vector 0x%x is not in the page", index, v);
}

static void replace_device(void)
{
    uint32_t before = chance;

    chance = 0;
    assert_int_equal(hv_vpci_delete(partition, ID), HV_OK);
    give_device();
    chance = before;
}

static void act(void)
{
    uint32_t n = (uint32_t)rnd(ENTRIES), index = (uint32_t)rnd(VPS), before = chance;

    switch (rnd(12)) {
    case 0:
        chance = 0;
        mask(n, rnd(2));
        break;
    case 1:
        chance = 0;
        retarget_to(n, (uint32_t)rnd(VPS), (uint8_t)(0x20 + rnd(0xd0)), 0);
        break;
    case 2:
        toggle_deliverer(index);
        break;
    case 3:
        chance = 0;
        look_at_page(index);
        break;
    case 4:
        if (rnd(8) == 0)
            replace_device();
        break;
    case 5:
        maybe_send();
        break;
    default:
        run_by_chance(index);
        break;
    }
    chance = before;
}

static void settle_all(void)
{
    chance = 0;
    for (uint32_t n = 0; n < ENTRIES; n++)
        mask(n, false);
    fake_set_yield(false);
    for (uint32_t i = 0; i < VPS; i++) {
        toggle_deliverer(i);
        vp_of(i)->activity = 0;
        run_once_on(i);
        run_once_on(i);
    }
    assert_nothing_owed();
}

static void none_is_lost_and_none_doubled(void **state)
{
    uint64_t seed = random_start();

    (void)state;
    print_message("# seed %llu\n", (unsigned long long)seed);
    fake_on_wait(on_wait);
    fake_on_irqs_on(maybe_send);
    fake_on_apic_id(maybe_send);
    for (unsigned round = 0; round < 300; round++) {
        for (unsigned i = 0; i < 40; i++) {
            chance = 40;
            act();
        }
        settle_all();
    }
    assert_true(posted > 10000 && silent > 1000 && remapped > 100);
}

/* ------------------------------------------------------------------------------ at each instruction */

/*
 * A device posts while the owner is between any two instructions of what it does with the descriptor: the CPU traps
 * after each, and at one of them, in turn, the post comes.
 */
static struct {
    struct posted *descriptor;
    uint64_t vectors[POSTED_WORDS];
    bool was_posted;
    unsigned at, count;    /* the instruction, and how many there have been */
    bool has_come, is_odd; /* is_odd: it was notified by a vector that nobody looks at */
    unsigned notified;     /* times */
} step;

#define TRAP_FLAG   0x100
#define EARLY       0x41u
#define MEANWHILE   0x93u
#define LATE        0xf2u
#define STEPS_BOUND 20000u

/* VT-d 5.2.3. */
static void post_step(unsigned vector)
{
    struct posted *p = step.descriptor;
    uint64_t control = p->control;

    p->requests[vector / 64] |= 1ull << vector % 64;
    if (control & (POSTED_ON | POSTED_SN))
        return;
    p->control = control | POSTED_ON;
    step.notified++;
    /* those that wait are looked for in a list, those that run in the CPU's word */
    step.is_odd |=
        FIELD_GET(POSTED_NV, control) == posted_vector() ? backend_cpu()->posted.running != p : p->cpu == HV_CPU_NONE;
}

static void on_trap(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    if (step.count++ != step.at)
        return;
    step.has_come = true;
    post_step(MEANWHILE);
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
}

static void call_by_steps(void (*fn)(void))
{
    __asm__ volatile("movq %%rsp, %%rbx\n\t"
                     "subq $256, %%rsp\n\t"
                     "andq $-16, %%rsp\n\t"
                     "pushfq\n\t"
                     "orq %1, (%%rsp)\n\t"
                     "subq $8, %%rsp\n\t"
                     "pushq 8(%%rsp)\n\t"
                     "popfq\n\t"
                     "call *%0\n\t"
                     "andq %2, 8(%%rsp)\n\t"
                     "addq $8, %%rsp\n\t"
                     "popfq\n\t"
                     "movq %%rbx, %%rsp"
                     :
                     : "r"(fn), "i"(TRAP_FLAG), "i"(~TRAP_FLAG)
                     : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "cc", "memory");
}

static void do_run(void)
{
    step.was_posted = posted_run(step.descriptor);
}

static void do_wait(void)
{
    step.was_posted = posted_wait(step.descriptor);
}

static void do_stop(void)
{
    posted_stop(step.descriptor);
}

static void do_take(void)
{
    step.was_posted = posted_take(step.descriptor, step.vectors);
}

static void nothing(void *arg)
{
    (void)arg;
}

/* Whoever is told, by the call or by a notification, takes all. */
static void assert_not_lost(const char *what)
{
    if (!posted_is_empty(step.descriptor) && !step.was_posted && !step.notified)
        fail_msg("%s: instruction %u: nobody is told", what, step.at);
    if (step.is_odd)
        fail_msg("%s: instruction %u: a notification that nobody looks at", what, step.at);
}

static const struct {
    const char *name;
    void (*before)(void);
    bool is_early; /* a request is there, and its notification has come */
    void (*fn)(void);
    bool is_told; /* of what comes: afterwards, or by a notification */
} step_cases[] = {
    {"run", NULL, false, do_run, true},
    {"run with a request", NULL, true, do_run, true},
    {"wait", NULL, false, do_wait, true},
    {"wait with a request", NULL, true, do_wait, true},
    {"take from a run", do_run, true, do_take, true},
    {"take from a wait", do_wait, true, do_take, true},
    {"take when stopped", NULL, true, do_take, false},
    {"stop a run", do_run, false, do_stop, false},
    {"stop a wait", do_wait, false, do_stop, false},
};

static void end_state(void)
{
    if (!(step.descriptor->control & POSTED_SN))
        posted_stop(step.descriptor);
}

/* What was posted is there or was taken; and the next state tells of all that is there, and of what comes. */
static void check_case(size_t i)
{
    uint64_t bit = 1ull << MEANWHILE % 64;
    bool taken = step.vectors[MEANWHILE / 64] & bit, there = step.descriptor->requests[MEANWHILE / 64] & bit;

    if (step.has_come && taken == there)
        fail_msg("%s: instruction %u: the request is %s", step_cases[i].name, step.at, taken ? "there twice" : "gone");
    if (step_cases[i].fn == do_take)
        step.was_posted = false; /* it has been taken */
    if (step_cases[i].is_told)
        assert_not_lost(step_cases[i].name);
    for (unsigned waits = 0; waits < 2; waits++) {
        end_state();
        step.notified = 0; /* what was on its way comes too late */
        waits ? do_wait() : do_run();
        assert_not_lost(step_cases[i].name);
        if (step.was_posted)
            do_take();
        step.notified = 0;
        post_step(LATE);
        if (!step.notified)
            fail_msg("%s: instruction %u: no more notifications", step_cases[i].name, step.at);
    }
}

/* False: the call is over before so many instructions. */
static bool try_case(size_t i, unsigned at)
{
    memset(&step, 0, sizeof(step));
    step.descriptor = posted_create(nothing, NULL);
    assert_non_null(step.descriptor);
    step.at = at;
    hv_host_preempt_disable();
    if (step_cases[i].before)
        step_cases[i].before();
    if (step_cases[i].is_early)
        post_step(EARLY);
    step.notified = 0;
    call_by_steps(step_cases[i].fn);
    check_case(i);
    end_state();
    hv_host_preempt_enable();
    posted_destroy(step.descriptor);
    return step.has_come;
}

static void none_is_lost_at_any_instruction(void **state)
{
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO}, before;

    (void)state;
    assert_int_equal(sigaction(SIGTRAP, &action, &before), 0);
    for (size_t i = 0; i < ARRAY_COUNT(step_cases); i++) {
        unsigned at = 0;

        while (at < STEPS_BOUND && try_case(i, at))
            at++;
        assert_in_range(at, 20, STEPS_BOUND - 1);
    }
    sigaction(SIGTRAP, &before, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        POSTED_TEST(a_running_vp_gets_it_without_an_exit),
        POSTED_TEST(nobody_is_told_while_nobody_runs_it),
        POSTED_TEST(a_vp_that_waits_is_woken),
        POSTED_TEST(what_was_posted_on_the_way_to_sleep),
        POSTED_TEST(masked_ones_are_kept),
        POSTED_TEST(a_function_mask_too),
        POSTED_TEST(a_new_target_from_then_on),
        POSTED_TEST(several_targets_are_not_posted),
        POSTED_TEST(plain_messages),
        POSTED_TEST(logical_addresses_that_change),
        POSTED_TEST(a_disabled_apic_takes_none),
        POSTED_TEST(a_deleted_vp_is_posted_to_no_more),
        POSTED_TEST(a_taken_device_posts_no_more),
        POSTED_TEST(an_init_forgets_what_was_posted),
        POSTED_TEST(others_go_without),
        POSTED_TEST(none_is_lost_and_none_doubled),
        POSTED_TEST(none_is_lost_at_any_instruction),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
