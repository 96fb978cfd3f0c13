/* SPDX-License-Identifier: MIT */
/*
 * Creation on the whole stack, from the API down to the fake CPU: each request for memory on each path fails once, and
 * turning VMX on fails on each CPU once. Nothing may be left behind, and the same call then succeeds.
 */
#include "machine.h"
#include <WinHvPlatform.h>
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <fake_vmx.h>
#include <hv/base/bits.h>
#include <hv/hv.h>
#include <stdio.h>
#include <string.h>

#define RAM_PA     0x140000000ull
#define RAM_SIZE   HV_SIZE_1G
#define READ_WRITE (WHvMapGpaRangeFlagRead | WHvMapGpaRangeFlagWrite)
#define ALL_RIGHTS (READ_WRITE | WHvMapGpaRangeFlagExecute)

static WHV_PARTITION_HANDLE partition;
static char *ram;

/* ------------------------------------------------------------------------- one step each */

static void create(void)
{
    assert_int_equal(WHvCreatePartition(&partition), S_OK);
}

static void set_count(UINT32 count)
{
    assert_int_equal(WHvSetPartitionProperty(partition, WHvPartitionPropertyCodeProcessorCount, &count, sizeof(count)),
                     S_OK);
}

static void set_up(void)
{
    create();
    set_count(4);
    assert_int_equal(WHvSetupPartition(partition), S_OK);
}

static HRESULT map(uint64_t offset, uint64_t gpa, uint64_t size)
{
    return WHvMapGpaRange(partition, ram + offset, gpa, size, ALL_RIGHTS);
}

static void set_up_with_1g_page(void)
{
    set_up();
    assert_int_equal(map(0, HV_SIZE_1G, HV_SIZE_1G), S_OK);
}

static void set_up_with_vp(void)
{
    set_up();
    assert_int_equal(WHvCreateVirtualProcessor(partition, 0, 0), S_OK);
}

static void delete (void)
{
    assert_int_equal(WHvDeletePartition(partition), S_OK);
}

/* --------------------------------------------------------------------- each request fails once */

struct sweep {
    const char *name;
    void (*prepare)(void); /* NULL: nothing to do before */
    HRESULT (*call)(void);
};

struct snapshot {
    struct fake_counts counts;
    WHV_PARTITION_MEMORY_COUNTERS memory;
    uint64_t cpus_on;
};

static struct snapshot look(bool has_partition)
{
    struct snapshot s = {.counts = fake_counts(), .cpus_on = fake_vmx_counts.vmxon - fake_vmx_counts.vmxoff};

    if (has_partition)
        assert_int_equal(
            WHvGetPartitionCounters(partition, WHvPartitionCounterSetMemory, &s.memory, sizeof(s.memory), NULL), S_OK);
    return s;
}

static void assert_unchanged(const struct snapshot *before, bool has_partition)
{
    struct snapshot after = look(has_partition);

    assert_int_equal(after.counts.allocations, before->counts.allocations);
    assert_int_equal(after.counts.bytes, before->counts.bytes);
    assert_int_equal(after.counts.pages, before->counts.pages);
    assert_int_equal(after.cpus_on, before->cpus_on);
    assert_memory_equal(&after.memory, &before->memory, sizeof(after.memory));
}

/* True while the nth request was there to fail. */
static bool fails_and_recovers(const struct sweep *sweep, unsigned n)
{
    struct snapshot before;
    bool failed;
    HRESULT hr;

    if (sweep->prepare)
        sweep->prepare();
    before = look(sweep->prepare);
    fake_fail_after(n);
    hr = sweep->call();
    failed = fake_has_failed();
    fake_fail_after(0);
    if (failed) {
        assert_int_equal(hr, E_OUTOFMEMORY);
        assert_unchanged(&before, sweep->prepare);
        hr = sweep->call();
    }
    assert_int_equal(hr, S_OK);
    delete ();
    assert_int_equal(fake_counts().allocations, 0);
    assert_int_equal(fake_counts().pages, 0);
    assert_int_equal(fake_vmx_counts.vmxon, fake_vmx_counts.vmxoff);
    return failed;
}

static void sweep_through(const struct sweep *sweeps, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned n = 1;

        while (fails_and_recovers(&sweeps[i], n))
            n++;
        assert_true(n > 1);
        printf("# %-44s %3u requests for memory, each failed once\n", sweeps[i].name, n - 1);
    }
}

/* ------------------------------------------------------------------------- what is called */

static HRESULT call_create(void)
{
    return WHvCreatePartition(&partition);
}

static HRESULT call_set_up(void)
{
    return WHvSetupPartition(partition);
}

