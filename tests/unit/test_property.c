/* SPDX-License-Identifier: MIT */
/* Partition properties and capabilities (virt/property.c, virt/capability.c), against the numbers of WinHvPlatform. */
#include "stub_policy.h"
#include "virt/synthetic.h"
#include <WinHvPlatform.h>

#define LAST_CODE 0x2010u

static const uint32_t lists[] = {
    WHvPartitionPropertyCodeCpuidExitList,
    WHvPartitionPropertyCodeCpuidResultList,
    WHvPartitionPropertyCodeCpuidResultList2,
    WHvPartitionPropertyCodeMsrActionList,
};

static bool is_list(uint32_t code)
{
    for (size_t i = 0; i < ARRAY_COUNT(lists); i++)
        if (lists[i] == code)
            return true;
    return false;
}

static enum hv_status get(uint32_t code, void *buffer, uint32_t size, uint32_t *written)
{
    return hv_partition_get_property(&stub_partition, code, buffer, size, written);
}

static uint64_t get_u64(uint32_t code)
{
    uint64_t value = 0;

    assert_int_equal(get(code, &value, sizeof(value), NULL), HV_OK);
    return value;
}

/* size: of the value, and whether clients may change it after set-up. good and bad: values, 0 none. */
/* clang-format off */
static const struct {
    uint32_t code;
    uint32_t size;
    bool later;
    uint64_t initial, good;
    bool has_bad;
    uint64_t bad;
} scalars[] = {
    {WHvPartitionPropertyCodeExtendedVmExits,          8, true,  0,          0x37ff,     true,  0x800},
    {WHvPartitionPropertyCodeExtendedVmExits,          8, true,  0,          0x01,       true,  1ull << 14},
    {WHvPartitionPropertyCodeExtendedVmExits,          8, true,  0,          0x42f,      true,  1ull << 63},
    {WHvPartitionPropertyCodeExceptionExitBitmap,      8, true,  0,          0xb7dfb,    false, 0},
    {WHvPartitionPropertyCodeExceptionExitBitmap,      8, true,  0,          1u << 14,   true,  1u << 2},
    {WHvPartitionPropertyCodeExceptionExitBitmap,      8, true,  0,          1u << 6,    true,  1u << 18},
    {WHvPartitionPropertyCodeExceptionExitBitmap,      8, true,  0,          1u << 6,    true,  1ull << 32},
    {WHvPartitionPropertyCodeSeparateSecurityDomain,   4, false, 0,          1,          false, 0},
    {WHvPartitionPropertyCodeNestedVirtualization,     4, false, 0,          0,          true,  1},
    {WHvPartitionPropertyCodeX64MsrExitBitmap,         8, true,  0,          0x3f,       true,  0x40},
    {WHvPartitionPropertyCodePrimaryNumaNode,          2, false, 0,          3,          false, 0},
    {WHvPartitionPropertyCodeCpuReserve,               4, false, 0,          50,         false, 0},
    {WHvPartitionPropertyCodeCpuCap,                   4, false, 0,          51,         false, 0},
    {WHvPartitionPropertyCodeCpuWeight,                4, false, 0,          52,         false, 0},
    {WHvPartitionPropertyCodeCpuGroupId,               8, false, 0,          ~0ull,      false, 0},
    {WHvPartitionPropertyCodeProcessorFrequencyCap,    4, false, 0,          53,         false, 0},
    {WHvPartitionPropertyCodeAllowDeviceAssignment,    4, false, 0,          1,          false, 0},
    {WHvPartitionPropertyCodeDisableSmt,               4, false, 0,          1,          false, 0},
    {WHvPartitionPropertyCodeProcessorClFlushSize,     1, false, 6,          5,          true,  7},
    {WHvPartitionPropertyCodeProcessorClFlushSize,     1, false, 6,          3,          true,  2},
    {WHvPartitionPropertyCodeLocalApicEmulationMode,   4, false, 0,          WHvX64LocalApicEmulationModeXApic,  true, 3},
    {WHvPartitionPropertyCodeLocalApicEmulationMode,   4, false, 0,          WHvX64LocalApicEmulationModeX2Apic, true, ~0u},
    {WHvPartitionPropertyCodeProcessorClockFrequency,  8, false, 2400000000, 2400000000, true,  2400000001},
    {WHvPartitionPropertyCodeInterruptClockFrequency,  8, false, 1000000000, 1000000000, true,  1},
    {WHvPartitionPropertyCodeApicRemoteReadSupport,    4, false, 0,          1,          false, 0},
    {WHvPartitionPropertyCodeProcessorPerfmonFeatures, 8, false, 0,          0,          true,  1},
    {WHvPartitionPropertyCodeUnimplementedMsrAction,   4, false, 0,          2,          true,  3},
    {WHvPartitionPropertyCodePhysicalAddressWidth,     4, false, 46,         36,         true,  47},
    {WHvPartitionPropertyCodePhysicalAddressWidth,     4, false, 46,         32,         true,  31},
    {WHvPartitionPropertyCodeProcessorCount,           4, false, 0,          1,          true,  0},
    {WHvPartitionPropertyCodeProcessorCount,           4, false, 0,          HV_MAX_VPS, true,  HV_MAX_VPS + 1},
};
/* clang-format on */

