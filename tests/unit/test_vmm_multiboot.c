/* SPDX-License-Identifier: MIT */
/* vmm/multiboot.c: ELF files and files with addresses in the header; what a kernel finds; kernels that are none. */
#include "vmm_guest.h"

#define MAGIC 0x1badb002u
#define SIZE  0x3000u
#define PH    52u     /* where the program headers are */
#define HDR   0x1000u /* where the multiboot header is: at the begin of the first segment */

#define CODE 0x100000u
#define DATA 0x200000u

static uint8_t image[SIZE];

static void put_header(uint32_t offset, uint32_t flags)
{
    bytes_put32(image + offset, MAGIC);
    bytes_put32(image + offset + 4, flags);
    bytes_put32(image + offset + 8, -(MAGIC + flags));
}

static void put_segment(uint32_t n, uint32_t offset, uint32_t vaddr, uint32_t paddr, uint32_t file_size, uint32_t size)
{
    const uint32_t ph[] = {1, offset, vaddr, paddr, file_size, size, 5, 0x1000};

    memcpy(image + PH + n * 32, ph, sizeof(ph));
}

static void make_image(void)
{
    static const uint8_t ident[] = {0x7f, 'E', 'L', 'F', 1, 1, 1};

    for (size_t i = 0; i < SIZE; i++)
        image[i] = (uint8_t)(i * 5 + i / 256);
    memset(image, 0, PH + 64);
    memcpy(image, ident, sizeof(ident));
    bytes_put16(image + 16, 2);
    bytes_put16(image + 18, 3);
    bytes_put32(image + 24, CODE + 0x20);
    bytes_put32(image + 28, PH);
    bytes_put16(image + 42, 32);
    bytes_put16(image + 44, 2);
    put_segment(0, 0x1000, CODE, CODE, 0x800, 0x800);
    put_segment(1, 0x1800, DATA, DATA, 0x100, 0x5000);
    put_header(HDR, 3);
}

static int setup(void **state)
{
    make_image();
    return guest_setup(state);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, guest_teardown)

#define INFO(field) guest_get(entry.rbx + (field), 4)

static void assert_bytes_at(uint64_t gpa, uint32_t offset, uint32_t size)
{
    uint8_t bytes[SIZE];

    assert_true(memory_read(&memory, gpa, bytes, size));
    assert_memory_equal(bytes, image + offset, size);
}

static void boots_elf(void **state)
{
    (void)state;
    memset(memory.pieces[0].host + DATA, 0xee, 0x6000);
    assert_true(load_image(image, SIZE, "test 1 2"));
    assert_false(entry.is_long);
    assert_int_equal(entry.rip, CODE + 0x20);
    assert_int_equal(entry.rax, 0x2badb002);
    assert_bytes_at(CODE, 0x1000, 0x800);
    assert_bytes_at(DATA, 0x1800, 0x100);
    assert_int_equal(guest_get(DATA + 0x100, 1), 0);
    assert_int_equal(guest_get(DATA + 0x4fff, 1), 0);
    assert_int_equal(guest_get(DATA + 0x5000, 1), 0xee);
    assert_int_equal(guest_get(entry.gdt + entry.code, 8), 0x00cf9b000000ffff);
    assert_int_equal(guest_get(entry.gdt + entry.data, 8), 0x00cf93000000ffff);
    assert_string_equal(fake_system.printed, "");
}

static void information(void **state)
{
    uint64_t ram = 0;

    (void)state;
    assert_true(load_image(image, SIZE, "test 1 2"));
    assert_int_equal(INFO(0), 0x24d);
    assert_int_equal(INFO(4), 639);
    assert_int_equal(INFO(8), 31 * 1024);
    assert_guest_text(INFO(16), "kernel test 1 2");
    assert_int_equal(INFO(20), 0);
    assert_guest_text(INFO(64), "BareWHP");
    for (uint32_t at = 0; at < INFO(44); at += (uint32_t)guest_get(INFO(48) + at, 4) + 4)
        if (guest_get(INFO(48) + at + 20, 4) == 1)
            ram += guest_get(INFO(48) + at + 12, 8);
    assert_int_equal(ram, 31 * MIB + MEMORY_BASE_END);
}

