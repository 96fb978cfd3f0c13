/* SPDX-License-Identifier: MIT */
/*
 * Partition properties. Setting one has two steps: the caller's buffer is read once into a struct staged and checked
 * there; then, when nothing can fail any more, it takes effect.
 */
#include "cpuid_policy.h"
#include "partition.h"
#include "synthetic.h"
#include "time.h"
#include <hv/base/assert.h>
#include <hv/base/memory.h>

/* codes, as in WHV_PARTITION_PROPERTY_CODE */
enum {
    EXTENDED_VM_EXITS = 0x0001,
    EXCEPTION_EXIT_BITMAP = 0x0002,
    SEPARATE_SECURITY_DOMAIN = 0x0003,
    NESTED_VIRTUALIZATION = 0x0004,
    X64_MSR_EXIT_BITMAP = 0x0005,
    PRIMARY_NUMA_NODE = 0x0006,
    CPU_RESERVE = 0x0007,
    CPU_CAP = 0x0008,
    CPU_WEIGHT = 0x0009,
    CPU_GROUP_ID = 0x000a,
    PROCESSOR_FREQUENCY_CAP = 0x000b,
    ALLOW_DEVICE_ASSIGNMENT = 0x000c,
    DISABLE_SMT = 0x000d,
    PROCESSOR_FEATURES = 0x1001,
    PROCESSOR_CL_FLUSH_SIZE = 0x1002,
    CPUID_EXIT_LIST = 0x1003,
    CPUID_RESULT_LIST = 0x1004,
    LOCAL_APIC_EMULATION_MODE = 0x1005,
    PROCESSOR_XSAVE_FEATURES = 0x1006,
    PROCESSOR_CLOCK_FREQUENCY = 0x1007,
    INTERRUPT_CLOCK_FREQUENCY = 0x1008,
    APIC_REMOTE_READ_SUPPORT = 0x1009,
    PROCESSOR_FEATURES_BANKS = 0x100a,
    REFERENCE_TIME = 0x100b,
    SYNTHETIC_PROCESSOR_FEATURES_BANKS = 0x100c,
    CPUID_RESULT_LIST2 = 0x100d,
    PROCESSOR_PERFMON_FEATURES = 0x100e,
    MSR_ACTION_LIST = 0x100f,
    UNIMPLEMENTED_MSR_ACTION = 0x1010,
    PHYSICAL_ADDRESS_WIDTH = 0x1011,
    PROCESSOR_COUNT = 0x1fff,
};

struct feature_banks { /* WHV_PROCESSOR_FEATURES_BANKS, WHV_SYNTHETIC_PROCESSOR_FEATURES_BANKS */
    uint32_t count, reserved;
    uint64_t bank[2];
};
_Static_assert(sizeof(struct feature_banks) == 24, "WHV_PROCESSOR_FEATURES_BANKS");
#define SYNTHETIC_BANKS_SIZE 16u

/* ---------------------------------------------------------------------- which values are good */

static bool any(uint64_t value)
{
    (void)value;
    return true;
}

static bool no_bits(uint64_t value)
{
    return value == 0;
}

static bool exits_are_offered(uint64_t value)
{
    return !(value & ~HV_EXTENDED_OFFERED);
}

static bool exceptions_are_offered(uint64_t value)
{
    return !(value & ~HV_EXCEPTIONS_OFFERED);
}

static bool msr_exits_are_offered(uint64_t value)
{
    return !(value & ~HV_MSR_EXITS_OFFERED);
}

static bool features_are_offered(uint64_t value)
{
    uint64_t host[2];

    features_host(host);
    return !(value & ~host[0]);
}

static bool xsave_features_are_offered(uint64_t value)
{
    return !(value & ~features_host_xsave());
}

/* A guest that believes in longer lines than there are would leave some of them unflushed. CPUID counts in 8 bytes. */
static bool clflush_shift_is_valid(uint64_t value)
{
    return value >= 3 && value <= features_host_clflush_shift();
}

static bool local_apic_mode_is_valid(uint64_t value)
{
    return value <= HV_LOCAL_APIC_X2APIC;
}

