/* SPDX-License-Identifier: MIT */
/*
 * Doorbells: which can be registered, which writes ring them, against a model and with memory that fails; many of them;
 * and what instructions ring them. SEED=n in the environment repeats or varies a run.
 */
#include "random.h"
#include "stub_irq.h"
#include "stub_vp.h"
#include "virt/doorbell.h"
#include "virt/doorbell_table.c" /* to look at its chains */
#include "virt/exit_doorbell.h"
#include "virt/gpa.h"
#include "virt/overlay.h"
#include <stdio.h>

#define PAGE   0x300000ull
#define PORT   0x1f0u
#define EVENTS 8u

static void *handles[EVENTS];

static int setup(void **state)
{
    stub_setup(state);
    for (unsigned i = 0; i < EVENTS; i++)
        handles[i] = fake_event_create();
    return 0;
}

static int teardown(void **state)
{
    doorbell_free_all(&stub_partition);
    for (unsigned i = 0; i < EVENTS; i++)
        fake_event_close(handles[i]);
    return stub_teardown(state);
}

#define DOORBELL_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

#define AT(a)            \
    (struct hv_doorbell) \
    {                    \
        .address = (a)   \
    }
#define SIZED(a, n)                                         \
    (struct hv_doorbell)                                    \
    {                                                       \
        .address = (a), .length = (n), .match_length = true \
    }
#define VALUED(a, n, v)                                                                        \
    (struct hv_doorbell)                                                                       \
    {                                                                                          \
        .address = (a), .length = (n), .match_length = true, .value = (v), .match_value = true \
    }

static struct hv_doorbell on_port(struct hv_doorbell d)
{
    d.is_port = true;
    return d;
}

static enum hv_status add(struct hv_doorbell d, unsigned event)
{
    return hv_partition_register_doorbell(&stub_partition, &d, handles[event]);
}

static enum hv_status take_away(struct hv_doorbell d)
{
    return hv_partition_unregister_doorbell(&stub_partition, &d);
}

static bool is_mapped(hv_gpa_t gpa)
{
    struct npt_leaf leaf;

    return npt_lookup(&stub_partition.npt, gpa, &leaf);
}

/* ---------------------------------------------------------------------------------------- rules */

static void fields_are_checked(void **state)
{
    static const struct hv_doorbell bad[] = {
        {.address = PAGE, .length = 4},                                          /* a length, not to be matched */
        {.address = PAGE, .value = 1},                                           /* a value likewise */
        {.address = PAGE, .match_value = true},                                  /* a value without a length */
        {.address = PAGE, .match_length = true},                                 /* no length */
        {.address = PAGE, .match_length = true, .length = 3},                    /* not one of a store */
        {.address = PAGE, .match_length = true, .length = 16},                   /* likewise */
        {.address = PAGE, .match_length = true, .length = 4, .value = 1},        /* a value, not to be matched */
        {.address = PAGE + 0xffd, .match_length = true, .length = 4},            /* beyond the page */
        {.address = PAGE + 0xfff, .match_length = true, .length = 2},            /* likewise */
        {.address = 1ull << 46},                                                 /* beyond what a guest can address */
        {.address = ~0ull},                                                      /* likewise */
        {.address = 0x10000, .is_port = true},                                   /* no such port */
        {.address = 0xffff, .match_length = true, .length = 2, .is_port = true}, /* likewise */
        {.address = PORT, .match_length = true, .length = 8, .is_port = true},   /* not one of OUT */
    };
    uint64_t before = fake_counts().requests;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_int_equal(add(bad[i], 0), HV_E_INVALID);
        assert_int_equal(take_away(bad[i]), HV_E_NOT_FOUND);
    }
    assert_int_equal(hv_partition_register_doorbell(&stub_partition, &AT(PAGE), NULL), HV_E_INVALID);
    assert_int_equal(hv_partition_register_doorbell(&stub_partition, &AT(PAGE), (void *)1), HV_E_INVALID);
    assert_int_equal(fake_counts().requests, before);
    stub_partition.properties.local_apic_mode = HV_LOCAL_APIC_XAPIC;
    assert_int_equal(add(AT(APIC_DEFAULT_BASE + 0x300), 0), HV_E_INVALID);
    stub_partition.is_set_up = false;
    assert_int_equal(add(AT(PAGE), 0), HV_E_STATE);
    assert_int_equal(take_away(AT(PAGE)), HV_E_STATE);
    assert_int_equal(fake_counts().event_uses, 0);
}