/* The loader's tables go where the kernel is not. */
static void low_kernels(void **state)
{
    (void)state;
    assert_true(load_image(image, SIZE, ""));
    assert_in_range(entry.rbx, 0x8000, 0x17fff);
    put_segment(0, 0x1000, 0x17fff, 0x17fff, 0x800, 0x800);
    bytes_put32(image + 24, 0x18000);
    assert_true(load_image(image, SIZE, "test 1 2"));
    assert_int_equal(entry.rip, 0x18000);
    assert_bytes_at(0x17fff, 0x1000, 0x800);
    assert_in_range(entry.rbx, 0x20000, 0x2ffff);
    assert_in_range(entry.gdt, 0x20000, 0x2ffff);
    assert_in_range(INFO(48), 0x20000, 0x2ffff);
    assert_guest_text(INFO(16), "kernel test 1 2");
    put_segment(0, 0x1000, 0x8000, 0x8000, 0x800, 0x78001);
    bytes_put32(image + 24, 0x8000);
    assert_false(load_image(image, SIZE, ""));
    assert_printed("no room for the loader's tables");
}

/* A kernel that is linked high and loaded low is entered low. */
static void virtual_entry(void **state)
{
    (void)state;
    put_segment(0, 0x1000, 0xc0100000, CODE, 0x800, 0x800);
    bytes_put32(image + 24, 0xc0100040);
    assert_true(load_image(image, SIZE, ""));
    assert_int_equal(entry.rip, CODE + 0x40);
}

static void modules(void **state)
{
    uint8_t data[5000];
    struct loader_input input = {.kernel = file_of(image, SIZE), .module_count = 2, .cmdline = ""};
    uint64_t list;

    (void)state;
    memset(data, 0x77, sizeof(data));
    input.modules[0] = (struct system_file){data, sizeof(data), "first a"};
    input.modules[1] = (struct system_file){data, 1, ""};
    assert_true(loader_load(&memory, &input, &entry));
    assert_int_equal(INFO(20), 2);
    list = INFO(24);
    assert_int_equal(guest_get(list, 4), DATA + 0x5000);
    assert_int_equal(guest_get(list + 4, 4), DATA + 0x5000 + 5000);
    assert_guest_text(guest_get(list + 8, 4), "first a");
    assert_int_equal(guest_get(list + 16, 4), DATA + 0x7000);
    assert_int_equal(guest_get(list + 20, 4), DATA + 0x7001);
    assert_int_equal(guest_get(DATA + 0x7000, 2), 0x77);
    input.modules[1].size = 40 * MIB; /* refused by its size, before a byte is read */
    assert_false(loader_load(&memory, &input, &entry));
    assert_printed("2. file \"initrd\"");
    file_free(&input.kernel);
}

/* ------------------------------------------------------------------------ addresses in the header */

static void put_addresses(uint32_t header, uint32_t load, uint32_t load_end, uint32_t bss_end, uint32_t start)
{
    put_header(HDR, 0x10003);
    bytes_put32(image + HDR + 12, header);
    bytes_put32(image + HDR + 16, load);
    bytes_put32(image + HDR + 20, load_end);
    bytes_put32(image + HDR + 24, bss_end);
    bytes_put32(image + HDR + 28, start);
}

static void boots_by_addresses(void **state)
{
    (void)state;
    image[0] = 0; /* no ELF file */
    put_addresses(CODE + 0x100, CODE, CODE + 0x1000, CODE + 0x2000, CODE + 0x10);
    memset(memory.pieces[0].host + CODE, 0xee, 0x3000);
    assert_true(load_image(image, SIZE, ""));
    assert_int_equal(entry.rip, CODE + 0x10);
    assert_bytes_at(CODE, HDR - 0x100, 0x1000);
    assert_int_equal(guest_get(CODE + 0x1fff, 1), 0);
    assert_int_equal(guest_get(CODE + 0x2000, 1), 0xee);
    put_addresses(CODE, CODE, 0, 0, CODE + 0x10); /* all of the file, no bss */
    assert_true(load_image(image, SIZE, ""));
    assert_bytes_at(CODE, HDR, SIZE - HDR);
}

static void bad_addresses(void **state)
{
    static const struct hostile changes[] = {
        {HDR + 12, 4, CODE - 1, "load_addr"},
        {HDR + 12, 4, CODE + HDR + 1, "load_addr"},
        {HDR + 16, 4, 0, "load_addr"},
        {HDR + 20, 4, CODE - 1, "load_end_addr"},
        {HDR + 20, 4, 0xfffff000, "bss_end_addr"},
        {HDR + 24, 4, CODE + 0xfff, "bss_end_addr"},
        {HDR + 24, 4, 0xfffff000, "make guest_mem larger"},
        {HDR + 28, 4, CODE - 1, "entry"},
        {HDR + 28, 4, CODE + 0x2000, "entry"},
    };

    (void)state;
    put_addresses(CODE, CODE, CODE + 0x1000, CODE + 0x2000, CODE);
    assert_true(load_image(image, SIZE, ""));
    check_hostile(image, SIZE, changes, sizeof(changes) / sizeof(changes[0]));
    put_addresses(CODE, CODE, CODE + 0x2001, CODE + 0x3000, CODE);
    assert_false(load_image(image, SIZE, ""));
    assert_printed("cut off");
}

