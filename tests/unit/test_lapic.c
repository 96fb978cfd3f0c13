/* SPDX-License-Identifier: MIT */
/*
 * The local APIC's registers against the manual (SDM 3A chapter 10): access in both modes, priorities, IRR to EOI,
 * errors, ICR, modes of IA32_APIC_BASE, destinations, saved pages. lapic_next is compared with a model of arrays and
 * loops.
 */
#include "lapic_apic.h"
#include <stdio.h>
#include <stdlib.h>

/* ----------------------------------------------------------------------------- access */

#define R   1u
#define W   2u
#define RW  3u
#define LVT 0x10000u

/* SDM 3A tables 10-1 and 10-6, figures 10-8 and following */
static const struct rule {
    uint32_t offset;
    unsigned xapic, x2apic; /* access */
    uint32_t reset;         /* in xAPIC mode, id 5 */
    uint32_t bits, ignored, ones;
} rules[] = {
    {0x020, R, R, 5u << 24, 0, 0, 0},
    {0x030, R, R, 0x01050014, 0, 0, 0},
    {0x080, RW, RW, 0, 0xff, 0, 0},
    {0x090, R, 0, 0, 0, 0, 0},
    {0x0a0, R, R, 0, 0, 0, 0},
    {0x0b0, W, W, 0, 0, 0, 0},
    {0x0c0, R, 0, 0, 0, 0, 0},
    {0x0d0, RW, R, 0, 0xff000000, 0, 0},
    {0x0e0, RW, 0, 0xffffffff, 0xf0000000, 0, 0x0fffffff},
    {0x0f0, RW, RW, 0xff, 0x11ff, 0, 0},
    {0x280, RW, RW, 0, 0, 0, 0},
    {0x300, RW, RW, 0, 0xccfff, 0x1000, 0},
    {0x310, RW, 0, 0, 0xff000000, 0, 0},
    {0x320, RW, RW, LVT, 0x700ff, 0x1000, 0},
    {0x330, RW, RW, LVT, 0x107ff, 0x1000, 0},
    {0x340, RW, RW, LVT, 0x107ff, 0x1000, 0},
    {0x350, RW, RW, LVT, 0x1a7ff, 0x5000, 0},
    {0x360, RW, RW, LVT, 0x1a7ff, 0x5000, 0},
    {0x370, RW, RW, LVT, 0x100ff, 0x1000, 0},
    {0x380, RW, RW, 0, 0xffffffff, 0, 0},
    {0x390, R, R, 0, 0, 0, 0},
    {0x3e0, RW, RW, 0, 0xb, 0, 0},
    {0x3f0, 0, W, 0, 0xff, 0, 0},
};

static struct rule rule_of(uint32_t offset)
{
    if (offset >= 0x100 && offset < 0x280 && offset % 16 == 0)
        return (struct rule){.offset = offset, .xapic = R, .x2apic = R};
    for (size_t i = 0; i < ARRAY_COUNT(rules); i++)
        if (rules[i].offset == offset)
            return rules[i];
    return (struct rule){.offset = offset};
}

static void test_reset_values(void **state)
{
    (void)state;
    fresh(XAPIC);
    put(APIC_TPR, 0x30);
    accept_vector(0x80, true);
    put(APIC_LVT_TIMER, 0x20040);
    put(APIC_TIMER_INIT, 77);
    lapic_reset(&apic, true);
    for (uint32_t offset = 0; offset < 0x400; offset += 16)
        if (rule_of(offset).xapic & R)
            assert_int_equal(get(offset), rule_of(offset).reset);
    assert_int_equal(lapic_timer_due_ns(&apic), UINT64_MAX);
    assert_int_equal(lapic_next(&apic), -1);
}

static void test_xapic_access(void **state)
{
    uint64_t value;

    (void)state;
    for (uint32_t offset = 0; offset < 0x1000; offset += 8) {
        struct rule rule = rule_of(offset);

        fresh(XAPIC);
        put(APIC_LVT_ERROR, 0x44);
        assert_int_equal(try_read(offset, &value), rule.xapic != 0);
        if (!(rule.xapic & R))
            assert_int_equal(value, 0);
        assert_int_equal(apic.esr_pending, rule.xapic ? 0 : 0x80);
        assert_int_equal(effect.bits, rule.xapic ? 0 : LAPIC_EFFECT_ERROR);
        fresh(XAPIC);
        put(APIC_LVT_ERROR, 0x44);
        assert_int_equal(try_write(offset, 0), rule.xapic != 0);
        assert_int_equal(apic.esr_pending, rule.xapic ? offset == APIC_ICR_LOW ? 0x20 : 0 : 0x80);
        if (!rule.xapic)
            assert_int_equal(effect.vector, 0x44);
    }
}

static void test_xapic_masks(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rules); i++)
        for (unsigned bit = 0; bit <= 32; bit++) {
            uint32_t value = bit == 32 ? UINT32_MAX : 1u << bit, before;

            if (!(rules[i].xapic & R))
                continue;
            fresh(XAPIC);
            before = (uint32_t)get(rules[i].offset);
            put(rules[i].offset, value);
            if (rules[i].xapic & W)
                assert_int_equal(get(rules[i].offset), (value & rules[i].bits) | rules[i].ones);
            else
                assert_int_equal(get(rules[i].offset), before);
        }
}

static void test_write_only_register(void **state)
{
    (void)state;
    fresh(XAPIC);
    page[APIC_EOI / 4] = 1; /* what hardware that does EOIs leaves there */
    assert_int_equal(get(APIC_EOI), 0);
}

/* What the hardware has written into the page comes out as a write would have had it. */
static void test_written_masks(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rules); i++) {
        uint32_t offset = rules[i].offset;

        if (offset != APIC_ID && !(rules[i].xapic & W))
            continue;
        fresh(XAPIC);
        page[offset / 4] = UINT32_MAX;
        lapic_written(&apic, offset, now, &effect);
        assert_int_equal(page[offset / 4],
                         offset == APIC_ID ? rules[i].reset : (UINT32_MAX & rules[i].bits) | rules[i].ones);
    }
}