static HRESULT call_exit_list(void)
{
    const UINT32 leaves[] = {7, 1, 0x80000000};

    return WHvSetPartitionProperty(partition, WHvPartitionPropertyCodeCpuidExitList, leaves, sizeof(leaves));
}

static HRESULT call_result_list(void)
{
    const WHV_X64_CPUID_RESULT results[] = {{.Function = 0x40000000, .Eax = 1}, {.Function = 1, .Ecx = 2}};

    return WHvSetPartitionProperty(partition, WHvPartitionPropertyCodeCpuidResultList, results, sizeof(results));
}

static HRESULT call_result_list2(void)
{
    const WHV_X64_CPUID_RESULT2 results[] = {{.Function = 7, .Index = 0}, {.Function = 0xd, .Index = 1}};

    return WHvSetPartitionProperty(partition, WHvPartitionPropertyCodeCpuidResultList2, results, sizeof(results));
}

static HRESULT call_msr_list(void)
{
    const WHV_MSR_ACTION_ENTRY actions[] = {{.Index = 0x1234}, {.Index = 0x345}};

    return WHvSetPartitionProperty(partition, WHvPartitionPropertyCodeMsrActionList, actions, sizeof(actions));
}

static void create_with_count(void)
{
    create();
    set_count(2);
}

static void create_with_lists(void)
{
    create_with_count();
    assert_int_equal(call_exit_list(), S_OK);
    assert_int_equal(call_result_list(), S_OK);
    assert_int_equal(call_result_list2(), S_OK);
    assert_int_equal(call_msr_list(), S_OK);
}

static HRESULT call_map_page(void)
{
    return map(0, 0, HV_PAGE_SIZE);
}

/* From a 4K page below a 1G boundary to one above it. */
static HRESULT call_map_across(void)
{
    return map(0x1000, 3 * HV_SIZE_1G - HV_SIZE_2M - 0x3000, 2 * HV_SIZE_2M + 0x4000);
}

static HRESULT call_map_into_1g(void)
{
    return map(HV_SIZE_2M, HV_SIZE_1G + 0x5000, HV_PAGE_SIZE);
}

static HRESULT call_map_over_ends(void)
{
    return WHvMapGpaRange(partition, ram, HV_SIZE_1G - 0x1000, 0x3000, READ_WRITE);
}

static HRESULT call_unmap_part(void)
{
    return WHvUnmapGpaRange(partition, HV_SIZE_1G + HV_SIZE_2M + 0x1000, 0x2000);
}

static HRESULT call_create_vp(void)
{
    return WHvCreateVirtualProcessor(partition, 0, 0);
}

static HRESULT call_create_other_vp(void)
{
    return WHvCreateVirtualProcessor2(partition, 3, NULL, 0);
}

static void set_up_with_vp_deleted(void)
{
    set_up_with_vp();
    assert_int_equal(WHvDeleteVirtualProcessor(partition, 0), S_OK);
}

static void memory_for_partitions(void **state)
{
    static const struct sweep sweeps[] = {
        {"WHvCreatePartition", NULL, call_create},
        {"WHvSetPartitionProperty(CpuidExitList)", create, call_exit_list},
        {"WHvSetPartitionProperty(CpuidExitList), again", create_with_lists, call_exit_list},
        {"WHvSetPartitionProperty(CpuidResultList)", create, call_result_list},
        {"WHvSetPartitionProperty(CpuidResultList2)", create, call_result_list2},
        {"WHvSetPartitionProperty(MsrActionList)", create, call_msr_list},
        {"WHvSetupPartition, 1 CPU", create_with_count, call_set_up},
        {"WHvSetupPartition, lists set", create_with_lists, call_set_up},
    };

    (void)state;
    sweep_through(sweeps, ARRAY_COUNT(sweeps));
    fake_set_cpus(4);
    sweep_through(&(struct sweep){"WHvSetupPartition, 4 CPUs", create_with_count, call_set_up}, 1);
}

static void memory_for_guest_memory(void **state)
{
    static const struct sweep sweeps[] = {
        {"WHvMapGpaRange, a first page", set_up, call_map_page},
        {"WHvMapGpaRange, across a 1G boundary", set_up, call_map_across},
        {"WHvMapGpaRange, into a 1G page", set_up_with_1g_page, call_map_into_1g},
        {"WHvMapGpaRange, over an end of a 1G page", set_up_with_1g_page, call_map_over_ends},
        {"WHvUnmapGpaRange, part of a 1G page", set_up_with_1g_page, call_unmap_part},
    };

    (void)state;
    ram = fake_ram_alloc(RAM_SIZE, RAM_PA);
    sweep_through(sweeps, ARRAY_COUNT(sweeps));
    fake_ram_free(ram);
}