/* -------------------------------------------------------------------------------------- hostile */

static void bad_elf(void **state)
{
    static const struct hostile changes[] = {
        {0, 1, 0, "no ELF file"},
        {4, 1, 2, "64-bit ELF"},
        {4, 1, 3, "another CPU"},
        {5, 1, 2, "another CPU"},
        {18, 2, 62, "another CPU"},
        {42, 2, 31, "too small"},
        {44, 2, 0, "program headers"},
        {44, 2, 0xffff, "program headers"},
        {28, 4, 0xffffffff, "program headers"},
        {28, 4, SIZE - 63, "program headers"},
        {24, 4, DATA + 0x5000, "entry"},
        {PH, 4, 2, "entry"}, /* the first one is not loaded */
        {PH + 4, 4, 0xffffffff, "cut off"},
        {PH + 4, 4, SIZE - 0x7ff, "cut off"},
        {PH + 16, 4, 0x801, "more bytes in the file"},
        {PH + 20, 4, 0xffffffff, "make guest_mem larger"},
        {PH + 12, 4, 0xfffffffe, "make guest_mem larger"},
        {PH + 12, 4, 32 * 0x100000 - 0x7ff, "make guest_mem larger"},
        {PH + 12, 4, 0xf0000, "tables"},
        {PH + 12, 4, DATA + 0x4fff, "overlaps"},
        {PH + 12, 4, DATA - 0x7ff, "overlaps"},
    };

    (void)state;
    check_hostile(image, SIZE, changes, sizeof(changes) / sizeof(changes[0]));
}

static void bad_headers(void **state)
{
    (void)state;
    put_header(HDR, 3);
    bytes_put32(image + HDR + 8, 0); /* a wrong sum: no header */
    assert_false(load_image(image, SIZE, ""));
    assert_printed("neither a Linux bzImage nor a multiboot kernel");
    put_header(HDR, 0x0b);
    assert_false(load_image(image, SIZE, ""));
    assert_printed("flags 0xb");
    put_header(HDR, 7); /* a video mode: without it */
    assert_true(load_image(image, SIZE, ""));
    assert_printed("no video");
}

/* Whole within the first 8 KiB, on a multiple of 4. */
static void header_places(void **state)
{
    (void)state;
    memset(image + HDR, 0, 12);
    put_header(0x1ff4, 3);
    assert_true(load_image(image, SIZE, ""));
    memset(image + 0x1ff4, 0, 12);
    put_header(0x1ff8, 3);
    assert_false(load_image(image, SIZE, ""));
    assert_printed("neither");
    memset(image + 0x1ff8, 0, 12);
    put_header(0x1002, 3);
    assert_false(load_image(image, SIZE, ""));
    assert_printed("neither");
}

static void cut_off(void **state)
{
    (void)state;
    for (size_t size = 0; size < 0x1900; size += 61) {
        assert_false(load_image(image, size, ""));
        assert_printed("kernel");
    }
    put_addresses(CODE, CODE, 0, 0, CODE);
    for (size_t size = HDR + 12; size < HDR + 32; size++) {
        assert_false(load_image(image, size, ""));
        assert_printed("ends within its header");
    }
}

static void long_cmdline(void **state)
{
    static char text[0x10000];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    assert_false(load_image(image, SIZE, text));
    assert_printed("too long");
}

static void random_elf(void **state)
{
    (void)state;
    check_random(image, SIZE, 0, PH + 64, 3000);
}

static void random_addresses(void **state)
{
    (void)state;
    put_addresses(CODE, CODE, CODE + 0x1000, CODE + 0x2000, CODE);
    check_random(image, SIZE, HDR + 12, 20, 3000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(boots_elf),   TEST(information),        TEST(low_kernels),   TEST(virtual_entry),
        TEST(modules),     TEST(boots_by_addresses), TEST(bad_addresses), TEST(bad_elf),
        TEST(bad_headers), TEST(header_places),      TEST(cut_off),       TEST(long_cmdline),
        TEST(random_elf),  TEST(random_addresses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