static void scalars_are_set_and_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(scalars); i++) {
        uint32_t written = 0;
        uint8_t buffer[64];
        uint64_t value = 0;

        properties_free(&stub_partition.properties);
        properties_init(&stub_partition.properties);
        memset(buffer, 0xee, sizeof(buffer));
        assert_int_equal(get(scalars[i].code, buffer, sizeof(buffer), &written), HV_OK);
        assert_int_equal(written, scalars[i].size);
        assert_int_equal(buffer[scalars[i].size], 0xee);
        assert_int_equal(get_u64(scalars[i].code), scalars[i].initial);

        /* the rest of a larger buffer does not count */
        memset(buffer, 0xee, sizeof(buffer));
        memcpy(buffer, &scalars[i].good, scalars[i].size);
        assert_int_equal(stub_set(scalars[i].code, buffer, sizeof(buffer)), HV_OK);
        assert_int_equal(get(scalars[i].code, &value, scalars[i].size, NULL), HV_OK);
        assert_int_equal(value, scalars[i].good);
        assert_int_equal(stub_set(scalars[i].code, &scalars[i].good, scalars[i].size), HV_OK);
    }
}

static void bad_scalars_change_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(scalars); i++) {
        struct hv_properties before = stub_partition.properties;
        uint32_t code = scalars[i].code, written = 0;
        uint64_t value;

        if (scalars[i].has_bad)
            assert_int_equal(stub_set(code, &scalars[i].bad, scalars[i].size), HV_E_INVALID);
        assert_int_equal(stub_set(code, &scalars[i].good, scalars[i].size - 1), HV_E_BUFFER_TOO_SMALL);
        assert_int_equal(stub_set(code, &scalars[i].good, 0), HV_E_BUFFER_TOO_SMALL);
        assert_int_equal(stub_set(code, NULL, 8), HV_E_INVALID);
        assert_int_equal(get(code, &value, scalars[i].size - 1, &written), HV_E_BUFFER_TOO_SMALL);
        assert_int_equal(written, scalars[i].size);
        assert_int_equal(get(code, NULL, 8, NULL), HV_E_INVALID);
        assert_memory_equal(&before, &stub_partition.properties, sizeof(before));
    }
}

static void bools_are_0_or_1(void **state)
{
    (void)state;
    assert_int_equal(stub_set_u64(WHvPartitionPropertyCodeDisableSmt, 0x80000000), HV_OK);
    assert_int_equal(get_u64(WHvPartitionPropertyCodeDisableSmt), 1);
    assert_int_equal(stub_set_u64(WHvPartitionPropertyCodeNestedVirtualization, 0x100), HV_E_INVALID);
}