static void test_x2apic_access(void **state)
{
    uint64_t value;

    (void)state;
    for (uint32_t offset = 0; offset < 0x1000; offset += 16) {
        struct rule rule = rule_of(offset);

        fresh(X2APIC);
        put(APIC_LVT_ERROR, 0x44);
        assert_int_equal(try_read(offset, &value), (rule.x2apic & R) != 0);
        assert_int_equal(try_write(offset, 0), (rule.x2apic & W) != 0);
        if (!rule.x2apic) {
            assert_int_equal(effect.bits, 0);
            assert_int_equal(apic.esr_pending, 0);
        }
    }
}

static void test_x2apic_reserved_bits(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rules); i++)
        for (unsigned bit = 0; bit < 64; bit++) {
            const struct rule *r = &rules[i];
            uint64_t value = 1ull << bit, before, bits = r->bits | (r->offset == 0x300 ? 0xffffffffull << 32 : 0);
            bool valid = r->x2apic & W && value & (bits | r->ignored);

            fresh(X2APIC);
            before = r->x2apic & R ? get(r->offset) : 0;
            assert_int_equal(try_write(r->offset, value), valid);
            if (r->x2apic & R)
                assert_int_equal(get(r->offset), valid ? value & bits : before);
        }
}

static void test_identity(void **state)
{
    static const struct {
        uint32_t id, ldr;
    } ids[] = {{0, 1}, {5, 0x20}, {15, 0x8000}, {16, 0x10001}, {0x123, 0x120008}, {0xfffff, 0xffff8000}};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(ids); i++) {
        fresh_as(X2APIC, ids[i].id);
        assert_int_equal(get(APIC_ID), ids[i].id);
        assert_int_equal(get(APIC_LDR), ids[i].ldr);
        lapic_reset(&apic, true); /* INIT keeps the mode */
        assert_int_equal(get(APIC_ID), ids[i].id);
        assert_int_equal(get(APIC_LDR), ids[i].ldr);
    }
    fresh_as(XAPIC, 0x123);
    assert_int_equal(get(APIC_ID), 0x23000000);
}

/* ---------------------------------------------------------------------- software disable */

static const uint16_t lvts[] = {0x320, 0x330, 0x340, 0x350, 0x360, 0x370};

static void test_software_disable(void **state)
{
    (void)state;
    fresh(XAPIC);
    for (size_t i = 0; i < ARRAY_COUNT(lvts); i++)
        put(lvts[i], 0x40);
    accept_vector(0x50, false);
    put(APIC_SVR, 0xff);
    assert_true(effect.bits & LAPIC_EFFECT_PRIORITY);
    for (size_t i = 0; i < ARRAY_COUNT(lvts); i++) {
        assert_int_equal(get(lvts[i]), 0x10040);
        put(lvts[i], 0x41);
        assert_int_equal(get(lvts[i]), 0x10041);
    }
    accept_vector(0x60, false);
    assert_false(has(APIC_IRR, 0x60));
    assert_true(has(APIC_IRR, 0x50)); /* held */
    assert_int_equal(lapic_next(&apic), -1);
    put(APIC_SVR, 0x1ff);
    assert_int_equal(lapic_next(&apic), 0x50);
    for (size_t i = 0; i < ARRAY_COUNT(lvts); i++)
        assert_int_equal(get(lvts[i]), 0x10041);
}

/* ------------------------------------------------------------------------------ priorities */

/* All classes of ISRV, TPR and IRR, with sub-classes that must not count. */
static void test_priority_classes(void **state)
{
    (void)state;
    for (unsigned isr = 0; isr < 16; isr++)
        for (unsigned tpr = 0; tpr < 16; tpr++)
            for (unsigned irr = 1; irr < 16; irr++) {
                unsigned ppr = isr > tpr ? isr : tpr;

                fresh(XAPIC);
                put(APIC_TPR, tpr << 4 | 3);
                if (isr)
                    lapic_deliver(&apic, (uint8_t)(isr << 4 | 7), false);
                accept_vector((uint8_t)(irr << 4 | 0xf), false);
                assert_int_equal(lapic_next(&apic), irr > ppr ? (int)(irr << 4 | 0xf) : -1);
                assert_int_equal(page[APIC_PPR / 4], isr > tpr ? isr << 4 : (tpr << 4 | 3));
                assert_int_equal(get(APIC_PPR), page[APIC_PPR / 4]);
            }
}

static void test_highest(void **state)
{
    (void)state;
    for (unsigned vector = 16; vector < 256; vector++) {
        fresh(XAPIC);
        assert_int_equal(lapic_highest_irr(&apic), -1);
        assert_int_equal(lapic_highest_isr(&apic), -1);
        accept_vector(16, false);
        accept_vector((uint8_t)vector, false);
        assert_int_equal(lapic_highest_irr(&apic), vector);
        lapic_deliver(&apic, (uint8_t)vector, false);
        assert_int_equal(lapic_highest_isr(&apic), vector);
        assert_int_equal(lapic_highest_irr(&apic), vector == 16 ? -1 : 16);
    }
}

