/* SPDX-License-Identifier: MIT */
/* Extended state as clients see it (virt/xsave.c). */
#include "stub_vp.h"

#define BV        512
#define COMP_BV   520
#define COMPACTED BIT64(63)
#define MXCSR     24

/* where the stub CPU's components lie in the compacted form: AVX, opmask, ZMM_Hi256, Hi16_ZMM, PKRU, TILECFG (64-byte
 * aligned) */
#define AT_AVX     576u
#define AT_OPMASK  832u
#define AT_ZMM_HI  896u
#define AT_HI16    1408u
#define AT_PKRU    2432u
#define AT_TILECFG 2496u
#define SIZE       2560u

static uint8_t area[4096];

static uint8_t *image(void)
{
    return stub_vcpu.xsave;
}

static uint64_t get64(const uint8_t *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

static void put64(uint8_t *at, uint64_t value)
{
    memcpy(at, &value, sizeof(value));
}

/* All bytes of all components differ from their neighbours'. */
static void fill_image(uint64_t bv)
{
    for (unsigned i = 0; i < STUB_XSAVE_SIZE; i++)
        image()[i] = (uint8_t)(i * 7 + i / 256 + 1);
    memset(image() + BV, 0, 64);
    put64(image() + BV, bv);
    put64(image() + MXCSR, 0x1fa0);
    memset(image() + 416, 0, 96);
}

static uint32_t get_area(void)
{
    uint32_t written = 0;

    memset(area, 0xee, sizeof(area));
    assert_int_equal(hv_vp_get_xsave(&stub_vp, area, sizeof(area), &written), HV_OK);
    return written;
}

static void test_size(void **state)
{
    uint32_t written = 0;

    (void)state;
    assert_int_equal(hv_vp_get_xsave(&stub_vp, NULL, 0, &written), HV_E_BUFFER_TOO_SMALL);
    assert_int_equal(written, SIZE);
    assert_int_equal(hv_vp_get_xsave(&stub_vp, area, SIZE - 1, NULL), HV_E_BUFFER_TOO_SMALL);
    assert_int_equal(hv_vp_get_xsave(&stub_vp, area, SIZE, NULL), HV_OK);
    stub_facts.xcr0_allowed = XCR0_X87 | XCR0_SSE | XCR0_AVX;
    assert_int_equal(hv_vp_get_xsave(&stub_vp, NULL, 0, &written), HV_E_BUFFER_TOO_SMALL);
    assert_int_equal(written, 576 + 256);
}

static void test_get(void **state)
{
    static const struct {
        uint32_t to, from, size;
    } parts[] = {
        {0, 0, 512},           {AT_AVX, 576, 256}, {AT_OPMASK, 1088, 64},  {AT_ZMM_HI, 1152, 512},
        {AT_HI16, 1664, 1024}, {AT_PKRU, 2688, 8}, {AT_TILECFG, 2752, 64},
    };

    (void)state;
    fill_image(stub_facts.xcr0_allowed);
    assert_int_equal(get_area(), SIZE);
    for (size_t i = 0; i < ARRAY_COUNT(parts); i++)
        assert_memory_equal(area + parts[i].to, image() + parts[i].from, parts[i].size);
    assert_int_equal(get64(area + BV), stub_facts.xcr0_allowed);
    assert_int_equal(get64(area + COMP_BV), COMPACTED | stub_facts.xcr0_allowed);
    for (unsigned i = 528; i < 576; i++)
        assert_int_equal(area[i], 0);
    assert_int_equal(area[SIZE], 0xee);
}

static void test_get_of_initial_state(void **state)
{
    (void)state;
    fill_image(0);
    put64(image() + MXCSR, 0x1f80);
    get_area();
    assert_int_equal(get64(area + BV), 0);
    assert_int_equal(get64(area) & 0xffffffff, 0x37f);
    for (unsigned i = 32; i < 512; i++)
        assert_int_equal(area[i], 0);
    for (unsigned i = 576; i < SIZE; i++)
        assert_int_equal(area[i], 0);
}

/* XSTATE_BV says nothing about MXCSR in the standard form, but does so in the compacted one. */
static void test_mxcsr_survives(void **state)
{
    (void)state;
    fill_image(0);
    put64(image() + MXCSR, 0x1fc0);
    get_area();
    assert_int_equal(get64(area + BV), XCR0_SSE);
    assert_int_equal(hv_vp_set_xsave(&stub_vp, area, SIZE), HV_OK);
    assert_int_equal((uint32_t)get64(image() + MXCSR), 0x1fc0);
    put64(area + BV, 0);
    assert_int_equal(hv_vp_set_xsave(&stub_vp, area, SIZE), HV_OK);
    assert_int_equal((uint32_t)get64(image() + MXCSR), 0x1f80);
}

static void test_round_trip(void **state)
{
    uint64_t all = stub_facts.xcr0_allowed;
    uint8_t before[STUB_XSAVE_SIZE], again[4096];

    (void)state;
    for (uint64_t bv = all;; bv = (bv - 1) & all) {
        fill_image(bv);
        memcpy(before, image(), sizeof(before));
        get_area();
        memset(image(), 0x55, STUB_XSAVE_SIZE);
        put64(image() + MXCSR, get64(before + MXCSR)); /* the mask is the CPU's, not the client's */
        assert_int_equal(hv_vp_set_xsave(&stub_vp, area, SIZE), HV_OK);
        memcpy(again, area, sizeof(again));
        get_area();
        assert_memory_equal(again, area, SIZE);
        if (bv == all) { /* between them is room for components that this CPU has not */
            assert_memory_equal(before, image(), 832);
            assert_memory_equal(before + 1088, image() + 1088, 2696 - 1088);
        }
        if (bv == 0)
            break;
    }
}

static void test_set_standard_form(void **state)
{
    uint8_t before[STUB_XSAVE_SIZE];

    (void)state;
    fill_image(7);
    memcpy(before, image(), sizeof(before));
    memset(image(), 0, STUB_XSAVE_SIZE);
    assert_int_equal(hv_vp_set_xsave(&stub_vp, before, 576 + 255), HV_E_INVALID);
    assert_int_equal(hv_vp_set_xsave(&stub_vp, before, 576 + 256), HV_OK);
    memset(before + 28, 0, 4); /* MXCSR_MASK */
    assert_memory_equal(before, image(), 576 + 256);
    put64(before + BV, 3);
    assert_int_equal(hv_vp_set_xsave(&stub_vp, before, 576), HV_OK);
    put64(before + BV, 1ull << 17);
    assert_int_equal(hv_vp_set_xsave(&stub_vp, before, 2815), HV_E_INVALID);
    assert_int_equal(hv_vp_set_xsave(&stub_vp, before, 2816), HV_OK);
}

static void test_set_fewer_components(void **state)
{
    (void)state;
    fill_image(7);
    get_area();
    put64(area + COMP_BV, COMPACTED | XCR0_PKRU);
    put64(area + BV, XCR0_PKRU);
    put64(area + 576, 0x1122334455667788);
    fill_image(stub_facts.xcr0_allowed);
    assert_int_equal(hv_vp_set_xsave(&stub_vp, area, 583), HV_E_INVALID);
    assert_int_equal(hv_vp_set_xsave(&stub_vp, area, 584), HV_OK);
    assert_int_equal(get64(image() + BV), XCR0_PKRU);
    assert_int_equal(get64(image() + COMP_BV), 0);
    assert_int_equal(get64(image() + 2688), 0x1122334455667788);
}

static void test_bad_headers(void **state)
{
    static const struct {
        uint64_t bv, comp_bv;
    } bad[] = {
        {1ull << 3, COMPACTED | 1ull << 3}, /* this CPU has none */
        {1ull << 3, 0},
        {7, COMPACTED | 3}, /* in use, but with no place */
        {0, COMPACTED | 1ull << 62},
        {3, 3}, /* no format at all */
        {1ull << 63, 0},
        {1ull << 63, COMPACTED | 7},
    };
    uint8_t before[STUB_XSAVE_SIZE];

    (void)state;
    fill_image(7);
    get_area();
    memcpy(before, image(), sizeof(before));
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        put64(area + BV, bad[i].bv);
        put64(area + COMP_BV, bad[i].comp_bv);
        assert_int_equal(hv_vp_set_xsave(&stub_vp, area, sizeof(area)), HV_E_INVALID);
    }
    for (unsigned i = 528; i < 576; i++) {
        get_area();
        area[i] = 1;
        assert_int_equal(hv_vp_set_xsave(&stub_vp, area, SIZE), HV_E_INVALID);
    }
    get_area();
    assert_int_equal(hv_vp_set_xsave(&stub_vp, area, 575), HV_E_INVALID);
    assert_int_equal(hv_vp_set_xsave(&stub_vp, area, SIZE - 1), HV_E_INVALID);
    put64(area + MXCSR, 0x10000);
    assert_int_equal(hv_vp_set_xsave(&stub_vp, area, SIZE), HV_E_INVALID);
    assert_memory_equal(before, image(), sizeof(before));
}