static void only_known_codes_exist(void **state)
{
    unsigned known = 0;

    (void)state;
    for (uint32_t code = 0; code <= LAST_CODE; code++) {
        uint8_t buffer[64] = {2};
        enum hv_status st = get(code, buffer, sizeof(buffer), NULL);

        if (st == HV_E_UNKNOWN_PROPERTY)
            assert_int_equal(stub_set(code, buffer, sizeof(buffer)), HV_E_UNKNOWN_PROPERTY);
        else
            known++;
        if (is_list(code))
            assert_int_equal(st, HV_E_UNSUPPORTED);
    }
    assert_int_equal(known, 13 + 17 + 1); /* 13 of the partition, 0x1001 to 0x1011, the count */
    assert_int_equal(stub_set_u64(0xffffffff, 0), HV_E_UNKNOWN_PROPERTY);
}

static void features_are_those_of_the_host_at_most(void **state)
{
    uint64_t host[2];

    (void)state;
    features_host(host);
    assert_int_equal(get_u64(WHvPartitionPropertyCodeProcessorFeatures), host[0]);
    assert_int_equal(stub_set_u64(WHvPartitionPropertyCodeProcessorFeatures, host[0] & 0xff), HV_OK);
    assert_int_equal(get_u64(WHvPartitionPropertyCodeProcessorFeatures), host[0] & 0xff);
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(stub_set_u64(WHvPartitionPropertyCodeProcessorFeatures, BIT64(i)),
                         host[0] & BIT64(i) ? HV_OK : HV_E_INVALID);
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(stub_set_u64(WHvPartitionPropertyCodeProcessorXsaveFeatures, BIT64(i)),
                         features_host_xsave() & BIT64(i) ? HV_OK : HV_E_INVALID);
}

static void feature_banks_go_by_their_count(void **state)
{
    WHV_PROCESSOR_FEATURES_BANKS banks = {0}, read;
    uint64_t host[2];
    uint32_t written;

    (void)state;
    features_host(host);
    for (uint32_t count = 0; count < 5; count++) {
        read = (WHV_PROCESSOR_FEATURES_BANKS){.BanksCount = count};
        assert_int_equal(get(WHvPartitionPropertyCodeProcessorFeaturesBanks, &read, sizeof(read), &written),
                         count == 1 || count == 2 ? HV_OK : HV_E_INVALID);
        assert_int_equal(written, 24);
    }
    banks.BanksCount = 1;
    banks.AsUINT64[0] = host[0] & 0xf;
    banks.AsUINT64[1] = ~0ull; /* not there */
    assert_int_equal(stub_set(WHvPartitionPropertyCodeProcessorFeaturesBanks, &banks, sizeof(banks)), HV_OK);
    read.BanksCount = 2;
    assert_int_equal(get(WHvPartitionPropertyCodeProcessorFeaturesBanks, &read, sizeof(read), NULL), HV_OK);
    assert_int_equal(read.BanksCount, 2);
    assert_int_equal(read.AsUINT64[0], host[0] & 0xf);
    assert_int_equal(read.AsUINT64[1], host[1]);

    banks.BanksCount = 2;
    assert_int_equal(stub_set(WHvPartitionPropertyCodeProcessorFeaturesBanks, &banks, sizeof(banks)), HV_E_INVALID);
    banks.AsUINT64[1] = 0;
    assert_int_equal(stub_set(WHvPartitionPropertyCodeProcessorFeaturesBanks, &banks, 23), HV_E_BUFFER_TOO_SMALL);
    assert_int_equal(stub_set(WHvPartitionPropertyCodeProcessorFeaturesBanks, &banks, sizeof(banks)), HV_OK);
    assert_int_equal(stub_partition.properties.features[1], 0);
    assert_int_equal(get_u64(WHvPartitionPropertyCodeProcessorFeatures), host[0] & 0xf);
    banks.Reserved0 = 1;
    assert_int_equal(stub_set(WHvPartitionPropertyCodeProcessorFeaturesBanks, &banks, sizeof(banks)), HV_E_INVALID);
    banks.Reserved0 = 0;
    banks.BanksCount = 3;
    assert_int_equal(stub_set(WHvPartitionPropertyCodeProcessorFeaturesBanks, &banks, sizeof(banks)), HV_E_INVALID);
    banks.BanksCount = 0;
    assert_int_equal(stub_set(WHvPartitionPropertyCodeProcessorFeaturesBanks, &banks, sizeof(banks)), HV_E_INVALID);
}