static void test_life_of_an_interrupt(void **state)
{
    (void)state;
    fresh(XAPIC);
    accept_vector(0x61, true);
    assert_int_equal(effect.bits, LAPIC_EFFECT_PRIORITY);
    accept_vector(0x82, false);
    assert_true(has(APIC_TMR, 0x61));
    assert_false(has(APIC_TMR, 0x82));
    lapic_deliver(&apic, 0x61, false);
    assert_false(has(APIC_IRR, 0x61));
    assert_true(has(APIC_ISR, 0x61));
    assert_int_equal(lapic_next(&apic), 0x82);
    lapic_deliver(&apic, 0x82, false);
    accept_vector(0x61, true); /* again, while it is in service */
    assert_int_equal(page[APIC_PPR / 4], 0x80);
    put(APIC_EOI, 0xdeadbeef); /* any value in xAPIC mode */
    assert_int_equal(effect.bits, LAPIC_EFFECT_PRIORITY | LAPIC_EFFECT_ENDED);
    assert_int_equal(effect.vector, 0x82);
    assert_int_equal(page[APIC_PPR / 4], 0x60); /* for a guest that reads it without an exit */
    assert_false(has(APIC_ISR, 0x82));
    assert_int_equal(lapic_next(&apic), -1);
    put(APIC_EOI, 0);
    assert_int_equal(effect.bits, LAPIC_EFFECT_PRIORITY | LAPIC_EFFECT_EOI | LAPIC_EFFECT_ENDED);
    assert_int_equal(effect.vector, 0x61);
    assert_int_equal(lapic_next(&apic), 0x61);
    put(APIC_EOI, 0); /* nothing in service */
    assert_int_equal(effect.bits, 0);
    accept_vector(0x61, false); /* the mode is that of the last one */
    assert_false(has(APIC_TMR, 0x61));
}

static void test_suppressed_eoi(void **state)
{
    (void)state;
    fresh(XAPIC);
    put(APIC_SVR, 0x11ff);
    accept_vector(0x61, true);
    lapic_deliver(&apic, 0x61, false);
    put(APIC_EOI, 0);
    assert_int_equal(effect.bits, LAPIC_EFFECT_PRIORITY | LAPIC_EFFECT_ENDED);
    assert_int_equal(lapic_highest_isr(&apic), -1);
}

static void test_written_eoi_and_tpr(void **state)
{
    (void)state;
    fresh(XAPIC);
    accept_vector(0x61, true);
    lapic_deliver(&apic, 0x61, false);
    page[APIC_EOI / 4] = 1;
    lapic_written(&apic, APIC_EOI, now, &effect);
    assert_true(effect.bits & LAPIC_EFFECT_EOI);
    assert_int_equal(effect.vector, 0x61);
    accept_vector(0x61, true);
    memset(&effect, 0, sizeof(effect));
    page[APIC_TPR / 4] = 0x60;
    lapic_written(&apic, APIC_TPR, now, &effect);
    assert_int_equal(effect.bits, LAPIC_EFFECT_PRIORITY);
    assert_int_equal(page[APIC_PPR / 4], 0x60);
    assert_int_equal(lapic_next(&apic), -1);
    put(APIC_TPR, 0x50);
    assert_int_equal(effect.bits, LAPIC_EFFECT_PRIORITY);
    assert_int_equal(page[APIC_PPR / 4], 0x50);
    assert_int_equal(lapic_next(&apic), 0x61);
}

/* The same by arrays of bools. */
static struct {
    bool irr[256], isr[256], level[256];
    unsigned tpr;
    uint64_t random;
} model;

static unsigned rnd(unsigned below)
{
    model.random = model.random * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(model.random >> 33) % below;
}

static int model_highest(const bool *set)
{
    int best = -1;

    for (int i = 0; i < 256; i++)
        if (set[i])
            best = i;
    return best;
}

static int model_next(void)
{
    int irr = model_highest(model.irr), isr = model_highest(model.isr);
    int limit = isr / 16 > (int)model.tpr / 16 ? isr / 16 : (int)model.tpr / 16;

    return irr >= 0 && irr / 16 > limit ? irr : -1;
}

static void model_deliver(int next)
{
    if (apic.is_private && rnd(2))
        assert_int_equal(lapic_deliver_plain(&apic), next);
    else if (next >= 0)
        lapic_deliver(&apic, (uint8_t)next, false);
    if (next < 0)
        return;
    model.irr[next] = false;
    model.isr[next] = true;
}

#define TO_SELF (FIELD_PUT(APIC_ICR_SHORTHAND, APIC_SHORTHAND_SELF) | APIC_ICR_ASSERT)

static void model_accept(uint8_t vector)
{
    bool is_level = rnd(2);

    model.irr[vector] = true;
    model.level[vector] = is_level;
    if (is_level || !lapic_send_plain(&apic, TO_SELF | vector))
        accept_vector(vector, is_level);
}

static const uint64_t no_vectors[4];

static void model_eoi(void)
{
    int vector = model_highest(model.isr), ended;

    memset(&effect, 0, sizeof(effect));
    if (lapic_end_plain(&apic, no_vectors)) {
        assert_true(apic.is_private && (vector < 0 || !model.level[vector]));
    } else {
        assert_true(!apic.is_private || model.level[vector]);
        ended = lapic_eoi(&apic, &effect);
        assert_int_equal(ended, vector);
        assert_int_equal((effect.bits & LAPIC_EFFECT_EOI) != 0, vector >= 0 && model.level[vector]);
    }
    if (vector >= 0)
        model.isr[vector] = false;
}

static void model_step(void)
{
    uint8_t vector = (uint8_t)(16 + rnd(240));
    int next = model_next();

    switch (rnd(8)) {
    case 0:
        model.tpr = rnd(256);
        put(APIC_TPR, model.tpr);
        break;
    case 1:
    case 2:
        model_eoi();
        break;
    case 3:
    case 4:
    case 5:
        model_deliver(next);
        break;
    default:
        model_accept(vector);
    }
}

/* Of registers that nobody else writes the words are known that are not 0. */
static void assert_words(uint32_t set, unsigned words)
{
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(words >> i & 1, !apic.is_private || page[(set + 16 * i) / 4]);
}

