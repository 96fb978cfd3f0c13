/* SPDX-License-Identifier: MIT */
/* vmm/linux.c: what a kernel finds, and kernels that are none. */
#include "vmm_guest.h"

#define SETUP  2048u /* three sectors behind the boot sector */
#define KERNEL 8192u
#define SIZE   (SETUP + KERNEL)

#define PREFERRED 0x1000000ull
#define INIT_SIZE 0x800000u

#define ZERO_PAGE_AT(field, size) guest_get(entry.rsi + (field), size)

static uint8_t image[SIZE];

static void make_image(void)
{
    memset(image, 0, sizeof(image));
    for (size_t i = SETUP; i < SIZE; i++)
        image[i] = (uint8_t)(i * 7 + i / 256);
    image[0x1f1] = SETUP / 512 - 1;
    bytes_put32(image + 0x1f4, KERNEL / 16);
    bytes_put16(image + 0x1fe, 0xaa55);
    image[0x200] = 0xeb;
    image[0x201] = 0x6a; /* the header ends at 26Ch */
    memcpy(image + 0x202, "HdrS", 4);
    bytes_put16(image + 0x206, 0x20f);
    bytes_put16(image + 0x20e, 0x300); /* + 200h */
    strcpy((char *)image + 0x500, "6.1.0-test (us) #1");
    image[0x211] = 0x41; /* LOADED_HIGH, KEEP_SEGMENTS */
    bytes_put32(image + 0x22c, 0x7fffffff);
    bytes_put32(image + 0x230, 0x200000);
    image[0x234] = 1;
    bytes_put16(image + 0x236, 0x3f);
    bytes_put32(image + 0x238, 63);
    bytes_put64(image + 0x250, 0x1234); /* a pointer that is not ours */
    bytes_put64(image + 0x258, PREFERRED);
    bytes_put32(image + 0x260, INIT_SIZE);
    bytes_put32(image + 0x268, 0x55aa55aa);
}

static int setup(void **state)
{
    make_image();
    return guest_setup(state);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, guest_teardown)

static void assert_kernel_at(uint64_t gpa)
{
    uint8_t bytes[KERNEL];

    assert_true(memory_read(&memory, gpa, bytes, KERNEL));
    assert_memory_equal(bytes, image + SETUP, KERNEL);
    assert_int_equal(entry.rip, gpa + 0x200);
}

static void boots(void **state)
{
    (void)state;
    assert_true(load_image(image, SIZE, "console=ttyS0 a=b"));
    assert_true(entry.is_long);
    assert_kernel_at(PREFERRED);
    assert_string_equal(entry.version, "Linux 6.1.0-test");
    assert_int_equal(ZERO_PAGE_AT(0x202, 4), 0x53726448);
    assert_int_equal(ZERO_PAGE_AT(0x210, 1), 0xff);
    assert_int_equal(ZERO_PAGE_AT(0x211, 1), 0x01);
    assert_int_equal(ZERO_PAGE_AT(0x218, 4), 0); /* no RAM disk */
    assert_int_equal(ZERO_PAGE_AT(0x21c, 4), 0);
    assert_guest_text(ZERO_PAGE_AT(0x228, 4), "console=ttyS0 a=b");
    assert_int_equal(ZERO_PAGE_AT(0x250, 8), 0);
    assert_int_equal(ZERO_PAGE_AT(0x268, 4), 0x55aa55aa);
    assert_int_equal(ZERO_PAGE_AT(0x26c, 4), 0); /* behind the header: not the setup code */
    assert_int_equal(ZERO_PAGE_AT(0x070, 8), 0xf0000);
    assert_string_equal(fake_system.printed, "");
}