static void corners_are_allowed(void **state)
{
    static const struct hv_doorbell good[] = {
        {.address = PAGE + 0xfff},
        {.address = PAGE + 0xffe, .match_length = true, .length = 2},
        {.address = PAGE + 3, .match_length = true, .length = 8}, /* not aligned */
        {.address = PAGE + 16, .match_length = true, .length = 8, .value = ~0ull, .match_value = true},
        {.address = 0},
        {.address = 0xffff, .is_port = true},
        {.address = 0xfffc, .match_length = true, .length = 4, .is_port = true},
        {.address = 0, .match_length = true, .length = 1, .value = 0, .match_value = true, .is_port = true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(good); i++)
        assert_int_equal(add(good[i], 0), HV_OK);
    for (size_t i = 0; i < ARRAY_COUNT(good); i++)
        assert_int_equal(take_away(good[i]), HV_OK);
    assert_int_equal(fake_counts().event_uses, 0);
}

static void conflicts(void **state)
{
    const struct {
        struct hv_doorbell there, other;
        enum hv_status expected;
    } table[] = {
        {AT(PAGE), AT(PAGE), HV_E_CONFLICT},
        {AT(PAGE), SIZED(PAGE, 4), HV_E_CONFLICT},
        {AT(PAGE), VALUED(PAGE, 4, 1), HV_E_CONFLICT},
        {SIZED(PAGE, 4), AT(PAGE), HV_E_CONFLICT},
        {SIZED(PAGE, 4), SIZED(PAGE, 4), HV_E_CONFLICT},
        {SIZED(PAGE, 4), SIZED(PAGE, 2), HV_E_CONFLICT},
        {SIZED(PAGE, 4), VALUED(PAGE, 4, 1), HV_E_CONFLICT},
        {VALUED(PAGE, 4, 1), AT(PAGE), HV_E_CONFLICT},
        {VALUED(PAGE, 4, 1), SIZED(PAGE, 4), HV_E_CONFLICT},
        {VALUED(PAGE, 4, 1), VALUED(PAGE, 4, 1), HV_E_CONFLICT},
        {VALUED(PAGE, 4, 1), VALUED(PAGE, 2, 2), HV_E_CONFLICT},
        {VALUED(PAGE, 4, 1), VALUED(PAGE, 4, 2), HV_OK},
        {SIZED(PAGE, 4), SIZED(PAGE + 1, 4), HV_OK}, /* other writes */
    };

    (void)state;
    for (int on_port = 0; on_port < 2; on_port++)
        for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
            struct hv_doorbell there = table[i].there, other = table[i].other;

            if (on_port) {
                there.address = there.address % HV_PAGE_SIZE + PORT;
                other.address = other.address % HV_PAGE_SIZE + PORT;
                there.is_port = other.is_port = true;
            }
            assert_int_equal(add(there, 0), HV_OK);
            assert_int_equal(add(other, 1), table[i].expected);
            assert_int_equal(take_away(there), HV_OK);
            assert_int_equal(take_away(other), table[i].expected == HV_OK ? HV_OK : HV_E_NOT_FOUND);
        }
    assert_int_equal(add(AT(PORT), 0), HV_OK); /* memory and ports are two things */
    assert_int_equal(add(on_port(AT(PORT)), 0), HV_OK);
}

/* ------------------------------------------------------------------------- against a model */

#define STEPS 6000u
#define SLOTS 64u

static struct {
    struct hv_doorbell doorbell[SLOTS];
    bool is_there[SLOTS];
    unsigned event[SLOTS];
    uint64_t signals[EVENTS];
} w;

static uint64_t random_address(bool is_port)
{
    return (is_port ? PORT : PAGE + rnd(3) * HV_PAGE_SIZE) + rnd(3);
}

static struct hv_doorbell random_doorbell(void)
{
    struct hv_doorbell d = {.is_port = !rnd(3)};