static void compare_with_model(bool is_private)
{
    const char *seed = getenv("SEED");

    memset(&model, 0, sizeof(model));
    model.random = seed && *seed ? strtoull(seed, NULL, 0) : 1;
    printf("# SEED=%llu\n", (unsigned long long)model.random);
    fresh(XAPIC);
    lapic_set_private(&apic, is_private);
    for (unsigned step = 0; step < 100000; step++) {
        model_step();
        assert_words(APIC_IRR, apic.irr_words);
        assert_words(APIC_ISR, apic.isr_words);
        assert_int_equal(page[APIC_PPR / 4], get(APIC_PPR));
        assert_int_equal(lapic_next(&apic), model_next());
        assert_int_equal(lapic_highest_irr(&apic), model_highest(model.irr));
        assert_int_equal(lapic_highest_isr(&apic), model_highest(model.isr));
    }
}

static void test_random_against_model(void **state)
{
    (void)state;
    compare_with_model(false);
    compare_with_model(true);
}

/* Each of these has consequences beyond IRR and ISR, or is none of the usual ones. */
static void test_what_is_not_plain(void **state)
{
    const uint64_t wanted[4] = {[0x41 / 64] = BIT64(0x41 % 64)};
    const uint64_t others[] = {
        0x41,                              /* to whom ICR names */
        TO_SELF | 0xf,                     /* no vector */
        TO_SELF | APIC_ICR_LEVEL | 0x41,   /* level-triggered */
        TO_SELF | APIC_MODE_NMI << 8,      /* another mode */
        TO_SELF | APIC_ICR_LOGICAL | 0x41, /* ignored, but kept in the register */
        TO_SELF | APIC_ICR_PENDING | 0x41, /* read-only */
    };

    (void)state;
    fresh(XAPIC);
    lapic_set_private(&apic, true);
    for (size_t i = 0; i < ARRAY_COUNT(others); i++)
        assert_false(lapic_send_plain(&apic, others[i]));
    assert_int_equal(lapic_highest_irr(&apic), -1);
    assert_true(lapic_send_plain(&apic, TO_SELF | 0x41));
    assert_int_equal(lapic_deliver_plain(&apic), 0x41);
    assert_false(lapic_end_plain(&apic, wanted));
    assert_int_equal(lapic_highest_isr(&apic), 0x41);
    assert_true(lapic_end_plain(&apic, no_vectors));
    put(APIC_SVR, 0xff);
    assert_false(lapic_send_plain(&apic, TO_SELF | 0x41));
    page[APIC_IRR / 4 + 2 * 4] = 2;
    lapic_set_private(&apic, true);
    assert_int_equal(lapic_deliver_plain(&apic), -1);
}

/* -------------------------------------------------------------------------------- errors */

static void test_esr(void **state)
{
    (void)state;
    fresh(XAPIC);
    put(APIC_LVT_ERROR, 0x45);
    accept_vector(15, false);
    assert_int_equal(effect.bits, LAPIC_EFFECT_ERROR);
    assert_int_equal(effect.vector, 0x45);
    assert_int_equal(lapic_highest_irr(&apic), -1);
    assert_int_equal(get(APIC_ESR), 0); /* until it is written */
    put(APIC_ICR_LOW, 0x4000);
    assert_int_equal(effect.bits, 0); /* no second interrupt, and no IPI */
    put(APIC_ESR, 0xffffffff);
    assert_int_equal(get(APIC_ESR), 0x60);
    accept_vector(3, false); /* armed again */
    assert_int_equal(effect.bits, LAPIC_EFFECT_ERROR);
    put(APIC_ESR, 0);
    assert_int_equal(get(APIC_ESR), 0x40);
    put(APIC_ESR, 0);
    assert_int_equal(get(APIC_ESR), 0);
    put(APIC_LVT_ERROR, 0x10045);
    accept_vector(3, false);
    assert_int_equal(effect.bits, 0);
    put(APIC_ESR, 0);
    assert_int_equal(get(APIC_ESR), 0x40);
}

/* An error interrupt that is itself an error ends there. */
static void test_illegal_error_vector(void **state)
{
    (void)state;
    fresh(X2APIC);
    put(APIC_LVT_ERROR, 2);
    accept_vector(1, false);
    assert_int_equal(effect.bits, LAPIC_EFFECT_ERROR);
    accept_vector(effect.vector, false);
    assert_int_equal(effect.bits, 0);
}

/* ---------------------------------------------------------------------------------- ICR */

static const struct {
    uint32_t icr;
    bool sent;
    uint32_t error;
} icrs[] = {
    {0x04030, true, 0},                         /* fixed */
    {0x00030, true, 0},                         /* the level only matters to INIT */
    {0x04010, true, 0},                         /* the lowest vector */
    {0x0400f, false, 0x20},                     /* illegal */
    {0x40000, false, 0x20},                     /* to itself */
    {0x04930, true, 0},                         /* lowest priority, logical */
    {0x04105, false, 0x20}, {0x04200, true, 0}, /* SMI */
    {0x04330, false, 0},                        /* reserved */
    {0x04400, true, 0},                         /* NMI */
    {0x04500, true, 0},                         /* INIT */
    {0x0c500, true, 0},                         /* level-triggered */
    {0x08500, false, 0},                        /* de-asserted */
    {0x04605, true, 0},                         /* start-up: a page, not a vector */
    {0x04730, false, 0},                        /* reserved */
    {0xc4030, true, 0},                         /* all but self */
};

static void test_icr(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(icrs); i++)
        for (unsigned written = 0; written < 2; written++) {
            uint64_t wanted = 0x12ull << 32 | icrs[i].icr;

            fresh(XAPIC);
            put(APIC_ICR_HIGH, 0x12ffffff);
            assert_int_equal(effect.bits, 0);
            if (written) {
                page[APIC_ICR_LOW / 4] = icrs[i].icr | 0x1000;
                lapic_written(&apic, APIC_ICR_LOW, now, &effect);
            } else {
                put(APIC_ICR_LOW, icrs[i].icr | 0x1000);
            }
            assert_int_equal(effect.bits, icrs[i].sent ? LAPIC_EFFECT_IPI : 0);
            assert_int_equal(effect.icr, icrs[i].sent ? wanted : 0);
            assert_int_equal(apic.esr_pending, icrs[i].error);
            assert_int_equal(get(APIC_ICR_LOW), icrs[i].icr);
        }
}

