/* SPDX-License-Identifier: MIT */
/* vmm/acpi.c: an operating system's way through the tables, and iasl's opinion of them. */
#include "vmm_guest.h"
#include <stdio.h>
#include <vmm/acpi.h>

#define PROCESSORS 5u

static uint8_t sum(uint64_t gpa, uint64_t size)
{
    uint8_t total = 0;

    for (uint64_t i = 0; i < size; i++)
        total += (uint8_t)guest_get(gpa + i, 1);
    return total;
}

static uint64_t write_tables(void)
{
    uint64_t rsdp = 0;

    assert_true(acpi_write(&memory, PROCESSORS, &rsdp));
    assert_string_equal(fake_system.printed, "");
    return rsdp;
}

/* By the XSDT; the DSDT by the FADT. */
static uint64_t find_table(const char *signature)
{
    uint64_t xsdt = guest_get(write_tables() + 24, 8), end = xsdt + guest_get(xsdt + 4, 4);

    for (uint64_t at = xsdt + 36; at < end; at += 8) {
        uint64_t table = guest_get(at, 8);
        char name[4];

        assert_true(memory_read(&memory, table, name, 4));
        if (memcmp(name, signature, 4) == 0) {
            assert_int_equal(sum(table, guest_get(table + 4, 4)), 0);
            return table;
        }
    }
    fail_msg("there is no %s", signature);
    return 0;
}

static void root(void **state)
{
    uint64_t rsdp = write_tables(), xsdt = guest_get(rsdp + 24, 8);

    (void)state;
    assert_int_equal(rsdp % 16, 0);
    assert_in_range(rsdp, 0xe0000, 0xfffff); /* where it is looked for */
    assert_int_equal(sum(rsdp, 20), 0);
    assert_int_equal(sum(rsdp, 36), 0);
    assert_int_equal(guest_get(rsdp + 15, 1), 2);
    assert_int_equal(sum(xsdt, guest_get(xsdt + 4, 4)), 0);
}

static void fadt(void **state)
{
    uint64_t table = find_table("FACP"), dsdt = guest_get(table + 140, 8), facs = guest_get(table + 36, 4);

    (void)state;
    assert_int_equal(guest_get(dsdt, 4), 0x54445344);
    assert_int_equal(guest_get(table + 40, 4), dsdt);
    assert_int_equal(sum(dsdt, guest_get(dsdt + 4, 4)), 0);
    assert_int_equal(guest_get(facs, 4), 0x53434146);
    assert_int_equal(facs % 64, 0);
    assert_int_equal(guest_get(table + 46, 2), 9);
    assert_int_equal(guest_get(table + 48, 4), 0); /* no SMI command: ACPI mode is on */
    assert_int_equal(guest_get(table + 56, 4), 0x600);
    assert_int_equal(guest_get(table + 64, 4), 0x604);
    assert_int_equal(guest_get(table + 76, 4), 0x608);
    assert_int_equal(guest_get(table + 109, 2) & 0x2f, 0x05); /* no VGA, no 8042; MSI works, an RTC is there */
    assert_int_equal(guest_get(table + 112, 4) & 0x100501,
                     0x000501); /* RESET_REG, 32-bit timer, WBINVD, fixed hardware */
    assert_int_equal(guest_get(table + 116, 1), 1);
    assert_int_equal(guest_get(table + 120, 8), 0xcf9);
    assert_int_equal(guest_get(table + 128, 1), 6);
    assert_int_equal(guest_get(table + 148 + 4, 8), 0x600);
    assert_int_equal(guest_get(table + 172 + 4, 8), 0x604);
    assert_int_equal(guest_get(table + 208 + 4, 8), 0x608);
}

static void madt(void **state)
{
    uint64_t table = find_table("APIC"), end = table + guest_get(table + 4, 4), at;
    uint32_t lapics = 0, seen = 0;

    (void)state;
    for (at = table + 44; at < end; at += guest_get(at + 1, 1)) {
        uint32_t type = (uint32_t)guest_get(at, 1);

        assert_true(guest_get(at + 1, 1) >= 6);
        seen |= 1u << type;
        if (type == 0) {
            assert_int_equal(guest_get(at + 3, 1), lapics++);
            assert_int_equal(guest_get(at + 4, 4), 1);
        } else if (type == 1) {
            assert_int_equal(guest_get(at + 4, 4), 0xfec00000);
        } else if (type == 2 && guest_get(at + 3, 1) == 0) {
            assert_int_equal(guest_get(at + 4, 4), 2);
            assert_int_equal(guest_get(at + 8, 2), 0);
        } else if (type == 2) {
            assert_int_equal(guest_get(at + 3, 1), 9);
            assert_int_equal(guest_get(at + 4, 4), 9);
            assert_int_equal(guest_get(at + 8, 2), 0x0d);
        }
    }
    assert_int_equal(at, end);
    assert_int_equal(lapics, PROCESSORS);
    assert_int_equal(seen, 0x17);
}

static void mcfg(void **state)
{
    uint64_t table = find_table("MCFG");

    (void)state;
    assert_int_equal(guest_get(table + 44, 8), 0xb0000000);
    assert_int_equal(guest_get(table + 54, 2), 0);
}

/* 64 processors fit, 256 have no numbers. */
static void many_processors(void **state)
{
    uint64_t rsdp;

    (void)state;
    assert_true(acpi_write(&memory, 64, &rsdp));
    assert_false(acpi_write(&memory, 256, &rsdp));
    assert_printed("at most 255");
}

/* iasl takes the tables apart, and complains of none. */
static void disassembles(void **state)
{
    static const char *const names[] = {"FACP", "APIC", "MCFG"};
    char command[256];

    (void)state;
    if (system("command -v iasl >/dev/null") != 0)
        skip();
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        uint64_t table = find_table(names[i]), size = guest_get(table + 4, 4);
        uint8_t bytes[4096];
        FILE *file = fopen("build/unit/table.aml", "wb");

        assert_non_null(file);
        assert_true(size <= sizeof(bytes) && memory_read(&memory, table, bytes, size));
        assert_int_equal(fwrite(bytes, 1, size, file), size);
        fclose(file);
        snprintf(command, sizeof(command),
                 "cd build/unit && iasl -d table.aml >table.log 2>&1 && ! grep -Ei 'error|warning|invalid|unknown' "
                 "table.log "
                 "table.dsl");
        assert_int_equal(system(command), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        GUEST_TEST(root),        GUEST_TEST(fadt), GUEST_TEST(madt), GUEST_TEST(mcfg), GUEST_TEST(many_processors),
        GUEST_TEST(disassembles)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