static void synthetic_features_are_those_offered(void **state)
{
    WHV_SYNTHETIC_PROCESSOR_FEATURES_BANKS banks = {.BanksCount = 1};
    uint32_t code = WHvPartitionPropertyCodeSyntheticProcessorFeaturesBanks, written;
    uint64_t offered = synthetic_features_host();

    (void)state;
    assert_int_equal(get(code, &banks, sizeof(banks), &written), HV_OK);
    assert_int_equal(written, 16);
    assert_int_equal(banks.AsUINT64[0], 0); /* unless the client asks for it, guests find no hypervisor */
    for (unsigned i = 0; i < 64; i++) {
        banks.AsUINT64[0] = BIT64(i);
        assert_int_equal(stub_set(code, &banks, sizeof(banks)), offered >> i & 1 ? HV_OK : HV_E_INVALID);
    }
    banks.AsUINT64[0] = offered;
    assert_int_equal(stub_set(code, &banks, sizeof(banks)), HV_OK);
    memset(&banks.AsUINT64, 0, sizeof(banks.AsUINT64));
    assert_int_equal(get(code, &banks, sizeof(banks), &written), HV_OK);
    assert_int_equal(banks.AsUINT64[0], offered);
    banks = (WHV_SYNTHETIC_PROCESSOR_FEATURES_BANKS){.BanksCount = 2};
    assert_int_equal(stub_set(code, &banks, sizeof(banks)), HV_E_INVALID);
    assert_int_equal(get(code, &banks, sizeof(banks), NULL), HV_E_INVALID);
}

/* --------------------------------------------------------------------------------- lists */

static void lists_are_copied(void **state)
{
    uint32_t leaves[] = {7, 1, 0x80000001, 0};
    const struct hv_property_list *list = &stub_partition.properties.cpuid_exits;

    (void)state;
    assert_false(list->is_set);
    assert_int_equal(stub_set(WHvPartitionPropertyCodeCpuidExitList, leaves, sizeof(leaves)), HV_OK);
    memset(leaves, 0xff, sizeof(leaves));
    assert_true(list->is_set);
    assert_int_equal(list->count, 4);
    assert_non_null(property_list_find(list, 4, 0));
    assert_non_null(property_list_find(list, 4, 1));
    assert_non_null(property_list_find(list, 4, 7));
    assert_non_null(property_list_find(list, 4, 0x80000001));
    assert_null(property_list_find(list, 4, 2));
    assert_null(property_list_find(list, 4, 0xffffffff));

    assert_int_equal(stub_set(WHvPartitionPropertyCodeCpuidExitList, NULL, 0), HV_OK);
    assert_true(list->is_set);
    assert_int_equal(list->count, 0);
    assert_null(property_list_find(list, 4, 0));
    assert_int_equal(fake_counts().bytes, 0);
}