static void test_icr_x2apic(void **state)
{
    (void)state;
    fresh(X2APIC);
    put(APIC_ICR_LOW, 0x12345678000c5930);
    assert_int_equal(effect.bits, LAPIC_EFFECT_IPI);
    assert_true(effect.icr == 0x12345678000c4930);
    assert_true(get(APIC_ICR_LOW) == 0x12345678000c4930);
    put(APIC_ICR_LOW, 0xffffffff00004040);
    assert_true(effect.icr == 0xffffffff00004040);
    page[APIC_ICR_LOW / 4] = 0x4041; /* by the hardware: 64 bits at once */
    page[APIC_ICR_LOW / 4 + 1] = 0x87654321;
    memset(&effect, 0, sizeof(effect));
    lapic_written(&apic, APIC_ICR_LOW, now, &effect);
    assert_true(effect.icr == 0x8765432100004041);
    assert_true(get(APIC_ICR_LOW) == 0x8765432100004041);
}

static void test_self_ipi(void **state)
{
    (void)state;
    fresh(X2APIC);
    put(APIC_SELF_IPI, 0x77);
    assert_int_equal(effect.bits, LAPIC_EFFECT_IPI);
    assert_int_equal(effect.icr & APIC_ICR_VECTOR, 0x77);
    assert_int_equal(FIELD_GET(APIC_ICR_SHORTHAND, effect.icr), APIC_SHORTHAND_SELF);
    assert_int_equal(FIELD_GET(APIC_ICR_MODE, effect.icr), APIC_MODE_FIXED);
    put(APIC_SELF_IPI, 0x0f);
    assert_int_equal(effect.bits, 0);
    put(APIC_ESR, 0);
    assert_int_equal(get(APIC_ESR), 0x20);
}

/* --------------------------------------------------------------------------------- modes */

static uint8_t saved[4096], again[4096];

static uint32_t saved_word(uint32_t offset)
{
    uint32_t value;

    memcpy(&value, saved + offset, sizeof(value));
    return value;
}

#define DISABLED 0u
#define INVALID  APIC_BASE_EXTD

/* SDM 3A 10.12.5, figure 10-27 */
static const struct {
    uint64_t from, to;
    bool guest, client;
} transitions[] = {
    {DISABLED, DISABLED, true, true},  {DISABLED, XAPIC, true, true},  {DISABLED, X2APIC, false, true},
    {XAPIC, DISABLED, true, true},     {XAPIC, XAPIC, true, true},     {XAPIC, X2APIC, true, true},
    {X2APIC, DISABLED, true, true},    {X2APIC, XAPIC, false, true},   {X2APIC, X2APIC, true, true},
    {DISABLED, INVALID, false, false}, {XAPIC, INVALID, false, false}, {X2APIC, INVALID, false, false},
};

static void test_base_transitions(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(transitions); i++)
        for (unsigned client = 0; client < 2; client++) {
            bool valid = client ? transitions[i].client : transitions[i].guest, done;
            uint64_t to = 0x12345000 | transitions[i].to, before;

            fresh(transitions[i].from == X2APIC ? X2APIC : XAPIC);
            if (transitions[i].from == DISABLED)
                assert_true(lapic_write_base(&apic, APIC_DEFAULT_BASE, PHYSICAL));
            before = apic.base;
            done = client ? lapic_set_base(&apic, to, PHYSICAL) : lapic_write_base(&apic, to, PHYSICAL);
            assert_int_equal(done, valid);
            assert_int_equal(apic.base, valid ? to : before);
            assert_int_equal(page[APIC_ID / 4], apic.base & APIC_BASE_EXTD ? 5 : 5 << 24);
            if (valid && transitions[i].to == XAPIC && transitions[i].from != XAPIC)
                assert_int_equal(page[APIC_DFR / 4], UINT32_MAX);
        }
}

static void test_base_bits(void **state)
{
    (void)state;
    fresh_as(XAPIC, 0);
    assert_int_equal(apic.base, 0xfee00900);
    fresh(XAPIC);
    assert_int_equal(apic.base, 0xfee00800);
    for (unsigned bit = 0; bit < 64; bit++) {
        bool valid = bit == 8 || bit == 10 || bit == 11 || (bit >= 12 && bit < 36);

        fresh(XAPIC);
        assert_int_equal(lapic_write_base(&apic, APIC_BASE_EN | 1ull << bit, PHYSICAL), valid);
    }
    fresh(XAPIC);
    apic.x2apic_allowed = false;
    assert_false(lapic_write_base(&apic, apic.base | X2APIC, PHYSICAL));
    assert_false(lapic_set_base(&apic, apic.base | X2APIC, PHYSICAL));
}

static void test_moving_keeps_state(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        fresh(i ? X2APIC : XAPIC);
        put(APIC_TPR, 0x25);
        accept_vector(0x77, true);
        assert_true(lapic_write_base(&apic, (apic.base & 0xfff) | 0x12345000, PHYSICAL));
        assert_int_equal(get(APIC_TPR), 0x25);
        assert_int_equal(lapic_next(&apic), 0x77);
    }
}

static void test_xapic_to_x2apic_keeps_state(void **state)
{
    (void)state;
    fresh(XAPIC);
    put(APIC_TPR, 0x25);
    put(APIC_ICR_HIGH, 0xff000000);
    put(APIC_LDR, 0x80000000);
    accept_vector(0x77, true);
    assert_true(lapic_write_base(&apic, apic.base | X2APIC, PHYSICAL));
    assert_int_equal(get(APIC_TPR), 0x25);
    assert_int_equal(get(APIC_SVR), 0x1ff);
    assert_int_equal(get(APIC_ID), 5);
    assert_int_equal(get(APIC_LDR), 0x20);
    assert_int_equal(get(APIC_ICR_LOW), 0);
    lapic_get_page(&apic, now, saved);
    assert_int_equal(saved_word(APIC_ICR_HIGH), 0);
    assert_int_equal(lapic_next(&apic), 0x77);
}