    d.address = random_address(d.is_port);
    d.match_length = rnd(4);
    if (d.match_length) {
        d.length = 1u << rnd(2);
        d.match_value = rnd(4);
        d.value = d.match_value ? rnd(4) : 0;
    }
    return d;
}

static bool is_same(const struct hv_doorbell *a, const struct hv_doorbell *b)
{
    return a->address == b->address && a->is_port == b->is_port && a->length == b->length &&
           a->match_value == b->match_value && a->value == b->value;
}

static int model_find(const struct hv_doorbell *d)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (w.is_there[i] && is_same(&w.doorbell[i], d))
            return (int)i;
    return -1;
}

/* Written anew, from the rule's words: could they stand beside each other? */
static bool model_allows(const struct hv_doorbell *d)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        const struct hv_doorbell *o = &w.doorbell[i];

        if (w.is_there[i] && o->address == d->address && o->is_port == d->is_port &&
            !(o->match_value && d->match_value && o->length == d->length && o->value != d->value))
            return false;
    }
    return true;
}

static void step_add(void)
{
    struct hv_doorbell d = random_doorbell();
    unsigned slot = (unsigned)rnd(SLOTS), event = (unsigned)rnd(EVENTS);
    enum hv_status st;

    if (w.is_there[slot])
        return;
    st = add(d, event);
    if (fake_has_failed() && st == HV_E_NO_MEMORY)
        return;
    assert_int_equal(st, model_allows(&d) ? HV_OK : HV_E_CONFLICT);
    w.is_there[slot] = st == HV_OK;
    w.doorbell[slot] = d;
    w.event[slot] = event;
}

static void step_take_away(void)
{
    struct hv_doorbell d = rnd(2) ? w.doorbell[rnd(SLOTS)] : random_doorbell();
    int slot = model_find(&d);

    assert_int_equal(take_away(d), slot >= 0 ? HV_OK : HV_E_NOT_FOUND);
    if (slot >= 0)
        w.is_there[slot] = false;
}

static void step_ring(void)
{
    bool is_port = !rnd(3), expected = false;
    uint64_t address = random_address(is_port), value = rnd(4);
    uint32_t size = 1u << rnd(3);

    for (unsigned i = 0; i < SLOTS; i++) {
        const struct hv_doorbell *d = &w.doorbell[i];

        if (w.is_there[i] && d->is_port == is_port && d->address == address &&
            (!d->match_length || d->length == size) && (!d->match_value || d->value == value)) {
            assert_false(expected);
            expected = true;
            w.signals[w.event[i]]++;
        }
    }
    assert_int_equal(doorbell_ring(&stub_vp, is_port, address, size, value), expected);
}

static void check(void)
{
    bool has_ports = false;

    for (unsigned page = 0; page < 3; page++) {
        bool expected = true;

        for (unsigned i = 0; i < SLOTS; i++)
            if (w.is_there[i] && !w.doorbell[i].is_port &&
                w.doorbell[i].address / HV_PAGE_SIZE == PAGE / HV_PAGE_SIZE + page)
                expected = false;
        assert_int_equal(is_mapped(PAGE + page * HV_PAGE_SIZE), expected);
    }
    for (unsigned i = 0; i < SLOTS; i++)
        has_ports |= w.is_there[i] && w.doorbell[i].is_port;
    assert_int_equal(stub_partition.doorbells && stub_partition.doorbells->ports, has_ports);
    for (unsigned i = 0; i < EVENTS; i++)
        assert_int_equal(fake_event_signals(handles[i]), w.signals[i]);
}

static void random_changes(void **state)
{
    static void (*const steps[])(void) = {step_add, step_add, step_take_away, step_ring, step_ring, step_ring};

    (void)state;
    memset(&w, 0, sizeof(w));
    random_start();
    for (unsigned i = 0; i < STEPS; i++) {
        fake_fail_after(rnd(3) ? 0 : 1 + rnd(6));
        steps[rnd(ARRAY_COUNT(steps))]();
        fake_fail_after(0);
        check();
    }
}

/* ---------------------------------------------------------------------------------------- many */

#define MANY 10000u