/* The TSC's rate goes behind the command line, unless it is there, or too long with it. */
static void tsc_rate(void **state)
{
    static const struct {
        const char *cmdline, *wanted;
        uint32_t khz;
    } rows[] = {
        {"a=b", "a=b tsc_early_khz=2000000", 2000000},
        {"", " tsc_early_khz=4294967295", 0xffffffff},
        {"a=b", "a=b", 0},
        {"tsc_early_khz=7 a=b", "tsc_early_khz=7 a=b", 2000000},
        {"ttsc_early_khz=7", "ttsc_early_khz=7", 2000000},
        {"tsc_early_kh tsc=x", "tsc_early_kh tsc=x tsc_early_khz=1", 1},
        {"0123456789012345678901234567890123456789012345678", "0123456789012345678901234567890123456789012345678", 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct loader_input input = {
            .kernel = {image, SIZE, ""}, .cmdline = rows[i].cmdline, .rsdp = 0xf0000, .tsc_khz = rows[i].khz};

        assert_true(loader_load(&memory, &input, &entry));
        assert_guest_text(ZERO_PAGE_AT(0x228, 4), rows[i].wanted);
    }
}

/* Nothing but RAM is called RAM, and none of it twice. */
static void e820(void **state)
{
    uint64_t end = 0, ram = 0;

    (void)state;
    assert_true(load_image(image, SIZE, ""));
    for (uint32_t i = 0; i < ZERO_PAGE_AT(0x1e8, 1); i++) {
        uint64_t base = ZERO_PAGE_AT(0x2d0 + i * 20, 8), size = ZERO_PAGE_AT(0x2d8 + i * 20, 8);
        bool is_ram = ZERO_PAGE_AT(0x2e0 + i * 20, 4) == 1;

        assert_true(base >= end && size);
        end = base + size;
        if (is_ram) {
            assert_true(memory_is_ram(&memory, base, size));
            assert_false(bytes_overlap(base, size, 0xa0000, 0x60000));
            ram += size;
        }
    }
    assert_int_equal(ram, 32 * MIB - 0x100000 + MEMORY_BASE_END);
}

/* A walk as the CPU does it; pages of 2 MiB only. */
static uint64_t walk(uint64_t linear)
{
    uint64_t e = guest_get(entry.cr3 + (linear >> 39 & 511) * 8, 8);

    assert_int_equal(e & 0x83, 0x03);
    e = guest_get((e & ~0xfffull) + (linear >> 30 & 511) * 8, 8);
    assert_int_equal(e & 0x83, 0x03);
    e = guest_get((e & ~0xfffull) + (linear >> 21 & 511) * 8, 8);
    assert_int_equal(e & 0x83, 0x83);
    return (e & ~0x1fffffull) + (linear & 0x1fffff);
}

static void identity_mapping(void **state)
{
    static const uint64_t addresses[] = {0, 0xf0000, PREFERRED, 0x3fffffff, 0x40000000, 0xb0000000, 0xffffffff};

    (void)state;
    assert_true(load_image(image, SIZE, ""));
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
        assert_int_equal(walk(addresses[i]), addresses[i]);
}

static void descriptors(void **state)
{
    (void)state;
    assert_true(load_image(image, SIZE, ""));
    assert_int_equal(entry.code, 0x10); /* __BOOT_CS, __BOOT_DS */
    assert_int_equal(entry.data, 0x18);
    assert_true(entry.gdt_limit >= 0x1f);
    assert_int_equal(guest_get(entry.gdt, 8), 0);
    assert_int_equal(guest_get(entry.gdt + 0x10, 8), 0x00af9b000000ffff);
    assert_int_equal(guest_get(entry.gdt + 0x18, 8), 0x00cf93000000ffff);
}

/* ----------------------------------------------------------------------------------- placement */

/* An address that no kernel can have is anything to a relocatable one. Below the preferred one it would move up again.
 */
static void preferred_address(void **state)
{
    (void)state;
    bytes_put64(image + 0x258, 4096);
    assert_true(load_image(image, SIZE, ""));
    assert_kernel_at(2 * MIB); /* the first multiple of its alignment */
    image[0x234] = 0;
    assert_false(load_image(image, SIZE, ""));
    assert_printed("where no memory can be");
    image[0x234] = 1;
    bytes_put64(image + 0x258, 30 * MIB);
    assert_false(load_image(image, SIZE, ""));
    assert_printed("needs 38 MiB to begin with, and the guest has 32");
}

/* All of memory up to its last byte, and one byte more. */
static void takes_what_is_there(void **state)
{
    (void)state;
    bytes_put32(image + 0x260, 16 * MIB);
    assert_true(load_image(image, SIZE, ""));
    assert_kernel_at(PREFERRED);
    image[0x234] = 0;
    bytes_put32(image + 0x260, 16 * MIB + 1);
    assert_false(load_image(image, SIZE, ""));
    assert_printed("needs 33 MiB");
}

static bool load_with(size_t initrd_size, uint32_t count)
{
    uint8_t *data = malloc(initrd_size);
    struct loader_input input = {.kernel = file_of(image, SIZE), .module_count = count, .cmdline = ""};
    bool loaded;

    assert_non_null(data);
    memset(data, 0x5a, initrd_size);
    for (uint32_t i = 0; i < count; i++)
        input.modules[i] = (struct system_file){data, initrd_size, ""};
    loaded = loader_load(&memory, &input, &entry);
    file_free(&input.kernel);
    free(data);
    return loaded;
}

static void initramfs(void **state)
{
    (void)state;
    assert_true(load_with(5001, 1));
    assert_int_equal(ZERO_PAGE_AT(0x21c, 4), 5001);
    assert_int_equal(ZERO_PAGE_AT(0x218, 4), 32 * MIB - 8192); /* at the end, on a page */
    assert_int_equal(guest_get(32 * MIB - 8192, 1), 0x5a);
    assert_int_equal(guest_get(32 * MIB - 8192 + 5000, 1), 0x5a);
    assert_int_equal(guest_get(32 * MIB - 8192 + 5001, 1), 0);
    bytes_put32(image + 0x22c, 28 * MIB - 1); /* its last byte may be there */
    assert_true(load_with(4096, 1));
    assert_int_equal(ZERO_PAGE_AT(0x218, 4), 28 * MIB - 4096);
}

static void initramfs_that_does_not_fit(void **state)
{
    (void)state;
    assert_true(load_with(8 * MIB, 1)); /* right behind the kernel */
    assert_int_equal(ZERO_PAGE_AT(0x218, 4), PREFERRED + INIT_SIZE);
    assert_false(load_with(8 * MIB + 1, 1));
    assert_printed("does not fit");
    assert_false(load_with(40 * MIB, 1));
    assert_printed("does not fit");
    assert_false(load_with(16, 2));
    assert_printed("one file \"initrd\"");
}

static void cmdline_length(void **state)
{
    char text[80];

    (void)state;
    memset(text, 'x', sizeof(text));
    text[63] = '\0';
    assert_true(load_image(image, SIZE, text));
    text[63] = 'x';
    text[64] = '\0';
    assert_false(load_image(image, SIZE, text));
    assert_printed("64 characters");
}

/* ------------------------------------------------------------------------------------- hostile */

static void bad_headers(void **state)
{
    static const struct hostile changes[] = {
        {0x1fe, 2, 0, "neither a Linux bzImage nor a multiboot kernel"},
        {0x202, 4, 0, "neither a Linux bzImage nor a multiboot kernel"},
        {0x206, 2, 0x20b, "boot protocol 2.11"},
        {0x236, 2, 0x3e, "32-bit Linux"},
        {0x211, 1, 0x40, "zImage"},
        {0x201, 1, 0x10, "impossible length"},
        {0x1f1, 1, 0xff, "cut off"},
        {0x1f4, 4, KERNEL / 16 + 1, "cut off"},
        {0x1f4, 4, 0xffffffff, "cut off"},
        {0x230, 4, 0, "power of two"},
        {0x230, 4, 0x300000, "power of two"},
        {0x260, 4, 0xffffffff, "where no memory can be"},
    };

    (void)state;
    check_hostile(image, SIZE, changes, sizeof(changes) / sizeof(changes[0]));
}

/* An address that overflows with the size added. */
static void bad_addresses(void **state)
{
    static const struct hostile changes[] = {
        {0x258, 8, 0, "where no memory can be"},
        {0x258, 8, 0xfffff, "where no memory can be"},
        {0x258, 8, 0xffffffffffffffff, "where no memory can be"},
        {0x258, 8, 0xffffffffff800000, "where no memory can be"},
        {0x258, 8, 0x100000000, "where no memory can be"},
    };

    (void)state;
    image[0x234] = 0;
    check_hostile(image, SIZE, changes, sizeof(changes) / sizeof(changes[0]));
}

static void cut_off(void **state)
{
    (void)state;
    for (size_t size = 0; size < SIZE; size += size < 0x300 ? 1 : 509) {
        assert_false(load_image(image, size, ""));
        assert_printed("kernel");
    }
}

/* A version "string" without an end, or outside of the setup code. */
static void versions(void **state)
{
    (void)state;
    memset(image + 0x500, 'v', SETUP - 0x500);
    assert_true(load_image(image, SIZE, ""));
    assert_int_equal(strlen(entry.version), sizeof(entry.version) - 1);
    bytes_put16(image + 0x20e, SETUP - 0x200 - 3);
    assert_true(load_image(image, SIZE, ""));
    assert_string_equal(entry.version, "Linux vvv");
    bytes_put16(image + 0x20e, 0xffff);
    assert_true(load_image(image, SIZE, ""));
    assert_string_equal(entry.version, "Linux ");
    bytes_put16(image + 0x20e, 0x300);
    strcpy((char *)image + 0x500, "6.1\033[2Jx");
    assert_true(load_image(image, SIZE, ""));
    assert_string_equal(entry.version, "Linux 6.1");
}

static void random_headers(void **state)
{
    (void)state;
    check_random(image, SIZE, 0x1f1, 0x7b, 3000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(boots),
        TEST(tsc_rate),
        TEST(e820),
        TEST(identity_mapping),
        TEST(descriptors),
        TEST(preferred_address),
        TEST(takes_what_is_there),
        TEST(initramfs),
        TEST(initramfs_that_does_not_fit),
        TEST(cmdline_length),
        TEST(bad_headers),
        TEST(bad_addresses),
        TEST(cut_off),
        TEST(versions),
        TEST(random_headers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