/* The clocks run as they do: neither is scaled. */
static bool is_processor_hz(uint64_t value)
{
    return value == cpu_facts()->tsc_hz;
}

static bool is_interrupt_hz(uint64_t value)
{
    return value == HV_INTERRUPT_HZ;
}

#define PHYSICAL_WIDTH_MIN 32u

static bool physical_width_is_valid(uint64_t value)
{
    return value >= PHYSICAL_WIDTH_MIN && value <= features_host_physical_width();
}

static bool processor_count_is_valid(uint64_t value)
{
    return value >= 1 && value <= HV_MAX_VPS;
}

static bool action_is_valid(uint64_t value)
{
    return value <= HV_MSR_ACTION_EXIT;
}

static bool any_item(const void *item)
{
    (void)item;
    return true;
}

static bool cpuid_entry_is_valid(const void *item)
{
    const struct hv_cpuid_entry *e = item;

    return !(e->reserved[0] | e->reserved[1] | e->reserved[2]);
}

static bool cpuid_entry2_is_valid(const void *item)
{
    const struct hv_cpuid_entry2 *e = item;

    return !(e->flags & ~(HV_CPUID_ENTRY2_SUBLEAF | HV_CPUID_ENTRY2_VP));
}

static bool msr_action_is_valid(const void *item)
{
    const struct hv_msr_action *a = item;

    return action_is_valid(a->read_action) && action_is_valid(a->write_action) && !a->reserved;
}

/* ------------------------------------------------------------------------------- the properties */

enum property_kind { SCALAR, LIST, FEATURE_BANKS, SYNTHETIC_BANKS, CLOCK };

#define LATER  (1u << 0) /* may also be changed after set-up, while no VP runs */
#define BOOL   (1u << 1) /* anything but 0 is 1 */
#define SORTED (1u << 2) /* the list is kept in the order of its elements' first 32 bits */

struct property {
    uint32_t code;
    uint8_t kind, flags;
    uint8_t size;    /* bytes of the value; of a list's element */
    uint16_t offset; /* in struct hv_properties */
    bool (*is_valid)(uint64_t value);
    bool (*item_is_valid)(const void *item);
};

#define IN(field)                       offsetof(struct hv_properties, field)
#define SIZE(field)                     sizeof(((struct hv_properties *)0)->field)
#define VALUE(field, flags, test)       SCALAR, flags, SIZE(field), IN(field), test, NULL
#define ITEMS(field, flags, type, test) LIST, flags, sizeof(type), IN(field), NULL, test