static struct hv_doorbell one_of_many(unsigned kind, unsigned i)
{
    if (kind == 0)
        return AT(PAGE + 8 * i); /* on 20 pages */
    if (kind == 1)
        return VALUED(PAGE, 4, i);
    return AT((1ull << 32) + HV_PAGE_SIZE * i); /* each on a page of its own, where nothing is mapped */
}

/* How many bells hang where such a one does. */
static uint64_t chain(enum bell_kind kind, uint64_t address, uint64_t value)
{
    const struct bell_table *t = stub_partition.doorbells->table;
    uint64_t length = 0;

    for (const struct bell *b = *bucket_of(t, hash(kind, address, value)); b; b = b->next[t->link])
        length++;
    return length;
}

static void many(void **state)
{
    static const char *const names[] = {"by address", "by value", "by page"};
    uint64_t tables = stub_partition.npt.tables;

    (void)state;
    for (unsigned kind = 0; kind < ARRAY_COUNT(names); kind++) {
        uint64_t signals = fake_event_signals(handles[0]);
        uint64_t longest = 0;

        for (unsigned i = 0; i < MANY; i++)
            assert_int_equal(add(one_of_many(kind, i), 0), HV_OK);
        for (unsigned i = 0; i < MANY; i++) {
            struct hv_doorbell d = one_of_many(kind, i);

            assert_true(doorbell_ring(&stub_vp, false, d.address, 4, d.value));
            longest = HV_MAX(longest, chain(BELL_MEMORY, d.address, 0));
            if (d.match_value)
                longest = HV_MAX(longest, chain(BELL_MEMORY_VALUE, d.address, d.value));
        }
        assert_int_equal(fake_event_signals(handles[0]), signals + MANY);
        assert_false(doorbell_ring(&stub_vp, false, PAGE + 4, 4, MANY));
        printf("# %s: at most %u bells looked at\n", names[kind], (unsigned)longest);
        assert_true(longest <= 8);
        for (unsigned i = 0; i < MANY; i++)
            assert_int_equal(take_away(one_of_many(kind, i)), HV_OK);
        assert_int_equal(stub_partition.doorbells->count, 0);
    }
    assert_int_equal(fake_counts().event_uses, 0);
    assert_true(is_mapped(PAGE));
    assert_true(stub_partition.npt.tables <= tables + 1); /* a large page stays split */
}

/* ------------------------------------------------------------------------------------- readers */

/* What somebody has found who does not lock, and looks at until the flush. */
static const struct bell *found;
static const struct bell_table *found_table;

static void look_at_found(void)
{
    if (found)
        assert_true(found->address == PORT && found->event);
    assert_true(found_table->bits >= BITS_MIN && found_table->pages[0]);
}

static void readers_are_waited_for(void **state)
{
    (void)state;
    assert_int_equal(add(on_port(AT(PORT)), 0), HV_OK);
    found = bell_find(stub_partition.doorbells, BELL_PORT, PORT, 0);
    found_table = stub_partition.doorbells->table;
    stub_on_flush = look_at_found;
    stub_flushes = 0;
    assert_int_equal(take_away(on_port(AT(PORT))), HV_OK);
    assert_int_equal(stub_flushes, 1);
    found = NULL;
    for (unsigned i = 0; stub_partition.doorbells->table == found_table; i++) {
        assert_int_equal(stub_flushes, 1);
        assert_true(i <= PAGE_SIZE);
        assert_int_equal(add(on_port(AT(i)), 0), HV_OK);
    }
    assert_int_equal(stub_flushes, 2); /* it has grown */
    stub_on_flush = NULL;
}

/* --------------------------------------------------------------------------------------- storm */

#define STORM 1000000u

/* Among doorbells that come and go, and a table that grows. */
static void a_million(void **state)
{
    uint64_t rung[2] = {0};

    (void)state;
    assert_int_equal(add(AT(PAGE), 0), HV_OK);
    assert_int_equal(add(on_port(VALUED(PORT, 2, 7)), 1), HV_OK);
    for (unsigned i = 0; i < STORM; i++) {
        rung[0] += doorbell_ring(&stub_vp, false, PAGE, 4, i);
        rung[1] += doorbell_ring(&stub_vp, true, PORT, 2, i % 8);
        if (i % 256 == 0)
            assert_int_equal(add(VALUED(PAGE + 8, 4, i), 2), HV_OK);
    }
    assert_int_equal(rung[0], STORM);
    assert_int_equal(rung[1], STORM / 8);
    assert_int_equal(fake_event_signals(handles[0]), STORM);
    assert_int_equal(fake_event_signals(handles[1]), STORM / 8);
    assert_int_equal(fake_event_signals(handles[2]), 0);
}

