/* SPDX-License-Identifier: MIT */
/* WHP's capabilities: what this machine and this build offer to partitions. */
#include "property.h"
#include "synthetic.h"
#include <arch/backend.h>
#include <hv/base/memory.h>

/* codes, as in WHV_CAPABILITY_CODE */
enum {
    HYPERVISOR_PRESENT = 0x0000,
    FEATURES = 0x0001,
    EXTENDED_VM_EXITS = 0x0002,
    EXCEPTION_EXIT_BITMAP = 0x0003,
    X64_MSR_EXIT_BITMAP = 0x0004,
    GPA_RANGE_POPULATE_FLAGS = 0x0005,
    SCHEDULER_FEATURES = 0x0006,
    PROCESSOR_VENDOR = 0x1000,
    PROCESSOR_FEATURES = 0x1001,
    PROCESSOR_CL_FLUSH_SIZE = 0x1002,
    PROCESSOR_XSAVE_FEATURES = 0x1003,
    PROCESSOR_CLOCK_FREQUENCY = 0x1004,
    INTERRUPT_CLOCK_FREQUENCY = 0x1005,
    PROCESSOR_FEATURES_BANKS = 0x1006,
    PROCESSOR_FREQUENCY_CAP = 0x1007,
    SYNTHETIC_PROCESSOR_FEATURES_BANKS = 0x1008,
    PROCESSOR_PERFMON_FEATURES = 0x1009,
    PHYSICAL_ADDRESS_WIDTH = 0x100a,
};

/* bits of WHV_CAPABILITY_FEATURES */
#define FEATURE_PARTIAL_UNMAP BIT64(0)
#define FEATURE_LOCAL_APIC    BIT64(1)
#define FEATURE_XSAVE         BIT64(2)
#define FEATURE_DIRTY_PAGES   BIT64(3)
#define FEATURE_REMOTE_READ   BIT64(5)

/* WHV_CAPABILITY: 24 bytes, as words for the values and in halves for what comes first in the feature banks */
union value {
    uint64_t word[3];
    uint32_t half[6];
    uint8_t byte;
};
_Static_assert(sizeof(union value) == 24, "WHV_CAPABILITY");

static void get_present(union value *out)
{
    out->half[0] = hv_platform()->present;
}

static void get_vendor(union value *out)
{
    out->half[0] = backend()->vendor;
}

static void get_partition_features(union value *out)
{
    out->word[0] = FEATURE_PARTIAL_UNMAP | FEATURE_LOCAL_APIC | FEATURE_XSAVE | FEATURE_REMOTE_READ |
                   (backend()->npt_format()->dirty ? FEATURE_DIRTY_PAGES : 0);
}

static void get_features(union value *out)
{
    uint64_t banks[2];

    features_host(banks);
    out->word[0] = banks[0];
}

static void get_xsave_features(union value *out)
{
    out->word[0] = features_host_xsave();
}

static void get_clflush_shift(union value *out)
{
    out->byte = features_host_clflush_shift();
}

static void get_processor_hz(union value *out)
{
    out->word[0] = cpu_facts()->tsc_hz;
}

static void get_feature_banks(union value *out)
{
    out->half[0] = 2;
    features_host(&out->word[1]);
}

static void get_synthetic_banks(union value *out)
{
    out->half[0] = 1;
    out->word[1] = synthetic_features_host();
}

static void get_physical_width(union value *out)
{
    out->half[0] = features_host_physical_width();
}

struct capability {
    uint32_t code;
    uint32_t size;
    uint64_t constant; /* the value, where there is no function */
    void (*get)(union value *out);
};

/* clang-format off */
static const struct capability capabilities[] = {
    {HYPERVISOR_PRESENT,                 4, 0, get_present},
    {FEATURES,                           8, 0, get_partition_features},
    {EXTENDED_VM_EXITS,                  8, HV_EXTENDED_OFFERED, NULL},
    {EXCEPTION_EXIT_BITMAP,              8, HV_EXCEPTIONS_OFFERED, NULL},
    {X64_MSR_EXIT_BITMAP,                8, HV_MSR_EXITS_OFFERED, NULL},
    {GPA_RANGE_POPULATE_FLAGS,           4, 0, NULL}, /* memory is always populated */
    {SCHEDULER_FEATURES,                 8, 0, NULL}, /* the host schedules */
    {PROCESSOR_VENDOR,                   4, 0, get_vendor},
    {PROCESSOR_FEATURES,                 8, 0, get_features},
    {PROCESSOR_CL_FLUSH_SIZE,            1, 0, get_clflush_shift},
    {PROCESSOR_XSAVE_FEATURES,           8, 0, get_xsave_features},
    {PROCESSOR_CLOCK_FREQUENCY,          8, 0, get_processor_hz},
    {INTERRUPT_CLOCK_FREQUENCY,          8, HV_INTERRUPT_HZ, NULL},
    {PROCESSOR_FEATURES_BANKS,          24, 0, get_feature_banks},
    {PROCESSOR_FREQUENCY_CAP,           20, 0, NULL}, /* IsSupported: no */
    {SYNTHETIC_PROCESSOR_FEATURES_BANKS, 16, 0, get_synthetic_banks},
    {PROCESSOR_PERFMON_FEATURES,         8, 0, NULL},
    {PHYSICAL_ADDRESS_WIDTH,             4, 0, get_physical_width},
};
/* clang-format on */

static const struct capability *find_capability(uint32_t code)
{
    for (size_t i = 0; i < ARRAY_COUNT(capabilities); i++)
        if (capabilities[i].code == code)
            return &capabilities[i];
    return NULL;
}

/* Without a hypervisor that could use them, the other capabilities have no values: only the first one is answered. */
enum hv_status hv_capability(uint32_t code, void *buffer, uint32_t size, uint32_t *written)
{
    const struct capability *capability = find_capability(code);
    union value value = {{0}};

    if (!capability)
        return HV_E_UNKNOWN_PROPERTY;
    if (code != HYPERVISOR_PRESENT && !hv_platform()->present)
        return HV_E_NOT_PRESENT;
    if (written)
        *written = capability->size;
    if (size < capability->size)
        return HV_E_BUFFER_TOO_SMALL;
    if (!buffer)
        return HV_E_INVALID;
    value.word[0] = capability->constant;
    if (capability->get)
        capability->get(&value);
    memcpy(buffer, &value, capability->size);
    return HV_OK;
}