static void memory_for_vps(void **state)
{
    static const struct sweep sweeps[] = {
        {"WHvCreateVirtualProcessor", set_up, call_create_vp},
        {"WHvCreateVirtualProcessor, once deleted", set_up_with_vp_deleted, call_create_vp},
        {"WHvCreateVirtualProcessor2, a second one", set_up_with_vp, call_create_other_vp},
    };

    (void)state;
    sweep_through(sweeps, ARRAY_COUNT(sweeps));
}

/* ---------------------------------------------------------------------------- VMX on and off */

#define CPUS 4

static struct fake_x86 before[CPUS];

static void note_cpus(void)
{
    for (uint32_t cpu = 0; cpu < CPUS; cpu++)
        before[cpu] = *fake_x86(cpu);
}

static void assert_cpus_untouched(void)
{
    for (uint32_t cpu = 0; cpu < CPUS; cpu++) {
        const char *difference = fake_x86_difference(&before[cpu], fake_x86(cpu));

        if (difference)
            fail_msg("CPU %u: %s differs", cpu, difference);
        assert_false(fake_vmx_is_on(cpu));
    }
}

/* One CPU says no for the reason that the log then names. */
static void refused_on(uint32_t cpu, const char *reason)
{
    struct fake_counts counts;
    char line[64];

    create_with_count();
    counts = fake_counts();
    note_cpus();
    assert_int_equal(WHvSetupPartition(partition), WHV_E_UNSUPPORTED_HYPERVISOR_CONFIG);
    assert_int_equal(fake_vmx_counts.vmxon, cpu);
    assert_int_equal(fake_vmx_counts.vmxoff, cpu);
    assert_cpus_untouched();
    assert_int_equal(fake_counts().allocations, counts.allocations);
    assert_int_equal(fake_counts().pages, counts.pages);
    snprintf(line, sizeof(line), "CPU %u: ", cpu);
    assert_true(fake_log_contains(line));
    assert_true(fake_log_contains(reason));
    fake_vmx_counts = (struct fake_vmx_counts){0};
}

static void set_up_after_all(void)
{
    assert_int_equal(WHvSetupPartition(partition), S_OK);
    assert_int_equal(fake_vmx_counts.vmxon, CPUS);
    delete ();
    assert_int_equal(fake_vmx_counts.vmxoff, CPUS);
    assert_cpus_untouched();
    fake_vmx_counts = (struct fake_vmx_counts){0};
}

static void vmxon_fails_on_a_cpu(void **state)
{
    (void)state;
    fake_set_cpus(CPUS);
    for (uint32_t cpu = 0; cpu < CPUS; cpu++) {
        fake_fail_vmxon(cpu + 1);
        refused_on(cpu, "VMXON failed");
        set_up_after_all();
    }
}

static void someone_else_uses_vmx(void **state)
{
    (void)state;
    fake_set_cpus(CPUS);
    for (uint32_t cpu = 0; cpu < CPUS; cpu++) {
        fake_x86(cpu)->cr4 |= CR4_VMXE;
        refused_on(cpu, "CR4.VMXE is set");
        fake_x86(cpu)->cr4 &= ~CR4_VMXE;
        note_cpus();
        set_up_after_all();
    }
}

static void no_task_register(void **state)
{
    (void)state;
    fake_set_cpus(CPUS);
    for (uint32_t cpu = 0; cpu < CPUS; cpu++) {
        uint16_t tr = fake_x86(cpu)->tr;

        fake_x86(cpu)->tr = 0;
        refused_on(cpu, "no task register");
        fake_x86(cpu)->tr = tr;
        note_cpus();
        set_up_after_all();
    }
}

static void firmware_locked_vmx_off(void **state)
{
    (void)state;
    fake_set_cpus(CPUS);
    for (uint32_t cpu = 0; cpu < CPUS; cpu++) {
        *fake_msr(cpu, MSR_IA32_FEATURE_CONTROL) = FEATURE_CONTROL_LOCK;
        refused_on(cpu, "locked off in IA32_FEATURE_CONTROL");
        *fake_msr(cpu, MSR_IA32_FEATURE_CONTROL) = FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX;
        note_cpus();
        set_up_after_all();
    }
}

