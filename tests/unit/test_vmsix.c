/* SPDX-License-Identifier: MIT */
/* The models of MSI-X and MSI, against the specification's words and against a simple model of bytes. */
#include "unit.h"
#include <pci/vmsix.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES 65u

static struct vmsix msix;

static int setup(void **state)
{
    unit_setup(state);
    assert_int_equal(vmsix_init(&msix, ENTRIES), HV_OK);
    return 0;
}

static int teardown(void **state)
{
    vmsix_free(&msix);
    return unit_teardown(state);
}

#define MSIX_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

static void open(uint32_t n)
{
    vmsix_set_control(&msix, 0x8000);
    vmsix_table_write(&msix, 16 * n + 12, 4, 0);
}

static void starts_masked_and_disabled(void **state)
{
    (void)state;
    assert_int_equal(vmsix_control(&msix), ENTRIES - 1);
    for (uint32_t n = 0; n < ENTRIES; n++) {
        assert_int_equal(vmsix_table_read(&msix, 16 * n, 8), 0);
        assert_int_equal(vmsix_table_read(&msix, 16 * n + 8, 8), 1ull << 32);
    }
}

static void control_has_two_bits(void **state)
{
    (void)state;
    vmsix_set_control(&msix, 0xffff);
    assert_int_equal(vmsix_control(&msix), 0xc000 | (ENTRIES - 1));
    vmsix_set_control(&msix, 0x3fff);
    assert_int_equal(vmsix_control(&msix), ENTRIES - 1);
}

static void pending_is_kept_while_masked(void **state)
{
    (void)state;
    open(64);
    assert_true(vmsix_raise(&msix, 64));
    assert_int_equal(vmsix_pba_read(&msix, 8, 8), 0);

    vmsix_table_write(&msix, 16 * 64 + 12, 4, 1);
    assert_false(vmsix_raise(&msix, 64));
    assert_false(vmsix_raise(&msix, 64));
    assert_int_equal(vmsix_pba_read(&msix, 8, 8), 1);
    assert_int_equal(vmsix_pba_read(&msix, 0, 8), 0);
    assert_false(vmsix_take(&msix, 64));

    vmsix_table_write(&msix, 16 * 64 + 12, 4, 0);
    assert_true(vmsix_take(&msix, 64));
    assert_false(vmsix_take(&msix, 64));
    assert_int_equal(vmsix_pba_read(&msix, 8, 8), 0);
}

static void the_functions_mask_masks_all(void **state)
{
    (void)state;
    open(3);
    vmsix_set_control(&msix, 0xc000);
    assert_false(vmsix_raise(&msix, 3));
    assert_int_equal(vmsix_pba_read(&msix, 0, 1), 8);
    assert_false(vmsix_take(&msix, 3));
    vmsix_set_control(&msix, 0x8000);
    assert_true(vmsix_take(&msix, 3));
}

static void disabled_it_is_silent(void **state)
{
    (void)state;
    open(5);
    vmsix_set_control(&msix, 0xc000);
    assert_false(vmsix_raise(&msix, 5));
    vmsix_set_control(&msix, 0);
    assert_int_equal(vmsix_pba_read(&msix, 0, 8), 0);
    assert_false(vmsix_raise(&msix, 5));
    vmsix_set_control(&msix, 0x8000);
    assert_false(vmsix_take(&msix, 5));
}

/* Writes of all sizes against bytes with a mask. */
static void table_is_bytes_with_reserved_bits(void **state)
{
    static const uint8_t allowed[16] = {0xfc, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 0, 0};
    uint8_t model[ENTRIES * 16] = {0};

    (void)state;
    for (uint32_t n = 0; n < ENTRIES; n++)
        model[16 * n + 12] = 1;
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t size = 1u << rand() % 4, offset = (uint32_t)rand() % (ENTRIES * 16 / size) * size;
        uint64_t value = (uint64_t)rand() << 40 ^ (uint64_t)rand() << 20 ^ (uint64_t)rand(), is = 0;

        vmsix_table_write(&msix, offset, size, value);
        for (uint32_t b = 0; b < size; b++)
            model[offset + b] = (uint8_t)(value >> 8 * b) & allowed[(offset + b) % 16];
        size = 1u << rand() % 4;
        offset = (uint32_t)rand() % (ENTRIES * 16 / size) * size;
        memcpy(&is, model + offset, size);
        assert_int_equal(vmsix_table_read(&msix, offset, size), is);
    }
}