/* --------------------------------------------------------------------------------- instructions */

#define CODE 0x1000u

static void start_code(const uint8_t *code, unsigned count)
{
    struct vcpu *v = &stub_vcpu;

    v->cr0 = CR0_ET | CR0_PE;
    for (unsigned i = 0; i < SEG_COUNT; i++)
        v->seg[i] = (struct hv_segment){.limit = 0xffffffff, .attributes = SEG_ATTR_DATA32};
    v->seg[SEG_CS].attributes = SEG_ATTR_CODE32;
    v->rflags = RFLAGS_FIXED;
    v->rip = CODE;
    v->gpr[GPR_RAX] = 0x11223344;
    v->gpr[GPR_RCX] = 3;
    v->gpr[GPR_RBX] = v->gpr[GPR_RDI] = v->gpr[GPR_RSP] = PAGE + 8;
    v->gpr[GPR_RSI] = 0x2000;
    memcpy(stub_ram + CODE, code, count);
    memcpy(stub_ram + 0x2000, &(uint32_t){0x55667788}, 4);
}

static enum exit_outcome store_at(hv_gpa_t gpa)
{
    struct hv_exit exit = {.reason = HV_EXIT_MEMORY, .memory = {.access = HV_ACCESS_WRITE, .gpa = gpa}};
    enum exit_outcome outcome;

    assert_true(vp_claim(&stub_vp));
    vp_pin(&stub_vp);
    stub_exit.skips = 0;
    outcome = exit_doorbell_memory(&stub_vp, &exit);
    vp_unpin(&stub_vp);
    vp_release(&stub_vp);
    return outcome;
}

#define BYTES(...) {__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__})

static const struct store_case {
    const char *name;
    uint8_t code[8];
    unsigned count;
    uint32_t size; /* 0: not a doorbell's */
    uint64_t value;
} stores[] = {
    {"mov [ebx], eax", BYTES(0x89, 0x03), 4, 0x11223344},
    {"mov [ebx], ax", BYTES(0x66, 0x89, 0x03), 2, 0x3344},
    {"mov [ebx], al", BYTES(0x88, 0x03), 1, 0x44},
    {"mov [ebx], ah", BYTES(0x88, 0x23), 1, 0x33},
    {"mov dword [ebx], -2", BYTES(0xc7, 0x03, 0xfe, 0xff, 0xff, 0xff), 4, 0xfffffffe},
    {"mov byte [ebx], 0x80", BYTES(0xc6, 0x03, 0x80), 1, 0x80},
    {"mov [esp], eax", BYTES(0x89, 0x04, 0x24), 4, 0x11223344},
    {"mov [ebx + ecx * 4 - 12], eax", BYTES(0x89, 0x44, 0x8b, 0xf4), 4, 0x11223344},
    {"mov [0x300008], eax", BYTES(0xa3, 0x08, 0x00, 0x30, 0x00), 4, 0x11223344},
    {"movnti [ebx], eax", BYTES(0x0f, 0xc3, 0x03), 4, 0x11223344},
    {"movbe [ebx], eax", BYTES(0x0f, 0x38, 0xf1, 0x03), 4, 0x44332211},
    {"mov [ebx], ds", BYTES(0x8c, 0x1b), 2, 0},
    {"setz [ebx]", BYTES(0x0f, 0x94, 0x03), 1, 0},
    {"stosd", BYTES(0xab), 4, 0x11223344},
    {"movsd", BYTES(0xa5), 4, 0x55667788},
    {"xchg [ebx], eax", BYTES(0x87, 0x03), 0, 0},
    {"add [ebx], eax", BYTES(0x01, 0x03), 0, 0},
    {"lock or [ebx], eax", BYTES(0xf0, 0x09, 0x03), 0, 0},
    {"pop dword [ebx]", BYTES(0x8f, 0x03), 0, 0},
    {"movups [ebx], xmm0", BYTES(0x0f, 0x11, 0x03), 0, 0},
    {"fstp dword [ebx]", BYTES(0xd9, 0x1b), 0, 0},
    {"ud2", BYTES(0x0f, 0x0b), 0, 0},
};