/* Left open by the firmware: enabled and locked, with what else is set kept. */
static void firmware_left_vmx_open(void **state)
{
    (void)state;
    fake_set_cpus(CPUS);
    for (uint32_t cpu = 0; cpu < CPUS; cpu++)
        *fake_msr(cpu, MSR_IA32_FEATURE_CONTROL) = FEATURE_CONTROL_LMCE;
    create_with_count();
    assert_int_equal(WHvSetupPartition(partition), S_OK);
    for (uint32_t cpu = 0; cpu < CPUS; cpu++)
        assert_int_equal(*fake_msr(cpu, MSR_IA32_FEATURE_CONTROL),
                         FEATURE_CONTROL_LMCE | FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX);
    delete ();
}

/* A host that has neither NE nor the FPU bits of CR4 set. */
static void control_registers_come_back(void **state)
{
    (void)state;
    fake_set_cpus(CPUS);
    for (uint32_t cpu = 0; cpu < CPUS; cpu++) {
        fake_x86(cpu)->cr0 &= ~CR0_NE;
        fake_x86(cpu)->cr4 = CR4_PAE;
    }
    note_cpus();
    create_with_count();
    assert_int_equal(WHvSetupPartition(partition), S_OK);
    for (uint32_t cpu = 0; cpu < CPUS; cpu++) {
        assert_true(fake_x86(cpu)->cr0 & CR0_NE);
        assert_int_equal(fake_x86(cpu)->cr4, CR4_PAE | CR4_VMXE | CR4_OSFXSR | CR4_OSXSAVE);
    }
    delete ();
    assert_cpus_untouched();
}

static void users_are_counted(void **state)
{
    WHV_PARTITION_HANDLE first;

    (void)state;
    fake_set_cpus(CPUS);
    note_cpus();
    set_up();
    first = partition;
    set_up();
    assert_int_equal(fake_vmx_counts.vmxon, CPUS);
    delete ();
    assert_int_equal(fake_vmx_counts.vmxoff, 0);
    partition = first;
    delete ();
    assert_int_equal(fake_vmx_counts.vmxoff, CPUS);
    assert_cpus_untouched();
    set_up(); /* and it can begin anew */
    assert_int_equal(fake_vmx_counts.vmxon, 2 * CPUS);
    delete ();
}

/* A partition that was never set up is no user. */
static void only_set_up_partitions_count(void **state)
{
    (void)state;
    create();
    assert_int_equal(fake_vmx_counts.vmxon, 0);
    assert_int_equal(WHvSetupPartition(partition), WHV_E_INVALID_PARTITION_CONFIG);
    assert_int_equal(fake_vmx_counts.vmxon, 0);
    delete ();
    assert_int_equal(fake_vmx_counts.vmxoff, 0);
}

/* --------------------------------------------------------------------------- VPs come and go */

/* VMCSs of VPs that last were on several CPUs are given back from any of them. */
static void vps_are_deleted_from_anywhere(void **state)
{
    (void)state;
    fake_set_cpus(CPUS);
    set_up();
    for (uint32_t i = 0; i < 4; i++) {
        fake_set_cpu(i);
        assert_int_equal(WHvCreateVirtualProcessor(partition, i, 0), S_OK);
    }
    fake_set_cpu(2);
    assert_int_equal(WHvDeleteVirtualProcessor(partition, 1), S_OK);
    assert_int_equal(WHvCreateVirtualProcessor(partition, 1, 0), S_OK);
    fake_set_cpu(0);
    delete ();
    assert_int_equal(fake_vmx_counts.vmxoff, CPUS);
}

static void many_partitions(void **state)
{
    (void)state;
    fake_set_cpus(2);
    ram = fake_ram_alloc(HV_SIZE_2M, RAM_PA);
    for (unsigned i = 0; i < 200; i++) {
        set_up();
        assert_int_equal(map(0, 0x10000, 0x8000), S_OK);
        assert_int_equal(WHvCreateVirtualProcessor(partition, 0, 0), S_OK);
        assert_int_equal(WHvCreateVirtualProcessor(partition, 1, 0), S_OK);
        delete ();
        assert_int_equal(fake_counts().pages, 0);
        assert_int_equal(fake_counts().bytes, 0);
    }
    fake_ram_free(ram);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MACHINE_TEST(memory_for_partitions),
        MACHINE_TEST(memory_for_guest_memory),
        MACHINE_TEST(memory_for_vps),
        MACHINE_TEST(vmxon_fails_on_a_cpu),
        MACHINE_TEST(someone_else_uses_vmx),
        MACHINE_TEST(no_task_register),
        MACHINE_TEST(firmware_locked_vmx_off),
        MACHINE_TEST(firmware_left_vmx_open),
        MACHINE_TEST(control_registers_come_back),
        MACHINE_TEST(users_are_counted),
        MACHINE_TEST(only_set_up_partitions_count),
        MACHINE_TEST(vps_are_deleted_from_anywhere),
        MACHINE_TEST(many_partitions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