/* Each interrupt is sent at once, or pending and sent later; none is lost while the function is enabled. */
static void none_is_lost(void **state)
{
    bool waiting[ENTRIES] = {false};

    (void)state;
    vmsix_set_control(&msix, 0x8000);
    for (unsigned i = 0; i < 50000; i++) {
        uint32_t n = (uint32_t)rand() % ENTRIES;
        bool is_open = vmsix_is_open(&msix, n);

        switch (rand() % 4) {
        case 0:
            vmsix_table_write(&msix, 16 * n + 12, 4, (uint64_t)rand() & 1);
            break;
        case 1:
            vmsix_set_control(&msix, rand() & 1 ? 0xc000 : 0x8000);
            break;
        case 2:
            assert_int_equal(vmsix_raise(&msix, n), is_open);
            waiting[n] |= !is_open;
            break;
        default:
            assert_int_equal(vmsix_take(&msix, n), is_open && waiting[n]);
            waiting[n] &= !is_open;
        }
        assert_int_equal(vmsix_pba_read(&msix, n / 8, 1) >> n % 8 & 1, waiting[n]);
    }
}

static void gives_memory_back_when_there_is_not_enough(void **state)
{
    struct vmsix m;

    (void)state;
    for (unsigned n = 1; n <= VMSIX_PAGES; n++) {
        fake_fail_after(n);
        assert_int_equal(vmsix_init(&m, VMSIX_MAX), HV_E_NO_MEMORY);
    }
    fake_fail_after(0);
    assert_int_equal(vmsix_init(&m, VMSIX_MAX), HV_OK);
    vmsix_table_write(&m, 16 * (VMSIX_MAX - 1), 8, ~0ull);
    assert_true(vmsix_table_read(&m, 16 * (VMSIX_MAX - 1), 8) == ~3ull);
    vmsix_free(&m);
}

/* ---------------------------------------------------------------------------------------- MSI */

static void msi_layouts(void **state)
{
    static const struct {
        bool is_64bit, has_mask;
        uint32_t size, data, mask;
    } layouts[] = {
        {false, false, 10, 8, 0}, {true, false, 14, 12, 0}, {false, true, 20, 8, 12}, {true, true, 24, 12, 16}};

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct vmsi m;

        vmsi_init(&m, 8, layouts[i].is_64bit, layouts[i].has_mask);
        assert_int_equal(vmsi_size(&m), layouts[i].size);
        vmsi_write(&m, 4, 4, 0xfee0100f);
        vmsi_write(&m, layouts[i].data, 2, 0x4042);
        vmsi_write(&m, 2, 2, 0xffff);
        assert_int_equal(vmsi_read(&m, 4, 4), 0xfee0100c);
        assert_int_equal(vmsi_read(&m, layouts[i].data, 2), 0x4042);
        assert_int_equal(vmsi_read(&m, 2, 2), 0x37 | layouts[i].is_64bit << 7 | layouts[i].has_mask << 8);
        assert_int_equal(vmsi_count(&m), 8);
        assert_int_equal(vmsi_message(&m, 5).data, 0x4045);
        assert_int_equal(vmsi_message(&m, 5).address, 0xfee0100c);
        if (layouts[i].mask) {
            vmsi_write(&m, layouts[i].mask, 4, ~0u);
            assert_int_equal(vmsi_read(&m, layouts[i].mask, 4), 0xff);
        }
    }
}

static void msi_pending_is_kept_while_masked(void **state)
{
    struct vmsi m;

    (void)state;
    vmsi_init(&m, 4, true, true);
    assert_false(vmsi_raise(&m, 0));
    vmsi_write(&m, 2, 2, 0x21);
    vmsi_write(&m, 16, 4, 2);
    assert_true(vmsi_raise(&m, 0));
    assert_false(vmsi_raise(&m, 1));
    assert_false(vmsi_raise(&m, 4));
    assert_int_equal(vmsi_read(&m, 20, 4), 2);
    vmsi_write(&m, 20, 4, 0xf); /* can not be written */
    assert_int_equal(vmsi_read(&m, 20, 4), 2);
    assert_false(vmsi_take(&m, 1));
    vmsi_write(&m, 16, 1, 0);
    assert_true(vmsi_take(&m, 1));
    assert_false(vmsi_take(&m, 1));
    vmsi_write(&m, 16, 4, 1);
    assert_false(vmsi_raise(&m, 0));
    vmsi_write(&m, 2, 1, 0x20);
    assert_int_equal(vmsi_read(&m, 20, 4), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        MSIX_TEST(starts_masked_and_disabled),
        MSIX_TEST(control_has_two_bits),
        MSIX_TEST(pending_is_kept_while_masked),
        MSIX_TEST(the_functions_mask_masks_all),
        MSIX_TEST(disabled_it_is_silent),
        MSIX_TEST(table_is_bytes_with_reserved_bits),
        MSIX_TEST(none_is_lost),
        UNIT_TEST(gives_memory_back_when_there_is_not_enough),
        UNIT_TEST(msi_layouts),
        UNIT_TEST(msi_pending_is_kept_while_masked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