static void the_last_of_equal_elements_is_found(void **state)
{
    static const struct hv_msr_action actions[] = {
        {9, 1, 1, 0}, {5, 0, 0, 0}, {9, 2, 2, 0}, {5, 0, 1, 0}, {3, 1, 0, 0}, {9, 0, 1, 0},
    };
    const struct hv_property_list *list = &stub_partition.properties.msr_actions;
    const struct hv_msr_action *a;

    (void)state;
    assert_int_equal(stub_set(WHvPartitionPropertyCodeMsrActionList, actions, sizeof(actions)), HV_OK);
    a = property_list_find(list, sizeof(*a), 9);
    assert_int_equal(a->read_action * 16 + a->write_action, 0x01);
    a = property_list_find(list, sizeof(*a), 5);
    assert_int_equal(a->read_action * 16 + a->write_action, 0x01);
    a = property_list_find(list, sizeof(*a), 3);
    assert_int_equal(a->read_action * 16 + a->write_action, 0x10);
}

static const uint32_t element_sizes[] = {4, 32, 48, 8};

static void lists_have_bounds(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(lists); i++) {
        uint32_t size = HV_PROPERTY_LIST_BYTES / element_sizes[i] * element_sizes[i];
        char *items = calloc(1, size + element_sizes[i]);

        assert_int_equal(stub_set(lists[i], items, size), HV_OK);
        assert_int_equal(stub_set(lists[i], items, size + element_sizes[i]), HV_E_INVALID);
        assert_int_equal(stub_set(lists[i], items, 0xfffffff0u / element_sizes[i] * element_sizes[i]), HV_E_INVALID);
        assert_int_equal(stub_set(lists[i], items, element_sizes[i] + 1), HV_E_INVALID);
        assert_int_equal(stub_set(lists[i], items, element_sizes[i] - 1), HV_E_INVALID);
        assert_int_equal(stub_set(lists[i], NULL, element_sizes[i]), HV_E_INVALID);
        assert_int_equal(stub_set(lists[i], items, 0), HV_OK);
        free(items);
    }
}

static void lists_without_memory_change_nothing(void **state)
{
    char items[48] = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(lists); i++) {
        struct hv_properties before;

        assert_int_equal(stub_set(lists[i], items, element_sizes[i]), HV_OK);
        before = stub_partition.properties;
        fake_fail_after(1);
        assert_int_equal(stub_set(lists[i], items, element_sizes[i]), HV_E_NO_MEMORY);
        assert_true(fake_has_failed());
        assert_memory_equal(&before, &stub_partition.properties, sizeof(before));
    }
}

static void elements_are_checked(void **state)
{
    struct hv_cpuid_entry result[2] = {{.function = 1}, {.function = 2}};
    struct hv_cpuid_entry2 result2[2] = {{.function = 1, .flags = 3}, {.function = 2}};
    struct hv_msr_action action[2] = {{.index = 1, .read_action = 2, .write_action = 2}, {.index = 2}};
    struct hv_properties before = stub_partition.properties;

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        result[1].reserved[i] = 1;
        assert_int_equal(stub_set(WHvPartitionPropertyCodeCpuidResultList, result, sizeof(result)), HV_E_INVALID);
        result[1].reserved[i] = 0;
    }
    result2[1].flags = 4;
    assert_int_equal(stub_set(WHvPartitionPropertyCodeCpuidResultList2, result2, sizeof(result2)), HV_E_INVALID);
    action[1].read_action = 3;
    assert_int_equal(stub_set(WHvPartitionPropertyCodeMsrActionList, action, sizeof(action)), HV_E_INVALID);
    action[1] = (struct hv_msr_action){.index = 2, .write_action = 3};
    assert_int_equal(stub_set(WHvPartitionPropertyCodeMsrActionList, action, sizeof(action)), HV_E_INVALID);
    action[1] = (struct hv_msr_action){.index = 2, .reserved = 1};
    assert_int_equal(stub_set(WHvPartitionPropertyCodeMsrActionList, action, sizeof(action)), HV_E_INVALID);
    assert_memory_equal(&before, &stub_partition.properties, sizeof(before));
    assert_int_equal(fake_counts().bytes, 0);
    result2[1].flags = action[1].reserved = 0;
    assert_int_equal(stub_set(WHvPartitionPropertyCodeCpuidResultList, result, sizeof(result)), HV_OK);
    assert_int_equal(stub_set(WHvPartitionPropertyCodeCpuidResultList2, result2, sizeof(result2)), HV_OK);
    assert_int_equal(stub_set(WHvPartitionPropertyCodeMsrActionList, action, sizeof(action)), HV_OK);
}