/* clang-format off */
static const struct property properties[] = {
    {EXTENDED_VM_EXITS,          VALUE(extended_exits, LATER, exits_are_offered)},
    {EXCEPTION_EXIT_BITMAP,      VALUE(exception_exits, LATER, exceptions_are_offered)},
    {SEPARATE_SECURITY_DOMAIN,   VALUE(separate_security_domain, BOOL, any)},
    {NESTED_VIRTUALIZATION,      VALUE(nested_virtualization, BOOL, no_bits)},
    {X64_MSR_EXIT_BITMAP,        VALUE(msr_exits, LATER, msr_exits_are_offered)},
    {PRIMARY_NUMA_NODE,          VALUE(primary_numa_node, 0, any)},
    {CPU_RESERVE,                VALUE(cpu_reserve, 0, any)},
    {CPU_CAP,                    VALUE(cpu_cap, 0, any)},
    {CPU_WEIGHT,                 VALUE(cpu_weight, 0, any)},
    {CPU_GROUP_ID,               VALUE(cpu_group_id, 0, any)},
    {PROCESSOR_FREQUENCY_CAP,    VALUE(frequency_cap, 0, any)},
    {ALLOW_DEVICE_ASSIGNMENT,    VALUE(allow_device_assignment, BOOL, any)},
    {DISABLE_SMT,                VALUE(disable_smt, BOOL, any)},
    {PROCESSOR_FEATURES,         VALUE(features[0], 0, features_are_offered)},
    {PROCESSOR_CL_FLUSH_SIZE,    VALUE(clflush_shift, 0, clflush_shift_is_valid)},
    {CPUID_EXIT_LIST,            ITEMS(cpuid_exits, LATER | SORTED, uint32_t, any_item)},
    {CPUID_RESULT_LIST,          ITEMS(cpuid_results, 0, struct hv_cpuid_entry, cpuid_entry_is_valid)},
    {LOCAL_APIC_EMULATION_MODE,  VALUE(local_apic_mode, 0, local_apic_mode_is_valid)},
    {PROCESSOR_XSAVE_FEATURES,   VALUE(xsave_features, 0, xsave_features_are_offered)},
    {PROCESSOR_CLOCK_FREQUENCY,  VALUE(processor_hz, 0, is_processor_hz)},
    {INTERRUPT_CLOCK_FREQUENCY,  VALUE(interrupt_hz, 0, is_interrupt_hz)},
    {APIC_REMOTE_READ_SUPPORT,   VALUE(apic_remote_read, BOOL, any)},
    {PROCESSOR_FEATURES_BANKS,   FEATURE_BANKS, 0, sizeof(struct feature_banks), IN(features), NULL, NULL},
    {REFERENCE_TIME,             CLOCK, LATER, sizeof(uint64_t), 0, any, NULL},
    {SYNTHETIC_PROCESSOR_FEATURES_BANKS, SYNTHETIC_BANKS, 0, SYNTHETIC_BANKS_SIZE, IN(synthetic_features), NULL, NULL},
    {CPUID_RESULT_LIST2,         ITEMS(cpuid_results2, 0, struct hv_cpuid_entry2, cpuid_entry2_is_valid)},
    {PROCESSOR_PERFMON_FEATURES, VALUE(perfmon_features, 0, no_bits)},
    {MSR_ACTION_LIST,            ITEMS(msr_actions, SORTED, struct hv_msr_action, msr_action_is_valid)},
    {UNIMPLEMENTED_MSR_ACTION,   VALUE(unimplemented_msr_action, 0, action_is_valid)},
    {PHYSICAL_ADDRESS_WIDTH,     VALUE(physical_address_width, 0, physical_width_is_valid)},
    {PROCESSOR_COUNT,            VALUE(processor_count, 0, processor_count_is_valid)},
};
/* clang-format on */

static const struct property *find_property(uint32_t code)
{
    for (size_t i = 0; i < ARRAY_COUNT(properties); i++)
        if (properties[i].code == code)
            return &properties[i];
    return NULL;
}

static void *place_of(struct hv_properties *props, const struct property *property)
{
    return (char *)props + property->offset;
}

/* ---------------------------------------------------------------------------------------- lists */

static uint32_t key_of(const char *items, uint32_t size, uint32_t n)
{
    uint32_t key;

    memcpy(&key, items + (size_t)n * size, sizeof(key));
    return key;
}

/* By insertion, so that elements with the same key stay in their order. */
static void sort_items(char *items, uint32_t size, uint32_t count)
{
    char item[sizeof(struct hv_msr_action)];

    HV_ASSERT(size <= sizeof(item));
    for (uint32_t i = 1; i < count; i++) {
        uint32_t key = key_of(items, size, i), to = i;

        while (to > 0 && key_of(items, size, to - 1) > key)
            to--;
        memcpy(item, items + (size_t)i * size, size);
        memmove(items + (size_t)(to + 1) * size, items + (size_t)to * size, (size_t)(i - to) * size);
        memcpy(items + (size_t)to * size, item, size);
    }
}

const void *property_list_find(const struct hv_property_list *list, uint32_t size, uint32_t key)
{
    const char *items = list->items;
    uint32_t low = 0, high = list->count; /* the first element with a higher key is in [low, high] */

    while (low < high) {
        uint32_t middle = (low + high) / 2;

        if (key_of(items, size, middle) > key)
            high = middle;
        else
            low = middle + 1;
    }
    return low && key_of(items, size, low - 1) == key ? items + (size_t)(low - 1) * size : NULL;
}

/* What is asked of the host for a copy, in the units that it gives. */
static size_t copy_size(uint32_t bytes)
{
    return ALIGN_UP((size_t)bytes, 16);
}

