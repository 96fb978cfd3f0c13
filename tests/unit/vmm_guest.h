/* SPDX-License-Identifier: MIT */
/*
 * For tests of the VMM's loaders: a guest's memory, and kernels as files of exactly their size, so that a sanitizer
 * sees each byte that is read beyond.
 */
#ifndef VMM_GUEST_TEST_H
#define VMM_GUEST_TEST_H

#include "fake_system.h"
#include "unit.h"
#include <stdlib.h>
#include <string.h>
#include <vmm/bytes.h>
#include <vmm/loader.h>
#include <vmm/memory.h>

#define MIB ((uint64_t)MEMORY_MIB)

static struct memory memory;
static struct loader_entry entry;

static inline int guest_setup(void **state)
{
    unit_setup(state);
    fake_system_reset();
    assert_true(memory_create(&memory, 32 * MIB));
    return 0;
}

static inline int guest_teardown(void **state)
{
    memory_destroy(&memory);
    assert_int_equal(fake_system.memory_used, 0);
    return unit_teardown(state);
}

#define GUEST_TEST(fn) cmocka_unit_test_setup_teardown(fn, guest_setup, guest_teardown)

static inline uint64_t guest_get(uint64_t gpa, uint32_t size)
{
    uint64_t value = 0;

    assert_true(memory_read(&memory, gpa, &value, size));
    return value;
}

static inline void assert_guest_text(uint64_t gpa, const char *wanted)
{
    char text[256] = "";

    assert_true(memory_read(&memory, gpa, text, strlen(wanted) + 1));
    assert_string_equal(text, wanted);
}

/* The first size bytes of file, as a file of their own. */
static inline struct system_file file_of(const void *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    assert_non_null(copy);
    memcpy(copy, data, size);
    return (struct system_file){.data = copy, .size = size, .arguments = ""};
}

static inline void file_free(struct system_file *file)
{
    free((void *)(uintptr_t)file->data);
}

/* Exactly one line was printed, and it holds these words. */
static inline void assert_printed(const char *words)
{
    const char *end = strchr(fake_system.printed, '\n');

    if (!end || end[1] || !strstr(fake_system.printed, words))
        fail_msg("one line with \"%s\" was wanted, but: %s", words, fake_system.printed);
    fake_system.printed[0] = '\0';
}

/* Loads the first size bytes of an image, without modules. */
static inline bool load_image(const void *image, size_t size, const char *cmdline)
{
    struct loader_input input = {.kernel = file_of(image, size), .cmdline = cmdline, .rsdp = 0xf0000};
    bool loaded = loader_load(&memory, &input, &entry);

    file_free(&input.kernel);
    return loaded;
}

/* A change to a good image, and words of the line that has to come then. */
struct hostile {
    uint32_t offset, size;
    uint64_t value;
    const char *words;
};

static inline void check_hostile(const uint8_t *image, size_t size, const struct hostile *changes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint8_t *copy = malloc(size);

        assert_non_null(copy);
        memcpy(copy, image, size);
        memcpy(copy + changes[i].offset, &changes[i].value, changes[i].size);
        assert_false(load_image(copy, size, ""));
        assert_printed(changes[i].words);
        free(copy);
    }
}

/*
 * Bytes of the header changed at random, many times: either one line says why not, or the entry lies in memory. A few
 * interesting values are as likely as all others together.
 */
static inline void check_random(const uint8_t *image, size_t size, size_t header, size_t header_size, uint32_t rounds)
{
    static const uint8_t interesting[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    uint8_t *copy = malloc(size);
    uint64_t seed = 0x9e3779b97f4a7c15ull;

    assert_non_null(copy);
    while (rounds--) {
        memcpy(copy, image, size);
        for (uint32_t n = 1 + rounds % 6; n; n--) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            copy[header + (seed >> 33) % header_size] =
                seed >> 63 ? (uint8_t)(seed >> 20) : interesting[(seed >> 20) % sizeof(interesting)];
        }
        fake_system.printed[0] = '\0';
        if (!load_image(copy, size, "quiet"))
            assert_non_null(strchr(fake_system.printed, '\n'));
        else
            assert_true(memory_is_ram(&memory, entry.rip, 1));
    }
    fake_system.printed[0] = '\0';
    free(copy);
}

#endif