/* -------------------------------------------------------------------------- after set-up */

static void only_four_change_after_set_up(void **state)
{
    char items[48] = {0};

    (void)state;
    stub_partition.is_set_up = true;
    for (size_t i = 0; i < ARRAY_COUNT(scalars); i++)
        assert_int_equal(stub_set_u64(scalars[i].code, scalars[i].good), scalars[i].later ? HV_OK : HV_E_INVALID);
    for (size_t i = 0; i < ARRAY_COUNT(lists); i++)
        assert_int_equal(stub_set(lists[i], items, element_sizes[i]),
                         lists[i] == WHvPartitionPropertyCodeCpuidExitList ? HV_OK : HV_E_INVALID);
    assert_int_equal(stub_set(WHvPartitionPropertyCodeProcessorFeaturesBanks, &(uint64_t[3]){2}, 24), HV_E_INVALID);
    assert_int_equal(stub_set(WHvPartitionPropertyCodeSyntheticProcessorFeaturesBanks, &(uint64_t[2]){1}, 16),
                     HV_E_INVALID);
    assert_int_equal(get_u64(WHvPartitionPropertyCodePhysicalAddressWidth), 46);
}

static void a_change_is_seen_by_all_vps(void **state)
{
    (void)state;
    stub_partition.is_set_up = true;
    stub_partition.properties.processor_count = 2;
    for (size_t i = 0; i < 2; i++)
        stub_vps[i].properties_stale = false;
    assert_int_equal(stub_set_u64(WHvPartitionPropertyCodeExtendedVmExits, 0x800), HV_E_INVALID);
    assert_false(stub_vps[0].properties_stale || stub_vps[1].properties_stale);
    assert_int_equal(stub_set_u64(WHvPartitionPropertyCodeExtendedVmExits, 1), HV_OK);
    assert_true(stub_vps[0].properties_stale && stub_vps[1].properties_stale);
}

static void nothing_changes_while_a_vp_runs(void **state)
{
    static const uint32_t codes[] = {
        WHvPartitionPropertyCodeExtendedVmExits,
        WHvPartitionPropertyCodeExceptionExitBitmap,
        WHvPartitionPropertyCodeX64MsrExitBitmap,
        WHvPartitionPropertyCodeCpuidExitList,
    };
    struct hv_properties before;

    (void)state;
    stub_partition.is_set_up = true;
    stub_partition.properties.processor_count = 2;
    before = stub_partition.properties;
    for (unsigned owned = 0; owned < 2; owned++) {
        stub_vps[owned].shared.owner = 1;
        for (size_t i = 0; i < ARRAY_COUNT(codes); i++)
            assert_int_equal(stub_set_u64(codes[i], 1), HV_E_VP_BUSY);
        assert_int_equal(stub_vps[!owned].shared.owner, 0);
        assert_int_equal(stub_vps[owned].shared.owner, 1);
        stub_vps[owned].shared.owner = 0;
    }
    assert_memory_equal(&before, &stub_partition.properties, sizeof(before));
    assert_int_equal(fake_counts().bytes, 0);
    for (size_t i = 0; i < ARRAY_COUNT(codes); i++)
        assert_int_equal(stub_set_u64(codes[i], 1), HV_OK);
}

static void the_msr_bitmap_remembers_being_set(void **state)
{
    (void)state;
    assert_false(stub_partition.properties.msr_exits_set);
    assert_int_equal(stub_set_u64(WHvPartitionPropertyCodeX64MsrExitBitmap, 0x40), HV_E_INVALID);
    assert_false(stub_partition.properties.msr_exits_set);
    assert_int_equal(stub_set_u64(WHvPartitionPropertyCodeX64MsrExitBitmap, 0), HV_OK);
    assert_true(stub_partition.properties.msr_exits_set);
}