static void test_disabled(void **state)
{
    uint64_t value;

    (void)state;
    fresh(XAPIC);
    put(APIC_TPR, 0x20);
    put(APIC_LVT_TIMER, 0x40);
    put(APIC_TIMER_INIT, 100);
    accept_vector(0x50, false);
    assert_true(lapic_write_base(&apic, APIC_DEFAULT_BASE, PHYSICAL));
    assert_int_equal(lapic_next(&apic), -1);
    assert_int_equal(lapic_timer_due_ns(&apic), UINT64_MAX);
    accept_vector(0x50, false);
    accept_vector(5, false);
    assert_false(try_read(APIC_TPR, &value));
    assert_false(try_write(APIC_TPR, 0));
    assert_int_equal(effect.bits, 0);
    assert_int_equal(apic.esr_pending, 0);
    assert_true(lapic_write_base(&apic, APIC_DEFAULT_BASE | XAPIC, PHYSICAL));
    for (uint32_t offset = 0; offset < 0x400; offset += 16)
        if (rule_of(offset).xapic & R)
            assert_int_equal(get(offset), rule_of(offset).reset);
}

/* -------------------------------------------------------------------------- destinations */

#define FLAT    0xffffffffu
#define CLUSTER 0x0fffffffu

static const struct {
    struct lapic_address apic; /* id, ldr, dfr, enabled, x2apic */
    uint32_t destination;
    bool logical, x2apic, wanted;
} messages[] = {
    /* physical */
    {{5, 0, FLAT, true, false}, 5, false, false, true},
    {{5, 0, FLAT, true, false}, 4, false, false, false},
    {{5, 0, FLAT, true, false}, 0xff, false, false, true},
    {{5, 0, FLAT, false, false}, 5, false, false, false},
    {{5, 0, FLAT, false, false}, 0xff, false, false, false},
    {{5, 0, FLAT, true, false}, 5, false, true, true},
    {{5, 0, FLAT, true, false}, 0xff, false, true, false},
    {{5, 0, FLAT, true, false}, 0xffffffff, false, true, true},
    {{5, 0x20, 0, true, true}, 5, false, true, true},
    {{5, 0x20, 0, true, true}, 0x105, false, true, false},
    {{5, 0x20, 0, true, true}, 0xff, false, true, false},
    {{0xff, 0xf8000, 0, true, true}, 0xff, false, true, true},
    {{5, 0x20, 0, true, true}, 0xff, false, false, true},
    {{5, 0x20, 0, true, true}, 5, false, false, true},
    {{0x105, 0x100020, 0, true, true}, 0x105, false, true, true},
    {{0x105, 0x100020, 0, true, true}, 5, false, false, false},
    {{0x105, 0x100020, 0, true, true}, 0xffffffff, false, true, true},
    {{0x105, 0, FLAT, true, false}, 5, false, false, false},
    /* flat */
    {{1, 0x02000000, FLAT, true, false}, 0x02, true, false, true},
    {{1, 0x02000000, FLAT, true, false}, 0xfe, true, false, true},
    {{1, 0x02000000, FLAT, true, false}, 0xfd, true, false, false},
    {{1, 0x02000000, FLAT, true, false}, 0, true, false, false},
    {{1, 0x81000000, FLAT, true, false}, 0x80, true, false, true},
    {{1, 0, FLAT, true, false}, 0x7f, true, false, false},
    {{1, 0, FLAT, true, false}, 0xff, true, false, true},
    {{1, 0x02000000, FLAT, true, false}, 0x02, true, true, true},
    {{1, 0x02000000, FLAT, true, false}, 0x10002, true, true, false},
    {{1, 0, FLAT, true, false}, 0xffffffff, true, true, true},
    /* clusters of 8 bits */
    {{1, 0x12000000, CLUSTER, true, false}, 0x12, true, false, true},
    {{1, 0x12000000, CLUSTER, true, false}, 0x1f, true, false, true},
    {{1, 0x12000000, CLUSTER, true, false}, 0x1d, true, false, false},
    {{1, 0x12000000, CLUSTER, true, false}, 0x22, true, false, false},
    {{1, 0x12000000, CLUSTER, true, false}, 0x32, true, false, false},
    {{1, 0x12000000, CLUSTER, true, false}, 0x10, true, false, false},
    {{1, 0x12000000, CLUSTER, true, false}, 0xff, true, false, true},
    {{1, 0x02000000, CLUSTER, true, false}, 0x02, true, false, true},
    {{1, 0x02000000, CLUSTER, true, false}, 0x12, true, false, false},
    /* a model that there is not */
    {{1, 0x02000000, 0x5fffffff, true, false}, 0x02, true, false, false},
    {{1, 0x02000000, 0x5fffffff, true, false}, 0xff, true, false, true},
    /* clusters of 32 bits */
    {{5, 0x20, 0, true, true}, 0x20, true, true, true},
    {{5, 0x20, 0, true, true}, 0xffff, true, true, true},
    {{5, 0x20, 0, true, true}, 0xffdf, true, true, false},
    {{5, 0x20, 0, true, true}, 0x10020, true, true, false},
    {{5, 0x20, 0, true, true}, 0, true, true, false},
    {{0x35, 0x30020, 0, true, true}, 0x30020, true, true, true},
    {{0x35, 0x30020, 0, true, true}, 0x20, true, true, false},
    {{0x35, 0x30020, 0, true, true}, 0xffffffff, true, true, true},
    {{0x35, 0x30020, 0, true, true}, 0xff, true, true, false},
    {{0x35, 0x30020, 0, true, true}, 0xff, true, false, true},
    {{5, 0x20, 0, true, true}, 0x20, true, false, true}, /* of 8 bits: the first cluster */
    {{0x35, 0x30020, 0, true, true}, 0x20, true, false, false},
    {{5, 0x20, 0, false, false}, 0x20, true, true, false},
};