static void one_store(const struct store_case *c)
{
    struct hv_doorbell exact = VALUED(PAGE + 8, c->size, c->value), other = VALUED(PAGE + 8, c->size, c->value + 1);
    uint64_t signals = fake_event_signals(handles[0]);

    printf("# %s\n", c->name);
    assert_int_equal(add(c->size ? exact : AT(PAGE + 8), 0), HV_OK);
    start_code(c->code, c->count);
    assert_int_equal(store_at(PAGE + 8), c->size ? EXIT_HANDLED : EXIT_TO_CLIENT);
    assert_int_equal(fake_event_signals(handles[0]), signals + (c->size != 0));
    assert_int_equal(stub_exit.skips, c->size != 0);
    assert_int_equal(take_away(c->size ? exact : AT(PAGE + 8)), HV_OK);
    if (!c->size)
        return;
    assert_int_equal(add(other, 0), HV_OK); /* another value: nothing happens */
    start_code(c->code, c->count);
    assert_int_equal(store_at(PAGE + 8), EXIT_TO_CLIENT);
    assert_int_equal(stub_vcpu.rip, CODE);
    assert_int_equal(stub_vcpu.gpr[GPR_RDI], PAGE + 8);
    assert_int_equal(fake_event_signals(handles[0]), signals + 1);
    assert_int_equal(take_away(other), HV_OK);
}

static void stores_ring(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(stores); i++)
        one_store(&stores[i]);
}

/* The code's last bytes are in the next page. */
static void code_across_pages(void **state)
{
    static const uint8_t code[] = {0xc7, 0x03, 0x01, 0x02, 0x03, 0x04};

    (void)state;
    assert_int_equal(add(VALUED(PAGE + 8, 4, 0x04030201), 0), HV_OK);
    start_code(code, 0);
    memcpy(stub_ram + 0x1ffd, code, sizeof(code));
    stub_vcpu.rip = 0x1ffd;
    assert_int_equal(store_at(PAGE + 8), EXIT_HANDLED);
}

/* One that begins before the doorbell's page, or ends behind it, rings nothing. */
static void stores_across_pages(void **state)
{
    static const uint8_t mov[] = {0x89, 0x03}, stosd[] = {0xab};

    (void)state;
    assert_int_equal(add(AT(PAGE), 0), HV_OK);
    assert_int_equal(add(AT(PAGE + 0xffe), 0), HV_OK);
    start_code(mov, sizeof(mov));
    stub_vcpu.gpr[GPR_RBX] = PAGE - 2;
    assert_int_equal(store_at(PAGE), EXIT_TO_CLIENT);
    stub_vcpu.gpr[GPR_RBX] = PAGE + 0xffe;
    assert_int_equal(store_at(PAGE + 0xffe), EXIT_TO_CLIENT);
    start_code(stosd, sizeof(stosd));
    stub_vcpu.gpr[GPR_RDI] = PAGE - 2;
    assert_int_equal(store_at(PAGE), EXIT_TO_CLIENT);
    stub_vcpu.gpr[GPR_RDI] = PAGE + 0xffe;
    assert_int_equal(store_at(PAGE + 0xffe), EXIT_TO_CLIENT);
    assert_int_equal(fake_event_signals(handles[0]), 0);
    stub_vcpu.gpr[GPR_RDI] = PAGE;
    assert_int_equal(store_at(PAGE), EXIT_HANDLED);
}

/* Three stores, of which the first two ring: the third is left for the next exit. */
static void a_repeated_store(void **state)
{
    static const uint8_t code[] = {0xf3, 0xab};

    (void)state;
    assert_int_equal(add(AT(PAGE + 8), 0), HV_OK);
    assert_int_equal(add(SIZED(PAGE + 12, 4), 1), HV_OK);
    start_code(code, sizeof(code));
    assert_int_equal(store_at(PAGE + 8), EXIT_HANDLED);
    assert_int_equal(fake_event_signals(handles[0]), 1);
    assert_int_equal(fake_event_signals(handles[1]), 1);
    assert_int_equal(stub_vcpu.gpr[GPR_RCX], 1);
    assert_int_equal(stub_vcpu.gpr[GPR_RDI], PAGE + 16);
    assert_int_equal(stub_vcpu.rip, CODE);
    assert_int_equal(stub_exit.skips, 0);
    assert_int_equal(store_at(PAGE + 16), EXIT_TO_CLIENT);
    assert_int_equal(stub_vcpu.gpr[GPR_RCX], 1);
}