static void free_list(struct hv_property_list *list, uint32_t size)
{
    if (list->items)
        hv_host_free(list->items, copy_size(list->count * size));
    *list = (struct hv_property_list){0};
}

static bool items_are_valid(const struct property *property, const struct hv_property_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (!property->item_is_valid((const char *)list->items + (size_t)i * property->size))
            return false;
    return true;
}

/* -------------------------------------------------------------------------------------- staging */

struct staged {
    uint64_t value[2];
    struct hv_property_list list;
};

static enum hv_status stage_list(const struct property *property, const void *buffer, uint32_t size, struct staged *out)
{
    if (size % property->size || size > HV_PROPERTY_LIST_BYTES || (size && !buffer))
        return HV_E_INVALID;
    out->list = (struct hv_property_list){.count = size / property->size, .is_set = true};
    if (!size)
        return HV_OK;
    out->list.items = hv_host_alloc(copy_size(size));
    if (!out->list.items)
        return HV_E_NO_MEMORY;
    memcpy(out->list.items, buffer, size);
    if (!items_are_valid(property, &out->list)) {
        free_list(&out->list, property->size);
        return HV_E_INVALID;
    }
    if (property->flags & SORTED)
        sort_items(out->list.items, property->size, out->list.count);
    return HV_OK;
}

static enum hv_status stage_scalar(const struct property *property, const void *buffer, struct staged *out)
{
    uint64_t value = 0;

    memcpy(&value, buffer, property->size);
    if (property->flags & BOOL)
        value = !!value;
    if (!property->is_valid(value))
        return HV_E_INVALID;
    out->value[0] = value;
    return HV_OK;
}

static bool bank_count_is_valid(const struct property *property, uint32_t count)
{
    return count == 1 || (count == 2 && property->kind == FEATURE_BANKS);
}

/* A single bank leaves the other one as it is. */
static enum hv_status stage_banks(const struct hv_properties *props, const struct property *property,
                                  const void *buffer, struct staged *out)
{
    struct feature_banks banks = {0};
    uint64_t offered[2] = {0, 0};

    memcpy(&banks, buffer, property->size);
    if (!bank_count_is_valid(property, banks.count) || banks.reserved)
        return HV_E_INVALID;
    if (property->kind == FEATURE_BANKS)
        features_host(offered);
    else
        offered[0] = synthetic_features_host();
    if (banks.count == 1)
        banks.bank[1] = props->features[1];
    if (banks.bank[0] & ~offered[0] || (banks.count == 2 && banks.bank[1] & ~offered[1]))
        return HV_E_INVALID;
    memcpy(out->value, banks.bank, sizeof(out->value));
    return HV_OK;
}

static enum hv_status stage(struct hv_partition *p, const struct property *property, const void *buffer, uint32_t size,
                            struct staged *out)
{
    *out = (struct staged){0};
    if (property->kind == LIST)
        return stage_list(property, buffer, size, out);
    if (!buffer)
        return HV_E_INVALID;
    if (size < property->size)
        return HV_E_BUFFER_TOO_SMALL;
    if (property->kind == SCALAR || property->kind == CLOCK)
        return stage_scalar(property, buffer, out);
    return stage_banks(&p->properties, property, buffer, out);
}

/* ------------------------------------------------------------------------------- taking effect */

static void store(struct hv_partition *p, const struct property *property, struct staged *new)
{
    struct hv_properties *props = &p->properties;
    void *place = place_of(props, property);
    struct hv_property_list old;

    switch (property->kind) {
    case SCALAR:
        memcpy(place, &new->value[0], property->size);
        if (property->code == X64_MSR_EXIT_BITMAP)
            props->msr_exits_set = true;
        break;
    case LIST:
        memcpy(&old, place, sizeof(old));
        memcpy(place, &new->list, sizeof(new->list));
        new->list = old; /* for the caller to free */
        break;
    case FEATURE_BANKS:
        memcpy(props->features, new->value, sizeof(props->features));
        break;
    case SYNTHETIC_BANKS:
        props->synthetic_features = new->value[0];
        break;
    case CLOCK:
        time_set_reference(p, new->value[0]);
        break;
    }
}