static void test_destinations(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(messages); i++)
        if (lapic_is_addressed(&messages[i].apic, messages[i].destination, messages[i].logical, messages[i].x2apic) !=
            messages[i].wanted)
            fail_msg("message %zu to %#x", i, messages[i].destination);
}

/* Nobody else hears of a message that is said to be for one APIC; and where it can be said, it is. */
static void test_only_id(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(messages); i++) {
        uint32_t id = lapic_only_id(messages[i].destination, messages[i].logical, messages[i].x2apic);

        if (messages[i].wanted && id != LAPIC_ANY_ID && id != messages[i].apic.id)
            fail_msg("message %zu to %#x", i, messages[i].destination);
    }
    assert_int_equal(lapic_only_id(0x123, false, false), 0x23);
    assert_int_equal(lapic_only_id(0xff, false, true), 0xff);
    assert_int_equal(lapic_only_id(0xff, false, false), LAPIC_ANY_ID);
    assert_int_equal(lapic_only_id(0xffffffff, false, true), LAPIC_ANY_ID);
    assert_int_equal(lapic_only_id(1, true, true), LAPIC_ANY_ID);
}

/* As long as another one is requested, the input is not free again; writes of the entry do not free it either. */
static void test_level_input(void **state)
{
    const uint32_t entry = (uint32_t)APIC_LVT_LEVEL | 0x51, taken = entry | (uint32_t)APIC_LVT_REMOTE_IRR;

    (void)state;
    fresh(XAPIC);
    put(APIC_SVR, APIC_SVR_ENABLE | 0xff);
    put(APIC_LVT_LINT1, entry);
    assert_true(lapic_accept_input(&apic, 1, &effect));
    assert_int_equal(get(APIC_LVT_LINT1), taken);
    put(APIC_LVT_LINT1, entry);
    assert_int_equal(get(APIC_LVT_LINT1), taken);
    lapic_deliver(&apic, 0x51, false);
    assert_true(lapic_accept_input(&apic, 1, &effect));
    assert_int_equal(lapic_eoi(&apic, &effect), 0x51);
    assert_int_equal(get(APIC_LVT_LINT1), taken);
    lapic_deliver(&apic, 0x51, false);
    assert_int_equal(lapic_eoi(&apic, &effect), 0x51);
    assert_int_equal(get(APIC_LVT_LINT1), entry);
}

static void test_address(void **state)
{
    struct lapic_address a;

    (void)state;
    fresh(XAPIC);
    put(APIC_LDR, 0x12000000);
    assert_int_equal(effect.bits, LAPIC_EFFECT_ADDRESS);
    put(APIC_DFR, 0);
    assert_int_equal(effect.bits, LAPIC_EFFECT_ADDRESS);
    a = lapic_address(&apic);
    assert_int_equal(a.id, 5);
    assert_true(a.enabled && !a.x2apic);
    assert_true(lapic_is_addressed(&a, 0x1f, true, false));
    put(APIC_SVR, 0xff); /* still there for INIT and NMI */
    a = lapic_address(&apic);
    assert_true(lapic_is_addressed(&a, 5, false, false));
    assert_true(lapic_write_base(&apic, apic.base | X2APIC, PHYSICAL));
    a = lapic_address(&apic);
    assert_true(a.enabled && a.x2apic && a.ldr == 0x20);
    assert_true(lapic_write_base(&apic, 0, PHYSICAL));
    a = lapic_address(&apic);
    assert_false(a.enabled || a.x2apic);
}

/* ---------------------------------------------------------------------------- saved pages */

static void save_word(uint32_t offset, uint32_t value)
{
    memcpy(saved + offset, &value, sizeof(value));
}

static void fill(uint64_t mode)
{
    fresh(mode);
    for (size_t i = 0; i < ARRAY_COUNT(lvts); i++)
        put(lvts[i], 0x40 + i);
    put(APIC_LVT_TIMER, 0x20048);
    put(APIC_TPR, 0x31);
    put(APIC_TIMER_DIV, 0xb);
    put(APIC_TIMER_INIT, 1000);
    put(APIC_SVR, 0x11f3);
    if (mode == XAPIC) {
        put(APIC_LDR, 0x12000000);
        put(APIC_DFR, 0);
        put(APIC_ICR_HIGH, 0x7000000);
        put(APIC_ICR_LOW, 0x4440);
    } else {
        put(APIC_ICR_LOW, 0x1234567800004440);
    }
    accept_vector(0x91, true);
    accept_vector(0xff, false);
    lapic_deliver(&apic, 0xff, false);
    accept_vector(3, false);
    put(APIC_ESR, 0);
}

static void test_round_trip(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        fill(i ? X2APIC : XAPIC);
        lapic_get_page(&apic, now + 300, saved);
        assert_int_equal(saved_word(APIC_ID), i ? 5 : 5 << 24);
        assert_int_equal(saved_word(APIC_TIMER_CUR), 700);
        assert_int_equal(saved_word(APIC_ICR_HIGH), i ? 0x12345678 : 0x7000000);
        assert_int_equal(saved_word(APIC_ESR), 0x40);
        for (unsigned at = 0; at < sizeof(saved); at += 4)
            if (at % 16 || at >= 1024)
                assert_int_equal(saved_word(at), 0);
        fresh(i ? X2APIC : XAPIC);
        accept_vector(3, false); /* an error that the saved state does not have */
        memset(&effect, 0, sizeof(effect));
        assert_true(lapic_set_page(&apic, 1u << 20, saved, &effect));
        assert_int_equal(apic.esr_pending, 0);
        assert_int_equal(effect.bits, LAPIC_EFFECT_PRIORITY | LAPIC_EFFECT_TIMER | LAPIC_EFFECT_ADDRESS);
        lapic_get_page(&apic, 1u << 20, again);
        assert_memory_equal(saved, again, sizeof(saved));
        assert_int_equal(lapic_timer_due_ns(&apic), (1u << 20) + 700);
        assert_int_equal(page[APIC_PPR / 4], 0xf0);
        if (i)
            assert_true(get(APIC_ICR_LOW) == 0x1234567800004440);
    }
}