/* The one that rang last is remembered: not beyond its end, though its neighbour keeps the page out of the mapping. */
static void the_last_one_that_rang_goes(void **state)
{
    static const uint8_t code[] = {0x89, 0x03};

    (void)state;
    assert_int_equal(add(AT(PAGE + 8), 0), HV_OK);
    assert_int_equal(add(AT(PAGE + 12), 1), HV_OK);
    for (unsigned life = 1; life < EVENTS - 1; life++) {
        start_code(code, sizeof(code));
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(store_at(PAGE + 8), EXIT_HANDLED);
        assert_int_equal(fake_event_signals(handles[life == 1 ? 0 : life]), 3);
        assert_int_equal(take_away(AT(PAGE + 8)), HV_OK);
        assert_int_equal(store_at(PAGE + 8), EXIT_TO_CLIENT);
        assert_int_equal(add(AT(PAGE + 8), life + 1), HV_OK);
    }
    assert_int_equal(store_at(PAGE + 8), EXIT_HANDLED);
    assert_int_equal(fake_event_signals(handles[EVENTS - 1]), 1);
    assert_int_equal(fake_event_signals(handles[1]), 0);
    assert_int_equal(take_away(AT(PAGE + 8)), HV_OK);
    assert_int_equal(take_away(AT(PAGE + 12)), HV_OK);
    assert_true(is_mapped(PAGE));
    assert_int_equal(store_at(PAGE + 8), EXIT_TO_CLIENT);
}

/* Memory that comes to stand in front of its page is what the guest writes to, until it goes again. */
static void the_last_one_that_rang_is_covered(void **state)
{
    static const uint8_t code[] = {0x89, 0x03};
    struct overlay front = {.page = NULL};

    (void)state;
    assert_int_equal(add(AT(PAGE + 8), 0), HV_OK);
    start_code(code, sizeof(code));
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(store_at(PAGE + 8), EXIT_HANDLED);
        hv_mutex_lock(&stub_partition.mutex);
        assert_int_equal(overlay_place(&stub_partition, &front, PAGE, stub_ram + 0x5000, NPT_READ), HV_OK);
        hv_mutex_unlock(&stub_partition.mutex);
        assert_int_equal(store_at(PAGE + 8), EXIT_TO_CLIENT);
        assert_int_equal(fake_event_signals(handles[0]), i);
        hv_mutex_lock(&stub_partition.mutex);
        overlay_remove(&stub_partition, &front);
        hv_mutex_unlock(&stub_partition.mutex);
    }
}

/* Another VP has changed the instruction since: it could not have made the access. */
static void a_move_to_elsewhere(void **state)
{
    static const uint8_t code[] = {0x89, 0x03};

    (void)state;
    assert_int_equal(add(AT(PAGE + 8), 0), HV_OK);
    start_code(code, sizeof(code));
    stub_vcpu.gpr[GPR_RBX] = PAGE + 4;
    assert_int_equal(store_at(PAGE + 8), EXIT_TO_CLIENT);
    assert_int_equal(fake_event_signals(handles[0]), 0);
}

/* The same bytes are another instruction in code of another size: mov [bp + di], ax. */
static void moves_go_by_the_size_of_code(void **state)
{
    static const uint8_t code[] = {0x89, 0x03};

    (void)state;
    assert_int_equal(add(AT(PAGE + 8), 0), HV_OK);
    for (unsigned i = 1; i <= 2; i++) {
        start_code(code, sizeof(code));
        assert_int_equal(store_at(PAGE + 8), EXIT_HANDLED);
        stub_vcpu.seg[SEG_CS].attributes = SEG_ATTR_REAL_CODE;
        assert_int_equal(store_at(PAGE + 8), EXIT_HANDLED); /* by a store to memory */
        assert_int_equal(fake_event_signals(handles[0]), i);
    }
}