static enum hv_status apply(struct hv_partition *p, const struct property *property, struct staged *new)
{
    if (!partition_claim_all(p))
        return HV_E_VP_BUSY;
    store(p, property, new);
    for (uint32_t i = 0; i < p->properties.processor_count; i++)
        if (p->vps[i])
            p->vps[i]->properties_stale = true;
    partition_release_all(p);
    return HV_OK;
}

static enum hv_status set_locked(struct hv_partition *p, const struct property *property, const void *buffer,
                                 uint32_t size)
{
    struct staged new;
    enum hv_status st;

    if (p->is_set_up && !(property->flags & LATER))
        return HV_E_INVALID;
    st = stage(p, property, buffer, size, &new);
    if (st != HV_OK)
        return st;
    st = apply(p, property, &new);
    free_list(&new.list, property->size);
    return st;
}

enum hv_status hv_partition_set_property(struct hv_partition *p, uint32_t code, const void *buffer, uint32_t size)
{
    const struct property *property = find_property(code);
    enum hv_status st;

    if (!property)
        return HV_E_UNKNOWN_PROPERTY;
    hv_mutex_lock(&p->mutex);
    st = set_locked(p, property, buffer, size);
    hv_mutex_unlock(&p->mutex);
    return st;
}

/* -------------------------------------------------------------------------------------- getting */

static enum hv_status get_banks(const struct hv_properties *props, const struct property *property, void *buffer)
{
    struct feature_banks banks = {0};

    memcpy(&banks.count, buffer, sizeof(banks.count));
    if (!bank_count_is_valid(property, banks.count))
        return HV_E_INVALID;
    banks.bank[0] = property->kind == FEATURE_BANKS ? props->features[0] : props->synthetic_features;
    banks.bank[1] = banks.count == 2 ? props->features[1] : 0;
    memcpy(buffer, &banks, property->size);
    return HV_OK;
}

static enum hv_status get_locked(struct hv_partition *p, const struct property *property, void *buffer)
{
    uint64_t reference;

    if (property->kind == CLOCK) {
        reference = time_reference(p);
        memcpy(buffer, &reference, sizeof(reference));
        return HV_OK;
    }
    if (property->kind != SCALAR)
        return get_banks(&p->properties, property, buffer);
    memcpy(buffer, place_of(&p->properties, property), property->size);
    return HV_OK;
}

enum hv_status hv_partition_get_property(struct hv_partition *p, uint32_t code, void *buffer, uint32_t size,
                                         uint32_t *written)
{
    const struct property *property = find_property(code);
    enum hv_status st;

    if (!property)
        return HV_E_UNKNOWN_PROPERTY;
    if (property->kind == LIST)
        return HV_E_UNSUPPORTED;
    if (written)
        *written = property->size;
    if (size < property->size)
        return HV_E_BUFFER_TOO_SMALL;
    if (!buffer)
        return HV_E_INVALID;
    hv_mutex_lock(&p->mutex);
    st = get_locked(p, property, buffer);
    hv_mutex_unlock(&p->mutex);
    return st;
}

/* ---------------------------------------------------------------------------------------- life */

void properties_init(struct hv_properties *props)
{
    *props = (struct hv_properties){
        .clflush_shift = features_host_clflush_shift(),
        .processor_hz = cpu_facts()->tsc_hz,
        .interrupt_hz = HV_INTERRUPT_HZ,
        .physical_address_width = features_host_physical_width(),
    };
    features_give_all(props);
}

enum hv_status properties_seal(struct hv_properties *props)
{
    if (!props->processor_count)
        return HV_E_CONFIG;
    props->synthetic_features = synthetic_features_left(props);
    props->cpuid = cpuid_table_create(props);
    return props->cpuid ? HV_OK : HV_E_NO_MEMORY;
}

void properties_unseal(struct hv_properties *props)
{
    if (props->cpuid)
        cpuid_table_destroy(props->cpuid);
    props->cpuid = NULL;
}

void properties_free(struct hv_properties *props)
{
    for (size_t i = 0; i < ARRAY_COUNT(properties); i++)
        if (properties[i].kind == LIST)
            free_list(place_of(props, &properties[i]), properties[i].size);
    properties_unseal(props);
}