static void sealing_needs_a_count_and_memory(void **state)
{
    struct hv_properties *props = &stub_partition.properties;

    (void)state;
    assert_int_equal(properties_seal(props), HV_E_CONFIG);
    assert_int_equal(stub_set_u64(WHvPartitionPropertyCodeProcessorCount, 2), HV_OK);
    fake_fail_after(1);
    assert_int_equal(properties_seal(props), HV_E_NO_MEMORY);
    assert_null(props->cpuid);
    assert_int_equal(properties_seal(props), HV_OK);
    assert_non_null(props->cpuid);
    assert_true(fake_counts().bytes < 8192);
}

/* -------------------------------------------------------------------------- capabilities */

/* clang-format off */
static const struct {
    uint32_t code, size;
} capabilities[] = {
    {WHvCapabilityCodeHypervisorPresent,                4},
    {WHvCapabilityCodeFeatures,                         8},
    {WHvCapabilityCodeExtendedVmExits,                  8},
    {WHvCapabilityCodeExceptionExitBitmap,              8},
    {WHvCapabilityCodeX64MsrExitBitmap,                 8},
    {WHvCapabilityCodeGpaRangePopulateFlags,            4},
    {WHvCapabilityCodeSchedulerFeatures,                8},
    {WHvCapabilityCodeProcessorVendor,                  4},
    {WHvCapabilityCodeProcessorFeatures,                8},
    {WHvCapabilityCodeProcessorClFlushSize,             1},
    {WHvCapabilityCodeProcessorXsaveFeatures,           8},
    {WHvCapabilityCodeProcessorClockFrequency,          8},
    {WHvCapabilityCodeInterruptClockFrequency,          8},
    {WHvCapabilityCodeProcessorFeaturesBanks,          24},
    {WHvCapabilityCodeProcessorFrequencyCap,           20},
    {WHvCapabilityCodeSyntheticProcessorFeaturesBanks, 16},
    {WHvCapabilityCodeProcessorPerfmonFeatures,         8},
    {WHvCapabilityCodePhysicalAddressWidth,             4},
};
/* clang-format on */

static void capabilities_have_their_exact_size(void **state)
{
    unsigned known = 0;

    (void)state;
    for (uint32_t code = 0; code <= LAST_CODE; code++) {
        uint8_t buffer[64];
        uint32_t written;

        known += hv_capability(code, buffer, sizeof(buffer), &written) == HV_OK;
    }
    assert_int_equal(known, ARRAY_COUNT(capabilities));
    for (size_t i = 0; i < ARRAY_COUNT(capabilities); i++) {
        uint32_t code = capabilities[i].code, size = capabilities[i].size, written = 0;
        uint8_t buffer[64];

        memset(buffer, 0xee, sizeof(buffer));
        assert_int_equal(hv_capability(code, buffer, sizeof(buffer), &written), HV_OK);
        assert_int_equal(written, size);
        assert_int_equal(buffer[size], 0xee);
        assert_int_equal(hv_capability(code, buffer, size, NULL), HV_OK);
        written = 0;
        assert_int_equal(hv_capability(code, buffer, size - 1, &written), HV_E_BUFFER_TOO_SMALL);
        assert_int_equal(written, size);
        assert_int_equal(hv_capability(code, NULL, size, NULL), HV_E_INVALID);
    }
}

static uint64_t capability(uint32_t code)
{
    uint64_t value[3] = {0};

    assert_int_equal(hv_capability(code, value, sizeof(value), NULL), HV_OK);
    return value[0];
}