/* Moves that are decoded already are known by all of their bytes. */
static void moves_that_begin_alike(void **state)
{
    uint8_t code[] = {0xc7, 0x84, 0x8b, 0xf4, 0xff, 0xff, 0xff, 0x01, 0, 0, 0}; /* mov dword [ebx + ecx * 4 - 12] */

    (void)state;
    for (uint8_t i = 0; i < EVENTS; i++)
        assert_int_equal(add(VALUED(PAGE + 8, 4, 0x01000001 + 0x10000ull * i), i), HV_OK);
    for (uint8_t i = 0; i < 4 * EVENTS; i++) {
        code[9] = i % EVENTS;
        code[10] = 1;
        start_code(code, sizeof(code));
        assert_int_equal(store_at(PAGE + 8), EXIT_HANDLED);
        assert_int_equal(fake_event_signals(handles[i % EVENTS]), i / EVENTS + 1);
    }
}

/* Of page walks, and of events that are delivered: not the instruction's. */
static void the_cpus_own_stores(void **state)
{
    static const uint8_t code[] = {0x89, 0x03};
    struct hv_exit exit = {.memory = {.access = HV_ACCESS_WRITE, .gpa = PAGE + 8, .page_walk = true}};

    (void)state;
    assert_int_equal(add(AT(PAGE + 8), 0), HV_OK);
    start_code(code, sizeof(code));
    assert_true(vp_claim(&stub_vp));
    vp_pin(&stub_vp);
    assert_int_equal(exit_doorbell_memory(&stub_vp, &exit), EXIT_TO_CLIENT);
    exit.memory.page_walk = false;
    stub_vcpu.event = HV_PENDING_INT_VALID;
    assert_int_equal(exit_doorbell_memory(&stub_vp, &exit), EXIT_TO_CLIENT);
    vp_unpin(&stub_vp);
    vp_release(&stub_vp);
}

static enum exit_outcome out(struct hv_exit exit)
{
    return skipped(exit_doorbell_port(&stub_vp, &exit));
}

static void ports_ring(void **state)
{
    struct hv_exit exit = {.io = {.access = {.is_write = true, .size = 2}, .port = PORT, .rax = 0xabcd1234}}, other;

    (void)state;
    assert_int_equal(out(exit), EXIT_TO_CLIENT);
    assert_int_equal(add(on_port(VALUED(PORT, 2, 0x1234)), 0), HV_OK);
    assert_int_equal(out(exit), EXIT_HANDLED);
    assert_int_equal(stub_exit.skips, 1);
    other = exit;
    other.io.access.size = 4;
    assert_int_equal(out(other), EXIT_TO_CLIENT);
    other = exit;
    other.io.rax++;
    assert_int_equal(out(other), EXIT_TO_CLIENT);
    other = exit;
    other.io.port++;
    assert_int_equal(out(other), EXIT_TO_CLIENT);
    assert_int_equal(fake_event_signals(handles[0]), 1);
    assert_int_equal(take_away(on_port(VALUED(PORT, 2, 0x1234))), HV_OK);
    assert_int_equal(out(exit), EXIT_TO_CLIENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DOORBELL_TEST(fields_are_checked),
        DOORBELL_TEST(corners_are_allowed),
        DOORBELL_TEST(conflicts),
        DOORBELL_TEST(random_changes),
        DOORBELL_TEST(many),
        DOORBELL_TEST(readers_are_waited_for),
        DOORBELL_TEST(stores_ring),
        DOORBELL_TEST(code_across_pages),
        DOORBELL_TEST(stores_across_pages),
        DOORBELL_TEST(a_repeated_store),
        DOORBELL_TEST(the_last_one_that_rang_goes),
        DOORBELL_TEST(the_last_one_that_rang_is_covered),
        DOORBELL_TEST(a_move_to_elsewhere),
        DOORBELL_TEST(moves_go_by_the_size_of_code),
        DOORBELL_TEST(moves_that_begin_alike),
        DOORBELL_TEST(the_cpus_own_stores),
        DOORBELL_TEST(ports_ring),
        DOORBELL_TEST(a_million),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