static void test_mxcsr_mask(void **state)
{
    (void)state;
    fill_image(3);
    put64(image() + MXCSR, 0x0002ffffull << 32 | 0x21f80);
    get_area();
    assert_int_equal(hv_vp_set_xsave(&stub_vp, area, SIZE), HV_OK);
    put64(area + MXCSR, 0xffffffffull << 32 | 0x41f80); /* what the client says of the mask does not count */
    assert_int_equal(hv_vp_set_xsave(&stub_vp, area, SIZE), HV_E_INVALID);
}

static void test_without_xsave(void **state)
{
    (void)state;
    stub_facts.xcr0_allowed = 0;
    fill_image(0); /* FXSAVE writes no header */
    assert_int_equal(get_area(), 576);
    assert_memory_equal(area, image(), 512);
    assert_int_equal(get64(area + BV), 3);
    memset(image(), 0, 512);
    assert_int_equal(hv_vp_set_xsave(&stub_vp, area, 576), HV_OK);
    assert_memory_equal(area + 32, image() + 32, 480);
    assert_memory_equal(area, image(), 28);
}

/* While a CPU still has the state it is not in the image. */
static void test_the_cpu_is_asked(void **state)
{
    uint8_t area[4096];
    uint32_t size;

    (void)state;
    stub_vcpu.loaded = true;
    assert_int_equal(hv_vp_get_xsave(&stub_vp, area, sizeof(area), &size), HV_OK);
    assert_false(stub_vcpu.loaded);
    stub_vcpu.loaded = true;
    assert_int_equal(hv_vp_set_xsave(&stub_vp, area, size), HV_OK);
    assert_false(stub_vcpu.loaded);
}

static void test_busy(void **state)
{
    (void)state;
    get_area();
    vp_claim(&stub_vp);
    assert_int_equal(hv_vp_get_xsave(&stub_vp, area, SIZE, NULL), HV_E_VP_BUSY);
    assert_int_equal(hv_vp_set_xsave(&stub_vp, area, SIZE), HV_E_VP_BUSY);
    vp_release(&stub_vp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STUB_TEST(test_size),
        STUB_TEST(test_get),
        STUB_TEST(test_get_of_initial_state),
        STUB_TEST(test_mxcsr_survives),
        STUB_TEST(test_round_trip),
        STUB_TEST(test_set_standard_form),
        STUB_TEST(test_set_fewer_components),
        STUB_TEST(test_bad_headers),
        STUB_TEST(test_mxcsr_mask),
        STUB_TEST(test_without_xsave),
        STUB_TEST(test_the_cpu_is_asked),
        STUB_TEST(test_busy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