static void capabilities_say_what_there_is(void **state)
{
    WHV_PROCESSOR_FEATURES_BANKS banks;
    uint64_t host[2];

    (void)state;
    features_host(host);
    assert_int_equal(capability(WHvCapabilityCodeHypervisorPresent), 1);
    assert_int_equal(capability(WHvCapabilityCodeFeatures), 0x27);
    stub_format.dirty = 1;
    assert_int_equal(capability(WHvCapabilityCodeFeatures), 0x2f);
    assert_int_equal(capability(WHvCapabilityCodeExtendedVmExits), 0x37ff);
    assert_int_equal(capability(WHvCapabilityCodeExceptionExitBitmap), 0xb7dfb);
    assert_int_equal(capability(WHvCapabilityCodeX64MsrExitBitmap), 0x3f);
    assert_int_equal(capability(WHvCapabilityCodeProcessorVendor), WHvProcessorVendorIntel);
    assert_int_equal(capability(WHvCapabilityCodeProcessorFeatures), host[0]);
    assert_int_equal(capability(WHvCapabilityCodeProcessorXsaveFeatures), features_host_xsave());
    assert_int_equal(capability(WHvCapabilityCodeProcessorClFlushSize), 6);
    assert_int_equal(capability(WHvCapabilityCodeProcessorClockFrequency), 2400000000);
    assert_int_equal(capability(WHvCapabilityCodePhysicalAddressWidth), 46);
    assert_int_equal(capability(WHvCapabilityCodeSyntheticProcessorFeaturesBanks), 1);
    assert_int_equal(hv_capability(WHvCapabilityCodeProcessorFeaturesBanks, &banks, sizeof(banks), NULL), HV_OK);
    assert_int_equal(banks.BanksCount, 2);
    assert_int_equal(banks.Reserved0, 0);
    assert_int_equal(banks.AsUINT64[0], host[0]);
    assert_int_equal(banks.AsUINT64[1], host[1]);
    /* what is offered can be set */
    assert_int_equal(stub_set(WHvPartitionPropertyCodeProcessorFeaturesBanks, &banks, sizeof(banks)), HV_OK);
    assert_int_equal(stub_set_u64(WHvPartitionPropertyCodeExceptionExitBitmap, 0xb7dfb), HV_OK);
}

static void without_a_hypervisor_only_that_is_said(void **state)
{
    uint64_t value[3];

    (void)state;
    stub_platform.present = false;
    assert_int_equal(capability(WHvCapabilityCodeHypervisorPresent), 0);
    for (size_t i = 1; i < ARRAY_COUNT(capabilities); i++)
        assert_int_equal(hv_capability(capabilities[i].code, value, sizeof(value), NULL), HV_E_NOT_PRESENT);
    assert_int_equal(hv_capability(0x2000, value, sizeof(value), NULL), HV_E_UNKNOWN_PROPERTY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STUB_TEST(scalars_are_set_and_read),
        STUB_TEST(bad_scalars_change_nothing),
        STUB_TEST(bools_are_0_or_1),
        STUB_TEST(only_known_codes_exist),
        STUB_TEST(features_are_those_of_the_host_at_most),
        STUB_TEST(feature_banks_go_by_their_count),
        STUB_TEST(synthetic_features_are_those_offered),
        STUB_TEST(lists_are_copied),
        STUB_TEST(the_last_of_equal_elements_is_found),
        STUB_TEST(lists_have_bounds),
        STUB_TEST(lists_without_memory_change_nothing),
        STUB_TEST(elements_are_checked),
        STUB_TEST(only_four_change_after_set_up),
        STUB_TEST(a_change_is_seen_by_all_vps),
        STUB_TEST(nothing_changes_while_a_vp_runs),
        STUB_TEST(the_msr_bitmap_remembers_being_set),
        STUB_TEST(sealing_needs_a_count_and_memory),
        STUB_TEST(capabilities_have_their_exact_size),
        STUB_TEST(capabilities_say_what_there_is),
        STUB_TEST(without_a_hypervisor_only_that_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
