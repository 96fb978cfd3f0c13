/* SPDX-License-Identifier: MIT */
/* vmm/bus.c: which range answers an access, and how wide ones are split. */
#include "vmm_machine.h"

struct access {
    char kind;
    uint64_t offset, value;
    uint32_t size;
};

static struct access seen[16];
static uint32_t seen_count;
static uint64_t answer;

static uint64_t recorder_read(void *device, uint64_t offset, uint32_t size)
{
    (void)device;
    assert_true(seen_count < 16);
    seen[seen_count++] = (struct access){'r', offset, 0, size};
    return answer >> (offset * 8);
}

static void recorder_write(void *device, uint64_t offset, uint32_t size, uint64_t value)
{
    (void)device;
    assert_true(seen_count < 16);
    seen[seen_count++] = (struct access){'w', offset, value, size};
}

static const struct bus_handler any = {recorder_read, recorder_write, 0};
static const struct bus_handler bytes = {recorder_read, recorder_write, 1};
static const struct bus_handler dwords = {recorder_read, recorder_write, 4};

static uint64_t name_read(void *device, uint64_t offset, uint32_t size)
{
    (void)offset;
    (void)size;
    return *(const char *)device;
}

static const struct bus_handler named = {name_read, recorder_write, 0};

static int setup(void **state)
{
    seen_count = 0;
    answer = 0;
    return tm_setup(state);
}

static void ranges_that_overlap_are_refused(void **state)
{
    static const struct {
        uint64_t base, size;
        bool is_added;
    } table[] = {
        {0x100, 0x10, true},        {0x100, 0x10, false},       {0x0f8, 0x09, false},      {0x10f, 2, false},
        {0x110, 1, true},           {0x0ff, 1, true},           {0x104, 4, true},          {0x106, 4, false},
        {0x105, 1, true},           {0x100, 8, true},           {0x0f0, 0x100, true},      {0x200, 0, false},
        {UINT64_MAX, 1, true},      {UINT64_MAX - 1, 3, false}, {UINT64_MAX - 8, 8, true}, {0x300, 0x80, true},
        {0x2ff, UINT64_MAX, false},
    };
    struct bus bus = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (bus_add(&bus, table[i].base, table[i].size, &any, NULL, "x") != table[i].is_added)
            fail_msg("range %zu", i);
    for (uint32_t i = 1; i < bus.count; i++)
        assert_true(bus.ranges[i - 1].base <= bus.ranges[i].base);
    assert_non_null(strstr(fake_system.printed, "no place on the bus for x"));
}

static void full_table(void **state)
{
    struct bus bus = {0};

    (void)state;
    for (uint32_t i = 0; i < BUS_RANGES_MAX; i++)
        assert_true(bus_add(&bus, 0x1000 - i * 16, 16, &any, NULL, "x"));
    assert_false(bus_add(&bus, 0x2000, 1, &any, NULL, "x"));
}

static void innermost_range_answers(void **state)
{
    static const struct {
        uint64_t address;
        uint32_t size;
        uint64_t value;
    } table[] = {
        {0x100, 1, 'o'}, {0x104, 1, 'i'},    {0x104, 4, 'i'},      {0x103, 2, 'o'},         {0x107, 2, 'o'},
        {0x106, 1, 'c'}, {0x106, 2, 'i'},    {0x10c, 4, 'o'},      {0x10d, 4, ~0u},         {0x0ff, 2, 0xffff},
        {0x110, 1, 255}, {0x100, 8, 'o'},    {0x108, 8, 'o'},      {0x109, 8, ~0ull},       {0x100, 3, 0xffffff},
        {0x100, 0, 0},   {0x100, 16, ~0ull}, {UINT64_MAX, 1, 'e'}, {UINT64_MAX, 2, 0xffff},
    };
    static const struct {
        uint64_t base, size;
        const char *name;
    } ranges[] = {
        {0x106, 1, "core"}, {0x100, 16, "outer"}, {0x104, 4, "inner"}, {UINT64_MAX, 1, "end"}, {0x50, 1, "x"}};
    struct bus bus = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
        assert_true(bus_add(&bus, ranges[i].base, ranges[i].size, &named, (void *)ranges[i].name, ranges[i].name));
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (bus_get(&bus, table[i].address, table[i].size) != table[i].value)
            fail_msg("access %zu", i);
    assert_false(bus_write(&bus, 0x10d, 4, 1));
    assert_int_equal(seen_count, 0);
}

static void wide_accesses_are_split(void **state)
{
    struct bus bus = {0};
    uint64_t value;

    (void)state;
    assert_true(bus_add(&bus, 0x10, 8, &bytes, NULL, "bytes"));
    assert_true(bus_add(&bus, 0x20, 8, &dwords, NULL, "dwords"));
    answer = 0x8877665544332211;
    assert_true(bus_read(&bus, 0x12, 4, &value));
    assert_int_equal(value, 0x66554433);
    assert_int_equal(seen_count, 4);
    for (uint32_t i = 0; i < 4; i++)
        assert_true(seen[i].offset == 2 + i && seen[i].size == 1);

    seen_count = 0;
    assert_true(bus_write(&bus, 0x20, 8, 0x1122334455667788));
    assert_int_equal(seen_count, 2);
    assert_true(seen[0].offset == 0 && seen[0].size == 4 && seen[0].value == 0x55667788);
    assert_true(seen[1].offset == 4 && seen[1].size == 4 && seen[1].value == 0x11223344);

    seen_count = 0;
    assert_true(bus_write(&bus, 0x21, 2, 0xfffff));
    assert_true(seen_count == 1 && seen[0].offset == 1 && seen[0].size == 2 && seen[0].value == 0xffff);
    assert_int_equal(bus.ranges[0].reads, 1);
    assert_int_equal(bus.ranges[1].writes, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VMM_TEST(ranges_that_overlap_are_refused),
        VMM_TEST(full_table),
        cmocka_unit_test_setup_teardown(innermost_range_answers, setup, tm_teardown),
        cmocka_unit_test_setup_teardown(wide_accesses_are_split, setup, tm_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
