/* SPDX-License-Identifier: MIT */
/* vmm/options.c: defaults, limits, and what is wrong in one line. */
#include "vmm_guest.h"
#include <vmm/options.h>

static struct options options;
static const uint8_t data[OPTIONS_CMDLINE_SIZE + 16] = "a  \"b\" c\r\n";

static void add_file(const char *name, size_t size)
{
    fake_system.files[fake_system.file_count].name = name;
    fake_system.files[fake_system.file_count++].file = (struct system_file){data, size, ""};
}

static void add_option(const char *word)
{
    fake_system.options[fake_system.option_count++] = word;
}

static int setup(void **state)
{
    unit_setup(state);
    fake_system_reset();
    add_file("kernel", 5);
    return 0;
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, unit_teardown)

static void defaults(void **state)
{
    (void)state;
    add_option("program=vmm");
    add_option("filter=guest_");
    assert_true(options_read(&options));
    assert_int_equal(options.processors, 2); /* of the fake machine */
    assert_int_equal(options.memory, 256 * MIB);
    assert_int_equal(options.guests, 1);
    assert_string_equal(options.input.cmdline, "");
    assert_int_equal(options.input.kernel.size, 5);
    assert_int_equal(options.input.module_count, 0);
    assert_string_equal(fake_system.printed, "");
}

static void given(void **state)
{
    (void)state;
    add_option("guest_smp=64");
    add_option("guest_mem=16");
    add_option("guests=8");
    add_option("guest_cmdline=quiet panic=1");
    add_file("initrd", 1);
    add_file("initrd", 2);
    assert_true(options_read(&options));
    assert_int_equal(options.processors, 64);
    assert_int_equal(options.memory, 16 * MIB);
    assert_int_equal(options.guests, 8);
    assert_string_equal(options.input.cmdline, "quiet panic=1");
    assert_int_equal(options.input.module_count, 2);
    assert_int_equal(options.input.modules[1].size, 2);
}

static void cmdline_file(void **state)
{
    (void)state;
    add_option("guest_cmdline=other");
    add_file("cmdline", 10);
    assert_true(options_read(&options));
    assert_string_equal(options.input.cmdline, "a  \"b\" c");
}

static void devices(void **state)
{
    (void)state;
    add_option("guest_pci=nvme,net");
    add_option("guest_pci=0000:01:00.0");
    assert_true(options_read(&options));
    assert_int_equal(options.pci_count, 3);
    assert_string_equal(options.pci[0], "nvme");
    assert_string_equal(options.pci[1], "net");
    assert_string_equal(options.pci[2], "0000:01:00.0");
    assert_false(options.is_pci_unsafe);
    add_option("guest_pci_unsafe=on");
    assert_true(options_read(&options));
    assert_true(options.is_pci_unsafe);
    assert_int_equal(options.pci_count, 3);
}

static void wrong(void **state)
{
    static const struct {
        const char *option, *words;
    } cases[] = {
        {"guest_memory=5", "guest_memory=5"},
        {"guest_smp", "unknown option guest_smp"},
        {"guest_smp=0", "guest_smp=0: a number from 1 to 64"},
        {"guest_smp=65", "guest_smp=65"},
        {"guest_smp=", "guest_smp=:"},
        {"guest_smp=2x", "guest_smp=2x"},
        {"guest_mem=15", "guest_mem=15"},
        {"guest_mem=-1", "guest_mem=-1"},
        {"guest_mem=4294967297", "guest_mem=4294967297"},
        {"guests=9", "guests=9"},
        {"guest_pci=", "words of 1 to 15 characters"},
        {"guest_pci=nvme,", "words of 1 to 15 characters"},
        {"guest_pci=0000:01:00.0-or-so", "words of 1 to 15 characters"},
        {"guest_pci=a,b,c,d,e,f,g,h,i", "more than 8 devices"},
        {"guest_pci_unsafe=yes", "guest_pci_unsafe=yes: on or off is wanted"},
        {"guest_hyperv=of", "guest_hyperv=of: on, nocalls or off is wanted"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fake_system.option_count = 0;
        add_option(cases[i].option);
        assert_false(options_read(&options));
        assert_printed(cases[i].words);
    }
}

static void wrong_files(void **state)
{
    (void)state;
    fake_system.file_count = 0;
    assert_false(options_read(&options));
    assert_printed("no file \"kernel\"");
    add_file("kernel", 5);
    add_file("cmdline", sizeof(data)); /* zeroes behind the line */
    assert_false(options_read(&options));
    assert_printed("at most 4095");
    fake_system.files[1].file.size = 12;
    assert_false(options_read(&options));
    assert_printed("more than one line");
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(defaults),     TEST(given), TEST(devices),
                                       TEST(cmdline_file), TEST(wrong), TEST(wrong_files)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