/* One bit after the other on top of a good page: taken, or refused with nothing changed. */
static void test_set_refuses_whole_pages(void **state)
{
    static struct lapic before;
    static uint32_t before_page[1024];

    (void)state;
    for (unsigned mode = 0; mode < 2; mode++)
        for (size_t i = 0; i < ARRAY_COUNT(rules); i++)
            for (unsigned bit = 0; bit < 32; bit++) {
                const struct rule *r = &rules[i];
                bool loaded = (mode ? r->x2apic : r->xapic) & W && r->offset != APIC_EOI;
                bool valid = !loaded || (1u << bit) & (r->bits | r->ignored | r->ones);

                fresh(mode ? X2APIC : XAPIC);
                lapic_get_page(&apic, now, saved);
                if (r->offset == APIC_ESR)
                    valid = bit < 8;
                if (r->offset == APIC_ICR_LOW && !mode && (1u << bit) & APIC_ICR_REMOTE)
                    valid = true; /* status of a remote read */
                if (r->offset == APIC_TIMER_CUR)
                    valid = false; /* more than the initial count */
                save_word(r->offset, saved_word(r->offset) | 1u << bit);
                save_word(APIC_TPR, saved_word(APIC_TPR) | 0x55);
                before = apic;
                memcpy(before_page, page, sizeof(page));
                memset(&effect, 0, sizeof(effect));
                assert_int_equal(lapic_set_page(&apic, now, saved, &effect), valid);
                if (valid) {
                    assert_int_equal(get(APIC_TPR) & 0x55, 0x55);
                    continue;
                }
                assert_memory_equal(&before, &apic, sizeof(apic));
                assert_memory_equal(before_page, page, sizeof(page));
                assert_int_equal(effect.bits, 0);
            }
}

static void test_set_vectors(void **state)
{
    static const uint16_t sets[] = {APIC_ISR, APIC_TMR, APIC_IRR};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(sets); i++)
        for (unsigned vector = 0; vector < 256; vector++) {
            bool is_nmi = sets[i] == APIC_IRR && vector == 2;

            fresh(XAPIC);
            lapic_get_page(&apic, now, saved);
            save_word(sets[i] + vector / 32 * 16, 1u << vector % 32);
            memset(&effect, 0, sizeof(effect));
            assert_int_equal(lapic_set_page(&apic, now, saved, &effect), vector >= 16 || is_nmi);
            assert_int_equal((effect.bits & LAPIC_EFFECT_NMI) != 0, is_nmi);
            assert_int_equal(has(sets[i], (uint8_t)vector), vector >= 16);
        }
}

/* What QEMU sets at its reset: LINT0 open for the PIC although SVR disables the APIC, another version, no count. */
static void test_set_of_a_reset_state(void **state)
{
    (void)state;
    fresh_as(XAPIC, 0);
    memset(saved, 0, sizeof(saved));
    for (size_t i = 0; i < ARRAY_COUNT(lvts); i++)
        save_word(lvts[i], LVT);
    save_word(APIC_LVT_LINT0, 0x700);
    save_word(APIC_VERSION, 0x50014);
    save_word(APIC_DFR, 0xffffffff);
    save_word(APIC_SVR, 0xff);
    assert_true(lapic_set_page(&apic, now, saved, &effect));
    assert_int_equal(get(APIC_LVT_LINT0), 0x700);
    assert_int_equal(get(APIC_VERSION), 0x1050014);
    assert_int_equal(get(APIC_ID), 0);
}

static void test_set_while_disabled(void **state)
{
    (void)state;
    fill(XAPIC);
    lapic_get_page(&apic, now, saved);
    assert_true(lapic_write_base(&apic, 0, PHYSICAL));
    assert_true(lapic_set_page(&apic, now, saved, &effect));
    assert_int_equal(lapic_highest_irr(&apic), -1);
    assert_int_equal(page[APIC_TPR / 4], 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        UNIT_TEST(test_reset_values),
        UNIT_TEST(test_xapic_access),
        UNIT_TEST(test_xapic_masks),
        UNIT_TEST(test_write_only_register),
        UNIT_TEST(test_written_masks),
        UNIT_TEST(test_x2apic_access),
        UNIT_TEST(test_x2apic_reserved_bits),
        UNIT_TEST(test_identity),
        UNIT_TEST(test_software_disable),
        UNIT_TEST(test_priority_classes),
        UNIT_TEST(test_highest),
        UNIT_TEST(test_life_of_an_interrupt),
        UNIT_TEST(test_suppressed_eoi),
        UNIT_TEST(test_written_eoi_and_tpr),
        UNIT_TEST(test_random_against_model),
        UNIT_TEST(test_what_is_not_plain),
        UNIT_TEST(test_esr),
        UNIT_TEST(test_illegal_error_vector),
        UNIT_TEST(test_icr),
        UNIT_TEST(test_icr_x2apic),
        UNIT_TEST(test_self_ipi),
        UNIT_TEST(test_base_transitions),
        UNIT_TEST(test_base_bits),
        UNIT_TEST(test_moving_keeps_state),
        UNIT_TEST(test_xapic_to_x2apic_keeps_state),
        UNIT_TEST(test_disabled),
        UNIT_TEST(test_destinations),
        UNIT_TEST(test_only_id),
        UNIT_TEST(test_level_input),
        UNIT_TEST(test_address),
        UNIT_TEST(test_round_trip),
        UNIT_TEST(test_set_refuses_whole_pages),
        UNIT_TEST(test_set_vectors),
        UNIT_TEST(test_set_of_a_reset_state),
        UNIT_TEST(test_set_while_disabled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
